"""A swapped objective: where it begins, and which way it goes."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from experiments import progress, style, swap_objectives
from experiments.store import as_frame

CONFIG = dataclasses.replace(swap_objectives.QUICK, num_steps=400, more_steps=200, num_evaluations=4, num_draws=300)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    blocks = swap_objectives.run(CONFIG, progress.silent, tmp_path_factory.mktemp("run"))
    return pd.concat([as_frame(block) for block in blocks], ignore_index=True)


@pytest.fixture(scope="module")
def results(rows):
    return rows.query("part == 'result' and seed == 'mean'").set_index("method")


def test_each_way_on_follows_its_beginning_and_its_gain_is_counted_from_there(rows, results):
    assert tuple(results.index) == swap_objectives.ORDER
    assert list(results["K"]) == [1, 1, 5, 5, 5, 1]
    for name in swap_objectives.ORDER:
        first = name.partition(swap_objectives.THEN)[0]
        np.testing.assert_allclose(results["gain"][name], results["nll"][first] - results["nll"][name], atol=1e-6)
    curve = rows.query("part == 'curve' and seed == '0'").groupby("method")["step"].apply(list)
    assert curve["vae"] == [100, 200, 300, 400]
    assert curve["vae then iwae"] == [500, 600]
    # It goes on from where the first stage ended: a hundred steps do not undo four hundred.
    start = rows.query("part == 'curve' and step == 100 and method == 'vae'")["iwae"].astype(float).mean()
    after = rows.query("part == 'curve' and step == 500 and method == 'vae then iwae'")["iwae"].astype(float).mean()
    assert after > start + 0.5


def test_a_swapped_objective_moves_its_own_bound_more_than_the_control_does(results):
    gap = results["minus_elbo"] - results["nll"]
    assert gap["vae then iwae"] > gap["vae then vae"] + 0.02
    assert gap["iwae then vae"] < gap["iwae then iwae"] - 0.02
    assert results["minus_elbo"]["iwae then vae"] < results["minus_elbo"]["iwae then iwae"]
    assert results["nll"]["iwae"] < results["nll"]["vae"]


def test_figure_and_table_read_the_rows(rows):
    with style.context():
        assert len(swap_objectives.figure(rows).axes) == 3
    table = swap_objectives.table(rows)
    assert list(table["objective"])[1:3] == ["VAE, then VAE", "VAE, then IWAE"]


def test_the_verdict_turns_where_the_swapped_are_taken_for_their_controls(rows):
    assert False not in [each.holds for each in swap_objectives.verdict(rows)]
    gains = {f"gain{end}": rows["method"].str.endswith("then iwae") * 1.0 for end in ("", "_low", "_high")}
    guides = {"minus_elbo": rows["nll"] + 2 * rows["method"].str.endswith("then iwae")}
    clear = rows.assign(**gains, **guides)
    assert [each.holds for each in swap_objectives.verdict(clear)] == [True] * 3
    names = {f"{first} then {then}": f"{first} then {other}" for first, then, other in PAIRS}
    swapped = clear.assign(method=clear["method"].replace(names))
    assert [each.holds for each in swap_objectives.verdict(swapped)] == [False] * 3


PAIRS = (("vae", "vae", "iwae"), ("vae", "iwae", "vae"), ("iwae", "vae", "iwae"), ("iwae", "iwae", "vae"))
