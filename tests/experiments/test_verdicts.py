"""Verdicts: the helpers by exact cases, and those of experiments whose tests train too little by rows made by hand."""

import importlib
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import experiments
from experiments import (
    certified_views,
    deep_verdict,
    discrete_verdict,
    intervals,
    marginal_verdict,
    posterior_verdict,
    verdicts,
)
from experiments.verdicts import Verdict

FILES = sorted(Path(experiments.__file__).parent.glob("*.py"))
NAMES = [path.stem for path in FILES if re.search(r"^def run\(", path.read_text(encoding="utf-8"), re.MULTILINE)]


def test_every_experiment_has_a_verdict_and_hands_it_to_the_command_line():
    assert len(NAMES) >= 19
    for name in NAMES:
        module = importlib.import_module(f"experiments.{name}")
        assert callable(module.verdict), name
        source = Path(str(module.__file__)).read_text(encoding="utf-8")
        assert re.search(r"cli\.main\([^\n]*\bverdict=verdict\b", source), name


@pytest.mark.parametrize(("holds", "word"), [(True, "holds"), (False, "fails"), (None, "not resolved")])
def test_a_verdict_is_one_line(holds, word):
    assert verdicts.line(Verdict("a < b", "1 ± 2", holds)) == f"{word}: a < b — 1 ± 2"


def around(errors):
    """Rows of estimates that are so many standard errors away from 3."""
    return pd.DataFrame([intervals.around("x", 3 + error, 1) | {"exact": 3.0} for error in errors])


@pytest.mark.parametrize(
    ("errors", "holds"),
    [
        ([0.5] * 95 + [2.5] * 5, True),
        # P(Binomial(100, .05) ≥ 13) = 0.0015 and P(… ≥ 14) = 0.0005.
        ([0.5] * 87 + [2.5] * 13, True),
        ([0.5] * 86 + [-2.5] * 14, False),
        # One interval that is far away is enough.
        ([0.5] * 99 + [5.0], False),
        ([math.nan], None),
        ([], None),
    ],
)
def test_intervals_cover_as_often_as_they_say(errors, holds):
    rows = around(errors) if errors else pd.DataFrame(columns=["x", "x_low", "x_high", "exact"])
    found = verdicts.covered("c", rows, "x", "exact")
    assert found.holds is holds
    if len(errors) == 100:
        inside = np.sum(np.abs(errors) < 2)
        assert found.found.startswith(f"{inside} of 100 95 % intervals contain the exact answer; the largest |z| is")
        assert found.found.endswith("the line for 100 of them 4.4")


def test_the_line_of_z_scores_is_that_of_one_in_a_thousand():
    line = stats.norm.isf(0.0005)
    assert verdicts.agree("c", [line - 1e-6]).holds is True
    assert verdicts.agree("c", [-line - 1e-6]).holds is False
    # Of a thousand scores, or of the largest of a thousand, one beyond it is nothing; by Student's t neither.
    assert verdicts.agree("c", [0.0] * 999 + [4.8]).holds is verdicts.agree("c", [4.8], num=1000).holds is True
    assert verdicts.agree("c", [line + 1], freedom=5).holds is True
    assert verdicts.agree("c", [0.1, math.nan]).holds is False
    assert verdicts.agree("c", []).holds is None


def test_intervals_that_are_too_wide_resolve_nothing():
    z = np.random.default_rng(0).normal(size=(2000, 8))
    assert verdicts.agree("c", z[0] / 100).holds is None
    assert verdicts.agree("c", z[0] / 100, small=0).holds is True
    # Not those of right models, two or three scores of which are independent.
    assert sum(verdicts.agree("c", np.repeat(row[:3], 4)).holds is None for row in z) <= 4
    answers = np.linspace(0, 1, 8)
    for error, holds in ((0.01, True), (0.3, None)):
        rows = pd.DataFrame([intervals.around("x", a + error, error) | {"exact": a} for a in answers])
        assert verdicts.covered("c", rows, "x", "exact").holds is holds
        wrong = verdicts.against(rows, "x", 0.5)
        assert verdicts.agree("c", verdicts.z_scores(rows, "x", "exact"), wrong=wrong).holds is holds


def test_seeds_are_apart_by_students_t():
    assert verdicts.apart([0.31, 0.29], [0.88, 0.68]) is True
    # In order, which two pairs of seeds are by chance in one of six cases.
    assert verdicts.apart([0.53, 0.42], [1.01, 0.80]) is None
    assert verdicts.apart([1.01, 0.80], [0.31, 0.29]) is None
    assert verdicts.apart([1.01, 1.00], [0.31, 0.29]) is False
    assert verdicts.apart([1.0], [2.0]) is None
    z = np.random.default_rng(1).normal(size=(2, 2000, 2))
    found = [verdicts.apart(a, b) for a, b in zip(*z, strict=True)]
    assert found.count(True) / 2000 == pytest.approx(0.025, abs=0.01)
    assert found.count(False) <= 6


def test_a_certificate_without_numbers_and_a_source_without_any_do_not_hold():
    row = {"claim": "unbiased", "family": "Gaussian", "bound": "iwae", "estimator": "e", "green": True, "error": np.nan}
    for z, answer in ((0.3, True), (9.0, False), (math.nan, False)):
        assert certified_views.verdict(pd.DataFrame([row | {"z_theta": z, "z_phi": z}]))[0].holds is answer
    rows = pd.DataFrame([{"part": "p(x)", "x": "x", "exact": 0.5, "z_score": 0.0, "printed": np.nan}])
    rows = rows.assign(**intervals.around("estimate", 0.5, 0.1))
    assert marginal_verdict.verdict(rows)[2].holds is None


