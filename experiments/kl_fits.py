"""Gaussian fits of a target, from draws of many seeds or by exact gradients; what `kl_directions` is made of."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import vi_jax as vi
from experiments import intervals
from vi_jax import models

NOTHING = np.zeros((1, 1), np.float32)
"""The data of a target: it has none."""
MIXTURES = {"±4": (4.0, 0.5), "±4, .3/.7": (4.0, 0.3), "±2": (2.0, 0.5)}
"""Half the distance of the modes, and the weight of the left one."""
DEGREES = 5.0
"""Of the Student-t target."""


def of_a_function(value: Callable[[Any], jax.Array]) -> vi.Objective:
    """Makes the objective that climbs an exact function of φ."""

    def objective(key: jax.Array, params: vi.Params, x: jax.Array) -> tuple[jax.Array, vi.Params]:
        del key, x
        height, gradient = jax.value_and_grad(value)(params.phi)
        return height[None], vi.Params((), gradient)

    return objective


def reverse_kl(exact: models.ExactModel, guide: vi.Guide, num_samples: int) -> vi.Objective:
    """Returns the ELBO with the sticking-the-landing gradient."""
    estimator = vi.estimators.sticking_the_landing
    return vi.value_and_grad(exact.model, guide, vi.bounds.elbo, estimator, num_samples=num_samples)


def adam(num_steps: int, largest: float = 0.1) -> optax.GradientTransformation:
    """Returns Adam, its step size falling from `largest` to a thousandth of it."""
    # From a wide start gradients are a hundred times what they are later, which Adam would remember for long.
    return optax.chain(optax.clip(2.0), optax.adam(optax.cosine_decay_schedule(largest, num_steps, alpha=1e-3)))


def plain_steps(num_steps: int) -> optax.GradientTransformation:
    """Returns gradient ascent, its step size falling from 0.1 to 0.0001.

    It ends where the mean gradient is zero. Adam and clipping weigh a skewed gradient's tails less, and end elsewhere.
    """
    return optax.sgd(optax.cosine_decay_schedule(0.1, num_steps, alpha=1e-3))


def fit(
    key: jax.Array, objective: vi.Objective, phi: Any, num_steps: int, optimizer: optax.GradientTransformation
) -> Any:
    """Returns the φ where `num_steps` steps end."""
    state, _ = vi.fit(key, objective, optimizer, vi.Params((), phi), jnp.asarray(NOTHING, float), num_steps=num_steps)
    return state.params.phi


def from_seeds(
    key: jax.Array,
    objective_of: Callable[[Any], vi.Objective],
    problems: Any,
    phi: Any,
    optimizer: optax.GradientTransformation,
    *,
    num_steps: int,
    num_seeds: int,
) -> Any:
    """Fits every problem from draws, from every seed, in one float32 program: leaves `[problems, seeds, ...]`."""

    @jax.jit
    def fits(keys: jax.Array, problems: Any, phi: Any) -> Any:
        def one(key: jax.Array, problem: Any) -> Any:
            return fit(key, objective_of(problem), phi, num_steps, optimizer)

        return jax.vmap(jax.vmap(one, (0, None)), (None, 0))(keys, problems)

    with jax.enable_x64(False):
        return jax.device_get(fits(jax.random.split(key, num_seeds), *single((problems, phi))))


def exactly(objective_of: Callable[[Any], vi.Objective], problems: Any, phi: Any) -> Any:
    """Fits every problem by exact gradients in float64, in one program: leaves `[problems, ...]`."""

    @jax.jit
    def fits(problems: Any) -> Any:
        return jax.vmap(lambda problem: fit(jax.random.key(0), objective_of(problem), phi, 1500, adam(1500)))(problems)

    return jax.device_get(fits(problems))


def single(tree: Any) -> Any:
    """Returns the tree in float32."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), tree)


def compared(variances: np.ndarray, exact: float) -> dict[str, float]:
    """Returns the columns of a variance beside its exact value."""
    row = intervals.mean("variance", variances)
    return row | {"exact": exact, "relative_error": row["variance"] / exact - 1}


def mixture(problem: Sequence[Any]) -> models.ExactModel:
    """Returns weight N(−d, 1) + (1 − weight) N(d, 1) for a problem (d, weight)."""
    distance, weight = problem
    weights, means = jnp.stack([weight, 1 - weight]), jnp.stack([-distance, distance])[:, None]
    return models.gaussian_mixture(weights, means, jnp.ones((2, 1, 1)))


def log_normal(phi: vi.guides.MeanField) -> Callable[[jax.Array], jax.Array]:
    """Returns z -> log q(z) for scalar z."""
    scale = jnp.exp(phi.log_scale[0])
    return lambda z: -jnp.log(2 * jnp.pi) / 2 - phi.log_scale[0] - ((z - phi.loc[0]) / scale) ** 2 / 2


def kl_on_line(phi: vi.guides.MeanField, exact: models.ExactModel) -> jax.Array:
    """Returns KL(q ‖ p) by quadrature."""
    return models.quadrature_kl(log_normal(phi), on_scalars(exact), jnp.linspace(-40, 40, 801))


def on_scalars(exact: models.ExactModel) -> Callable[[jax.Array], jax.Array]:
    """Returns z -> log p(z) for scalar z."""
    return lambda z: exact.model.log_joint((), None, z[None])
