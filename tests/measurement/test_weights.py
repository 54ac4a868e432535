"""A batch of log-weights: every number against its definition, every standard error against the spread it predicts."""

import functools
import importlib
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from vi_jax.measurement import pareto_k, pareto_k_threshold, smoothed_log_weights, summarize_weights


def log_normal(shape, scale=1.0, seed=0):
    return np.float32(scale * np.random.default_rng(seed).standard_normal(shape) - scale**2 / 2)


@functools.cache
def many():
    """Summaries of 2000 batches of 256 log-normal weights of log p(x) = 0."""
    return summarize_weights(jnp.asarray(log_normal((256, 2000), 0.5)))


def test_every_number_is_the_bound_of_its_name():
    log_w = jnp.asarray(log_normal((24, 3)))
    s = summarize_weights(log_w, alphas=(0.0, 0.5, 1.0), betas=(0.0, 0.4, 1.0))
    assert s.num_samples == (1, 2, 4, 8, 16)
    for i, size in enumerate(s.num_samples):
        groups = [np.asarray(vi.bounds.iwae(log_w[j : j + size])) for j in range(0, 24 - size + 1, size)]
        np.testing.assert_allclose(s.iwae.value[i], np.mean(groups, axis=0), rtol=1e-5, atol=1e-6)
        if len(groups) > 1:
            error = np.std(groups, axis=0, ddof=1) / math.sqrt(len(groups))
            np.testing.assert_allclose(s.iwae.standard_error[i], error, rtol=1e-4)
    for i, alpha in enumerate(s.alphas):
        np.testing.assert_allclose(s.renyi.value[i], vi.bounds.renyi(alpha)(log_w), rtol=1e-5)
    np.testing.assert_allclose(s.jackknife.value, vi.bounds.jackknife(1)(log_w), rtol=1e-5)
    np.testing.assert_allclose(s.thermodynamic.value, vi.bounds.thermodynamic(s.betas)(log_w), rtol=1e-5)
    np.testing.assert_allclose(s.thermodynamic_upper.value, vi.bounds.thermodynamic_upper(s.betas)(log_w), rtol=1e-5)
    w = np.exp(np.asarray(log_w, np.float64))
    np.testing.assert_allclose(s.effective_sample_size, w.sum(0) ** 2 / (w**2).sum(0), rtol=1e-5)
    np.testing.assert_allclose(s.log_evidence.value, np.log(w.mean(0)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "name",
    ["elbo", "iwae", "jackknife", "renyi", "thermodynamic", "thermodynamic_upper", "log_evidence"],
)
def test_a_standard_error_is_the_spread_of_its_value_over_batches(name):
    value, error = getattr(many(), name)
    # The last IWAE_k has one group and the first order of everything else is all the delta method sees.
    spread = value.std(axis=-1, ddof=1)
    np.testing.assert_allclose(np.sqrt((error**2).mean(axis=-1)), spread, rtol=0.1)


def test_a_weight_of_zero_and_a_constant_are_legal():
    log_w = jnp.asarray(log_normal((100,))).at[3].set(-jnp.inf)
    s, shifted = summarize_weights(log_w), summarize_weights(log_w + 50.0)
    assert s.elbo.value == -jnp.inf
    assert np.isfinite([s.log_evidence.value, s.log_evidence.standard_error, s.pareto_k, s.renyi.value[1]]).all()
    np.testing.assert_allclose(shifted.log_evidence.value - s.log_evidence.value, 50.0, rtol=1e-5)
    np.testing.assert_allclose(
        shifted.smoothed_log_evidence.standard_error, s.smoothed_log_evidence.standard_error, rtol=1e-3
    )
    np.testing.assert_allclose(shifted.pareto_k, s.pareto_k, rtol=1e-3)
    nothing = summarize_weights(jnp.full(30, -jnp.inf))
    assert nothing.effective_sample_size == 0
    assert nothing.log_evidence.value == -jnp.inf
    one = summarize_weights(jnp.array([0.3]))
    assert np.isnan([one.elbo.standard_error, one.jackknife.value, one.pareto_k]).all()


def test_bad_weights_are_refused():
    with pytest.raises(TypeError, match="floating-point"):
        summarize_weights(jnp.arange(3))
    with pytest.raises(ValueError, match="betas must increase"):
        summarize_weights(jnp.zeros(3), betas=(0.0, 0.5))


# --- the tail ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("s2", [0.2, 0.5, 0.8])
def test_the_shape_of_a_gaussian_tail_is_one_minus_its_variance(s2):
    """q = N(0, s²), p = N(0, 1): w ∝ exp(½ (1/s² − 1) z²) has the tail index 1 − s², up to a slowly varying factor."""
    z = math.sqrt(s2) * np.random.default_rng(0).standard_normal((40_000, 40)).astype(np.float32)
    estimates = np.asarray(jax.jit(pareto_k)(jnp.asarray(z**2 * (1 / s2 - 1) / 2)))
    error = estimates.std(ddof=1) / math.sqrt(40)
    # The prior draws towards ½ by 10/(m + 10), with m = 600; the factor (log w)^−½ costs the rest, from below.
    assert abs(estimates.mean() - (1 - s2)) < 0.07 + 4 * error
    assert error < 0.02


def test_the_shape_of_an_exact_pareto_tail():
    """Weights u^−k have the survival function w^(−1/k): the estimate is that k, drawn towards ½ by ten weights of m."""
    u = np.random.default_rng(1).random((2000, 200))
    for k in (0.2, 0.7, 1.2):
        estimates = np.asarray(jax.jit(pareto_k)(jnp.asarray(-k * np.log(u), np.float32)))
        size = math.ceil(3 * math.sqrt(2000))
        expected = (size * k + 5) / (size + 10)
        assert abs(estimates.mean() - expected) < 4 * estimates.std() / math.sqrt(200) + 0.03


def test_there_is_no_tail_in_few_or_equal_weights():
    assert np.isnan(pareto_k(jnp.zeros(20)))
    assert np.isnan(pareto_k(jnp.zeros(1000)))
    assert np.isfinite(pareto_k(jnp.asarray(log_normal((21,)))))
    np.testing.assert_array_equal(smoothed_log_weights(jnp.zeros(1000)), jnp.zeros(1000))
    few = jnp.asarray(log_normal((20,)))
    np.testing.assert_array_equal(smoothed_log_weights(few), few)


def test_smoothing_keeps_the_order_and_all_but_the_tail():
    log_w = jnp.asarray(log_normal((400, 2), 2.0))
    smooth = np.asarray(jax.jit(smoothed_log_weights)(log_w))
    for j in range(2):
        order = np.argsort(log_w[:, j])
        tail = math.ceil(3 * math.sqrt(400))
        np.testing.assert_allclose(smooth[order[:-tail], j], log_w[order[:-tail], j], atol=2e-6)
        assert np.all(np.diff(smooth[order, j]) >= -2e-6)
        assert smooth[:, j].max() <= log_w[:, j].max() + 1e-5
        assert np.abs(smooth[order[-tail:], j] - log_w[order[-tail:], j]).max() > 0.01


def psislw(tail):
    """ArviZ's `log_w -> (normalised smoothed log-weights, k̂)`, and the sizes at which it does what the paper says."""
    arviz = pytest.importorskip("arviz")
    if hasattr(arviz, "psislw"):
        return lambda log_w: arviz.psislw(log_w.copy()), (100, 400, 1000)
    if tail == "ties":
        pytest.skip("ArviZ 1.x counts weights that tie with the threshold as above it")
    # It takes log-likelihoods, whose negatives are weights, and rounds the length of the tail down.
    stats = importlib.import_module("arviz_stats.base").array_stats
    return lambda log_w: stats.psislw(-log_w), (100, 400)


# Survival functions w^(−1/k), a bounded tail, an exponential one, many ties, overflow without a common scale, zeros.
TAILS = {
    "k = 0.2": lambda u: -0.2 * np.log(u),
    "k = 0.7": lambda u: -0.7 * np.log(u),
    "k = 1.5": lambda u: -1.5 * np.log(u),
    "bounded": np.log1p,
    "exponential": lambda u: np.log(-np.log(u)),
    "ties": lambda u: np.round(-np.log(u), 1),
    "wide": lambda u: 300 * u,
    "zeros": lambda u: np.where(u < 0.3, -np.inf, u),
}


@pytest.mark.parametrize("tail", TAILS)
def test_shape_and_weights_are_those_of_arviz(x64, tail):
    u = np.random.default_rng(2)
    theirs, sizes = psislw(tail)
    for size in sizes:
        log_w = TAILS[tail](u.random(size))
        weights, k = theirs(log_w)
        mine, my_k = smoothed_and_k(jnp.asarray(log_w))
        np.testing.assert_allclose(my_k, k, atol=1e-6)
        mine = np.asarray(mine) - np.logaddexp.reduce(mine)
        # Which of two equal weights is given the larger quantile is nobody's to say.
        mine, weights = (np.sort(mine), np.sort(weights)) if tail == "ties" else (mine, weights)
        np.testing.assert_allclose(mine, weights, atol=1e-6)


smoothed_and_k = jax.jit(lambda log_w: (smoothed_log_weights(log_w), pareto_k(log_w)))


def test_the_threshold_is_that_of_the_number_of_draws():
    np.testing.assert_allclose(pareto_k_threshold(100), 0.5)
    assert pareto_k_threshold(10**6) == 0.7
    assert pareto_k_threshold(1) == -math.inf
