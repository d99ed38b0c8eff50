"""Which sampler and mode should `mc` use? See `experiments.cifar.selection`.

python -m experiments.choose --width 16 --epochs 2
"""

from experiments.cifar.config import Config
from experiments.cifar.selection import main
from experiments.process.exits import run
from experiments.runs.command_line import parse

if __name__ == "__main__":
    run(lambda: main(parse("experiments.choose", Config)))
