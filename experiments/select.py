"""Which sampler and mode should `mc` use? Trains each on part of the training set and tests on the rest of it.

    python -m experiments.select --width 16 --epochs 2

The test set is never looked at. The result is what `experiments.cifar` defaults to, and shows in its summary.
"""

import dataclasses
import json
import sys
from pathlib import Path

import jax
import tyro

from experiments.config import Config, UsageError
from experiments.data import hold_out, load
from experiments.runner import compile_method, run_method

RESULTS = Path(__file__).parent / "results" / "mc_selection.json"
_CANDIDATES = (
    ("backward", "systematic"),
    ("forward", "topk"),
    ("forward", "systematic"),
    ("straight_through", "topk"),
    ("straight_through", "systematic"),
    ("backward", "topk"),
    ("backward", "importance"),
    ("backward", "uniform"),
)


def main(config: Config) -> None:
    """Prints and records the held-out accuracy of `exact` and of each sampler and mode at `--ratio`."""
    config = config.resolved()
    data = hold_out(load(config.data, config.data_dir))
    record = {
        "command": "python -m experiments.select " + " ".join(sys.argv[1:]),
        "config": {k: str(v) if isinstance(v, Path) else v for k, v in dataclasses.asdict(config).items()},
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "results": [],
    }
    path = RESULTS if config.out is None else config.out / RESULTS.name
    path.parent.mkdir(parents=True, exist_ok=True)
    for mode, sampler in ((None, None), *_CANDIDATES):
        name = "exact" if mode is None else "mc"
        chosen = config if mode is None else dataclasses.replace(config, mode=mode, sampler=sampler)
        programs = compile_method(chosen, name, data)
        rows = [row for row in run_method(chosen, name, data, programs) if row.epoch == config.epochs]
        result = {
            "method": name,
            "mode": mode,
            "sampler": sampler,
            "accuracy": [row.test_accuracy for row in rows],
            "accuracy_uncalibrated": [row.test_accuracy_uncalibrated for row in rows],
        }
        record["results"].append(result)
        path.write_text(json.dumps(record, indent=1) + "\n")
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, prog="python -m experiments.select"))
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
