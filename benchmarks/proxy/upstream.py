"""The nginx blocks of the model server that all proxies have behind them: fixed answers, with as many rows as the request has.

    upstream.py PORT ROWS

nginx cannot count rows, but knows Content-Length: rows of one size, behind a head whose length varies a little, tell how many
there are. ROWS is the most that one request may have.
"""
import json, sys

port, most = int(sys.argv[1]), int(sys.argv[2])
json_row, json_head = 704, range(30, 400)  # bytes of 64 numbers and a comma; what stands around them, padding of one request included
binary_row, binary_head = 4096, range(50, 600)
out_row = ",".join(f"{i / 64:.8f}" for i in range(1, 17))
out_binary = "abc?" * 16  # 16 times 0.89 as FP32: any bytes do, but the configuration is text


def block(head, lines):
    print(head, "{")
    for line in lines:
        print("   ", line)
    print("}")


def repeated(one, eight, n, comma):
    """n rows in terms of the variables of one row and of eight, since nginx takes no word of over 4 KB."""
    return comma.join([eight] * (n // 8) + [one] * (n % 8))


def binary_answer(n):
    return json.dumps({"model_name": "proxied", "model_version": "1", "outputs": [
        {"name": "y", "datatype": "FP32", "shape": [n, 16], "parameters": {"binary_data_size": n * 64}}]}, separators=(",", ":"))


def json_answer(n):
    return ('{"model_name":"proxied","model_version":"1","outputs":[{"name":"y","datatype":"FP32","shape":[%d,16],"data":[%s]}]}'
            % (n, repeated("$j1", "$j8", n, ",")))


def tensor(name, width):
    return {"name": name, "datatype": "FP32", "shape": [-1, width]}


rows = range(1, most + 1)
block("map $http_inference_header_content_length $form", ["'' j;", "default b;"])
for name, one, comma in (("j", out_row, ","), ("b", out_binary, "")):
    block(f"map $form ${name}1", [f"default '{one}';"])
    block(f"map $form ${name}8", ["default '" + comma.join([f"${name}1"] * 8) + "';"])
block("map $form$content_length $rows",
      [f"j{json_row * n + head} {n};" for n in rows for head in json_head]
      + [f"b{binary_row * n + head} {n};" for n in rows for head in binary_head])
block("map $form$rows $answer",
      [f"j{n} '{json_answer(n)}';" for n in rows]
      + [f"b{n} '{binary_answer(n)}{repeated('$b1', '$b8', n, '')}';" for n in rows])
block("map $form$rows $head_length", [f"b{n} {len(binary_answer(n))};" for n in rows])

completion = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "proxied",
              "choices": [{"text": "0.01562500," * 8, "index": 0, "logprobs": None, "finish_reason": "length"}],
              "usage": {"prompt_tokens": 64, "completion_tokens": 16, "total_tokens": 80}}
fixed = {
    "/v2": {"name": "fixed", "version": "1", "extensions": ["binary_tensor_data"]},
    "/v2/health/live": "", "/v2/health/ready": "", "/v2/models/proxied/ready": "", "/health": "",
    "/v2/models/proxied": {"name": "proxied", "versions": ["1"], "platform": "fixed_answer",
                           "inputs": [tensor("x", -1)], "outputs": [tensor("y", 16)]},
    "/v2/models/proxied/config": {"name": "proxied", "platform": "fixed_answer", "max_batch_size": most},
    "/v1/completions": completion,
    "/v1/models": {"object": "list", "data": [{"id": "proxied", "object": "model", "created": 1, "owned_by": "fixed"}]},
}
block("server", [
    f"listen 127.0.0.1:{port};", "default_type application/json;",
    "location = /v2/models/proxied/infer { if ($rows = '') { return 400 '{\"error\":\"not a number of rows\"}'; }"
    " add_header Inference-Header-Content-Length $head_length; return 200 $answer; }",
    *(f"location = {path} {{ return 200 '{answer and json.dumps(answer, separators=(',', ':'))}'; }}" for path, answer in fixed.items()),
])
