"""What the rows of a run come to."""

import numpy as np
from scipy import stats

from experiments.runs.summary import summarise
from experiments.training.rows import ImageRow


def test_differences_are_paired():
    """Mean, interval and p-value of a summary are those of the seeds' differences."""
    rng = np.random.default_rng(0)
    accuracies = {"exact": rng.uniform(0.5, 0.9, 6)}
    accuracies["mc"] = accuracies["exact"] - rng.uniform(0.01, 0.03, 6)
    seconds = {"train_seconds": 1.0, "recalibrate_seconds": 0.0, "step_seconds": 1.0, "compile_seconds": 1.0}
    rows = [
        ImageRow.of(method=name, seed=seed, epoch=1, train_loss=0.0, test_accuracy=accuracy, diagnostics={}, **seconds)
        for name, values in accuracies.items()
        for seed, accuracy in enumerate(values)
    ]
    exact, mc = summarise(rows, {"exact": 1.0, "mc": 0.5})
    test = stats.ttest_rel(100 * accuracies["mc"], 100 * accuracies["exact"])
    low, high = test.confidence_interval()
    mean = 100 * np.mean(accuracies["mc"] - accuracies["exact"])
    assert mc.difference == f"{mean:+.2f} ± {(high - low) / 2:.2f}"
    assert mc.p_value == f"{test.pvalue:.2g}"
    spread = stats.t.interval(0.95, 5, 100 * np.mean(accuracies["mc"]), stats.sem(100 * accuracies["mc"]))
    assert mc.interval == f"{spread[0]:.2f} to {spread[1]:.2f}"
    assert exact.difference == exact.p_value == ""
