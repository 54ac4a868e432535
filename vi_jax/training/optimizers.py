"""Two optimizers in one: θ and φ apart."""

from vi_jax.lazy import optax
from vi_jax.types import Params


def separate(
    *, theta: "optax.GradientTransformation", phi: "optax.GradientTransformation"
) -> "optax.GradientTransformationExtraArgs":
    """Returns the optimizer that updates θ by one transformation and φ by another.

        θ ← θ + theta(−θ̄),   φ ← φ + phi(−φ̄)

    Each sees its own half alone: clipping by a global norm is by that half's, and `optax.set_to_zero()` freezes it, bit
    for bit. What the two follow may differ too. Wake-sleep (Hinton et al. 1995, doi:10.1126/science.7761831) is

        wake = value_and_grad(model, guide, bounds.elbo, estimators.score_function, num_samples=1)
        objective = objectives.joined(theta=wake, phi=objectives.sleep(model, guide, num_samples=1))
        optimizer = separate(theta=optax.adam(1e-3), phi=optax.adam(3e-3))
        state, history = fit(key, objective, optimizer, params, data, num_steps=1000)

    and two bounds on the same draws are `estimators.split` and `estimators.piwae`.

    Args:
      theta: any optax transformation, of θ.
      phi: any optax transformation, of φ.
    """
    return optax.partition({"theta": theta, "phi": phi}, Params("theta", "phi"))
