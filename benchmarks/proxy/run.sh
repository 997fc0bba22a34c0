#!/usr/bin/env bash
# What the router costs as a plain proxy, beside nginx, in one run: CPU time per request of the proxy's process, requests
# per second, and latency, for 1 KB JSON inference requests to one remote worker, without merging.
#
#   benchmarks/proxy/run.sh [-rounds N] [-seconds S] [-connections C] [-max-ratio R]
#
# The upstream is nginx answering a fixed OIP response. Upstream and wrk share one core, the proxy has another where there
# are two. Rounds alternate between the two proxies. With -max-ratio the status is 1 if the router's median CPU time per
# request is more than R times nginx's.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=5 seconds=5 connections=64 max_ratio=
while [[ $# -gt 0 ]]; do
	case $1 in
	-rounds) rounds=$2 ;;
	-seconds) seconds=$2 ;;
	-connections) connections=$2 ;;
	-max-ratio) max_ratio=$2 ;;
	*) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
	esac
	shift 2
done

for tool in nginx wrk; do
	command -v $tool >/dev/null && continue
	if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq nginx-light wrk >/dev/null
	else
		echo "benchmarks/proxy: $tool is missing: run 'apt-get install nginx-light wrk' as root" >&2
		exit 2
	fi
done

dir=$(mktemp -d)
pids=()
cleanup() {
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
	for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
	rm -rf "$dir"
}
trap cleanup EXIT

free_port() { # a port of loopback that nobody listens on
	local port
	while :; do
		port=$((20000 + RANDOM % 12000))
		(exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null || { echo $port; return; }
	done
}
upstream=$(free_port) nginx=$(free_port) router=$(free_port)

load=() proxy=()
if command -v taskset >/dev/null; then
	cores=$(taskset -pc $$ | sed 's/.*: //' | tr ',' '\n' | awk -F- '{for (i = $1; i <= ($2 == "" ? $1 : $2); i++) print i}')
	if [[ $(wc -l <<<"$cores") -ge 2 ]]; then
		load=(taskset -c "$(sed -n 1p <<<"$cores")") proxy=(taskset -c "$(sed -n 2p <<<"$cores")")
	fi
fi

answer='{"model_name":"proxied","model_version":"1","outputs":[{"name":"y","datatype":"FP32","shape":[1,16],"data":[0.01562500,0.03125000,0.04687500,0.06250000,0.07812500,0.09375000,0.10937500,0.12500000,0.14062500,0.15625000,0.17187500,0.18750000,0.20312500,0.21875000,0.23437500,0.25000000]}]}'
metadata='{"name":"proxied","versions":["1"],"platform":"fixed_answer","inputs":[{"name":"x","datatype":"FP32","shape":[-1,64]}],"outputs":[{"name":"y","datatype":"FP32","shape":[-1,16]}]}'
config='{"name":"proxied","platform":"fixed_answer","max_batch_size":1}'

configure() { # NAME SERVER-BLOCK
	mkdir -p "$dir/$1"
	awk -v dir="$dir/$1" -v server="$2" '{gsub("@DIR@", dir); if ($0 == "@SERVER@") print server; else if ($0 !~ /@PORT@/) print}' \
		benchmarks/proxy/nginx.conf.in >"$dir/$1/nginx.conf"
}
configure upstream "server { listen 127.0.0.1:$upstream; default_type application/json;
	location / { return 200 '$answer'; }
	location = /v2 { return 200 '{\"name\":\"fixed\",\"version\":\"1\",\"extensions\":[]}'; }
	location = /v2/health/live { return 200; }
	location = /v2/health/ready { return 200; }
	location = /v2/models/proxied/ready { return 200; }
	location = /v2/models/proxied { return 200 '$metadata'; }
	location = /v2/models/proxied/config { return 200 '$config'; } }"
