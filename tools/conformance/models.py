"""Makes the model files of the conformance run: python models.py DIRECTORY DATA PORT…, three ports for each MLServer."""
import gzip
import json
import pathlib
import sys

import joblib
import numpy as np
import onnx
from onnx import TensorProto, helper
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression

TRAINED_ON = 12000  # images of clothes


class Linear(LogisticRegression):
    """Gives its logits as the output transform, which is one of those that MLServer lets a model have."""

    def transform(self, x):
        return self.decision_function(x)


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


def served(directory, name, model, inputs, outputs, ports):
    """A scikit-learn model in MLServer's layout, and the settings to serve it on ports."""
    (directory / name).mkdir(parents=True)
    joblib.dump(model, directory / name / "model.joblib")
    settings = {"name": name, "implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": "./model.joblib"},
                "inputs": [{"name": "predict", "datatype": "FP64", "shape": [-1, inputs]}],
                "outputs": [{"name": n, "datatype": d, "shape": [-1, width]} for n, d, width in outputs]}
    (directory / name / "model-settings.json").write_text(json.dumps(settings))
    server = {"host": "127.0.0.1", "http_port": ports[0], "grpc_port": ports[1], "metrics_port": ports[2], "parallel_workers": 0,
              "environments_dir": str(directory / "environments"), "metrics_dir": str(directory / "metrics")}
    (directory / "metrics").mkdir()
    (directory / "settings.json").write_text(json.dumps(server))


def digits(directory, ports):
    x, y = load_digits(return_X_y=True)
    served(directory, "digits", LogisticRegression(max_iter=2000).fit(x[:1500], y[:1500]), 64, [("predict", "INT64", 1)], ports)


def digits_test():
    """The images that digits was not fitted on, and their labels."""
    x, y = load_digits(return_X_y=True)
    return x[1500:].astype(np.float64), y[1500:]


def read_idx(data, part, name, header):
    """The bytes after the header of one of Fashion-MNIST's files; part is train or t10k."""
    return np.frombuffer(gzip.decompress((pathlib.Path(data) / f"{part}-{name}-ubyte.gz").read_bytes()), np.uint8, offset=header)


def images(data, part):
    """The pictures of Fashion-MNIST as the built-in model takes them."""
    return (read_idx(data, part, "images-idx3", 16).reshape(-1, 1, 28, 28) / np.float32(255)).astype(np.float32)


def clothes(data, part):
    """The pictures of Fashion-MNIST in a quarter of their pixels, and their labels."""
    x = read_idx(data, part, "images-idx3", 16).reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(-1, 196) / 255
    return x.round(4), read_idx(data, part, "labels-idx1", 8).astype(np.int64)


def small_and_large(root, data, small, large):
    """Two classifiers of clothes, one of which takes about 30 times as long as the other."""
    x, y = (a[:TRAINED_ON] for a in clothes(data, "train"))
    outputs = [("predict", "INT64", 1), ("predict_proba", "FP64", 10)]
    served(root / "small", "small", Linear(tol=1e-3, max_iter=500).fit(x, y), 196, outputs + [("transform", "FP64", 10)], small)
    trees = ExtraTreesClassifier(60, n_jobs=2, random_state=1).fit(x, y)
    trees.n_jobs = 1
    served(root / "large", "large", trees, 196, outputs, large)


if __name__ == "__main__":
    # Models are read back as members of this module, whatever it runs as.
    from models import arithmetic, digits, small_and_large
    root, data, ports = pathlib.Path(sys.argv[1]), sys.argv[2], [int(p) for p in sys.argv[3:]]
    arithmetic(root / "arithmetic" / "1" / "model.onnx")
    digits(root / "mlserver", ports[:3])
    small_and_large(root, data, ports[3:6], ports[6:9])
