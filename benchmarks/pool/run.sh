#!/usr/bin/env bash
# What a pool of unlike workers carries behind the router, nginx and HAProxy: the allowable throughput, the highest rate at
# which 99 % of the requests are answered within the target, live and as the simulator has it.
#
#   benchmarks/pool/run.sh [-models wnd,rm2] [-sides REGEX] [-rounds N] [-seconds S] [-samples FILE] [-results FILE]
#
# Every side has the mix for at most 2.5 USD/h, and the weights, that suit it best (sides.txt says which, and docs/performance.md
# how they were found). Workers are emulated (bench workers), requests come by the clock (bench load -search). Latencies are
# KAIROS's samples where -samples names them, else the built-in table; all times are dilated by the model's factor below.
# Rounds alternate between the sides, each with a seed of its own. With -results what was measured is added to FILE, and
# the table is of all that is in it; without rounds (-rounds 0) there is only the simulator. SECONDS are of each rate
# that is tried. HAProxy and nginx are installed where they are missing.
set -euo pipefail
cd "$(dirname "$0")/../.."
self=benchmarks/pool
models=wnd,rm2 sides=. rounds=3 seconds=8 samples= results=
# wnd: twice as slow. rm2, whose target is 350 ms, four times as fast: both targets then lie between 50 and 90 ms, far
# over what sockets and clocks add, and both rates keep two cores less than half busy.
declare -A dilate=([wnd]=2 [rm2]=0.25) qos=([wnd]=50 [rm2]=87.5) # ms, dilated
. benchmarks/lib.sh
while [[ $# -gt 0 ]]; do
	case $1 in
	-models) models=$2 ;;
	-sides) sides=$2 ;;
	-rounds) rounds=$2 ;;
	-seconds) seconds=$2 ;;
	-samples) samples=$2 ;;
	-results) results=$2 ;;
	*) usage 2 13 ;;
	esac
	shift 2
done
need nginx=nginx-light haproxy=haproxy curl=curl jq=jq
bench=${BENCH:-$dir/bench} router=${ROUTER:-$dir/router}
[[ -n ${BENCH:-} ]] || go build -o "$bench" ./cmd/bench
[[ -n ${ROUTER:-} ]] || go build -o "$router" ./cmd/router
: "${results:=$dir/results}"
touch "$results"
latencies=() && [[ -z $samples ]] || latencies=(-samples "$samples")

simulate() { # MODEL MIX POLICY BATCHING RATE: requests/s that are allowable, or the share within QoS at RATE
	local how=(-search)
	[[ $5 == search ]] || how=(-rate "$5")
	[[ $4 == dynamic || $3 == priced ]] || how+=(-no-merge)
	"$bench" sim -q -json "${latencies[@]}" -model "$1" -dilate "${dilate[$1]}" -mix "$2" -policy "$3" "${how[@]}" |
		jq -r '.[0] | if .allowable_qps then .allowable_qps else .qos_ok end'
}

servers() { # FORMAT WEIGHT: a line for each worker; FORMAT of its name, its address and its weight
	local name url type weight
	while read -r name url type; do
		weight=1
		[[ $type != g4dn.* ]] || weight=$2
		printf "$1\n" "$name" "${url#http://}" "$weight"
	done <"$dir/workers.log"
}

