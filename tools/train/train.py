#!/usr/bin/env python3
"""Trains the built-in model `fashion` and writes internal/engine/fashion.onnx.

A small residual convolutional network over Fashion-MNIST (28x28 grey images,
10 classes) with six ramps and the last exit. First the backbone and the last
exit are trained on the labels; then, with the backbone frozen, each ramp is
trained to say what the last exit says. Batch norms are folded into the
convolutions at export, so the graph knows nothing of training.

Runs on a CPU. On Debian:
    apt-get install python3-torch python3-onnx libopenblas0-pthread dataset-fashion-mnist
    python3 tools/train/train.py
Every figure that docs/model.md quotes is printed, and written to
tools/train/figures.json.
"""
import argparse, gzip, json, os, time
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

SEED = 20
STEM, WIDE14, WIDE7 = 16, 24, 40
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


def load(directory, split):
    with gzip.open(f"{directory}/{split}-images-idx3-ubyte.gz") as f:
        images = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(f"{directory}/{split}-labels-idx1-ubyte.gz") as f:
        labels = np.frombuffer(f.read(), np.uint8, offset=8).astype(np.int64)
    return torch.from_numpy(images.astype(np.float32) / 255), torch.from_numpy(labels.copy())


class Block(nn.Module):
    """relu(bn(conv3x3(x)) [+ x]). stage marks the blocks after which a ramp hangs."""

    def __init__(self, cin, cout, stride, residual, side):
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn = nn.BatchNorm2d(cout)
        self.residual, self.side = residual, side

    def forward(self, x):
        y = self.bn(self.conv(x))
        return F.relu(y + x if self.residual else y)

    def folded(self):
        scale = self.bn.weight / torch.sqrt(self.bn.running_var + self.bn.eps)
        weight = self.conv.weight * scale[:, None, None, None]
        bias = self.bn.bias - self.bn.running_mean * scale
        return weight.detach().numpy(), bias.detach().numpy()


# The exits see a 3x3 grid of averages: kernel and stride of the pooling by side.
GRID = {14: (6, 4), 7: (3, 2)}


class Exit(nn.Module):
    def __init__(self, channels, side):
        super().__init__()
        self.kernel, self.stride = GRID[side]
        self.fc = nn.Linear(channels * 9, 10)

    def forward(self, x):
        return self.fc(F.avg_pool2d(x, self.kernel, self.stride).flatten(1))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = Block(1, STEM, 1, False, 28)
        self.stages = nn.ModuleList([
            Block(STEM, WIDE14, 2, False, 14),
            Block(WIDE14, WIDE14, 1, True, 14),
            Block(WIDE14, WIDE14, 1, True, 14),
            Block(WIDE14, WIDE7, 2, False, 7),
            Block(WIDE7, WIDE7, 1, True, 7),
            Block(WIDE7, WIDE7, 1, True, 7),
            Block(WIDE7, WIDE7, 1, True, 7),
        ])
        self.exits = nn.ModuleList([Exit(s.conv.out_channels, s.side) for s in self.stages])

    def features(self, x):
        x, out = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            out.append(x)
        return out

    def forward(self, x):
        return self.exits[-1](F.dropout(self.features(x)[-1], 0.1, self.training))


def augment(x):
    """Flips each image with probability 1/2 and shifts the whole batch by up to 2 pixels."""
    flip = torch.rand(len(x)) < 0.5
    x = torch.where(flip[:, None, None, None], x.flip(3), x)
    dy, dx = torch.randint(0, 5, (2,)).tolist()
    return F.pad(x, (2, 2, 2, 2))[:, :, dy:dy + 28, dx:dx + 28]


