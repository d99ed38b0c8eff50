"""What is raced on: a network and data, and the arms, of which the exact one comes first.

Nothing here imports JAX, so that the command line can list the names at once.
"""

import dataclasses
import json
from typing import Any

EXACT = "exact"
"""The arm that all others are compared with; it chooses its batch size."""


@dataclasses.dataclass(frozen=True)
class Arm:
    """A contender.

    Attributes:
        changes: options of the task's program in which it differs from the task.
        batch_sizes: what it may choose from; the first is tried with every learning rate, a single one is fixed.
        half_of: in their place: it has half of the batch size that this arm chose.
        rate_scale: what the task's learning rates are multiplied by.
    """

    changes: dict[str, Any]
    batch_sizes: tuple[int, ...] = ()
    half_of: str | None = None
    rate_scale: float = 1.0

    @property
    def program(self) -> str:
        """What tells programs apart whose steps take different times, batch size aside."""
        return json.dumps(self.changes, sort_keys=True)


@dataclasses.dataclass(frozen=True)
class RaceTask:
    """What is raced on.

    Attributes:
        program: "module:class" of the options of the program that trains.
        options: values of them that all arms share.
        arms: by name.
        rates: learning rates that are tried.
        budgets: training seconds, by default.
        tune_seconds: of a trial, by default.
        held_out: options in which a trial differs, so that it never looks at what the race is judged by.
        reads: options of the race that are handed on to the program.
        keeps: options that name a file, and the file's name among those of the race.
    """

    program: str
    options: dict[str, Any]
    arms: dict[str, Arm]
    rates: tuple[float, ...]
    budgets: tuple[float, ...]
    tune_seconds: float
    held_out: dict[str, Any]
    reads: tuple[str, ...]
    keeps: dict[str, str] = dataclasses.field(default_factory=dict)


def _drop(changes: dict[str, Any]) -> Arm:
    """Exact training on half of the images that exact's batches have: what a sample must do better than."""
    return Arm(changes, half_of=EXACT)


_STANDARD = {"methods": ("standard",)}
_IMAGES: dict[str, Any] = {"held_out": {"validation": True}, "reads": ("data_dir",)}
_AT_1: dict[str, Any] = {"batch_sizes": (1,), "rate_scale": 0.1}
_MLP: dict[str, Any] = {
    **_IMAGES,
    "program": "experiments.mlp.config:MLPConfig",
    "rates": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    "arms": {
        EXACT: Arm(_STANDARD, (128, 32, 512)),
        "drop": _drop(_STANDARD),
        "exact@1": Arm(_STANDARD, **_AT_1),
        "mc@1": Arm({"methods": ("mc",), "ratios": (0.1,)}, **_AT_1),
        "alsh@1": Arm({"methods": ("alsh",)}, **_AT_1),
        "mc@128": Arm({"methods": ("mc",), "ratios": (0.5,)}, (128,)),
    },
}
_CIFAR_EXACT = {"methods": ("exact",)}
_CIFAR_KERNEL = {"methods": ("mc",), "mode": "kernel", "ratios": (0.5,)}
_CIFAR_BATCHES = (64, 32, 128)
_WORDS_EXACT = {"methods": ("exact",)}
_WORDS_BATCHES = (128, 32, 512)

_CHARACTERS_EXACT = {"methods": ("exact",)}
_CHARACTERS_BATCHES = (16, 8, 32)
_CHARACTERS: dict[str, Any] = {
    "program": "experiments.characters.config:CharactersConfig",
    "arms": {
        EXACT: Arm(_CHARACTERS_EXACT, _CHARACTERS_BATCHES),
        "drop": _drop(_CHARACTERS_EXACT),
        "kernel 0.5": Arm({"methods": ("kernel",), "ratios": (0.5,)}, _CHARACTERS_BATCHES),
        "kernel 0.3": Arm({"methods": ("kernel",), "ratios": (0.3,)}, _CHARACTERS_BATCHES),
        "mc 0.5": Arm({"methods": ("mc",), "ratios": (0.5,)}, _CHARACTERS_BATCHES),
        "adaptive": Arm({"methods": ("adaptive",)}, _CHARACTERS_BATCHES),
    },
    "budgets": (4, 16, 64),
    "tune_seconds": 10,
    "held_out": {"validation": True},
    "reads": ("text",),
}

TASKS: dict[str, RaceTask] = {
    "digits": RaceTask(
        options={"data": "digits", "layers": (3,), "width": 256, "schedule": "onecycle"},
        budgets=(0.0625, 0.25, 1),
        tune_seconds=0.25,
        **_MLP,
    ),
    "mnist": RaceTask(
        options={"data": "mnist", "layers": (3,), "schedule": "onecycle"}, budgets=(1, 4, 16), tune_seconds=4, **_MLP
    ),
    "mnist6000": RaceTask(
        options={"data": "mnist", "layers": (3,), "images": 6_000, "schedule": "onecycle"},
        budgets=(2, 8, 32),
        tune_seconds=4,
        **_MLP,
    ),
    "cifar": RaceTask(
        program="experiments.cifar.config:Config",
        options={"data": "cifar10", "width": 8},
        arms={
            EXACT: Arm(_CIFAR_EXACT, _CIFAR_BATCHES),
            "drop": _drop(_CIFAR_EXACT),
            "kernel 0.5": Arm({**_CIFAR_KERNEL, "samplers": ("systematic",)}, _CIFAR_BATCHES),
            "kernel 0.5 topk": Arm(_CIFAR_KERNEL, _CIFAR_BATCHES),
            "images by norm": Arm({"methods": ("norms",), "ratios": (0.5,)}, _CIFAR_BATCHES),
            "mc 0.5": Arm({"methods": ("mc",), "ratios": (0.5,)}, _CIFAR_BATCHES),
        },
        rates=(0.03, 0.1, 0.3),
        budgets=(15, 60, 240),
        tune_seconds=20,
        **_IMAGES,
    ),
    "characters": RaceTask(options={"evaluations": 1}, rates=(1e-3, 2e-3, 4e-3), **_CHARACTERS),
    "finetune": RaceTask(
        options={"evaluations": 1, "pretrain_steps": 2_000},
        rates=(3e-4, 1e-3, 3e-3),
        keeps={"pretrained": "pretrained.npz"},
        **_CHARACTERS,
    ),
    "words": RaceTask(
        program="experiments.words.config:WordsConfig",
        options={"evaluations": 1, "schedule": "cosine"},
        arms={
            EXACT: Arm(_WORDS_EXACT, _WORDS_BATCHES),
            "drop": _drop(_WORDS_EXACT),
            "sampled": Arm({"methods": ("sampled",)}, _WORDS_BATCHES),
            "sampled 256": Arm(
                {"methods": ("sampled",), "candidates": (256,), "proposals": ("frequency",)}, _WORDS_BATCHES
            ),
            "hashed": Arm({"methods": ("hashed",)}, _WORDS_BATCHES),
        },
        rates=(0.1, 0.3, 1.0),
        budgets=(3, 12, 48),
        tune_seconds=8,
        held_out={"held_out_every": 47},  # other lines than the ones that are tested on, but for a few
        reads=("text",),
    ),
}
"""The tasks by name."""
