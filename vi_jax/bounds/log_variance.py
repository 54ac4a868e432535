"""The log-variance divergence: half the variance of log w over the draws."""

import jax
import jax.numpy as jnp

from vi_jax.bounds.derivatives import ClosedForm, with_closed_form, with_shift
from vi_jax.bounds.others import sum_of_others
from vi_jax.bounds.power_means import check_log_weights


def log_variance(log_w: jax.Array) -> jax.Array:
    """Returns half the sample variance of log w.

        L = 1/(2(K−1)) Σ_k (log w_k − mean log w)²,   E[L] = ½ Var_q(log p(z | x) − log q(z | x))

    Unbiased at every K, at least 0, and 0 for every draw where q is the posterior; unchanged by a constant added to
    log p. To be minimised over φ by `estimators.minimized`, with a bound for θ by `estimators.split`, as `f_divergence`
    says.

    With the draws of q held fixed, its gradient in φ is minus RLOO's gradient of the ELBO, draw by draw: VarGrad, which
    is `estimators.leave_one_out` under `bounds.elbo`. The estimators of this bound follow the draws too, and so another
    gradient, that of E[L]. For a variance under some other distribution than q see `objectives.log_variance`.

    Richter, Boustati, Nüsken, Ruiz and Akyildiz, "VarGrad: A Low-Variance Gradient Estimator for Variational Inference"
    (arXiv:2010.10436).

    Args:
      log_w: `[K, ...]` log-weights in nats, K ≥ 2.

    Returns:
      `[...]` nats squared. Infinite where any log-weight is.

    Raises:
      TypeError: `log_w` is not floating point.
      ValueError: K < 2.
    """
    deviations, infinite = _deviations(log_w)
    return jnp.where(infinite, jnp.inf, jnp.sum(jnp.square(deviations), axis=0) / (2 * (log_w.shape[0] - 1)))


def _deviations(log_w: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns log w − mean log w, `[K, ...]`, and whether any log-weight is infinite, `[...]`: then it is no such."""
    check_log_weights(log_w)
    if log_w.shape[0] < 2:
        raise ValueError(f"log_variance is a variance over draws and needs num_samples ≥ 2, got {log_w.shape[0]}.")
    finite = _finite(log_w)
    # Twice, so that an offset of log p costs no digits.
    relative = finite - finite[:1]
    return relative - jnp.mean(relative, axis=0), jnp.any(jnp.isinf(log_w), axis=0)


def _finite(log_w: jax.Array) -> jax.Array:
    return jnp.where(jnp.isinf(log_w), 0, log_w)


def _gradient(log_w: jax.Array) -> jax.Array:
    return _deviations(log_w)[0] / (log_w.shape[0] - 1)


def _path(log_w: jax.Array) -> jax.Array:
    """h = 1/K for every draw."""
    return _gradient(log_w) - 1 / log_w.shape[0]


def _others(log_w: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns mean and sum of squared deviations of the draws other than k, each `[K, ...]`; ∞ as L is.

    Both in terms of deviations from the middle draw. Its distance from their mean is of the order of their spread at
    most, so that Σ d² − (Σ d)²/(K−1) does not cancel, even where the draw left out is far away.
    """
    finite = _finite(log_w)
    middle = jnp.sort(finite, axis=0)[log_w.shape[0] // 2]
    relative = finite - middle
    total = sum_of_others(relative)
    variation = sum_of_others(jnp.square(relative)) - jnp.square(total) / (log_w.shape[0] - 1)
    infinite = sum_of_others(jnp.isinf(log_w).astype(log_w.dtype)) > 0
    return middle + total / (log_w.shape[0] - 1), jnp.where(infinite, jnp.inf, variation)


def _substitute(log_w: jax.Array, replacement: jax.Array) -> jax.Array:
    """A draw at b adds (K−1)/K (b − mean of the others)² to their sum of squares."""
    mean, variation = _others(log_w)
    size = log_w.shape[0]
    return (variation + (1 - 1 / size) * jnp.square(replacement - mean)) / (2 * (size - 1))


def _omit(log_w: jax.Array) -> jax.Array:
    if log_w.shape[0] < 3:
        raise ValueError(
            "log_variance of two draws is undefined without one: leave_one_out needs num_samples ≥ 3 here. Use vimco."
        )
    return _others(log_w)[1] / (2 * (log_w.shape[0] - 2))


with_shift(with_closed_form(log_variance, ClosedForm(_gradient, _path, None, _substitute, _omit)))
