"""Biases at finite K, measured and by quadrature, and their orders."""

import jax
import numpy as np
import pytest

import vi_jax as vi
from experiments import bias_variance, cli, exact_toy, style


@pytest.fixture(scope="module")
def rows():
    return cli.collect(bias_variance.run, bias_variance.QUICK)


def test_every_measured_bias_is_the_exact_one(rows):
    cells = rows[rows["part"].eq("cell")]
    assert len(cells) == 12 * 3 + 3 - 2  # six values and gradients, wake-φ's gradient; no jackknife 2 at K = 2
    assert cells["z"].abs().max() < 4
    # What is measured is a bias: most are resolved, by far.
    assert (cells["bias_low"] / cells["exact"] > 0.9).sum() > 20


def test_the_control_leaves_the_mean_and_takes_most_of_the_noise(rows):
    """Without it the mean of a value of sd 0.5 over 40,000 × 2 replicates at K = 4 would be known to ± 0.0035."""
    here = rows[rows["part"].eq("cell") & rows["objective"].eq("jackknife1") & rows["of"].eq("value") & rows["K"].eq(4)]
    assert 0 < float((here["bias_high"] - here["bias"]).iloc[0]) < 0.002


def test_bias_of_first_order_has_order_one_and_the_jackknife_takes_it_out(rows):
    orders = rows[rows["part"].eq("order")].set_index(["objective", "of"])
    for name in ("iwae", "renyi", "cubo", "thermodynamic"):
        here = orders.loc[(name, "value")]
        assert abs(here["order"] - 1) < 0.1
        assert abs(here["order"] - here["exact_order"]) < 2 * (here["order_high"] - here["order"])
    assert abs(orders.loc[("wake_phi", "phi"), "order"] - 1) < 0.15
    cells = rows[rows["part"].eq("cell") & rows["of"].eq("value") & rows["K"].eq(8)].set_index("objective")
    assert cells.loc["jackknife1", "exact"] < cells.loc["iwae", "exact"] / 20
    assert cells.loc["jackknife2", "exact"] < cells.loc["jackknife1", "exact"] / 4
    assert cells.loc["jackknife2", "sd"] < 1.05 * cells.loc["iwae", "sd"]


def test_the_problem_is_the_one_that_is_described():
    with jax.enable_x64(True):
        params, x = bias_variance.problem()
        square = exact_toy.squared_offset(params, x[0])
        assert float(square) == pytest.approx(0.5, abs=1e-3)
        assert float(vi.models.relative_variance(exact_toy.law(2, square))) == pytest.approx(0.94, abs=0.01)


def test_exact_thermodynamic_sums_at_one_draw_are_the_elbo_and_grow_to_their_limit():
    with jax.enable_x64(True):
        weights = exact_toy.law(2, np.asarray(0.5))
        elbo = float(vi.models.expected_renyi(weights, 1, alpha=1.0))
        one, many = (float(exact_toy.thermodynamic(weights, k, bias_variance.BETAS)) for k in (1, 100_000))
        limit = float(exact_toy.thermodynamic_limit(weights, bias_variance.BETAS))
        assert one == pytest.approx(elbo, abs=1e-9)
        assert elbo < many < limit < 0
        assert limit - many < 1e-5


def test_figure_and_table_read_the_rows(rows):
    with style.context():
        assert len(bias_variance.figure(rows).axes) == 4
    assert len(bias_variance.table(rows)) == 13


def test_the_verdict_holds_and_turns_with_a_bias_an_order_and_the_jackknife(rows):
    judge = bias_variance.verdict
    assert [each.holds for each in judge(rows)] == [True] * 3
    assert judge(rows.assign(z=rows["z"] + 10))[0].holds is False
    assert judge(rows.assign(exact_order=rows["exact_order"] + 1))[1].holds is False
    large = {end: rows[end] + rows["objective"].eq("jackknife1") for end in ("bias", "bias_low", "bias_high")}
    assert judge(rows.assign(**large))[2].holds is False
