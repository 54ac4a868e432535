"""Deep generative models, trained briefly: what the rows say, resumption, and what the figure reads."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pandas as pd
import pytest
from scipy import special

from experiments import cli, deep_generative, deep_presets, deep_rows, deep_scores, deep_training, progress, style
from experiments.deep_presets import Reference
from experiments.deep_scores import Scores
from experiments.store import as_frame

CONFIG = dataclasses.replace(deep_generative.QUICK, num_samples=(5,), num_steps=200, num_evaluations=4, num_draws=300)
CLOCKS = ["seconds", "steps_per_second"]


def collect(folder):
    blocks = deep_generative.run(CONFIG, progress.silent, folder)
    return pd.concat([as_frame(block) for block in blocks], ignore_index=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder, the rows, and what was scored: key, model, guide, parameters, images."""
    folder, scored, real = tmp_path_factory.mktemp("run"), [], deep_scores.scores_of_seeds
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            deep_scores, "scores_of_seeds", lambda *args, **options: scored.append(args) or real(*args, **options)
        )
        return folder, collect(folder), scored[0]


@pytest.fixture(scope="module")
def results(trained):
    return trained[1].query("part == 'result'").set_index(["method", "K", "seed"])


def made_up(rng, difficulty, offset):
    """Scores of a model on images that are harder or easier for every model alike."""
    noise = rng.normal(scale=0.1, size=difficulty.size)
    return Scores(
        difficulty + offset + noise,
        np.full(difficulty.size, 0.2),
        difficulty + 1,
        np.full(difficulty.size, 0.5),
        (np.array([1.0, 0.5, 1e-4]), np.array([0.2 * offset, 0.02])),
    )


def test_result_rows_are_means_and_gains_are_paired():
    rng = np.random.default_rng(0)
    difficulty = rng.normal(22, 5, size=400)
    first, second = ([made_up(rng, difficulty, offset) for offset in pair] for pair in ((1.0, 1.2), (0.5, 0.0)))
    *per_seed, mean = deep_rows.result_rows("iwae", 5, second, first, Reference(22.08), protocol="made up")
    assert [row["seed"] for row in (*per_seed, mean)] == ["0", "1", deep_rows.MEAN]
    for name in ("nll", "gain", "minus_elbo", "active_1", "active_2", "ess_share"):
        np.testing.assert_allclose(np.mean([row[name] for row in per_seed]), mean[name])
    np.testing.assert_allclose(mean["spread"], abs(per_seed[0]["nll"] - per_seed[1]["nll"]) / 2)
    assert [row["gain"] for row in per_seed] == pytest.approx([0.5, 1.2], abs=0.03)
    # 1.96 · 0.1 · √2 / √(400 · 2 seeds) beside 1.96 · 5 / √400.
    np.testing.assert_allclose(mean["gain_high"] - mean["gain"], 1.96 * 0.1 / 20, rtol=0.15)
    np.testing.assert_allclose(mean["nll_high"] - mean["nll"], 1.96 * 5 / 20, rtol=0.15)
    np.testing.assert_allclose([mean["mc_error"], per_seed[0]["mc_error"]], [0.2 / 800**0.5, 0.2 / 400**0.5])
    assert (mean["active_1"], mean["active_2"], mean["reference_nll"]) == (2, 1.5, 22.08)
    assert np.isnan(per_seed[0]["reference_nll"])


def test_a_guide_trained_by_iwae_is_above_the_evidence_and_the_curve_rises(trained, results):
    row = results.loc[("iwae", 5, deep_rows.MEAN)]
    assert row["minus_elbo"] - row["nll"] > 0.1
    assert 0.02 < row["ess_share"] < 0.95
    assert row["num_nonfinite"] == 0
    curve = trained[1].query("part == 'curve' and seed == '0'")
    assert list(curve["step"]) == [50, 100, 150, 200]
    assert (np.diff(curve["iwae"].astype(float)) > 0).all()
    assert (curve["iwae"] > curve["elbo"]).all()
    assert -row["nll"] == pytest.approx(curve["iwae"].iloc[-1], abs=2)


