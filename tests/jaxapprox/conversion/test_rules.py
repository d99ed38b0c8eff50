"""Rules: which layers of a model they take, what they pass over and why, and those that do nothing."""

import functools

import jax
import pytest
from flax import linen as nn
from flax_models import Pair, ResNet
from jax import lax

from jaxapprox import ALSH, MC
from jaxapprox.linen import MCConv, convert

IMAGES = jax.random.normal(jax.random.key(0), (2, 16, 16, 3))


def test_blocks_of_channels():
    """A rule with a wildcard passes over layers of few blocks, or that blocks do not divide; a name does not."""

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            for name, features in (("wide", 64), ("odd", 60), ("narrow", 48)):
                x = nn.Dense(features, name=name)(x)
            return nn.Dense(4, name="last")(x)

    blocks = MC(unit="block", block_size=8)

    def whys(rules, **options):
        report = convert(Model(), rules, jax.numpy.ones((2, 72)), keep_ends=False, **options).report
        return {outcome.layer.path: outcome.why for outcome in report.outcomes}

    refused = "block_size must divide the 60 channels of the sum, got 8"
    few = "6 blocks of 8 input channels, fewer than 8"
    assert whys([("*", blocks)]) == {"wide": "", "odd": "", "narrow": refused, "last": few}
    assert whys([("last", blocks), ("*", None)])["last"] == ""
    outputs = {"wide": "", "odd": refused, "narrow": "6 blocks of 8 output channels, fewer than 8"}
    backward = MC(unit="block", block_size=8, mode="backward")
    assert whys([("*", backward)], min_channels=1) == outputs | {"last": refused.replace("60", "4")}
    with pytest.raises(ValueError, match=r"^rule 'narrow' must match a layer .*block_size must divide the 60 channels"):
        whys([("narrow", blocks)])


def test_report():
    """What was replaced, what not and why, in the order of the calls."""

    class Narrow(nn.Conv):
        pass

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(16, (3, 3), name="stem")(x)
            x = nn.Conv(32, (3, 3), feature_group_count=16, name="depthwise")(x)
            x = nn.Conv(32, (3, 3), feature_group_count=4, name="grouped")(x)
            x = nn.Conv(8, (3, 3), padding="CIRCULAR", name="circular")(x)
            x = nn.ConvTranspose(32, (1, 1), name="up")(x)
            x = MCConv(32, (1, 1), deterministic=True, name="ours")(x)
            x = Narrow(32, (1, 1), name="theirs")(x)
            x = nn.Dense(32, dot_general=functools.partial(lax.dot_general), name="quantized")(x)
            x = nn.ConvLocal(32, (1, 1), name="local")(x)
            x = nn.Conv(32, (1, 1), name="kept")(x)
            x = nn.DenseGeneral((8, 4), name="general")(x)
            x = nn.Einsum((8, 4, 32), "...hd,hdk->...k", name="sampled")(x)
            return nn.Dense(4, name="classifier")(x)

    report = convert(Model(), [("kept", None), ("*", MC())], IMAGES).report
    assert [(o.layer.path, o.method, o.why) for o in report.outcomes] == [
        ("stem", None, "the first layer (keep_ends)"),
        ("depthwise", None, "a depthwise convolution (feature_group_count = 16): no channel to leave out"),
        ("grouped", None, "8 input channels, fewer than min_channels = 16"),
        ("circular", MC(), ""),
        ("up", None, "8 input channels, fewer than min_channels = 16"),
        ("ours", None, "already approximate"),
        ("theirs", None, "a subclass"),
        ("quantized", None, "dot_general must be None for an approximate product, got partial"),
        ("local", None, "left alone"),
        ("kept", None, "a rule says so"),
        ("general", MC(), ""),
        ("sampled", MC(), ""),
        ("classifier", None, "the last layer (keep_ends)"),
    ]
    lines = str(report).splitlines()
    assert lines[-2].split() == ["sampled", "Einsum", "32", "32", "MC(ratio=0.5)"]
    every = convert(Model(), [("*", MC(mode="backward"))], IMAGES, keep_ends=False, min_channels=1).report
    assert {o.layer.path for o in every.outcomes} - set(every.methods) == {
        "depthwise",
        "ours",
        "theirs",
        "quantized",
        "local",
    }


