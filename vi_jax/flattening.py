"""Whether data and draws may share one axis: [B, C] pairs as N = B · C of them, each with its own copy of x.

A matrix product with the draws of all data is then plain, [N, D] × [D, H]. With two axes its derivative by the weights
sums over both, and the compiler first copies what it multiplies, transposed: for the gradient of IWAE, 50 draws of a
50-200-784 decoder, a quarter of the time and of the memory. docs/decisions/0009-the-limit.md has the figures.

Repeated, x must cost nothing. What the model computes of x alone would be computed once per draw, and a matrix product
of x with z would read x once per draw; where there is such an equation, the axes stay two.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vi_jax.types import PyTree

# Of x alone: what the compiler merges into whatever reads it, at the price of no more than reading.
_FREE = {
    *("add", "sub", "mul", "neg", "max", "min", "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "is_finite"),
    *("broadcast_in_dim", "convert_element_type", "expand_dims", "reshape", "select_n", "slice", "squeeze"),
    *("stop_gradient",),
}

# Of x and z: what treats one array as a matrix that all draws share, or does what cannot be seen. Whatever has a body
# of its own, as loops have, is refused as well.
_SHARED = {
    *("conv_general_dilated", "dot_general", "ragged_dot"),
    *("cholesky", "eigh", "householder_product", "lu", "qr", "svd", "triangular_solve", "tridiagonal_solve"),
    *("ffi_call", "io_callback", "pure_callback"),
}


def may_repeat(function: Callable[..., Any], theta: PyTree, x: PyTree, z: PyTree) -> bool:
    """Returns whether f(θ, x, z), of one datum and one draw, does nothing with x that is dear to do once per draw.

    Traces; computes nothing. In doubt it says no, which costs time alone.

    Args:
      function: `(theta, x, z) -> scalar`.
      theta: parameters.
      x: a batch of data, leading axis B.
      z: draws, leading axes `[B, C]`.
    """
    one_x, one_z = _without_axes(x, 1), _without_axes(z, 2)
    jaxpr = jax.make_jaxpr(function)(theta, one_x, one_z).jaxpr
    origin = [frozenset({name}) for name, tree in (("θ", theta), ("x", x), ("z", z)) for _ in jax.tree.leaves(tree)]
    return _read(jaxpr, origin) is not None


def _read(jaxpr: Any, origin: list[frozenset[str]]) -> list[frozenset[str]] | None:
    """Returns what each output is computed of, or None where an equation with x among its inputs is dear."""
    known = dict(zip(jaxpr.invars, origin, strict=True))
    nothing: frozenset[str] = frozenset()
    for equation in jaxpr.eqns:
        inputs = [nothing if hasattr(v, "val") else known.get(v, nothing) for v in equation.invars]
        outputs = _outputs(equation, inputs)
        if outputs is None:
            return None
        known.update(zip(equation.outvars, outputs, strict=True))
    return [nothing if hasattr(v, "val") else known.get(v, nothing) for v in jaxpr.outvars]


def _outputs(equation: Any, inputs: list[frozenset[str]]) -> list[frozenset[str]] | None:
    sources = frozenset().union(*inputs)
    everything = [sources] * len(equation.outvars)
    if "x" not in sources:
        return everything
    inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
    name = equation.primitive.name
    if name in ("jit", "pjit", "custom_jvp_call"):
        return _read(inner.jaxpr, inputs)
    if "z" in sources:
        return None if name in _SHARED or _has_a_body(equation) else everything
    return everything if name in _FREE else None


def _has_a_body(equation: Any) -> bool:
    parts = (value if isinstance(value, tuple | list) else (value,) for value in equation.params.values())
    return any(hasattr(part, "eqns") or hasattr(part, "jaxpr") for several in parts for part in several)


def _without_axes(tree: PyTree, count: int) -> PyTree:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf)[count:], jnp.result_type(leaf)), tree)
