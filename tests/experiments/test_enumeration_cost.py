"""The price of exact summation, shrunk to seconds: every sum is right, memory is flat, the fit finds what is there."""

import math

import numpy as np
import pytest

from experiments import cli, enumeration_cost, style


@pytest.fixture(scope="module")
def rows():
    return cli.collect(enumeration_cost.run, enumeration_cost.QUICK)


def test_every_sum_agrees_with_both_exact_answers(rows):
    assert rows["d"].tolist() == [1, 5, 13, 16]
    assert rows["codes"].tolist() == [2, 32, 2**13, 2**16]
    for check in ("free_energy", "idle"):
        assert (rows[f"{check}_relative_error"] < 1e-12).all()
        np.testing.assert_allclose(rows[check], rows[f"{check}_exact"], rtol=1e-12)


def test_idle_units_leave_the_evidence_and_random_ones_do_not(rows):
    trained = rows["trained_units"].tolist()
    assert trained == [1, 5, 5, 5]
    np.testing.assert_allclose(rows["idle"].iloc[1:], rows["log_p"].iloc[1], rtol=1e-12)
    assert (abs(rows["log_p"].iloc[2:] - rows["log_p"].iloc[1]) > 1e-3).all()


def test_more_bits_explain_the_digits_better(rows):
    # Two kinds of digit against 32, both by exact maximum likelihood.
    test_log_p = rows["test_log_p"].tolist()
    assert test_log_p[1] > test_log_p[0] + 0.5
    assert np.isnan(test_log_p[2:]).all()


def test_memory_is_flat_where_a_table_grows_eightfold(rows):
    of_13, of_16 = rows.iloc[2], rows.iloc[3]
    assert of_16["megabytes"] < 1.1 * of_13["megabytes"]
    assert of_16["gradient_megabytes"] < 1.1 * of_13["gradient_megabytes"]
    assert of_16["table_megabytes"] > 7 * of_13["table_megabytes"]


def test_intervals_contain_their_values_and_the_extrapolation_doubles_with_every_bit(rows):
    for name in ("seconds", "years_at_50"):
        assert (rows[f"{name}_low"] <= rows[name]).all()
        assert (rows[name] <= rows[f"{name}_high"]).all()
    years = rows["seconds"] * 2.0 ** (50 - rows["d"]) / (365.25 * 86_400)
    np.testing.assert_allclose(rows["years_at_50"], years, rtol=1e-12)


def test_the_exponent_is_fitted_to_the_upper_half_with_an_interval_that_covers():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(200):
        # The lower half is all overhead: it must not count.
        points = [(d, 1e-3 if d <= 8 else 1e-6 * 2 ** (0.97 * d + 0.1 * rng.normal())) for d in range(1, 17)]
        fit = enumeration_cost.exponent(points)
        covered.append(fit["exponent_low"] <= 0.97 <= fit["exponent_high"])
    assert abs(np.mean(covered) - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 200)
    exact = enumeration_cost.exponent([(d, 3e-6 * 2.0**d) for d in range(1, 17)])
    assert exact["exponent"] == pytest.approx(1, abs=1e-12)
    assert math.isnan(enumeration_cost.exponent([(1, 1.0), (2, 2.0), (3, 4.0)])["exponent"])


def test_figure_and_table_read_the_rows(rows):
    with style.context():
        assert len(enumeration_cost.figure(rows).axes) == 4
    table = enumeration_cost.table(rows)
    assert table["d"].tolist() == [1, 5, 13, 16]
    assert {"exact", "error"} <= set(table.columns)


def test_the_verdict_turns_with_a_sum_its_time_and_its_memory(rows):
    judge = enumeration_cost.verdict
    # A slope needs more values of d than the quick form has.
    assert [each.holds for each in judge(rows)] == [True, None, True]
    assert judge(rows.assign(idle_relative_error=rows["idle_relative_error"] + 1e-6))[0].holds is False
    for slope, holds in ((0.94, True), (0.5, False), (1.5, False)):
        timed = {f"exponent{end}": slope + side for end, side in (("", 0), ("_low", -0.04), ("_high", 0.04))}
        assert judge(rows.assign(**timed))[1].holds is holds
    assert judge(rows.assign(megabytes=rows["table_megabytes"]))[2].holds is False
    assert judge(rows[:1])[2].holds is None
