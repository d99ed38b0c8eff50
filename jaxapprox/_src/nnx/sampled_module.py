"""The base of layers that train on a Monte-Carlo estimate of themselves."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from jaxapprox._src.conversion.refusals import own_product
from jaxapprox._src.estimates.contraction import Estimated
from jaxapprox._src.estimates.mc import MC
from jaxapprox._src.nnx.random_module import Keys, RandomModule
from jaxapprox._src.overriding import Overriding


class SampledModule(RandomModule):
    """A `RandomModule` beside a layer of Flax's, whose product it estimates by `method`."""

    def __init__(self, method: MC, deterministic: bool, rng_collection: str, rngs: nnx.Rngs):
        super().__init__(deterministic, rng_collection, rngs)
        self.method = method

    def call_product(
        self, product: Callable[..., Estimated], deterministic: bool | None, rngs: Keys | None
    ) -> Callable[..., jax.Array]:
        """One of `estimates.products` for one call; the ValueErrors that it raises name the class."""
        key = self._key(deterministic, rngs)

        def named(*args: Any, **kwargs: Any) -> jax.Array:
            try:
                return product(self.method, key, None, *args, **kwargs)[0]
            except ValueError as error:
                raise ValueError(f"{type(self).__name__}: {error}") from error

        return named

    def _computing(
        self, product: Callable[..., Estimated], deterministic: bool | None, rngs: Keys | None, *names: str
    ) -> Any:
        """The layer for one call of Flax's own code, with `product` in the first of the named attributes.

        The other names are those of attributes that would go before it. A layer with a product of its own evaluates by
        that.

        Raises:
            ValueError: if the layer has a product of its own and is to sample.
        """
        own = own_product(self)
        if not own:
            return Overriding(
                self, **dict.fromkeys(names) | {names[0]: self.call_product(product, deterministic, rngs)}
            )
        if self.deterministic if deterministic is None else deterministic:
            return self
        raise ValueError(f"{type(self).__name__}: {own}")
