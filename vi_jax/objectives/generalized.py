"""The doubly reparameterized gradient for the parameters of the prior too.

Let z be drawn from q, and let the prior be reparameterized: z = T(ε; θ) has the law p_θ(z) if ε has a law without
parameters. Any function g of z, smooth enough, has

    E_q[g ∂_θ log p_θ(z)] = E_p[f ∂_θ log p_θ(z)],   f = g q / p_θ, held fixed as a function of z
                          = ∂_θ E_p[f(z)]            by the score function, and by z = T(ε; θ) equal to
                          = E_p[∂_z f ∂_θ T(ε; θ)]
                          = E_q[(∂_z g + g ∂_z log (q / p_θ)) ∂_θ T(ε̃; θ)],   ε̃ = T⁻¹(z; θ), held fixed

since ∂_z f = (q / p_θ) (∂_z g + g ∂_z log (q / p_θ)). Of a bound L, with a = ∇L and h = diag ∇²L, the plain gradient
of θ in the prior is Σ_k a_k ∂_θ log p_θ(z_k): g is a_k, which depends on z_k through log w_k alone, so that
∂_z g = h_k ∂_z log w_k. With log w = log p(x | z) + log p_θ(z) − log q the bracket becomes

    h_k ∂_z log w_k − a_k (∂_z log w_k − ∂_z log p(x | z_k)) = a_k ∂_z log p(x | z_k) − (a_k − h_k) ∂_z log w_k

whose second term is what the doubly reparameterized gradient of φ pulls through z = z(φ, ε): the two share it. For IWAE
a − h is w̃², and the bracket is (w̃ − w̃²) ∂_z log p(x | z) − w̃² ∂_z log (p_θ(z) / q).

A prior of several layers is one prior: z and T are the whole tuple, and moving a layer moves those below it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vi_jax import checks
from vi_jax.estimators import doubly_reparameterized
from vi_jax.legality import check_pair, check_scale
from vi_jax.log_weights import batch_draws, check_problem, checked, guide_log_prob, model_log_joint, sample_and_score
from vi_jax.pullback import scaled
from vi_jax.types import BoundFn, Guide, Model, Objective, Params, PyTree

Prior = Callable[[PyTree], Any]


def generalized_doubly_reparameterized(model: Model, guide: Guide, bound: BoundFn, *, num_samples: int) -> Objective:
    """Makes the objective whose φ and whose prior's θ both move through the draws.

        φ̄ = Σ_k (a − h)_k ∂_z log w_k ∂_φ z_k
        θ̄ = Σ_k a_k ∂_θ log p_θ(x | z_k)  +  Σ_k [a_k ∂_z log p_θ(x | z_k) − (a − h)_k ∂_z log w_k] ∂_θ T(ε̃_k; θ)

    with a = ∇L, h = diag ∇²L, z = T(ε; θ) the prior's reparameterization and ε̃_k = T⁻¹(z_k; θ) held fixed. Unbiased for
    ∇E[L_K] of every bound whose a is continuous, where q vanishes fast enough for the boundary terms of an integration
    by parts to do so. φ̄ is that of `estimators.doubly_reparameterized`, draw for draw.

    θ̄ gains where the data say little of z: under the ELBO it has no variance where q is the prior. With a Gaussian
    prior of variance 1, q the posterior of variance s² and one draw, the gradient of the prior's mean has variance
    (1 − s²)²/s², against s² of the plain one: less where s² > ½, more where the datum says more than the prior.

    Price: one forward and one backward pass, and one of the prior's map; a bound without a `ratio`, such as a plain
    function, takes a second backward pass. All K draws are held at once. log p must be finite at the guide's draws:
    elsewhere the gradient is NaN where the derivative of log p is.

    Bauer and Mnih, "Generalized Doubly Reparameterized Gradient Estimators" (arXiv:2101.11046).

    Args:
      model: has a `prior`, whose distributions have a `bijector` with `forward(noise) -> z` and its `inverse`, from
        noise of a law without parameters: distrax's multivariate Gaussians, a `Transformed` of a fixed base, and
        `models.ChainDistribution` or `models.ReversedChain` of such.
      guide: reparameterized.
      bound: a bound, such as `bounds.iwae`.
      num_samples: K ≥ 1 draws per datum.

    Returns:
      (key, params, x) -> (values `[B]` in nats, gradient of their mean), as `value_and_grad` returns.

    Raises:
      ValueError: the model has no `prior`, the guide is not reparameterized, or the bound's derivative jumps; when
        called: the prior has no `bijector`, and as `value_and_grad`.
      TypeError: as `value_and_grad`.
    """
    num_samples = checks.check_positive_int("num_samples", num_samples)
    prior = model.prior
    if prior is None:
        raise ValueError("the prior's gradient needs the model's prior: give Model(prior=...), or use value_and_grad.")
    coefficients = doubly_reparameterized(bound)
    check_pair(guide, bound, doubly_reparameterized, num_samples, coefficients)

    @jax.jit
    def compute(key: jax.Array, params: Params, x: PyTree) -> tuple[jax.Array, Params]:
        check_problem(model, guide, params, x)
        check_scale(model, guide, x, bound, doubly_reparameterized, num_samples)
        draws = batch_draws(key, x, jnp.arange(num_samples))
        fixed = jax.lax.stop_gradient(params)

        def log_likelihood(theta: PyTree, z: PyTree) -> jax.Array:
            return model_log_joint(model, theta, x, z) - _log_prior(prior, theta, z)

        def log_ratio(z: PyTree) -> jax.Array:
            return _log_prior(prior, fixed.theta, z) - guide_log_prob(guide, fixed.phi, x, z)

        z, pull_draws = jax.vjp(lambda phi: sample_and_score(guide, phi, draws)[0], params.phi)
        of_datum, pull_datum = jax.vjp(log_likelihood, params.theta, z)
        of_ratio, pull_ratio = jax.vjp(log_ratio, z)
        log_w = (of_datum + of_ratio).T
        model_, path, _, ratio = coefficients(log_w)
        a, path = (c.T / log_w.shape[1] for c in (model_, path))
        theta_bar, along_datum = pull_datum(a)
        if ratio is None:
            _, weighed = pull_datum(path)
        else:
            weighed = scaled(jnp.broadcast_to(ratio, log_w.shape), along_datum)
        along_w = jax.tree.map(jnp.add, weighed, *pull_ratio(path))
        prior_bar = _pull_noise(prior, params.theta, z, jax.tree.map(jnp.subtract, along_datum, along_w))
        return bound(log_w), Params(jax.tree.map(jnp.add, theta_bar, prior_bar), *pull_draws(along_w))

    return checked(compute)


def _log_prior(prior: Prior, theta: PyTree, z: PyTree) -> jax.Array:
    """log p_θ(z) `[B, K]`."""
    return jax.vmap(jax.vmap(prior(theta).log_prob))(z)


def _pull_noise(prior: Prior, theta: PyTree, z: PyTree, z_bar: PyTree) -> PyTree:
    """Returns Σ_k z̄_k ∂_θ T(ε̃_k; θ), ε̃ = T⁻¹(z; θ) held fixed."""
    try:
        noise = jax.vmap(jax.vmap(prior(theta).bijector.inverse))(z)
        return jax.vjp(lambda theta: jax.vmap(jax.vmap(prior(theta).bijector.forward))(noise), theta)[1](z_bar)[0]
    except (AttributeError, NotImplementedError) as error:
        raise ValueError(
            f"the model's prior, a {type(prior(theta)).__name__}, has no bijector from noise to z: make it a distrax "
            "MultivariateNormalDiag, a Transformed of a fixed base, or a ChainDistribution of such; or use "
            f"value_and_grad with doubly_reparameterized. ({error})"
        ) from error
