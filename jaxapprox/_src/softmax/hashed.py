r"""Candidates by locality-sensitive hashing: the classes that are likely to have high scores, beside others.

A score is an inner product, w_c . h + bias_c = [w_c; bias_c] . [h; 1], so that the bias is hashed along.
With H the classes that were found (hits), each once, and E_c the expected counts of the other candidates (the fill),

    Z^ = exp(s_y) + sum over c in H, c != y, of exp(s_c) + sum over the fill c, c not in H, c != y, of exp(s_c) / E_c

is right on average, whatever the hash finds, if the fill is drawn independently of it. Hits add no noise: they
pay where they hold much of the sum.
"""

import jax
import jax.numpy as jnp

from jaxapprox._src.blockwise.blocks import first_of_each
from jaxapprox._src.checks import check_int, check_key
from jaxapprox._src.explicit_axes import split_as, split_of
from jaxapprox._src.hashing.bucket_members import bucket_members
from jaxapprox._src.hashing.codes import query_codes
from jaxapprox._src.hashing.tables import Tables, as_tables
from jaxapprox._src.softmax.arguments import output_layer
from jaxapprox._src.softmax.candidates import Candidates
from jaxapprox._src.softmax.evaluation import best
from jaxapprox._src.softmax.rows import row_scores


def hits(
    key: jax.Array, tables: Tables, hidden: jax.Array, *, per_bucket: int = 4, per_example: bool = False
) -> jax.Array:
    """The classes found in the buckets that examples fall into: a few of each bucket.

    A query is a small matrix product and as many reads as it returns ids. To make it rarer, give it some of the
    examples, or keep what it returns for some steps: no weight depends on how the classes were found.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxapprox import lsh
    >>> from jaxapprox.softmax import draw, hits, log_uniform, sampled_cross_entropy, with_hits
    >>> weights, bias = jax.random.normal(jax.random.key(0), (5000, 8)), jnp.zeros(5000)
    >>> tables = lsh.build(jax.random.key(1), weights, bias=bias, transform="simple", num_bits=9)
    >>> hidden, labels = weights[:2], jnp.array([3, 5])
    >>> found = hits(jax.random.key(2), tables, hidden)
    >>> found.shape  # of 2 examples, 5 tables, 4 classes a bucket
    (40,)
    >>> candidates = with_hits(draw(jax.random.key(3), log_uniform(5000, 64), labels), found, 5000)
    >>> loss = sampled_cross_entropy(hidden, weights, bias, labels, candidates)

    Args:
        key: a PRNG key: which of a bucket's classes.
        tables: from `jaxapprox.lsh.build`, of weights and bias as they are now or were some steps ago (zeros
            for no bias).
        hidden: `(batch, features)`.
        per_bucket: classes of a bucket, at most.
        per_example: each example's own hits, instead of one set for the batch.

    Returns:
        `(batch * tables * per_bucket,)` int32, or `(batch, tables * per_bucket)`: distinct classes, and ids past the
        last class for what was not found or is there already.

    Raises:
        ValueError: if the tables are of other weights, or an argument is not as above.
    """
    check_key(key)
    tables = as_tables(tables)
    classes, features = tables.codes.shape[-1], tables.projections.shape[0] - 1
    if getattr(hidden, "ndim", None) != 2 or hidden.shape[1] != features:
        got = f"some of {features + 1} features for hidden {jnp.shape(hidden)}"
        raise ValueError(f"tables must be of weights and bias, one feature more than hidden has, got {got}")
    check_int("per_bucket", per_bucket, classes)

    def find(key, tables, hidden):
        query = jnp.concatenate([hidden, jnp.ones((hidden.shape[0], 1), hidden.dtype)], 1)
        found = bucket_members(key, tables, query_codes(tables, query), per_bucket)
        if per_example:
            return jax.vmap(lambda own: _distinct(own.reshape(-1), classes))(found)
        return _distinct(found.reshape(-1), classes)

    return split_as(split_of(hidden, 1 if per_example else 0), find, key, tables, hidden)


