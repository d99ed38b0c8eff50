"""The keys that layers draw with."""

import jax
from flax import linen as nn
from flax.errors import InvalidRngError


def sample_key(module: nn.Module, stream: str = "sample") -> jax.Array:
    """The module's next key from `stream`, and from no other."""
    if not module.has_rng(stream):
        where = "/".join(module.path) or "the model"
        raise InvalidRngError(
            f"{where} ({type(module).__name__}) needs the RNG stream {stream!r}: pass rngs={{{stream!r}: key}}, and"
            " list it in split_rngs where the layer lies in an nn.scan or nn.vmap"
        )
    return module.make_rng(stream)
