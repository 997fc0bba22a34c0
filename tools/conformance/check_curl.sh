#!/usr/bin/env bash
# Every endpoint by curl, and every curl command of the README: check_curl.sh URL ADMIN ROOT
# One line per check; exits with 1 if one of them failed.
set -u
url=${1%/} admin=${2%/} root=$3 failed=0
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

# expect STATUS PATTERN NAME curl-arguments…: the status, and a pattern in the body.
expect() {
	local want=$1 pattern=$2 name=$3 got
	shift 3
	got=$(curl -sS --max-time 30 -o "$answer" -w '%{http_code}' "$@" 2>&1)
	if [[ $got =~ ^$want$ ]] && { [[ -z $pattern ]] || grep -aqE -- "$pattern" "$answer"; }; then
		echo "ok    curl $name"
	else
		failed=1
		echo "FAIL  curl $name: $got $(head -c 200 "$answer" | tr '\n' ' '), must be $want with '$pattern'"
	fi
}

one='{"id":"c1","inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1.5,2.5]}]}'
expect 200 '"extensions"' 'GET /v2' "$url/v2"
expect 200 '' 'GET /v2/health/live' "$url/v2/health/live"
expect 200 '' 'GET /v2/health/ready' "$url/v2/health/ready"
expect 200 '"probabilities"' 'GET /v2/models/fashion' "$url/v2/models/fashion"
expect 200 '"probabilities"' 'GET /v2/models/fashion/versions/1' "$url/v2/models/fashion/versions/1"
expect 200 '' 'GET /v2/models/fashion/ready' "$url/v2/models/fashion/ready"
expect 200 '"max_batch_size"' 'GET /v2/models/fashion/config' "$url/v2/models/fashion/config"
expect 200 '"model_stats"' 'GET /v2/models/fashion/stats' "$url/v2/models/fashion/stats"
expect 200 '"model_stats"' 'GET /v2/models/stats' "$url/v2/models/stats"
expect 200 '"READY"' 'POST /v2/repository/index' -X POST "$url/v2/repository/index"
expect '200|400|501' '' 'POST /v2/repository/models/fashion/load' -X POST "$url/v2/repository/models/fashion/load"
expect '200|400|501' '' 'POST /v2/repository/models/fashion/unload' -X POST "$url/v2/repository/models/fashion/unload"
expect 200 '"c1"' 'POST infer' -d "$one" "$url/v2/models/identity_fp32/infer"
expect 200 '"c1"' 'POST infer, chunked' -H 'Transfer-Encoding: chunked' -d "$one" "$url/v2/models/identity_fp32/infer"
expect 200 '"c1"' 'POST infer, compressed answer' --compressed -d "$one" "$url/v2/models/identity_fp32/infer"
expect 200 '"c1"' 'POST infer with a version' -d "$one" "$url/v2/models/identity_fp32/versions/1/infer"
expect 404 '"error"' 'unknown model' -d "$one" "$url/v2/models/nowhere/infer"
expect 404 '"error"' 'unknown path' "$url/v2/nowhere"
expect 405 '"error"' 'wrong method' "$url/v2/models/identity_fp32/infer"
expect 400 '"error"' 'not JSON' -d '{' "$url/v2/models/identity_fp32/infer"
expect 200 '^# TYPE' 'GET /metrics' "$admin/metrics"
expect 200 '^\{' 'GET /debug/state' "$admin/debug/state"
expect 404 '"error"' 'GET /metrics where clients are' "$url/metrics"

# The README's own commands, against this router, from the project's root.
if [[ -f $root/README.md ]]; then
	n=0
	while IFS= read -r command; do
		n=$((n + 1))
		# --fail makes an error status curl's own.
		command=${command//localhost:8000/${url#http://}}
		command=${command//localhost:8002/${admin#http://}}
		if (cd "$root" && timeout 30 bash -c "curl() { command curl -sS --fail --max-time 20 \"\$@\"; }; $command") >"$answer" 2>&1; then
			echo "ok    README: $command"
		else
			failed=1
			echo "FAIL  README: $command: $(head -c 200 "$answer" | tr '\n' ' ')"
		fi
	done < <(awk '/^ *(\$ )?curl /{on=1} on{line=$0; sub(/^ *\$? ?/, "", line); cont=sub(/\\$/, "", line); buf=buf line; if (!cont) {print buf; buf=""; on=0}}' "$root/README.md")
	[[ $n -gt 0 ]] || echo "skip  README: it has no curl command"
else
	echo "skip  README: there is no README.md"
fi
exit $failed