def with_hits(candidates: Candidates, found: jax.Array, classes: int) -> Candidates:
    """Hits, of weight 1, and candidates of which those that are hits too are left out.

    Args:
        candidates: from `draw`, drawn independently of the hits.
        found: from `hits`.
        classes: how many there are.

    Returns:
        `Candidates`, an example's own if either are. No label's score can be corrected with them.
    """

    def together(found, ids):
        first = first_of_each(jnp.concatenate([found, ids]).clip(0, classes), classes)[found.shape[0] :]
        return jnp.concatenate([found, jnp.where(first < found.shape[0], classes, ids)])

    def of_all(found, ids, expected):
        if not shape:
            return together(found, ids), jnp.concatenate([jnp.ones(found.shape, expected.dtype), expected])
        found, ids, expected = (jnp.broadcast_to(a, (*shape, a.shape[-1])) for a in (found, ids, expected))
        return jax.vmap(together)(found, ids), jnp.concatenate([jnp.ones(found.shape, expected.dtype), expected], 1)

    found, ids = jnp.asarray(found), jnp.asarray(candidates.ids)
    own = found if found.ndim == 2 else ids
    shape = own.shape[:-1]
    return Candidates(*split_as(split_of(own, len(shape)), of_all, found, ids, candidates.expected))


def hashed_top_k(
    key: jax.Array,
    tables: Tables,
    hidden: jax.Array,
    weights: jax.Array,
    bias: jax.Array | None,
    k: int,
    *,
    per_bucket: int = 16,
) -> tuple[jax.Array, jax.Array]:
    """The k classes of highest score among those that the hash finds; `recall` says how many of the true ones they are.

    >>> import jax
    >>> from jaxapprox import lsh
    >>> from jaxapprox.softmax import hashed_top_k, recall, top_k
    >>> weights, bias = jax.random.normal(jax.random.key(0), (5000, 8)), jax.numpy.zeros(5000)
    >>> tables = lsh.build(jax.random.key(1), weights, bias=bias, num_tables=16, transform="simple")
    >>> hidden = weights[:32]
    >>> _, ids = hashed_top_k(jax.random.key(2), tables, hidden, weights, bias, 5, per_bucket=64)
    >>> bool(recall(ids, top_k(hidden, weights, bias, 5)[1]) > 0.5)
    True

    Args:
        key, tables, hidden, per_bucket: as for `hits`, which finds for each example on its own.
        weights: `(classes, features)`, as they are now: they score what was found.
        bias: `(classes,)` or None.
        k: from 1 to the number of tables times `per_bucket`.

    Returns:
        `(batch, k)` scores, from the highest on, and `(batch, k)` int32 classes. Where fewer were found, -inf, and ids
        past the last class.

    Raises:
        ValueError: as for `hits`, or if k is not as above.
    """
    hidden, weights, bias = output_layer(hidden, weights, bias)
    check_classes(tables, weights)
    found = hits(key, tables, hidden, per_bucket=per_bucket, per_example=True)
    check_int("k", k, found.shape[1])

    def first(hidden, weights, bias, found):
        scored = row_scores(hidden, weights, bias, found)[0].T
        return best(k, [jnp.where(found < weights.shape[0], scored, -jnp.inf)], [found])

    return split_as(split_of(hidden, 1), first, hidden, weights, bias, found)


def recall(ids: jax.Array, of: jax.Array) -> jax.Array:
    """The share of the classes `of` `(batch, k)` that are among the ids `(batch, n)` of their example: () float32."""
    return jnp.mean(jnp.any(ids[:, None, :] == of[:, :, None], 2), dtype=jnp.float32)


def check_classes(tables: Tables, weights: jax.Array) -> None:
    """Refuses tables of other weights."""
    built_for, (classes, features) = as_tables(tables), weights.shape
    shape = built_for.codes.shape[-1], built_for.projections.shape[0]
    if shape != (classes, features + 1):
        raise ValueError(f"tables must be of weights and bias, {(classes, features + 1)}, got some of {shape}")


def _distinct(ids: jax.Array, classes: int) -> jax.Array:
    """Ids of which only the first of the same class is left; the others are past the last class."""
    is_first = first_of_each(ids, classes) == jnp.arange(ids.shape[0])
    return jnp.where(is_first, ids, classes)
