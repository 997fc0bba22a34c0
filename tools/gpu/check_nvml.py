"""Compares `router gpus -json` with nvidia-smi on a host with NVIDIA GPUs, field by field, and checks `router agent` beside it.

    python3 tools/gpu/check_nvml.py [--router bin/router] [--smi nvidia-smi] [--nvml FILE] [--load COMMAND]

nvidia-smi is asked before and after: a reading that moves must lie within what it said both times, give or take a
tolerance. Prints PASS, FAIL or, where neither side can tell, SKIP for each field; exit status 1 if anything failed.
--load runs a shell command meanwhile, so that clocks and utilisation are those of a busy GPU. Needs Python 3.8 alone.
"""
import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

MIB = 1 << 20
NONE = re.compile(r"^\s*\[?(N/A|Not Supported|Unknown Error|Requested functionality.*|GPU requires reset|GPU is lost)\]?\s*$", re.I)


def number(text):
    """A field of nvidia-smi as a number; None where it has none."""
    if text is None or NONE.match(text):
        return None
    text = text.strip()
    return float(int(text, 16)) if text.startswith("0x") else float(text.split()[0])


# nvidia-smi's field, what ours is (of a device and a sample), the tolerance: None for text, else (absolute, relative).
def device(key, scale=1.0):
    return lambda d, s: None if d.get(key) in (None, 0, "") else d[key] * scale


def sample(*keys, scale=1.0):
    def get(d, s):
        for k in keys:
            s = None if s is None else s.get(k)
        return None if s is None else s * scale
    return get


REASONS = ["idle", "user_clocks", "power_cap", "hw_slowdown", "sync_boost", "sw_thermal", "hw_thermal", "hw_power_brake", "display_clock",
           "board_limit", "reliability"]


def throttle(d, s):
    if "throttle" in s.get("missing", []):
        return None
    return float(sum(1 << (REASONS.index(r) if r in REASONS else int(r[4:])) for r in s.get("throttle", [])))


STATIC = [
    ("name", lambda d, s: d["name"], None),
    ("driver_version", lambda d, s: d.get("driver"), None),
    ("pci.bus_id", lambda d, s: d.get("pci"), None),
    ("compute_cap", lambda d, s: d.get("compute_capability"), None),
    ("index", lambda d, s: d["index"], (0, 0)),
    ("memory.total", device("memory_bytes", 1 / MIB), (1, 0)),
    ("pcie.link.gen.max", device("pcie_generation"), (0, 0)),
    ("pcie.link.width.max", device("pcie_width"), (0, 0)),
    ("clocks.max.sm", device("sm_clock_max_mhz"), (0, 0)),
    ("clocks.max.memory", device("memory_clock_max_mhz"), (0, 0)),
]
MOVING = [
    ("utilization.gpu", sample("utilisation", scale=100), (30, 0)),
    ("memory.used", sample("memory_used_bytes", scale=1 / MIB), (64, 0)),
    ("temperature.gpu", sample("temperature_c"), (3, 0)),
    ("power.draw", sample("power_w"), (10, 0.15)),
    ("enforced.power.limit", sample("power_limit_w"), (0.1, 0)),
    ("clocks.sm", sample("sm_clock_mhz"), (60, 0.05)),
    ("clocks.mem", sample("memory_clock_mhz"), (30, 0)),
    ("clocks_event_reasons.active", throttle, "mask"),
    ("ecc.errors.corrected.volatile.total", sample("ecc", "volatile_corrected"), (0, 0)),
    ("ecc.errors.uncorrected.volatile.total", sample("ecc", "volatile_uncorrected"), (0, 0)),
    ("ecc.errors.corrected.aggregate.total", sample("ecc", "aggregate_corrected"), (0, 0)),
    ("ecc.errors.uncorrected.aggregate.total", sample("ecc", "aggregate_uncorrected"), (0, 0)),
    ("retired_pages.single_bit_ecc.count", sample("pages", "single_bit"), (0, 0)),
    ("retired_pages.double_bit.count", sample("pages", "double_bit"), (0, 0)),
]
ROWS = [
    ("remapped_rows.correctable", sample("rows", "correctable"), (0, 0)),
    ("remapped_rows.uncorrectable", sample("rows", "uncorrectable"), (0, 0)),
]

