"""The certificate is green, and each of many wrong estimators turns its row red."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np
import pandas as pd
import pytest

import vi_jax as vi
from experiments import certified_discrete, certified_page, certified_problems, certify, cli, style
from experiments import certified_others as others
from experiments.claims import (
    AT_THE_POSTERIOR,
    BIASED,
    BOUNDS,
    ESTIMATORS,
    FORWARD_KL,
    PAIRED,
    UNBIASED,
    Claim,
    EstimatorRow,
)
from vi_jax import bounds
from vi_jax.estimators import estimator


@pytest.fixture(scope="module")
def rows():
    # The other families have tests of their own, which measure every row of theirs.
    return cli.collect(certify.run, dataclasses.replace(certify.QUICK, subjects=()))


def test_every_row_is_green(rows):
    assert len(rows) >= 60
    assert rows["green"].all()
    assert set(rows["claim"]) == {UNBIASED, PAIRED, BIASED, FORWARD_KL}


def test_z_scores_are_those_of_noise(rows):
    z = rows.query(f"family == 'Gaussian' and claim == '{UNBIASED}'")["z_phi"]
    assert 0.2 < np.sqrt(np.mean(z**2)) < 2


def test_variances_are_in_the_order_that_theory_gives(rows):
    v = rows.query("family == 'Gaussian' and bound == 'iwae'").set_index("estimator")["relative_variance"]
    assert (
        v["ovis"] < v["doubly_reparameterized"] < 0.1 < v["vimco"] < v["leave_one_out"] < 1 < 30 < v["score_function"]
    )
    exact = rows.query("family == 'discrete' and bound == 'elbo'").set_index("estimator")["variance_phi"]
    assert exact["leave_one_out"] < exact["vimco"] < exact["score_function"]


def test_a_divergence_is_paired_with_pathwise_and_minimized_where_it_says_so(rows):
    here = rows.query("family == 'Gaussian' and bound == 'kl_forward'").set_index("estimator")
    assert here.loc["vimco", "claim"] == PAIRED
    assert here.loc["pathwise", "z_phi"] == 0
    # The pairing leaves z-scores of noise, and compares with a gradient that is not zero.
    assert 0.01 < abs(here.loc["vimco", "z_phi"]) < certify.LINE
    assert (here["exact"] > 0.01).all()
    down = rows[rows["estimator"] == "minimized(score_function)"]
    assert set(down["bound"]) == {name for name, row in BOUNDS.items() if row.minimized}


def test_the_exact_gradient_is_that_of_enumeration_and_of_a_closed_form():
    with jax.enable_x64(True):
        published = certified_problems.exact_discrete(("iwae",), 2)["iwae"][3:]
        np.testing.assert_allclose(published, (0.2603143, -0.0087879, -0.2515263), atol=1e-7)
        one = certified_problems.exact_gaussian(("elbo", "iwae"), 1)
        np.testing.assert_allclose(one["elbo"], one["iwae"], rtol=1e-9)
        # ∂ log s of E log q is −1, and ∂θ of E log p is the mean of z less θ: 0.7 + 0.4.
        np.testing.assert_allclose(one["elbo"][0], 1.1, rtol=1e-9)


def test_a_pair_that_is_undefined_has_no_row(rows):
    assert not certify.is_defined(Claim("iwae", "vimco", UNBIASED), 1)
    assert not certify.is_defined(Claim("miwae(2)", "pathwise", UNBIASED), 3)
    assert not certify.is_defined(Claim("miwae(2)", "leave_one_out", UNBIASED), 2)
    assert not certify.is_defined(Claim("jackknife(1)", "leave_one_out", UNBIASED), 2)
    assert not certify.is_defined(Claim("log_variance", "leave_one_out", UNBIASED), 2)
    assert not certify.is_defined(Claim("elbo", "ovis", UNBIASED), 2)
    assert certify.is_defined(Claim("iwae", "ovis", UNBIASED), 2)
    assert certify.kind_at(Claim("iwae", "sticking_the_landing", BIASED), 1) == UNBIASED
    assert len(rows) == len(rows.drop_duplicates(["family", "bound", "estimator", "num_samples"]))


def test_table_figure_and_page_read_the_rows(rows, tmp_path):
    assert len(certify.table(rows)) == 2 * len(BOUNDS)
    assert "RED" not in certify.table(rows).to_string()
    red = rows.assign(green=False)
    assert (certify.table(red).to_string().count("RED")) >= 2 * len(BOUNDS)
    with style.context():
        assert len(certify.figure(rows).axes) == 2
    (tmp_path / "rows.csv").write_text(rows.to_csv(index=False))
    certified_page.main(tmp_path, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert page.count("green |") == len(rows)
    assert "| `iwae` | `doubly_reparameterized` |" in page
    assert "Other families" not in page
    with_other = [other(num_samples=k, green=True) for k in certified_discrete.ROWS[0].num_samples]
    pd.concat([rows, pd.DataFrame(with_other)]).to_csv(tmp_path / "rows.csv", index=False)
    certified_page.main(tmp_path, tmp_path / "page.md")
    assert "| Bernoulli | elbo | `disarm` |" in (tmp_path / "page.md").read_text()


def test_a_red_row_fails_the_command(rows, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.setattr(cli, "main", lambda *args, **kwargs: folder)
    rows.to_csv(folder / "rows.csv", index=False)
    certify.main()
    rows.assign(green=[False, *[True] * (len(rows) - 1)]).to_csv(folder / "rows.csv", index=False)
    with pytest.raises(SystemExit, match="error: a claim fails"):
        certify.main()


# --- mutants: errors that were published or shipped somewhere, and slips of the pen -----------------------------------


def edited(name: str, edit: Callable[[vi.Coefficients, jax.Array, vi.BoundFn], vi.Coefficients]) -> vi.Estimator:
    """Returns an estimator of the library with its coefficients edited."""

    @estimator
    def mutant(bound: vi.BoundFn, log_w: jax.Array) -> vi.Coefficients:
        return edit(ESTIMATORS[name].estimator(bound)(log_w), log_w, bound)

    return mutant


def a_of(bound: vi.BoundFn, log_w: jax.Array) -> jax.Array:
    return bounds.gradient(bound)(log_w)


MUTANTS = {
    "weights not squared": ("iwae", edited("doubly_reparameterized", lambda c, w, L: c._replace(path=a_of(L, w)))),
    "squared for θ too": ("iwae", edited("doubly_reparameterized", lambda c, w, L: c._replace(model=c.path))),
    "guide unstopped": ("iwae", edited("doubly_reparameterized", lambda c, w, L: c._replace(score=-c.path))),
    "half of the score": ("renyi(2)", edited("pathwise", lambda c, w, L: c._replace(score=c.score / 2))),
    "score flipped": ("cubo(2)", edited("pathwise", lambda c, w, L: c._replace(score=-c.score))),
    "of another bound": (
        "ciwae(0.3)",
        edited("pathwise", lambda c, w, L: ESTIMATORS["pathwise"].estimator(bounds.iwae)(w)),
    ),
    "DReG of IWAE under MIWAE": (
        "miwae(2)",
        edited("doubly_reparameterized", lambda c, w, L: c._replace(path=bounds.normalized_weights(w) ** 2)),
    ),
    "left for right": (
        "thermodynamic_upper",
        edited(
            "doubly_reparameterized", lambda c, w, L: c._replace(path=bounds.gradient(BOUNDS["thermodynamic"].bound)(w))
        ),
    ),
    "1/K for 1/(K−1)": ("elbo", edited("leave_one_out", lambda c, w, L: c._replace(score=c.score * (1 - 1 / len(w))))),
    "−a dropped": ("iwae", edited("vimco", lambda c, w, L: c._replace(score=c.score + a_of(L, w)))),
    "baseline sees its draw": (
        "iwae",
        edited("score_function", lambda c, w, L: c._replace(score=c.score - w)),
    ),
    "sum for mean": ("elbo", edited("score_function", lambda c, w, L: c._replace(model=c.model * len(w)))),
    "jackknife of IWAE's DReG": (
        "jackknife(1)",
        edited("doubly_reparameterized", lambda c, w, L: c._replace(path=bounds.normalized_weights(w) ** 2)),
    ),
    "no h in a divergence": (
        "kl_forward",
        edited("doubly_reparameterized", lambda c, w, L: c._replace(path=a_of(L, w))),
    ),
    "a variance as KL": ("log_variance", edited("vimco", lambda c, w, L: c._replace(score=a_of(L, w)))),
    "baseline of OVIS sees w̃": ("iwae", edited("ovis", lambda c, w, L: c._replace(score=c.score + c.model))),
    "STL called unbiased": ("eubo", edited("sticking_the_landing", lambda c, w, L: c)),
}


def test_every_mutant_turns_its_row_red():
    """All of them in one program; the last is no wrong estimator but a wrong claim."""
    rules = {name: EstimatorRow(rule, "", "", reparameterized=True) for name, (_, rule) in MUTANTS.items()}
    claims = tuple(Claim(bound, name, UNBIASED) for name, (bound, _) in MUTANTS.items())
    unit = {"pathwise": ESTIMATORS["pathwise"]}
    with jax.enable_x64(True):
        key = jax.random.key(0)
        measured = certified_problems.measure_gaussian(key, claims, 8, 20_000, rules | unit)
        exact = certified_problems.exact_gaussian(tuple(dict.fromkeys(c.bound for c in claims)), 8)
    worst = {}
    for claim, difference, noise in zip(claims, measured.difference, measured.difference_variance, strict=True):
        deviation = difference - exact.get(claim.bound, 0.0)
        z = deviation / np.maximum(np.sqrt(noise / measured.num_replicates), certify.ROUNDING)
        worst[claim.estimator] = float(np.abs(z).max())
    assert len(worst) >= 12
    assert {name: z for name, z in worst.items() if z < certify.LINE} == {}


def test_a_mutant_under_a_discrete_guide_is_seen_without_noise():
    name, slip = "vimco", edited("vimco", lambda c, w, L: c._replace(score=c.score * (1 + 1e-6)))
    with jax.enable_x64(True):
        (row,) = certify.discrete_rows(4, (Claim("iwae", name, UNBIASED),), {name: EstimatorRow(slip, "", "")})
    assert not certify.is_green(row | {"order": np.nan, "order_low": np.nan, "order_high": np.nan})


def order_of(row: dict) -> tuple:
    return row["order"], row["order_low"], row["order_high"]


def order_after(num_samples: int, bias: float, error: float, row: dict) -> tuple:
    """The order of a row's bias at twice the K of a row like it."""
    before = {"num_samples": num_samples, "bias_phi": bias, "bias_error": error}
    return order_of(certify.with_order(before, row | {"num_samples": 2 * num_samples}))


