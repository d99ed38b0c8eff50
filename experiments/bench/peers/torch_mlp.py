"""The peer for MLP speed: an exact training step at batch 1 in PyTorch.

    python experiments/bench/peers/torch_mlp.py --layers 3 --optimizer adam

For an interpreter that has PyTorch; it needs nothing else of this project. Prints a JSON line with the median step
seconds.
"""

import argparse
import itertools
import json
import statistics
import time

import torch
from torch import nn
from torch.nn import functional

_IMPLEMENTATIONS = {"loop": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}  # of optimizers


def median_step(layers, width, optimizer, implementation, steps):
    torch.manual_seed(0)
    sizes = [784, *[width] * layers, 10]
    modules = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        modules += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    net = nn.Sequential(*modules[:-1])
    options = _IMPLEMENTATIONS[implementation]
    if optimizer == "adam":
        update = torch.optim.Adam(net.parameters(), 1e-3, eps=1e-4, **options)
    else:
        update = torch.optim.SGD(net.parameters(), 1e-3, **options)
    image = torch.randn(1, 784)
    label = torch.tensor([3])
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        update.zero_grad()
        functional.cross_entropy(net(image), label).backward()
        update.step()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[steps // 10 :])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--width", type=int, default=1000)
    parser.add_argument("--optimizer", choices=["sgd", "adam"], default="adam")
    parser.add_argument("--implementation", choices=list(_IMPLEMENTATIONS), default="loop")
    parser.add_argument("--steps", type=int, default=100)
    args = parser.parse_args()
    seconds = median_step(args.layers, args.width, args.optimizer, args.implementation, args.steps)
    print(json.dumps({"seconds": seconds, "torch": torch.__version__}))


if __name__ == "__main__":
    main()
