"""Early exits and their streams, as clients of server-sent events see them.

python check_stream.py record PLAIN DATA FILE       records what the ramps say, for the routers' calibration
python check_stream.py check PLAIN NEAR FAR NEAR_ADMIN FAR_ADMIN DATA
                                                    PLAIN answers by the full model; NEAR has the same model, mode latency;
                                                    FAR has NEAR for its only worker, mode compute; …_ADMIN are their admin listeners
"""
import asyncio
import csv
import json
import subprocess
import sys
import time

import httpx
import numpy as np
import tritonclient.http as http
from httpx_sse import SSEError, aconnect_sse, connect_sse

from models import images
from report import equal, expect, run

MODEL, TARGET = "/v2/models/fashion", 0.99
ROWS = 1000  # sent one by one
LARGE = 64  # rows of a request that takes a while


def body(rows, outputs=None, **parameters):
    request = {"inputs": [{"name": "image", "datatype": "FP32", "shape": list(rows.shape), "data": rows.ravel().tolist()}],
               "parameters": parameters}
    return request | ({"outputs": outputs} if outputs else {})


def output(answer, name):
    found = next(o for o in answer["outputs"] if o["name"] == name)
    return np.array(found["data"]).reshape(found["shape"])


def ask(client, rows, **parameters):
    """An answer of …/infer, and the ramp that the header names, −1 where there is none."""
    r = client.post(MODEL + "/infer", json=body(rows, **parameters))
    equal(r.status_code, 200, f"status ({r.text[:200]})")
    return r.json(), int(r.headers.get("x-motley-exit", -1))


def stream(client, rows, headers=None, **parameters):
    """All events of a stream: (event, id, content)."""
    with connect_sse(client, "POST", MODEL + "/infer_stream", json=body(rows, **parameters), headers=headers or {}) as source:
        equal(source.response.status_code, 200, "status")
        return [(e.event, e.id, e.json()) for e in source.iter_sse()]


def in_order(events, ramps, rows, id=None, shown=None):
    """That the events are those of one stream: some ramps, rising, then the full model's answer."""
    equal([e[0] for e in events], ["ramp"] * (len(events) - 1) + ["final"], "the events")
    equal(len({e[1] for e in events}), 1, f"how many ids there are in {[e[1] for e in events]}")
    expect(id is None or events[0][1] == id, f"the id is {events[0][1]!r}, the request's is {id!r}")
    exits = [e[2]["parameters"]["ee_exit"] for e in events]
    equal(exits, [*(range(ramps) if shown is None else shown), ramps], "the exits")
    for (kind, _, answer), exit in zip(events, exits):
        equal(answer["model_name"], "fashion", "model_name")
        p = output(answer, "probabilities")
        equal(p.shape, (rows, 10), f"shape at exit {exit}")
        expect(np.allclose(p.sum(axis=1), 1, atol=1e-4) and p.min() >= 0, f"probabilities of exit {exit} are none")
        equal(answer["parameters"]["ee_final"], kind == "final", f"ee_final of exit {exit}")
        sure = answer["parameters"]["ee_confidence"]
        expect(abs(sure - p.max(axis=1).min()) < 1e-5, f"ee_confidence of exit {exit} is {sure}, the least of its rows {p.max(axis=1).min()}")


def ramps_of(client):
    return int(client.get(MODEL).json()["properties"]["ee_ramps"])


def record(plain, data, file):
    """Writes what every ramp says of pictures that the ramps were not trained on, in the form that early_exit.calibration takes."""
    pictures = images(data, "t10k")[-2000:]
    with httpx.Client(base_url=plain, timeout=30) as client, open(file, "w", newline="") as f:
        ramps, out = ramps_of(client), csv.writer(f)
        names = [f"{kind}{r}" for kind in ("conf", "agree", "pred") for r in range(ramps)]
        out.writerow(["i", "final_pred", *names])
        for first in range(0, len(pictures), LARGE):
            said = [output(answer, "probabilities") for _, _, answer in stream(client, pictures[first:first + LARGE])]
            classes = [p.argmax(axis=1) for p in said]
            for k, last in enumerate(classes[-1]):
                out.writerow([first + k, last, *(min(1.0, p[k].max()) for p in said[:-1]), *(int(c[k] == last) for c in classes[:-1]),
                              *(c[k] for c in classes[:-1])])


