"""Training on another text first, exactly and in float32: once, the same for all methods, seeds and dtypes."""

import dataclasses
import io
import json
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.characters.config import CharactersConfig
from experiments.characters.data import CharactersData
from experiments.characters.learner import characters_learner
from experiments.characters.methods import EXACT
from experiments.process.errors import UsageError
from experiments.process.files import write_whole
from experiments.training.compilation import jit
from experiments.training.loop import make_train

_SEED = 31  # apart from the seeds of runs, which are keys of their own
_OPTIONS = (
    *("pretrain_steps", "pretrain_lr", "pretrain_batch_size", "blocks", "features", "heads", "window"),
    *("schedule", "weight_decay", "beta2"),
)


def pretrained_params(config: CharactersConfig, data: CharactersData) -> Any:
    """The network's parameters after `--pretrain-steps` on `data`: from the file `--pretrained`, or else into it.

    Raises:
        UsageError: if the file holds those of other options, or something else.
        OutputError: if it can't be written.
    """
    own = dataclasses.replace(
        config,
        steps=config.pretrain_steps,
        evaluations=1,
        lrs=(config.pretrain_lr,),
        batch_sizes=(config.pretrain_batch_size,),
        dtype="float32",
    )
    learner = characters_learner(own, EXACT, data)
    train = make_train(own, learner, data)
    key = jax.random.fold_in(jax.random.key(_SEED), config.pretrain_steps)
    facts, path = _facts(config, data), config.pretrained
    if path is not None and path.exists():
        return _read(path, facts, jax.eval_shape(train.init, key).params)

    print(f"training on {data.name} first, {config.pretrain_steps} steps ...", file=sys.stderr, flush=True)

    def run(text):
        return train.epoch(train.init(key), text, train.rounds[0])[0].params

    params = jax.device_get(jit(run)(data.train))
    if path is not None:
        _write(path, facts, params)
    return params


def _facts(config: CharactersConfig, data: CharactersData) -> dict[str, Any]:
    """What the parameters depend on."""
    own = {name: getattr(config, name) for name in _OPTIONS}
    text = zlib.crc32(np.asarray(data.train).tobytes())
    return {**own, "text": data.name, "vocabulary": data.vocabulary, "checksum": text}


def _write(path: Path, facts: dict[str, Any], params: Any) -> None:
    content = io.BytesIO()
    np.savez(content, *jax.tree.leaves(params), facts=np.frombuffer(json.dumps(facts).encode(), np.uint8))
    write_whole(path, content.getvalue())


def _read(path: Path, facts: dict[str, Any], template: Any) -> Any:
    leaves, structure = jax.tree.flatten(template)
    try:
        with np.load(path) as arrays:
            found = json.loads(arrays["facts"].tobytes())
            params = [arrays[f"arr_{i}"] for i in range(len(leaves))]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"--pretrained must be a file that a run has written, got {path} ({error})") from error
    differing = [name for name, value in facts.items() if found.get(name) != value]
    if differing:
        raise UsageError(f"--pretrained must be of the same {', '.join(differing)}, got {path}")
    return jax.tree.unflatten(structure, params)