configure nginx "upstream worker { server 127.0.0.1:$upstream; keepalive 256; keepalive_requests 1000000000; }
	server { listen 127.0.0.1:$nginx;
	location / { proxy_pass http://worker; proxy_http_version 1.1; proxy_set_header Connection ''; } }"
cat >"$dir/router.yaml" <<YAML
listen: "127.0.0.1:$router"
log: {level: warn}
models:
  - name: proxied
    qos: {target: 10s}
    max_batch: 1
instance_types:
  - name: upstream
workers:
  - name: fixed
    type: upstream
    concurrency: $connections
    models: [proxied]
    remote: {url: "http://127.0.0.1:$upstream", connections: $connections, probe_interval: 60s}
YAML

await() { # URL LOG
	for _ in $(seq 100); do
		curl -sf -o /dev/null --max-time 1 "$1" && return
		sleep 0.1
	done
	echo "benchmarks/proxy: nothing answers at $1" >&2
	cat "$2" >&2 || true
	exit 1
}
start() { # NAME COMMAND…: its pid goes to the variable NAME_pid
	local name=$1
	shift
	"$@" >"$dir/$name.log" 2>&1 &
	pids+=($!)
	printf -v "${name}_pid" %s $!
}
binary=${ROUTER:-$dir/router}
[[ -n ${ROUTER:-} ]] || go build -o "$binary" ./cmd/router
start upstream "${load[@]}" nginx -c "$dir/upstream/nginx.conf"
start nginx "${proxy[@]}" nginx -c "$dir/nginx/nginx.conf"
await "http://127.0.0.1:$upstream/v2/health/live" "$dir/upstream.log"
await "http://127.0.0.1:$nginx/v2/health/live" "$dir/nginx.log"
# As many threads as the core that it has.
start router env GOMAXPROCS=1 "${proxy[@]}" "$binary" -config "$dir/router.yaml"
await "http://127.0.0.1:$router/v2/health/ready" "$dir/router.log"

ticks() { # CPU ticks, user and system, of a process and its children
	local pid
	for pid in "$1" $(cat /proc/"$1"/task/*/children 2>/dev/null); do
		sed 's/.*) //' "/proc/$pid/stat"
	done | awk '{n += $12 + $13} END {print n + 0}'
}
measure() { # NAME PORT PID SECONDS: one line "name req/s p50 p99 cpu-µs errors" on standard output
	local before after
	before=$(ticks "$3")
	"${load[@]}" wrk -t1 -c"$connections" -d"$4s" -s benchmarks/proxy/infer.lua --timeout 5s "http://127.0.0.1:$2" >"$dir/wrk.out"
	after=$(ticks "$3")
	awk -v name="$1" -v ticks=$((after - before)) -v hz="$(getconf CLK_TCK)" '/^RESULT/ {
		printf "%s %.0f %d %d %.2f %d\n", name, $2 / $4 * 1e6, $5, $6, ticks / hz * 1e6 / ($2 + ($2 == 0)), $3 }' "$dir/wrk.out"
}

echo "proxying 1 KB JSON inference requests: $connections connections, $rounds rounds of $seconds s each, alternating"
echo "$(nproc) cores, load before: $(cut -d' ' -f1-3 /proc/loadavg) (figures from a busy machine say little)"
measure nginx "$nginx" "$nginx_pid" 1 >/dev/null # warm both up
measure router "$router" "$router_pid" 1 >/dev/null
for ((round = 0; round < rounds; round++)); do
	if ((round % 2)); then order=(router nginx); else order=(nginx router); fi
	for name in "${order[@]}"; do
		pid=${name}_pid
		measure "$name" "${!name}" "${!pid}" "$seconds" | tee -a "$dir/results"
	done
done

awk -v max="${max_ratio:-0}" '
	function sorted(key, n,   i, j, t) {
		for (i = 1; i <= n; i++) for (j = i + 1; j <= n; j++) if (v[key, j] < v[key, i]) { t = v[key, i]; v[key, i] = v[key, j]; v[key, j] = t }
	}
	function median(key, n) { sorted(key, n); return n % 2 ? v[key, (n + 1) / 2] : (v[key, n / 2] + v[key, n / 2 + 1]) / 2 }
	{ n[$1]++; for (i = 2; i <= 5; i++) v[$1 i, n[$1]] = $i; cpu[$1, n[$1]] = $5; errors += $6; if ($2 == 0 || $5 == 0) empty = 1 }
	END {
		if (!n["nginx"] || n["nginx"] != n["router"] || empty) { print "a round gave no result"; exit 1 }
		for (i = 1; i <= n["nginx"]; i++) v["ratio", i] = cpu["router", i] / cpu["nginx", i]
		printf "\n%-8s %12s %8s %8s %22s\n", "", "req/s", "p50 µs", "p99 µs", "CPU µs per request"
		split("nginx router", names, " ")
		for (k = 1; k <= 2; k++) {
			p = names[k]; c = median(p 5, n[p])
			printf "%-8s %12.0f %8.0f %8.0f %8.2f (%.2f to %.2f)\n", p, median(p 2, n[p]), median(p 3, n[p]), median(p 4, n[p]), c, v[p 5, 1], v[p 5, n[p]]
		}
		r = median("ratio", n["nginx"])
		printf "\nCPU per request, router ÷ nginx: %.2f (%.2f to %.2f over %d rounds); %d errors\n", r, v["ratio", 1], v["ratio", n["nginx"]], n["nginx"], errors
		if (errors > 0) { print "there were errors: the figures do not count"; exit 1 }
		if (max > 0 && r > max) { printf "%.2f is more than the %.2f allowed\n", r, max; exit 1 }
	}' "$dir/results"
