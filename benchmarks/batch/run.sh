#!/usr/bin/env bash
# One MLServer whose calls have a fixed cost (a forest of 100 trees, 5 ms for one picture as for 64), behind nginx without and
# with MLServer's own batching, and behind the router, which merges, without: the rate that each carries with 99 % of the
# answers within a target, and what each answers at most, to so many connections.
#
#   benchmarks/batch/run.sh [-rounds N] [-seconds S] [-qos D] [-batching SIZE:SECONDS] [-max-batch N] [-concurrency N]
#                           [-at-once N] [-tune SIZE:SECONDS,…] [-lock FILE] [-min-off R] [-min-on R]
#
# The server has one core; the generator and the proxy share the other, where there are two. -tune first finds the best of the
# settings of MLServer's own batching. With -min-off or -min-on the status is 1 if the router's rate is under R times that of nginx
# without or with the server's batching. -max-batch and -concurrency are the router's.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=5 seconds=2 qos=250ms batching=64:0.02 max_batch=64 concurrency=1 at_once=256 tune= min_off=0 min_on=0
self=benchmarks/batch
. benchmarks/lib.sh
while [[ $# -gt 0 ]]; do
	case $1 in
	-rounds) rounds=$2 ;;
	-seconds) seconds=$2 ;;
	-qos) qos=$2 ;;
	-batching) batching=$2 ;;
	-max-batch) max_batch=$2 ;;
	-concurrency) concurrency=$2 ;;
	-at-once) at_once=$2 ;;
	-tune) tune=${2//,/ } ;;
	-lock) lock=$2 ;;
	-min-off) min_off=$2 ;;
	-min-on) min_on=$2 ;;
	*) usage 2 11 ;;
	esac
	shift 2
done
need nginx=nginx-light curl=curl
python_env

# One MLServer for each setting of its batching; those that are not asked for anything take no time.
settings=(off) sizes=(0,0)
for one in ${tune:-$batching}; do
	settings+=("on-${one/:/-}") sizes+=("${one/:/,}")
done
declare -A port_of
arguments=()
for i in "${!settings[@]}"; do
	free_port http
	free_port grpc
	free_port metrics
	port_of[${settings[i]}]=$http
	arguments+=("${settings[i]}=$http,$grpc,$metrics,${sizes[i]}")
