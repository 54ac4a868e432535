"""A model of the library over one vector as a target, under the same roof as a log-density of one's own."""

import jax
import jax.numpy as jnp
import numpy as np

from vi_jax import checks
from vi_jax.models.unconstrained import Target
from vi_jax.types import Model, PyTree


def as_target(model: Model, x: PyTree, dim: int) -> Target:
    """Makes a target of a model whose latent is a vector `[D]` of real numbers, and whose θ is ().

    So for `funnel(10).model`, `banana().model`, a `gaussian_mixture`, `logistic_regression` and `eight_schools`.
    Nothing is transformed: the parameters are z itself, named "z[0]", "z[1]", …

    Args:
      model: with θ = ().
      x: its data, ONE datum with the batch axis B = 1; `zeros((1, 1))` for a density alone.
      dim: D ≥ 1.

    Raises:
      TypeError, ValueError: D is not a positive integer, x holds more than one datum or NaN, or the log joint of x and
        z `[D]` is not one number.
    """
    dim, size = checks.check_positive_int("dim", dim), checks.check_batch("x", x)
    if size != 1:
        raise ValueError(f"x must hold ONE datum, B = 1, got {size}: a posterior over z is of the whole data set.")
    checks.check_no_nan("x", x)
    x = jax.tree.map(jnp.asarray, x)
    value = jax.eval_shape(model.log_joint, (), jax.tree.map(lambda leaf: leaf[0], x), jnp.zeros(dim))
    if value.shape != ():
        raise ValueError(f"log_joint must be one number, in nats, got shape {value.shape}: sum over data and parts.")
    names = tuple(f"z[{index}]" for index in range(dim))
    return Target(model, x, dim, lambda z: z, jnp.asarray, names, np.zeros(dim))