def test_a_bias_that_does_not_shrink_is_red(rows):
    row = rows.query(f"family == 'discrete' and claim == '{FORWARD_KL}'").iloc[0].to_dict()

    def judged(before, row):
        return certify.is_green(row | dict(zip(("order", "order_low", "order_high"), before, strict=True)))

    same = order_after(4, row["bias_phi"], 0.0, row)
    halved = order_after(4, 2 * row["bias_phi"], 0.0, row)
    assert same == pytest.approx((0, 0, 0), abs=1e-9)
    assert halved == pytest.approx((1, 1, 1), abs=1e-9)
    assert not judged(same, row)
    assert judged(halved, row)
    # Nothing is held against a bias that the draws do not resolve; but the first of its kind must be resolved.
    noisy = row | {"bias_error": row["bias_phi"], "family": "Gaussian", "z_theta": 0.0}
    assert judged(order_after(4, row["bias_phi"], row["bias_phi"], noisy), noisy)
    first = order_of(certify.with_order(None, noisy))
    assert np.isnan(first).all()
    assert not judged(first, noisy)


def other(**changed) -> dict:
    """A green row of another family, with some of it changed."""
    row = {"family": "Bernoulli", "bound": "elbo", "estimator": "disarm", "num_samples": 8, "claim": UNBIASED}
    row |= {"zero_variance": False, "claimed_order": np.nan, "z_phi": 1.0, "bias_phi": 0.1, "bias_error": 0.1}
    return row | {"exact": 1.0, "variance_phi": 1.0, "variance_error": 0.01} | changed


