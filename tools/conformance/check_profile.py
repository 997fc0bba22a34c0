"""What router profile says of an MLServer: python check_profile.py ROUTER_BINARY DIRECTORY MLSERVER.

The fit of the other batch sizes has to predict each that was held out within 10 %, or within its 95 % interval where that
is wider, in one of three tries: a machine that changes its speed in the middle fits no law. And where a server keeps no
statistics, passive profiling has to say so.
"""
import json
import pathlib
import subprocess
import sys

from report import equal, expect, run

BINARY, WORK, MLSERVER = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
TRIES, BUDGET = 3, 7  # seconds each
TOLERANCE = 0.10
CONFIG = """\
models: [{{name: digits}}]
instance_types: [{{name: slow}}]
workers: [{{name: mlserver, type: slow, remote: {{url: "{url}"}}}}]
"""


def profile(*flags):
    file = WORK / "profile.yaml"
    file.write_text(CONFIG.format(url=MLSERVER))
    return subprocess.run([BINARY, "profile", "-config", file, "-q", *flags], capture_output=True, text=True, timeout=BUDGET + 20)


def measured():
    csv = WORK / "profiles.csv"
    done = profile("-budget", f"{BUDGET}s", "-share", "1", "-batches", "1,2,4,6,8,12,16,24,32,48,64,96,128", "-json", "-o", csv)
    equal(done.returncode, 0, f"status ({done.stderr.strip()[-300:]})")
    result, = json.loads(done.stdout)
    lines = [l for l in csv.read_text().splitlines() if l.startswith("digits,slow,")]
    equal(len(lines), len(result["sizes"]), "lines of the CSV")
    expect(len(result["held_out"]) >= 2, f"only {len(result['held_out'])} sizes were held out")
    return result


def held_out():
    tried = []
    for _ in range(TRIES):
        result = measured()
        checks = result["held_out"]
        worst = max(checks, key=lambda c: abs(c["error"]) - max(TOLERANCE, c["error_95_half"]))
        tried.append(f"{len(checks)} sizes held out, worst at {worst['batch']}: off by {100 * worst['error']:+.1f} ± {100 * worst['error_95_half']:.1f} %")
        if abs(worst["error"]) <= max(TOLERANCE, worst["error_95_half"]):
            return f"{'; '.join(tried)}; {result['fixed_ms']:.3g} ms + {result['per_item_ms']:.3g} ms per item, {result['runs']} runs in {result['seconds']:.1f} s"
    raise AssertionError("; ".join(tried))


def passive():
    done = profile("-passive", "-budget", "300ms", "-every", "100ms")
    equal(done.returncode, 1, "status")
    expect("keeps no statistics" in done.stderr, f"it says {done.stderr.strip()[-300:]!r}")


if __name__ == "__main__":
    run([("router profile of MLServer, sizes that were held out", held_out), ("router profile -passive of MLServer, which keeps no statistics", passive)])
