"""What each bound makes of q and of θ, against closed forms."""

import numpy as np
import pytest

from experiments import cli, learned_proposal, style

CONFIG = learned_proposal.QUICK


@pytest.fixture(scope="module")
def rows():
    return cli.collect(learned_proposal.run, CONFIG)


@pytest.fixture(scope="module")
def learned(rows):
    """Means over seeds, by bound and turn."""
    return rows[rows["part"].eq("proposal")].groupby(["objective", "turn"]).mean(numeric_only=True)


def optimum(rows, name):
    return rows[rows["part"].eq("optimum") & rows["objective"].eq(name)].set_index("turn")


def test_each_optimum_is_the_best_by_its_own_measure_at_every_turn(rows):
    columns = {"elbo": "reverse_kl", "forward_kl": "forward_kl", "least variance": "relative_variance"}
    for name, column in columns.items():
        mine = optimum(rows, name)[column]
        for rival in columns.keys() - {name}:
            theirs = optimum(rows, rival)[column]
            assert (mine <= theirs * (1 + 1e-9) + 1e-9).all()
            assert (mine[0.5:] < theirs[0.5:]).all()
    reverse = optimum(rows, "elbo")
    np.testing.assert_allclose(reverse["reverse_kl"], reverse["best_gap"], atol=1e-9)


def test_elbo_finds_the_best_reverse_kl_and_wake_phi_the_best_forward_kl(rows, learned):
    every = rows[rows["part"].eq("proposal")]
    assert (every["reverse_kl"] > every["best_gap"] - 1e-9).all()
    for turn in CONFIG.turns:
        assert learned.loc[("elbo", turn), "reverse_kl"] < learned.loc[("elbo", turn), "best_gap"] + 0.1
    best, last = optimum(rows, "forward_kl")["forward_kl"], CONFIG.turns[-1]
    assert best[last] < learned.loc[("forward_kl", last), "forward_kl"] < best[last] + 0.03
    assert learned.loc[("elbo", last), "reverse_kl"] < learned.loc[("forward_kl", last), "reverse_kl"]
    assert learned.loc[("forward_kl", last), "forward_kl"] < learned.loc[("elbo", last), "forward_kl"]


def test_where_coordinates_are_strongly_correlated_only_the_elbo_buys_an_infinite_variance(learned):
    last = CONFIG.turns[-1]
    assert np.isinf(learned.loc[("elbo", last), "relative_variance"])
    assert np.isfinite(learned.loc[("elbo", last), "measured_variance"])
    assert learned.loc[("forward_kl", last), "relative_variance"] < 20
    assert learned.loc[("iwae", last), "relative_variance"] < 20


def test_importance_sampling_sees_the_exact_evidence_and_variance(rows):
    every = rows[rows["part"].eq("proposal")]
    assert every["log_evidence_z"].abs().max() < 4
    assert every["measured_variance_z"].notna().sum() >= len(CONFIG.turns)
    assert every["measured_variance_z"].abs().max() < 4
    known = every[every["measured_variance_z"].notna()]
    np.testing.assert_allclose(known["ess_share"], 1 / (1 + known["relative_variance"]), rtol=0.05)


def test_theta_never_passes_maximum_likelihood_and_comes_near_it_through_every_bound(rows):
    model = rows[rows["part"].eq("model")]
    assert set(model["best_log_likelihood"].round(5)) == {6.72507}  # 6.725075 for five latents
    assert (model["shortfall"] > -1e-9).all()
    assert (model[model["step"].eq(0)]["shortfall"] > 5).all()
    last = model[model["step"].eq(CONFIG.model_steps)].groupby("objective")["shortfall"].max()
    assert set(last.index) == {"elbo", "iwae", "forward_kl", "maximum_likelihood"}
    assert last.max() < 0.06
    assert last["maximum_likelihood"] < 1e-6


def test_figure_and_table_read_the_rows(rows):
    with style.context():
        assert len(learned_proposal.figure(rows).axes) == 6
    table = learned_proposal.table(rows)
    assert len(table) == (1 + 1 + 3 + 3) * len(CONFIG.turns) + 4
    assert not np.any(np.isnan(table["exact"]))


def test_the_verdict_turns_with_evidence_divergence_variance_and_likelihood(rows):
    judge = learned_proposal.verdict
    found = [each.holds for each in judge(rows)]
    assert found[::2] == [True, True]
    assert False not in found
    assert judge(rows.assign(log_evidence_z=rows["log_evidence_z"] + 10))[0].holds is False
    for shift in (-0.5, 0.5):
        assert judge(rows.assign(reverse_kl=rows["reverse_kl"] + shift))[1].holds is False
        assert judge(rows.assign(shortfall=rows["shortfall"] + shift))[3].holds is False
    assert judge(rows.assign(objective=rows["objective"].replace({"elbo": "iwae", "iwae": "elbo"})))[2].holds is False
    # Of a run that was stopped before θ was learned.
    assert judge(rows.query("part == 'optimum'"))[3].holds is None
