#!/usr/bin/env bash
# How many requests `bench load` sends, beside wrk, in one run: the same 1 KB JSON inference request to the same nginx with a
# fixed answer, one thread each, in turns. bench load is asked for more than there can be, and checks every answer.
#
#   benchmarks/load/run.sh [-rounds N] [-seconds S] [-connections C] [-min-ratio R]
#
# With -min-ratio the status is 1 if the median of bench load's rate over wrk's is under R.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=5 seconds=3 connections=64 min_ratio=0
self=benchmarks/load
. benchmarks/lib.sh
while [[ $# -gt 0 ]]; do
	case $1 in
	-rounds) rounds=$2 ;;
	-seconds) seconds=$2 ;;
	-connections) connections=$2 ;;
	-min-ratio) min_ratio=$2 ;;
	*) usage 2 7 ;;
	esac
	shift 2
done
need nginx=nginx-light wrk=wrk curl=curl
free_port port

answer='{"model_name":"proxied","model_version":"1","outputs":[{"name":"y","datatype":"FP32","shape":[1,8],"data":[0.125,0.125,0.125,0.125,0.125,0.125,0.125,0.125]}]}'
nginx_conf upstream <<<"server { listen 127.0.0.1:$port; default_type application/json; location / { return 200 '$answer'; } }"
request_bodies

go build -o "$dir/bench" ./cmd/bench
start upstream nginx -c "$dir/upstream/nginx.conf"
await "http://127.0.0.1:$port/" "$dir/upstream.log"

machine
for ((round = 0; round < rounds; round++)); do
	BODY=$dir/json.body wrk -t1 -c"$connections" -d"${seconds}s" -s benchmarks/proxy/infer.lua "http://127.0.0.1:$port" |
		awk '/^RESULT/ {printf "%.0f ", $2 / $4 * 1e6}' | tee -a "$dir/results"
	"$dir/bench" load -url "http://127.0.0.1:$port" -model proxied -body "$dir/json.body" -connections "$connections" \
		-rate 200000 -warmup 100ms -duration "${seconds}s" -json -q | grep -o '"achieved_qps":[0-9.]*' | cut -d: -f2 | tee -a "$dir/results"
done
sort -n <(awk '{print $2 / $1}' "$dir/results") | awk -v min="$min_ratio" '
	{ r[NR] = $1 }
	END {
		m = NR % 2 ? r[(NR + 1) / 2] : (r[NR / 2] + r[NR / 2 + 1]) / 2
		printf "requests per second, bench load ÷ wrk: %.2f (%.2f to %.2f over %d rounds)\n", m, r[1], r[NR], NR
		if (m < min) { printf "%.2f is less than %.2f\n", m, min; exit 1 }
	}'
