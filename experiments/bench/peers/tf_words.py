"""The peer for wide output layers: words in context in TensorFlow, by `tf.nn.sampled_softmax_loss`.

    python experiments/bench/peers/tf_words.py --places places.npz --evaluate-at 1 10 60
    python experiments/bench/peers/tf_words.py --classes 100000 --steps 20

For an interpreter that has TensorFlow; it needs nothing else of this project. Candidates are TensorFlow's default:
log-uniform, shared by the batch. With places (the arrays of `experiments.bench.text_race`) it trains, and prints a
JSON line for each evaluation; the clock stands still during one. Without, it times steps on random data and prints a
JSON line with their median seconds.
"""

import argparse
import json
import statistics
import time

import numpy as np
import tensorflow as tf

_MEAN_OF = 10  # neighbours of a place in random data
_EMBEDDING_STD = 0.1  # as in experiments.words
_AT_ONCE = 16  # steps of one call, so that Python's share of the time is small


class Words:
    """The mean of the neighbours' embeddings, and scores of the word between them."""

    def __init__(self, classes, features, candidates, lr):
        self.classes, self.candidates = classes, candidates
        self.embed = tf.Variable(tf.random.normal((classes, features), stddev=_EMBEDDING_STD))
        self.weights = tf.Variable(tf.zeros((classes, features)))
        self.bias = tf.Variable(tf.zeros(classes))
        # Keras's Adagrad goes through every row for gradients of a few; this one takes rows.
        self.optimizer = tf.compat.v1.train.AdagradOptimizer(lr, initial_accumulator_value=1e-12)

    def hidden(self, contexts):
        used = tf.cast(contexts >= 0, tf.float32)[..., None]
        embedded = tf.nn.embedding_lookup(self.embed, tf.maximum(contexts, 0)) * used
        return tf.reduce_sum(embedded, 1) / tf.maximum(tf.reduce_sum(used, 1), 1)

    def step(self, contexts, labels):
        variables = [self.embed, self.weights, self.bias]
        with tf.GradientTape() as tape:
            loss = tf.nn.sampled_softmax_loss(
                weights=self.weights,
                biases=self.bias,
                labels=tf.cast(labels, tf.int64)[:, None],
                inputs=self.hidden(contexts),
                num_sampled=self.candidates,
                num_classes=self.classes,
            )
            loss = tf.reduce_mean(loss)
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    @tf.function
    def steps(self, contexts, labels):
        """One step for each batch `(batch, neighbours)` of contexts and `(batch,)` of labels."""
        for i in tf.range(tf.shape(labels)[0]):
            self.step(contexts[i], labels[i])

    @tf.function
    def ranks_and_losses(self, contexts, labels):
        scores = tf.matmul(self.hidden(contexts), self.weights, transpose_b=True) + self.bias
        own = tf.gather(scores, labels, batch_dims=1)[:, None]
        ranks = tf.reduce_sum(tf.cast(~(scores < own), tf.int32), 1) - 1
        return ranks, tf.reduce_logsumexp(scores, 1) - own[:, 0]


def evaluate(model, contexts, labels, batch_size=256):
    """Shares of places whose word is the first, or among the first ten; a tie or NaN counts against it."""
    results = [
        model.ranks_and_losses(contexts[i : i + batch_size], labels[i : i + batch_size])
        for i in range(0, len(labels), batch_size)
    ]
    rank, losses = (np.concatenate(r) for r in zip(*results, strict=True))
    hits = {f"hit@{k}": float(np.mean(rank < k)) for k in (1, 10)}
    return {**hits, "nll": float(np.mean(losses))}


def train(args):
    places = np.load(args.places)
    (contexts, labels), held_out = (
        (places[f"{name}_contexts"], places[f"{name}_labels"]) for name in ("train", "held_out")
    )
    model = Words(int(places["classes"]), args.features, args.candidates, args.lr)
    batch = min(args.batch_size, len(labels))
    at_once = min(_AT_ONCE, len(labels) // batch)
    model.steps(contexts[None, :batch], labels[None, :batch])  # traces; the shapes of later calls differ in steps alone
    rng = np.random.default_rng(args.seed)
    clock, steps, due = 0.0, 0, sorted(args.evaluate_at)
    while due:
        order = rng.permutation(len(labels))[: len(labels) // (at_once * batch) * at_once * batch]
        for chosen in order.reshape(-1, at_once, batch):
            start = time.perf_counter()
            model.steps(contexts[chosen], labels[chosen])
            clock, steps = clock + time.perf_counter() - start, steps + at_once
            if clock >= due[0]:
                due = [seconds for seconds in due if seconds > clock]
                print(json.dumps({"seconds": clock, "steps": steps, **evaluate(model, *held_out)}), flush=True)
            if not due:
                return


def median_step(args):
    model = Words(args.classes, args.features, args.candidates, args.lr)
    rng = np.random.default_rng(args.seed)
    contexts = rng.integers(args.classes, size=(1, args.batch_size, _MEAN_OF), dtype=np.int32)
    labels = rng.integers(args.classes, size=(1, args.batch_size), dtype=np.int32)
    seconds = []
    for _ in range(args.steps + 2):
        start = time.perf_counter()
        model.steps(contexts, labels)
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": statistics.median(seconds[2:]), "tensorflow": tf.__version__}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--places", help="an .npz file")
    parser.add_argument("--evaluate-at", type=float, nargs="+", default=[1.0, 2.0, 4.0, 8.0], help="seconds")
    parser.add_argument("--classes", type=int, default=100_000, help="without places")
    parser.add_argument("--steps", type=int, default=20, help="without places")
    parser.add_argument("--candidates", type=int, default=1024)
    parser.add_argument("--features", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.1, help="of Adagrad")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    tf.random.set_seed(args.seed)
    if args.places is None:
        median_step(args)
    else:
        train(args)


if __name__ == "__main__":
    main()
