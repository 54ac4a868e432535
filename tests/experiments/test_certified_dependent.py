"""Rows of dependent draws keep their claims, and the measuring of rows tells a wrong gradient and a wrong variance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import certified_dependent, certified_measure
from experiments.certified_rows import ObjectiveRow, Problem
from experiments.claims import BIASED, UNBIASED

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def rows() -> dict:
    with jax.enable_x64(True):
        found = [row for k in (2, 8) for row in certified_measure.measure(KEY, certified_dependent.ROWS, k, 20_000)]
    return {(row["family"], row["bound"], row["estimator"]): row for row in found}


def test_claims(rows):
    assert len(rows) == 6
    for row in rows.values():
        if row["claim"] == UNBIASED:
            assert abs(row["z_phi"]) < 5
        else:
            assert row["bias_phi"] > 5 * row["bias_error"]


def test_sobol_points_are_far_quieter(rows):
    pathwise = {family: rows[family, "elbo", "pathwise"] for family in ("antithetic", "quasi_monte_carlo")}
    assert pathwise["quasi_monte_carlo"]["variance_phi"] < 0.2 * pathwise["antithetic"]["variance_phi"]


def normal_row(mean: float, exact: float, kind: str = UNBIASED) -> ObjectiveRow:
    def build(num_samples: int) -> Problem:
        def estimate(key: jax.Array) -> jax.Array:
            return mean + jnp.mean(jax.random.normal(key, (num_samples, 2)), axis=0)

        return Problem(estimate, np.full(2, exact))

    return ObjectiveRow("a", "b", "c", kind, "", "", "", build, num_samples=(4,))


def test_the_measure_knows_a_normal_distribution():
    right, wrong = certified_measure.measure(KEY, [normal_row(1.0, 1.0), normal_row(1.03, 1.0, BIASED)], 4, 20_000)
    assert abs(right["z_phi"]) < 4
    assert abs(right["variance_phi"] - 0.5) < 4 * right["variance_error"]
    # Two coordinates of variance ¼, each of whose squares has variance 2 (¼)².
    np.testing.assert_allclose(right["variance_error"], (2 * 2 / 16 / 20_000) ** 0.5, rtol=0.5)
    assert wrong["z_phi"] > 5
    np.testing.assert_allclose(wrong["bias_phi"], 0.03 * 2**0.5, rtol=0.2)


def test_a_row_is_measured_where_it_is_defined():
    assert certified_measure.measure(KEY, [normal_row(1.0, 1.0)], 5, 20_000) == []
    assert certified_measure.values_of_k(certified_dependent.ROWS) == (1, 2, 8, 64)


def test_a_row_without_variance_is_judged_to_rounding():
    exactly = normal_row(1.0, 1.0)._replace(
        build=lambda k: Problem(lambda key: jnp.ones(2), np.ones(2)), zero_variance=True
    )
    nearly = exactly._replace(build=lambda k: Problem(lambda key: jnp.ones(2) + 1e-9, np.ones(2)))
    with jax.enable_x64(True):
        right, wrong = certified_measure.measure(KEY, [exactly, nearly], 4, 20_000)
    assert right["z_phi"] == 0
    assert right["variance_phi"] == 0
    assert wrong["z_phi"] > 5
