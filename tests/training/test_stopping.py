"""Rules to stop by, on series whose answers are known: AR(1), iid, drifts and constants."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vi_jax.training import stopping

CHAINS, LENGTH = 4, 4000


def autoregressive(rho, seed=0, chains=CHAINS, length=LENGTH):
    """x_t = ρ x_{t−1} + √(1 − ρ²) ε_t, stationary with variance 1: the mean of T has variance (1 + ρ)/(1 − ρ)/T."""
    noise = np.random.default_rng(seed).standard_normal((length, chains))
    series = [noise[0]]
    for draw in noise[1:]:
        series.append(rho * series[-1] + np.sqrt(1 - rho**2) * draw)
    return np.stack(series, axis=1).astype(np.float32)


# Compiled whole: op by op, each of their many small programs would be compiled by itself.
R_HAT, ESS, MCSE = map(
    jax.jit, (stopping.split_r_hat, stopping.effective_sample_size, stopping.standard_error_of_average)
)
SETTLED = jax.jit(stopping.settled, static_argnames=("largest_r_hat", "largest_standard_error"))
COLUMNS = (-0.5, 0.0, 0.5, 0.9)


@pytest.fixture(scope="module")
def series():
    return jnp.stack([autoregressive(rho, seed) for seed, rho in enumerate(COLUMNS)], axis=-1)


def test_the_standard_error_of_an_average_is_that_of_the_autoregression(series):
    exact = np.sqrt([(1 + rho) / (1 - rho) / (CHAINS * LENGTH) for rho in COLUMNS])
    np.testing.assert_allclose(MCSE(series), exact, rtol=0.1)
    share = [(1 - rho) / (1 + rho) for rho in COLUMNS]
    np.testing.assert_allclose(ESS(series) / (CHAINS * LENGTH), share, rtol=0.2)


def test_the_averages_of_many_runs_have_the_errors_they_claim():
    runs = jnp.stack([autoregressive(0.7, seed, chains=2, length=400) for seed in range(200)], axis=-1)
    errors = MCSE(runs)
    z = np.asarray(runs.mean(axis=(0, 1)) / errors)
    # The variance of z over 200 runs is 1 to within four of its standard errors √(2/200), and a little for small S_eff.
    assert abs(z.var() - 1) < 0.45
    assert abs(z.mean()) < 4 / np.sqrt(200)


def test_the_effective_size_of_a_few_iterates_is_its_definition_term_by_term():
    few = autoregressive(0.6, seed=1, chains=3, length=24)  # Its pairs rise, and end below zero: both rules apply.
    halves = few.astype(np.float64).reshape(6, 12)
    centred = halves - halves.mean(axis=1, keepdims=True)
    covariance = [(centred[:, lag:] * centred[:, : 12 - lag]).sum(axis=1).mean() / 12 for lag in range(12)]
    within, between = halves.var(axis=1, ddof=1).mean(), halves.mean(axis=1).var(ddof=1)
    rho = [1 - (within - c) / (within * 11 / 12 + between) for c in covariance]
    pairs = [1 + rho[1], *(rho[2 * t] + rho[2 * t + 1] for t in range(1, 6))]
    kept = next(t for t, pair in enumerate(pairs) if pair <= 0)
    assert pairs[2] > pairs[1]
    time = -1 + 2 * np.minimum.accumulate(pairs[:kept]).sum()
    np.testing.assert_allclose(ESS(few), 72 / time, rtol=1e-4)


def test_chains_that_alternate_count_for_more_than_their_number_up_to_the_limit():
    alternating = jnp.array([[1.0, -1.0] * 100, [-1.0, 1.0] * 100])
    np.testing.assert_allclose(ESS(alternating), 400 * np.log10(400), rtol=1e-5)


def test_split_r_hat_is_its_formula_and_one_chain_sees_its_own_drift(series):
    halves = np.asarray(series, np.float64).reshape(2 * CHAINS, LENGTH // 2, len(COLUMNS))
    n = LENGTH // 2
    ratio = halves.mean(axis=1).var(axis=0, ddof=1) / halves.var(axis=1, ddof=1).mean(axis=0)
    np.testing.assert_allclose(R_HAT(series), np.sqrt((n - 1) / n + ratio), rtol=1e-5)
    drift = jnp.arange(100.0)[None]
    # Halves of a straight line: W = n(n + 1)/12, the means are n apart, so R̂² = (n − 1)/n + 6n/(n + 1).
    np.testing.assert_allclose(R_HAT(drift), np.sqrt(49 / 50 + 300 / 51), rtol=1e-5)


def test_an_odd_iterate_is_left_out_at_the_beginning(series):
    odd = jnp.concatenate([jnp.full((CHAINS, 1, len(COLUMNS)), 1e6), series], axis=1)
    np.testing.assert_array_equal(R_HAT(odd), R_HAT(series))


def test_iterates_settle_when_both_limits_are_met_and_the_average_is_all_of_them(series):
    found = SETTLED(series, largest_standard_error=0.05)
    np.testing.assert_allclose(found.average, series.mean(axis=(0, 1)), atol=1e-6)
    assert found.stop
    assert not SETTLED(series, largest_standard_error=0.01).stop
    apart = series + 3.0 * jnp.arange(CHAINS)[:, None, None]
    found = SETTLED(apart, largest_standard_error=0.05)
    assert not found.stop
    assert found.r_hat > 2


def test_a_constant_coordinate_is_left_out_and_one_that_is_not_finite_never_settles(series):
    constant = jnp.concatenate([series, jnp.full((CHAINS, LENGTH, 1), 0.1)], axis=-1)
    assert np.isnan(R_HAT(constant)[-1])
    assert np.isnan(ESS(constant)[-1])
    assert SETTLED(constant, largest_standard_error=0.05).stop
    assert not SETTLED(constant.at[0, 0, 0].set(jnp.inf), largest_standard_error=0.05).stop


def test_relative_changes_are_those_of_the_last_window():
    values = jnp.array([[5.0, -100.0, -50.0, -40.0, -40.0], [1.0, 1.0, 2.0, 2.0, 3.0]])
    found = stopping.relative_change(values, window=3)
    np.testing.assert_allclose(found.mean, [(0.5 + 0.2 + 0) / 3, (1 + 0 + 0.5) / 3], rtol=1e-6)
    np.testing.assert_allclose(found.median, [0.2, 0.5], rtol=1e-6)
    for worst in (jnp.nan, jnp.inf, -jnp.inf):
        for place in (1, 4):
            found = stopping.relative_change(jnp.ones(5).at[place].set(worst), window=4)
            assert jnp.all(jnp.isnan(jnp.stack(found)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stopping.relative_change(jnp.ones(3), window=3), "window = 3 changes need 4 values, got 3"),
        (lambda: stopping.split_r_hat(jnp.ones(9)), r"\[C, T, ...\] with T ≥ 4, got shape \(9,\)"),
        (lambda: stopping.effective_sample_size(jnp.ones((2, 3))), r"got shape \(2, 3\)"),
        (lambda: stopping.settled(jnp.ones((2, 9)), largest_r_hat=1.0), r"no chain has R̂ < 1.0"),
    ],
)
def test_too_little_or_too_much_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