def test_other_families_are_judged_by_what_they_claim():
    def green(row: dict, before: dict | None = None) -> bool:
        return others.is_green(others.with_order(before, row))

    assert green(other())
    assert not green(other(z_phi=-5.1))
    assert not green(other(zero_variance=True))
    assert green(other(zero_variance=True, variance_phi=1e-25))
    assert not green(other(claim=BIASED))
    assert green(other(claim=BIASED, bias_error=0.01))
    steady = {"claim": BIASED, "claimed_order": 1.0, "bias_error": 1e-4}
    assert green(other(**steady, bias_phi=0.1), other(**steady, num_samples=4, bias_phi=0.2))
    assert not green(other(**steady, bias_phi=0.1), other(**steady, num_samples=4, bias_phi=0.1))


def test_every_row_of_another_family_is_listed_once_with_a_source():
    rows = [row for subject in others.ROWS.values() for row in subject]
    assert len({(row.family, row.target, row.estimator) for row in rows}) == len(rows) >= 30
    assert all(row.source and row.claim and row.kind in (UNBIASED, BIASED) for row in rows)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_is_quiet_at_the_posterior_exactly_where_the_page_says_so(name):
    """log w is constant there, and so is ∂_z log w = 0: what is left of φ̄ is the score term."""
    row = ESTIMATORS[name]
    for bound in ("elbo", "iwae"):
        if row.only is None or bound in row.only:
            score = row.estimator(BOUNDS[bound].bound)(jax.numpy.full((4, 1), -1.3)).score
            quiet = row.quiet == AT_THE_POSTERIOR or (bound == "elbo" and "for the ELBO" in row.quiet)
            assert (np.abs(score).max() < 1e-7) == quiet


def test_the_verdict_holds_and_turns_with_a_failing_row_or_a_score_beyond_the_line(rows):
    assert [each.holds for each in certify.verdict(rows)] == [True] * 3
    # Of a run that was stopped: what is biased is measured for the Gaussian guide alone.
    assert [each.holds for each in certify.verdict(rows.query("family == 'discrete'"))] == [True, None, True]
    assert [each.holds for each in certify.verdict(rows.assign(z_theta=9.0))] == [False] * 3
    red = rows["green"] & ~(rows["estimator"].eq("pathwise") & rows["bound"].eq("iwae"))
    first, *others = certify.verdict(rows.assign(green=red))
    assert [first.holds, *(each.holds for each in others)] == [False, True, True]
    assert first.found.endswith("failing: iwae × pathwise")
