"""The arguments of the installed Flax's layers, and what docs/drop_in.md says that ours do with them."""

import inspect
import re
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax import nnx
from forked import ROOT

from jaxapprox import linen as ours_linen
from jaxapprox import nnx as ours_nnx

LINES = (ROOT / "docs" / "drop_in.md").read_text().splitlines()
STATES = ("yes", "exact", "logits", "no", "")


class Pair(NamedTuple):
    """Flax's layer, ours, and the column of ours in the table."""

    theirs: type
    ours: type
    column: str


PAIRS = [
    Pair(nn.Conv, ours_linen.MCConv, "Conv"),
    Pair(nn.ConvTranspose, ours_linen.MCConvTranspose, "ConvTranspose"),
    Pair(nn.Dense, ours_linen.MCDense, "Dense"),
    Pair(nn.DenseGeneral, ours_linen.MCDenseGeneral, "General"),
    Pair(nn.Einsum, ours_linen.MCEinsum, "Einsum"),
    Pair(nn.Dense, ours_linen.ALSHDense, "ALSH"),
    Pair(nn.Dense, ours_linen.SampledSoftmaxDense, "Softmax"),
    Pair(nn.Embed, ours_linen.SampledSoftmaxEmbed, "Embed"),
    Pair(nnx.Conv, ours_nnx.MCConv, "Conv"),
    Pair(nnx.ConvTranspose, ours_nnx.MCConvTranspose, "ConvTranspose"),
    Pair(nnx.Linear, ours_nnx.MCDense, "Dense"),
    Pair(nnx.LinearGeneral, ours_nnx.MCLinearGeneral, "General"),
    Pair(nnx.Einsum, ours_nnx.MCEinsum, "Einsum"),
    Pair(nnx.Linear, ours_nnx.ALSHDense, "ALSH"),
    Pair(nnx.Linear, ours_nnx.SampledSoftmaxDense, "Softmax"),
    Pair(nnx.Embed, ours_nnx.SampledSoftmaxEmbed, "Embed"),
]
each_pair = pytest.mark.parametrize(
    "pair", [pytest.param(pair, id=f"{pair.ours.__module__.split('.')[2]}.{pair.ours.__name__}") for pair in PAIRS]
)


def table() -> dict[str, dict[str, str]]:
    """What the docs say, by column and argument."""
    start = next(i for i, line in enumerate(LINES) if line.startswith("| argument |"))
    header = [cell.strip() for cell in LINES[start].strip("|").split("|")]
    stated: dict[str, dict[str, str]] = {name: {} for name in header[1:-1]}
    for line in LINES[start + 2 :]:
        if not line.startswith("|"):
            break
        arguments, *states = (cell.strip() for cell in line.strip("|").split("|"))
        for name, state in zip(header[1:-1], states, strict=False):
            assert state in STATES, line
            stated[name] |= dict.fromkeys(re.findall(r"`(\w+)`", arguments), state) if state else {}
    return stated


STATED = table()


def arguments_of(kind: type) -> dict[str, set[str]]:
    """Of the constructor and of a call, by their names."""
    made = inspect.signature(kind if issubclass(kind, nn.Module) else kind.__init__)
    return {
        "constructor": set(made.parameters) - {"self", "parent", "name"},
        "call": set(inspect.signature(kind.__call__).parameters) - {"self"},
    }


@each_pair
def test_every_argument_is_accounted_for(pair):
    """A new argument of Flax's has to be in the docs, and, unless they say that it is refused, among ours."""
    stated, theirs, ours = STATED[pair.column], arguments_of(pair.theirs), arguments_of(pair.ours)
    for where, names in theirs.items():
        assert names <= set(stated), f"{where}: not in docs/drop_in.md: {names - set(stated)}"
        taken = {name for name in names if stated[name] != "no"}
        assert taken <= ours[where], f"{where}: not taken: {taken - ours[where]}"


@pytest.mark.skipif(tuple(map(int, flax.__version__.split(".")[:2])) < (0, 12), reason="some arguments are newer")
@pytest.mark.parametrize("column", STATED)
def test_the_docs_name_no_others(column):
    """What the docs list is an argument in one of the two APIs at least."""
    known = [names for pair in PAIRS if pair.column == column for names in arguments_of(pair.theirs).values()]
    assert set(STATED[column]) <= set().union(*known)


OWN_PRODUCTS: dict[str, Any] = {
    "conv_general_dilated": lambda *args, **kwargs: jax.lax.conv_general_dilated(*args, **kwargs),
    "dot_general": lambda *args, **kwargs: jax.lax.dot_general(*args, **kwargs),
    "einsum_op": lambda *args, **kwargs: jnp.einsum(*args, **kwargs),
}
OWN_PRODUCTS |= {
    f"{name}_cls": lambda product=product: product for name, product in OWN_PRODUCTS.items() if name != "einsum_op"
}
SIZES = {
    **{nn.Conv: (4, (3,)), nn.ConvTranspose: (4, (3,)), nn.Dense: (4,), nn.DenseGeneral: (4,)},
    **{nn.Einsum: ((6, 4), "ntd,df->ntf"), nnx.Conv: (6, 4, (3,)), nnx.ConvTranspose: (6, 4, (3,))},
    **{nnx.Linear: (6, 4), nnx.LinearGeneral: (6, 4), nnx.Einsum: ("ntd,df->ntf", (6, 4))},
}


@each_pair
def test_what_is_exact_alone_is_refused_where_it_is_sampled(pair):
    """In one line that names the argument; and evaluation honours it."""
    x = jnp.ones((2, 5, 6))
    exact = {name for name, state in STATED[pair.column].items() if state == "exact"}
    for name in exact & arguments_of(pair.theirs)["constructor"]:
        settings = {name: OWN_PRODUCTS[name], "ratio": 0.5}
        if issubclass(pair.ours, nn.Module):
            layer = pair.ours(*SIZES[pair.theirs], **settings)
            variables = jax.eval_shape(lambda layer=layer: layer.init(jax.random.key(0), x, deterministic=True))

            def call(deterministic, layer=layer, variables=variables):
                return jax.eval_shape(
                    lambda v: layer.apply(v, x, deterministic=deterministic, rngs={"sample": jax.random.key(1)}),
                    variables,
                )
        else:

            def call(deterministic, settings=settings):
                layer = pair.ours(*SIZES[pair.theirs], **settings, rngs=nnx.Rngs(0))
                return jax.eval_shape(lambda x: layer(x, deterministic=deterministic, rngs=jax.random.key(1)), x)

        call(True)
        with pytest.raises(ValueError, match=rf"^[^\n]*{name}"):
            call(False)