def test_few_channels_are_those_that_are_sampled():
    """The inputs, 16 and 24; the outputs, 24 and 32, where the gradients alone are sampled; a hashed layer's units."""

    def replaced(method, least):
        return set(convert(Pair(), [("[cd]*", method)], IMAGES, min_channels=least).report.methods)

    assert replaced(MC(), 16) == replaced(MC(mode="backward"), 24) == {"conv", "dense"}
    assert replaced(MC(), 17) == replaced(MC(mode="backward"), 25) == replaced(ALSH(), 32) == {"dense"}
    with pytest.raises(ValueError, match="32 units, fewer than min_channels = 33"):
        replaced(ALSH(), 33)


def test_the_first_rule_wins_and_an_exact_path_is_an_order():
    rules = [("stem", MC(ratio=0.75)), ("con*", MC(ratio=0.25)), ("*", MC(ratio=0.5))]
    methods = convert(Pair(), rules, IMAGES).report.methods
    assert {path: method.ratio for path, method in methods.items()} == {"stem": 0.75, "conv": 0.25, "dense": 0.5}


def test_shapes_alone_are_enough():
    """Arguments may be shapes; what is no array reaches the model as it is."""
    shape = jax.ShapeDtypeStruct(IMAGES.shape, IMAGES.dtype)
    report = convert(ResNet(blocks=(1, 1), width=16), [("*", MC())], shape, train=False).report
    assert report == convert(ResNet(blocks=(1, 1), width=16), [("*", MC())], IMAGES, train=True).report


def test_what_a_trial_raises_is_the_reason():
    """A rule with a wildcard leaves such a layer exact and says why; one that names it is refused."""
    scale = nn.Einsum((1, 16), "...d,ed->...d")  # no sum to sample
    model = nn.Sequential([nn.Dense(16), scale, nn.Dense(16)])
    report = convert(model, [("*", MC())], IMAGES, keep_ends=False, min_channels=1).report
    assert set(report.methods) == {"layers_0", "layers_2"}
    assert report.outcomes[1].why.startswith("dimension_numbers must contract an axis, got none")
    with pytest.raises(ValueError, match=r"^rule 'layers_1' must .* got layers_1 \(dimension_numbers must"):
        convert(model, [("layers_1", MC())], IMAGES)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([("convs", MC())], r"^rule 'convs' must match a layer, got none; near it: conv"),
        ([("*", MC()), ("conv", MC(0.1))], r"^rule 'conv' must come before those that take its layers: conv"),
        (
            [("stem*", MC())],
            r"^rule 'stem\*' must match a layer that MC\(ratio=0.5\) can replace, got stem \(the",
        ),
        (
            [("conv", ALSH())],
            r"^rule 'conv' must match a layer that ALSH\(active=0.05\) can replace, got conv \(ALSH",
        ),
        ("conv", r"^rules must be a sequence of \(pattern, method\) pairs, got 'conv'"),
        ([("conv", 0.5)], r"^rules must be \(pattern, method\) pairs.*got \('conv', 0.5\)"),
        ([("conv", MC(), 1)], r"^rules must be \(pattern, method\) pairs"),
    ],
)
def test_bad_rules(rules, message):
    """A rule that does nothing is an error that says why."""
    with pytest.raises(ValueError, match=message):
        convert(Pair(), rules, IMAGES)


@pytest.mark.parametrize(
    ("method", "options", "name"),
    [
        *((MC, dict(ratio=r), "ratio") for r in (0, 1.5)),
        (MC, dict(mode="both"), "mode"),
        (MC, dict(unit=[]), "unit"),
        (MC, dict(min_samples=0), "min_samples"),
        (ALSH, dict(active=0), "active"),
    ],
    ids=lambda a: "" if isinstance(a, type) else a if isinstance(a, str) else next(iter(a)),
)
def test_bad_methods(method, options, name):
    with pytest.raises(ValueError, match=f"^{name} must "):
        method(**options)
