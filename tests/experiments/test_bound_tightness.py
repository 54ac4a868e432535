"""The ladder of bounds: exact columns against closed forms and enumeration, estimates within their errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from experiments import bound_tightness, cli, style
from vi_jax import exact, models

CONFIG = bound_tightness.QUICK


@pytest.fixture(scope="module")
def rows():
    return cli.collect(bound_tightness.run, CONFIG)


def values(rows, problem, bound):
    return rows.query(f"problem == '{problem}' and bound == '{bound}'").sort_values("num_samples")["exact"].to_numpy()


def test_every_estimate_of_the_library_is_within_four_standard_errors(rows):
    judged = rows.dropna(subset=["estimate"])
    assert len(judged) == 5 * (3 * 3 + 1)
    assert judged["z"].abs().max() < 4
    # An error that is stated too large would pass the line above.
    assert judged["z"].abs().median() > 0.2
    # Not because the errors are wide: at the largest K the means are right to a fifth of the gap they measure.
    widest = judged.query("bound == 'IWAE' and num_samples == 64 and half_variance < 2")
    assert len(widest) == 4
    assert ((widest["estimate_high"] - widest["estimate_low"]) < 0.03).all()


def test_bounds_are_ordered_and_iwae_rises(rows):
    for problem, here in rows.groupby("problem"):
        log_p = here["log_evidence"].iloc[0]
        iwae, elbo = values(rows, problem, "IWAE"), values(rows, problem, "ELBO")
        assert np.all(np.diff(iwae) > 0)
        assert iwae[-1] < log_p
        np.testing.assert_allclose(elbo, iwae[0], rtol=1e-9)
        assert values(rows, problem, "EUBO")[0] > log_p
        assert values(rows, problem, "CUBO")[0] > log_p


def test_the_k_sample_cubo_starts_as_the_elbo_and_crosses_log_p(rows):
    for problem in ("toy, D = 1", "toy, D = 20", "3 states", "lognormal, s = 0.5", "lognormal, s = 3"):
        here = rows.query(f"problem == '{problem}'")
        rising, log_p = values(rows, problem, "CUBO_K"), here["log_evidence"].iloc[0]
        np.testing.assert_allclose(rising[0], values(rows, problem, "ELBO")[0], rtol=1e-9)
        assert rising[0] < log_p < rising[-1] < values(rows, problem, "CUBO")[0]


def test_at_one_sample_the_gap_is_the_reverse_kl(rows):
    first = rows.query("bound == 'IWAE' and num_samples == 1")
    np.testing.assert_allclose(first["gap"], first["kl"], rtol=0, atol=1e-6)


def test_known_numbers(rows):
    np.testing.assert_allclose(values(rows, "3 states", "EUBO"), -0.95284999, atol=1e-8)
    log_p = rows.query("problem == 'toy, D = 20'")["log_evidence"].iloc[0]
    np.testing.assert_allclose(
        values(rows, "toy, D = 20", "IWAE") - log_p, [-0.456513, -0.114494, -0.007092], atol=6e-7
    )
    np.testing.assert_allclose(values(rows, "lognormal, s = 3", "IWAE")[0], -4.5, atol=1e-9)


def test_the_asymptote_holds_for_small_variance_and_fails_at_s_3(rows):
    last = rows.query("bound == 'IWAE' and num_samples == 64").set_index("problem")
    ratio = last["rate"] / last["half_variance"]
    assert ratio.drop("lognormal, s = 3").between(0.98, 1.02).all()
    assert ratio["lognormal, s = 3"] < 0.02


@pytest.mark.parametrize("make", [lambda: bound_tightness.toy(5), bound_tightness.three_states])
def test_the_closed_forms_of_a_problem_are_those_of_its_weight_law(make):
    with jax.enable_x64(True):
        problem = make()
        law = problem.law
        found = [
            models.log_moment(law, 1),
            models.log_moment(law, 1) - models.expected_renyi(law, 1, alpha=1.0),
            models.eubo_of_weights(law) - models.log_moment(law, 1),
            models.log_moment(law, 2) / 2,
        ]
    known = [problem.log_evidence, problem.reverse_kl, problem.forward_kl, problem.cubo]
    np.testing.assert_allclose(found, known, rtol=1e-10)


def test_the_law_of_three_states_gives_the_sum_over_all_tuples():
    with jax.enable_x64(True):
        problem = bound_tightness.three_states()
        table, guide = models.table(models.THREE_STATES), vi.guides.categorical(3)
        params = vi.Params(jnp.log(jnp.asarray(models.THREE_STATES)), jnp.array(bound_tightness.ETA))
        by_tuples = exact.expected_bound(vi.bounds.iwae, table.model, guide, params, jnp.array(0), num_samples=8)
        np.testing.assert_allclose(models.expected_renyi(problem.law, 8, alpha=0.0), by_tuples, rtol=1e-11)
    np.testing.assert_allclose(by_tuples, -1.31544350, atol=1e-8)


def test_figure_and_table_read_the_rows(rows):
    with style.context():
        assert len(bound_tightness.figure(rows).axes) == 6
    assert len(bound_tightness.table(rows)) == 5 * (1 + 2 + 2 + 2)


def test_the_verdict_holds_and_turns_with_an_estimate_a_bound_and_a_rate(rows):
    judge = bound_tightness.verdict
    assert [each.holds for each in judge(rows)] == [True] * 4
    assert judge(rows.assign(z=rows["z"] + 10))[0].holds is False
    assert judge(rows.assign(gap=-rows["gap"]))[1].holds is False
    assert judge(rows.assign(rate=2 * rows["rate"]))[2].holds is False