def train_backbone(net, x, y, epochs, batch, lr):
    opt = torch.optim.SGD(net.parameters(), lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
    steps = epochs * (len(x) // batch)
    plan = torch.optim.lr_scheduler.OneCycleLR(opt, lr, total_steps=steps, pct_start=0.2)
    for epoch in range(epochs):
        began, total = time.time(), 0.0
        net.train()
        order = torch.randperm(len(x))
        for i in range(len(x) // batch):
            pick = order[i * batch:(i + 1) * batch]
            loss = F.cross_entropy(net(augment(x[pick])), y[pick])
            opt.zero_grad()
            loss.backward()
            opt.step()
            plan.step()
            total += loss.item()
        print(f"epoch {epoch + 1}/{epochs}: loss {total / (len(x) // batch):.4f}, {time.time() - began:.1f} s", flush=True)


@torch.no_grad()
def pooled(net, x):
    """What the exits see (averages, flattened), by stage, backbone frozen."""
    net.eval()
    out = [[] for _ in net.stages]
    for i in range(0, len(x), 500):
        for k, f in enumerate(net.features(x[i:i + 500])):
            out[k].append(F.avg_pool2d(f, net.exits[k].kernel, net.exits[k].stride).flatten(1))
    return [torch.cat(o) for o in out]


def train_ramps(net, x, epochs, batch):
    feats = pooled(net, x)
    with torch.no_grad():
        target = net.exits[-1].fc(feats[-1]).argmax(1)
    for k, ramp in enumerate(net.exits[:-1]):
        f = feats[k]
        mean, std = f.mean(0), f.std(0) + 1e-3
        fc = nn.Linear(f.shape[1], 10)
        opt = torch.optim.Adam(fc.parameters(), 2e-3)
        steps = epochs * (len(f) // batch)
        plan = torch.optim.lr_scheduler.CosineAnnealingLR(opt, steps)
        for _ in range(epochs):
            order = torch.randperm(len(f))
            for i in range(len(f) // batch):
                pick = order[i * batch:(i + 1) * batch]
                loss = F.cross_entropy(fc((f[pick] - mean) / std), target[pick])
                opt.zero_grad()
                loss.backward()
                opt.step()
                plan.step()
        with torch.no_grad():  # fold the standardisation into the weights
            ramp.fc.weight.copy_(fc.weight / std)
            ramp.fc.bias.copy_(fc.bias - (fc.weight / std) @ mean)


def export(net, path):
    import onnx
    from onnx import helper, numpy_helper, TensorProto as T
    nodes, weights, outputs = [], [], []

    def weight(name, value):
        weights.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    def conv(name, block, source):
        w, b = block.folded()
        stride = block.conv.stride[0]
        nodes.append(helper.make_node(
            "Conv", [source, weight(f"{name}.weight", w), weight(f"{name}.bias", b)], [f"{name}.conv"], name=f"{name}.conv",
            kernel_shape=[3, 3], strides=[stride, stride], pads=[1, 1, 1, 1]))
        value = f"{name}.conv"
        if block.residual:
            nodes.append(helper.make_node("Add", [value, source], [f"{name}.sum"], name=f"{name}.sum"))
            value = f"{name}.sum"
        nodes.append(helper.make_node("Relu", [value], [name], name=name))
        return name

    value = conv("stem", net.stem, "image")
    last = len(net.stages) - 1
    for k, (stage, exit) in enumerate(zip(net.stages, net.exits)):
        value = conv(f"stage{k}", stage, value)
        prefix, out = (f"ramp{k}", f"ramp{k}_probabilities") if k < last else ("exit", "probabilities")
        nodes.append(helper.make_node("AveragePool", [value], [f"{prefix}.pool"], name=f"{prefix}.pool",
                                      kernel_shape=[exit.kernel] * 2, strides=[exit.stride] * 2))
        nodes.append(helper.make_node("Flatten", [f"{prefix}.pool"], [f"{prefix}.flat"], name=f"{prefix}.flat", axis=1))
        nodes.append(helper.make_node("Gemm", [f"{prefix}.flat", weight(f"{prefix}.weight", exit.fc.weight.detach().numpy()),
                                               weight(f"{prefix}.bias", exit.fc.bias.detach().numpy())],
                                      [f"{prefix}.logits"], name=f"{prefix}.logits", transB=1))
        nodes.append(helper.make_node("Softmax", [f"{prefix}.logits"], [out], name=out, axis=1))
        outputs.append(helper.make_tensor_value_info(out, T.FLOAT, ["n", 10]))
    nodes.append(helper.make_node("ArgMax", ["probabilities"], ["label"], name="label", axis=1, keepdims=1))
    outputs = [outputs[-1], helper.make_tensor_value_info("label", T.INT64, ["n", 1])] + outputs[:-1]
    graph = helper.make_graph(nodes, "fashion", [helper.make_tensor_value_info("image", T.FLOAT, ["n", 1, 28, 28])], outputs, weights)
    model = helper.make_model(graph, producer_name="motley tools/train", opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 7
    onnx.checker.check_model(model)
    onnx.save(model, path)


def figures(net, path, xt, yt):
    """Accuracy and agreement of every exit on the test set; sizes and costs."""
    feats = pooled(net, xt)
    with torch.no_grad():
        probs = [torch.softmax(e.fc(f), 1) for e, f in zip(net.exits, feats)]
    final = probs[-1].argmax(1)
    macs = STEM * 9 * 784
    result = {"exits": [], "seed": SEED}
    for k, (p, stage, exit) in enumerate(zip(probs, net.stages, net.exits)):
        macs += stage.conv.weight.numel() * stage.side ** 2
        says, sure = p.argmax(1), p.max(1).values > 0.9
        result["exits"].append({
            "exit": "last" if k == len(probs) - 1 else f"ramp{k}",
            "accuracy": round((says == yt).float().mean().item() * 100, 2),
            "agreement": round((says == final).float().mean().item() * 100, 2),
            "above_0.9": round(sure.float().mean().item() * 100, 2),
            "agreement_above_0.9": round((says == final)[sure].float().mean().item() * 100, 2),
            "macs": macs + exit.fc.weight.numel(),
        })
    backbone = [w for b in [net.stem, *net.stages] for w in b.folded()]
    result["parameters"] = sum(w.size for w in backbone) + sum(p.numel() for p in net.exits.parameters())
    result["bytes"] = os.path.getsize(path)
    result["correct"] = int((final == yt).sum())
    return result


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("-data", default=os.environ.get("MOTLEY_FASHION_DIR", "/usr/share/datasets/fashion-mnist"))
    ap.add_argument("-epochs", type=int, default=16)
    ap.add_argument("-ramp-epochs", type=int, default=12)
    ap.add_argument("-batch", type=int, default=128)
    ap.add_argument("-lr", type=float, default=0.05)
    ap.add_argument("-threads", type=int, default=2)
    ap.add_argument("-train", type=int, default=60000, help="images to train on (fewer for a trial)")
    ap.add_argument("-out", default=f"{ROOT}/internal/engine/fashion.onnx")
    ap.add_argument("-figures", default=f"{HERE}/figures.json")
    args = ap.parse_args()
    torch.set_num_threads(args.threads)  # part of what makes a run repeatable: sums are split by thread
    torch.manual_seed(SEED)
    began = time.time()
    x, y = load(args.data, "train")
    xt, yt = load(args.data, "t10k")
    x, y = x[:args.train], y[:args.train]
    net = Net()
    train_backbone(net, x, y, args.epochs, args.batch, args.lr)
    train_ramps(net, x, args.ramp_epochs, 256)
    net.eval()
    export(net, args.out)
    result = figures(net, args.out, xt, yt)
    result["torch"], result["epochs"] = torch.__version__, args.epochs
    with open(args.figures, "w") as f:
        json.dump(result, f, indent=1)
        f.write("\n")
    for e in result["exits"]:
        print(f"{e['exit']:>6}: accuracy {e['accuracy']:.2f} %, agrees with the last exit {e['agreement']:.2f} %, "
              f"surer than 0.9 on {e['above_0.9']:.2f} % and then agrees {e['agreement_above_0.9']:.2f} %, {e['macs'] / 1e6:.2f} M multiply-adds")
    print(f"{result['correct']} of {len(yt)} right at the last exit; {result['parameters']} parameters, {result['bytes']} bytes; "
          f"{time.time() - began:.0f} s in all")


if __name__ == "__main__":
    main()