start_nginx() { # BALANCE WEIGHT
	cat >"$dir/nginx.conf" <<-CONF
		worker_processes 1; daemon off; pid $dir/nginx.pid; error_log $dir/error.log crit;
		events { worker_connections 8192; }
		http {
		access_log off; client_body_temp_path $dir/body; proxy_temp_path $dir/proxy; fastcgi_temp_path $dir/fastcgi;
		uwsgi_temp_path $dir/uwsgi; scgi_temp_path $dir/scgi; client_body_buffer_size 64k; keepalive_requests 1000000000;
		upstream pool { $1; $(servers '# %s\n server %s weight=%s max_fails=0;' "$2") keepalive 512; keepalive_requests 1000000000; }
		server { listen 127.0.0.1:$port;
		location / { proxy_pass http://pool; proxy_http_version 1.1; proxy_set_header Connection ''; } }
		}
	CONF
	start proxy "${on_proxy[@]}" nginx -c "$dir/nginx.conf"
}

start_haproxy() { # BALANCE WEIGHT MAXCONN
	cat >"$dir/haproxy.cfg" <<-CONF
		global
		    nbthread 1
		    maxconn 8192
		defaults
		    mode http
		    timeout connect 5s
		    timeout client 60s
		    timeout server 60s
		    timeout queue 60s
		    http-reuse always
		frontend in
		    bind 127.0.0.1:$port
		    default_backend pool
		backend pool
		    balance $1
		$(servers "    server %s %s weight %s ${3:+maxconn $3}" "$2")
	CONF
	start proxy "${on_proxy[@]}" haproxy -db -f "$dir/haproxy.cfg"
}

busy() { # CPU ticks that all programs had, and ticks that there were, since the machine began
	awk '/^cpu / {for (i = 2; i <= 9; i++) n += $i; print n - $5 - $6, n}' /proc/stat
}

measure() { # MODEL SIDE MIX PROXY BALANCE WEIGHT BATCHING RATE SIMULATED ROUND
	local before after start=$8 how=(-search -rate "$(awk -v r="$9" 'BEGIN {print 0.97 * r}')")
	[[ $8 == search ]] || how=(-rate "$8")
	local config=()
	free_port port
	[[ $4 != router ]] || config=(-policy "$5" -config "$dir/router.yaml" -router "127.0.0.1:$port")
	start workers "${on_load[@]}" "$bench" workers -q "${latencies[@]}" -model "$1" -dilate "${dilate[$1]}" -mix "$3" -batching "$7" \
		-listen 127.0.0.1:9000+ -seed "${10}" "${config[@]}"
	for _ in $(seq 100); do [[ ! -s $dir/workers.log ]] || break; sleep 0.1; done
	sleep 0.1 # until all their lines are there
	case $4 in
	router) start proxy env GOMAXPROCS=1 "${on_proxy[@]}" "$router" -config "$dir/router.yaml" -admin off ;;
	nginx) start_nginx "$5" "$6" ;;
	haproxy) start_haproxy "${5%,*}" "$6" "$(sed -n 's/.*,maxconn=//p' <<<"$5")" ;;
	esac
	await "http://127.0.0.1:$port/v2/models/$1/ready" "$dir/proxy.log"
	read -r -a before < <(busy)
	"${on_load[@]}" "$bench" load -q -json -url "http://127.0.0.1:$port" -model "$1" -binary -sizes kairos -qos "${qos[$1]}ms" \
		"${how[@]}" -duration "${seconds}s" -warmup 1s -connections 1024 -timeout 5s -seed "${10}" >"$dir/load.json" || true
	read -r -a after < <(busy)
	stop proxy
	stop workers
	jq -r --arg model "$1" --arg side "$2" --arg busy "$(((after[0] - before[0]) * 100 / (after[1] - before[1])))" --arg sim "$9" '.[0] |
		["live", $model, $side, (.allowable_qps // .qos_ok), $sim, .qos_ok, .p50_ms, .p99_ms, .own_p99_ms, $busy] | @tsv' "$dir/load.json" |
		tee -a "$results"
}

todo() { # the lines of sides.txt that were asked for
	awk -F'\t' -v models=",$models," -v sides="$sides" '!/^#/ && index(models, "," $1 ",") && $2 ~ sides' $self/sides.txt
}

simulated() { awk -F'\t' -v model="$1" -v side="$2" '$1 == "sim" && $2 == model && $3 == side {print $4}' "$results"; }

while IFS=$'\t' read -r model side mix proxy balance weight batching policy rate; do
	[[ -z $(simulated "$model" "$side") ]] || continue
	figure=$(simulate "$model" "$mix" "$policy" "$batching" "$rate" </dev/null)
	printf 'sim\t%s\t%s\t%s\n' "$model" "$side" "$figure" >>"$results"
done < <(todo)
machine
for ((round = 0; round < rounds; round++)); do
	while IFS=$'\t' read -r model side mix proxy balance weight batching policy rate; do
		seed=$(($(awk -F'\t' -v model="$model" -v side="$side" '$1 == "live" && $2 == model && $3 == side' "$results" | wc -l) + 1))
		measure "$model" "$side" "$mix" "$proxy" "$balance" "$weight" "$batching" "$rate" "$(simulated "$model" "$side")" "$seed" </dev/null
	done < <(todo)
done
awk -f $self/table.awk $self/sides.txt "$results"
