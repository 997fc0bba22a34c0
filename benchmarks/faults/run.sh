#!/usr/bin/env bash
# One of four workers is killed (SIGKILL) every few seconds, and started again a little later, under steady load at 60 % of what
# the four carry: what clients of the router, of nginx and of HAProxy see of it.
#
#   benchmarks/faults/run.sh [-sides "router nginx nginx_tuned haproxy haproxy_tuned"] [-seconds S] [-every S] [-away S] [-rounds N] [-qos MS] [-lock FILE]
#
# The workers are emulated (bench workers): each takes 20 ms for a request, one at a time, so that the four carry 200 requests a
# second. Requests come by the clock (bench load), 120 a second, with the same seed for each side. nginx: least_conn, the next server
# after an error or a timeout, POST too (non_idempotent), max_fails and fail_timeout as they are by default (1, 10 s), and once more
# with a fail_timeout of 1 s. HAProxy: one request at a time to each server and a queue before them, checks every 500 ms, retries 3,
# redispatch, retry-on all that can be retried, and once more marking a server down at its first error (observe). The router: its defaults, and no merging, so that all have the same capacity.
# ROUTER and BENCH name binaries that are used instead of built.
set -euo pipefail
cd "$(dirname "$0")/../.."
self=benchmarks/faults
sides="router nginx nginx_tuned haproxy haproxy_tuned" seconds=40 every=5 away=1.5 rounds=1 qos=200 rate=120
. benchmarks/lib.sh
while [[ $# -gt 0 ]]; do
	case $1 in
	-sides) sides=$2 ;;
	-seconds) seconds=$2 ;;
	-every) every=$2 ;;
	-away) away=$2 ;;
	-rounds) rounds=$2 ;;
	-qos) qos=$2 ;;
	-lock) lock=$2 ;;
	*) usage 2 13 ;;
	esac
	shift 2
done
need nginx=nginx-light haproxy=haproxy curl=curl python3=python3
bench=${BENCH:-$dir/bench} router=${ROUTER:-$dir/router}
[[ -n ${BENCH:-} ]] || go build -o "$bench" ./cmd/bench
[[ -n ${ROUTER:-} ]] || go build -o "$router" ./cmd/router
printf 'model,instance_type,batch,mean_ms,p99_ms\nm,t,1,20,24\n' >"$dir/latencies.csv"

run_router() {
	local i port admin
	free_port admin
	{
		echo "{listen: \"127.0.0.1:$listen\", log: {level: warn}, profiles: [latencies.csv], instance_types: [{name: t}],"
		echo "models: [{name: m, qos: {target: ${qos}ms}, max_batch: 1, batched: true}], workers: ["
		for i in 1 2 3 4; do
			port=port$i
			echo "{name: w$i, type: t, remote: {url: \"http://127.0.0.1:${!port}\"}},"
		done
		echo "]}"
	} >"$dir/router.yaml"
	local flags=()
	! "$router" -h | grep -q -- '-admin ' || flags=(-admin "127.0.0.1:$admin")
	start proxy env GOMAXPROCS=1 "${on_proxy[@]}" "$router" -config "$dir/router.yaml" "${flags[@]}"
}
run_nginx() { nginx_with 10s; }
run_nginx_tuned() { nginx_with 1s; }
nginx_with() { # FAIL-TIMEOUT
	nginx_conf nginx <<-CONF
		upstream pool {
		    least_conn;
		    $(for i in 1 2 3 4; do p=port$i && echo "server 127.0.0.1:${!p} max_fails=1 fail_timeout=$1;"; done)
		    keepalive 64;
		}
		server {
		    listen 127.0.0.1:$listen;
		    location / {
		        proxy_pass http://pool; proxy_http_version 1.1; proxy_set_header Connection '';
		        proxy_connect_timeout 1s; proxy_read_timeout 2s;
		        proxy_next_upstream error timeout http_500 http_502 http_503 http_504 non_idempotent; proxy_next_upstream_tries 4;
		    }
		}
	CONF
	start proxy "${on_proxy[@]}" nginx -c "$dir/nginx/nginx.conf"
}
run_haproxy() { haproxy_with ""; }
run_haproxy_tuned() { haproxy_with "observe layer7 error-limit 1 on-error mark-down"; }
haproxy_with() { # MORE
	cat >"$dir/haproxy.cfg" <<-CONF
		global
		    nbthread 1
		    maxconn 8192
		defaults
		    mode http
		    timeout connect 1s
		    timeout client 60s
		    timeout server 2s
		    timeout queue 5s
		    http-reuse always
		    retries 3
		    option redispatch 1
		    retry-on all-retryable-errors
		frontend in
		    bind 127.0.0.1:$listen
		    default_backend pool
		backend pool
		    balance leastconn
		    option httpchk GET /v2/health/ready
		    default-server check inter 500ms fall 2 rise 1 maxconn 1 $1
		    $(for i in 1 2 3 4; do p=port$i && echo "server w$i 127.0.0.1:${!p}"; done)
	CONF
	start proxy "${on_proxy[@]}" haproxy -db -f "$dir/haproxy.cfg"
}

keeper() { # FILE: has the four workers; once $dir/go is there it kills one after the other, and writes the instants, in seconds of the epoch
	local i n=0 at pids=()
	begin() { # N
		local port=port$1
		"${on_load[@]}" "$bench" workers -q -profiles "$dir/latencies.csv" -model m -mix t=1 -max-batch 1 -listen "127.0.0.1:${!port}" -seed "$1" >"$dir/w$1.log" 2>&1 &
		pids[$1]=$!
	}
	pause() { sleep "$1" & wait $!; } # a signal ends the wait
	trap 'kill "${pids[@]}"; wait; exit' TERM
	for i in 1 2 3 4; do begin "$i"; done
	until [[ -e $dir/go ]]; do pause 0.1; done
	while :; do
		pause "$(awk -v every="$every" -v away="$away" 'BEGIN {print every - away}')"
		i=$((n % 4 + 1)) n=$((n + 1))
		at=$(date +%s.%N)
		kill -9 "${pids[$i]}"
		echo "$at" >>"$1"
		pause "$away"
		begin "$i"
	done
}

measure() { # SIDE ROUND
	local side=$1 i
	free_port listen
	for i in 1 2 3 4; do free_port "port$i"; done
	rm -f "$dir/go"
	: >"$dir/$side.$2.kills"
	start keeper keeper "$dir/$side.$2.kills"
	"run_$side"
	await "http://127.0.0.1:$listen/v2/models/m/ready" "$dir/proxy.log"
	sleep 1
	touch "$dir/go"
	"${on_load[@]}" "$bench" load -q -json -o "$dir/$side.$2.load" -url "http://127.0.0.1:$listen" -model m -rate "$rate" -qos "${qos}ms" \
		-duration "${seconds}s" -warmup 2s -connections 256 -timeout 5s -seed "$2" >"$dir/load.json" || true
	stop keeper
	stop proxy
}

machine
files=()
for ((round = 1; round <= rounds; round++)); do
	for side in $sides; do
		hold measure "$side" "$round"
		files+=("$side:$dir/$side.$round.load:$dir/$side.$round.kills")
	done
done
echo
python3 $self/table.py "${files[@]}"
