"""The multiply importance-weighted bound: a mean over groups of draws."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from vi_jax import checks
from vi_jax.bounds.derivatives import ClosedForm, with_closed_form, with_shift
from vi_jax.bounds.others import sum_of_others
from vi_jax.bounds.power_means import check_log_weights, iwae, normalized_weights
from vi_jax.names import named
from vi_jax.types import BoundFn


def miwae(num_groups: int) -> BoundFn:
    """Makes the mean of M importance-weighted bounds, each of K/M draws.

        L = (1/M) Σ_m log (M/K) Σ_{k in group m} w_k,   E[L] = E[IWAE_{K/M}] ≤ log p(x)

    Group m holds the draws m K/M, …, (m + 1) K/M − 1. M = 1 is IWAE, M = K the ELBO. The signal-to-noise ratio of the
    pathwise φ̄ goes like √(M/(K/M)): groups buy back what more draws in one group cost.

    Rainforth et al., "Tighter Variational Bounds are Not Necessarily Better" (arXiv:1802.04537).

    Args:
      num_groups: M ≥ 1; K, the number of all draws, must be a multiple of it.

    Returns:
      A bound, `[K, ...] -> [...]` nats. Minus infinity where every weight of some group is zero.

    Raises:
      TypeError, ValueError: M is not a positive integer. When called: M does not divide K.
    """
    num_groups = checks.check_positive_int("num_groups", num_groups)

    def split(log_w: jax.Array) -> jax.Array:
        """`[K, ...]` -> `[K/M, M, ...]`: draws in front, as every bound wants them."""
        check_log_weights(log_w)
        if log_w.shape[0] % num_groups:
            raise ValueError(
                f"miwae({num_groups}) needs num_samples to be a multiple of {num_groups}, got {log_w.shape[0]}: take "
                f"{-(-log_w.shape[0] // num_groups) * num_groups}, or another number of groups."
            )
        return jnp.swapaxes(log_w.reshape(num_groups, -1, *log_w.shape[1:]), 0, 1)

    def bound(log_w: jax.Array) -> jax.Array:
        return jnp.mean(iwae(split(log_w)), axis=0)

    return named(with_shift(with_closed_form(bound, _closed_form(num_groups, split))), f"miwae({num_groups})")


def _closed_form(num_groups: int, split: Callable[[jax.Array], jax.Array]) -> ClosedForm:
    """With g the softmax within a group: a = g/M, h = (g − g²)/M, so 1 − h/a = g."""
    form = getattr(iwae, "closed_form")  # noqa: B009 - a function's attribute, unknown to the type checker

    def join(grouped: jax.Array) -> jax.Array:
        return jnp.swapaxes(grouped, 0, 1).reshape(-1, *grouped.shape[2:])

    def ratio(log_w: jax.Array) -> jax.Array:
        return join(normalized_weights(split(log_w)))

    def with_the_other_groups(log_w: jax.Array, own: jax.Array) -> jax.Array:
        # Not through L + (new − old)/M: a group of zero weight would make that −∞ + ∞.
        return join(sum_of_others(iwae(split(log_w))) + own) / num_groups

    def substitute(log_w: jax.Array, replacement: jax.Array) -> jax.Array:
        return with_the_other_groups(log_w, form.substitute(split(log_w), split(replacement)))

    def omit(log_w: jax.Array) -> jax.Array:
        if log_w.shape[0] == num_groups:
            raise ValueError(
                f"miwae({num_groups}) of {num_groups} draws has one draw per group, and is undefined without it: "
                "leave_one_out needs two. Use vimco or vimco_arithmetic, or bounds.elbo, which this is."
            )
        return with_the_other_groups(log_w, form.omit(split(log_w)))

    return ClosedForm(
        gradient=lambda log_w: ratio(log_w) / num_groups,
        path=lambda log_w: ratio(log_w) ** 2 / num_groups,
        ratio=ratio,
        substitute=substitute,
        omit=omit,
    )
