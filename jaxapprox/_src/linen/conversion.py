"""An existing Linen model with some of its layers approximated, through Flax's method interceptors."""

import dataclasses
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import linen as nn
from flax.errors import InvalidRngError

from jaxapprox._src.conversion.approximation import Approximation
from jaxapprox._src.conversion.rules import Report, Rules, decide
from jaxapprox._src.estimates.contraction import MC
from jaxapprox._src.hashing.alsh import ALSH
from jaxapprox._src.linen.hashed import ALSHDense
from jaxapprox._src.linen.inspection import REPLACEABLE, layers_of
from jaxapprox._src.linen.sampled import MCConv, MCDense

_SHARED = ("use_bias", "dtype", "param_dtype", "kernel_init", "bias_init")
_CONV = ("features", "kernel_size", "strides", "padding", "kernel_dilation", *_SHARED)
_DENSE = ("features", *_SHARED)


@dataclasses.dataclass(frozen=True)
class Converted:
    """A model of which some layers are approximated; its parameters are the model's own. Made by `convert`.

    `init` and `apply` are the model's, and take what they take. `init` runs the exact layers; `apply` always
    approximates, and needs a key in `rngs` for the stream of `convert`: for the exact network apply the model itself.

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

    def init(self, rngs: Any, *args: Any, **kwargs: Any) -> Any:
        """The model's variables, equal to those of its own `init`; hashed layers add the collection "lsh"."""
        with nn.intercept_methods(self.interceptor):
            return self.model.init(rngs, *args, **kwargs)

    def init_with_output(self, rngs: Any, *args: Any, **kwargs: Any) -> Any:
        """The model's `init_with_output`, with the variables of `init`."""
        with nn.intercept_methods(self.interceptor):
            return self.model.init_with_output(rngs, *args, **kwargs)

    def apply(self, variables: Any, *args: Any, rngs: Any = None, **kwargs: Any) -> Any:
        """The model's `apply` with the replaced layers approximated.

        Exact parameters alone lack the tables of hashed layers: with `mutable=["lsh"]` a call builds them, by a key
        from the stream "params", and returns them.

        Raises:
            flax.errors.InvalidRngError: if a layer is approximated and its stream is missing from `rngs`.
            ValueError: if a replaced layer's tables are missing, or an argument does not fit; the layer is named.
        """
        with nn.intercept_methods(self.interceptor):
            return self.model.apply(variables, *args, rngs=self._rngs(rngs), **kwargs)

    def interceptor(
        self, next_fun: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext
    ) -> Any:
        """An interceptor for `nn.intercept_methods`, for calls of the model by other ways than `apply`."""
        module = context.module
        if context.method_name != "__call__" or type(module) not in REPLACEABLE:
            return next_fun(*args, **kwargs)
        path = "/".join(module.path)
        method = self.report.methods.get(path)
        if method is None or (isinstance(method, MC) and module.is_initializing()):
            return next_fun(*args, **kwargs)
        stream = "params" if path in self.unreached else self.rng_collection
        return _replacement(module, method, stream)(*args, deterministic=module.is_initializing(), **kwargs)

    def _rngs(self, rngs: Any) -> Any:
        """`rngs` with a key for the layers that the stream does not reach."""
        needed = list(self.report.methods)
        if not needed:
            return rngs
        if not isinstance(rngs, Mapping) or self.rng_collection not in rngs:
            given = ", ".join(rngs) if isinstance(rngs, Mapping) else rngs
            raise InvalidRngError(
                f"rngs must hold a key for {self.rng_collection!r}, from which {needed[0]} draws (layers approximated:"
                f" {len(needed)}), got {given or None}; for the exact network apply the model itself"
            )
        if not self.unreached or "params" in rngs:
            return rngs
        return {**rngs, "params": jax.random.fold_in(rngs[self.rng_collection], zlib.crc32(b"unreached"))}


