"""Models as people write them, who know nothing of jaxapprox: after Flax's example architectures."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with BatchNorm, and a shortcut."""

    features: int
    strides: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x, train):
        conv = functools.partial(nn.Conv, use_bias=False, dtype=self.dtype)
        norm = functools.partial(nn.BatchNorm, use_running_average=not train, momentum=0.9, dtype=self.dtype)
        y = nn.relu(norm()(conv(self.features, (1, 1))(x)))
        y = nn.relu(norm()(conv(self.features, (3, 3), strides=self.strides)(y)))
        y = norm(scale_init=nn.initializers.zeros_init())(conv(4 * self.features, (1, 1))(y))
        if x.shape != y.shape:
            x = norm(name="norm_proj")(conv(4 * self.features, (1, 1), strides=self.strides, name="conv_proj")(x))
        return nn.relu(x + y)


class ResNet(nn.Module):
    """ResNet-50 with `blocks` (3, 4, 6, 3) and `width` 64."""

    blocks: tuple[int, ...] = (3, 4, 6, 3)
    width: int = 64
    dtype: jnp.dtype = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(self, x, train=True):
        block = nn.remat(Bottleneck, static_argnums=(2,)) if self.remat else Bottleneck
        x = nn.Conv(
            self.width, (7, 7), 2, padding=[(3, 3), (3, 3)], use_bias=False, dtype=self.dtype, name="conv_init"
        )(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, dtype=self.dtype, name="bn_init")(x))
        x = nn.max_pool(x, (3, 3), (2, 2), padding="SAME")
        for stage, blocks in enumerate(self.blocks):
            for i in range(blocks):
                name = f"stage{stage}_block{i}"
                x = block(self.width * 2**stage, 2 if stage and not i else 1, self.dtype, name=name)(x, train)
        return nn.Dense(10, dtype=self.dtype)(x.mean((1, 2))).astype(jnp.float32)


class Pair(nn.Module):
    """Two convolutions and two dense layers; the middle ones of the classes given."""

    conv: type = nn.Conv
    dense: type = nn.Dense

    @nn.compact
    def __call__(self, x):
        options = {} if self.conv is nn.Conv else {"deterministic": False}
        x = nn.relu(nn.Conv(16, (3, 3), name="stem")(x))
        x = nn.relu(self.conv(24, (3, 3), strides=(2, 1), padding=1, kernel_dilation=2, name="conv", **options)(x))
        x = nn.relu(self.dense(32, name="dense", **options)(x.mean((1, 2))))
        return nn.Dense(10, name="classifier")(x)


class VAE(nn.Module):
    """A variational autoencoder with `setup`, a decoder to be called alone, and a latent draw."""

    latents: int = 4

    def setup(self):
        self.encoder = nn.Sequential([nn.Dense(32), nn.relu])
        self.mean, self.logvar = nn.Dense(self.latents), nn.Dense(self.latents)
        self.decoder = nn.Sequential([nn.Dense(32), nn.relu, nn.Dense(40), nn.relu, nn.Dense(20)])

    def __call__(self, x):
        h = self.encoder(x)
        mean, logvar = self.mean(h), self.logvar(h)
        z = mean + jnp.exp(0.5 * logvar) * jax.random.normal(self.make_rng("latent"), mean.shape)
        return self.generate(z), mean, logvar

    def generate(self, z):
        return nn.sigmoid(self.decoder(z))


class AttentionBlock(nn.Module):
    """A transformer's block: attention, also to `others` if they are given, by `nn.DenseGeneral`, and an MLP."""

    decode: bool = False

    @nn.compact
    def __call__(self, x, others=None, train=False):
        attention = functools.partial(nn.MultiHeadDotProductAttention, 2, dropout_rate=0.1, deterministic=not train)
        x = x + attention(decode=self.decode)(nn.LayerNorm()(x))
        if others is not None:
            x = x + attention()(nn.LayerNorm()(x), others)
        y = nn.gelu(nn.Dense(4 * x.shape[-1])(nn.LayerNorm()(x)))
        return x + nn.Dense(x.shape[-1])(nn.Dropout(0.1, deterministic=not train)(y))


class Translator(nn.Module):
    """An encoder and a decoder, after Flax's example of machine translation."""

    blocks: int = 2
    words: int = 16
    features: int = 16
    decode: bool = False

    def setup(self):
        self.embedding = nn.Embed(self.words, self.features)
        self.encoder = [AttentionBlock() for _ in range(self.blocks)]
        self.decoder = [AttentionBlock(self.decode) for _ in range(self.blocks)]
        self.logits = nn.Dense(self.words)

    def __call__(self, inputs, targets):
        return self.decoded(self.encoded(inputs), targets)

    def encoded(self, inputs):
        x = self.embedding(inputs)
        for block in self.encoder:
            x = block(x)
        return x

    def decoded(self, encoded, targets):
        x = self.embedding(targets)
        for block in self.decoder:
            x = block(x, encoded)
        return self.logits(x)


class Step(nn.Module):
    """One dense layer, as the body of a scan."""

    units: int

    @nn.compact
    def __call__(self, x, _):
        return nn.Dense(self.units, use_bias=False, name="dense")(x), None


class Scanned(nn.Module):
    """Dense layers of which the parameters are stacked; `streams` and `axes` as whoever wrote it chose them."""

    length: int
    streams: dict
    axes: dict

    @nn.compact
    def __call__(self, x):
        layers = nn.scan(Step, variable_axes=self.axes, split_rngs=self.streams, length=self.length)
        return layers(x.shape[-1], name="layers")(x, None)[0]
