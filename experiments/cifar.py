"""The paper's CNN, trained exactly, with sampled convolutions and with a hashed dense layer (Table 3).

python -m experiments.cifar --preset quick
python -m experiments.cifar --data cifar10 --width 16 --epochs 3 --methods exact mc alsh --ratio 0.5
"""

import sys

from experiments.config import Config, parse
from experiments.data import hold_out, load
from experiments.display import Display
from experiments.interrupt import interruptible
from experiments.methods import METHODS
from experiments.program import run
from experiments.report import RunDirectory
from experiments.runner import compile_method, run_method


def main(config: Config) -> int:
    """Runs `config`; returns the exit code.

    Raises:
        UsageError: if the data can't be had or `--out` not written, before anything is trained.
    """
    data = load(config.data, config.data_dir)
    if config.validation:
        data = hold_out(data)
    directory = RunDirectory(config)
    display = Display()
    display.header(f"ResNet-18 of width {config.width} on {data.name}: {', '.join(config.methods)} -> {directory.path}")
    flops: dict[str, float] = {}
    batch_size = min(config.batch_size, len(data.train.labels))
    steps = config.seeds * config.epochs * (len(data.train.labels) // batch_size)
    exit_code = 0
    try:
        with interruptible():
            for method in config.methods:
                display.compiling(method)
                programs = compile_method(config, METHODS[method](config), data, display.on_step)
                flops[method] = programs.flops_per_step
                display.start(method, steps, batch_size)
                for row in run_method(config, method, data, programs):
                    directory.add(row)
                    display.add(row)
                display.stop()
    except KeyboardInterrupt:
        display.stop()
        print(f"interrupted: {len(directory.rows)} epochs are kept in {directory.path}", file=sys.stderr)
        exit_code = 130
    display.table(directory.finish(flops))
    return exit_code


if __name__ == "__main__":
    run(lambda: main(parse("experiments.cifar")))
