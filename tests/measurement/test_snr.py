"""Variance and signal-to-noise against the raw draws, against truth, and against their own promise of 95 %."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vi_jax.measurement import moments as M
from vi_jax.measurement.snr import (
    coordinate_snr,
    coordinate_snr_floor,
    gradient_snr,
    gradient_variance,
    signal_to_noise,
    total_variance,
)
from vi_jax.types import Params

KEY = jax.random.key(11)
GROUPS = 20


def grouped(draws, num_groups=GROUPS):
    """Draws `[R, ...]`, replicate r in group r mod G, as moments."""
    by_group = jax.tree.map(lambda leaf: leaf.reshape(-1, num_groups, *leaf.shape[1:]), draws)
    empty = M.init(jax.tree.map(lambda leaf: leaf[0], draws))
    return jax.vmap(M.update, in_axes=(None, 1))(empty, by_group)


def oracle(draws, num_groups):
    """Both estimates in float64 from the draws themselves, each leave-out recomputed from what is left."""
    draws = np.asarray(draws, np.float64)
    n, t = len(draws), stats.t.ppf(0.975, num_groups - 1)
    rest = [np.delete(draws, np.s_[g::num_groups], axis=0) for g in range(num_groups)]

    def error(statistic):
        terms = [(n / (n - len(r)) - 1) * (statistic(r) - statistic(draws)) ** 2 for r in rest]
        return np.sqrt(np.mean(terms))

    def total(d):
        return d.var(0, ddof=1).sum()

    v, mean = total(draws), draws.mean(0)
    factor = np.exp(t * error(lambda d: np.log(total(d))))
    direction = mean / np.linalg.norm(mean)
    y = np.sqrt(n / v) * np.linalg.norm(mean)
    reach = t * error(lambda d: np.sqrt(n / total(d)) * d.mean(0) @ direction)
    share = min(1.0, n * error(lambda d: d.mean(0) @ direction) ** 2 / v)
    squares = [y**2 - 1, max(y - reach, 0) ** 2 - 1 + share, (max(y, np.sqrt(1 - share)) + reach) ** 2 - 1 + share]
    return (v, v / factor, v * factor), np.sqrt(np.maximum(squares, 0) / n)


@pytest.mark.parametrize("shift", [0.0, 0.2, 30.0])
def test_both_estimates_are_those_recomputed_from_the_draws_without_each_group(shift):
    draws = shift + jnp.exp(jax.random.normal(KEY, (60, 3))) * jnp.array([1.0, 3.0, 0.2]) - jnp.exp(0.5)
    moments = grouped({"a": draws[:, :2], "b": draws[:, 2]}, num_groups=6)
    variance, snr = oracle(draws, 6)
    np.testing.assert_allclose(total_variance(moments), variance, rtol=2e-4)
    np.testing.assert_allclose(signal_to_noise(moments), snr, rtol=2e-4, atol=1e-4)


def test_unequal_groups_are_weighed_as_they_are():
    moments = M.replicate_moments(
        KEY, lambda key: 0.5 + jax.random.normal(key, (2,)), num_replicates=23, num_groups=5, chunk_size=10
    )
    draws = jax.vmap(lambda r: 0.5 + jax.random.normal(jax.random.fold_in(KEY, r), (2,)))(jnp.arange(23))
    variance, snr = oracle(draws, 5)
    np.testing.assert_allclose(total_variance(moments), variance, rtol=1e-4)
    np.testing.assert_allclose(signal_to_noise(moments), snr, rtol=1e-4)


def test_rotating_a_block_changes_nothing_and_scaling_changes_the_variance_alone():
    draws = 0.1 + jax.random.normal(KEY, (200, 4)) * jnp.array([1.0, 2.0, 0.1, 5.0])
    rotation = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (4, 4)))[0]
    one, two = grouped(draws), grouped(100.0 * draws @ rotation)
    np.testing.assert_allclose(1e4 * np.array(total_variance(one)), total_variance(two), rtol=1e-4)
    np.testing.assert_allclose(signal_to_noise(one), signal_to_noise(two), rtol=1e-3, atol=1e-4)


# --- coverage ---------------------------------------------------------------------------------------------------------


def gaussian(rng, shape):
    return rng.standard_normal(shape, np.float32)


def correlated(rng, shape):
    """Gaussian, with standard deviations 1, 1/2, 1/3, …: a few directions hold most of the variance."""
    return rng.standard_normal(shape, np.float32) / np.arange(1, shape[-1] + 1, dtype=np.float32)


def skewed(rng, shape):
    """Centred log-normal, log sd ½: skewness 1.75, excess kurtosis 5.9."""
    return np.exp(0.5 * rng.standard_normal(shape, np.float32)) - np.float32(np.exp(0.125))


def exact_variance(law, size):
    return {gaussian: size, skewed: size * (np.exp(0.25) - 1) * np.exp(0.25)}.get(
        law, (1.0 / np.arange(1, size + 1) ** 2).sum()
    )


@jax.jit
def estimates(draws, means):
    """Both estimates of each repetition, `draws [repetition, R, P]`, at each of the means: m2 does not depend on it."""

    def shifted(centred, mean):
        moments = centred._replace(mean=centred.mean + mean)
        return total_variance(moments), signal_to_noise(moments)

    return jax.vmap(lambda d: jax.vmap(shifted, in_axes=(None, 0))(grouped(d), means))(draws)


@functools.cache
def coverage(law, size):
    """Shares over the repetitions: variance covered, SNR covered `[SNRS]`, SNR's low > 0 `[SNRS]`."""
    variance = exact_variance(law, size)
    means = jnp.asarray(SNRS) * np.sqrt(variance / size)
    rng = np.random.default_rng(0)
    parts = [estimates(law(rng, (100, 1000, size)), means) for _ in range(10 if size == 1 else 6)]
    v, s = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    inside = (v.low <= variance) & (variance <= v.high), (s.low <= SNRS) & (s.high >= SNRS)
    return inside[0][:, 0].mean(), inside[1].mean(0), (s.low > 0).mean(0)


