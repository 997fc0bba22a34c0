#!/usr/bin/env bash
# Normal traffic beside clients that are idle or slow: its latency with and without them, in turns, and what they cost in memory.
#
#   benchmarks/slow/run.sh [-idle N] [-slow N] [-rate R] [-seconds S] [-rounds N] [-lock FILE]
#
# The router proxies to an nginx with a fixed answer. In each round bench load sends R requests per second over 64
# connections (2000) for S seconds (6), once without others, and once beside N idle keep-alive connections (10000) and N slow senders (1000): one byte
# a second of a head, of a small body, of one in chunks, a third each. The router cuts the slow ones off after its header_timeout, or as slower than
# min_body_rate; they come again. -lock: see benchmarks/lib.sh. ROUTER and BENCH name binaries that are used instead of built.
set -euo pipefail
cd "$(dirname "$0")/../.."
idle=10000 slow=1000 rate=2000 seconds=6 rounds=3
self=benchmarks/slow
. benchmarks/lib.sh
. benchmarks/proxy/peers.sh
while [[ $# -gt 0 ]]; do
	case $1 in
	-idle) idle=$2 ;;
	-slow) slow=$2 ;;
	-rate) rate=$2 ;;
	-seconds) seconds=$2 ;;
	-rounds) rounds=$2 ;;
	-lock) lock=$2 ;;
	*) usage 2 9 ;;
	esac
	shift 2
done
need nginx=nginx-light curl=curl python3=python3
router_binary=${ROUTER:-$dir/router} bench=${BENCH:-$dir/bench}
[[ -n ${ROUTER:-} ]] || go build -o "$router_binary" ./cmd/router
[[ -n ${BENCH:-} ]] || go build -o "$bench" ./cmd/bench
request_bodies
ulimit -n "$(ulimit -Hn)"

free_port upstream_port
nginx_conf upstream < <(python3 benchmarks/proxy/upstream.py "$upstream_port" 1)
start upstream "${on_load[@]}" nginx -c "$dir/upstream/nginx.conf"
await "http://127.0.0.1:$upstream_port/v2/health/live" "$dir/upstream.log"
free_port router_port
motley router "$router_port" "$upstream_port" 1 512
await "http://127.0.0.1:$router_port/v2/health/ready" "$dir/router.log"

resident() { awk '/^VmRSS/ {print $2}' "/proc/$router_pid/status"; }
load() { # NAME: one line of what bench load saw
	local before
	before=$(ticks "$router_pid")
	"${on_load[@]}" "$bench" load -url "http://127.0.0.1:$router_port" -model proxied -body "$dir/json.body" -connections 64 -rate "$rate" \
		-warmup 500ms -duration "${seconds}s" -timeout 5s -json -q >"$dir/load.json" || true
	python3 benchmarks/proxy/table.py -load "$dir/load.json" 0.5 $(($(ticks "$router_pid") - before)) "$(getconf CLK_TCK)" |
		awk -v name="$1" '{printf "%-8s %s req/s, p50 %d us, p99 %d us, %s us of CPU per request, %s errors\n", name, $1, $2, $3, $4, $5}'
}
slice() {
	load alone
	local quiet
	quiet=$(resident)
	start hold "${on_load[@]}" python3 benchmarks/slow/hold.py "$router_port" "$idle" "$slow" 200000 "$dir/end.$1"
	until grep -q ready "$dir/hold.log"; do
		kill -0 "$hold_pid" 2>/dev/null || { cat "$dir/hold.log" >&2; exit 1; }
		sleep 0.1
	done
	load beside
	echo "memory   $(($(resident) - quiet)) KiB for $((idle + slow)) connections, $(ls "/proc/$router_pid/fd" | wc -l) descriptors, $(awk '/^Threads/ {print $2}' "/proc/$router_pid/status") threads"
	touch "$dir/end.$1"
	wait "$hold_pid" || true
	tail -n 1 "$dir/hold.log"
}
load warm >/dev/null
for ((round = 0; round < rounds; round++)); do hold slice "$round"; done
