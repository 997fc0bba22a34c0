#!/usr/bin/env bash
# What one router costs by how many workers it has and how many connections its clients hold, at one request rate: CPU time
# per request and with nobody asking, memory, latency. Workers are emulated (docs/workers.md), each on a port of its own.
#
#   benchmarks/scale/run.sh [-rounds N] [-seconds S] [-rate QPS] [-cells "WORKERS:CONNECTIONS …"] [-policy NAME]
#                           [-probe D] [-lock FILE] [-max-growth R] [-perf FILE]
#
# The router has one core, GOMAXPROCS=1; workers and the generator share the other, where there are two. The first cell is
# what the others are compared with; with -max-growth the status is 1 if another's CPU time per request, probes included, is over
# R times its. -probe is the time between two probes of a worker (default: the router's, 1s). -perf records the last cell's load.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=5 seconds=4 rate=2000 cells="10:64 100:64 1000:64 1000:10000" policy=priced probe=1s max_growth=0 perf=
self=benchmarks/scale
. benchmarks/lib.sh
while [[ $# -gt 0 ]]; do
	case $1 in
	-rounds) rounds=$2 ;;
	-seconds) seconds=$2 ;;
	-rate) rate=$2 ;;
	-cells) cells=$2 ;;
	-policy) policy=$2 ;;
	-probe) probe=$2 ;;
	-lock) lock=$2 ;;
	-max-growth) max_growth=$2 ;;
	-perf) perf=$2 ;;
	*) usage 2 11 ;;
	esac
	shift 2
done
need curl=curl
read -ra cells <<<"$cells"

