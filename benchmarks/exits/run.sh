#!/usr/bin/env bash
# What early exit does to the latency of the built-in model, live: the router with ramps off, in mode latency and in mode
# compute, under the same open-loop load of Fashion-MNIST test pictures, in turns.
#
#   benchmarks/exits/run.sh [-rounds N] [-seconds S] [-rates "Q …"] [-qos D] [-workers N] [-data DIR] [-router-cores L] [-load-cores L]
#
# -workers are embedded ones, one execution at a time each (default: one per core of the router). -router-cores and
# -load-cores are lists as taskset takes them; default: wherever the system puts them. Each router first sees 3,000
# requests that are not counted, from which its controller learns.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=3 seconds=5 rates="100 300" qos=100ms workers=0 data=/usr/share/datasets/fashion-mnist router_cores= load_cores=
while [[ $# -gt 0 ]]; do
	case $1 in
	-rounds) rounds=$2 ;;
	-seconds) seconds=$2 ;;
	-rates) rates=$2 ;;
	-qos) qos=$2 ;;
	-workers) workers=$2 ;;
	-data) data=$2 ;;
	-router-cores) router_cores="taskset -c $2" ;;
	-load-cores) load_cores="taskset -c $2" ;;
	*) sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
	esac
	shift 2
done
if [[ ! -d $data ]]; then
	echo "benchmarks/exits: $data is missing: run 'apt-get install dataset-fashion-mnist' as root, or name another with -data" >&2
	exit 2
fi

self=benchmarks/exits
. benchmarks/lib.sh
router=${ROUTER:-$dir/router} bench=${BENCH:-$dir/bench}
[[ -n ${ROUTER:-} ]] || go build -o "$router" ./cmd/router
[[ -n ${BENCH:-} ]] || go build -o "$bench" ./cmd/bench

for round in $(seq "$rounds"); do
	for mode in off latency compute; do
		free_port port
		free_port admin
		sed -e "s/^listen:.*/listen: \"127.0.0.1:$port\"/" -e "s/mode: latency /mode: $mode /" -e "s/count: 0 /count: $workers /" \
			configs/earlyexit.yaml >"$dir/config.yaml"
		start router $router_cores "$router" -config "$dir/config.yaml" -admin "127.0.0.1:$admin"
		await "http://127.0.0.1:$port/v2/health/ready" "$dir/router.log"
		load() { $load_cores "$bench" load -url "http://127.0.0.1:$port" -model fashion -data "$data" -q "$@"; }
		first=${rates%% *}
		load -rate "$first" -requests 3000 -warmup 1s >/dev/null
		for rate in $rates; do
			load -rate "$rate" -duration "${seconds}s" -warmup 1s -qos "$qos" -seed "$rate$round" -json >"$dir/$mode.$rate.$round.json" ||
				{ cat "$dir/$mode.$rate.$round.json" "$dir/router.log" >&2; exit 1; }
		done
		python3 - "$dir/exits.$mode.$round.json" "$admin" <<-'PY'
			import sys, urllib.request
			open(sys.argv[1], "wb").write(urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[2]}/debug/exits").read())
		PY
		stop router
	done
done

python3 - "$dir" "$rounds" $rates <<'PY'
import json, statistics, sys
where, rounds, rates = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
median = statistics.median
print("| rate | mode | p50 ms | less | p95 ms | p99 ms | goodput/s | early | accuracy |\n|---|---|---|---|---|---|---|---|---|")
for rate in rates:
    off = []
    for mode in ("off", "latency", "compute"):
        runs = [json.load(open(f"{where}/{mode}.{rate}.{i + 1}.json"))[0] for i in range(rounds)]
        p50 = [r["p50_ms"] for r in runs]
        off = off or p50
        less = [100 * (1 - a / b) for a, b in zip(p50, off)]
        early = [sum(n for k, n in r["exits"].items() if int(k) < 6) / max(1, r["ok"]) for r in runs]
        mid = lambda key: median(r[key] for r in runs)
        print(f"| {rate} | {mode} | {median(p50):.2f} | {median(less):.0f} % ({min(less):.0f} to {max(less):.0f}) | {mid('p95_ms'):.2f} | {mid('p99_ms'):.2f} "
              f"| {mid('goodput_qps'):.0f} | {100 * median(early):.0f} % | {100 * mid('accuracy'):.2f} % |")
for mode in ("latency", "compute"):
    seen = [json.load(open(f"{where}/exits.{mode}.{i + 1}.json"))[0] for i in range(rounds)]
    print(f"{mode}: agreement as the router counts it", ", ".join(f"{100 * x['agreement']:.2f} % of {x['seen']} ({x['audited']} audited)" for x in seen))
PY
