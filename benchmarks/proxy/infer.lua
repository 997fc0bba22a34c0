-- The request in the file $BODY, to $URL_PATH; with $HEAD_LENGTH, binary tensors behind a head of so many bytes.
local file = assert(io.open(os.getenv("BODY"), "rb"))
wrk.body = file:read("*a")
file:close()
wrk.method = "POST"
wrk.path = os.getenv("URL_PATH") or "/v2/models/proxied/infer"
wrk.headers["Content-Type"] = "application/json"
local head = os.getenv("HEAD_LENGTH")
if head then
  wrk.headers["Content-Type"] = "application/octet-stream"
  wrk.headers["Inference-Header-Content-Length"] = head
end

-- One line for the script that started this: requests, errors, µs of the run, p50 and p99 in µs.
function done(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d\n", summary.requests, e.connect + e.read + e.write + e.status + e.timeout,
    summary.duration, latency:percentile(50), latency:percentile(99)))
end