failed = passed = skipped = 0


def say(verdict, what, text=""):
    global failed, passed, skipped
    failed += verdict == "FAIL"
    passed += verdict == "PASS"
    skipped += verdict == "SKIP"
    print(f"{verdict}  {what}  {text}", flush=True)


def smi(args, what, fields):
    """Rows of nvidia-smi as dicts; a field that this version does not know is left out."""
    fields = list(fields)
    while fields:
        out = subprocess.run([args.smi, f"--query-{what}=" + ",".join(fields), "--format=csv,noheader,nounits"], capture_output=True, text=True,
                             timeout=60)
        unknown = re.search(r'Field "([^"]+)" is not a valid field', out.stdout + out.stderr)
        if not unknown:
            if out.returncode != 0:
                print(f"nvidia-smi --query-{what}: {out.stdout}{out.stderr}", file=sys.stderr)
                return []
            return [dict(zip(fields, [v.strip() for v in line.split(", ")])) for line in out.stdout.splitlines() if line.strip()]
        fields.remove(unknown.group(1))
    return []


def compare(gpu, name, ours, before, after, tolerance):
    theirs = [r[name] for r in (before, after) if r is not None and name in r]
    label = f"{gpu} {name}"
    if not theirs:
        return say("SKIP", label, f"this nvidia-smi does not know the field; ours: {ours}")
    if tolerance is None:
        same = ours is not None and ours.strip().lower() == theirs[0].strip().lower()
        return say("PASS" if same else "FAIL", label, f"ours {ours!r}, nvidia-smi {theirs[0]!r}")
    values = [number(v) for v in theirs]
    if None in values:
        return say("SKIP" if ours is None else "FAIL", label, f"nvidia-smi {theirs}, ours {ours}")
    if ours is None:
        return say("FAIL", label, f"nvidia-smi {theirs}, ours is unknown")
    if tolerance == "mask":  # a bit that both readings have must be there, one that neither has must not
        b, a, o = int(values[0]), int(values[-1]), int(ours)
        fine = (b & a) & ~o == 0 and o & ~(b | a) == 0
        return say("PASS" if fine or b != a else "FAIL", label, f"ours {o:#x}, nvidia-smi {b:#x} … {a:#x}")
    slack = tolerance[0] + tolerance[1] * max(abs(v) for v in values)
    fine = min(values) - slack <= ours <= max(values) + slack
    say("PASS" if fine else "FAIL", label, f"ours {ours:g}, nvidia-smi {min(values):g} … {max(values):g}")


