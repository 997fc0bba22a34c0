#!/usr/bin/env python3
"""Writes examples/infer.json and examples/batch.json: OIP requests for the
model `fashion` with images of Fashion-MNIST's test set, pixels rounded to three
decimals, each the first of its class that the model gets right when so rounded.
Needs onnxruntime and numpy (tools/train/requirements.txt)."""
import gzip, os
import numpy as np
import onnxruntime as ort

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DATA = os.environ.get("MOTLEY_FASHION_DIR", "/usr/share/datasets/fashion-mnist")
CLASSES = [9, 2, 1, 6, 4, 5, 7, 3, 8, 0]  # the order of batch.json


def write(name, images, labels):
    data = ",".join("0" if v == 0 else f"{v:.3f}".rstrip("0").rstrip(".") for v in np.concatenate(images).ravel())
    text = ('{"id":"expect-%s",\n"inputs":[{"name":"image","shape":[%d,1,28,28],"datatype":"FP32",\n"data":[%s]}]}\n'
            % ("-".join(map(str, labels)), len(images), data))
    with open(f"{ROOT}/examples/{name}", "w") as f:
        f.write(text)


def main():
    with gzip.open(f"{DATA}/t10k-images-idx3-ubyte.gz") as f:
        images = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 1, 1, 28, 28)
    with gzip.open(f"{DATA}/t10k-labels-idx1-ubyte.gz") as f:
        labels = np.frombuffer(f.read(), np.uint8, offset=8)
    session = ort.InferenceSession(f"{ROOT}/internal/engine/fashion.onnx", providers=["CPUExecutionProvider"])
    chosen = {}
    for image, label in zip(images, labels):
        if label not in chosen:
            x = np.round(image / 255, 3).astype(np.float32)
            if session.run(["label"], {"image": x})[0][0, 0] == label:
                chosen[int(label)] = x
        if len(chosen) == 10:
            break
    os.makedirs(f"{ROOT}/examples", exist_ok=True)
    write("infer.json", [chosen[CLASSES[0]]], CLASSES[:1])
    write("batch.json", [chosen[c] for c in CLASSES], CLASSES)


if __name__ == "__main__":
    main()
