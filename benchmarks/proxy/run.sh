#!/usr/bin/env bash
# The router as a plain proxy, beside what else one would take: CPU time per request, requests per second, latency.
#
#   benchmarks/proxy/run.sh [-rounds N] [-seconds S] [-connections "1 64 512"] [-bodies "json binary"] [-peers "nginx haproxy …"]
#       [-merge ROWS] [-in-flight N] [-max-ratio R] [-o RAW] [-report FILE] [-lock FILE]
#
# All have the same upstream, an nginx with fixed answers, which shares a core with what makes the load; what is measured has
# another core. In each round every proxy is saturated by wrk and then, from 64 connections on, loaded by bench load with 80 % of
# what it carried (the median so far). -merge (default 32, 0: leave it out): the router once more, with so many rows merged
# at the most, over -in-flight connections (1) to the upstream. -o appends raw results to a file, so that a run can be
# taken up again; -report writes the table of all of them to a file. -lock takes turns with others who measure on this machine: the
# file is locked for each round of one body and one number of connections, and left alone for as long in between. With
# -max-ratio the status is 1 if the router, not merging, takes more than R times nginx's CPU time per request anywhere.
# ROUTER and BENCH name binaries that are used instead of built.
set -euo pipefail
cd "$(dirname "$0")/../.."
command="benchmarks/proxy/run.sh $*"
rounds=5 seconds=2 connections="1 64 512" bodies="json binary" peers="nginx haproxy" merge=32 in_flight=1 max_ratio=0 raw= report= lock=
self=benchmarks/proxy
. benchmarks/lib.sh
. benchmarks/proxy/peers.sh
while [[ $# -gt 0 ]]; do
	case $1 in
	-rounds) rounds=$2 ;;
	-seconds) seconds=$2 ;;
	-connections) connections=$2 ;;
	-bodies) bodies=$2 ;;
	-peers) peers=$2 ;;
	-merge) merge=$2 ;;
	-in-flight) in_flight=$2 ;;
	-max-ratio) max_ratio=$2 ;;
	-o) raw=$2 ;;
	-report) report=$2 ;;
	-lock) lock=$2 ;;
	*) usage 2 16 ;;
	esac
	shift 2
done
need nginx=nginx-light wrk=wrk curl=curl python3=python3
raw=${raw:-$dir/raw}
router_binary=${ROUTER:-$dir/router} bench=${BENCH:-$dir/bench}
[[ -n ${ROUTER:-} ]] || go build -o "$router_binary" ./cmd/router
[[ -n ${BENCH:-} ]] || go build -o "$bench" ./cmd/bench
request_bodies

note() { printf '# %s\n' "$*" >>"$raw"; } # what the table's page says of the run
note "command $command"
note "machine $(machine)"
note "date $(date +%F)"

free_port direct_port
nginx_conf upstream < <(python3 benchmarks/proxy/upstream.py "$direct_port" "$((merge > 1 ? merge : 1))")
start upstream "${on_load[@]}" nginx -c "$dir/upstream/nginx.conf"
await "http://127.0.0.1:$direct_port/v2/health/live" "$dir/upstream.log"
direct_pid=$upstream_pid
proxies=(direct)
bring_up() { # NAME PATH: starts a proxy and waits until it answers
	local port=${1}_port
	free_port "$port"
	"run_$1" "${!port}" "$direct_port"
	await "http://127.0.0.1:${!port}$2" "$dir/$1.log" 60
	proxies+=("$1")
}
for peer in $peers; do
	if ! declare -F "have_$peer" >/dev/null; then
		echo "$self: there is no peer $peer" >&2
		exit 2
	elif why=$("have_$peer" 2>&1 >/dev/null); then
		note "version $peer $("version_$peer")"
		bring_up "$peer" /v2/health/live
	else
		echo "$self: LEFT OUT: $peer: $why" >&2
		note "missing $peer $(tail -1 <<<"$why")"
	fi
done
bring_up router /v2/health/ready
[[ $merge -le 1 ]] || bring_up merge /v2/health/ready

saturate() { # NAME BODY CONNECTIONS SECONDS: one line "req/s p50-µs p99-µs CPU-µs-per-request errors"
	local port=${1}_port pid=${1}_pid before after head=()
	[[ $2 != binary ]] || head=("HEAD_LENGTH=$head_length")
	before=$(ticks "${!pid}")
	env BODY="$dir/$2.body" "${head[@]}" "${on_load[@]}" wrk -t1 -c"$3" -d"$4s" -s benchmarks/proxy/infer.lua --timeout 5s "http://127.0.0.1:${!port}" >"$dir/wrk.out"
	after=$(ticks "${!pid}")
	awk -v ticks=$((after - before)) -v hz="$(getconf CLK_TCK)" '/^RESULT/ {
		printf "%.0f %d %d %.3f %d\n", $2 / $4 * 1e6, $5, $6, ticks / hz * 1e6 / ($2 + ($2 == 0)), $3 }' "$dir/wrk.out"
}
pace() { # NAME BODY CONNECTIONS: the same line for bench load at 80 % of the capacity, and the rate, and its own delay's p99 in µs
	local port=${1}_port pid=${1}_pid before after rate
	rate=$(awk -v key="$2 $3 $1 full" '$3 " " $4 " " $5 " " $6 == key {print $7}' "$raw" | sort -n |
		awk '{r[NR] = $1} END {printf "%.0f", 0.8 * (r[int((NR + 1) / 2)] + r[int(NR / 2 + 1)]) / 2}')
	before=$(ticks "${!pid}")
	"${on_load[@]}" "$bench" load -url "http://127.0.0.1:${!port}" -model proxied -body "$dir/$2.body" -connections "$3" -rate "$rate" \
		-warmup 0s -duration "${seconds}s" -timeout 5s -json -q >"$dir/load.json" || true
	after=$(ticks "${!pid}")
	python3 benchmarks/proxy/table.py -load "$dir/load.json" $((after - before)) "$(getconf CLK_TCK)"
}
slice() { # ROUND BODY CONNECTIONS: each proxy once
	local i name n=${#proxies[@]} line
	for ((i = 0; i < n; i++)); do
		name=${proxies[(i + $1) % n]}
		[[ $name != merge || $3 -gt 1 ]] || continue
		line=$(saturate "$name" "$2" "$3" "$seconds")
		echo "$run $1 $2 $3 $name full $line 0 0" | tee -a "$raw" >&2
		[[ $3 -gt 1 ]] || continue
		echo "$run $1 $2 $3 $name paced $(pace "$name" "$2" "$3")" | tee -a "$raw" >&2
	done
}

run=$(date +%s)
for name in "${proxies[@]}"; do
	for body in $bodies; do saturate "$name" "$body" 64 1 >/dev/null; done
done
[[ -z $lock ]] || exec 9>"$lock"
for ((round = 0; round < rounds; round++)); do
	for body in $bodies; do
		for number in $connections; do
			[[ -z $lock ]] || flock -x 9
			began=$SECONDS
			slice "$round" "$body" "$number"
			[[ -z $lock ]] || { flock -u 9; sleep $((SECONDS - began)); }
		done
	done
done
python3 benchmarks/proxy/table.py -max-ratio "$max_ratio" "$raw" >"${report:-/dev/stdout}"