def once(args):
    fields = ["uuid"] + [f for f, _, _ in STATIC + MOVING]
    command = [args.router, "gpus", "-json"] + (["-nvml", args.nvml] if args.nvml else [])
    before = {r["uuid"]: r for r in smi(args, "gpu", fields)}
    began = time.monotonic()
    out = subprocess.run(command, capture_output=True, text=True, timeout=60)
    took = time.monotonic() - began
    after = {r["uuid"]: r for r in smi(args, "gpu", fields)}
    if out.returncode != 0:
        say("FAIL", "router gpus", out.stderr)
        return {}
    page = json.loads(out.stdout)
    say("PASS" if took < 10 else "FAIL", "router gpus", f"took {took:.2f} s; missing: {page.get('missing', [])}")
    ours = {d["id"]: d for d in page["devices"]}
    samples = {s["device"]: s for s in page["samples"]}
    gpus = {i for i, d in ours.items() if d["kind"] == "gpu"}
    say("PASS" if gpus == set(before) and gpus else "FAIL", "GPUs", f"ours {sorted(gpus)}, nvidia-smi {sorted(before)}")

    rows = {r["gpu_uuid"]: r for r in smi(args, "remapped-rows", ["gpu_uuid"] + [f for f, _, _ in ROWS])}
    for uuid in sorted(gpus & set(before)):
        d, s = ours[uuid], samples[uuid]
        label = f"gpu{d['index']}"
        say("PASS" if s["access"] == "ok" else "FAIL", f"{label} access", f"{s['access']} {s.get('detail', '')}")
        for name, get, tolerance in STATIC + MOVING:
            compare(label, name, get(d, s), before[uuid], after.get(uuid), tolerance)
        for name, get, tolerance in ROWS:
            compare(label, name, get(d, s), rows.get(uuid), rows.get(uuid), tolerance)
        print(f"      {label} not told: {s.get('missing', [])}; recovery {s.get('recovery')!r}; slowdown at {d.get('slowdown_c')} °C; CUDA {d.get('cuda')}")

    listed = subprocess.run([args.smi, "-L"], capture_output=True, text=True, timeout=60).stdout
    want = set(re.findall(r"UUID: (MIG-[^)]+)\)", listed))
    have = {i for i, d in ours.items() if d["kind"] == "mig"}
    say("PASS" if have == want else "FAIL", "MIG slices", f"ours {sorted(have)}, nvidia-smi {sorted(want)}")

    apps = smi(args, "compute-apps", ["gpu_uuid", "pid"])
    for uuid in sorted(gpus & set(before)):
        want = {int(a["pid"]) for a in apps if a["gpu_uuid"] == uuid and a["pid"].isdigit()}
        have = {p["pid"] for p in samples[uuid].get("processes", [])}
        say("PASS" if want == have else "FAIL", f"gpu{ours[uuid]['index']} processes", f"ours {sorted(have)}, nvidia-smi {sorted(want)}")
    return samples


def agent(args, samples):
    """The agent says the same, in both forms."""
    command = [args.router, "agent", "-listen", f"127.0.0.1:{args.port}", "-every", "200ms"] + (["-nvml", args.nvml] if args.nvml else [])
    p = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        def get(path):
            with urllib.request.urlopen(f"http://127.0.0.1:{args.port}{path}", timeout=5) as r:
                return r.read().decode()
        page = {}
        for _ in range(100):
            try:
                page = json.loads(get("/v1/devices"))
                if page.get("samples"):
                    break
            except OSError:
                pass
            time.sleep(0.1)
        have, want = {s["device"] for s in page.get("samples") or []}, set(samples)
        say("PASS" if have == want else "FAIL", "agent /v1/devices", f"{sorted(have)}")
        text = get("/metrics")
        for uuid in sorted(u for u in want if "gpu" in u.lower()):
            m = re.search(r'^motley_gpu_temperature_celsius\{device="' + re.escape(uuid) + r'"\} (\S+)$', text, re.M)
            say("PASS" if m and abs(float(m.group(1)) - samples[uuid]["temperature_c"]) <= 5 else "FAIL", f"agent /metrics {uuid}", m.group(0) if m else "none")
        m = re.search(r"^motley_gpu_read_failures_total (\S+)$", text, re.M)
        say("PASS" if m and float(m.group(1)) == 0 else "FAIL", "agent reads", m.group(0) if m else "no metric")
    finally:
        p.terminate()
        p.wait(10)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--router", default="bin/router")
    parser.add_argument("--smi", default="nvidia-smi")
    parser.add_argument("--nvml", default="", help="libnvidia-ml.so.1, where the loader does not find it")
    parser.add_argument("--load", default="", help="a shell command that keeps a GPU busy for 10 s or more")
    parser.add_argument("--port", type=int, default=19400)
    args = parser.parse_args()
    load = None
    if args.load:
        load = subprocess.Popen(args.load, shell=True, start_new_session=True)
        time.sleep(6)
    try:
        samples = once(args)
        if samples:
            agent(args, samples)
    finally:
        if load and load.poll() is None:
            os.killpg(load.pid, signal.SIGTERM)
            load.wait(30)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