def convert(
    model: nn.Module,
    rules: Rules,
    *args: Any,
    keep_ends: bool = True,
    min_channels: int = 16,
    rng_collection: str = "sample",
    **kwargs: Any,
) -> Converted:
    """Approximates the `nn.Conv` and `nn.Dense` layers of a model that `rules` name, without touching it.

    >>> import jax
    >>> from flax import linen as nn
    >>> from jaxapprox import MC
    >>> from jaxapprox.linen import convert
    >>> model = nn.Sequential([nn.Conv(32, (3, 3)), nn.relu, nn.Conv(64, (3, 3)), nn.relu, nn.Conv(10, (1, 1))])
    >>> x = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    >>> sampled = convert(model, [("*", MC(ratio=0.5))], x)
    >>> print(sampled.report)
    layer     kind  in  out  becomes        why
    --------  ----  --  ---  -------------  ---------------------------
    layers_0  Conv  3   32   exact          the first layer (keep_ends)
    layers_2  Conv  32  64   MC(ratio=0.5)
    layers_4  Conv  64  10   exact          the last layer (keep_ends)
    >>> variables = model.init(jax.random.key(1), x)
    >>> sampled.apply(variables, x, rngs={"sample": jax.random.key(2)}).shape
    (2, 8, 8, 10)

    Args:
        model: any Linen module; its subclasses of `nn.Conv` and `nn.Dense`, and layers of other kinds, are left alone.
        rules: (pattern, method) pairs; the first whose pattern matches a layer's path decides about it. Patterns are
            those of `fnmatch` on the whole path, in which `*` matches "/" as well. A method is an `MC`, an `ALSH`, or
            None, which leaves the layer exact. A rule with a wildcard is optional for each layer: it passes over layers
            that can't be replaced, the first and the last (if `keep_ends`), and layers with few channels. A rule
            without a wildcard is mandatory: it replaces the last two kinds as well, and it is an error where the layer
            can't be replaced.
        *args, **kwargs: what the model is called with, for example; arrays may be `jax.ShapeDtypeStruct`. Nothing is
            computed with them.
        keep_ends: leave the first and the last layer exact, unless a rule without wildcards names them.
        min_channels: rules with wildcards pass over layers with fewer input channels for `MC` (output channels in mode
            "backward") or fewer units for `ALSH`.
        rng_collection: the RNG stream that the layers draw from.

    Raises:
        ValueError: if a rule is no such pair, matches no layer (the nearest paths are named), matches only layers that
            earlier rules took, or replaces none of those it matches (each is named, with the reason); or if a layer to
            be hashed lies in an `nn.scan` or `nn.vmap` that does not carry the collection "lsh".
    """
    seen = layers_of(model, rules, rng_collection, *args, **kwargs)
    report = decide(rules, [s.layer for s in seen], keep_ends=keep_ends, min_channels=min_channels)
    replaced = [s for s in seen if s.layer.path in report.methods]
    for path in (s.layer.path for s in replaced if not s.can_keep_tables):
        if isinstance(report.methods[path], ALSH):
            raise ValueError(
                f"{path} must have the collection 'lsh' for its hash tables, got none: list it in the variable_axes of"
                " the nn.scan or nn.vmap around it"
            )
    return Converted(model, report, rng_collection, frozenset(s.layer.path for s in replaced if not s.has_stream))


def _replacement(module: nn.Module, method: Approximation, stream: str) -> nn.Module:
    """The layer that stands in for `module`, on the module's own scope, and so on its parameters."""
    kind: type[nn.Module]
    names: tuple[str, ...]
    if isinstance(method, ALSH):
        kind, names = ALSHDense, _DENSE
    else:
        kind, names = (MCConv, _CONV) if isinstance(module, nn.Conv) else (MCDense, _DENSE)
    own = {name: getattr(module, name) for name in names}
    own |= {name: value for name, value in vars(method).items() if name in kind.__dataclass_fields__}
    scope: Any = module.scope
    return kind(**own, rng_collection=stream, parent=scope)
