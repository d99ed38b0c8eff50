"""The peer for CPU speed: a ResNet-18 step in PyTorch, exact and with channels sampled by top-k.

    python experiments/bench/peers/torch_resnet.py --ratio 0.5

For an interpreter that has PyTorch; it needs nothing else of this project. The sampling is the forward sampling of
Adelman et al. (NeurIPS 2021): the k input channels with the largest |x_c| |w_c| are gathered and convolved, stem and
classifier are exact. Prints a JSON line with the median step seconds for each memory format. It runs on a GPU where
PyTorch has one, there in TF32, as JAX does by default, and with the fastest of cuDNN's algorithms.
"""

import argparse
import json
import statistics
import time

import torch
from torch import nn
from torch.nn import functional

_GPU = torch.cuda.is_available()
_DEVICE = "cuda" if _GPU else "cpu"


class TopKConv(nn.Conv2d):
    """A convolution over its `ratio` largest input channels."""

    def __init__(self, c_in, c_out, window, stride, ratio):
        super().__init__(c_in, c_out, window, stride, window // 2, bias=False)
        self.kept = max(1, round(ratio * c_in))

    def forward(self, x):
        if self.kept == self.in_channels:
            return super().forward(x)
        with torch.no_grad():
            energy = x.square().sum((0, 2, 3)) * self.weight.square().sum((0, 2, 3))
            channels = energy.topk(self.kept).indices
        kernel = self.weight.index_select(1, channels)
        return functional.conv2d(x.index_select(1, channels), kernel, None, self.stride, self.padding)


class Residual(nn.Module):
    """The basic block of ResNet-18."""

    def __init__(self, c_in, c_out, stride, ratio):
        super().__init__()
        self.branch = nn.Sequential(
            TopKConv(c_in, c_out, 3, stride, ratio),
            nn.BatchNorm2d(c_out),
            nn.ReLU(),
            TopKConv(c_out, c_out, 3, 1, ratio),
            nn.BatchNorm2d(c_out),
        )
        self.shortcut = nn.Identity()
        if c_in != c_out:
            self.shortcut = nn.Sequential(TopKConv(c_in, c_out, 1, stride, ratio), nn.BatchNorm2d(c_out))

    def forward(self, x):
        return functional.relu(self.branch(x) + self.shortcut(x))


def resnet18(width, ratio):
    layers = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    channels = width
    for stage in range(4):
        for block in range(2):
            features = width * 2**stage
            layers.append(Residual(channels, features, 2 if stage and not block else 1, ratio))
            channels = features
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000), nn.ReLU(), nn.Linear(1000, 10)]
    return nn.Sequential(*layers, *head)


def median_step(width, batch, ratio, steps, memory_format):
    torch.manual_seed(0)
    net = resnet18(width, ratio).train().to(_DEVICE, memory_format=memory_format)
    images = torch.randn(batch, 3, 32, 32).to(_DEVICE, memory_format=memory_format)
    labels = torch.randint(10, (batch,)).to(_DEVICE)
    optimizer = torch.optim.SGD(net.parameters(), 0.01, 0.9, weight_decay=5e-4, nesterov=True)
    seconds = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        optimizer.zero_grad()
        functional.cross_entropy(net(images), labels).backward()
        optimizer.step()
        if _GPU:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--ratio", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=4)
    args = parser.parse_args()
    if _GPU:
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    formats = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
    seconds = {n: median_step(args.width, args.batch_size, args.ratio, args.steps, f) for n, f in formats.items()}
    print(json.dumps({"ratio": args.ratio, "seconds": seconds, "torch": torch.__version__}))


if __name__ == "__main__":
    main()
