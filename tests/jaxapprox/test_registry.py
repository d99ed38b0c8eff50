"""What importing the package loads and offers, and a sampler of a user's own: one function, and one line."""

import json
import subprocess
import sys

import pytest

import jaxapprox
from jaxapprox.registry import Registry

# The names are there before JAX is; a program with the sampler is run by its name.
USERS_SAMPLER = """
import json
import sys

from jaxapprox.registry import SAMPLERS

SAMPLERS.register("with_replacement", "users_sampler:with_replacement")
loaded = {"jax", "flax"} & set(sys.modules)

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxapprox import MC, mc_dense, predicted_variance
from jaxapprox.linen import advise, convert

x, kernel = jax.random.normal(jax.random.key(0), (8, 32)), jax.random.normal(jax.random.key(1), (32, 4))
sampler = SAMPLERS["with_replacement"]
estimate = jax.jit(jax.vmap(lambda key: mc_dense(key, x, kernel, ratio=0.5, sampler=sampler)))
draws = estimate(jax.random.split(jax.random.key(2), 20_000))
measured = jnp.mean(jnp.sum(jnp.square(draws - x @ kernel), (1, 2)))
scores = jnp.linalg.norm(x, axis=0) * jnp.linalg.norm(kernel, axis=1)
predicted = predicted_variance(sampler, scores, 16, gram=(x.T @ x) * (kernel @ kernel.T))

model = nn.Sequential([nn.Dense(32), nn.Dense(32), nn.Dense(4)])
variables = model.init(jax.random.key(3), x)
rules = [("layers_1", MC(ratio=0.5, sampler=sampler))]
advice = advise(model, rules, variables, x, key=jax.random.key(4))
y = convert(model, rules, x).apply(variables, x, rngs={"sample": jax.random.key(5)})
print(json.dumps([sorted(loaded), list(SAMPLERS), float(measured / predicted), advice.layers[1].error, str(advice)]))
"""
USERS_MODULE = """
import jax
import jax.numpy as jnp

from jaxapprox import Sample, with_second_moments


def moments(scores, num_samples):
    n = scores.shape[0]
    return (n * jnp.eye(n) - 1) / num_samples


@with_second_moments(moments)
def with_replacement(key, scores, num_samples):
    n = scores.shape[0]
    return Sample(jax.random.randint(key, (num_samples,), 0, n), jnp.full(num_samples, n / num_samples))
"""


def printed(program, folder):
    """The JSON that a program prints, run in a fresh process in `folder`."""
    process = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def test_a_users_sampler(tmp_path, monkeypatch):
    """Registered by its import path, it serves `MC`, and what it states of itself `predicted_variance` and `advise`."""
    (tmp_path / "users_sampler.py").write_text(USERS_MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path) + ":" + jaxapprox.__path__[0].removesuffix("/jaxapprox"))
    loaded, names, ratio, error, table = printed(USERS_SAMPLER, tmp_path)
    assert loaded == []
    assert names == ["topk", "uniform", "importance", "bernoulli", "systematic", "with_replacement"]
    assert abs(ratio - 1) < 0.05
    assert 0.5 < error < 2 and "MC(ratio=0.5, sampler=with_replacement)" in table


def test_names_without_jax_and_flax(tmp_path, monkeypatch):
    """A list of the samplers' names imports none of what they run on."""
    monkeypatch.setenv("PYTHONPATH", jaxapprox.__path__[0].removesuffix("/jaxapprox"))
    program = """
import json, sys
from jaxapprox.registry import SAMPLERS
print(json.dumps([list(SAMPLERS), "topk" in SAMPLERS, sorted({"jax", "flax", "numpy", "optax"} & set(sys.modules))]))
"""
    assert printed(program, tmp_path) == [["topk", "uniform", "importance", "bernoulli", "systematic"], True, []]


def test_the_package_has_the_names_in_all():
    """And no others that are public, but its modules; `import *` gives them."""
    public = {name for name in dir(jaxapprox) if not name.startswith("_")}
    modules = {name for name in public if type(getattr(jaxapprox, name)).__name__ == "module"}
    assert public - modules - {"Any", "TYPE_CHECKING"} == set(jaxapprox.__all__)
    namespace = {}
    exec("from jaxapprox import *", namespace)
    assert set(namespace) - {"__builtins__"} == set(jaxapprox.__all__)
    with pytest.raises(AttributeError, match=r"^module 'jaxapprox' has no attribute 'nonsense'"):
        _ = jaxapprox.nonsense


def test_a_registry_names_what_it_has():
    roots = Registry("root", square="math:sqrt")
    roots.register("cubic", lambda x: x ** (1 / 3))
    assert dict(roots).keys() == {"square", "cubic"} and roots["square"](9) == 3
    with pytest.raises(ValueError, match=r"^name must be a new root, got 'cubic'"):
        roots.register("cubic", "math:cbrt")
    with pytest.raises(KeyError, match="root must be one of square, cubic, got 'fourth'"):
        roots["fourth"]
