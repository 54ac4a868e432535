"""The forward divergence by draws of the posterior itself, where it can be drawn from: no weights, and no bias."""

import jax
import jax.numpy as jnp

from vi_jax import checks
from vi_jax.log_weights import batch_draws, check_problem, checked
from vi_jax.models.exact import ExactModel
from vi_jax.types import Guide, Objective, Params, PyTree


def exact_draws(exact: ExactModel, guide: Guide, *, num_samples: int) -> Objective:
    """Makes the objective −KL(p(z | x) ‖ q), its expectation by K draws of the exact posterior.

        values_b = (1/K) Σ_k [log q_φ(z_k | x_b) − log p_θ(z_k | x_b)],   z_k ~ p_θ(z | x_b)
        gradient = (0, ∂_φ of the mean of log q_φ(z_k | x_b))

    Unbiased at every K, for any guide; what self-normalised `estimators.wake_phi` is consistent for. θ is left where it
    is. Price: K draws of the posterior and one backward pass through log q.

    Args:
      exact: a model whose posterior can be drawn from and scored.
      guide: q_φ(z | x).
      num_samples: K ≥ 1 draws per datum.

    Returns:
      (key, params, x) -> (values `[B]` in nats, ascent direction).

    Raises:
      TypeError, ValueError: K is not a positive integer; when called, as `value_and_grad` for key, parameters and data.
    """
    num_samples = checks.check_positive_int("num_samples", num_samples)

    @jax.jit
    def compute(key: jax.Array, params: Params, x: PyTree) -> tuple[jax.Array, Params]:
        check_problem(exact.model, guide, params, x)
        draws = batch_draws(key, x, jnp.arange(num_samples))

        def one_datum(phi: PyTree, x: PyTree, key: jax.Array, indices: jax.Array) -> jax.Array:
            posterior, q = exact.posterior(params.theta, x), guide.distribution(phi, x)
            z = jax.lax.stop_gradient(jax.vmap(lambda k: posterior.sample(seed=jax.random.fold_in(key, k)))(indices))
            return jnp.mean(jax.vmap(q.log_prob)(z) - jax.lax.stop_gradient(jax.vmap(posterior.log_prob)(z)))

        def mean(phi: PyTree) -> tuple[jax.Array, jax.Array]:
            values = jax.vmap(one_datum, (None, 0, 0, 0))(phi, draws.x, draws.keys, draws.indices)
            return jnp.mean(values), values

        gradient, values = jax.grad(mean, has_aux=True)(params.phi)
        return values, Params(jax.tree.map(jnp.zeros_like, params.theta), gradient)

    return checked(compute)
