# What the scripts under benchmarks/ have in common; sourced with the project's root as the directory, `set -euo pipefail`
# before, and $self the script's name for messages.

dir=$(mktemp -d)
pids=()
cleanup() { # ends what start began, and nothing else
	local pid
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
	for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
	rm -rf "$dir"
}
trap cleanup EXIT

usage() { # FIRST LAST: the script's own lines that say how it is called
	sed -n "$1,$2s/^# \{0,1\}//p" "$0" >&2
	exit 2
}

need() { # TOOL=PACKAGE…: installs Debian packages of tools that are missing where it may
	local pair missing=()
	for pair in "$@"; do command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}"); done
	[[ ${#missing[@]} -gt 0 ]] || return 0
	if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
	else
		echo "$self: run 'apt-get install ${missing[*]}' as root" >&2
		exit 2
	fi
}

taken=()
free_port() { # NAME: a port of loopback that nobody listens on, into the variable NAME; never the same one twice
	local candidate
	while :; do
		candidate=$((20000 + RANDOM % 12000))
		[[ " ${taken[*]} " != *" $candidate "* ]] || continue
		(exec 3<>"/dev/tcp/127.0.0.1/$candidate") 2>/dev/null && continue
		taken+=("$candidate")
		printf -v "$1" %s "$candidate"
		return
	done
}

# Cores of this process, one per line; on_load gets the first, on_proxy, what is measured, the second, where there are two.
cores=$(taskset -pc $$ 2>/dev/null | sed 's/.*: //' | tr ',' '\n' | awk -F- '{for (i = $1; i <= ($2 == "" ? $1 : $2); i++) print i}')
on_load=() on_proxy=()
if [[ $(grep -c . <<<"$cores") -ge 2 ]]; then
	on_load=(taskset -c "$(sed -n 1p <<<"$cores")") on_proxy=(taskset -c "$(sed -n 2p <<<"$cores")")
fi

start() { # NAME COMMAND…: in the background; its pid goes to the variable NAME_pid, what it prints to $dir/NAME.log
	local name=$1
	shift
	"$@" >"$dir/$name.log" 2>&1 9>&- & # 9: a lock of the script's, which must not outlive it
	pids+=($!)
	printf -v "${name}_pid" %s $!
}

stop() { # NAME: ends what start NAME began
	local pid=${1}_pid
	kill "${!pid}" 2>/dev/null || true
	wait "${!pid}" 2>/dev/null || true
	pids=($(printf '%s\n' "${pids[@]}" | grep -vx "${!pid}" || true))
}

await() { # URL LOG [SECONDS]
	local _
	for _ in $(seq $((${3:-10} * 10))); do
		curl -sf -o /dev/null --max-time 1 "$1" && return
		sleep 0.1
	done
	echo "$self: nothing answers at $1" >&2
	cat "$2" >&2 || true
	exit 1
}

tree() { # PID: it and all that it started, one per line
	local child
	echo "$1"
	for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do tree "$child"; done
}

ticks() { # PID: CPU ticks, user and system, of a process and all that it started
	local pid
	for pid in $(tree "$1"); do sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null; done | awk '{n += $12 + $13} END {print n + 0}'
}

nginx_conf() { # NAME: the configuration of one nginx process in $dir/NAME, with the blocks from standard input inside http
	mkdir -p "$dir/$1"
	sed -e '1d' -e "s|@DIR@|$dir/$1|" -e '/^@SERVER@$/{r /dev/stdin' -e 'd}' benchmarks/proxy/nginx.conf.in >"$dir/$1/nginx.conf"
}

request_bodies() { # one row for the model "proxied": $dir/json.body, 1 KB of JSON; $dir/binary.body, 4 KB behind a head of
# $head_length bytes; $dir/openai.body, 1 KB for /v1/completions
	awk 'BEGIN {
		for (i = 1; i <= 64; i++) data = data (i > 1 ? "," : "") sprintf("%.8f", (i * 37 % 64) / 64)
		printf "%-1024s", "{\"id\":\"bench\",\"inputs\":[{\"name\":\"x\",\"shape\":[1,64],\"datatype\":\"FP32\",\"data\":[" data "]}]}" }' >"$dir/json.body"
	local head='{"id":"bench","parameters":{"binary_data_output":true},"inputs":[{"name":"x","shape":[1,1024],"datatype":"FP32","parameters":{"binary_data_size":4096}}]}'
	head_length=${#head}
	printf "%s$(printf 'abc?%.0s' {1..1024})" "$head" >"$dir/binary.body" # "abc?" is 0.89 as FP32
	head='{"model":"proxied","max_tokens":16,"prompt":"'
	printf '%s%*s"}' "$head" $((1024 - ${#head} - 2)) "" | sed 's/  /a /g' >"$dir/openai.body"
}

median() { # of the numbers on standard input, one per line: "median lowest highest"
	sort -g | awk '{v[NR] = $1} END {m = NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2; print m, v[1], v[NR]}'
}

python_env() { # the virtual environment of tools/conformance, or $VENV, into the variable venv; made where it is missing
	local requirements=tools/conformance/requirements.txt
	venv=${VENV:-$PWD/.venv}
	cmp -s "$requirements" "$venv/conformance.txt" && return
	echo "$self: installing $requirements into $venv" >&2
	python3 -m venv "$venv"
	"$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"
	cp "$requirements" "$venv/conformance.txt"
}

# Machines that others measure on, too: with -lock FILE (flock) each measurement has the machine to itself, and then leaves
# it to others for as long as it took.
lock=
hold() { # COMMAND…: under the lock
	local fd before
	[[ -n $lock ]] || { "$@"; return; }
	exec {fd}>"$lock"
	flock -x "$fd"
	before=$SECONDS
	"$@"
	exec {fd}>&-
	sleep $((SECONDS - before))
}

machine() { # one paragraph on what this ran on, for a file of results
	echo "$(grep -c . <<<"$cores") cores of $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), Linux $(uname -r | cut -d- -f1), $(go version | cut -d' ' -f3);" \
		"load before: $(cut -d' ' -f1-3 /proc/loadavg) (figures from a busy machine say little)"
}