class Checks:
    def __init__(self, plain, near, far, near_admin, far_admin, data):
        self.plain, self.near, self.far, self.near_admin, self.far_admin = (
            httpx.Client(base_url=url, timeout=30) for url in (plain, near, far, near_admin, far_admin))
        self.pictures, self.ramps = images(data, "t10k")[:2000], ramps_of(self.near)
        said = [ask(self.plain, self.pictures[i:i + LARGE])[0] for i in range(0, len(self.pictures), LARGE)]
        self.full = np.concatenate([output(a, "probabilities") for a in said])
        self.labels = self.full.argmax(axis=1)

    def events(self):
        """Streams of one row and of many."""
        for router in (self.near, self.far):
            for n in (1, 7, LARGE):
                events = stream(router, self.pictures[:n], {"x-request-id": f"pictures-{n}"})
                in_order(events, self.ramps, n, f"pictures-{n}")
                expect(np.allclose(output(events[-1][2], "probabilities"), self.full[:n], atol=1e-5), "the last event is not the full model's answer")
        return f"{self.ramps} ramps, then the full model's answer"

    def concurrent(self):
        async def all_of_them():
            async with httpx.AsyncClient(base_url=self.near.base_url, timeout=30) as client:
                async def one(k):
                    async with aconnect_sse(client, "POST", MODEL + "/infer_stream", json=body(self.pictures[k:k + 3]),
                                            headers={"x-request-id": f"s{k}"}) as source:
                        return [(e.event, e.id, e.json()) async for e in source.aiter_sse()]
                return await asyncio.gather(*map(one, range(40)))
        for k, events in enumerate(asyncio.run(all_of_them())):
            in_order(events, self.ramps, 3, f"s{k}")
            expect(np.allclose(output(events[-1][2], "probabilities"), self.full[k:k + 3], atol=1e-5), f"stream {k} has another's answer")
        return "40 at once"

    def curl(self):
        """Events reach curl as they are made: the first long before the last."""
        data = json.dumps(body(self.pictures[:LARGE])).encode()
        earliest = 1.0
        for _ in range(5):
            began = time.monotonic()
            with subprocess.Popen(["curl", "-sSN", "--fail", "--max-time", "30", "-H", "x-request-id: curl", "-d", "@-",
                                   f"{self.near.base_url}{MODEL}/infer_stream"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
                process.stdin.write(data)
                process.stdin.close()
                events, lines = [], []
                for raw in process.stdout:
                    line = raw.decode().rstrip("\n")
                    if line:
                        lines.append(line.split(": ", 1))
                        continue
                    equal([name for name, _ in lines], ["event", "id", "data"], "the lines of an event")
                    events.append((*(value for _, value in lines), time.monotonic() - began))
                    lines = []
            equal(process.returncode, 0, "curl's status")
            in_order([(e, i, json.loads(d)) for e, i, d, _ in events], self.ramps, LARGE, "curl")
            earliest = min(earliest, events[0][3] / events[-1][3])
        expect(earliest < 0.8, f"the first event comes after {earliest:.0%} of the time")
        return f"the first of {self.ramps + 1} events after {earliest:.0%} of the time"

    def chosen(self):
        """ee_active_ramps names the ramps that are shown."""
        last = self.ramps - 1
        for text, shown in (("0,2", [0, 2]), ("2,0", [0, 2]), (str(last), [last])):
            for router in (self.near, self.far):
                in_order(stream(router, self.pictures[:2], ee_active_ramps=text), self.ramps, 2, shown=shown)

    def mode(self):
        """A stream that shows ramps ends with the full model's answer; one that shows none may end early, where ee_mode says so."""
        early = 0
        for router in (self.near, self.far):
            in_order(stream(router, self.pictures[:2], ee_mode="latency"), self.ramps, 2)
            for i in range(50):
                events = stream(router, self.pictures[i:i + 1], ee_mode="latency", ee_active_ramps="")
                equal([e[0] for e in events], ["final"], "the events")
                early += events[0][2]["parameters"]["ee_exit"] < self.ramps
            (kind, _, answer), = stream(router, self.pictures[:1], ee_active_ramps="")
            equal((kind, "parameters" in answer), ("final", False), "the only event, and whether it has parameters where no ramp was evaluated")
            expect(np.allclose(output(answer, "probabilities"), self.full[:1], atol=1e-5), "not the full model's answer")
        expect(early >= 20, f"only {early} of 100 ended early")
        return f"{early} of 100 without ramps ended early"

    def leaving(self):
        """A client that has seen enough closes the stream, and the only worker is free for the next."""
        before, waits = self.left(), []
        for k in range(20):
            with connect_sse(self.near, "POST", MODEL + "/infer_stream", json=body(self.pictures[:LARGE])) as source:
                event = next(source.iter_sse())
                equal((event.event, event.json()["parameters"]["ee_exit"]), ("ramp", 0), "the first event")
            began = time.monotonic()
            answer, _ = ask(self.near, self.pictures[k:k + 1], ee_mode="off")
            waits.append(time.monotonic() - began)
            expect(np.allclose(output(answer, "probabilities"), self.full[k:k + 1], atol=1e-5), "the answer after a closed stream is another's")
        left = self.left() - before
        expect(left >= 5, f"only {left} of 20 streams ended with status 499")
        whole = min(self.took(LARGE) for _ in range(5))
        return f"{left:.0f} of 20 with status 499, the next answer after {1000 * np.median(waits):.0f} ms; to the end all rows take {1000 * whole:.0f} ms"

    def took(self, rows):
        began = time.monotonic()
        stream(self.near, self.pictures[:rows])
        return time.monotonic() - began

    def left(self):
        """How many requests the router counts as left by their clients."""
        name = 'motley_requests_total{code="499",model="fashion"} '
        return sum(float(line.removeprefix(name)) for line in self.near_admin.get("/metrics").text.splitlines() if line.startswith(name))

    def errors(self):
        """What fails before the first event is a plain error."""
        binary = [{"name": "probabilities", "parameters": {"binary_data": True}}]
        good = self.pictures[:1]
        for name, path, request, status in (
                ("an unknown model", "/v2/models/nowhere/infer_stream", body(good), 404),
                ("a ramp that is none", MODEL + "/infer_stream", body(good, ee_active_ramps=str(self.ramps)), 400),
                ("ramps that are no list", MODEL + "/infer_stream", body(good, ee_active_ramps="all"), 400),
                ("an unknown mode", MODEL + "/infer_stream", body(good, ee_mode="fast"), 400),
                ("binary output", MODEL + "/infer_stream", body(good, binary), 400),
                ("a picture that is none", MODEL + "/infer_stream", body(good[:, :, :5]), 400)):
            for router in (self.near, self.far):
                with connect_sse(router, "POST", path, json=request) as source:
                    source.response.read()
                    equal(source.response.status_code, status, f"status of {name} ({source.response.text[:200]})")
                    expect(source.response.json()["error"], f"{name}: the error has no text")
                    try:
                        list(source.iter_sse())
                    except SSEError:
                        continue
                    raise AssertionError(f"{name}: the answer passes for a stream")

    def off(self):
        """ee_mode=off is the full model, whatever the router is configured to do."""
        for router in (self.near, self.far):
            for i in range(0, 100, 20):
                answer, ramp = ask(router, self.pictures[i:i + 20], ee_mode="off")
                equal((ramp, answer.get("parameters", {}).get("ee_exit", self.ramps)), (-1, self.ramps), "the exit")
                expect(np.allclose(output(answer, "probabilities"), self.full[i:i + 20], atol=1e-5), "not the full model's answer")

    def triton(self):
        """Triton's client needs to know nothing of exits, and may look at them."""
        client = http.InferenceServerClient(str(self.near.base_url).removeprefix("http://").rstrip("/"))
        early = wrong = 0
        for i in range(200):
            x = http.InferInput("image", [1, 1, 28, 28], "FP32")
            x.set_data_from_numpy(self.pictures[i:i + 1])
            result = client.infer("fashion", [x], outputs=[http.InferRequestedOutput("probabilities"), http.InferRequestedOutput("label")])
            p, parameters = result.as_numpy("probabilities"), result.get_response()["parameters"]
            equal((p.shape, p.dtype, result.as_numpy("label").item()), ((1, 10), np.float32, p.argmax()), "shape, type and label")
            expect(abs(p.max() - parameters["ee_confidence"]) < 1e-5 and parameters["ee_final"] is True, f"parameters {parameters} of {p}")
            early += parameters["ee_exit"] < self.ramps
            wrong += int(p.argmax() != self.labels[i])
        expect(early > 40 and wrong <= 10, f"{early} of 200 left early, {wrong} have another label")
        whole = client.infer("fashion", [x], parameters={"ee_mode": "off"})
        equal(whole.get_response().get("parameters", {}).get("ee_exit", self.ramps), self.ramps, "the exit with ee_mode=off")
        return f"{early} of 200 early, {wrong} with another label than the full model's"

    def one_by_one(self, router, admin, mode):
        """Rows one by one: early answers, almost all of them the full model's, as many as the router says."""
        before = admin.get("/debug/exits").json()[0]
        equal((before["name"], before["mode"], before["target"]), ("fashion", mode, TARGET), "name, mode and target in /debug/exits")
        by, wrong = [0] * (self.ramps + 1), 0

        async def all_of_them():
            async with httpx.AsyncClient(base_url=router.base_url, timeout=30) as client:
                gate = asyncio.Semaphore(4)

                async def one(i):
                    async with gate:
                        return await client.post(MODEL + "/infer", json=body(self.pictures[i:i + 1]))
                return await asyncio.gather(*map(one, range(ROWS)))
        for i, r in enumerate(asyncio.run(all_of_them())):
            equal(r.status_code, 200, f"status ({r.text[:200]})")
            exit = r.json()["parameters"]["ee_exit"]
            equal(int(r.headers.get("x-motley-exit", self.ramps)), exit, "X-Motley-Exit")
            by[exit] += 1
            wrong += output(r.json(), "probabilities").argmax() != self.labels[i]
        expect(sum(by[:-1]) >= ROWS / 5, f"only {sum(by[:-1])} of {ROWS} left early")
        expect(wrong <= 0.03 * ROWS, f"{wrong} of {ROWS} answers are not the full model's")
        until = time.monotonic() + 5  # rows that run on are told when they are through
        while True:
            now = admin.get("/debug/exits").json()[0]
            if now["seen"] - before["seen"] >= ROWS or time.monotonic() > until:
                break
            time.sleep(0.05)
        more = lambda key, a=now, b=before: a[key] - b[key]
        equal((more("seen"), more("exited"), more("lost")), (ROWS, sum(by[:-1]), 0), "seen, exited and lost in /debug/exits")
        ramps = list(zip(now["ramps"], before["ramps"]))
        equal([more("exited", a, b) for a, b in ramps], by[:-1], "exited by ramp")
        equal(sum(a["audited"] for a in now["ramps"]), now["audited"], "audited, over the ramps")
        audited = more("audited")
        expect(audited == more("exited") if mode == "latency" else audited <= more("exited") // 2, f"{audited} of {more('exited')} were audited")
        expect(0 <= now["agreement_low95"] <= now["agreement"] <= 1, f"agreement {now['agreement']}, at least {now['agreement_low95']}")
        return f"{sum(by[:-1])} of {ROWS} early, by exit {by}; {wrong} not the full model's, {audited} audits"


def main():
    if sys.argv[1] == "record":
        record(*sys.argv[2:])
        return
    c = Checks(*sys.argv[2:])
    run([("stream: events, ids and answers", c.events),
         ("stream: many at once", c.concurrent),
         ("stream: curl -N", c.curl),
         ("stream: ee_active_ramps", c.chosen),
         ("stream: ee_mode", c.mode),
         ("stream: closed after the first event", c.leaving),
         ("stream: errors", c.errors),
         ("early exit: ee_mode=off", c.off),
         ("early exit: Triton's client", c.triton),
         ("early exit: mode latency", lambda: c.one_by_one(c.near, c.near_admin, "latency")),
         ("early exit: mode compute, by a router behind a router", lambda: c.one_by_one(c.far, c.far_admin, "compute"))])


if __name__ == "__main__":
    main()
