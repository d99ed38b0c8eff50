"""Output layers that return a sampled softmax loss where they are given labels."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxapprox._src.conversion.refusals import refused_with_labels
from jaxapprox._src.nnx.random_module import Keys, RandomModule
from jaxapprox._src.nnx.signatures import metadata_by_initialisers, taking_all_of
from jaxapprox._src.softmax.candidates import Proposal
from jaxapprox._src.softmax.evaluation import top_k
from jaxapprox._src.softmax.settings import SampledSoftmax

_exact: Any = nnx.Linear.__call__
_attend: Any = nnx.Embed.attend


class Labels(nnx.Variable):
    """The labels of a call, for the time of that call: see `call_with_labels`."""


class SoftmaxModule(RandomModule):
    """A `RandomModule` beside a layer of Flax's whose outputs are the scores of classes."""

    def __init__(self, method: SampledSoftmax, deterministic: bool, rng_collection: str, rngs: nnx.Rngs):
        super().__init__(deterministic, rng_collection, rngs)
        self.method = method
        self.labels: Labels | None = nnx.data(None)

    def _given(self, labels: Any) -> Any:
        """The labels of a call, or those that `call_with_labels` was given."""
        return labels if labels is not None or self.labels is None else self.labels[...]

    def _loss(
        self, deterministic: bool | None, rngs: Keys | None, x: Any, weights: Any, bias: Any, labels: Any
    ) -> jax.Array:
        refusal = refused_with_labels(self)
        if refusal:
            raise ValueError(f"{type(self).__name__}: {refusal}")
        key = self._key(deterministic, rngs) if self.method.draws() else None
        try:
            return self.method.loss(key, x, weights, bias, labels)
        except ValueError as error:
            raise ValueError(f"{type(self).__name__}: {error}") from error


