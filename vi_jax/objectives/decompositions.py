"""The ELBO with one of its terms in closed form.

One number, three ways to write it:

    ELBO = E_q[log p(x, z) − log q(z | x)]              value_and_grad(bounds.elbo, …): both terms from the draws
         = E_q[log p(x | z)] − KL(q(z | x) ‖ p(z))      analytic_kl: reconstruction minus divergence
         = E_q[log p(x, z)] + H(q(z | x))               analytic_entropy: energy plus entropy

All have one expectation, and one expected gradient; the variances differ, and a term in closed form is not always the
one with less: where q is near the posterior, log p − log q is nearly constant, and its terms cancel draw by draw.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vi_jax import bounds, checks
from vi_jax.estimators.definition import zero_where_impossible
from vi_jax.legality import check_pair, check_scale
from vi_jax.log_weights import Draws, batch_draws, check_problem, checked, model_log_joint
from vi_jax.pullback import Forward, fixed_draws, joint_fixed_draws, through_draws
from vi_jax.types import Coefficients, Estimator, Guide, Model, Objective, Params, PyTree

# (distribution of the guide, θ) -> what is added to the sampled term, in nats.
Analytic = Callable[[Any, PyTree], jax.Array]


def analytic_kl(model: Model, guide: Guide, estimator: Estimator, *, num_samples: int) -> Objective:
    """Makes the objective "reconstruction − KL", its divergence from the prior in closed form.

        values_b = (1/K) Σ_k log p_θ(x_b | z_k) − KL(q_φ(z | x_b) ‖ p_θ(z)),   log p(x | z) = log p(x, z) − log p(z)

    The estimator sees f_k = log p(x | z_k) where it otherwise sees log w_k. `sticking_the_landing` gives the plain
    derivative through the draws; `pathwise` adds to it a score term of mean zero, and so variance; `leave_one_out` is
    for guides without such a derivative. Each is unbiased for the gradient of the ELBO. Price: as `value_and_grad` on
    the ELBO, less log q; all K draws are held at once. log p must be finite at the guide's draws: where it is not, the
    value is −∞, and the gradient is NaN where the derivative of log p is.

    Kingma and Welling, "Auto-Encoding Variational Bayes" (arXiv:1312.6114), their second estimator.

    Args:
      model: has a `prior`.
      guide: its distributions have a `kl_divergence` from the prior's.
      estimator: any that is unbiased for the ELBO.
      num_samples: K ≥ 1 draws per datum.

    Returns:
      (key, params, x) -> (values `[B]` in nats, gradient of their mean), as `value_and_grad` returns.

    Raises:
      ValueError: the model has no `prior`; the estimator is undefined at this K, or needs a pathwise derivative that
        the guide does not have. When called: distrax has no closed form for this pair, and as `value_and_grad`.
      TypeError: as `value_and_grad`.
    """
    prior = model.prior
    if prior is None:
        raise ValueError("analytic_kl needs the model's prior: give Model(prior=...), or use analytic_entropy.")

    def log_likelihood(theta: PyTree, x: PyTree, z: PyTree) -> jax.Array:
        return model.log_joint(theta, x, z) - prior(theta).log_prob(z)

    def minus_divergence(q: Any, theta: PyTree) -> jax.Array:
        try:
            return -q.kl_divergence(prior(theta))
        except (AttributeError, NotImplementedError) as error:
            raise ValueError(
                f"distrax has no closed form of KL({type(q).__name__} ‖ {type(prior(theta)).__name__}): "
                "use analytic_entropy, or value_and_grad with bounds.elbo."
            ) from error

    return _objective(model, model._replace(log_joint=log_likelihood), guide, estimator, minus_divergence, num_samples)


def analytic_entropy(model: Model, guide: Guide, estimator: Estimator, *, num_samples: int) -> Objective:
    """Makes the objective "energy + entropy", the guide's entropy in closed form.

        values_b = (1/K) Σ_k log p_θ(x_b, z_k) + H(q_φ(z | x_b)),   H = −E_q[log q]

    The estimator sees f_k = log p(x, z_k) where it otherwise sees log w_k; see `analytic_kl`. It is the one form for a
    density that comes without a prior, and it never vanishes at the posterior, as sticking the landing does.

    Kucukelbir et al., "Automatic Differentiation Variational Inference" (arXiv:1603.00788).

    Args, returns and errors are those of `analytic_kl`, with `entropy` in place of `kl_divergence` and no prior needed.
    """

    def entropy(q: Any, theta: PyTree) -> jax.Array:
        del theta
        try:
            return q.entropy()
        except (AttributeError, NotImplementedError) as error:
            raise ValueError(
                f"distrax has no closed form of the entropy of {type(q).__name__}: use value_and_grad with bounds.elbo."
            ) from error

    return _objective(model, model, guide, estimator, entropy, num_samples)


def _objective(
    model: Model, sampled: Model, guide: Guide, estimator: Estimator, analytic: Analytic, num_samples: int
) -> Objective:
    """Returns the objective (1/K) Σ_k f_k + analytic, f the log-density that `sampled` calls its log_joint."""
    num_samples = checks.check_positive_int("num_samples", num_samples)
    coefficients = zero_where_impossible(bounds.elbo, estimator(bounds.elbo))
    form = check_pair(guide, bounds.elbo, estimator, num_samples, coefficients)
    forward = _fixed_draws if form is fixed_draws else _through_draws

    @jax.jit
    def compute(key: jax.Array, params: Params, x: PyTree) -> tuple[jax.Array, Params]:
        check_problem(model, guide, params, x)
        check_scale(model, guide, x, bounds.elbo, estimator, num_samples)
        here = forward(sampled, guide, params, batch_draws(key, x, jnp.arange(num_samples)))
        energy = bounds.elbo(here.log_w)

        def mean_analytic(params: Params) -> tuple[jax.Array, jax.Array]:
            values = jax.vmap(lambda x: analytic(guide.distribution(params.phi, x), params.theta))(x)
            return jnp.mean(jnp.where(jnp.isneginf(energy), 0, values)), values

        model_, path, score, ratio = coefficients(here.log_w)
        model_, path, score = (c / energy.size for c in (model_, path, score))
        sampled_part = form(here, Coefficients(model_, path, score, ratio))
        analytic_part, values = jax.grad(mean_analytic, has_aux=True)(params)
        return energy + values, jax.tree.map(jnp.add, sampled_part, analytic_part)

    return checked(compute)


def _fixed_draws(sampled: Model, guide: Guide, params: Params, draws: Draws) -> Forward:
    return joint_fixed_draws(sampled, guide, params, draws)[0]


def _through_draws(sampled: Model, guide: Guide, params: Params, draws: Draws) -> Forward:
    return through_draws(lambda theta, z: model_log_joint(sampled, theta, draws.x, z), guide, params, draws)
