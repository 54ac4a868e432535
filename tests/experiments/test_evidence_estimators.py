"""Importance sampling against exact laws, shrunk to seconds: what is called exact is, and what is measured agrees."""

import numpy as np
import pytest

from experiments import cli, evidence_estimators, style


@pytest.fixture(scope="module")
def rows():
    return cli.collect(evidence_estimators.run, evidence_estimators.QUICK)


def pick(rows, proposal, quantity):
    chosen = rows[(rows["proposal"] == proposal) & (rows["quantity"] == quantity)]
    return chosen.sort_values("num_samples").reset_index(drop=True)


def test_variance_of_the_three_state_table_is_the_known_one(rows):
    exact = rows[(rows["model"] == "three_states") & (rows["quantity"] == "variance")]
    np.testing.assert_allclose(exact["exact"] * 0.28**2, 0.0518 / exact["num_samples"], rtol=1e-9)


def test_everything_measured_agrees_with_its_exact_law(rows):
    judged = rows.dropna(subset=["z"])
    assert len(judged) == 3 * 4 * 5
    assert judged["z"].abs().max() < 4
    # Neither must the intervals be too wide: half of all |z| lie above 0.67.
    assert judged["z"].abs().median() > 0.3


def test_the_mean_is_unbiased_and_the_logarithm_is_not(rows):
    for proposal in ("uniform", "prior", "learned"):
        assert (pick(rows, proposal, "mean")["exact"] == 1).all()
        log_bias = pick(rows, proposal, "log_bias")["exact"].to_numpy()
        assert (log_bias < 0).all()
        assert (np.diff(log_bias) > 0).all()
        variance = pick(rows, proposal, "variance")
        np.testing.assert_allclose(variance["exact"] * variance["num_samples"], variance["exact"][0], rtol=1e-12)
        # To leading order log p − E log p̂ is half the variance.
        assert log_bias[-1] == pytest.approx(-variance["exact"].iloc[-1] / 2, rel=0.25)


def test_a_learned_proposal_beats_one_that_has_not_seen_the_datum(rows):
    for proposal in ("uniform", "prior"):
        assert pick(rows, "learned", "variance")["exact"][0] < 0.2 * pick(rows, proposal, "variance")["exact"][0]
        assert pick(rows, "learned", "share")["estimate"][2] > 1.5 * pick(rows, proposal, "share")["estimate"][2]


def test_reported_standard_errors_are_too_small_at_few_draws_and_honest_at_many(rows):
    uniform, learned = pick(rows, "uniform", "coverage"), pick(rows, "learned", "coverage")
    assert uniform["num_samples"].tolist() == [16, 256]
    assert uniform["estimate_high"][0] < 0.9
    assert uniform["estimate"][1] > uniform["estimate"][0] + 0.05
    assert learned["estimate"][1] == pytest.approx(0.95, abs=0.03)


def test_a_share_of_draws_tends_to_its_limit_and_under_a_uniform_proposal_to_the_share_of_codes(rows):
    learned = pick(rows, "learned", "share")
    assert learned["estimate"][2] == pytest.approx(learned["exact"][2], rel=0.1)
    codes = rows[rows["proposal"] == "codes"]["exact"].iloc[0]
    assert codes == pytest.approx(pick(rows, "uniform", "share")["exact"][0], rel=1e-12)
    assert 1 / 2**6 < codes < 0.5


def test_figure_and_table_read_the_rows(rows):
    with style.context():
        assert len(evidence_estimators.figure(rows).axes) == 6
    table = evidence_estimators.table(rows)
    assert len(table) == 3 * (5 + 6 + 6)
    assert {"exact", "z"} <= set(table.columns)


def test_the_verdict_turns_with_a_mean_a_proposal_and_a_standard_error(rows):
    judge = evidence_estimators.verdict
    assert [each.holds for each in judge(rows)] == [True] * 4
    # Of a run that was stopped before a draw.
    assert [each.holds for each in judge(rows[:1])] == [None] * 4
    assert judge(rows.assign(z=rows["z"] + 10))[0].holds is False
    assert (
        judge(rows.assign(proposal=rows["proposal"].replace({"learned": "prior", "prior": "learned"})))[1].holds
        is False
    )
    half = {f"estimate{end}": rows[f"estimate{end}"] / 2 for end in ("", "_low", "_high")}
    assert judge(rows.assign(**half))[2].holds is False
    more = {f"estimate{end}": rows[f"estimate{end}"] + 0.4 for end in ("", "_low", "_high")}
    assert judge(rows.assign(**more))[3].holds is False