class SampledSoftmaxDense(nnx.Linear, SoftmaxModule):
    """`nnx.Linear` as an output layer of very many classes, which trains on a sampled softmax.

    It takes what `nnx.Linear` takes, with the same meaning, and has the same parameters, and without labels the same
    logits. Given labels, a call returns the softmax cross-entropy of each example instead: estimated from candidates,
    or, if it is deterministic, exactly and in blocks of classes.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from jaxapprox.nnx import SampledSoftmaxDense
    >>> layer = SampledSoftmaxDense(8, 5000, size=64, rngs=nnx.Rngs(params=0, sample=1))
    >>> x, labels = jnp.ones((2, 8)), jnp.array([3, 5])
    >>> scores, ids = layer.top_k(x, 10)
    >>> layer(x, labels=labels).shape, layer(x, labels=labels, deterministic=True).shape, ids.shape
    ((2,), (2,), (2, 10))

    Args:
        *args, **kwargs: as in `nnx.Linear`.
        size, proposal, per_example, correct_labels, block_size: as in `jaxapprox.SampledSoftmax`.
        deterministic, rng_collection, rngs: as in `jaxapprox.nnx.MCDense`.

    Raises:
        ValueError: if an argument does not fit, or `rngs` lacks the stream.
    """

    @taking_all_of(nnx.Linear.__init__)
    def __init__(
        self,
        *args: Any,
        size: int | None = 1024,
        proposal: str | Proposal = "log_uniform",
        per_example: bool = False,
        correct_labels: bool = False,
        block_size: int | None = None,
        deterministic: bool = False,
        rng_collection: str = "sample",
        rngs: nnx.Rngs,
        **kwargs: Any,
    ):
        super().__init__(*args, rngs=rngs, **metadata_by_initialisers(super().__init__, kwargs))
        method = SampledSoftmax(size, proposal, per_example, correct_labels, block_size)
        SoftmaxModule.__init__(self, method, deterministic, rng_collection, rngs)

    def __call__(
        self,
        inputs: jax.Array,
        out_sharding: Any = None,
        *,
        labels: jax.Array | None = None,
        deterministic: bool | None = None,
        rngs: Keys | None = None,
    ) -> jax.Array:
        """inputs `(*batch, in)` -> logits `(*batch, out)`, or given labels the loss `(*batch,)`.

        Args:
            inputs, out_sharding: as in `nnx.Linear`; the latter is of the logits.
            labels: `(*batch,)` or `(*batch, m)` integers, as in `jaxapprox.softmax.cross_entropy`.
            deterministic, rngs: instead of the layer's own.

        Raises:
            ValueError: if a shape does not fit, a label is out of range, or `rngs` lacks the stream; or if there are
                labels and a `dot_general`, precision or element type of the layer's own.
        """
        labels = self._given(labels)
        if labels is None:
            return self.scores(inputs, **({} if out_sharding is None else {"out_sharding": out_sharding}))
        x, kernel, bias = self._promoted(inputs)
        return self._loss(deterministic, rngs, x, kernel.T, bias, labels)

    def top_k(self, inputs: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
        """The k classes of highest score, exactly, in blocks of classes.

        Args:
            inputs: `(batch, in)`.
            k: from 1 to the number of classes.

        Returns:
            `(batch, k)` scores and `(batch, k)` int32 classes, as `jaxapprox.softmax.top_k`.
        """
        x, kernel, bias = self._promoted(inputs)
        return top_k(x, kernel.T, bias, k, block_size=self.method.block_size)

    def scores(self, inputs: jax.Array, **options: Any) -> jax.Array:
        """The logits, as `nnx.Linear` computes them."""
        return _exact(self, inputs, **options)

    def _promoted(self, inputs: jax.Array) -> Any:
        bias = None if self.bias is None else self.bias[...]
        return self.promote_dtype((inputs, self.kernel[...], bias), dtype=self.dtype)


class SampledSoftmaxEmbed(nnx.Embed, SoftmaxModule):
    """`nnx.Embed` whose weights are an output layer's too, which trains on a sampled softmax.

    It takes what `nnx.Embed` takes, with the same meaning, and has the same parameters and calls. Given labels,
    `attend` returns the softmax cross-entropy of each query instead of its logits; the weights are the embedding,
    uncopied.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from jaxapprox.nnx import SampledSoftmaxEmbed
    >>> layer, ids = SampledSoftmaxEmbed(5000, 8, size=64, rngs=nnx.Rngs(params=0, sample=1)), jnp.array([3, 5])
    >>> layer.attend(layer(ids), labels=ids).shape
    (2,)

    Args:
        *args, **kwargs: as in `nnx.Embed`.
        size, proposal, per_example, correct_labels, block_size, deterministic, rng_collection, rngs: as in
            `SampledSoftmaxDense`.

    Raises:
        ValueError: if an argument does not fit, or `rngs` lacks the stream.
    """

    @taking_all_of(nnx.Embed.__init__)
    def __init__(
        self,
        *args: Any,
        size: int | None = 1024,
        proposal: str | Proposal = "log_uniform",
        per_example: bool = False,
        correct_labels: bool = False,
        block_size: int | None = None,
        deterministic: bool = False,
        rng_collection: str = "sample",
        rngs: nnx.Rngs,
        **kwargs: Any,
    ):
        super().__init__(*args, rngs=rngs, **kwargs)
        method = SampledSoftmax(size, proposal, per_example, correct_labels, block_size)
        SoftmaxModule.__init__(self, method, deterministic, rng_collection, rngs)

    def attend(
        self,
        query: jax.Array,
        out_sharding: Any = None,
        *,
        labels: jax.Array | None = None,
        deterministic: bool | None = None,
        rngs: Keys | None = None,
    ) -> jax.Array:
        """query `(*batch, features)` -> logits `(*batch, num_embeddings)`, or given labels the loss `(*batch,)`.

        Args:
            query, out_sharding: as in `nnx.Embed`; the latter is of the logits.
            labels, deterministic, rngs: as for a call of `SampledSoftmaxDense`.

        Raises:
            ValueError: as for a call of `SampledSoftmaxDense`.
        """
        labels = self._given(labels)
        if labels is None:
            return self.scores(query, **({} if out_sharding is None else {"out_sharding": out_sharding}))
        x, weights = self._promoted(query)
        return self._loss(deterministic, rngs, x, weights, None, labels)

    def top_k(self, query: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
        """The k embeddings of highest score, exactly, in blocks of classes.

        Args:
            query: `(batch, features)`.
            k: from 1 to the number of embeddings.

        Returns:
            As `SampledSoftmaxDense.top_k`.
        """
        x, weights = self._promoted(query)
        return top_k(x, weights, None, k, block_size=self.method.block_size)

    def scores(self, query: jax.Array, **options: Any) -> jax.Array:
        """The logits, as `nnx.Embed` computes them."""
        return _attend(self, query, **options)

    def _promoted(self, query: jax.Array) -> Any:
        return self.promote_dtype((query, self.embedding[...]), dtype=self.dtype)


def call_with_labels(model: nnx.Module, labels: jax.Array, *args: Any, **kwargs: Any) -> Any:
    """Calls a model whose last layer is a `SampledSoftmaxDense` or a `SampledSoftmaxEmbed`, with labels for it.

    The layer gets them where the model calls it, so that its loss is there in the place of the logits, in what the
    model returns as well.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from jaxapprox.nnx import SampledSoftmaxDense, call_with_labels
    >>> rngs = nnx.Rngs(params=0, sample=1)
    >>> model = nnx.Sequential(nnx.Linear(6, 8, rngs=rngs), nnx.relu, SampledSoftmaxDense(8, 5000, rngs=rngs))
    >>> call_with_labels(model, jnp.array([3, 5]), jnp.ones((2, 6))).shape
    (2,)

    Args:
        model: with one such layer.
        labels: as for a call of `SampledSoftmaxDense`.
        *args, **kwargs: what the model is called with.

    Raises:
        ValueError: if the model has no such layer, or several; or as for a call of the layer.
    """
    layers = [module for _, module in nnx.iter_graph(model) if isinstance(module, SoftmaxModule)]
    if len(layers) != 1:
        raise ValueError(f"model must have one layer that takes labels, got {len(layers)}")
    layers[0].labels = Labels(jnp.asarray(labels))
    try:
        return model(*args, **kwargs)
    finally:
        layers[0].labels = nnx.data(None)
