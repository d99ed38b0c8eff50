"""Output layers that return a sampled softmax loss where they are given labels."""

import dataclasses
import inspect
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxapprox._src.conversion.refusals import refused_with_labels
from jaxapprox._src.linen.naming import naming
from jaxapprox._src.linen.rng import sample_key
from jaxapprox._src.softmax.candidates import Proposal
from jaxapprox._src.softmax.evaluation import top_k
from jaxapprox._src.softmax.settings import SampledSoftmax

_exact: Any = inspect.unwrap(nn.Dense.__call__)
_attend: Any = inspect.unwrap(nn.Embed.attend)


class SampledSoftmaxDense(nn.Dense):
    """`nn.Dense` as an output layer of very many classes, which trains on a sampled softmax.

    It has the attributes, parameters and initialisers of `nn.Dense`, and without labels its logits. Given labels, a
    call returns the softmax cross-entropy of each example instead: with `deterministic=False` estimated from
    candidates, by a key from the RNG stream "sample"; with `deterministic=True`, and in `init`, exactly, in blocks of
    classes. Gradients by autodiff are as large as the kernel; `jaxapprox.softmax.sampled_rows` has small ones.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxapprox.linen import SampledSoftmaxDense
    >>> layer, x, labels = SampledSoftmaxDense(5000, size=64), jnp.ones((2, 8)), jnp.array([3, 5])
    >>> variables = layer.init(jax.random.key(0), x)
    >>> loss = layer.apply(variables, x, labels, deterministic=False, rngs={"sample": jax.random.key(1)})
    >>> exact = layer.apply(variables, x, labels, deterministic=True)
    >>> scores, ids = layer.apply(variables, x, 10, method="top_k")
    >>> loss.shape, exact.shape, ids.shape
    ((2,), (2,), (2, 10))

    Attributes:
        size, proposal, per_example, correct_labels, block_size: as in `jaxapprox.SampledSoftmax`.
        deterministic: True for the exact loss (evaluation); may be given to the call instead.
        rng_collection: the RNG stream that keys are drawn from.
        features, and all others: as in `nn.Dense`.
    """

    size: int | None = 1024
    proposal: str | Proposal = "log_uniform"
    per_example: bool = False
    correct_labels: bool = False
    block_size: int | None = None
    deterministic: bool | None = None
    rng_collection: str = "sample"

    @nn.compact
    def __call__(
        self, inputs: jax.Array, labels: jax.Array | None = None, deterministic: bool | None = None
    ) -> jax.Array:
        """inputs `(*batch, in)` -> logits `(*batch, features)`, or given labels the loss `(*batch,)`.

        Args:
            inputs: `(*batch, in)`.
            labels: `(*batch,)` or `(*batch, m)` integers, as in `jaxapprox.softmax.cross_entropy`.
            deterministic: instead of the attribute; without labels it has no meaning.

        Raises:
            ValueError: if an attribute or a shape does not fit, or a label is out of range; or if there are labels and
                a `dot_general` or a precision of the layer's own.
            flax.errors.InvalidRngError: if a key is needed and the stream "sample" is missing.
        """
        if labels is None:
            return _exact(self, inputs)
        with naming(self):
            exact = nn.merge_param("deterministic", self.deterministic, deterministic)
            return loss_of_dense(_method(self), self.rng_collection, exact, labels, self, inputs)

    def top_k(self, inputs: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
        """The k classes of highest score, exactly, in blocks of classes.

        Args:
            inputs: `(batch, in)`.
            k: from 1 to `features`.

        Returns:
            `(batch, k)` scores and `(batch, k)` int32 classes, as `jaxapprox.softmax.top_k`.
        """
        stored = nn.meta.unbox(self.variables["params"])
        layer: Any = self
        x, kernel, bias = layer.promote_dtype(inputs, stored["kernel"], stored.get("bias"), dtype=self.dtype)
        return top_k(x, kernel.T, bias, k, block_size=self.block_size)


class SampledSoftmaxEmbed(nn.Embed):
    """`nn.Embed` whose weights are an output layer's too, which trains on a sampled softmax.

    It has the attributes, parameters and initialisers of `nn.Embed`, and its calls. Given labels, `attend` returns the
    softmax cross-entropy of each query instead of its logits, as a call of `SampledSoftmaxDense` does; the weights are
    the embedding, uncopied.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxapprox.linen import SampledSoftmaxEmbed
    >>> layer, ids = SampledSoftmaxEmbed(5000, 8, size=64), jnp.array([3, 5])
    >>> variables = layer.init(jax.random.key(0), ids)
    >>> x, rngs = layer.apply(variables, ids), {"sample": jax.random.key(1)}
    >>> layer.apply(variables, x, ids, deterministic=False, method="attend", rngs=rngs).shape
    (2,)

    Attributes:
        size, proposal, per_example, correct_labels, block_size, deterministic, rng_collection: as in
            `SampledSoftmaxDense`.
        num_embeddings, features, and all others: as in `nn.Embed`.
    """

    size: int | None = 1024
    proposal: str | Proposal = "log_uniform"
    per_example: bool = False
    correct_labels: bool = False
    block_size: int | None = None
    deterministic: bool | None = None
    rng_collection: str = "sample"

    def attend(self, query: jax.Array, labels: jax.Array | None = None, deterministic: bool | None = None) -> jax.Array:
        """query `(*batch, features)` -> logits `(*batch, num_embeddings)`, or given labels the loss `(*batch,)`.

        Args:
            query: `(*batch, features)`.
            labels, deterministic: as for a call of `SampledSoftmaxDense`.

        Raises:
            ValueError, flax.errors.InvalidRngError: as for `SampledSoftmaxDense`.
        """
        if labels is None:
            return _attend(self, query)
        with naming(self):
            exact = nn.merge_param("deterministic", self.deterministic, deterministic)
            return loss_of_embed(_method(self), self.rng_collection, exact, labels, self, query)

    def top_k(self, query: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
        """The k embeddings of highest score, exactly, in blocks of classes.

        Args:
            query: `(batch, features)`.
            k: from 1 to `num_embeddings`.

        Returns:
            As `SampledSoftmaxDense.top_k`.
        """
        layer: Any = self
        x, weights = layer.promote_dtype(query, self.embedding, dtype=self.dtype)
        return top_k(x, weights, None, k, block_size=self.block_size)


def loss_of_dense(
    method: SampledSoftmax, stream: str, exact: bool, labels: Any, module: Any, inputs: jax.Array
) -> jax.Array:
    """The loss of a dense layer, to be called within a compact call of it.

    Args:
        method: how the loss is computed.
        stream: the RNG stream to draw from.
        exact: compute all classes.
        labels: as for a call of `SampledSoftmaxDense`.
        module: the layer, which has the attributes of `nn.Dense`.
        inputs: `(*batch, in)`.

    Raises:
        ValueError, flax.errors.InvalidRngError: as for a call of `SampledSoftmaxDense`.
    """
    shape = (jnp.shape(inputs)[-1], module.features)
    kernel = module.param("kernel", module.kernel_init, shape, module.param_dtype)
    bias = module.param("bias", module.bias_init, shape[1:], module.param_dtype) if module.use_bias else None
    x, kernel, bias = module.promote_dtype(inputs, kernel, bias, dtype=module.dtype)
    return _loss(method, stream, exact, labels, module, x, kernel.T, bias)


def loss_of_embed(
    method: SampledSoftmax, stream: str, exact: bool, labels: Any, module: Any, query: jax.Array
) -> jax.Array:
    """The loss of an embedding that is an output layer too; everything is as for `loss_of_dense`."""
    x, weights = module.promote_dtype(query, module.embedding, dtype=module.dtype)
    return _loss(method, stream, exact, labels, module, x, weights, None)


def _loss(method, stream, exact, labels, module, x, weights, bias):
    refusal = refused_with_labels(module)
    if refusal:
        raise ValueError(refusal)
    exact = exact or not method.draws() or module.is_initializing()
    return method.loss(None if exact else sample_key(module, stream), x, weights, bias, labels)


def _method(module: Any) -> SampledSoftmax:
    """A layer's attributes as a `SampledSoftmax`, which checks them."""
    return SampledSoftmax(**{field.name: getattr(module, field.name) for field in dataclasses.fields(SampledSoftmax)})
