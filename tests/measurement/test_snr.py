"""Variance and signal-to-noise against the raw draws, against truth, and against their own promise of 95 %."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vi_jax.measurement import moments as M
from vi_jax.measurement import snr as S
from vi_jax.types import Params

GROUPS = 20

# Compiled whole, for speed; that tracing changes nothing else is the replicates' test to say.
total_variance, signal_to_noise = jax.jit(S.total_variance), jax.jit(S.signal_to_noise)
gradient_variance, gradient_snr, coordinate_snr = map(jax.jit, (S.gradient_variance, S.gradient_snr, S.coordinate_snr))


@functools.partial(jax.jit, static_argnames="num_groups")
def grouped(draws, num_groups=GROUPS):
    """Draws `[R, ...]`, replicate r in group r mod G, as moments."""
    by_group = jax.tree.map(lambda leaf: leaf.reshape(-1, num_groups, *leaf.shape[1:]), draws)
    empty = M.init(jax.tree.map(lambda leaf: leaf[0], draws))
    return jax.vmap(M.update, in_axes=(None, 1))(empty, by_group)


def normal(*shape):
    return np.random.default_rng(3).standard_normal(shape, np.float32)


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
    kappa = n * error(lambda d: d.mean(0) @ direction) ** 2 / v
    share = min(1.0, max(kappa, concentration(draws, num_groups) / max(1.0, y**2)))
    squared = error(lambda d: np.sqrt(n / total(d)) * d.mean(0) @ direction) ** 2
    reach = t * np.sqrt(squared + max(0.0, share - kappa))
    squares = [y**2 - 1, max(y - reach, 0) ** 2 - 1 + share, (max(y, np.sqrt(1 - share)) + reach) ** 2 - 1 + share]
    return (v, v / factor, v * factor), np.sqrt(np.maximum(squares, 0) / n)


def concentration(draws, num_groups):
    groups = [draws[g::num_groups] for g in range(num_groups)]
    pairs = [(g, h) for g in range(num_groups) for h in range(num_groups) if g != h]
    products = [
        np.sqrt(len(groups[g]) * len(groups[h]))
        * (groups[g].mean(0) - draws.mean(0))
        @ (groups[h].mean(0) - draws.mean(0))
        for g, h in pairs
    ]
    expected = (1 - 1 / num_groups) ** 2 + 1 / num_groups**2
    return np.mean((np.array(products) / draws.var(0, ddof=1).sum() + 1 / num_groups) ** 2) / expected


@pytest.mark.parametrize("shift", [0.0, 0.2, 30.0])
def test_both_estimates_are_those_recomputed_from_the_draws_without_each_group(shift):
    draws = np.float32(shift) + (np.exp(normal(60, 3)) - np.exp(0.5)) * np.array([1.0, 3.0, 0.2], np.float32)
    moments = grouped({"a": draws[:, :2], "b": draws[:, 2]}, num_groups=6)
    variance, snr = oracle(draws, 6)
    np.testing.assert_allclose(total_variance(moments), variance, rtol=2e-4)
    np.testing.assert_allclose(signal_to_noise(moments), snr, rtol=2e-4, atol=1e-4)


def test_unequal_groups_are_weighed_as_they_are():
    draws = 0.5 + normal(23, 2)
    empty = M.init(draws[0])
    groups = [jax.jit(M.update)(empty, draws[g::5]) for g in range(5)]
    moments = jax.tree.map(lambda *leaves: np.stack(leaves), *groups)
    variance, snr = oracle(draws, 5)
    np.testing.assert_allclose(total_variance(moments), variance, rtol=1e-4)
    np.testing.assert_allclose(signal_to_noise(moments), snr, rtol=1e-4)


def test_rotating_a_block_changes_nothing_and_scaling_changes_the_variance_alone():
    draws = 0.1 + normal(200, 4) * np.array([1.0, 2.0, 0.1, 5.0], np.float32)
    rotation = np.linalg.qr(normal(4, 4))[0]
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


def lopsided(rng, shape):
    """Gaussian, with standard deviations 1 and 1/5: most of the noise is in one direction, the mean is not."""
    return rng.standard_normal(shape, np.float32) * np.array([1.0, 0.2], np.float32)


def heavy(rng, shape):
    """Centred log-normal, log sd 1: excess kurtosis 111, the sample variance is mostly too low."""
    return np.exp(rng.standard_normal(shape, np.float32)) - np.float32(np.exp(0.5))


VARIANCE = {
    gaussian: lambda size: size,
    correlated: lambda size: (1.0 / np.arange(1, size + 1) ** 2).sum(),
    skewed: lambda size: size * (np.exp(0.25) - 1) * np.exp(0.25),
    lopsided: lambda size: 1.04,
    heavy: lambda size: size * (np.e - 1) * np.e,
}


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
    variance = VARIANCE[law](size)
    means = jnp.asarray(SNRS) * np.sqrt(variance / size)
    rng = np.random.default_rng(0)
    parts = [estimates(law(rng, (100, 1000, size)), means) for _ in range(10 if size <= 2 else 6)]
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


def test_where_the_intervals_cover_less():
    _, ratio, _ = coverage(lopsided, 2)
    assert 0.88 <= ratio.min() < 0.93  # where the SNR begins to be resolved
    variance, ratio, _ = coverage(heavy, 1)
    assert 0.8 <= variance < 0.92
    assert 0.8 <= ratio.min() < 0.92


def test_the_concentration_of_noise_is_one_over_the_number_of_equal_directions():
    def once(draws):
        return S.summarize_block(grouped(draws)).concentration

    for size, scale, expected in ((1, 1.0, 1.0), (50, 1.0, 0.02), (2, [1.0, 0.2], 1.0016 / 1.04**2)):
        values = jax.jit(jax.vmap(once))(5.0 + normal(200, 200, size) * np.asarray(scale, np.float32))
        assert abs(values.mean() - expected) < 4 * values.std() / np.sqrt(200) + 0.02 * expected


def test_the_squared_snr_is_unbiased_where_it_is_resolved():
    # The plain ratio ‖ḡ‖²/tr Cov would read 0.09 + 1/60, thirty standard errors more.
    def once(draws):
        moments = grouped(draws)
        return signal_to_noise(moments).value ** 2, total_variance(moments).value

    squared, variance = jax.jit(jax.vmap(once))(np.float32(0.3) + normal(1000, 60, 20))
    assert abs(variance.mean() - 20.0) < 4 * variance.std() / np.sqrt(1000)
    # 1/tr Cov reads 1 + 2/(P (n − 1)) too much: a bias of the ratio of 0.0002.
    assert abs(squared.mean() - 0.09) < 4 * squared.std() / np.sqrt(1000) + 0.0002


# --- the edges --------------------------------------------------------------------------------------------------------


def test_a_mean_of_exactly_zero_has_low_zero_and_an_upper_end_below_that_of_one_coordinate():
    half = normal(20, 3)
    snr = signal_to_noise(grouped(np.concatenate([half, -half])))
    assert (snr.value, snr.low) == (0.0, 0.0)
    assert 0.0 < snr.high < np.sqrt((1 + stats.t.ppf(0.975, 19) ** 2) / 40)


def test_without_variance_the_interval_is_a_point_and_the_snr_infinite_or_undefined():
    moments = grouped({"constant": jnp.full((40, 2), 3.0), "zero": jnp.zeros((40, 2))})
    assert total_variance(moments) == (0.0, 0.0, 0.0)
    assert signal_to_noise(moments) == (jnp.inf, jnp.inf, jnp.inf)
    assert np.isnan(signal_to_noise(M.select(moments, lambda draw: draw["zero"]))).all()


def test_a_variance_seen_in_one_group_alone_has_no_upper_end():
    draws = np.eye(100, 1, -37)
    variance, snr = total_variance(grouped(draws)), signal_to_noise(grouped(draws))
    np.testing.assert_allclose(variance.value, 0.01, rtol=1e-5)
    assert (variance.low, variance.high) == (0.0, jnp.inf)
    assert (snr.low, snr.high) == (0.0, jnp.inf)


def test_a_replicate_that_is_not_finite_is_not_hidden():
    draws = normal(100, 2)
    draws[3, 1] = np.nan
    moments = grouped(draws)
    assert np.isnan(total_variance(moments)).all()
    assert np.isnan(signal_to_noise(moments)).all()


def test_theta_and_phi_are_measured_apart():
    noise = normal(500, 3)
    moments = grouped(Params(theta=2.0 + noise[:, :2], phi={"b": 10.0 * noise[:, 2]}))
    variance, snr = gradient_variance(moments), gradient_snr(moments)
    assert variance.theta == total_variance(M.select(moments, lambda draw: draw.theta))
    assert variance.theta.low < 2.0 < variance.theta.high < variance.phi.low < 100.0 < variance.phi.high
    assert snr.theta.low < 2.0 < snr.theta.high
    assert snr.phi.low == 0.0


def test_a_block_of_no_coordinates_has_no_variance():
    moments = grouped(Params(theta=(), phi=normal(100)))
    assert gradient_variance(moments).theta == (0.0, 0.0, 0.0)


def test_a_coordinate_without_signal_reads_the_floor():
    ratios = coordinate_snr(grouped(normal(200, 20_000)))
    assert ratios.shape == (20_000,)
    # t over normal: E|t_ν|/E|z| exceeds 1 by about 3/(4ν), 0.4 % at ν = 199.
    np.testing.assert_allclose(ratios.mean(), S.coordinate_snr_floor(200), rtol=0.004 + 4 * 0.756 / np.sqrt(20_000))
    np.testing.assert_allclose(S.coordinate_snr_floor(2), 1 / np.sqrt(np.pi), rtol=1e-12)


def test_a_coordinate_with_signal_reads_its_own_ratio():
    draws = jnp.array([[1.0, -5.0], [3.0, -5.5], [2.0, -4.5], [2.0, -5.0]])
    expected = [2.0 / np.sqrt(2 / 3), 5.0 / np.sqrt(0.5 / 3)]
    np.testing.assert_allclose(coordinate_snr(grouped(draws, 2)), expected, rtol=1e-6)


def test_estimates_map_and_compile():
    draws = 1.0 + normal(3, 100, 2)
    mapped = jax.jit(jax.vmap(lambda d: signal_to_noise(grouped(d))))(draws)
    for i in range(3):
        single = signal_to_noise(grouped(draws[i]))
        np.testing.assert_allclose(jax.tree.map(lambda leaf, i=i: leaf[i], mapped), single, rtol=1e-5)


@pytest.mark.parametrize("statistic", [total_variance, signal_to_noise])
def test_one_group_is_refused(statistic):
    with pytest.raises(ValueError, match="two groups of replicates, got 1"):
        statistic(grouped(jnp.ones((4, 1)), num_groups=1))