done
mkdir "$dir/models"
"$venv/bin/python" benchmarks/batch/model.py "$dir/models" "${arguments[@]}"
bodies=()
for file in "$dir"/models/bodies/*; do bodies+=(-body "$file"); done

servers=()
serve() { # SETTING: MLServer, and nginx before it, at the port in nginx_port
	local name=${1//[-.]/_} server
	start "mlserver_$name" env OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 "${on_proxy[@]}" "$venv/bin/mlserver" start "$dir/models/$1"
	server=mlserver_${name}_pid
	servers+=("${!server}")
	await "http://127.0.0.1:${port_of[$1]}/v2/health/ready" "$dir/mlserver_$name.log" 60
	free_port nginx_port
	nginx_conf "nginx_$name" <<<"upstream worker { server 127.0.0.1:${port_of[$1]}; keepalive 1024; keepalive_requests 1000000000; }
		server { listen 127.0.0.1:$nginx_port; location / { proxy_pass http://worker; proxy_http_version 1.1; proxy_set_header Connection ''; } }"
	start "nginx_$name" "${on_load[@]}" nginx -c "$dir/nginx_$name/nginx.conf"
	await "http://127.0.0.1:$nginx_port/v2/health/ready" "$dir/nginx_$name.log"
}

go build -o "$dir/bench" ./cmd/bench
router_binary=${ROUTER:-$dir/router}
[[ -n ${ROUTER:-} ]] || go build -o "$router_binary" ./cmd/router

field() { # NAME JSON
	grep -o "\"$1\":[^,}]*" <<<"$2" | head -1 | cut -d: -f2
}
load() { # PORT CONNECTIONS FLAG…: bench load's JSON, without spaces
	local port=$1 connections=$2
	shift 2
	"${on_load[@]}" "$dir/bench" load -url "http://127.0.0.1:$port" -model digits "${bodies[@]}" -connections "$connections" \
		-qos "$qos" -json -q "$@" 2>"$dir/load.log" | tr -d ' \n' || true
}
busy() { # CPU ticks of all MLServers
	local pid sum=0
	for pid in "${servers[@]}"; do sum=$((sum + $(ticks "$pid"))); done
	echo $sum
}
settle() { # until they have worked off what they were sent, also what nobody waits for any more
	local before now _
	for _ in $(seq 100); do
		before=$(busy)
		sleep 0.2
		now=$(busy)
		((now - before > 2)) || return 0
	done
	echo "$self: the servers do not come to rest" >&2
}
measure() { # NAME PORT RATE: a line "name allowable p50 p99 own-p99 most wrong": rates per second, ms
	local found most
	# The timeout is long enough for a server to work off what a rate too high has left before the next begins.
	found=$(load "$2" 1024 -search -rate "$3" -duration "${seconds}s" -warmup 500ms -timeout 5s -seed "$seed")
	# More is scheduled than there are connections for: each sends its next request when it has its answer. The router must
	# not turn away what waits longer than the target, since the others do not.
	settle
	most=$(load "$2" "$at_once" -rate 10000 -duration "${seconds}s" -warmup 1s -timeout 3s -header "x-request-timeout-ms: 60000" -seed "$seed")
	settle
	echo "$1 $(field allowable_qps "$found") $(field p50_ms "$found") $(field p99_ms "$found") $(field own_p99_ms "$found")" \
		"$(field achieved_qps "$most") $(field wrong "$most")"
}

serve off
off=$nginx_port
free_port router
free_port admin
cat >"$dir/router.yaml" <<YAML
listen: "127.0.0.1:$router"
log: {level: warn}
models:
  - name: digits
    qos: {target: $qos, percentile: 99}
    max_batch: $max_batch
    batched: true
instance_types:
  - name: core
workers:
  - name: mlserver
    type: core
    concurrency: $concurrency
    remote: {url: "http://127.0.0.1:${port_of[off]}", timeout: 60s}
YAML
start router env GOMAXPROCS=1 "${on_load[@]}" "$router_binary" -config "$dir/router.yaml" -admin "127.0.0.1:$admin"
await "http://127.0.0.1:$router/v2/health/ready" "$dir/router.log"
machine
echo "a forest of 100 trees on MLServer $("$venv/bin/mlserver" --version | sed 's/.* //'), target $qos at 99 %, $rounds rounds, $seconds s for each rate;" \
	"router: max_batch $max_batch, concurrency $concurrency; connections without a pause: $at_once"
seed=0
if [[ -n $tune ]]; then
	declare -A tuned=()
	for one in $tune; do
		serve "on-${one/:/-}"
		tuned[$one]=$nginx_port
	done
	each_setting() {
		local one
		for one in $tune; do measure "$one" "${tuned[$one]}" 300; done
	}
	hold each_setting | tee "$dir/tuned"
	batching=$(sort -k2,2gr "$dir/tuned" | head -1 | cut -d' ' -f1)
	on=${tuned[$batching]}
	echo "MLServer's own batching from here on: $batching"
else
	serve "on-${batching/:/-}"
	on=$nginx_port
fi

batches() { # requests and executions so far
	curl -s "http://127.0.0.1:$admin/metrics" | awk '/^motley_batch_size_items_sum/ {s += $2} /^motley_batch_size_items_count/ {n += $2} END {print s + 0, n + 0}'
}
one_round() { # the three in turn, and the other way round
	local names=(off on router) name
	if ((seed % 2 == 0)); then names=(router on off); fi
	for name in "${names[@]}"; do measure "$name" "${!name}" "${from[$name]}" | tee -a "$dir/results"; done
}
declare -A from=([off]=80 [on]=400 [router]=3000) # rates that searches begin with
echo "name, allowable rate/s, p50 and p99 there, ms, the generator's own p99, ms, rate without a pause, wrong answers"
for ((round = 0; round < rounds; round++)); do
	seed=$((seed + 1))
	hold one_round
done
batches | awk '{printf "items per execution, of the router: %.1f\n", $1 / $2}'

awk '$2 !~ /^[0-9.]+$/ || $7 != 0 {bad = 1} END {exit bad}' "$dir/results" || { echo "a round gave no rate, or answers were wrong: the figures do not count"; exit 1; }
status=0
ratio() { # COLUMN OVER MIN WHAT
	local m low high
	read -r m low high < <(awk -v c="$1" -v over="$2" '{v[$1, ++n[$1]] = $c} END {for (i = 1; i <= n["router"]; i++) print v["router", i] / v[over, i]}' \
		"$dir/results" | median)
	printf '%s: %.2f (%.2f to %.2f)\n' "$4" "$m" "$low" "$high"
	if awk -v m="$m" -v min="$3" 'BEGIN {exit m >= min}'; then status=1; echo "that is less than $3"; fi
}
ratio 2 off "$min_off" "rate within $qos, router ÷ nginx, server without batching"
ratio 2 on "$min_on" "rate within $qos, router ÷ nginx, server with batching $batching"
ratio 6 off 0 "rate without a pause, router ÷ nginx, server without batching"
ratio 6 on 0 "rate without a pause, router ÷ nginx, server with batching $batching"
exit $status
