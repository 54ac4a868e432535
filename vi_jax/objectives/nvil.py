"""NVIL: the score function of a single draw, made useful by a baseline that is learned beside it.

    φ̄ = [log w − C_ψ(x) − c] ∂_φ log q(z | x) / divisor

With C_ψ + c near the mean of log w, what is left is noise of its own size, and no longer that of the log-likelihood.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from vi_jax import checks
from vi_jax.lazy import optax
from vi_jax.log_weights import (
    batch_draws,
    check_inputs,
    check_problem,
    guide_log_prob,
    model_log_joint,
    sample_and_score,
)
from vi_jax.objectives.baselines import Baseline, Predictor, advance
from vi_jax.objectives.state import StatefulObjective
from vi_jax.types import Guide, Model, Params, PyTree


def at_least_one(deviation: jax.Array) -> jax.Array:
    """Returns max(1, deviation): signals that are wide are made of unit size, and small ones are left small."""
    return jnp.maximum(deviation, 1)


def nvil(
    model: Model,
    guide: Guide,
    predictor: Predictor,
    optimizer: "optax.GradientTransformation",
    *,
    num_samples: int = 1,
    divisor: Callable[[jax.Array], jax.Array] = at_least_one,
) -> StatefulObjective:
    """Makes the ELBO with the score-function gradient of φ, less a learned baseline, over a running deviation.

        values_b = (1/K) Σ_k log w_bk
        φ̄ = 1/(B K) Σ_bk [log w_bk − C_ψ(x_b) − c] ∂_φ log q_φ(z_bk | x_b) / divisor(√v)
        θ̄ = 1/(B K) Σ_bk ∂_θ log p_θ(x_b, z_bk)

    Needs one draw, where `leave_one_out` and `vimco` need two. ψ descends the squared error of its prediction, and c
    and v are running mean and variance of what is left of log w; all three depend on earlier draws alone, so that
    φ̄ · divisor(√v) is unbiased for ∇ELBO whatever they are. The paper updates c and v before it uses them, a bias of
    order 1/B. φ̄ itself is unbiased up to that factor, which is known and positive; `divisor=jnp.ones_like` makes it 1.
    Price: beside the plain score function's, one forward and backward pass through the predictor.

    Mnih and Gregor, "Neural Variational Inference and Learning in Belief Networks" (arXiv:1402.0030).

    Args:
      model: log p_θ(x, z).
      guide: q_φ(z | x), any.
      predictor: C_ψ, as `dense_predictor`, or `no_prediction` for c alone.
      optimizer: of ψ, which it descends; any optax transformation.
      num_samples: K ≥ 1 draws per datum, all with the same baseline.
      divisor: of φ̄, a function of √v.

    Returns:
      (key, params, x, baseline) -> (values `[B]` in nats, ascent direction, next baseline). Start from
      `start_baseline`. A datum with log w = −∞ has value −∞, a zero gradient, and teaches the baseline nothing; its θ̄
      is NaN where log p = −∞ has a derivative that is. Of any other log w that is not finite the gradient is NaN.

    Raises:
      TypeError, ValueError: K is not a positive integer; when called, as `value_and_grad`, or if the prediction is not
        one number per datum.
    """
    num_samples = checks.check_positive_int("num_samples", num_samples)

    @jax.jit
    def compute(key: jax.Array, params: Params, x: PyTree, baseline: Baseline) -> tuple[jax.Array, Params, Baseline]:
        check_problem(model, guide, params, x)
        z, _ = sample_and_score(guide, params.phi, batch_draws(key, x, jnp.arange(num_samples)))
        z = jax.lax.stop_gradient(z)

        def scores(params: Params) -> tuple[jax.Array, jax.Array]:
            return model_log_joint(model, params.theta, x, z), guide_log_prob(guide, params.phi, x, z)

        (log_p, log_q), pull = jax.vjp(scores, params)  # [B, K] each
        log_w = log_p - log_q
        left, after = advance(predictor, optimizer, baseline, x, log_w)
        # NaN is no impossible datum but an error: it stays in the gradient, where it is counted and stops a run.
        possible = jnp.all(log_w != -jnp.inf, axis=1, keepdims=True)
        score = jnp.where(possible, left / divisor(jnp.sqrt(baseline.variance)), 0) / log_w.size
        (gradient,) = pull((jnp.where(possible, 1 / log_w.size, jnp.zeros_like(log_p)), score))
        return jnp.mean(log_w, axis=1), gradient, after

    def objective(key: jax.Array, params: Params, x: PyTree, baseline: Baseline) -> tuple[jax.Array, Params, Baseline]:
        check_inputs(key, params, x)
        return compute(key, params, x, baseline)

    return objective
