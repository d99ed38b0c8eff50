"""The peer for wide output layers: words in context in PyTorch, by its full and by its adaptive softmax.

    python experiments/bench/peers/torch_words.py --method adaptive --places places.npz --evaluate-at 1 10 60
    python experiments/bench/peers/torch_words.py --method full --classes 100000 --steps 20

For an interpreter that has PyTorch and NumPy; it needs nothing else of this project. With places (the arrays of
`experiments.bench.text_race`) it trains, and prints a JSON line for each evaluation; the clock stands still during
one. Without, it times steps on random data and prints a JSON line with their median seconds. It runs on a GPU where
PyTorch has one, there in TF32, as JAX does by default.
"""

import argparse
import json
import statistics
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

_CUTOFFS = (2_000, 10_000, 30_000)  # first classes of the adaptive softmax's tails, where there are as many
_MEAN_OF = 10  # neighbours of a place in random data
_EMBEDDING_STD = 0.1  # as in experiments.words
_GPU = torch.cuda.is_available()
_DEVICE = "cuda" if _GPU else "cpu"


class Full(nn.Linear):
    """Every class's score."""

    def reset_parameters(self):
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def loss(self, hidden, labels):
        return functional.cross_entropy(self(hidden), labels)

    def log_probabilities(self, hidden):
        return functional.log_softmax(self(hidden), -1)


class Adaptive(nn.AdaptiveLogSoftmaxWithLoss):
    """PyTorch's own; rare classes have fewer features. The classes are sorted by frequency."""

    def __init__(self, features, classes):
        super().__init__(features, classes, [c for c in _CUTOFFS if c < classes] or [classes // 2])

    def loss(self, hidden, labels):
        return self(hidden, labels).loss

    def log_probabilities(self, hidden):
        return self.log_prob(hidden)


class Words(nn.Module):
    """The mean of the neighbours' embeddings, and scores of the word between them."""

    def __init__(self, method, classes, features):
        super().__init__()
        self.embed = nn.EmbeddingBag(classes + 1, features, mode="mean", sparse=True, padding_idx=classes)
        nn.init.normal_(self.embed.weight, std=_EMBEDDING_STD)
        self.output = {"full": Full, "adaptive": Adaptive}[method](features, classes)


def make_step(model, lr):
    """A function that trains on a batch; Adagrad as PyTorch runs it fastest on each kind of gradient."""
    rows = torch.optim.Adagrad(model.embed.parameters(), lr)
    dense = torch.optim.Adagrad(model.output.parameters(), lr, fused=None if _GPU else True)

    def step(contexts, labels):
        rows.zero_grad()
        dense.zero_grad()
        model.output.loss(model.embed(contexts), labels).backward()
        rows.step()
        dense.step()
        if _GPU:
            torch.cuda.synchronize()

    return step


@torch.no_grad()
def evaluate(model, contexts, labels, batch_size=256):
    """Shares of places whose word is the first, or among the first ten; a tie or NaN counts against it."""
    ranks, losses = [], []
    for c, y in zip(contexts.split(batch_size), labels.split(batch_size), strict=True):
        scores = model.output.log_probabilities(model.embed(c))
        own = scores.gather(1, y[:, None])
        ranks.append((~(scores < own)).sum(1) - 1)
        losses.append(-own[:, 0])
    rank = torch.cat(ranks)
    hits = {f"hit@{k}": (rank < k).float().mean().item() for k in (1, 10)}
    return {**hits, "nll": torch.cat(losses).mean().item()}


def train(args):
    places = np.load(args.places)
    classes = int(places["classes"])

    def split(name):
        parts = (torch.from_numpy(places[f"{name}_{part}"]) for part in ("contexts", "labels"))
        contexts, labels = (part.to(_DEVICE) for part in parts)
        return torch.where(contexts < 0, classes, contexts), labels.long()

    (contexts, labels), held_out = split("train"), split("held_out")
    model = Words(args.method, classes, args.features).to(_DEVICE)
    step = make_step(model, args.lr)
    clock, steps, due = 0.0, 0, sorted(args.evaluate_at)
    while due:
        order = torch.randperm(len(labels), device=_DEVICE).split(args.batch_size)
        start = time.perf_counter()
        for chosen in order:
            step(contexts[chosen], labels[chosen])
            steps += 1
            now = time.perf_counter()
            if due and clock + now - start >= due[0]:
                clock += now - start
                due = [seconds for seconds in due if seconds > clock]
                print(json.dumps({"seconds": clock, "steps": steps, **evaluate(model, *held_out)}), flush=True)
                start = time.perf_counter()
            if not due:
                return
        clock += time.perf_counter() - start


def median_step(args):
    model = Words(args.method, args.classes, args.features).to(_DEVICE)
    step = make_step(model, args.lr)
    contexts = torch.randint(args.classes, (args.batch_size, _MEAN_OF), device=_DEVICE)
    labels = torch.randint(args.classes, (args.batch_size,), device=_DEVICE)
    seconds = []
    for _ in range(args.steps + 1):
        start = time.perf_counter()
        step(contexts, labels)
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": statistics.median(seconds[1:]), "torch": torch.__version__}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--method", choices=["full", "adaptive"], default="adaptive")
    parser.add_argument("--places", help="an .npz file")
    parser.add_argument("--evaluate-at", type=float, nargs="+", default=[1.0, 2.0, 4.0, 8.0], help="seconds")
    parser.add_argument("--classes", type=int, default=100_000, help="without places")
    parser.add_argument("--steps", type=int, default=5, help="without places")
    parser.add_argument("--features", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.1, help="of Adagrad")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    if _GPU:
        torch.set_float32_matmul_precision("high")
    if args.places is None:
        median_step(args)
    else:
        train(args)


if __name__ == "__main__":
    main()
