-- A JSON inference request of 1 KB: 64 numbers of FP32.
local data = {}
for i = 1, 64 do data[i] = string.format("%.8f", (i * 37 % 64) / 64) end
local body = '{"id":"bench","inputs":[{"name":"x","shape":[1,64],"datatype":"FP32","data":[' .. table.concat(data, ",") .. "]}]}"
body = body .. string.rep(" ", 1024 - #body)

wrk.method = "POST"
wrk.path = "/v2/models/proxied/infer"
wrk.headers["Content-Type"] = "application/json"
wrk.body = body

-- One line for the script that started this: requests, errors, µs of the run, p50 and p99 in µs.
function done(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d\n", summary.requests, e.connect + e.read + e.write + e.status + e.timeout,
    summary.duration, latency:percentile(50), latency:percentile(99)))
end
