"""What Flax's NNX layers take, ours take with the same meaning; Flax's own layers say what that is."""

import functools
import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxapprox import nnx as ours

PAIRS = {
    "Conv": "MCConv",
    "ConvTranspose": "MCConvTranspose",
    "Linear": "MCDense",
    "LinearGeneral": "MCLinearGeneral",
    "Einsum": "MCEinsum",
}
conv, transposed, conv1, linear, general, einsum = (
    functools.partial(lambda kind, sizes, **options: (kind, sizes, options), kind, sizes)
    for kind, sizes in (
        ("Conv", (4, 6, (3, 2))),
        ("ConvTranspose", (4, 6, (3, 2))),
        ("Conv", (4, 6, 3)),
        ("Linear", (4, 6)),
        ("LinearGeneral", ((4, 5), (3, 2))),
        ("Einsum", ("bhtc,hcd->bthd", (7, 4, 3), (7, 3))),
    )
)
MASK = np.indices((3, 2, 4, 6)).sum(0) % 2
CASES = {
    "circular": conv(padding="CIRCULAR", kernel_dilation=2, strides=(2, 1)),
    "reflect": conv(padding="REFLECT", precision="highest"),
    "causal": conv1(padding="CAUSAL", dtype=jnp.bfloat16),
    "negative": conv(padding=[(-1, 0), (0, -1)], strides=(np.int64(2), 1)),
    "dilated": conv(padding=((1, 1), (2, 0)), input_dilation=(2, 3)),
    "grouped": conv(feature_group_count=2, mask=MASK[:, :, :2], use_bias=False),
    "own": conv(conv_general_dilated=lambda *args, **kwargs: 2 * jax.lax.conv_general_dilated(*args, **kwargs)),
    "transposed": transposed(strides=(2, 3), padding=((1, 2), (0, 1)), kernel_dilation=2, mask=MASK),
    "transposed circular": transposed(strides=(2, 3), padding="CIRCULAR"),
    "transposed kernel": transposed(strides=(3, 1), padding="CIRCULAR", transpose_kernel=True, use_bias=False),
    "linear": linear(promote_dtype=lambda arrays, dtype: [2 * a for a in arrays], preferred_element_type=jnp.bfloat16),
    "own product": linear(dot_general=lambda *args, **kwargs: -jax.lax.dot_general(*args, **kwargs)),
    "general": general(axis=(1, -1), batch_axis={0: 2}, kernel_metadata={"name": "w"}, bias_init=nnx.initializers.ones),
    "own class": general(axis=(1, -1), dot_general_cls=lambda: lambda *a, **k: 3 * jax.lax.dot_general(*a, **k)),
    "einsum": einsum(dtype=jnp.bfloat16),
}
SHAPES = {"Linear": (2, 3, 4), "LinearGeneral": (2, 4, 3, 5), "Einsum": (2, 7, 5, 4)}


def made(kind, sizes, options):
    """The layer of Flax's, and ours, for equal arguments: those that the installed Flax has."""
    theirs = getattr(nnx, kind)
    known = inspect.signature(theirs.__init__).parameters
    options = {name: value for name, value in options.items() if name in known}
    rngs = [nnx.Rngs(params=0, sample=1) for _ in range(2)]
    return theirs(*sizes, **options, rngs=rngs[0]), getattr(ours, PAIRS[kind])(*sizes, **options, rngs=rngs[1])


@pytest.mark.parametrize("case", CASES)
def test_the_same_meaning(case):
    """Equal parameters; equal outputs in evaluation; in training an estimate of the same shape and dtype."""
    kind, sizes, options = CASES[case]
    exact, layer = made(kind, sizes, options)
    chex.assert_trees_all_equal(*(nnx.to_pure_dict(nnx.state(m, nnx.Param)) for m in (layer, exact)))
    shape = SHAPES.get(kind, (2, 3, 7, 8, 4) if np.size(sizes[-1]) == 2 else (2, 8, 4))
    x = jax.random.normal(jax.random.key(2), shape)
    y = exact(x)
    evaluated = layer(inputs=x, deterministic=True)
    assert evaluated.dtype == y.dtype
    np.testing.assert_allclose(evaluated, y, rtol=1e-6, atol=1e-6)
    if case.startswith("own"):
        with pytest.raises(ValueError, match=r"^MC\w+: (conv_general|dot_general)\w* must be None .*, got"):
            layer(x)
    else:
        sample = layer(x)
        assert (sample.shape, sample.dtype) == (y.shape, y.dtype)
        assert np.any(sample != y)


@pytest.mark.parametrize("kind", PAIRS)
def test_the_same_arguments(kind):
    """Flax's, in their order and with their defaults, come first; ours are keywords."""
    theirs, layer = getattr(nnx, kind), getattr(ours, PAIRS[kind])
    for method in ("__init__", "__call__"):
        own = inspect.signature(getattr(layer, method)).parameters
        for name, parameter in inspect.signature(getattr(theirs, method)).parameters.items():
            assert (own[name].default, own[name].kind) == (parameter.default, parameter.kind), name
        added = own.keys() - inspect.signature(getattr(theirs, method)).parameters.keys() - {"out_sharding"}
        assert all(own[name].kind is inspect.Parameter.KEYWORD_ONLY for name in added)
