#!/usr/bin/env bash
# Conformance with real clients and servers; see docs/conformance.md.
# Makes .venv, installs the test data where it may, builds the router, and hands over to run.py.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
venv=${VENV:-$root/.venv} requirements=$root/tools/conformance/requirements.txt
data=/usr/share/datasets/fashion-mnist

if ! cmp -s "$requirements" "$venv/conformance.txt"; then
	echo "conformance: installing $(basename "$requirements") into $venv"
	python3 -m venv "$venv"
	"$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"
	cp "$requirements" "$venv/conformance.txt"
fi

if [[ ! -d $data ]]; then
	if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq dataset-fashion-mnist >/dev/null
	else
		echo "conformance: $data is missing: run 'apt-get install dataset-fashion-mnist' as root" >&2
		exit 1
	fi
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
router=${ROUTER:-$work/router}
if [[ -z ${ROUTER:-} ]]; then
	go build -o "$router" ./cmd/router
fi
# The limit is for everything after the installation.
timeout --foreground --kill-after=20 "${LIMIT:-340}" \
	"$venv/bin/python" tools/conformance/run.py --router "$router" --work "$work" --data "$data" "$@"
