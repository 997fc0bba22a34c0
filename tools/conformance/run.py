"""Starts the workers and the router on free loopback ports, runs every check through the router, and sums up."""
import argparse
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MODEL = ROOT / "internal" / "engine" / "fashion.onnx"
IDENTITIES = ["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "fp16", "fp32", "fp64", "bytes"]
REMOTE = [f"identity_{d}" for d in IDENTITIES] + ["raw4", "fixed", "vector"]

CONFIG = """\
listen: "127.0.0.1:{router}"
admin: {{listen: "127.0.0.1:{admin}"}}
limits:
  max_body: 64MiB
models:
  - name: fashion
    qos: {{target: 30s}}
    max_batch: 64
  - name: arithmetic
    qos: {{target: 30s}}
    max_batch: 8 # small, so that the fastest worker cannot do all of it
  - name: digits
    qos: {{target: 30s}}
    max_batch: 16
    batched: true
{remote_models}
{cascades}
  - name: small
    qos: {{target: 30s}}
    max_batch: 32
    batched: true
  - name: large
    qos: {{target: 30s}}
    max_batch: 32
    batched: true
instance_types:
  - name: cpu
  - name: fast
  - name: slow
workers:
  - name: builtin
    type: cpu
    models: [fashion]
    embedded: {{engine: builtin, threads: 1}}
  - name: onnxruntime
    type: cpu
    models: [arithmetic]
    embedded: {{engine: onnxruntime, path: {arithmetic}, library: {library}, threads: 1, gpu: "off"}}
  - name: oip-binary
    type: fast
    models: [arithmetic, {remote_names}]
    remote: {{url: "http://127.0.0.1:{binary}"}}
  - name: oip-json
    type: slow
    models: [arithmetic]
    remote: {{url: "http://127.0.0.1:{plain}"}}
  - name: mlserver
    type: slow
    models: [digits]
    remote: {{url: "http://127.0.0.1:{mlserver}"}}
  - name: small
    type: fast
    models: [small]
    remote: {{url: "http://127.0.0.1:{small}"}}
  - name: large
    type: slow
    models: [large]
    remote: {{url: "http://127.0.0.1:{large}"}}
"""

# Two routers that answer early: near, by the built-in model, and far, whose only worker is near.
EARLY = """\
listen: "127.0.0.1:{port}"
admin: {{listen: "127.0.0.1:{admin}"}}
models:
  - name: fashion
    qos: {{target: 30s}}
    max_batch: 64
    early_exit: {{mode: {mode}, target: 0.99, calibration: {calibration}}}
instance_types:
  - name: cpu
workers:
  - name: only
    type: cpu
    models: [fashion]
    {worker}
"""
BUILTIN = "embedded: {engine: builtin, threads: 1}"

# The same two models behind one name, by each of the scores and, with the first, with a looser target.
SCORES = ["max-probability", "energy-probabilities", "energy-logits", "entropy", "margin"]
CASCADES = [(s, s, 0.99) for s in SCORES] + [("loose", SCORES[0], 0.98)]
CASCADE = """\
  - name: clothes.{name}
    qos: {{target: 30s}}
    cascade:
      stages:
        - {{model: small, output: {output}, logits: {logits}, score: {score}}}
        - {{model: large, output: predict_proba}}
      label: predict
      audits_at_once: 16
    early_exit: {{mode: compute, target: {target}}}
"""


def free_ports(n):
    """Ports that were free a moment ago, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]


class Processes:
    """What this run started; nothing else is ever ended."""

    def __init__(self, work):
        self.work, self.started = work, []

    def start(self, name, command, **options):
        log = open(self.work / f"{name}.log", "wb")
        process = subprocess.Popen([str(c) for c in command], stdout=log, stderr=subprocess.STDOUT, start_new_session=True, **options)
        self.started.append((name, process))
        return process

    def wait(self, name, process, url, seconds):
        """Until url answers 200, the process ends, or the time is over."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and process.poll() is None:
            with contextlib.suppress(OSError):
                if urllib.request.urlopen(url, timeout=2).status == 200:
                    return
            time.sleep(0.1)
        self.show(name)
        raise SystemExit(f"FAIL  {name} did not come up at {url} (exit status {process.poll()})\n0 passed, 1 failed, 0 skipped")

    def show(self, name, lines=15):
        print(f"--- the end of {name}.log", *(self.work / f"{name}.log").read_text(errors="replace").splitlines()[-lines:], sep="\n")

    def stop(self):
        """Ends them in reverse order, each with its own children, and returns the names of those that did not end by themselves."""
        stubborn = []
        for name, process in reversed(self.started):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                stubborn.append(name)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return stubborn


class Tally:
    """Passes the checks' lines on and counts them."""

    def __init__(self):
        self.counts = {"ok": 0, "FAIL": 0, "skip": 0}

    def line(self, text):
        print(text, flush=True)
        word = text.split(" ", 1)[0]
        if word in self.counts:
            self.counts[word] += 1

    def run(self, command):
        process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, text=True, cwd=HERE)
        before = self.counts["FAIL"]
        for text in process.stdout:
            self.line(text.rstrip("\n"))
        # A script that died without a word about it has failed too.
        if process.wait() != 0 and self.counts["FAIL"] == before:
            self.line(f"FAIL  {pathlib.Path(command[1]).name} ended with status {process.returncode}")


