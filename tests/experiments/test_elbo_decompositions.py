"""Three forms of the ELBO: one value, one gradient, variances in the order and the ratios that theory gives."""

import numpy as np
import pytest

from experiments import cli, elbo_decompositions, style

DIVERGENCE, ENTROPY, SAMPLED = (getattr(elbo_decompositions, name) for name in ("DIVERGENCE", "ENTROPY", "SAMPLED"))


@pytest.fixture(scope="module")
def rows():
    return cli.collect(elbo_decompositions.run, elbo_decompositions.QUICK)


def variance(rows, problem, point):
    here = rows.query(f"problem == '{problem}' and point == '{point}'")
    return {(f, e): v for f, e, v in zip(here["form"], here["estimator"], here["variance_phi"], strict=True)}


def test_every_value_and_every_gradient_is_the_exact_one(rows):
    assert len(rows) == 4 + 4 + 3 + 3 + 4 + 4
    assert rows["z_score"].abs().max() < 4
    # Of some five thousand coordinates the largest deviation is near four standard errors.
    few = rows["num_coordinates"] < 100
    assert rows[few]["gradient_z_max"].max() < 4
    assert rows[~few]["gradient_z_max"].max() < 6
    assert rows[~few]["gradient_z_rms"].between(0.6, 1.4).all()


def test_the_evidence_is_the_elbo_plus_the_divergence(rows):
    exact = rows[rows["problem"] != "VAE"]
    assert exact["residual"].abs().max() < 1e-12
    assert exact["kl"].min() > 0.05


def test_on_the_toy_the_variances_are_as_sixteen_to_one_to_four_to_sixteen(rows):
    for point in ("start", "end"):
        v = variance(rows, "toy", point)
        smallest = v[SAMPLED, "STL"]
        ratios = [v[SAMPLED, "pathwise"], v[DIVERGENCE, "pathwise"], v[ENTROPY, "pathwise"]] / np.array(smallest)
        assert ratios == pytest.approx([16, 4, 16], rel=1e-9)
    of_mean = rows.query(f"problem == 'toy' and form == '{DIVERGENCE}'")["variance_theta"]
    assert of_mean.max() < 1e-20


def test_no_form_has_the_least_variance_everywhere(rows):
    start, end = variance(rows, "VAE", "start"), variance(rows, "VAE", "end")
    assert start[DIVERGENCE, "pathwise"] < start[SAMPLED, "STL"] / 5
    assert end[SAMPLED, "STL"] < end[DIVERGENCE, "pathwise"]
    assert start[ENTROPY, "pathwise"] == pytest.approx(start[SAMPLED, "pathwise"], rel=1e-6)
    start, end = variance(rows, "table", "start"), variance(rows, "table", "end")
    assert start[DIVERGENCE, "leave_one_out"] < start[SAMPLED, "leave_one_out"]
    assert end[SAMPLED, "leave_one_out"] < end[DIVERGENCE, "leave_one_out"]


def test_figure_and_table_read_the_rows(rows):
    with style.context():
        assert len(elbo_decompositions.figure(rows).axes) == 6
    assert len(elbo_decompositions.table(rows)) == len(rows)


def test_the_verdict_holds_and_turns_with_value_gradient_identity_and_variances(rows):
    judge = elbo_decompositions.verdict
    assert [each.holds for each in judge(rows)] == [True] * 4
    # Of a run that was stopped.
    assert [each.holds for each in judge(rows.query("problem == 'toy'"))] == [True, True, None, True]
    for name in ("z_score", "gradient_z_max"):
        assert judge(rows.assign(**{name: rows[name] + 10}))[0].holds is False
    assert judge(rows.assign(residual=rows["residual"] + 1e-6))[1].holds is False
    ends = rows["point"].replace({"start": "end", "end": "start"})
    assert judge(rows.assign(point=ends))[2].holds is False
    assert judge(rows.assign(variance_phi=rows["variance_phi"] + 0.01))[3].holds is False
