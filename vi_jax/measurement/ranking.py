"""Which of several gradients buys the most signal per second, and which of the others cannot be told from it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vi_jax.measurement import jackknife
from vi_jax.measurement.jackknife import Estimate
from vi_jax.measurement.moments import Moments


class Signals(NamedTuple):
    """Directional signal-to-noise ratios of C gradients, E ⟨g, u⟩ / sd ⟨g, u⟩, all measured on the same draws.

    Attributes:
      snr: `[C]`, signed: a gradient that points the other way has a negative one.
      without: `[C, G]`, the same with each group of replicates left out.
      count: `[G]` replicates in each group.
      direction: `[C]`, which of several directions u a gradient is measured along: integers.
      direction_error: `[C]`, relative standard error of ⟨·, u⟩ that all gradients along one u share.
    """

    snr: np.ndarray
    without: np.ndarray
    count: np.ndarray
    direction: np.ndarray
    direction_error: np.ndarray


class Ranking(NamedTuple):
    """What there is to choose from.

    Attributes:
      per_second: `Estimate` of `[C]`, SNR² / seconds; its interval is that of the signal.
      best: the index of the largest, −1 if none has a signal.
      resolved: whether the signal of the best is resolved from zero.
      tied: `[C]`, what cannot be told from the best; the best itself is not among them.
    """

    per_second: Estimate
    best: int
    resolved: bool
    tied: np.ndarray


def rank(signals: Signals, seconds: np.ndarray, *, tolerance: float = 0.1) -> Ranking:
    """Returns who has the most SNR² per second, and who may have as much.

        2 log(SNR_best / SNR_c) − log(s_best / s_c)  ≤  2 t se + log(1 + tolerance),   se by the jackknife

    says that c cannot be told from the best. The difference is paired, as all signals come from the same draws; two
    directions have errors of their own, which add. A gradient whose own interval lies below the best one's is told from
    it in any case. An average of n gradients has n SNR² for n seconds: so the rate does not depend on how many are
    bought, and a budget for a step is spent best on the highest rate that fits in.

    Args:
      signals: of C gradients.
      seconds: `[C]`, what one of each costs, in any unit of cost: seconds, or operations. NaN leaves it out.
      tolerance: by what factor less 1 two costs may differ and still be the same: clocks are not better than that.
    """
    none = np.zeros(len(seconds), bool)
    nothing = Ranking(Estimate(*jnp.zeros((3, len(seconds)))), best=-1, resolved=False, tied=none)
    if not len(seconds):
        return nothing
    quantile = jackknife.quantile(jnp.asarray(signals.count))
    snr = np.where(np.isnan(seconds), np.nan, signals.snr)
    own = _standard_errors(snr, signals.without, signals.count)
    reach = quantile * np.hypot(own, np.abs(snr) * signals.direction_error)
    value, low, high = (np.maximum(end, 0.0) ** 2 / seconds for end in (snr, snr - reach, snr + reach))
    rate = Estimate(*map(jnp.asarray, (value, low, high)))
    if not np.any(np.nan_to_num(value) > 0):
        return nothing._replace(per_second=rate)
    best = int(np.nanargmax(value))
    apart, without = _log_ratio(snr[best], snr), _log_ratio(signals.without[best], signals.without)
    paired = _standard_errors(apart, without, signals.count)
    other = signals.direction != signals.direction[best]
    paired = np.hypot(paired, other * np.hypot(signals.direction_error, signals.direction_error[best]))
    # Where a ratio is not known, intervals alone decide.
    near = ~(2 * apart - np.log(seconds[best] / seconds) > 2 * quantile * paired + np.log1p(tolerance))
    overlap = high * (1 + tolerance) >= low[best]
    return Ranking(rate, best, bool(low[best] > 0), near & overlap & (np.arange(len(snr)) != best))


def signal_to_noise(along: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean/sd `[C]`, and with each group left out `[C, G]`, of grouped moments `[G, C]`.

        SNR² = max(0, ḡ²/s² − 1/n),   E ḡ² = (E g)² + s²/n

    with the sign of ḡ.
    """
    count, mean, m2 = (np.asarray(leaf, np.float64) for leaf in along)
    groups = np.eye(len(count), dtype=bool)
    kept = np.concatenate([np.ones((1, len(count)), bool), ~groups])

    def ratio(keep: np.ndarray) -> np.ndarray:
        n = count[keep].sum()
        whole = count[keep] @ mean[keep] / n
        scatter = m2[keep].sum(axis=0) + count[keep] @ (mean[keep] - whole) ** 2
        square = whole**2 * (n - 1) / scatter - 1 / n
        return np.sign(whole) * np.sqrt(np.maximum(square, 0.0))

    with np.errstate(divide="ignore", invalid="ignore"):
        whole, *without = (ratio(keep) for keep in kept)
    return whole, np.stack(without, axis=1)


def _standard_errors(whole: np.ndarray, without: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Of C statistics; infinite where one is not finite."""
    every = jax.vmap(jackknife.standard_error, in_axes=(0, 0, None))
    return np.asarray(every(jnp.asarray(whole), jnp.asarray(without), jnp.asarray(count)))


def _log_ratio(best: np.ndarray, snr: np.ndarray) -> np.ndarray:
    """log (best / snr); NaN where one of them is no signal."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(np.maximum(best, 0.0)) - np.log(np.maximum(snr, 0.0))
