"""The combined importance-weighted bound: between the ELBO and IWAE."""

import jax

from vi_jax.bounds.derivatives import ClosedForm, closed_form, with_closed_form, with_shift
from vi_jax.bounds.power_means import elbo, iwae, normalized_weights
from vi_jax.names import named
from vi_jax.types import BoundFn


def ciwae(beta: float) -> BoundFn:
    """Makes the convex combination of ELBO and IWAE.

        L = β (1/K) Σ_k log w_k + (1 − β) log (1/K) Σ_k w_k,   E[L] ≤ log p(x)

    Rainforth et al., "Tighter Variational Bounds are Not Necessarily Better" (arXiv:1802.04537).

    Args:
      beta: β in [0, 1]. 0 is IWAE and 1 the ELBO, themselves.

    Returns:
      A bound, `[K, ...] -> [...]` nats. For β > 0 it is minus infinity where any weight is zero.

    Raises:
      ValueError: β lies outside [0, 1].
    """
    if not 0 <= beta <= 1:
        raise ValueError(f"beta must lie in [0, 1], 1 for the ELBO and 0 for IWAE, got {beta!r}.")
    if beta in (0, 1):
        return elbo if beta else iwae

    def bound(log_w: jax.Array) -> jax.Array:
        return beta * elbo(log_w) + (1 - beta) * iwae(log_w)

    return named(with_shift(with_closed_form(bound, _closed_form(float(beta)))), f"ciwae({beta:g})")


def _closed_form(beta: float) -> ClosedForm:
    """a = β/K + (1 − β) w̃ and h = (1 − β)(w̃ − w̃²), so a − h = β/K + (1 − β) w̃²."""
    of_elbo, of_iwae = closed_form(elbo), closed_form(iwae)
    assert of_elbo is not None, "the ELBO has closed forms"
    assert of_iwae is not None, "IWAE has closed forms"

    def gradient(log_w: jax.Array) -> jax.Array:
        return beta / log_w.shape[0] + (1 - beta) * normalized_weights(log_w)

    def path(log_w: jax.Array) -> jax.Array:
        return beta / log_w.shape[0] + (1 - beta) * normalized_weights(log_w) ** 2

    return ClosedForm(
        gradient=gradient,
        path=path,
        # A quotient, but one whose denominator is at least β/K.
        ratio=lambda log_w: path(log_w) / gradient(log_w),
        substitute=lambda log_w, b: beta * of_elbo.substitute(log_w, b) + (1 - beta) * of_iwae.substitute(log_w, b),
        omit=lambda log_w: beta * of_elbo.omit(log_w) + (1 - beta) * of_iwae.omit(log_w),
    )
