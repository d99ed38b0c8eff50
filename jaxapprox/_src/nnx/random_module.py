"""The base of layers that draw: a stream of their own, and the switch between training and evaluation."""

import jax
from flax import nnx

Keys = nnx.Rngs | nnx.RngStream | jax.Array


class RandomModule(nnx.Module):
    """A module with a fork of the stream `rng_collection`; `train()` and `eval()` of any model around it switch it."""

    def __init__(self, deterministic: bool, rng_collection: str, rngs: nnx.Rngs):
        self.deterministic = deterministic
        self.rng_collection = rng_collection
        self.rngs = stream_of(rngs, rng_collection, type(self).__name__).fork()

    def set_view(self, deterministic: bool | None = None) -> None:
        """Sets the switch, as `nnx.view` does with the modules of a model."""
        if deterministic is not None:
            self.deterministic = deterministic

    def _key(self, deterministic: bool | None, rngs: Keys | None) -> jax.Array | None:
        """The key of a call, or None if it is deterministic. What the call is given goes before the layer's own."""
        deterministic = self.deterministic if deterministic is None else deterministic
        return None if deterministic else self._draw(rngs)

    def _draw(self, rngs: Keys | None) -> jax.Array:
        """The next key of the layer's stream, or of what is given."""
        if rngs is None:
            return self.rngs()
        if isinstance(rngs, nnx.Rngs):
            return stream_of(rngs, self.rng_collection, type(self).__name__)()
        return rngs() if isinstance(rngs, nnx.RngStream) else rngs


def stream_of(rngs: nnx.Rngs, rng_collection: str, user: str) -> nnx.RngStream:
    """The stream of that name or, without one, NNX's default stream, as `nnx.Dropout` chooses.

    Raises:
        ValueError: if `rngs` has neither; `user` says for what it must.
    """
    if rng_collection not in rngs and "default" not in rngs:
        raise ValueError(
            f"rngs must hold the stream {rng_collection!r} or a default one for {user}, got"
            f" {', '.join(rngs) or 'none'}: pass nnx.Rngs(..., {rng_collection}=seed)"
        )
    return rngs[rng_collection]
