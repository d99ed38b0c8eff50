"""A Linen model with some of its layers approximated, through Flax's method interceptors."""

import contextlib
import dataclasses
import functools
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import linen as nn
from flax.errors import InvalidRngError

from jaxapprox._src.conversion.rules import Report
from jaxapprox._src.linen.interception import intercepting
from jaxapprox._src.linen.naming import naming
from jaxapprox._src.linen.replacement import approximated, can_be_replaced
from jaxapprox._src.softmax.settings import SampledSoftmax


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What is approximated in a model, and how.

    Attributes:
        model: the model.
        report: what was replaced, and what was not and why.
        rng_collection: the RNG stream that the layers draw from.
        unreached: paths of the layers which that stream does not reach, inside an `nn.scan` or `nn.vmap` that lists
            the stream "params" alone; their keys come from that one, which `apply` fills with a key of its own. Layers
            of which the scan does not split the stream (as an RNN's) share a draw.
    """

    model: nn.Module
    report: Report
    rng_collection: str
    unreached: frozenset[str]

    @property
    def takes_labels(self) -> bool:
        """Whether a `SampledSoftmax` replaces a layer."""
        return len(self.report.products) < len(self.report.methods)

    def drawing(self, with_labels: bool) -> list[str]:
        """The paths of the layers that draw in a call with or without labels."""
        return [
            path
            for path, method in self.report.methods.items()
            if not isinstance(method, SampledSoftmax) or (with_labels and method.draws())
        ]


class Converted(nn.Module):
    """A model of which some layers are approximated; its parameters are the model's own. Made by `convert`.

    `init` and `apply` are the model's, and take what they take, as do `init_with_output`, `lazy_init` and `tabulate`.
    Where a `SampledSoftmax` replaces the last layer, each of them and a call take `labels` by that name as well: with
    them the layer's loss is there in the place of its logits, without them the logits are exact.
    `init` runs the exact layers; `apply` always approximates, and needs a key in `rngs` for the stream of `convert`, or
    one key for all streams: for the exact network apply the model itself. As a module it may be bound, or be part of
    another model, whose parameters it then has where it would have those of `model`; its methods are the model's.

    Attributes:
        conversion: what is approximated, and how. Flax looks for submodules in a module's attributes, not within it.
    """

    conversion: Conversion

    @property
    def model(self) -> nn.Module:
        """The model."""
        return self.conversion.model

    @property
    def report(self) -> Report:
        """What was replaced, and what was not and why."""
        return self.conversion.report

    @property
    def rng_collection(self) -> str:
        """The RNG stream that the layers draw from."""
        return self.conversion.rng_collection

    @nn.nowrap
    def init(self, *args: Any, **kwargs: Any) -> Any:
        """The model's variables, equal to those of its own `init`; hashed layers add the collection "lsh"."""
        with self._intercepting(kwargs):
            return self.model.init(*args, **kwargs)

    @nn.nowrap
    def init_with_output(self, *args: Any, **kwargs: Any) -> Any:
        """The model's `init_with_output`, with the variables of `init`."""
        with self._intercepting(kwargs):
            return self.model.init_with_output(*args, **kwargs)

    @nn.nowrap
    def lazy_init(self, *args: Any, **kwargs: Any) -> Any:
        """The model's `lazy_init`, with the variables of `init`."""
        with self._intercepting(kwargs):
            return self.model.lazy_init(*args, **kwargs)

    @nn.nowrap
    def tabulate(self, *args: Any, **kwargs: Any) -> str:
        """The model's `tabulate`, with the variables of `init`."""
        with self._intercepting(kwargs):
            return self.model.tabulate(*args, **kwargs)

    @nn.nowrap
    def apply(self, variables: Any, *args: Any, rngs: Any = None, **kwargs: Any) -> Any:
        """The model's `apply` with the replaced layers approximated.

        Exact parameters alone lack the tables of hashed layers: with `mutable=["lsh"]` a call builds them, by a key
        from the stream "params", and returns them.

        Raises:
            flax.errors.InvalidRngError: if a layer is approximated and its stream is missing from `rngs`.
            ValueError: if a replaced layer's tables are missing, or an argument does not fit; the layer is named.
        """
        rngs = self._streams(rngs, kwargs.get("labels"))
        with self._intercepting(kwargs):
            return self.model.apply(variables, *args, rngs=rngs, **kwargs)

    @nn.nowrap
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """A call of the model with the replaced layers approximated, where this module is bound."""
        return self._called("__call__", *args, **kwargs)

    @nn.nowrap
    def __getattr__(self, name: str) -> Any:
        method = None if name.startswith("_") else getattr(type(self.model), name, None)
        if not callable(method):
            raise AttributeError(f"a converted model has no attribute or method {name!r}; its model may, as .model")
        return functools.partial(self._called, name)

    @nn.nowrap
    def interceptor(
        self,
        next_fun: Callable[..., Any],
        args: Any,
        kwargs: Any,
        context: nn.module.InterceptorContext,
        labels: Any = None,
    ) -> Any:
        """An interceptor for `nn.intercept_methods`, for calls of the model by other ways than this module's."""
        module = context.module
        if not can_be_replaced(module, context.method_name):
            return next_fun(*args, **kwargs)
        above = 0 if self.scope is None else len(self.scope.path)  # within another model
        path = "/".join(module.path[above:])
        method = self.report.methods.get(path)
        if method is None:
            return next_fun(*args, **kwargs)
        stream = "params" if path in self.conversion.unreached else self.rng_collection
        with naming(module):
            return approximated(next_fun, module, method, stream, labels, *args, **kwargs)

    @nn.nowrap
    def _intercepting(self, kwargs: dict[str, Any]) -> contextlib.AbstractContextManager[None]:
        """The interceptor with the labels, if a layer takes them, among `kwargs`, which are taken out."""
        conversion = self.conversion
        labels = kwargs.pop("labels", None) if conversion.takes_labels else None
        # What `nn.jit` traces has no labels in it: a layer within that is not seen to be the last.
        interceptor = functools.partial(self.interceptor, labels=labels)
        purpose = f"{conversion.report.methods} {conversion.rng_collection} {sorted(conversion.unreached)}"
        return intercepting(interceptor, purpose)

    @nn.nowrap
    def _called(self, name: str, *args: Any, **kwargs: Any) -> Any:
        # Another instance for each call, on this module's scope: a submodule would have parameters of its own.
        scope: Any = None if self.scope is None else self.scope.rewound()
        with self._intercepting(kwargs):
            return getattr(self.model.clone(parent=scope), name)(*args, **kwargs)

    @nn.nowrap
    def _streams(self, rngs: Any, labels: Any) -> Any:
        """`rngs` with a key for the layers that the stream does not reach."""
        needed, stream = self.conversion.drawing(labels is not None), self.rng_collection
        if not needed:
            return rngs
        if hasattr(rngs, "dtype"):  # one key, which serves all streams
            rngs = {"params": rngs, stream: _folded(rngs, "sample")}
        if not isinstance(rngs, Mapping) or stream not in rngs:
            given = ", ".join(rngs) if isinstance(rngs, Mapping) else rngs
            raise InvalidRngError(
                f"rngs must hold a key for {stream!r}, from which {needed[0]} draws (layers approximated:"
                f" {len(needed)}), got {given or None}; for the exact network apply the model itself"
            )
        if not self.conversion.unreached or "params" in rngs:
            return rngs
        return {**rngs, "params": _folded(rngs[stream], "unreached")}


def _folded(key: jax.Array, purpose: str) -> jax.Array:
    """A key of its own for a purpose."""
    return jax.random.fold_in(key, zlib.crc32(purpose.encode()))
