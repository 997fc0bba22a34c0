#!/usr/bin/env bash
# Runs every fuzz target of the repository for FUZZTIME (60s), or those whose name or package
# matches the pattern that is given. What fails is written to the package's testdata/fuzz, to be mended and kept.
set -euo pipefail
cd "$(dirname "$0")/.."
fuzztime=${FUZZTIME:-60s} pattern=${1:-.} failed=()
mapfile -t targets < <(git ls-files -co --exclude-standard '*_test.go' | xargs grep -HoE '^func Fuzz[A-Za-z0-9_]+' | sed -E 's|/[^/]+:func | |' | sort -u | grep -E "$pattern")
echo "${#targets[@]} targets, $fuzztime each"
for t in "${targets[@]}"; do
	read -r dir name <<<"$t"
	printf '\n== %s %s\n' "$dir" "$name"
	go test -run '^$' -fuzz "^$name\$" -fuzztime "$fuzztime" -fuzzminimizetime 5s ${FUZZFLAGS:-} "./$dir" || failed+=("$dir $name")
done
if ((${#failed[@]})); then
	printf 'failed: %s\n' "${failed[@]}"
	exit 1
fi
