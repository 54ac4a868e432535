"""The main job, shrunk to seconds: its rows are complete and consistent with what they claim."""

import math

import pytest

from experiments import cli, sample_sweep, style


@pytest.fixture(scope="module")
def rows():
    return cli.collect(sample_sweep.run, sample_sweep.QUICK)


def test_every_objective_has_a_row_at_every_k_where_it_is_defined(rows):
    cells = {(p, o, e, k) for p, o, e, k in zip(*(rows[c] for c in rows.columns[:4]), strict=True)}
    assert len(cells) == len(rows) == 2 * (6 + 7)
    assert not [cell for cell in cells if cell[2] == "vimco" and cell[3] == 1]


def test_at_one_sample_elbo_and_iwae_are_one_bound_and_at_sixteen_iwae_is_tighter(rows):
    trained = rows.query("parameters == 'trained' and estimator == 'pathwise'")
    bound = {(o, k): b for o, k, b in zip(trained["objective"], trained["num_samples"], trained["bound"], strict=True)}
    assert bound["elbo", 1] == pytest.approx(bound["iwae", 1], abs=1e-4)
    assert bound["elbo", 16] < bound["iwae", 16]


def test_intervals_contain_their_values_and_gaps_are_differences(rows):
    for name in ("bound", "gap", "variance_theta", "snr_theta", "ess"):
        assert (rows[f"{name}_low"] <= rows[name]).all()
        assert (rows[name] <= rows[f"{name}_high"]).all()
    assert rows["gap"].to_numpy() == pytest.approx((rows["log_evidence"] - rows["bound"]).to_numpy())


def test_the_effective_sample_size_lies_between_one_and_k(rows):
    assert (rows["ess"] >= 1 - 1e-4).all()
    assert (rows["ess"] <= rows["num_samples"] + 1e-3).all()


def test_gradients_are_timed_at_the_largest_k_only(rows):
    timed = [not math.isnan(ms) for ms in rows["milliseconds"]]
    assert timed == [k == 16 for k in rows["num_samples"]]


def test_figure_and_table_read_the_rows(rows):
    with style.context():
        assert len(sample_sweep.figure(rows).axes) == 9
    assert len(sample_sweep.table(rows)) == 13


def test_the_verdict_turns_where_samples_are_taken_away(rows):
    found = [each.holds for each in sample_sweep.verdict(rows)]
    assert found[0] is found[2] is found[3] is True
    assert found[1] is not False
    fewer = [each.holds for each in sample_sweep.verdict(rows.assign(num_samples=-rows["num_samples"]))]
    assert fewer[0] is fewer[2] is fewer[3] is False
    # A bound on the far side of the evidence is none.
    below = {f"gap{end}": rows[f"gap{end}"] - 20 for end in ("", "_low", "_high")}
    assert sample_sweep.verdict(rows.assign(**below))[0].holds is not True
