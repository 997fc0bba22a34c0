"""Asks like any client, one request after the other, and when it is refused comes back when it is told to: benchmarks/overload/run.sh.

probe.py PORT MODEL SECONDS OUT: writes lines "fresh|again STATUS WAIT-MS" to OUT.
"""

import http.client
import json
import sys
import time

port, model, seconds, out = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), sys.argv[4]
body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1]}]})
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)


def ask():
    connection.request("POST", f"/v2/models/{model}/infer", body)
    answer = connection.getresponse()
    answer.read()
    return answer.status, float(answer.getheader("Retry-After-Ms") or 0)


end = time.monotonic() + seconds
with open(out, "w") as f:
    while time.monotonic() < end:
        status, wait = ask()
        print("fresh", status, wait, file=f, flush=True)
        if status == 429 and wait <= 5000:
            time.sleep(wait / 1000)
            status, wait = ask()
            print("again", status, wait, file=f, flush=True)
        time.sleep(0.05)