go build -o "$dir/bench" ./cmd/bench
router_binary=${ROUTER:-$dir/router}
[[ -n ${ROUTER:-} ]] || go build -o "$router_binary" ./cmd/router
most=0
for cell in "${cells[@]}"; do
	n=$((${cell%:*} + ${cell#*:} + 200))
	most=$((n > most ? n : most))
done
ulimit -n "$(ulimit -Hn)"
if [[ $(ulimit -n) != unlimited && $(ulimit -n) -lt $most ]]; then
	echo "$self: a process may have $(ulimit -n) files open, this takes $most" >&2
	exit 2
fi

memory() { # PID: resident, in kB
	awk '/^VmRSS/ {print $2}' "/proc/$1/status"
}
up() { # WORKERS URL: until the router says that it has so many
	local _
	for _ in $(seq 200); do
		[[ $(curl -s --max-time 1 "$2/metrics" | grep -c '^motley_worker_up{.*} 1$') == "$1" ]] && return
		sleep 0.1
	done
	echo "$self: not all of $1 workers came up" >&2
	tail -3 "$dir/router.log" >&2
	exit 1
}
load() { # SECONDS
	"${on_load[@]}" "$dir/bench" load -url "$url" -model wnd -rate "$rate" -connections "$connections" -qos 1s -warmup 0s \
		-duration "${1}s" -seed "$((round + 1))" -json -q | tr -d ' \n'
}
field() { # NAME JSON
	grep -o "\"$1\":[^,}]*" <<<"$2" | head -1 | cut -d: -f2
}
measure() { # CELL: a line "cell CPU-µs-per-request idle-CPU-µs-per-s kB-idle kB-loaded p50 p99 failed CPU-µs-per-connection"
	local workers=${1%:*} connections=${1#*:} port admin url idle before opened after rested loaded few answer tool=()
	free_port port
	free_port admin
	url=http://127.0.0.1:$port
	start workers "${on_load[@]}" "$dir/bench" workers -model wnd -mix "r5n.large=$workers" -listen 127.0.0.1:12000+ \
		-config "$dir/router.yaml" -router "127.0.0.1:$port" -policy "$policy" -qos 1s
	for _ in $(seq 100); do
		[[ $(wc -l <"$dir/workers.log") == "$workers" ]] && break
		sleep 0.1
	done
	sed -i "s/binary: \"on\"}/binary: \"on\", probe_interval: $probe}/" "$dir/router.yaml"
	start router env GOMAXPROCS=1 "${on_proxy[@]}" "$router_binary" -config "$dir/router.yaml" -admin "127.0.0.1:$admin"
	await "$url/v2/health/ready" "$dir/router.log" 30
	up "$workers" "http://127.0.0.1:$admin"
	before=$(ticks "$router_pid")
	sleep 3
	idle=$(($(ticks "$router_pid") - before))
	rested=$(memory "$router_pid")
	load 1 >/dev/null
	if [[ -n $perf && $1 == "${cells[-1]}" ]]; then tool=(perf record -q -g -F 997 -p "$router_pid" -o "$perf" --); fi
	before=$(ticks "$router_pid")
	few=$(load 0.1) # what it costs to open the connections, which the next does as well
	opened=$(ticks "$router_pid")
	if [[ ${#tool[@]} -gt 0 ]]; then "${tool[@]}" sleep "$seconds" & fi
	answer=$(load "$seconds")
	after=$(ticks "$router_pid")
	loaded=$(memory "$router_pid")
	[[ ${#tool[@]} -eq 0 ]] || wait %% || true
	stop router
	stop workers
	awk -v cell="$1" -v hz="$(getconf CLK_TCK)" -v idle="$idle" -v opening=$((opened - before)) -v ticks=$((after - opened)) \
		-v n="$(field scheduled "$answer")" -v few="$(field scheduled "$few")" -v ok="$(field ok "$answer")" -v rest="$rested $loaded $(field p50_ms "$answer") $(field p99_ms "$answer")" 'BEGIN {
		split(cell, of, ":")
		cpu = (ticks - opening) / hz * 1e6 / (n - few)
		opening = opening / hz * 1e6 - few * cpu
		# Ticks are of 10 ms: what few connections cost is below them.
		printf "%s %.1f %.0f %s %d %s\n", cell, cpu, idle / hz * 1e6 / 3, rest, n - ok, of[2] < 1000 ? "-" : sprintf("%.1f", opening / of[2]) }'
}
one_round() {
	local cell
	for cell in "${cells[@]}"; do measure "$cell" | tee -a "$dir/results"; done
}

machine
echo "wnd on r5n.large, $rate requests/s of one row for $seconds s, policy $policy, a probe of each worker every $probe, $rounds rounds"
echo "workers:connections, CPU µs per request, CPU µs per s with nobody asking, kB then, kB under load, p50 and p99 in ms, failed, CPU µs to open and close a connection"
for ((round = 0; round < rounds; round++)); do hold one_round; done

echo
column() { # CELL COLUMN
	awk -v cell="$1" -v c="$2" '$1 == cell {print $c}' "$dir/results" | median
}
status=0
for cell in "${cells[@]}"; do
	read -r cpu low high < <(column "$cell" 2)
	read -r ratio least most < <(awk -v a="${cells[0]}" -v b="$cell" '{v[$1, ++n[$1]] = $2} END {for (i = 1; i <= n[b]; i++) print v[b, i] / v[a, i]}' "$dir/results" | median)
	read -r idle _ < <(column "$cell" 3)
	read -r rested _ < <(column "$cell" 4)
	read -r loaded _ < <(column "$cell" 5)
	printf '%s: CPU µs per request %.1f (%.1f to %.1f), ÷ %s: %.2f (%.2f to %.2f); with nobody asking %.0f µs per s; %.1f MB, under load %.1f MB\n' \
		"$cell" "$cpu" "$low" "$high" "${cells[0]}" "$ratio" "$least" "$most" "$idle" "$(bc -l <<<"$rested / 1024")" "$(bc -l <<<"$loaded / 1024")"
	if awk -v r="$ratio" -v max="$max_growth" 'BEGIN {exit !(max > 0 && r > max)}'; then status=1; fi
done
awk '$8 != 0 {bad = 1} END {exit bad}' "$dir/results" || echo "some requests failed"
[[ $status == 0 ]] || echo "CPU per request grows more than $max_growth times"
exit $status
