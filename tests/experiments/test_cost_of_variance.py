"""What a signal costs on the toy, where the laws of its noise are known. No test reads a clock."""

import numpy as np
import pytest

from experiments import cli, cost_of_variance, style

CONFIG = cost_of_variance.QUICK
SIGNAL = cost_of_variance.SIGNAL


@pytest.fixture(scope="module")
def rows():
    return cli.collect(cost_of_variance.run, CONFIG)


def phi(rows, estimator, **cell):
    """The one row of φ̄ with these values."""
    here = rows[rows["block"].eq("phi") & rows["estimator"].eq(estimator)]
    for column, value in cell.items():
        here = here[here[column].eq(value)]
    (found,) = here.to_dict("records")
    return found


def test_every_split_of_every_number_of_draws_has_its_rows(rows):
    cells = {(t, m) for t, m in rows[["draws", "groups"]].to_numpy()}
    assert cells == {(1, 1), (16, 1), (16, 16)}
    assert (rows["draws"] == rows["groups"] * rows["per_bound"]).all()
    # VIMCO needs another draw to compare with; in θ and φ.
    assert len(rows) == 2 * (3 * len(cells) - 1)


def test_the_variance_of_a_mean_of_m_bounds_is_that_of_one_over_m(rows):
    for name in ("pathwise", SIGNAL):
        one, sixteen = (phi(rows, name, draws=t, per_bound=1)["variance"] for t in (1, 16))
        assert one / sixteen == pytest.approx(16, rel=0.25)


def test_with_the_draws_fixed_pathwise_pays_for_a_tighter_bound_and_doubly_reparameterized_hardly_does(rows):
    loose, tight = ({k: phi(rows, k, draws=16, per_bound=p) for k in ("pathwise", SIGNAL)} for p in (1, 16))
    assert tight["pathwise"]["gap_high"] < loose["pathwise"]["gap_low"]
    pays, hardly = (tight[k]["relative_variance"] / loose[k]["relative_variance"] for k in ("pathwise", SIGNAL))
    assert pays > 8 * hardly
    assert tight["pathwise"]["relative_variance"] > 50 * tight[SIGNAL]["relative_variance"]


def test_at_the_optimum_of_the_toy_pathwise_has_sixteen_times_the_variance_in_b_and_about_so_in_all(rows):
    ratio = phi(rows, "pathwise", draws=1)["variance"] / phi(rows, SIGNAL, draws=1)["variance"]
    assert 12 < ratio < 20


def test_prices_are_costs_times_relative_variance_and_grouping_is_free(rows):
    np.testing.assert_allclose(rows["ms_for_snr_1"], rows["ms"] * rows["relative_variance"], rtol=1e-12)
    np.testing.assert_allclose(rows["mflop_for_snr_1"], rows["mflop"] * rows["relative_variance"], rtol=1e-12)
    known = rows["grouping_mflop"].dropna()
    assert len(known)
    assert known.between(0.95, 1.1).all()
    for column in ("variance", "relative_variance", "gap"):
        assert (rows[f"{column}_low"] <= rows[column]).all()
        assert (rows[column] <= rows[f"{column}_high"]).all()


def test_a_ratio_of_estimates_is_as_wide_as_both_together():
    top, bottom = np.array([4.0, 3.0, 5.0]), np.array([2.0, 1.0, 2.5])
    value, low, high = cost_of_variance.ratio(top, bottom)
    assert value == 2.0
    assert np.log(value / low) == pytest.approx(np.hypot(np.log(4 / 3), np.log(1.25)))
    assert np.log(high / value) == pytest.approx(np.hypot(np.log(1.25), np.log(2)))
    assert cost_of_variance.ratio(top, np.array([2.0, 0.0, 2.5]))[2] == np.inf


def test_figure_and_table_read_the_rows(rows):
    with style.context():
        assert len(cost_of_variance.figure(rows).axes) == 3
    table = cost_of_variance.table(rows)
    assert len(table) == 3 * 2
    assert table["k"].tolist() == sorted(table["k"])


def test_the_verdict_holds_and_turns_with_the_estimators_and_the_price_of_grouping(rows):
    judge = cost_of_variance.verdict
    assert [each.holds for each in judge(rows)] == [True, True]
    other = rows.assign(estimator=rows["estimator"].replace({"pathwise": SIGNAL, SIGNAL: "pathwise"}))
    assert judge(other)[0].holds is False
    assert judge(rows.assign(grouping_mflop=rows["grouping_mflop"] + 0.1))[1].holds is False
