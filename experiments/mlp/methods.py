"""The training methods of `experiments.mlp`: how the hidden layers are trained."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from experiments.mlp import hidden_layers
from experiments.mlp.config import MLPConfig
from experiments.mlp.hidden_layers import HiddenLayer
from experiments.process.checks import listed
from experiments.process.errors import UsageError
from experiments.training.method import training_method
from jaxapprox import ALSH, SAMPLERS
from jaxapprox.adaptive_dropout import RULES, keep_probability
from jaxapprox.linen import AdaptiveDropout


@training_method()
def standard(config: MLPConfig) -> HiddenLayer:
    """Plain training."""
    return hidden_layers.dense(lambda key, z: nn.relu(z))


def _dropout_note(config: MLPConfig) -> str:
    return f"dropout: rate {config.dropout_rate}."


@training_method(note=_dropout_note)
def dropout(config: MLPConfig) -> HiddenLayer:
    """Dropout as Flax has it."""
    layer = nn.Dropout(config.dropout_rate, deterministic=False)

    def activation(key: jax.Array, z: jax.Array) -> jax.Array:
        return jnp.asarray(layer.apply({}, nn.relu(z), rngs={"dropout": key}))

    return hidden_layers.dense(activation)


@training_method(note=_dropout_note)
def dropout_gathered(config: MLPConfig) -> HiddenLayer:
    """Dropout without the work of the dropped units, at batch size 1."""
    _check_one_example("dropout_gathered", config)
    return hidden_layers.dropped(rate=config.dropout_rate)


def _adaptive_dropout_note(config: MLPConfig) -> str:
    return f"adaptive_dropout: {config.keep_rule}, alpha {config.keep_alpha}, beta {config.keep_beta}."


@training_method(note=_adaptive_dropout_note)
def adaptive_dropout(config: MLPConfig) -> HiddenLayer:
    """Adaptive dropout (Standout)."""
    layer = AdaptiveDropout(config.keep_alpha, config.keep_beta, config.keep_rule)

    def training(key: jax.Array, z: jax.Array) -> jax.Array:
        return jnp.asarray(layer.apply({}, z, deterministic=False, rngs={"sample": key}))

    return hidden_layers.dense(training, evaluation=lambda z: jnp.asarray(layer.apply({}, z, deterministic=True)))


@training_method(note=_adaptive_dropout_note)
def adaptive_dropout_gathered(config: MLPConfig) -> HiddenLayer:
    """Adaptive dropout without the backward work of the dropped units, at batch size 1."""
    _check_one_example("adaptive_dropout_gathered", config)
    keep = functools.partial(keep_probability, alpha=config.keep_alpha, beta=config.keep_beta, rule=config.keep_rule)
    rescales = RULES[config.keep_rule].rescales
    return hidden_layers.adaptively_dropped(keep=keep, rescales=rescales, capacity=config.keep_capacity)


def _alsh_note(config: MLPConfig) -> str:
    return (
        f"alsh: {config.active:.1%} active by {config.select}, K {config.num_bits}, L {config.num_tables},"
        f" {config.transform}."
    )


@training_method(note=_alsh_note)
def alsh(config: MLPConfig) -> HiddenLayer:
    """ALSH-approx."""
    hashing = ALSH(
        active=config.active,
        num_tables=config.num_tables,
        num_bits=config.num_bits,
        transform=config.transform,
        select=config.select,
    )
    return hidden_layers.hashed(hashing, units=config.width, rehashes=config.rehash_every > 0)


def _mc_note(config: MLPConfig) -> str:
    return f"mc: ratio {listed(config.ratios)}, {listed(config.samplers)}."


@training_method(sweeps=("ratios", "samplers"), note=_mc_note)
def mc(config: MLPConfig) -> HiddenLayer:
    """MC-approx of the forward pass, and with it of the gradients."""
    return hidden_layers.sampled(ratio=config.ratio, sampler=SAMPLERS[config.sampler])


@training_method(sweeps=("ratios", "samplers"), note=_mc_note)
def mc_backward(config: MLPConfig) -> HiddenLayer:
    """MC-approx of the input gradients alone (Adelman et al.)."""
    return hidden_layers.sampled_backward(ratio=config.ratio, sampler=SAMPLERS[config.sampler])


def _check_one_example(method: str, config: MLPConfig) -> None:
    """Raises a UsageError unless each example is a batch, and so can drop units of its own."""
    if config.batch_size > 1:
        raise UsageError(f"--batch-size must be 1 for {method}, got {config.batch_size}")
