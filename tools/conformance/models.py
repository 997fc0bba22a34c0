"""Makes the model files of the conformance run: python models.py DIRECTORY."""
import json
import pathlib
import sys

import joblib
import numpy as np
import onnx
from onnx import TensorProto, helper
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression


def arithmetic(path):
    """The two outputs of oip_server.py's model of that name, for an embedded ONNX Runtime."""
    tensor = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4])
    graph = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Sub", ["a", "b"], ["difference"])],
        "arithmetic", [tensor("a"), tensor("b")], [tensor("sum"), tensor("difference")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True)
    onnx.save(model, path)


def digits(directory, port):
    """A scikit-learn classifier in MLServer's layout, and the settings to serve it on port."""
    (directory / "digits").mkdir(parents=True)
    x, y = load_digits(return_X_y=True)
    joblib.dump(LogisticRegression(max_iter=2000).fit(x[:1500], y[:1500]), directory / "digits" / "model.joblib")
    settings = {"name": "digits", "implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": "./model.joblib"},
                "inputs": [{"name": "predict", "datatype": "FP64", "shape": [-1, 64]}],
                "outputs": [{"name": "predict", "datatype": "INT64", "shape": [-1, 1]}]}
    (directory / "digits" / "model-settings.json").write_text(json.dumps(settings))
    server = {"host": "127.0.0.1", "http_port": port[0], "grpc_port": port[1], "metrics_port": port[2], "parallel_workers": 0,
              "environments_dir": str(directory / "environments"), "metrics_dir": str(directory / "metrics")}
    (directory / "metrics").mkdir()
    (directory / "settings.json").write_text(json.dumps(server))


def digits_test():
    """The images that digits was not fitted on, and their labels."""
    x, y = load_digits(return_X_y=True)
    return x[1500:].astype(np.float64), y[1500:]


if __name__ == "__main__":
    root = pathlib.Path(sys.argv[1])
    arithmetic(root / "arithmetic" / "1" / "model.onnx")
    digits(root / "mlserver", [int(p) for p in sys.argv[2:5]])
