"""Who buys the most signal per second, given signals and seconds: no clock is read here."""

import numpy as np
import pytest

from vi_jax.measurement.moments import Moments
from vi_jax.measurement.ranking import Signals, rank, signal_to_noise

GROUPS = 20


def signals(snr, *, noise=0.0, shared=0.0, seed=0, direction=None, direction_error=0.0):
    """SNRs whose jackknife standard errors are near `noise`, relative, plus `shared` that all have in common."""
    snr = np.asarray(snr, float)
    rng = np.random.default_rng(seed)
    # Var of a delete-a-group jackknife of G groups is (G − 1)/G Σ (s_g − s)².
    own = rng.normal(size=(len(snr), GROUPS)) * noise / np.sqrt(GROUPS - 1)
    common = rng.normal(size=GROUPS) * shared / np.sqrt(GROUPS - 1)
    without = snr[:, None] * (1 + own + common)
    place = np.zeros(len(snr), int) if direction is None else np.asarray(direction)
    return Signals(snr, without, np.full(GROUPS, 10.0), place, np.full(len(snr), direction_error))


def test_the_best_has_the_largest_square_per_second():
    found = rank(signals([1.0, 2.0, 3.0], noise=0.01), np.array([0.01, 0.02, 0.2]))
    np.testing.assert_allclose(found.per_second.value, [100.0, 200.0, 45.0], rtol=1e-5)
    assert found.best == 1
    assert found.resolved
    assert found.tied.tolist() == [False, False, False]


def test_the_unit_of_cost_does_not_matter():
    given = signals([1.0, 2.0, 3.0, 2.05], noise=0.03)
    cost = np.array([0.01, 0.02, 0.2, 0.02])
    in_seconds, in_operations = rank(given, cost), rank(given, 1e9 * cost)
    assert in_seconds.best == in_operations.best
    np.testing.assert_array_equal(in_seconds.tied, in_operations.tied)


def test_twice_the_draws_for_twice_the_time_is_a_tie_and_for_the_same_time_is_not():
    """SNR² adds over draws: what only grows with the bill is no better."""
    given = signals([1.0, np.sqrt(2.0)], noise=0.05)
    assert rank(given, np.array([1.0, 2.0])).tied.sum() == 1
    assert rank(given, np.array([1.0, 1.0])).tied.sum() == 0


def test_a_difference_is_paired():
    """Twelve per cent of signal apart: resolved where the noise is shared, though each interval holds the other."""
    apart, cost = [1.0, 1.12], np.array([1.0, 1.0])
    together = rank(signals(apart, shared=0.2), cost)
    assert together.per_second.high[0] > together.per_second.low[1]
    assert together.tied.tolist() == [False, False]
    alone = rank(signals(apart, noise=0.2), cost)
    assert alone.best == 1
    assert alone.tied.tolist() == [True, False]


def test_two_directions_have_errors_of_their_own_and_one_direction_has_one_error():
    apart, cost = [1.0, 1.12], np.array([1.0, 1.0])
    same = rank(signals(apart, noise=0.005, direction_error=0.2), cost)
    other = rank(signals(apart, noise=0.005, direction=[0, 1], direction_error=0.2), cost)
    assert same.tied.tolist() == [False, False]
    assert other.tied.tolist() == [True, False]


def test_costs_within_the_tolerance_are_one_cost():
    given = signals([1.0, 1.0], noise=1e-4)
    assert rank(given, np.array([1.0, 1.08])).tied.tolist() == [False, True]
    assert rank(given, np.array([1.0, 1.08]), tolerance=0.01).tied.tolist() == [False, False]
    assert rank(given, np.array([1.0, 1.2])).tied.tolist() == [False, False]


def test_what_has_no_cost_is_left_out_and_what_points_away_has_no_signal():
    found = rank(signals([5.0, 1.0, -4.0], noise=0.01), np.array([np.nan, 1.0, 1.0]))
    assert found.best == 1
    assert np.isnan(found.per_second.value[0])
    assert found.per_second.value[2] == found.per_second.high[2] == 0.0
    assert found.tied.tolist() == [False, False, False]


def test_a_signal_that_is_lost_in_noise_is_no_rival_of_one_that_is_not_unless_it_may_be_as_large():
    given = signals([1.0, 1e-9], noise=0.02)
    given.without[1] = np.linspace(-0.01, 0.01, GROUPS)
    assert rank(given, np.array([1.0, 1.0])).tied.tolist() == [False, False]
    given.without[1] = np.linspace(-1.0, 1.0, GROUPS)
    assert rank(given, np.array([1.0, 1.0])).tied.tolist() == [False, True]


@pytest.mark.parametrize("snr", [[], [-1.0, 0.0]])
def test_without_a_signal_nobody_is_best(snr):
    found = rank(signals(snr), np.ones(len(snr)))
    assert found.best == -1
    assert not found.resolved
    assert len(found.tied) == len(snr)


def test_the_best_may_itself_not_be_resolved():
    given = signals([0.1])
    given.without[0] = np.linspace(-0.3, 0.5, GROUPS)
    found = rank(given, np.ones(1))
    assert found.best == 0
    assert not found.resolved


# --- from moments to signals ------------------------------------------------------------------------------------------


def moments(draws: np.ndarray) -> Moments:
    """`[G, n, C]` -> grouped."""
    return Moments(
        np.full(len(draws), draws.shape[1]),
        draws.mean(axis=1),
        ((draws - draws.mean(axis=1, keepdims=True)) ** 2).sum(1),
    )


def test_the_square_of_a_ratio_is_unbiased_where_the_naive_one_is_not():
    rng, true = np.random.default_rng(0), np.array([0.0, 0.2, 1.0])
    squares, naive = [], []
    for _ in range(2000):
        draws = rng.normal(size=(GROUPS, 2, 3)) + true
        squares.append(signal_to_noise(moments(draws))[0])
        flat = draws.reshape(-1, 3)
        naive.append((flat.mean(axis=0) / flat.std(axis=0, ddof=1)) ** 2)
    signed = np.mean(np.sign(squares) * np.square(squares), axis=0)[1:]
    error = np.std(np.square(squares), axis=0)[1:] / 2000**0.5
    # s² in the denominator adds a relative 2/n of its own, n = 40.
    assert np.all(np.abs(signed - true[1:] ** 2 * (1 + 2 / 40)) < 5 * error + 0.003)
    assert np.mean(naive, axis=0)[0] > 0.02


def test_leaving_a_group_out_is_measuring_without_it():
    draws = np.random.default_rng(1).normal(size=(GROUPS, 30, 2)) + np.array([1.0, -0.5])
    whole, without = signal_to_noise(moments(draws))
    for g in range(GROUPS):
        rest, _ = signal_to_noise(moments(np.delete(draws, g, axis=0)))
        np.testing.assert_allclose(without[:, g], rest, rtol=1e-9)
    flat = draws.reshape(-1, 2)
    plain = (flat.mean(axis=0) / flat.std(axis=0, ddof=1)) ** 2
    np.testing.assert_allclose(whole**2, plain - 1 / len(flat), rtol=1e-9)
    assert whole[1] < 0
