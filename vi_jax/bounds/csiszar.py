"""Convex functions f with f(1) = 0, each written as a function of log u: what `bounds.f_divergence` takes.

    D_f(p ‖ q) = E_q[f(p/q)],   u = p/q

A multiple of u − 1 added to f changes nothing, since E_q[u] = 1; the `self_normalized` forms of TFP differ from these
by such a multiple. Each is elementwise, and says at log u = −∞ what f(0) is.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from vi_jax.names import named

LogSpace = Callable[[jax.Array], jax.Array]
"""f, as log u -> f(u), elementwise."""


def kl_reverse(log_u: jax.Array) -> jax.Array:
    """f(u) = −log u: D_f = KL(q ‖ p), which q minimises by leaving modes out. f(0) = ∞. In TFP `kl_reverse`."""
    return -log_u


def kl_forward(log_u: jax.Array) -> jax.Array:
    """f(u) = u log u: D_f = KL(p ‖ q), which q minimises by covering every mode. f(0) = 0. In TFP `kl_forward`."""
    return jnp.exp(log_u) * jnp.where(jnp.isneginf(log_u), 0, log_u)


def chi_square(log_u: jax.Array) -> jax.Array:
    """f(u) = u² − 1: D_f = χ²(p ‖ q) = Var_q(p/q), more covering than the forward KL. f(0) = −1. In TFP `chi_square`.

    Of K self-normalised draws its mean is K/ESS − 1, with ESS = 1/Σ w̃² the effective sample size.
    """
    return jnp.expm1(2 * log_u)


def squared_hellinger(log_u: jax.Array) -> jax.Array:
    """f(u) = (√u − 1)²: D_f = ∫ (√p − √q)² ≤ 2, the same for p and q exchanged. f(0) = 1. In TFP `squared_hellinger`.

    Without the factor ½ that some authors put.
    """
    return jnp.square(jnp.expm1(log_u / 2))


def jensen_shannon(log_u: jax.Array) -> jax.Array:
    """f(u) = u log u − (1 + u) log((1 + u)/2): D_f = KL(p ‖ m) + KL(q ‖ m) with m = (p + q)/2, at most 2 log 2.

    Twice the Jensen-Shannon divergence as its authors scale it; the same for p and q exchanged. f(0) = log 2. In TFP
    `jensen_shannon` with `self_normalized=True`.
    """
    above_half = jax.nn.softplus(log_u) - math.log(2)
    return kl_forward(log_u) - (1 + jnp.exp(log_u)) * above_half


def amari_alpha(alpha: float) -> LogSpace:
    """Makes f(u) = (u^α − 1)/(α (α − 1)), of which the limits are `kl_reverse` at α = 0 and `kl_forward` at α = 1.

        D_f = (E_q[u^α] − 1)/(α (α − 1)),   half of χ² at α = 2, twice the squared Hellinger distance at α = ½

    For α ≥ ½ it is (u^α − u)/(α (α − 1)), which differs by a multiple of u − 1 and keeps its digits near α = 1. f(0) is
    finite for α > 0. For α < 0 the moment E_q[(q/p)^{|α|}] may be infinite where q has the wider tails, whatever K
    draws say. In TFP `amari_alpha`.

    Args:
      alpha: a finite Python number. Below 1 the divergence lets q leave modes out, above it makes q cover them.

    Returns:
      log u -> f(u), elementwise.

    Raises:
      ValueError: `alpha` is not finite.
    """
    if not math.isfinite(alpha):
        raise ValueError(f"alpha must be a finite number, got {alpha!r}.")
    if alpha in (0, 1):
        return kl_forward if alpha else kl_reverse

    def near_reverse(log_u: jax.Array) -> jax.Array:
        return jnp.expm1(alpha * log_u) / (alpha * (alpha - 1))

    def near_forward(log_u: jax.Array) -> jax.Array:
        # The smaller power of u is taken out, so that what is left is bounded for u → 0.
        power, gap = min(alpha, 1), abs(alpha - 1)
        return jnp.exp(power * log_u) * jnp.expm1(gap * log_u) / (alpha * gap)

    return named(near_reverse if alpha < 0.5 else near_forward, f"amari_alpha({alpha:g})")
