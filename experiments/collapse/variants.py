"""The variants of ALSH-approx that `experiments.collapse` trains: the paper's setting with one ingredient changed.

Nothing here imports JAX, so that the command line can list the variants at once.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

from jaxapprox.registry import Registry

if TYPE_CHECKING:
    from experiments.cifar.config import Config
    from experiments.cifar.methods import CNNLayers
    from experiments.training.method import TrainingMethod

TRAININGS: "Registry[TrainingMethod[Config, CNNLayers]]" = Registry(
    "training",
    exact="experiments.cifar.methods:exact",
    paper="experiments.cifar.methods:alsh",
    oracle="experiments.collapse.ingredients:oracle",
    random="experiments.collapse.ingredients:random",
    weights_rescaled="experiments.collapse.ingredients:weights_rescaled",
    weights_unscaled="experiments.collapse.ingredients:weights_unscaled",
    output_hashed="experiments.collapse.ingredients:output_hashed",
)
"""Ways to train, of which `Variant.training` names one."""


@dataclasses.dataclass(frozen=True)
class Variant:
    """The paper's setting with a change.

    Attributes:
        ingredient: what is changed.
        settings: fields of `experiments.cifar.config.Config`, in place of the paper's.
        training: one of `TRAININGS`.
        batch_size: of the training; the learning rate is in proportion to it.
        reference: the exact training to compare with.
    """

    ingredient: str
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    training: str = "paper"
    batch_size: int = 64
    reference: str = "exact"


_BETTER = {"transform": "simple", "select": "count"}
_BATCH_1: dict[str, Any] = {"batch_size": 1, "reference": "exact, batch 1"}

VARIANTS: dict[str, Variant] = {
    "exact": Variant("reference", training="exact"),
    "paper": Variant("reference"),
    "oracle": Variant("active set", training="oracle"),
    "count": Variant("active set", {"select": "count"}),
    "random": Variant("active set", training="random"),
    "K 10": Variant("K and L", {"num_bits": 10}),
    "L 50": Variant("K and L", {"num_tables": 50}),
    "simple, count, L 50": Variant("a better hash", {**_BETTER, "num_tables": 50}),
    "simple, count, K 1, L 200": Variant("a better hash", {**_BETTER, "num_bits": 1, "num_tables": 200}),
    "simple, count, K 1, L 1000": Variant("a better hash", {**_BETTER, "num_bits": 1, "num_tables": 1000}),
    "every step": Variant("rehash", {"rehash_every": 1, "rehash_every_late": 1}),
    "never": Variant("rehash", {"rehash_every": 0}),
    "weights rescaled": Variant("defects", training="weights_rescaled"),
    "weights unscaled": Variant("defects", training="weights_unscaled"),
    "output hashed": Variant("output layer", training="output_hashed"),
    "exact, batch 1": Variant("batch 1", training="exact", **_BATCH_1),
    "paper, batch 1": Variant("batch 1", **_BATCH_1),
    "oracle, batch 1": Variant("batch 1", training="oracle", **_BATCH_1),
    "output hashed, batch 1": Variant("batch 1", training="output_hashed", **_BATCH_1),
}
