"""f-divergences of the posterior from the guide, from K self-normalised draws."""

import math

import jax
import jax.numpy as jnp

from vi_jax.bounds.csiszar import LogSpace
from vi_jax.bounds.derivatives import ClosedForm, omit_one_by_one, substitute_one_by_one, with_closed_form, with_shift
from vi_jax.bounds.power_means import check_log_weights
from vi_jax.names import name_of, named
from vi_jax.types import BoundFn


def f_divergence(f: LogSpace) -> BoundFn:
    """Makes the K-draw estimate of D_f(p(z | x) ‖ q) = E_q[f(p(z | x)/q)].

        L = (1/K) Σ_k f(u_k),   u_k = K w̃_k,   w̃ = softmax(log w)

    The mean of u over the draws is 1, so by Jensen every draw has 0 = f(1) ≤ L, and for a strictly convex f equality
    only where all weights are equal. Unchanged by a constant added to log p. Consistent as K grows; the self-normalised
    weights bias it by O(1/K), and of one draw it is 0. With `csiszar.kl_reverse` every draw is IWAE less the ELBO.

    To be minimised over φ: `estimators.minimized`. From a divergence θ learns nothing of the data, so give it a bound:

        estimators.split(theta=(bounds.iwae, e), phi=(bounds.f_divergence(f), estimators.minimized(e)))

    A draw of zero weight counts with f(0), and takes no part in the derivative where that is finite. Where f(0) = ∞ the
    value is ∞ if any weight is zero. If all of them are, the draws have met nothing of the posterior, and the value is
    ∞ for every f. A datum of value ∞ contributes a zero gradient.

    f must have a continuous derivative under `doubly_reparameterized`: for the total variation ½|u − 1| that estimator
    is biased, as it is for any bound with a kink; use `pathwise`, `vimco` or another with it. Price: O(K), with f's
    derivatives by automatic differentiation, one number at a time; baselines that replace or leave out a draw O(K²).

    Csiszár, "Information-type measures of difference of probability distributions" (1967); self-normalised draws of
    p/q as in Bornschein and Bengio, "Reweighted Wake-Sleep" (arXiv:1406.2751).

    Args:
      f: convex, f(1) = 0, as a function of log u: elementwise, twice differentiable, and f(0) at log u = −∞. `csiszar`
        has the usual ones.

    Returns:
      A function `[K, ...] -> [...]`, at least 0 to rounding, in the units of f (nats for the Kullback-Leibler ones).

    Raises:
      TypeError: `f` is not a function.
    """
    if not callable(f):
        raise TypeError(f"f must be a function of log u, such as bounds.csiszar.kl_forward, got {f!r}.")

    def bound(log_w: jax.Array) -> jax.Array:
        log_u, possible = _log_ratio(log_w)
        return jnp.where(possible, jnp.mean(f(log_u), axis=0), jnp.inf)

    with_shift(with_closed_form(bound, _closed_form(f, bound)))
    return named(bound, f"f_divergence({name_of(f)})")


def _log_ratio(log_w: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns log u = log w − log mean w, `[K, ...]`, −∞ where a weight is zero; and whether any is not, `[...]`."""
    check_log_weights(log_w)
    largest = jnp.max(log_w, axis=0)
    possible = ~jnp.isneginf(largest)
    relative = log_w - jnp.where(possible, largest, 0)
    log_mean = jax.nn.logsumexp(relative, axis=0) - math.log(log_w.shape[0])
    return relative - jnp.where(possible, log_mean, 0), possible


def _closed_form(f: LogSpace, bound: BoundFn) -> ClosedForm:
    """The closed forms, from ∂ℓ_k/∂log w_j = 1[k = j] − w̃_j with ℓ = log u.

        K a_j = g′_j − w̃_j S₁,   K h_j = (1 − 2w̃_j) g″_j − w̃_j (1 − w̃_j) S₁ + w̃_j² S₂

    Here g(ℓ) = f(e^ℓ), S₁ = Σ g′(ℓ_k) and S₂ = Σ g″(ℓ_k).
    """

    def terms(log_w: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """w̃, g′ and g″. A convex f that is finite at 0 has g′ → 0 there; so has the g″ of every f in use."""
        log_u, _ = _log_ratio(log_w)
        positive = ~jnp.isneginf(log_u)
        first, second = _two_derivatives(f, jnp.where(positive, log_u, 0))
        return jnp.exp(log_u) / log_w.shape[0], jnp.where(positive, first, 0), jnp.where(positive, second, 0)

    def gradient(log_w: jax.Array) -> jax.Array:
        weights, first, _ = terms(log_w)
        return (first - weights * jnp.sum(first, axis=0)) / log_w.shape[0]

    def path(log_w: jax.Array) -> jax.Array:
        weights, first, second = terms(log_w)
        s1, s2 = jnp.sum(first, axis=0), jnp.sum(second, axis=0)
        curvature = (1 - 2 * weights) * second - weights * (1 - weights) * s1 + weights**2 * s2
        return (first - weights * s1 - curvature) / log_w.shape[0]

    return ClosedForm(gradient, path, None, substitute_one_by_one(bound), omit_one_by_one(bound))


def _two_derivatives(f: LogSpace, log_u: jax.Array) -> tuple[jax.Array, jax.Array]:
    one = jnp.ones_like(log_u)

    def first(log_u: jax.Array) -> jax.Array:
        return jax.jvp(f, (log_u,), (one,))[1]

    return jax.jvp(first, (log_u,), (one,))
