"""Hidden halves: evidence, conditional means and calibration against what is exact."""

import dataclasses

import numpy as np
import pytest

from experiments import cli, hidden_half, style
from vi_jax.data import digits_split

CONFIG = dataclasses.replace(hidden_half.QUICK, num_shown=6)


@pytest.fixture(scope="module")
def rows():
    return cli.collect(hidden_half.run, CONFIG)


@pytest.fixture(scope="module")
def images(rows):
    """`[digits, 64]` by model and what is shown."""
    pixels = rows[rows["part"].eq("image")]
    pixels = pixels.set_index(["model", "what", "digit", "pixel"])["value"].unstack("pixel")
    return {key: pixels.loc[key].to_numpy() for key in {key[:2] for key in pixels.index}}


def test_the_split_is_the_one_of_the_library():
    np.testing.assert_array_equal(hidden_half.split_digits().test_binary, digits_split().test)
    np.testing.assert_array_equal(hidden_half.split_digits().train, digits_split().train)


def test_estimates_of_the_visible_evidence_agree_with_the_exact_ones_and_with_each_other(rows):
    evidence = rows[rows["part"].eq("evidence")]
    assert evidence["z"].abs().max() < 4
    assert evidence["z"].abs().median() > 0.2
    assert len(evidence) == 4 * CONFIG.num_shown
    assert evidence["exact"].notna().eq(evidence["model"].ne("VAE")).all()
    assert evidence.groupby(["model", "what"])["ess_share"].mean().min() > 0.05


def test_estimated_hidden_pixels_agree_with_the_exact_conditional_mean(rows):
    pixels = rows[rows["part"].eq("hidden pixel")]
    assert set(pixels["model"]) == {"PPCA", "belief net"}
    assert pixels["z"].abs().max() < 4
    assert pixels["z"].abs().median() > 0.2


def test_a_models_own_images_are_calibrated_whatever_the_model(rows):
    curves = rows[rows["part"].eq("calibration")]
    own = curves[curves["what"].eq(hidden_half.OWN)]
    assert set(own["model"]) == {"PPCA", "belief net", "VAE"}
    assert own["z"].abs().max() < 4
    assert own["z"].abs().median() > 0.2
    real = curves[curves["what"].eq(hidden_half.REAL) & curves["model"].eq("PPCA")]
    # Real pixels are white more often than any Gaussian is at its mean: they cannot be calibrated.
    below = real.query("exact < 0.6")
    assert np.all(below["estimate_low"].to_numpy() > below["exact"].to_numpy())


def test_images_keep_their_visible_half_and_the_hidden_one_is_informed_by_it(images):
    visible, train = hidden_half.VISIBLE, np.asarray(digits_split().train)
    for (model, what), shown in images.items():
        truth = images["truth", "grey" if model == "PPCA" else "binary"]
        if model != "truth":
            np.testing.assert_allclose(shown[:, visible], truth[:, visible], atol=1e-6)
        if what == "mean":
            error = np.mean((shown - truth)[:, ~visible] ** 2)
            assert error < 0.95 * np.mean((train.mean(axis=0) - truth)[:, ~visible] ** 2)
        if what.startswith("draw") and model != "PPCA":
            assert set(np.unique(shown)) <= {0, 1}
            assert np.any(shown[:, ~visible] != truth[:, ~visible])


def test_share_is_the_mean_with_the_standard_error_of_independent_images():
    rng = np.random.default_rng(0)
    chosen = rng.random((200, 9)) < 0.7
    # All pixels of an image equal: as many independent numbers as images, not pixels.
    values = np.repeat(rng.normal(size=(200, 1)), 9, axis=1)
    mean, error = hidden_half.share(values, chosen)
    np.testing.assert_allclose(mean, values[chosen].mean(), rtol=1e-12)
    resampled = rng.integers(200, size=(2000, 200))
    bootstrap = (values * chosen).sum(1)[resampled].sum(1) / chosen.sum(1)[resampled].sum(1)
    np.testing.assert_allclose(error, bootstrap.std(), rtol=0.06)


def test_figure_and_table_read_the_rows(rows):
    with style.context():
        assert len(hidden_half.figure(rows).axes) == 4
    table = hidden_half.table(rows)
    assert set(table["what"]) == set(hidden_half.TITLES.values())
    known = table["model"].ne("VAE") | table["what"].eq("calibration")
    np.testing.assert_array_equal(table["exact"].notna(), known)


def test_the_verdict_holds_and_turns_with_every_part(rows):
    judge = hidden_half.verdict
    assert [each.holds for each in judge(rows)] == [True] * 4
    assert [each.holds for each in judge(rows.assign(z=rows["z"] + 10))] == [False, False, False, True]
    calibrated = {f"estimate{end}": rows["exact"] for end in ("", "_low", "_high")}
    assert judge(rows.assign(**calibrated))[3].holds is None
    fewer = {f"estimate{end}": rows[f"estimate{end}"] - 0.5 for end in ("", "_low", "_high")}
    assert judge(rows.assign(**fewer))[3].holds is False