def library():
    """ONNX Runtime's shared library in the wheel."""
    import onnxruntime
    return next((pathlib.Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*"))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--router", required=True, help="the router's binary")
    parser.add_argument("--work", required=True, type=pathlib.Path, help="a directory for models and logs")
    parser.add_argument("--data", required=True, type=pathlib.Path, help="the directory of Fashion-MNIST's test images")
    parser.add_argument("--scores", action="store_true", help="only compare the scores of a cascade, and print a table")
    args = parser.parse_args()
    router, admin, near, near_admin, far, far_admin, binary, plain, *servers = free_ports(17)
    mlserver, small, large = servers[::3]
    python, tally, processes = sys.executable, Tally(), Processes(args.work)
    subprocess.run([python, HERE / "models.py", args.work / "models", args.data, *map(str, servers)], check=True)
    config = args.work / "router.yaml"
    remote_models = "\n".join(f"  - name: {m}\n    qos: {{target: 30s}}" for m in REMOTE)
    cascades = "".join(CASCADE.format(
        name=name, score=score, target=target, output="transform" if score == "energy-logits" else "predict_proba",
        logits=str(score == "energy-logits").lower()) for name, score, target in CASCADES)
    config.write_text(CONFIG.format(
        router=router, admin=admin, binary=binary, plain=plain, mlserver=mlserver, small=small, large=large, cascades=cascades, remote_models=remote_models, remote_names=", ".join(REMOTE),
        arithmetic=args.work / "models" / "arithmetic", library=library()))
    at = lambda port: f"http://127.0.0.1:{port}"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("the time is over"))
    try:
        environment = os.environ | {"PYTHONPATH": str(HERE)} | {n: "1" for n in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        server = [python, HERE / "oip_server.py", "--threads", "1"]
        up = [("oip-binary", binary, processes.start("oip-binary", server + ["--port", binary])),
              ("oip-json", plain, processes.start("oip-json", server + ["--port", plain, "--no-binary", "--delay", "0.003"])),
              *((name, port, processes.start(name, [pathlib.Path(python).with_name("mlserver"), "start", args.work / "models" / name], env=environment))
                for name, port in (("mlserver", mlserver), ("small", small), ("large", large)))]
        for name, port, process in up:
            processes.wait(name, process, at(port) + "/v2/health/ready", 60)
        url = at(router)
        gate = processes.start("router", [args.router, "-config", config])
        processes.wait("router", gate, url + "/v2/health/ready", 30)
        if args.scores:
            tally.run([python, HERE / "check_cascade.py", url, at(admin), args.data, "--scores"])
        else:
            tally.run(["bash", HERE / "check_curl.sh", url, at(admin), ROOT])
            tally.run([python, HERE / "check_client.py", url])
            tally.run([python, HERE / "check_pool.py", url, at(mlserver), at(binary), at(plain)])
            tally.run([python, HERE / "check_profile.py", args.router, args.work, at(mlserver)])
            tally.run([python, HERE / "check_fashion.py", url, MODEL, args.data / "t10k-images-idx3-ubyte.gz",
                       args.data / "t10k-labels-idx1-ubyte.gz", ROOT / "README.md"])
            tally.run([python, HERE / "check_cascade.py", url, at(admin), args.data])
            recorded = args.work / "exits.csv"
            tally.run([python, HERE / "check_stream.py", "record", url, args.data, recorded])
            for name, port, ops, mode, worker in (("near", near, near_admin, "latency", BUILTIN), ("far", far, far_admin, "compute", f'remote: {{url: "{at(near)}"}}')):
                config = args.work / f"{name}.yaml"
                config.write_text(EARLY.format(port=port, admin=ops, mode=mode, calibration=recorded, worker=worker))
                processes.wait(name, processes.start(name, [args.router, "-config", config]), at(port) + "/v2/health/ready", 30)
            tally.run([python, HERE / "check_stream.py", "check", url, at(near), at(far), at(near_admin), at(far_admin), args.data])
        if gate.poll() is None:
            tally.line("ok    the router is still there")
        else:
            tally.line(f"FAIL  the router ended by itself with status {gate.returncode}")
        if tally.counts["FAIL"]:
            for name in dict(processes.started).keys() & {"router", "near", "far"}:
                processes.show(name)
    finally:
        stubborn = processes.stop()
    late = [name for name in ("router", "near", "far") if name in stubborn]
    tally.line(f"FAIL  {', '.join(late)} did not stop within 10 s" if late else "ok    the routers stop when told to")
    print("{ok} passed, {FAIL} failed, {skip} skipped".format(**tally.counts))
    sys.exit(1 if tally.counts["FAIL"] else 0)


if __name__ == "__main__":
    main()
