"""The sleep phase, where the guide learns from the model's own dreams; and objectives joined, one for θ, one for φ."""

import jax
import jax.numpy as jnp

from vi_jax import checks
from vi_jax.log_weights import checked
from vi_jax.types import Guide, Model, Objective, Params, PyTree


def sleep(model: Model, guide: Guide, *, num_samples: int) -> Objective:
    """Makes the sleep-phase objective of φ, on data that the model draws itself.

        values_b = (1/K) Σ_k log q_φ(z_k | x_k),   (x_k, z_k) ~ p_θ, anew for each of the B data
        gradient = (0, ∂_φ of their mean)

    Unbiased for −∂_φ E_{p_θ(x)} KL(p_θ(z | x) ‖ q): the forward KL over what the model would generate, not over the
    data, which are used for their number alone. Price: K ancestral draws and one backward pass through log q for each.

    Hinton, Dayan, Frey and Neal, "The wake-sleep algorithm for unsupervised neural networks" (1995); Bornschein and
    Bengio, "Reweighted Wake-Sleep" (arXiv:1406.2751).

    Args:
      model: has a `sample`.
      guide: q_φ(z | x), any.
      num_samples: K ≥ 1 draws per datum.

    Returns:
      (key, params, x) -> (values `[B]` in nats, ascent direction). For wake-sleep join it with an objective for θ.

    Raises:
      ValueError: the model has no `sample`, or K is below 1; when called, as `value_and_grad`.
      TypeError: K is not an integer.
    """
    num_samples = checks.check_positive_int("num_samples", num_samples)
    sample = model.sample
    if sample is None:
        raise ValueError("sleep draws (x, z) from the model: give Model(sample=...), or use estimators.wake_phi.")

    @jax.jit
    def compute(key: jax.Array, params: Params, x: PyTree) -> tuple[jax.Array, Params]:
        keys = jax.random.split(key, (checks.check_batch("x", x), num_samples))
        dreams = jax.lax.stop_gradient(jax.vmap(jax.vmap(lambda key: sample(key, params.theta)))(keys))

        def mean(phi: PyTree) -> tuple[jax.Array, jax.Array]:
            scores = jax.vmap(jax.vmap(lambda x, z: guide.distribution(phi, x).log_prob(z)))(*dreams)
            return jnp.mean(scores), jnp.mean(scores, axis=1)

        gradient, values = jax.grad(mean, has_aux=True)(params.phi)
        return values, Params(jax.tree.map(jnp.zeros_like, params.theta), gradient)

    return checked(compute)


def joined(*, theta: Objective, phi: Objective) -> Objective:
    """Makes the objective whose θ̄ is one objective's and whose φ̄ is another's, each with draws of its own.

        wake-sleep:  joined(theta=value_and_grad(model, guide, elbo, …), phi=sleep(model, guide, …))

    `estimators.split` does the same on shared draws, where both halves are functions of log-weights. Price: both.

    Args:
      theta: gives the values, and the gradient in θ.
      phi: gives the gradient in φ.
    """

    def objective(key: jax.Array, params: Params, x: PyTree) -> tuple[jax.Array, Params]:
        theta_key, phi_key = jax.random.split(key)
        values, of_theta = theta(theta_key, params, x)
        _, of_phi = phi(phi_key, params, x)
        return values, Params(of_theta.theta, of_phi.phi)

    return objective
