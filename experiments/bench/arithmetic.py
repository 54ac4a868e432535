"""In what numbers a case computes: the type of its networks, and the precision of its matrix products."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Arithmetic(NamedTuple):
    """What is rounded to what.

    Attributes:
      name: what the command line and the table call it.
      dtype: of weights and activations as the networks see them. Parameters, log-weights and gradients keep JAX's
        default float type.
      precision: of matrix products, as of `jax.default_matmul_precision`. Stated always: what "default" means for
        float32 differs between CPUs, GPUs and TPUs.
      parameters: the float type that JAX must have as its default.
    """

    name: str
    dtype: str
    precision: str
    parameters: str


KINDS = {
    kind.name: kind
    for kind in (
        Arithmetic("float32", "float32", "highest", "float32"),
        Arithmetic("tensorfloat32", "float32", "tensorfloat32", "float32"),
        Arithmetic("bfloat16", "bfloat16", "default", "float32"),
        Arithmetic("float64", "float64", "highest", "float64"),
    )
}


def full() -> Arithmetic:
    """Returns float32, or float64 under `JAX_ENABLE_X64`: nothing is rounded to fewer digits."""
    return KINDS[jnp.result_type(float).name]


def chosen(names: tuple[str, ...]) -> tuple[Arithmetic, ...]:
    """Returns the kinds of these names, or what this device is good for if there are none.

    A CPU computes bfloat16 slower than float32; other devices get all kinds that keep parameters in their type.

    Raises:
      SystemExit: an unknown name, or one that JAX's float type excludes.
    """
    if unknown := [name for name in names if name not in KINDS]:
        raise SystemExit(f"error: no arithmetic is called {unknown[0]}: choose from {', '.join(KINDS)}.")
    parameters = full().parameters
    if not names:
        usual = (full(),) if jax.devices()[0].platform == "cpu" else tuple(KINDS.values())
        return tuple(kind for kind in usual if kind.parameters == parameters)
    for name in names:
        if KINDS[name].parameters != parameters:
            raise SystemExit(
                f"error: {name} keeps parameters in {KINDS[name].parameters}, and JAX's float type is {parameters}: "
                f"{'set' if parameters == 'float32' else 'unset'} JAX_ENABLE_X64=1."
            )
    return tuple(KINDS[name] for name in names)
