"""What is called exact is: against all tuples of draws, published numbers and many draws."""

import itertools
import math

import numpy as np
import pytest

from experiments import importance_laws

CELLS = np.array([0.20, 0.05, 0.03])
LOG_P = math.log(CELLS.sum())
UNIFORM = np.full(3, -math.log(3))
LOG_V = np.log(CELLS) - UNIFORM - LOG_P


@pytest.mark.parametrize(("num_samples", "expected"), [(1, -1.605297), (10, -1.308092), (100, -1.276290)])
def test_the_three_state_table_has_its_known_mean_logarithm_and_variance(num_samples, expected):
    mean, _ = importance_laws.log_moments(LOG_V, UNIFORM, num_samples)
    assert mean + LOG_P == pytest.approx(expected, abs=1e-6)
    variance, _ = importance_laws.ratio_moments(LOG_V, UNIFORM, num_samples)
    assert variance * CELLS.sum() ** 2 == pytest.approx(0.0518 / num_samples, rel=1e-9)


@pytest.mark.parametrize("num_samples", [1, 2, 4])
def test_moments_are_those_of_all_tuples_of_draws(num_samples):
    rng = np.random.default_rng(num_samples)
    q = rng.dirichlet(np.ones(4))
    v = rng.uniform(0.001, 9, size=4) ** 2
    v /= q @ v
    tuples = np.array(list(itertools.product(range(4), repeat=num_samples)))
    probability, s = np.prod(q[tuples], axis=1), v[tuples].mean(axis=1)
    mean = probability @ np.log(s)
    expected = (mean, probability @ (np.log(s) - mean) ** 2)
    assert importance_laws.log_moments(np.log(v), np.log(q), num_samples) == pytest.approx(expected, rel=1e-9)
    expected = (probability @ (s - 1) ** 2, probability @ (s - 1) ** 4)
    assert importance_laws.ratio_moments(np.log(v), np.log(q), num_samples) == pytest.approx(expected, rel=1e-9)


def test_moments_of_the_logarithm_survive_weights_a_thousand_nats_apart():
    # One draw: E log v and Var log v are sums of two terms. The small weight is e^-1000 in units of the large one.
    q = np.array([0.25, 0.75])
    log_v = np.array([-math.log(0.25), -1000.0])
    mean, variance = importance_laws.log_moments(log_v, np.log(q), 1)
    assert mean == pytest.approx(q @ log_v, rel=1e-9)
    assert variance == pytest.approx(q @ (log_v - q @ log_v) ** 2, rel=1e-9)


def test_share_of_draws_counts_the_largest_and_a_part_of_the_last():
    log_w = np.log([0.5, 0.3, 0.18, 0.02])
    # 0.98 in three draws, and half of the fourth.
    np.testing.assert_allclose(importance_laws.share_of_draws(np.stack([log_w, log_w[::-1] - 700])), 3.5 / 4)
    assert importance_laws.share_of_draws(np.zeros(1000)) == pytest.approx(0.99, rel=1e-9)
    assert importance_laws.share_of_draws(np.array([0.0, -np.inf])) == pytest.approx(0.495, rel=1e-9)


def test_share_of_draws_tends_to_its_limit():
    rng = np.random.default_rng(0)
    q, posterior = rng.dirichlet(np.ones(20)), rng.dirichlet(0.2 * np.ones(20))
    log_v = np.log(posterior) - np.log(q)
    draws = log_v[rng.choice(20, size=200_000, p=q)]
    limit = importance_laws.share_in_the_limit(log_v, np.log(q))
    assert importance_laws.share_of_draws(draws) == pytest.approx(limit, abs=0.01)
