"""The sums say what the cells say, and the generative process agrees with them."""

import numpy as np
import pytest

from experiments import cli, marginal_likelihood, style
from vi_jax.data import digits_split


@pytest.fixture(scope="module")
def rows():
    return cli.collect(marginal_likelihood.run, marginal_likelihood.QUICK)


def part(rows, name):
    return rows[rows["part"] == name]


def test_the_marginals_are_the_cells_and_the_printed_totals_differ_by_rounding(rows):
    sums = part(rows, "Σ cells").set_index("x")
    assert dict(sums["exact"]) == pytest.approx({"brown": 0.19, "blue": 0.37, "green": 0.43, "any": 0.99}, abs=1e-6)
    rounding = marginal_likelihood.table(rows).query("part == 'Σ cells'").set_index("x")["rounding"]
    assert dict(rounding) == pytest.approx({"brown": 0, "blue": 0, "green": 0.01, "any": 0.01}, abs=1e-6)


def test_the_posterior_is_the_row_divided_by_its_sum(rows):
    posterior = part(rows, "p(z | x)").pivot(index="x", columns="z", values="exact")
    assert np.asarray(posterior.sum(axis=1)) == pytest.approx(1, abs=1e-6)
    assert posterior.loc["brown", "Italian"] == pytest.approx(0.07 / 0.19, rel=1e-5)
    assert posterior.loc["green", "Chinese"] == pytest.approx(0.08 / 0.43, rel=1e-5)


@pytest.mark.parametrize("name", ["p(x)", "p(z | x)", "E p(z | x)"])
def test_frequencies_among_ancestral_draws_agree_with_the_sums(rows, name):
    z = part(rows, name)["z_score"].abs()
    assert z.max() < 4
    # An error that is stated too large would pass the line above.
    assert z.median() > 0.15


def test_what_has_probability_zero_is_never_drawn(rows):
    impossible = part(rows, "p(z | x)").query("x == 'brown' and z == 'Spanish'").iloc[0]
    assert impossible["exact"] == impossible["estimate"] == 0 < impossible["estimate_high"]


def test_the_mixture_has_learned_more_than_the_mean_image(rows):
    split = digits_split()
    mean = np.clip(np.asarray(split.train).mean(axis=0), 1e-3, 1 - 1e-3)
    independent = np.log(np.where(np.asarray(split.test[:10]) == 1, mean, 1 - mean)).sum(axis=1)
    log_p = part(rows, "log p(x)")["exact"]
    assert log_p.mean() > independent.mean() + 2
    posterior = part(rows, "p(z | x) of a digit").groupby("x")["exact"]
    assert np.asarray(posterior.sum()) == pytest.approx(1, abs=1e-5)


def test_pixels_are_images(rows):
    for name, values in {"draw": {0, 1}, "digit": {0, 1}}.items():
        pixels = part(rows, name)
        assert len(pixels) == 640
        assert set(pixels["value"]) == values
    assert part(rows, "component")["value"].between(0, 1).all()


def test_figure_reads_the_rows(rows):
    with style.context():
        assert len(marginal_likelihood.figure(rows.replace("", np.nan)).axes) == 32


def test_the_verdict_holds_and_turns_with_a_frequency_and_a_printed_number(rows):
    judge = marginal_likelihood.verdict
    assert [each.holds for each in judge(rows)] == [True] * 3
    assert judge(rows.assign(exact=rows["exact"] + 0.02))[0].holds is False
    assert judge(rows.assign(z_score=rows["z_score"] + 10))[1].holds is False
    assert judge(rows.assign(printed=rows["printed"] + 0.02))[2].holds is False
