"""Fits what run.sh serves, and writes it in MLServer's layout: model.py ROOT NAME=HTTP,GRPC,METRICS,BATCH,SECONDS …

Each NAME is a directory under ROOT with the same forest of 100 trees, for an MLServer with these ports whose own batching
goes up to BATCH requests and waits up to SECONDS; BATCH 0: off. ROOT/bodies has requests of one picture each."""
import json
import pathlib
import sys

import joblib
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier

root = pathlib.Path(sys.argv[1])
x, y = load_digits(return_X_y=True)
forest = RandomForestClassifier(100, random_state=1).fit(x[:1500], y[:1500])
for argument in sys.argv[2:]:
    name, numbers = argument.split("=")
    http, grpc, metrics, batch, seconds = numbers.split(",")
    at = root / name
    at.mkdir()
    joblib.dump(forest, at / "model.joblib")
    (at / "model-settings.json").write_text(json.dumps({
        "name": "digits", "implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": "./model.joblib"},
        "inputs": [{"name": "predict", "datatype": "FP64", "shape": [-1, 64]}],
        "outputs": [{"name": "predict", "datatype": "INT64", "shape": [-1, 1]}],
        "max_batch_size": int(batch), "max_batch_time": float(seconds)}))
    # In the server's own process and without a log of requests: on one core both only cost time.
    (at / "settings.json").write_text(json.dumps({
        "host": "127.0.0.1", "http_port": int(http), "grpc_port": int(grpc), "metrics_port": int(metrics), "parallel_workers": 0,
        "debug": False, "environments_dir": str(at / "environments"), "metrics_dir": str(at)}))
(root / "bodies").mkdir()
for i, picture in enumerate(x[1500:1532]):
    (root / "bodies" / f"{i}.json").write_text(json.dumps({"inputs": [
        {"name": "predict", "datatype": "FP64", "shape": [1, 64], "data": picture.tolist()}]}))
