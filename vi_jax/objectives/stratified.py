"""The ELBO of a mixture with a draw from every component, in place of a draw of a component."""

import jax
import jax.numpy as jnp

from vi_jax import checks
from vi_jax.legality import refuse_dependent
from vi_jax.log_weights import batch_draws, check_problem, checked
from vi_jax.types import Guide, Model, Objective, Params, PyTree


def stratified(model: Model, guide: Guide, *, num_samples: int) -> Objective:
    """Makes the ELBO of q = Σ_m π_m q_m with the sum over components exact, and sticking the landing inside it.

        values_b = Σ_m π_m (1/S) Σ_s log w(z_ms),   z_ms ~ q_m reparameterized,   log w = log p_θ(x_b, z) − log q_φ(z)
        φ̄ = Σ_m ∂_φ π_m mean_s log w(z_ms) + Σ_m π_m mean_s ∂_z log w(z_ms) ∂_φ z_ms

    Unbiased for ∇ELBO in θ and in φ, the weights too: what is left out, −E_q[∂_φ log q], is zero. Where q is the
    posterior every draw's gradient is zero. Price: M S evaluations of model and guide per datum. At a fixed key it is a
    smooth function of φ, which a draw of a component is not. A likelihood scaled by N/n is legal: values are linear in
    log w. A datum whose value is −∞ moves nothing, unless a derivative of its log p is NaN.

    Roeder, Wu and Duvenaud, "Sticking the Landing" (arXiv:1703.09194), on mixtures; Morningstar et al., "Automatic
    Differentiation Variational Inference with Mixtures" (arXiv:2003.01687).

    Args:
      model: log p_θ(x, z).
      guide: its distribution has `log_weights` `[M]` and `sample_components(seed=key) -> [M, ...]`, as that of
        `guides.gaussian_mixture`, preconditioned or not.
      num_samples: S ≥ 1 draws of each component.

    Returns:
      (key, params, x) -> (values `[B]` in nats, gradient of their mean), as `value_and_grad` returns.

    Raises:
      TypeError, ValueError: S is not a positive integer; the draws of the guide depend on each other. When called: the
        guide is no mixture; and as `value_and_grad`.
    """
    num_samples = checks.check_positive_int("num_samples", num_samples)
    refuse_dependent("stratified", guide)

    def elbo(params: Params, x: PyTree, key: jax.Array, indices: jax.Array) -> jax.Array:
        q = _mixture(guide, params.phi, x)
        scored = guide.distribution(jax.lax.stop_gradient(params.phi), x)
        z = jax.vmap(lambda k: q.sample_components(seed=jax.random.fold_in(key, k)))(indices)

        def log_w(z: PyTree) -> jax.Array:
            return model.log_joint(params.theta, x, z) - scored.log_prob(z)

        of_draws = jax.vmap(jax.vmap(log_w))(z)
        possible = jnp.all(of_draws > -jnp.inf)
        # Masked before the product: zero times infinity is NaN in the derivative of the weights.
        value = jnp.exp(q.log_weights) @ jnp.mean(jnp.where(possible, of_draws, 0), axis=0)
        return jnp.where(possible, value, -jnp.inf)

    @jax.jit
    def compute(key: jax.Array, params: Params, x: PyTree) -> tuple[jax.Array, Params]:
        check_problem(model, guide, params, x)
        draws = batch_draws(key, x, jnp.arange(num_samples))

        def mean(params: Params) -> tuple[jax.Array, jax.Array]:
            values = jax.vmap(elbo, (None, 0, 0, 0))(params, draws.x, draws.keys, draws.indices)
            return jnp.mean(jnp.where(jnp.isneginf(values), 0, values)), values

        gradient, values = jax.grad(mean, has_aux=True)(params)
        return values, gradient

    return checked(compute)


def _mixture(guide: Guide, phi: PyTree, x: PyTree):
    q = guide.distribution(phi, x)
    if not hasattr(q, "log_weights"):
        raise ValueError(
            f"stratified needs a mixture, whose distribution has log_weights and sample_components, got "
            f"{type(q).__name__}: take guides.gaussian_mixture, or value_and_grad with bounds.elbo."
        )
    return q
