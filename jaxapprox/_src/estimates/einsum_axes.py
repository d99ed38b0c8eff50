"""The axes of an einsum of two operands."""

import string


def einsum_axes(equation: str, lhs_rank: int, rhs_rank: int) -> tuple[str, str, str]:
    """A letter for each axis of both operands and of the result, those of an ellipsis among them.

    >>> from jaxapprox._src.estimates.einsum_axes import einsum_axes
    >>> einsum_axes("...d, df -> ...f", 3, 2)
    ('abd', 'df', 'abf')

    Args:
        equation: as `jnp.einsum` takes it, with its result.
        lhs_rank, rhs_rank: the number of axes of each operand.

    Raises:
        ValueError: if it is not of the form "lhs,rhs->result", an operand has another number of axes, or the
            result has an axis of its own.
    """
    operands, arrow, result = equation.replace(" ", "").partition("->")
    names = operands.split(",")
    if not arrow or len(names) != 2:
        raise ValueError(f"einsum_str must have the form 'inputs,kernel->output', got {equation!r}")
    spare = [letter for letter in string.ascii_letters if letter not in equation]
    counts = [rank - len(name.replace("...", "")) for name, rank in zip(names, (lhs_rank, rhs_rank), strict=True)]
    if any(count < 0 or (count and "..." not in name) for name, count in zip(names, counts, strict=True)):
        raise ValueError(f"einsum_str must name operands of {lhs_rank} and {rhs_rank} axes, got {equation!r}")
    rest = "".join(spare[: max(counts)])  # the last axes of an ellipsis are common to both
    lhs, rhs = (name.replace("...", rest[len(rest) - n :]) for name, n in zip(names, counts, strict=True))
    result = result.replace("...", rest)
    if not set(result) <= {*lhs, *rhs}:
        raise ValueError(f"einsum_str must have no axis in its output that no operand has, got {equation!r}")
    return lhs, rhs, result
