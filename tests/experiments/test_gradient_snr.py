"""Slopes of the signal-to-noise ratio, against theory; the exact signal, against closed forms and draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from experiments import cli, exact_toy, gradient_snr, slopes, style


@pytest.fixture(scope="module")
def rows():
    return cli.collect(gradient_snr.run, gradient_snr.QUICK)


@pytest.fixture(scope="module")
def fitted(rows):
    found = rows[rows["part"].eq("slope")].set_index(["objective", "block"])
    assert len(found) == 2 * len(gradient_snr.CASES)
    return found


def test_every_mean_gradient_is_the_exact_one(rows):
    """440 coordinates, 3 values of K and 11 objectives, many of them shared: five standard errors are not reached."""
    z = rows[rows["part"].eq("cell")]["largest_z"]
    assert z.notna().all()
    assert z.max() < 5


def test_slopes_have_the_sign_of_theory_already_at_few_draws_and_its_size_where_draws_are_only_averaged(fitted):
    for name, case in gradient_snr.CASES.items():
        assert np.sign(fitted.loc[(name, "phi"), "slope"]) == np.sign(case.phi)
    for name in ("elbo/pathwise", "miwae/groups_of_16"):
        for block in ("theta", "phi"):
            here = fitted.loc[(name, block)]
            reach = here["slope_high"] - here["slope"]
            assert 0 < reach < 0.05
            assert abs(here["slope"] - 0.5) < 2 * reach
    assert abs(fitted.loc[("iwae/pathwise", "phi"), "slope"] + 0.5) < 0.07


def test_what_is_not_resolved_is_left_out_and_counted(rows, fitted):
    cells = rows[rows["part"].eq("cell") & rows["objective"].eq("iwae/pathwise") & rows["block"].eq("phi")]
    assert fitted.loc[("iwae/pathwise", "phi"), "left_out"] == (cells["measured_low"] == 0).sum()
    floor = cells["floor"].iloc[0]
    assert floor == pytest.approx(np.sqrt(2 / (np.pi * gradient_snr.QUICK.num_replicates)))
    # |mean|/sd never goes below its floor, whatever the signal.
    assert (cells["coordinate_snr"] > 0.9 * floor).all()


def test_figure_and_table_read_the_rows(rows):
    with style.context():
        assert len(gradient_snr.figure(rows).axes) == 4
    assert len(gradient_snr.table(rows)) == len(gradient_snr.CASES) + len(gradient_snr.OWN_THETA)


def test_the_law_of_a_weight_has_the_published_bounds_at_the_optimum_and_the_closed_form_off_it():
    with jax.enable_x64(True):
        at_optimum = exact_toy.law(20, jnp.asarray(1e-12))
        found = vi.models.expected_renyi(at_optimum, jnp.array([1, 16, 1024]), alpha=0.0)
        np.testing.assert_allclose(found, [-0.456513, -0.028448, -0.000443], atol=6e-7)
        params, x = offset(dim=3)
        elbo = vi.models.linear_gaussian_elbo(params.theta, params.phi.A, params.phi.b, x)
        np.testing.assert_allclose(exact_toy.renyi(params, x, num_samples=1, alpha=1.0), elbo, rtol=1e-9)
        found = exact_toy.law(3, exact_toy.squared_offset(params, x))
        mean_q, mean_p, eye = params.phi.A @ x + params.phi.b, (params.theta + x) / 2, jnp.eye(3)
        cubo = vi.models.gaussian_renyi_bound(mean_q, 2 / 3 * eye, mean_p, eye / 2, alpha=-1.0)
        moments = [float(vi.models.log_moment(found, order)) for order in (1.0, 2.0)]
        np.testing.assert_allclose(moments, [0.0, float(2 * cubo)], atol=1e-9)


def test_self_normalized_wake_is_zero_at_one_draw_and_tends_to_the_forward_kl():
    with jax.enable_x64(True):
        params, x = offset(dim=3)
        one, many = (exact_toy.wake_phi(params, x, num_samples=size).b for size in (1, 4096))
        np.testing.assert_allclose(one, 0.0, atol=1e-12)
        np.testing.assert_allclose(many, exact_toy.forward_kl_ascent(params, x).b, rtol=1e-3)
        half = exact_toy.wake_phi(params, x, num_samples=2048).b
        # The bias is 1/K: extrapolated, it is gone.
        np.testing.assert_allclose(2 * many - half, exact_toy.forward_kl_ascent(params, x).b, rtol=2e-6)


def offset(dim):
    x = jnp.linspace(-1.0, 1.5, dim)
    return vi.Params(jnp.zeros(dim), vi.guides.Affine(0.4 * jnp.eye(dim), 0.3 * jnp.ones(dim))), x


def test_a_slope_and_its_interval_are_those_of_least_squares():
    """Points on K^-0.7 with independent noise of groups: the jackknife's error is the one of the contrast."""
    rng, sizes, groups = np.random.default_rng(0), np.array([4, 16, 64, 256]), 40
    count, noise = np.full(groups, 50.0), 0.1 * rng.standard_normal((4, groups))
    each = -0.7 * np.log(sizes)[:, None] + noise
    whole = each.mean(axis=1)
    without = (groups * whole[:, None] - each) / (groups - 1)
    found = slopes.slope(slopes.Points(sizes, whole, without), count, slopes.equally)
    x = np.log(sizes) - np.log(sizes).mean()
    assert float(found.value) == pytest.approx(np.polyfit(np.log(sizes), whole, 1)[0], abs=1e-6)
    expected = np.std(x @ noise / (x @ x), ddof=1) / np.sqrt(groups)
    assert float(found.high - found.value) == pytest.approx(2.023 * expected, rel=1e-3)
    whole[3] = np.nan
    assert np.isfinite(slopes.slope(slopes.Points(sizes, whole, without), count).value)
    assert np.isnan(slopes.slope(slopes.Points(sizes[:1], whole[:1], without[:1]), count).value)


def test_powers_of_one_over_k_beside_a_power_law_do_not_move_its_limit():
    sizes, count = np.array([4, 16, 64, 256, 1024]), np.full(20, 50.0)
    whole = 1.5 - 0.5 * np.log(sizes) + 0.8 / sizes - 2.0 / sizes**2
    noise = 0.01 * np.random.default_rng(1).standard_normal((5, 20))
    points = slopes.Points(sizes, whole, whole[:, None] + noise - noise.mean(axis=1, keepdims=True))
    limit, line = (slopes.slope(points, count, slopes.equally, corrections) for corrections in (2, 0))
    assert float(limit.value) == pytest.approx(-0.5, abs=1e-6)
    assert limit.low < -0.5 < limit.high
    assert abs(float(line.value) + 0.5) > 0.01
    few = points.where(sizes > 16)
    assert np.isnan(slopes.slope(few, count, slopes.equally, 2).value)


def test_the_verdict_holds_and_turns_with_gradients_slopes_and_signals(rows):
    judge = gradient_snr.verdict
    # Limits need more values of K than the quick form has.
    assert [each.holds for each in judge(rows)] == [True, None, True, True]
    assert judge(rows.assign(largest_z=rows["largest_z"] + 10))[0].holds is False
    limits = rows.assign(limit=rows["theory"] + 0.01, limit_low=rows["theory"], limit_high=rows["theory"] + 0.02)
    assert [judge(found)[1].holds for found in (limits, limits.assign(theory=-limits["theory"]))] == [True, False]
    assert judge(rows.assign(theory=-rows["theory"]))[2].holds is False
    assert judge(rows.assign(snr=2 * rows["snr"]))[3].holds is False
