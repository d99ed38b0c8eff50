"""How a sum is sampled: the settings, and the rows that they draw."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxapprox._src.checks import check_choice, check_int, check_share
from jaxapprox._src.sampling.samplers import Sampler, systematic
from jaxapprox._src.sampling.scores import finite_scores
from jaxapprox._src.shares import count_of

UNITS = ("channel", "edge", "block")
IMPLEMENTATIONS = ("xla", "pallas")
MODES = ("forward", "backward", "straight_through", "kernel")
_BLOCK = 128  # channels: the lanes of a TPU


def check_row_scores(scores: Any, *shape: int | None) -> Any:
    """The scores of a sum's rows, refused unless they are a floating array of this shape; None is any size."""
    actual: tuple[int, ...] = getattr(scores, "shape", ())
    is_floating = hasattr(scores, "dtype") and jnp.issubdtype(scores.dtype, jnp.floating)
    if (
        not is_floating
        or len(actual) != len(shape)
        or any(n not in (None, m) for n, m in zip(shape, actual, strict=True))
    ):
        expected = ", ".join("rows" if n is None else str(n) for n in shape) + ("," if len(shape) == 1 else "")
        got = f"{scores.dtype} of shape {actual}" if hasattr(scores, "dtype") else repr(scores)
        raise ValueError(f"scores must be a floating array of shape ({expected}), got {got}")
    return scores


class Rows(NamedTuple):
    """A sample of distinct rows out of n, with its inverse."""

    indices: jax.Array  # (slots,) int32
    weights: jax.Array  # (slots,) float
    slot_of: jax.Array  # (n,) int32: the slot that holds the row, or `slots` where none does


@dataclasses.dataclass(frozen=True)
class MC:
    """How a layer is estimated by Monte Carlo: how many rows of its sum are drawn, by what, and what the draw is for.

    >>> from jaxapprox import MC
    >>> rules = [("stem", None), ("*", MC(ratio=0.25, mode="backward"))]  # for `convert`

    Attributes:
        ratio: share of the rows to keep, in (0, 1].
        sampler: `systematic`, `importance`, `uniform`, `bernoulli`, `topk`, or any `jaxapprox.Sampler`.
        unit: what the rows are, "channel", "edge" or "block", as in `jaxapprox.mc_conv`; a dense layer's edges are its
            channels.
        mode: what is estimated, "forward", "backward", "straight_through" or "kernel", as in `jaxapprox.mc_conv`.
        min_samples: the fewest rows to keep (all, where there are fewer).
        block_size: channels of a block; by default the largest divisor of their number up to 128.
        implementation: of products of blocks, "xla" or "pallas", as in `jaxapprox.mc_conv`; by default what is
            known to be faster.

    Raises:
        ValueError: if an attribute is not as above.
    """

    ratio: float = 0.5
    sampler: Sampler = systematic
    unit: str = "channel"
    mode: str = "forward"
    min_samples: int = 1
    block_size: int | None = None
    implementation: str | None = None

    def __post_init__(self):
        check_share("ratio", self.ratio)
        check_int("min_samples", self.min_samples, None)
        if not callable(self.sampler):
            raise ValueError(f"sampler must be a function such as jaxapprox.systematic, got {self.sampler!r}")
        check_choice("unit", self.unit, UNITS)
        check_choice("mode", self.mode, MODES)
        for name in ("block_size", "implementation"):
            if self.unit != "block" and getattr(self, name) is not None:
                raise ValueError(f'{name} must be None unless unit is "block", got {getattr(self, name)!r}')
        if self.block_size is not None:
            check_int("block_size", self.block_size, None)
        if self.implementation is not None:
            check_choice("implementation", self.implementation, IMPLEMENTATIONS)

    def block(self, channels: int) -> int:
        """The number of channels that are kept or dropped together.

        Raises:
            ValueError: if `block_size` does not divide them.
        """
        if self.unit != "block":
            return 1
        if self.block_size is None:
            return next((size for size in range(min(_BLOCK, channels), 0, -1) if channels % size == 0), 1)
        if channels % self.block_size:
            raise ValueError(f"block_size must divide the {channels} channels of the sum, got {self.block_size}")
        return self.block_size

    def size(self, n: int) -> int:
        """The number k of rows that are kept of n; at k = n nothing is drawn and the sum is exact."""
        return count_of(self.ratio, n, self.min_samples)

    @property
    def samples_the_value(self) -> bool:
        """Whether it is the value's sum that is estimated, and not only that of a gradient."""
        return self.mode in ("forward", "straight_through")

    def draw(self, key: jax.Array, scores: jax.Array) -> Rows:
        """Draws rows by their scores.

        Args:
            key: a PRNG key.
            scores: `(n,)` floating; NaN counts as the largest.

        Returns:
            The rows. Of a row that the sampler drew more than once, the first slot has the whole weight and the other
            slots have the weight 0.
        """
        n = scores.shape[0]
        sample = self.sampler(key, finite_scores(scores), self.size(n))
        slots = sample.indices.shape[0]
        steps = jnp.arange(slots, dtype=jnp.int32)
        slot_of = jnp.full(n, slots, jnp.int32).at[sample.indices].min(steps)
        weight_of = jnp.zeros(n, sample.weights.dtype).at[sample.indices].add(sample.weights)
        weights = jnp.where(slot_of[sample.indices] == steps, weight_of[sample.indices], 0)
        return Rows(sample.indices, lax.stop_gradient(weights), slot_of)