SNRS = np.array([0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0])
LAWS = [(gaussian, 1), (gaussian, 20), (correlated, 20), (skewed, 1), (skewed, 20)]


@pytest.mark.parametrize(("law", "size"), LAWS)
def test_intervals_cover_the_truth_95_times_in_100(law, size):
    variance, ratio, _ = coverage(law, size)
    assert 0.92 <= variance <= 0.98
    assert np.all((ratio[3:] >= 0.92) & (ratio[3:] <= 0.98))


@pytest.mark.parametrize(("law", "size"), LAWS)
def test_an_snr_of_zero_is_not_resolved_and_small_ones_are_covered_at_least_as_often(law, size):
    _, ratio, resolved = coverage(law, size)
    assert resolved[0] <= 0.05
    assert resolved[-3:].min() == 1.0
    assert ratio[:3].min() >= 0.95


def test_the_squared_snr_is_unbiased_where_it_is_resolved():
    # The plain ratio ‖ḡ‖²/tr Cov would read 0.09 + 1/60, forty standard errors more.
    def once(key):
        moments = grouped(0.3 + jax.random.normal(key, (60, 20)))
        return signal_to_noise(moments).value ** 2, total_variance(moments).value

    squared, variance = jax.lax.map(once, jax.random.split(KEY, 2000), batch_size=500)
    assert abs(variance.mean() - 20.0) < 4 * variance.std() / np.sqrt(2000)
    # 1/tr Cov reads 1 + 2/(P (n − 1)) too much: a bias of the ratio of 0.0002.
    assert abs(squared.mean() - 0.09) < 4 * squared.std() / np.sqrt(2000) + 0.0002


# --- the edges --------------------------------------------------------------------------------------------------------


def test_a_mean_of_exactly_zero_has_low_zero_and_the_upper_end_of_a_null_result():
    half = jax.random.normal(KEY, (20, 1))
    snr = signal_to_noise(grouped(jnp.concatenate([half, -half])))
    assert (snr.value, snr.low) == (0.0, 0.0)
    np.testing.assert_allclose(snr.high, stats.t.ppf(0.975, 19) / np.sqrt(40), rtol=1e-5)


