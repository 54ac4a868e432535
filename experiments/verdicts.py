"""What the rows of an experiment say to its question: claims that could be false, and whether they hold.

An experiment module has a function `verdict(rows) -> list[Verdict]`; the command line prints what it returns, and reads
rows of the quick form as well as of the full one. A claim holds where 95 % intervals say so. It fails only at an error
probability of 0.1 %, so that a verdict of a few dozen rows does not fail by chance. Between the two it is not resolved.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from experiments import intervals, tables

ERROR = 1e-3
"""The probability of failing by chance."""
SMALL, MANY = 0.1, 8
"""So many z-scores of right intervals are not all smaller, even if only two or three of them are independent."""
WIDER = float(stats.norm.isf(ERROR / 2)) / intervals.QUANTILE
"""How many times as long as a 95 % interval one of 99.9 % is."""


class Verdict(NamedTuple):
    """A claim, judged.

    Attributes:
      claim: one sentence that could be false.
      found: the numbers, with intervals, beside the exact ones.
      holds: None where these rows do not resolve it.
    """

    claim: str
    found: str
    holds: bool | None


Judge = Callable[[pd.DataFrame], list[Verdict]]


def line(verdict: Verdict) -> str:
    """Returns the verdict as one line: `holds: claim — found`."""
    word = {True: "holds", False: "fails", None: "not resolved"}[verdict.holds]
    return f"{word}: {verdict.claim} — {typeset(verdict.found)}"


def typeset(found: str) -> str:
    """Returns the text with a minus sign before each negative number, for a hyphen; exponents stay as they are."""
    return re.sub(r"(?<!\w)-(?=\d)", "−", found)


def covered(claim: str, rows: pd.DataFrame, name: str, exact: str) -> Verdict:
    """Judges by independent 95 % intervals: do they contain the exact answers as often as they say?

    Fails if P(Binomial(m, 5 %) ≥ misses) < 0.1 %, or if the largest |z| is beyond the line of `agree`. Not resolved
    where intervals are so wide that one number, the mean of the answers, would be the answer to all as well.

    Args:
      claim: what is then true.
      rows: independent of each other; those without an exact answer or without an interval are left out.
      name: of the column with the estimates, beside `<name>_low` and `<name>_high`.
      exact: of the column with the answers.
    """
    kept = rows.dropna(subset=[exact, f"{name}_low", f"{name}_high"])
    low, high, answer = (kept[column].to_numpy(float) for column in (f"{name}_low", f"{name}_high", exact))
    differ = len(set(answer)) > 1
    wrong = against(kept, name, answer.mean()) if differ else None
    agreement = agree(claim, z_scores(kept, name, exact), wrong=wrong)
    if kept.empty:
        return agreement
    inside = int(np.sum((low <= answer) & (answer <= high)))
    often = stats.binom.sf(len(kept) - inside - 1, len(kept), 0.05) >= ERROR
    found = f"{inside} of {len(kept)} 95 % intervals contain the exact answer; {agreement.found}"
    return Verdict(claim, found, agreement.holds if often else False)


def z_scores(rows: pd.DataFrame, name: str, exact: str, freedom: float = np.inf) -> np.ndarray:
    """Returns (estimate − exact) / standard error, the error from the longer side of the 95 % interval by Student's t.

    Zero where estimate and answer are the same number.
    """
    value, low, high, answer = (rows[column].to_numpy(float) for column in (name, f"{name}_low", f"{name}_high", exact))
    error = np.maximum(value - low, high - value) / stats.t.ppf(0.975, freedom)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(value == answer, 0.0, (value - answer) / error)


def against(rows: pd.DataFrame, name: str, answer: Any, freedom: float = np.inf) -> np.ndarray:
    """Returns the z-scores that the estimates would have if `answer`, a number or a column, were right."""
    return z_scores(rows.assign(answer=answer), name, "answer", freedom)


def agree(
    claim: str,
    z: ArrayLike,
    num: int | None = None,
    freedom: float = np.inf,
    wrong: ArrayLike | None = None,
    small: float = SMALL,
) -> Verdict:
    """Judges by z-scores that need not be independent: is the largest |z| of m below the line of 0.1 % / m?

    A z-score that is not a number fails; no z-score at all resolves nothing. Nor do intervals so wide that a wrong
    answer would be below the line too, or that all of eight z-scores or more are next to nothing.

    Args:
      claim: what is then true.
      z: `[m]`, or the largest of every group of them.
      num: m, if these are the largest of more.
      freedom: of the Student's t that a z-score has if the claim is true.
      wrong: the z-scores against a wrong answer, which these rows should be able to refuse.
      small: what is next to nothing; 0 for z-scores that are cut off at zero.
    """
    z = np.abs(np.asarray(z, float))
    if not z.size:
        return Verdict(claim, "nothing was measured", holds=None)
    if np.isnan(z).any():
        return Verdict(claim, f"{np.isnan(z).sum()} of {z.size} z-scores are not numbers", holds=False)
    num = z.size if num is None else num
    limit = float(stats.t.isf(ERROR / 2 / num, freedom))
    found = f"the largest |z| is {z.max():.1f}, the line for {num} of them {limit:.1f}"
    if z.max() > limit:
        return Verdict(claim, found, holds=False)
    if z.size >= MANY and z.max() < small:
        return Verdict(claim, f"{found}; the intervals are many times as wide as the errors", holds=None)
    if wrong is not None and not np.abs(wrong).max() > limit:
        return Verdict(claim, f"{found}; a wrong answer would be below it too", holds=None)
    return Verdict(claim, found, holds=True)


def above(ends: Iterable[float], bound: float = 0.0) -> bool | None:
    """Whether a quantity is above a bound, from its (value, low, high), a 95 % interval.

    True where all of the interval is, False where all of one of 99.9 % is below, else None; None for NaN.
    """
    value, low, high = ends
    if low > bound:
        return True
    return False if value + WIDER * (high - value) < bound else None


def below(ends: Iterable[float], bound: float = 0.0) -> bool | None:
    """As `above`, on the other side."""
    value, low, high = ends
    return above((-value, -high, -low), -bound)


def apart(lower: ArrayLike, higher: ArrayLike) -> bool | None:
    """Whether the runs of one kind, a number for each seed, have a smaller mean than those of another.

    By Student's t with the pooled variance, at 95 % and on the other side at 99.9 %. Two seeds are both below two
    others in one of six cases by chance: their order alone resolves nothing. None for a single run of each.
    """
    lower, higher = np.asarray(lower, float), np.asarray(higher, float)
    freedom = lower.size + higher.size - 2
    if freedom < 1:
        return None
    squares = sum(float(np.sum((side - side.mean()) ** 2)) for side in (lower, higher))
    error = np.sqrt(squares / freedom * (1 / lower.size + 1 / higher.size))
    rise = higher.mean() - lower.mean()
    if rise > stats.t.ppf(0.975, freedom) * error:
        return True
    return False if rise < -stats.t.isf(ERROR / 2, freedom) * error else None


def within(errors: ArrayLike, near: float, far: float) -> bool | None:
    """Whether all errors are at most `near` in size: True, or None where one is not; False where one is beyond `far`.

    For what is to come to an end that steps and draws are bought for: the quick form buys few. NaN is beyond.
    """
    size = np.abs(np.asarray(errors, float))
    if not size.size or (np.all(size <= far) and not np.all(size <= near)):
        return None
    return bool(np.all(size <= near))


def difference(first: Iterable[float], second: Iterable[float]) -> tuple[float, float, float]:
    """Returns (value, low, high) of first − second for independent estimates: half-widths add in squares."""
    (a, a_low, a_high), (b, b_low, b_high) = first, second
    return a - b, a - b - np.hypot(a - a_low, b_high - b), a - b + np.hypot(a_high - a, b - b_low)


def ends(row: Any, name: str) -> tuple[float, float, float]:
    """Returns (value, low, high) of a column of one row."""
    return float(row[name]), float(row[f"{name}_low"]), float(row[f"{name}_high"])


def where(rows: pd.DataFrame, kept: Any) -> pd.DataFrame:
    """Returns the rows for which `kept`, a column of booleans, is true."""
    return pd.DataFrame(rows[np.asarray(kept, bool)])


def numbers(rows: pd.DataFrame, name: str) -> np.ndarray:
    """Returns a column as an array."""
    return np.asarray(rows[name], float)


def every(answers: Iterable[bool | None]) -> bool | None:
    """False if one is, else None if one is or there is none, else True."""
    answers = list(answers)
    if any(answer is False for answer in answers):
        return False
    return None if not answers or any(answer is None for answer in answers) else True


def text(ends: Iterable[float]) -> str:
    """Returns `value ± half-width` of (value, low, high), the longer side."""
    value, low, high = map(float, ends)
    return tables.plus_minus(value, max(value - low, high - value))
