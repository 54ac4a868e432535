"""Directions of KL, on the quick form made smaller: learned against closed forms and quadrature."""

import jax
import numpy as np
import pytest

from experiments import cli, kl_directions, kl_fits, kl_panels, style
from vi_jax import models

CONFIG = kl_directions.QUICK


@pytest.fixture(scope="module")
def rows():
    return cli.collect(kl_directions.run, CONFIG)


def test_exact_gradients_reach_the_closed_forms_to_three_digits_and_more(rows):
    reached = rows.query("method == 'exact gradient'")
    assert len(reached) == 4 * 3
    assert reached["relative_error"].abs().max() < 1e-6
    for name in kl_panels.LOOKS:
        chosen = reached.query(f"objective == '{name}'")
        rho = chosen["target"].str.removeprefix("ρ = ").astype(float).to_numpy()
        np.testing.assert_allclose(chosen["variance"], kl_panels.closed_form(name, rho), rtol=1e-6)
    cubo = reached.query("objective == 'CUBO₂' and target == 'ρ = 0.9'")["variance"]
    np.testing.assert_allclose(cubo, 1.43374, atol=1e-5)


def test_gradients_from_draws_come_near_and_those_of_cubo_stay_below_where_weights_are_heavy(rows):
    drawn = rows.query("part == 'correlated' and method == 'draws'").set_index(["objective", "target"])
    error = drawn["relative_error"]
    assert error[["reverse KL", "forward KL"]].abs().max() < 0.015
    assert error["α = ½"].abs().max() < 0.08
    assert abs(error["CUBO₂", "ρ = 0.5"]) < 0.01
    assert error["CUBO₂", "ρ = 0.9"] < -0.005
    widths = drawn["variance"].unstack()
    for rho in widths:
        ordered = widths[rho][["reverse KL", "α = ½", "forward KL", "CUBO₂"]]
        assert ordered.is_monotonic_increasing


def test_restarts_split_at_four_and_do_not_at_two(rows):
    shares = rows.dropna(subset=["share"]).set_index(["target", "method"])["share"]
    assert shares["±2", "mode at +0.00"] == 1
    arrived = shares[[method != "still moving" for _, method in shares.index]]
    assert set(arrived["±4"].index) == {"mode at -4.00", "mode at +0.00", "mode at +4.00"}
    assert set(arrived["±4, .3/.7"].index) == {"mode at -4.00", "mode at +4.00"}
    np.testing.assert_allclose(shares.groupby("target").sum(), 1)
    assert (arrived.groupby("target").sum() > 0.9).all()
    assert (arrived["±4"][["mode at -4.00", "mode at +4.00"]] > 0.25).all()
    assert rows["z"].abs().max() < 4


def test_optima_of_reverse_kl_are_those_of_quadrature(rows):
    optima = rows.dropna(subset=["share", "kl_exact"])
    # Minimised with scipy's adaptive quadrature.
    known = {"±4": (0.693053, 1.871197, 0.693053), "±4, .3/.7": (0.356615, 1.203826), "±2": (0.226508,)}
    for target, expected in known.items():
        found = np.sort(optima.query(f"target == '{target}'")["kl_exact"])
        np.testing.assert_allclose(found, np.sort(expected), atol=2e-6)
    modes = optima.query("abs(mean) > 2")
    assert len(modes) == 4
    assert modes["relative_error"].abs().max() < 0.005
    np.testing.assert_allclose(modes["kl"], modes["kl_exact"], atol=1e-3)


def test_forward_kl_matches_moments_and_covers_both_modes(rows):
    forward = rows.query("objective == 'forward KL' and method == 'draws' and part != 'correlated'").set_index("target")
    expected = {"±4": 17, "±4, .3/.7": 14.44, "±2": 5, "Gumbel": np.pi**2 / 6, "Student t": 5 / 3}
    for target, variance in expected.items():
        assert forward.loc[target, "exact"] == pytest.approx(variance)
        assert abs(forward.loc[target, "relative_error"]) < 0.03
        assert 0 <= forward.loc[target, "kl"] - forward.loc[target, "kl_exact"] < 3e-3
    assert forward.loc["±4", "kl_exact"] == pytest.approx(0.723553, abs=1e-6)


def test_self_normalised_wake_phi_under_covers_with_two_draws_only(rows):
    wake = rows.query("part == 'wake-φ'").set_index("num_samples")
    assert wake.loc[2, "variance_high"] < 0.95 * 17
    assert abs(wake.loc[32, "relative_error"]) < 0.02


def test_shapes_have_their_reverse_fits(rows):
    reverse = rows.query("part == 'shapes' and objective == 'reverse KL'").set_index("target")
    assert reverse.loc["Gumbel", "exact"] == pytest.approx(1, abs=1e-6)
    assert reverse["relative_error"].abs().max() < 0.01
    assert (reverse["kl"] >= reverse["kl_exact"] - 1e-9).all()
    assert reverse.loc["Student t", "exact"] < 5 / 3


def test_the_density_that_is_drawn_is_the_model():
    z = np.linspace(-6, 6, 50)
    with jax.enable_x64(True):
        targets = {"Gumbel": models.gumbel_target(), "Student t": models.student_t_target(kl_fits.DEGREES)}
        targets |= {name: kl_fits.mixture(problem) for name, problem in kl_fits.MIXTURES.items()}
        for name, target in targets.items():
            model = np.exp(jax.vmap(kl_fits.on_scalars(target))(z))
            np.testing.assert_allclose(kl_panels.density_of(name, z), model, rtol=1e-9)


def test_figure_and_table_read_the_rows(rows):
    with style.context():
        assert len(kl_directions.figure(rows).axes) == 9
    assert len(kl_directions.table(rows)) == len(rows) - 3 * CONFIG.num_restarts


def test_the_verdict_holds_and_turns_with_what_it_judges(rows):
    judge = kl_directions.verdict
    assert [each.holds for each in judge(rows)] == [None, True, True, True]
    assert judge(rows.assign(relative_error=rows["relative_error"] + 0.2))[0].holds is False
    swapped = rows.assign(objective=rows["objective"].replace({"reverse KL": "CUBO₂", "CUBO₂": "reverse KL"}))
    assert judge(swapped)[1].holds is False
    assert judge(rows.assign(z=rows["z"] + 10))[2].holds is False
    assert judge(rows.assign(exact=10.0))[3].holds is False
