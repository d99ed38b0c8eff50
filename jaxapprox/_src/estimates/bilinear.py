"""A product of two factors and its transposes, whatever the product is."""

import jax

from jaxapprox._src.estimates.conv_maps import Conv


class Bilinear:
    """A product of x `(batch, ..., in)` and kernel `(..., in, out)`, and its transposes; hashable."""

    def as_conv(self) -> Conv | None:
        """The convolution that it is, without spatial axes where it is a product of matrices; None for any other."""
        return None

    def forward(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        """The product `(batch, ..., out)`."""
        raise NotImplementedError

    def input_grad(self, g: jax.Array, kernel: jax.Array) -> jax.Array:
        """Its transpose in x."""
        raise NotImplementedError

    def kernel_grad(self, x: jax.Array, g: jax.Array) -> jax.Array:
        """Its transpose in the kernel."""
        raise NotImplementedError