def test_right_models_do_not_fail_and_wrong_ones_do():
    z = np.random.default_rng(0).normal(size=(400, 30))
    assert sum(verdicts.agree("c", row).holds is False for row in z) <= 4
    assert all(verdicts.covered("c", around(row + 2), "x", "exact").holds is False for row in z[:20])


def test_z_scores_know_the_longer_side_and_the_degrees_of_freedom():
    rows = pd.DataFrame({"x": [5.0, 3.0], "x_low": [4.0, 3.0], "x_high": [7.0, 3.0], "exact": [3.0, 3.0]})
    np.testing.assert_allclose(verdicts.z_scores(rows, "x", "exact"), [intervals.QUANTILE, 0])
    np.testing.assert_allclose(verdicts.z_scores(rows, "x", "exact", 4), np.array([stats.t.ppf(0.975, 4), 0]))


@pytest.mark.parametrize(
    ("value", "above", "below"), [(1.1, True, None), (0.9, None, None), (-1.1, None, True), (-1.7, False, True)]
)
def test_a_sign_holds_at_95_and_fails_at_99_9_per_cent(value, above, below):
    ends = (value, value - 1, value + 1)
    assert verdicts.above(ends) is above
    assert verdicts.below(ends) is below
    assert verdicts.below(tuple(-end for end in (ends[0], ends[2], ends[1]))) is above
    assert verdicts.above((math.nan,) * 3) is verdicts.below((math.nan,) * 3) is None


def test_tolerances_combinations_and_differences():
    assert [verdicts.within(e, 1, 2) for e in ([0.5, -1], [0.5, -1.5], [0.5, 3], [math.nan], [])] == [
        *(True, None, False, False),
        None,
    ]
    assert [verdicts.every(a) for a in ([True, True], [True, None], [None, False], [])] == [True, None, False, None]
    np.testing.assert_allclose(
        verdicts.difference((5, 2, 9), (1, -3, 4)), (4, 4 - math.hypot(3, 3), 4 + math.hypot(4, 4))
    )
    assert verdicts.text((1.234, 1.2, 1.3)) == "1.234 ± 0.066"


def holds(found):
    return [each.holds for each in found]


def test_discrete_latents_are_judged_by_paired_differences():
    def rows(sign):
        paired = {"VIMCO(5) − NVIL(1)": -0.17, "NVIL(1) − exact ELBO": 0.11}
        common = {"part": "difference", "K": 0, "step": 0}
        nll = [common | {"method": name} | intervals.around("nll", sign * d, 0.02) for name, d in paired.items()]
        common = {"part": "mixture", "K": 2, "step": 10}
        lost = [("RWS", 6.4, 1.5), ("defensive RWS", 6.4 - sign * 5.8, 0.3)]
        return pd.DataFrame(nll + [common | {"method": name} | intervals.around("lost", *at) for name, *at in lost])

    assert holds(discrete_verdict.verdict(rows(1))) == [True] * 3
    assert holds(discrete_verdict.verdict(rows(-1))) == [False] * 3
    assert discrete_verdict.verdict(rows(1).query("method == 'RWS'")) == []


def test_deep_models_are_judged_by_references_gains_and_guides():
    def rows(sign, reference):
        made = []
        cells = (("iwae", 1, 0.0, 0.4), ("iwae", 5, 0.35 * sign, 0.4 + 0.8 * sign), ("dreg", 5, 0.7 * sign, 1.0))
        for method, k, gain, divergence in cells:
            for seed in ("0", "1", "mean"):
                scores = intervals.around("nll", 22 - gain, 0.2) | intervals.around("gain", gain, 0.03)
                scores |= intervals.around("minus_elbo", 22 - gain + divergence, 0.2)
                scores |= {"reference_nll": 22 - gain + reference, "reference_minus_elbo": scores["minus_elbo"]}
                made.append({"part": "result", "method": method, "K": k, "seed": seed} | scores)
        return pd.DataFrame(made)

    assert holds(deep_verdict.verdict(rows(1, 0.1))) == [True] * 4
    assert holds(deep_verdict.verdict(rows(-1, 2.0))) == [False] * 4
    assert deep_verdict.verdict(rows(1, 0.1).query("K == 0")) == []


def test_posteriors_are_judged_by_evidence_optima_and_what_is_trusted():
    good = {
        **{"target": "mixture", "guide": "full-rank", "objective": "reverse-kl", "level": "trusted"},
        **intervals.around("elbo", -1.02, 0.01),
        **{"log_z": -1.0, "log_z_source": "known", "elbo_best": -1.01, "elbo_error": -0.01, "reference_mcse": 0.01},
        **{"mean_error": 0.05, "sd_ratio": 1.03, "corrected_mean_error": 9.0, "corrected_sd_ratio": 9.0},
    }
    missed = {"level": "not to be trusted", "mean_error": 2.0}
    above = intervals.around("elbo", -0.9, 0.01) | {"elbo_error": 0.11}
    assert holds(posterior_verdict.verdict(pd.DataFrame([good, good | missed]))) == [True] * 3
    assert holds(posterior_verdict.verdict(pd.DataFrame([good, good | above]))) == [False, None, True]
    wrong = good | {"mean_error": 0.4, "elbo_error": -0.9}
    assert holds(posterior_verdict.verdict(pd.DataFrame([good, wrong]))) == [True, False, False]
    corrected = good | {"level": "trusted after importance correction"}
    assert posterior_verdict.verdict(pd.DataFrame([corrected]))[2].holds is False


def test_a_negative_number_is_printed_with_a_minus_and_an_exponent_is_not():
    found = verdicts.typeset("gain -0.5 ± 0.1, error 2.1e-03, by eight-schools, -3 to -1, (-2)")
    assert found == "gain −0.5 ± 0.1, error 2.1e-03, by eight-schools, −3 to −1, (−2)"
