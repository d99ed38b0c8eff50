"""How the error of an estimated forward pass compounds with depth, measured and predicted.

    python -m experiments.error_by_depth --width 1000 --layers 10

The paper's reason why approximating the forward pass does not scale: every layer works on what the estimates before it
left. The prediction is for wide layers and knows nothing of the networks measured: `experiments.error_by_depth.theory`.
"""

import dataclasses

from experiments.error_by_depth.options import ErrorByDepth
from experiments.process.command_line import read_options
from experiments.process.exits import make_output_directory, run
from experiments.process.files import save_figure, write_json, write_whole


def main(options: ErrorByDepth) -> None:
    """Measures all estimated layers, and writes and prints the results.

    Raises:
        UsageError: if a value is out of its range, or `--out` can't be written.
        OutputError: if results can no longer be written.
    """
    options.check()
    # Imported here: help and refusals need not wait for JAX.
    from experiments.error_by_depth.layers import estimated_layers
    from experiments.error_by_depth.measure import check_range, measure
    from experiments.error_by_depth.report import draw, markdown
    from experiments.process.environment import environment

    estimated = estimated_layers(options)
    check_range(estimated, options)
    make_output_directory(options.out)
    results = measure(estimated, options)
    record = {**environment(), "settings": {**dataclasses.asdict(options), "out": ""}, "results": results}
    write_json(options.out / "error_by_depth.json", record)
    write_whole(options.out / "error_by_depth.md", markdown(record))
    save_figure(options.out / "error_by_depth.png", draw(record))
    print(markdown(record))


if __name__ == "__main__":
    run(lambda: main(read_options("experiments.error_by_depth", ErrorByDepth)))
