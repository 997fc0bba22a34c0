# Tables in Markdown of sides.txt and what run.sh has measured.
BEGIN { FS = "\t" }
function sort(list, n,   i, j, t) {
	for (i = 2; i <= n; i++)
		for (j = i; j > 1 && list[j] < list[j - 1]; j--) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t }
}
function median(list, n) { sort(list, n); return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2 }
function figures(key, column,   i) { # into list; returns how many
	delete list
	for (i = 1; i <= rounds[key]; i++) list[i] = live[key, i, column] + 0
	return rounds[key]
}
function middle(key, column,   n) { n = figures(key, column); return median(list, n) }
function spread(format, n) { # of list
	if (n == 0) return "–"
	if (n == 1) return sprintf(format, list[1])
	return sprintf(format " (" format "…" format ")", median(list, n), list[1], list[n])
}
/^#/ { next }
FILENAME == ARGV[1] {
	order[++n] = $1 FS $2
	label = $2; sub(/.*: /, "", label)
	sides[$1 FS $2] = sprintf("%s | %s", label, short($3, $6)); fixed[$1 FS $2] = $9
	next
}
function short(text, weight,   parts, i, m, all, count) {
	m = split(text, parts, ",")
	for (i = 1; i <= m; i++) {
		split(parts[i], count, "=")
		sub(/\..*/, "", count[1])
		all = all (i > 1 ? " + " : "") count[2] " " count[1]
	}
	return all (weight > 1 ? ", weights " weight " : 1" : "")
}
$1 == "sim" { sim[$2 FS $3] = $4 }
$1 == "live" { key = $2 FS $3; i = ++rounds[key]; for (c = 4; c <= NF; c++) live[key, i, c] = $c }
END {
	for (i = 1; i <= n; i++) {
		split(order[i], name, FS)
		if (!rounds[order[i]]) continue
		kind = name[1] (fixed[order[i]] == "search" ? "" : " fixed")
		if (kind != last) {
			if (fixed[order[i]] == "search")
				printf "\n%s, requests/s, dilated\n\n| | mix | allowable, live | simulated | live ÷ simulated | Motley ÷ it, by round | p99 ms there | own delay, p99 ms | machine busy %% |\n|---|---|---|---|---|---|---|---|---|\n", name[1]
			else
				printf "\n%s, Motley's mix, %s requests/s\n\n| | mix | within the target, live | simulated | p99 ms | own delay, p99 ms |\n|---|---|---|---|---|---|\n", name[1], fixed[order[i]]
			last = kind
		}
		row(order[i], name[1] FS "Motley")
	}
}
function row(key, ours,   m, text, k) {
	m = figures(key, 4)
	if (fixed[key] != "search") {
		for (k = 1; k <= m; k++) list[k] *= 100
		printf "| %s | %s %% | %.2f %% | %.4g | %.2g |\n", sides[key], spread("%.2f", m), 100 * sim[key], middle(key, 8), middle(key, 9)
		return
	}
	text = spread("%.1f", m)
	for (k = 1; k <= m; k++) list[k] = sim[key] > 0 ? live[key, k, 4] / sim[key] : 0
	text = text sprintf(" | %.1f | %s", sim[key], spread("%.3f", m))
	delete list
	m = 0
	for (k = 1; k <= rounds[key] && k <= rounds[ours]; k++) if (live[key, k, 4] > 0) list[++m] = live[ours, k, 4] / live[key, k, 4]
	printf "| %s | %s | %s | %.4g | %.2g | %.0f |\n", sides[key], text, spread("%.2f", m), middle(key, 8), middle(key, 9), middle(key, 10)
}
