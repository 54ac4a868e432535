"""The jackknife: IWAE with its leading bias taken out by leaving draws out."""

import functools
import math

import jax
import jax.numpy as jnp

from vi_jax import checks
from vi_jax.bounds.derivatives import with_shift
from vi_jax.bounds.others import log_sum_of_others
from vi_jax.bounds.power_means import check_log_weights
from vi_jax.names import named
from vi_jax.types import BoundFn

_FLOOR = -1e30


def jackknife(order: int) -> BoundFn:
    """Makes the generalised jackknife of IWAE, of which the bias falls like K^−(m+1).

        L = Σ_{j=0}^m c_j · mean over all S of K − j draws of log (1/|S|) Σ_{k in S} w_k
        c_j = (−1)^j (K − j)^m / ((m − j)! j!),   Σ_j c_j = 1

    It is an estimate of log p(x), and no bound: it may lie above. Each log-mean is taken relative to that of all draws,
    so that what cancels between the terms is small; at order 2 an error of 10⁻⁷ K nats remains in float32, and of
    10⁻⁷ K² at order 3. Price: K^m terms, in time and in memory; its derivatives are automatic, and for
    `doubly_reparameterized` cost K times as much.

    Nowozin, "Debiasing Evidence Approximations: On Importance-weighted Autoencoders and Jackknife Variational
    Inference" (ICLR 2018).

    Args:
      order: m ≥ 1; 0 would be IWAE.

    Returns:
      A function `[K, ...] -> [...]` nats, K > m. Minus infinity where no more than m weights are above zero: some mean
      is then one of nothing.

    Raises:
      TypeError, ValueError: m is not a positive integer. When called: K ≤ m.
    """
    order = checks.check_positive_int("order", order)

    def bound(log_w: jax.Array) -> jax.Array:
        check_log_weights(log_w)
        size = log_w.shape[0]
        if size <= order:
            raise ValueError(
                f"jackknife({order}) leaves {order} draws out and needs num_samples > {order}, got {size}."
            )
        enough = jnp.sum(log_w > -jnp.inf, axis=0) > order
        # An offset of log p is added back at the end, and costs the differences no digits.
        offset = jax.lax.stop_gradient(jnp.max(log_w, axis=0))
        offset = jnp.where(jnp.isfinite(offset), offset, 0)
        log_w = log_w - offset
        whole = jax.nn.logsumexp(jnp.where(enough, log_w, 0), axis=0)
        # A floor that is finite, so that log-sums of zeros have a derivative; no subset consists of nothing else.
        relative = jnp.maximum(jnp.where(enough, log_w, 0) - whole, _FLOOR)
        nothing = jnp.zeros(log_w.shape, bool)
        corrections = (
            _coefficient(size, order, j) * (_mean_without(relative, nothing, j) + math.log(size / (size - j)))
            for j in range(1, order + 1)
        )
        total = functools.reduce(jnp.add, corrections, whole - math.log(size))
        return jnp.where(enough, total + offset, -jnp.inf)

    return named(with_shift(bound), f"jackknife({order})")


def _coefficient(size: int, order: int, j: int) -> float:
    return (-1) ** j * (size - j) ** order / (math.factorial(order - j) * math.factorial(j))


def _mean_without(relative: jax.Array, out: jax.Array, j: int) -> jax.Array:
    """Returns the mean of log Σ_S w̃ over all ways to leave out j more draws than are `out` already, `[...]`."""
    if j == 1:
        each = _log_rest(relative, out)
    else:
        draws = jnp.arange(relative.shape[0])
        column = draws.reshape(-1, *(1,) * (relative.ndim - 1))
        each = jax.vmap(lambda k: _mean_without(relative, out | (column == k), j - 1))(draws)
    # A draw that is out already cannot be left out again.
    return jnp.sum(jnp.where(out, 0, each), axis=0) / jnp.sum(~out, axis=0)


def _log_rest(relative: jax.Array, out: jax.Array) -> jax.Array:
    """Returns log Σ w̃ over all draws but draw k and those that are out, `[K, ...]`; Σ w̃ over all is one.

    By log1p(−Σ left out) where little is left out, which keeps the digits of a small difference from 0, and by the sum
    of the rest where much is.
    """
    weights = jnp.exp(relative)
    left_out = jnp.sum(jnp.where(out, weights, 0), axis=0) + weights
    little = left_out < 0.5
    rest = log_sum_of_others(jnp.where(out, _FLOOR, relative))
    return jnp.where(little, jnp.log1p(-jnp.where(little, left_out, 0)), rest)