def test_the_nll_is_that_of_an_estimate_written_out_by_hand(trained, results):
    _, _, (_, _, _, params, x) = trained
    theta, phi = jax.tree.map(lambda leaf: np.asarray(leaf[1], float), params)
    x = np.asarray(x)

    def network(weights, values, *heads):
        for layer in ("Dense_0", "Dense_1"):
            values = np.tanh(values @ weights[layer]["kernel"] + weights[layer]["bias"])
        return [values @ weights[head]["kernel"] + weights[head]["bias"] for head in heads]

    loc, log_scale = network(phi, x, "loc", "log_scale")
    noise = np.random.default_rng(0).normal(size=(300, *loc.shape))
    z = loc + np.exp(log_scale) * noise
    (logits,) = network(theta, z, "logits")
    log_w = np.sum(x * logits - np.logaddexp(0, logits), axis=-1) - np.sum(z**2 - noise**2, axis=-1) / 2
    log_w += log_scale.sum(axis=-1)
    nll = np.log(len(z)) - special.logsumexp(log_w, axis=0)
    weights = special.softmax(log_w, axis=0)
    error = np.sqrt(np.sum(np.sum(weights**2, axis=0) - 1 / 1000)) / len(x)
    row = results.loc[("iwae", 5, "1")]
    assert abs(row["nll"] - nll.mean()) < 4 * np.hypot(row["mc_error"], error)
    assert np.hypot(row["mc_error"], error) < 0.02


def test_a_run_that_lost_its_last_block_ends_with_the_same_rows(trained, tmp_path):
    folder, rows, _ = trained
    copy = shutil.copytree(folder, tmp_path / "copy")
    shutil.rmtree(copy / "training" / "iwae-5" / "checkpoints" / "0000000200")
    again = collect(copy)
    pd.testing.assert_frame_equal(again.drop(columns=CLOCKS), rows.drop(columns=CLOCKS), check_exact=True)


def test_references_stand_beside_a_run_by_the_protocol_only():
    preset = deep_presets.preset("digits")
    assert deep_generative.reference(deep_generative.Config(), preset, "iwae", 50).nll == 21.90
    assert deep_generative.reference(CONFIG, preset, "iwae", 50) is None
    assert deep_generative.reference(deep_generative.Config(), preset, "rws", 5) is None


def test_methods_with_every_k_once():
    cells = deep_generative.cells(deep_generative.Config(more_methods=("iwae", "rws"), more_num_samples=(5, 7)))
    assert cells == [("iwae", 1), ("iwae", 5), ("iwae", 50), ("iwae", 7), ("rws", 5), ("rws", 7)]
    assert [deep_training.num_groups(k) for k in (1, 2, 5, 12, 16, 50)] == [1, 2, 5, 4, 4, 10]


@pytest.mark.parametrize("name", ["num_steps", "batch_size", "num_evaluations", "num_seeds", "num_test"])
def test_a_number_that_is_none_is_named(name, tmp_path):
    with pytest.raises(ValueError, match=f"{name} .*0"):
        next(deep_generative.run(dataclasses.replace(CONFIG, **{name: 0}), progress.silent, tmp_path))


def test_a_long_run_is_saved_often():
    assert deep_training.make_plan(9_840_000, 20, 24).every == 50_000
    assert deep_training.make_plan(12_000, 50, 24).every == 500
    assert deep_training.make_plan(3, 50, 24).every == 1


def test_an_image_is_its_text_again():
    image = np.linspace(0, 1, 64)
    text = deep_rows.as_text(image)
    np.testing.assert_allclose(deep_rows.as_image(text).ravel(), image, atol=0.002)
    assert deep_rows.as_text(np.zeros(4)) == "#00000000"


def test_figure_and_table_read_the_rows_as_they_come_from_the_file(trained, tmp_path):
    rows = trained[1]
    rows.to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "provenance.json").write_text(json.dumps({"experiment": "deep_generative"}))
    summary, *_ = cli.present(deep_generative.figure, deep_generative.table, deep_generative.verdict, tmp_path)
    assert list(summary["method"]) == ["IWAE"]
    assert list(summary["active"]) == ["10"]
    with style.context():
        assert len(deep_generative.figure(rows).axes) == 6


@pytest.mark.parametrize("flags", [("--preset", "minst"), ("--methods", "vea")])
def test_an_unknown_name_is_one_line(flags, capsys):
    with pytest.raises(SystemExit):
        cli.parse("deep_generative", "", CONFIG, flags)
    assert f"'{flags[1]}': choose from " in capsys.readouterr().err
