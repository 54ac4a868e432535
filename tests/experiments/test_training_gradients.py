"""The noise of gradients at frozen checkpoints of a training run."""

import numpy as np
import pytest

from experiments import cli, style, training_gradients

CONFIG = training_gradients.QUICK


@pytest.fixture(scope="module")
def rows():
    return cli.collect(training_gradients.run, CONFIG)


def test_every_stop_has_every_gradient_at_every_k(rows):
    assert len(rows) == len(CONFIG.steps) * len(CONFIG.num_samples) * len(training_gradients.LABELS)
    assert set(rows["step"]) == set(CONFIG.steps)


def test_training_raises_the_bound_and_ends_with_less_signal_in_every_gradient(rows):
    """At convergence the mean gradient vanishes and the noise does not."""
    first, last = (
        rows[rows["step"].eq(step) & rows["K"].eq(16)].set_index(["objective", "block"]) for step in (0, 600)
    )
    assert (last["bound"] > first["bound"] + 1).all()
    path = ("iwae/pathwise", "phi")
    assert last.loc[path, "snr_high"] < first.loc[path, "snr_low"]


def test_the_pathwise_variance_is_the_unit_and_others_are_below_it_where_draws_are_many(rows):
    path = rows[rows["objective"].eq("iwae/pathwise")]
    np.testing.assert_allclose(path["variance_ratio"], 1.0, rtol=1e-6)
    many = rows[rows["objective"].eq("iwae/doubly_reparameterized") & rows["K"].eq(16)]
    assert (many["variance_ratio_high"] < 1).all()
    # Paired: shorter than two intervals of 100 replicates each would be.
    assert (many["variance_ratio_high"] / many["variance_ratio_low"] < 3).all()


def test_wake_phi_without_a_score_is_zero_at_one_draw(rows):
    here = rows[rows["objective"].eq("forward_kl/wake_phi_doubly_reparameterized") & rows["K"].eq(1)]
    np.testing.assert_allclose(here["variance_ratio"], 0.0, atol=1e-10)


def test_figure_and_table_read_the_rows(rows):
    with style.context():
        assert len(training_gradients.figure(rows).axes) == len(CONFIG.num_samples)
    assert len(training_gradients.table(rows)) == 3 * len(training_gradients.LABELS)


def test_the_verdict_turns_where_training_runs_backwards_or_a_variance_grows(rows):
    judge = training_gradients.verdict
    assert [each.holds for each in judge(rows)][:2] == [True, True]
    assert [each.holds for each in judge(rows.assign(step=-rows["step"]))][:2] == [False, False]
    larger = {f"variance_ratio{end}": rows[f"variance_ratio{end}"] + 2 for end in ("", "_low", "_high")}
    assert judge(rows.assign(**larger))[2].holds is False