def test_without_variance_the_interval_is_a_point_and_the_snr_infinite_or_undefined():
    moments = grouped({"constant": jnp.full((40, 2), 3.0), "zero": jnp.zeros((40, 2))})
    assert total_variance(moments) == (0.0, 0.0, 0.0)
    assert signal_to_noise(moments) == (jnp.inf, jnp.inf, jnp.inf)
    assert np.isnan(signal_to_noise(M.select(moments, lambda draw: draw["zero"]))).all()


def test_a_variance_seen_in_one_group_alone_has_no_upper_end():
    draws = jnp.zeros((100, 1)).at[37].set(1.0)
    variance, snr = total_variance(grouped(draws)), signal_to_noise(grouped(draws))
    np.testing.assert_allclose(variance.value, 0.01, rtol=1e-5)
    assert (variance.low, variance.high) == (0.0, jnp.inf)
    assert (snr.low, snr.high) == (0.0, jnp.inf)


def test_a_replicate_that_is_not_finite_is_not_hidden():
    moments = grouped(jax.random.normal(KEY, (100, 2)).at[3, 1].set(jnp.nan))
    assert np.isnan(total_variance(moments)).all()
    assert np.isnan(signal_to_noise(moments)).all()


def test_theta_and_phi_are_measured_apart():
    noise = jax.random.normal(KEY, (500, 3))
    moments = grouped(Params(theta=2.0 + noise[:, :2], phi={"b": 10.0 * noise[:, 2]}))
    variance, snr = gradient_variance(moments), gradient_snr(moments)
    assert variance.theta == total_variance(M.select(moments, lambda draw: draw.theta))
    assert variance.theta.low < 2.0 < variance.theta.high < variance.phi.low < 100.0 < variance.phi.high
    assert snr.theta.low < 2.0 < snr.theta.high
    assert snr.phi.low == 0.0


def test_a_block_of_no_coordinates_has_no_variance():
    moments = grouped(Params(theta=(), phi=jax.random.normal(KEY, (100,))))
    assert gradient_variance(moments).theta == (0.0, 0.0, 0.0)


def test_a_coordinate_without_signal_reads_the_floor():
    moments = M.replicate_moments(KEY, lambda key: jax.random.normal(key, (20_000,)), num_replicates=200)
    ratios = coordinate_snr(moments)
    assert ratios.shape == (20_000,)
    # t over normal: E|t_ν|/E|z| exceeds 1 by about 3/(4ν), 0.4 % at ν = 199.
    np.testing.assert_allclose(ratios.mean(), coordinate_snr_floor(200), rtol=0.004 + 4 * 0.756 / np.sqrt(20_000))
    np.testing.assert_allclose(coordinate_snr_floor(2), 1 / np.sqrt(np.pi), rtol=1e-12)


def test_a_coordinate_with_signal_reads_its_own_ratio():
    draws = jnp.array([[1.0, -5.0], [3.0, -5.5], [2.0, -4.5], [2.0, -5.0]])
    expected = [2.0 / np.sqrt(2 / 3), 5.0 / np.sqrt(0.5 / 3)]
    np.testing.assert_allclose(coordinate_snr(grouped(draws, 2)), expected, rtol=1e-6)


def test_estimates_map_and_compile():
    draws = 1.0 + jax.random.normal(KEY, (3, 100, 2))
    mapped = jax.jit(jax.vmap(lambda d: signal_to_noise(grouped(d))))(draws)
    for i in range(3):
        np.testing.assert_allclose(
            jax.tree.map(lambda leaf, i=i: leaf[i], mapped), signal_to_noise(grouped(draws[i])), rtol=1e-5
        )


@pytest.mark.parametrize("statistic", [total_variance, signal_to_noise])
def test_one_group_is_refused(statistic):
    with pytest.raises(ValueError, match="two groups of replicates, got 1"):
        statistic(grouped(jnp.ones((4, 1)), num_groups=1))
def test_print():
    for law, size in LAWS:
        print(law.__name__, size, coverage(law, size))
