"""Rules to stop by: is the objective still moving, are the iterates? Functions of a history, arrays in, arrays out.

The rules of MCMC apply because stochastic gradient ascent at a fixed learning rate is a Markov chain: it drifts towards
the optimum, and then moves about it. What is averaged there is closer to the optimum than any iterate.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vi_jax.checks import check_positive_int


class RelativeChange(NamedTuple):
    """Mean and median `[...]` of the last relative changes of a series."""

    mean: jax.Array
    median: jax.Array


def relative_change(values: jax.Array, *, window: int) -> RelativeChange:
    """Returns how much a series still moves: the mean and the median of its last W relative changes.

        δ_t = |(L_t − L_{t−1}) / L_{t−1}|

    ADVI in Stan stops when either is below 0.01 (Kucukelbir et al., arXiv:1603.00788). Give it means over blocks or
    evaluations with many draws, not single steps: of two noisy values δ measures the noise. Its price is that noise
    and the scale of L: where |L| is large because of a constant, the rule stops early; where L passes 0, it does not
    stop. Infinite or NaN values of L make both NaN, which is below nothing.

    Args:
      values: `[..., T]` in nats, T > W.
      window: W ≥ 1.

    Raises:
      TypeError, ValueError: W is not a positive integer, or there are not more than W values.
    """
    window = check_positive_int("window", window)
    if values.shape[-1] <= window:
        raise ValueError(f"window = {window} changes need {window + 1} values, got {values.shape[-1]}: wait for more.")
    last = values[..., -window - 1 :]
    changes = jnp.abs(jnp.diff(last, axis=-1) / last[..., :-1])
    # A median would pass over one infinite change, and call a series that has just diverged still.
    changes = jnp.where(jnp.all(jnp.isfinite(last), axis=-1, keepdims=True), changes, jnp.nan)
    return RelativeChange(jnp.mean(changes, axis=-1), jnp.median(changes, axis=-1))


def split_r_hat(iterates: jax.Array) -> jax.Array:
    """Returns split-R̂ `[...]` of C chains of T iterates: 1 where halves of chains cannot be told apart.

        R̂² = (n − 1)/n + B/W,   2C halves of n = ⌊T/2⌋ iterates

    with W the mean of the variances within halves and B the variance of their means. Runs from
    different starts or seeds that are still on their way have R̂ well above 1; one chain, split, sees its own drift.
    Gelman et al., Bayesian Data Analysis (3rd ed., 2013), section 11.4; Vehtari et al. 2021 (arXiv:1903.08008). NaN
    for a constant; of an odd T the first iterate is left out.

    Args:
      iterates: `[C, T, ...]`, T ≥ 4.

    Raises:
      ValueError: fewer than two axes, or fewer than 4 iterates.
    """
    halves = _halves(iterates)
    n = halves.shape[1]
    within = jnp.mean(jnp.var(halves, axis=1, ddof=1), axis=0)
    between = jnp.var(jnp.mean(halves, axis=1), axis=0, ddof=1)
    return _unless_constant(halves, jnp.sqrt((n - 1) / n + between / within))


def effective_sample_size(iterates: jax.Array) -> jax.Array:
    """Returns how many independent iterates would give their mean the same variance, `[...]`, at most 2C n log₁₀(2C n).

        S_eff = 2C n / (1 + 2 Σ_t ρ_t)

    for 2C halves of n iterates. ρ_t, the autocorrelation at lag t, is 1 − (W − mean autocovariance at t)/V with V the
    variance over all halves, so that halves that disagree count as correlated. The sum is cut by Geyer's rule: pairs
    ρ_2t + ρ_2t+1 are made non-increasing and summed as long as they are positive. Vehtari et al. 2021
    (arXiv:1903.08008), section 3.2, as in Stan. NaN for a constant.

    Args:
      iterates: `[C, T, ...]`, T ≥ 4.

    Raises:
      ValueError: fewer than two axes, or fewer than 4 iterates.
    """
    halves = _halves(iterates)
    m, n = halves.shape[:2]
    covariance = jnp.mean(_autocovariance(halves), axis=0)
    within = covariance[0] * n / (n - 1)
    total = covariance[0] + jnp.var(jnp.mean(halves, axis=1), axis=0, ddof=1)
    correlation = (1 - (within - covariance) / total).at[0].set(1.0)
    pairs = correlation[: n // 2 * 2].reshape(n // 2, 2, *correlation.shape[1:]).sum(axis=1)
    kept = jnp.cumprod(pairs > 0, axis=0)
    time = 2 * jnp.sum(kept * jax.lax.cummin(pairs, axis=0), axis=0) - 1
    return _unless_constant(halves, m * n / jnp.maximum(time, 1 / jnp.log10(m * n)))


def standard_error_of_average(iterates: jax.Array) -> jax.Array:
    """Returns the Monte Carlo standard error (MCSE) `[...]` of the average of all iterates.

        MCSE = √(V / S_eff)

    V is the variance over all halves of chains, S_eff `effective_sample_size`. Vehtari et al. 2021 (arXiv:1903.08008).

    Args:
      iterates: `[C, T, ...]`, T ≥ 4.

    Raises:
      ValueError: fewer than two axes, or fewer than 4 iterates.
    """
    halves = _halves(iterates)
    variance = jnp.mean(jnp.var(halves, axis=1), axis=0) + jnp.var(jnp.mean(halves, axis=1), axis=0, ddof=1)
    return jnp.sqrt(variance / effective_sample_size(iterates))


class Settled(NamedTuple):
    """Where the iterates are, and whether it is known well enough.

    Attributes:
      average: `[...]`, the mean over chains and iterates: what to keep instead of the last iterate.
      r_hat: the largest split-R̂ of any coordinate.
      standard_error: the largest MCSE of any coordinate of `average`.
      stop: whether both are below their limits.
    """

    average: jax.Array
    r_hat: jax.Array
    standard_error: jax.Array
    stop: jax.Array


def settled(iterates: jax.Array, *, largest_r_hat: float = 1.1, largest_standard_error: float = 0.02) -> Settled:
    """Averages the iterates of a window, and says whether to stop: R̂ < 1.1 and MCSE < 0.02 in every coordinate.

    Dhaka et al. 2020 (arXiv:2009.00666): R̂ says that the chains have reached the stationary law, after which averaging
    begins, and MCSE that the average is known, at a fixed learning rate; Welandawe et al. 2022 (arXiv:2203.15945)
    repeat it at ever smaller rates. MCSE has the units of the parameter: 0.02 suits locations and log-scales of
    standardised latents, not the weights of a network. Constant coordinates are left out.

    C chains are mapped seeds, and iterates come from `fit(..., evaluate=lambda key, params: flat parameters)`:

        settled(history.evaluations.value[:, -100:])

    Args:
      iterates: `[C, T, ...]`, the window to judge, T ≥ 4.
      largest_r_hat: above 1.
      largest_standard_error: above 0, in units of the parameters.

    Raises:
      ValueError: fewer than two axes, fewer than 4 iterates, or a limit that cannot be met.
    """
    if not (largest_r_hat > 1 and largest_standard_error > 0):
        raise ValueError(
            f"no chain has R̂ < {largest_r_hat} and MCSE < {largest_standard_error}: give limits above 1 and above 0."
        )
    r_hat, error = (jnp.nanmax(rule(iterates)) for rule in (split_r_hat, standard_error_of_average))
    finite = jnp.all(jnp.isfinite(iterates))
    stop = finite & (r_hat < largest_r_hat) & (error < largest_standard_error)
    return Settled(jnp.mean(iterates, axis=(0, 1)), r_hat, error, stop)


def _halves(iterates: jax.Array) -> jax.Array:
    """`[C, T, ...]` to `[2C, T // 2, ...]`."""
    if jnp.ndim(iterates) < 2 or iterates.shape[1] < 4:
        raise ValueError(
            f"iterates must be [C, T, ...] with T ≥ 4, got shape {jnp.shape(iterates)}: one chain is x[None]."
        )
    chains, length = iterates.shape[0], iterates.shape[1] // 2
    return iterates[:, -2 * length :].reshape(2 * chains, length, *iterates.shape[2:])


def _unless_constant(halves: jax.Array, found: jax.Array) -> jax.Array:
    """NaN where all iterates are equal: what their rounding errors say is nothing."""
    return jnp.where(jnp.max(halves, axis=(0, 1)) == jnp.min(halves, axis=(0, 1)), jnp.nan, found)


def _autocovariance(chains: jax.Array) -> jax.Array:
    """`[C, n, ...]` to the autocovariances at every lag, each a sum over n − t products divided by n."""
    n = chains.shape[1]
    transform = jnp.fft.rfft(chains - jnp.mean(chains, axis=1, keepdims=True), n=2 * n, axis=1)
    return jnp.fft.irfft(jnp.abs(transform) ** 2, n=2 * n, axis=1)[:, :n] / n
