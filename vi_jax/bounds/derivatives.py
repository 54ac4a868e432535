"""What is known of a bound beyond its value: closed forms where it carries them, automatic differentiation elsewhere.

Write a = ∇L and h = diag ∇²L, both with respect to log w.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vi_jax.types import BoundFn


class ClosedForm(NamedTuple):
    """What a bound says of itself.

    Attributes:
      gradient: `log_w -> a`, `[K, ...]`.
      path: `log_w -> a − h`, `[K, ...]`. None where a jumps: then the score term cannot be reparameterized.
      ratio: `log_w -> 1 − h/a`, `[K, ...]`, bounded, and no quotient that could read 0/0; the Python float 1.0 where
        a does not depend on log w. None where no such form is known; it costs a second backward pass.
      substitute: `(log_w, replacement) -> [K, ...]`, L with log w_k replaced by replacement_k, for every k.
      omit: `log_w -> [K, ...]`, L on the K−1 draws other than k, for every k.
    """

    gradient: Callable[[jax.Array], jax.Array]
    path: Callable[[jax.Array], jax.Array] | None
    ratio: Callable[[jax.Array], jax.Array] | float | None
    substitute: Callable[[jax.Array, jax.Array], jax.Array]
    omit: Callable[[jax.Array], jax.Array]


def with_closed_form(bound: BoundFn, form: ClosedForm) -> BoundFn:
    """Returns the bound, which from now on carries the closed forms. They must be right: nothing checks them."""
    vars(bound).update(closed_form=form)
    return bound


def with_shift(bound: BoundFn) -> BoundFn:
    """Returns the bound, which from now on says that a constant in all log-weights moves it by a constant.

        L(log w + c) = L(log w) + f(c):   f(c) = c for a bound on log p(x), 0 for a divergence

    Baselines then centre the log-weights first, which keeps their digits in float32. It must be right: nothing checks.
    """
    vars(bound).update(shifts=True)
    return bound


def closed_form(bound: BoundFn) -> ClosedForm | None:
    """Returns the closed forms that `bound` carries, or None for a plain function."""
    return getattr(bound, "closed_form", None)


def is_linear(bound: BoundFn) -> bool:
    """Whether L is known to be linear in log w: a = ∇L constant, so that Σ_k a_k ∂_φ log q(z_k) has mean zero."""
    form = closed_form(bound)
    return form is not None and type(form.ratio) is float


def centred(bound: BoundFn, log_w: jax.Array, axis: int | tuple[int, ...] = 0) -> jax.Array:
    """Moves the largest log-weight along `axis` to 0, where that provably leaves differences of L as they are.

    L − L₋ₖ is of order 1/K while both terms are of the order of log p(x): in float32 an uncentred difference has lost
    its digits at |log p(x)| ≈ 10⁴ and K ≈ 10³. Of a bound that does not say so (`with_shift`) nothing is proved.
    """
    if not getattr(bound, "shifts", False):
        return log_w
    largest = jnp.max(log_w, axis=axis, keepdims=True)
    return log_w - jnp.where(jnp.isfinite(largest), largest, 0)


def gradient(bound: BoundFn) -> Callable[[jax.Array], jax.Array]:
    """Returns `log_w -> a = ∇L`, `[K, ...]`: in closed form if the bound has one, else by automatic differentiation."""
    form = closed_form(bound)
    return form.gradient if form else jax.grad(lambda log_w: jnp.sum(bound(log_w)))


def substitute(bound: BoundFn) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Returns `(log_w, replacement) -> L with log w_k replaced`, `[K, ...]`. Without a closed form O(K²) time."""
    form = closed_form(bound)
    return form.substitute if form else substitute_one_by_one(bound)


def omit(bound: BoundFn) -> Callable[[jax.Array], jax.Array]:
    """Returns `log_w -> L on the K−1 draws other than k`, `[K, ...]`. Without a closed form O(K²) time."""
    form = closed_form(bound)
    return form.omit if form else omit_one_by_one(bound)


def substitute_one_by_one(bound: BoundFn) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """`substitute` of a plain function: one evaluation per draw."""

    def substituted(log_w: jax.Array, replacement: jax.Array) -> jax.Array:
        return jax.lax.map(lambda k: bound(log_w.at[k].set(replacement[k])), jnp.arange(log_w.shape[0]))

    return substituted


def omit_one_by_one(bound: BoundFn) -> Callable[[jax.Array], jax.Array]:
    """`omit` of a plain function: one evaluation per draw."""

    def without(log_w: jax.Array) -> jax.Array:
        keep = jnp.arange(log_w.shape[0] - 1)
        return jax.lax.map(lambda k: bound(log_w[jnp.where(keep < k, keep, keep + 1)]), jnp.arange(log_w.shape[0]))

    return without
