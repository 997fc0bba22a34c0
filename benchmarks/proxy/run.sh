#!/usr/bin/env bash
# The router as a plain proxy, beside what else one would take: CPU time per request, requests per second, latency.
#
#   benchmarks/proxy/run.sh [-rounds N] [-seconds S] [-connections "1 64 512"] [-bodies "json binary"] [-peers "nginx haproxy …"]
#       [-merge ROWS] [-in-flight N] [-max-ratio R] [-o RAW] [-report FILE] [-lock FILE] [-hold S]
#
# Peers: nginx and haproxy (Debian packages), caddy (built from its Go module), vllm_router, sglang_router and litellm (PyPI); the last
# four are kept in $MOTLEY_BENCH_CACHE, ~/.cache/motley-bench by default. Those that cannot be had are left out, and the table says so.
#
# All have the same upstream, an nginx with fixed answers, which shares a core with what makes the load; what is measured has
# another core. In each round every proxy is saturated by wrk and then, from 64 connections on, loaded by bench load with 80 % of
# what it just carried. -merge (default 32, 0: leave it out): the router once more, with so many rows merged at the most, over
# -in-flight connections (1) to the upstream. -o appends raw results to a file, so that a run can be taken up again; -report
# writes the table of all of them to a file. -lock takes turns with others who measure on this machine: FILE is locked for -hold
# seconds (80) at a time, and left alone for as long in between. With -max-ratio the status is 1 if the router, not merging, takes
# more than R times nginx's CPU time per request anywhere. ROUTER and BENCH name binaries that are used instead of built.
set -euo pipefail
cd "$(dirname "$0")/../.."
command=benchmarks/proxy/run.sh # as the page shows it: with the flags that change figures
rounds=5 seconds=2 connections="1 64 512" bodies="json binary" peers="nginx haproxy caddy vllm_router sglang_router litellm" merge=32 in_flight=1 max_ratio=0 raw= report= lock= hold=80
self=benchmarks/proxy
. benchmarks/lib.sh
. benchmarks/proxy/peers.sh
while [[ $# -gt 0 ]]; do
	case $1 in
	-o | -report | -lock | -hold | -max-ratio) ;;
	*) command+=" $1 '${2-}'" ;;
	esac
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
	-hold) hold=$2 ;;
	*) usage 2 20 ;;
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

found=()
for peer in $peers; do
	if ! declare -F "have_$peer" >/dev/null; then
		echo "$self: there is no peer $peer" >&2
		exit 2
	elif why=$("have_$peer" 2>&1 >/dev/null); then
		note "version $peer $("version_$peer")"
		found+=("$peer")
	else
		echo "$self: LEFT OUT: $peer: $why" >&2
		note "missing $peer: $(tail -1 <<<"$why")"
	fi
done

held=$SECONDS
take_turn() { # gives the lock back, waits as long as it was held, and takes it again
	[[ -n $lock ]] || return 0
	flock -u 9
	sleep $((SECONDS - held))
	flock -x 9
	held=$SECONDS
}
[[ -z $lock ]] || exec 9>"$lock"
take_turn
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
for peer in "${found[@]}"; do bring_up "$peer" "$(ready_path "$peer")"; done
bring_up router /v2/health/ready
[[ $merge -le 1 ]] || bring_up merge /v2/health/ready

saturate() { # NAME BODY CONNECTIONS SECONDS: one line "req/s p50-µs p99-µs CPU-µs-per-request errors"
	local port=${1}_port pid=${1}_pid before after how=()
	[[ $2 != binary ]] || how=("HEAD_LENGTH=$head_length")
	[[ $2 != openai ]] || how=("URL_PATH=/v1/completions")
	before=$(ticks "${!pid}")
	env BODY="$dir/$2.body" "${how[@]}" "${on_load[@]}" wrk -t1 -c"$3" -d"$4s" -s benchmarks/proxy/infer.lua --timeout 5s "http://127.0.0.1:${!port}" >"$dir/wrk.out"
	after=$(ticks "${!pid}")
	awk -v ticks=$((after - before)) -v hz="$(getconf CLK_TCK)" '/^RESULT/ {
		printf "%.0f %d %d %.3f %d\n", $2 / $4 * 1e6, $5, $6, ticks / hz * 1e6 / ($2 + ($2 == 0)), $3 }' "$dir/wrk.out"
}
pace() { # NAME BODY CONNECTIONS CAPACITY: the same line for bench load at 80 % of the capacity, and the rate, and its own delay's p99 in µs
	local port=${1}_port pid=${1}_pid before after rate=$(($4 * 8 / 10))
	before=$(ticks "${!pid}")
	"${on_load[@]}" "$bench" load -url "http://127.0.0.1:${!port}" -model proxied -body "$dir/$2.body" -connections "$3" -rate "$rate" \
		-warmup 300ms -duration "${seconds}s" -timeout 5s -json -q >"$dir/load.json" || true
	after=$(ticks "${!pid}")
	python3 benchmarks/proxy/table.py -load "$dir/load.json" 0.3 $((after - before)) "$(getconf CLK_TCK)"
}
settle() { # NAME: waits until it is done with what nobody waits for any more, 20 s at most; prints how busy the machine still is, in %
	local pid=${1}_pid own before after _
	for _ in {1..100}; do
		own=$(ticks "${!pid}") before=$(head -1 /proc/stat)
		sleep 0.2
		after=$(head -1 /proc/stat) own=$(($(ticks "${!pid}") - own))
		((own > 2)) || break
	done
	echo "$before $after" | awk '{idle = $16 + $17 - $5 - $6; for (i = 13; i <= 20; i++) all += $i - $(i - 11); printf "%.0f", all ? 100 * (1 - idle / all) : 0}'
}
slice() { # ROUND BODY CONNECTIONS: each proxy once
	local i name body n=${#proxies[@]} line busy
	busy=$(settle direct)
	for ((i = 0; i < n; i++)); do
		name=${proxies[(i + $1) % n]}
		[[ $name != merge || $3 -gt 1 ]] || continue
		body=$2
		if openai_only "$name"; then
			[[ $body == json && ($name != litellm || $3 -le 64) ]] || continue # LiteLLM answers none of 512 before a round ends
			body=openai
		fi
		line=$(saturate "$name" "$body" "$3" "$seconds")
		echo "$run $1 $body $3 $name full $line 0 0 $busy" | tee -a "$raw" >&2
		busy=$(settle "$name")
		[[ $3 -gt 1 && $body != openai && $name != direct ]] || continue
		echo "$run $1 $2 $3 $name paced $(pace "$name" "$2" "$3" "${line%% *}") $busy" | tee -a "$raw" >&2
	done
}

run=$(date +%s) longest=0
for name in "${proxies[@]}"; do # warm it up
	for body in $bodies; do
		if openai_only "$name"; then body=openai; fi
		saturate "$name" "$body" 64 1 >/dev/null
		settle "$name" >/dev/null
	done
done
for ((round = 0; round < rounds; round++)); do
	for body in $bodies; do
		for number in $connections; do
			((SECONDS - held + longest < hold)) || take_turn
			began=$SECONDS
			slice "$round" "$body" "$number"
			((SECONDS - began <= longest)) || longest=$((SECONDS - began))
		done
	done
done
python3 benchmarks/proxy/table.py -max-ratio "$max_ratio" "$raw" >"${report:-/dev/stdout}"
