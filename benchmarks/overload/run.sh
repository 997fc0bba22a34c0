#!/usr/bin/env bash
# Ten times what the workers carry, for a minute: what is still answered in time, how soon the others are refused, what the router
# takes for it.
#
#   benchmarks/overload/run.sh [-seconds S] [-factor F] [-lock FILE]
#
# Two emulated workers (bench workers) that take 44 ms for one row and 340 ms for 32, so that they carry some 185 requests a second;
# the target is 1 s. Requests of one row come by the clock (bench load): at rates around the capacity, to find the peak; at 80 % of it;
# at F (10) times for S (60) seconds, with one more client that comes back when it is told to; and once more with 40 % of the capacity at
# priority 1 and the rest at priority 2. ROUTER and BENCH name binaries that are used instead of built.
set -euo pipefail
cd "$(dirname "$0")/../.."
self=benchmarks/overload
seconds=60 factor=10 capacity=185
. benchmarks/lib.sh
while [[ $# -gt 0 ]]; do
	case $1 in
	-seconds) seconds=$2 ;;
	-factor) factor=$2 ;;
	-lock) lock=$2 ;;
	*) usage 2 10 ;;
	esac
	shift 2
done
need curl=curl python3=python3
bench=${BENCH:-$dir/bench} router=${ROUTER:-$dir/router}
[[ -n ${BENCH:-} ]] || go build -o "$bench" ./cmd/bench
[[ -n ${ROUTER:-} ]] || go build -o "$router" ./cmd/router
printf 'model,instance_type,batch,mean_ms,p99_ms\nm,slow,1,44,56\nm,slow,8,120,150\nm,slow,32,340,420\n' >"$dir/latencies.csv"
free_port port
free_port admin
start workers "${on_load[@]}" "$bench" workers -q -profiles "$dir/latencies.csv" -model m -mix slow=2 -listen 127.0.0.1:9000+ \
	-config "$dir/router.yaml" -router "127.0.0.1:$port" -qos 1s
until [[ $(grep -c http "$dir/workers.log") == 2 ]]; do sleep 0.1; done
flags=()
! "$router" -h | grep -q -- '-admin ' || flags=(-admin "127.0.0.1:$admin")
start router env GOMAXPROCS=1 "${on_proxy[@]}" "$router" -config "$dir/router.yaml" "${flags[@]}"
await "http://127.0.0.1:$port/v2/models/m/ready" "$dir/router.log"

load() { # NAME SECONDS FLAG…: results to $dir/NAME.json
	local name=$1 time=$2
	shift 2
	"${on_load[@]}" "$bench" load -q -json -url "http://127.0.0.1:$port" -model m -qos 1s -warmup 2s -duration "${time}s" -connections 2048 \
		-timeout 5s "$@" >"$dir/$name.json" || true
}
watch() { # FILE: the router's memory, KB, ten times a second
	while grep VmRSS "/proc/$router_pid/status" | tr -dc '0-9\n' >>"$1"; do sleep 0.1; done 2>/dev/null
}
rate() { awk -v c="$capacity" -v f="$1" 'BEGIN {print c * f}'; }

peak() { load peak 5 -rate "$(rate 0.8)..$(rate 1.2)" -steps 5; }
normal() {
	start watch watch "$dir/normal.rss"
	load normal 10 -rate "$(rate 0.8)"
	stop watch
}
over() {
	start watch watch "$dir/over.rss"
	start probe python3 $self/probe.py "$port" m "$((seconds + 1))" "$dir/probe"
	load over "$seconds" -rate "$(rate "$factor")" -o "$dir/over.load"
	stop probe
	stop watch
}
mixed() {
	start low_load load low 15 -rate "$(rate "$(awk -v f="$factor" 'BEGIN {print f - 0.4}')")" -param priority=2
	load high 15 -rate "$(rate 0.4)" -param priority=1 -seed 2
	wait "$low_load_pid"
}

machine
for step in peak normal over mixed; do hold "$step"; done
echo
python3 $self/table.py "$dir" "$capacity" "$factor"
