"""The rows of a certificate for a reader: the matrix that `experiments/certify.py` prints, and its figure."""

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments import style
from experiments.certified_others import LINE
from experiments.claims import BIASED, ESTIMATORS, FORWARD_KL, PAIRED, UNBIASED
from experiments.verdicts import Verdict, numbers, where

PAIRS = ("discrete", "Gaussian")
"""The guides of the two tables of pairs; every other family is one of `certified_others`."""
COLUMNS = {
    "path": ("pathwise",),
    "STL": ("sticking_the_landing",),
    "DReG": ("doubly_reparameterized",),
    "score": ("score_function", "minimized(score_function)"),
    "LOO": ("leave_one_out", "ovis"),
    "VIMCO": ("vimco", "vimco_arithmetic"),
    "wake": ("wake_phi", "wake_phi_doubly_reparameterized"),
}
"""The columns of the printed matrix, and what each of them sums up."""


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns a matrix of guides, bounds and estimators: the largest z-score, or what is known of the bias.

    Of pairs at the largest K, of other objectives at every K.
    """
    named = [name for names in COLUMNS.values() for name in names]
    last = rows.sort_values("num_samples").drop_duplicates(["family", "bound", "estimator"], keep="last")
    lines = []
    for family, bound in rows[["family", "bound"]].drop_duplicates().itertuples(index=False):
        source = last if family in PAIRS else rows
        here = source.query(f"family == '{family}' and bound == '{bound}'").to_dict("records")
        line = {"guide": family[:9], "bound": bound.replace("thermodynamic", "thermo.")[:13]}
        for column, estimators in COLUMNS.items():
            line[column] = cell([row for row in here if row["estimator"] in estimators])
        lines.append(line | {"other": cell([row for row in here if row["estimator"] not in named])})
    return pd.DataFrame(lines)


def cell(rows: list[dict[Hashable, Any]]) -> str:
    """Returns a cell of the matrix. "bias", "→KL" (forward KL): as claimed; "ref.": what others are paired with."""
    if not rows:
        return ""
    if not all(row["green"] for row in rows):
        return "RED"
    claims = {row["claim"] for row in rows}
    if not claims <= {UNBIASED, PAIRED}:
        words = {BIASED: "bias", FORWARD_KL: "→KL"}
        return " ".join(words[claim] for claim in words if claim in claims)
    if rows[0]["family"] == "discrete":
        return "exact"
    if all(row["claim"] == PAIRED and row["estimator"] == "pathwise" for row in rows):
        return "ref."
    return f"{np.nanmax([[abs(row.get('z_theta', np.nan)), abs(row['z_phi'])] for row in rows]):.1f}"


def verdict(rows: pd.DataFrame) -> list[Verdict]:
    """Judges each kind of claim by its rows: all of them must be green, and no z-score of a zero beyond the line."""
    claims = {
        (UNBIASED, PAIRED): "Every estimator that claims no bias has the exact gradient in θ and φ",
        (BIASED,): "Every estimator that is listed as biased has a bias in φ that is resolved, and none in θ",
        (FORWARD_KL,): "wake-φ follows −∇KL(p(z | x) ‖ q) with a bias of order 1/K",
    }
    found = []
    for kinds, claim in claims.items():
        here = where(rows, rows["claim"].isin(kinds))
        sums, red = here.query("family == 'discrete'"), where(here, ~here["green"].astype(bool))
        # θ̄ is unbiased in every row, φ̄ where that is the claim.
        z = np.abs(here[["z_theta", "z_phi"] if kinds == (UNBIASED, PAIRED) else ["z_theta"]].to_numpy(float))
        words = f"{len(here) - len(red)} of {len(here)} rows pass, {len(sums)} of them without Monte Carlo"
        if kinds == (UNBIASED, PAIRED):
            words += (
                f" to {numbers(sums, 'error').max(initial=0):.0e}; the largest |z| is {np.nanmax(z, initial=0):.1f}"
            )
        words += "".join(f"; failing: {row['bound']} × {row['estimator']}" for _, row in red.iloc[:1].iterrows())
        # A row has a z-score, or the error of a sum; without either its mark says nothing.
        measured = bool(np.all(np.any(here[["z_phi", "error"]].notna().to_numpy(), axis=1)))
        # Beside the mark that the run has set, the numbers of the row.
        found.append(Verdict(claim, words, red.empty and measured and not (z > LINE).any() if len(here) else None))
    return found


def figure(rows: pd.DataFrame) -> Figure:
    """Draws the z-scores of what is claimed unbiased, and the variances relative to pathwise."""
    panels = style.panels(1, 2, height=3.2)
    scores(panels.axes[0, 0], rows.query("family != 'discrete'"))
    variances(panels.axes[0, 1], rows.query("family == 'Gaussian'"))
    style.legend(panels.figure)
    return panels.figure


def scores(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws the distribution of all z-scores that should be those of a standard normal."""
    z = np.concatenate([rows["z_theta"], rows.query(f"claim in {[UNBIASED, PAIRED]}")["z_phi"]])
    # A difference from pathwise that is zero in every draw, as that of θ̄ is, is not measured.
    z = z[np.abs(z) > 1e-9]  # and NaN is not, where a row has no z-score of its own for θ̄
    axes.hist(z, bins=22, range=(-5.5, 5.5), color=style.BLUE, alpha=0.6)
    for line in (-LINE, LINE):
        axes.axvline(line, color=style.VERMILLION, linewidth=1)
    axes.set(
        xlabel="z-score of a mean gradient", ylabel="coordinates", title=f"{len(z)} claims of no bias, on shared draws"
    )


def variances(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws the variance of φ̄ relative to pathwise at the largest K, one mark per estimator."""
    largest = rows["num_samples"].max()
    last = rows.query(f"num_samples == {largest}")
    left_out = "pathwise", "minimized(score_function)", "wake_phi", "wake_phi_doubly_reparameterized"
    shown = [name for name in ESTIMATORS if name not in left_out]
    names = list(dict.fromkeys(last["bound"]))
    for name, look in style.cycle(shown).items():
        here = last.query(f"estimator == '{name}'")
        look["linestyle"] = ""
        axes.plot([names.index(bound) for bound in here["bound"]], here["relative_variance"], **look)
    axes.axhline(1, color=style.BLACK, linewidth=0.8)
    # Too many decades for plain numbers.
    axes.set_yscale("log")
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axes.set(ylabel="variance of φ̄ ÷ that of pathwise", title=f"Gaussian guide, K = {largest}")
