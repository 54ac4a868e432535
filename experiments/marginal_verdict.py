"""What the rows of `marginal_likelihood` say."""

import numpy as np
import pandas as pd

from experiments.verdicts import Verdict, agree, covered, numbers

LAST_DIGIT = 0.01
"""Of the printed numbers."""


def verdict(rows: pd.DataFrame) -> list[Verdict]:
    """Judges sums over z by ancestral draws, and the source's marginals by the sums of its cells."""
    counted = rows.query("part in ('p(x)', 'p(z | x)')")
    averaged = rows.query("part == 'E p(z | x)'")
    printed = rows.dropna(subset=["printed"])
    off = numbers(printed, "printed") - numbers(printed, "exact")
    wrong = ", ".join(f"{x} by {value:+.2f}" for x, value in zip(printed["x"], off, strict=True) if abs(value) > 1e-6)
    return [
        covered("p(x) and p(z | x) of the table are how often ancestral draws say", counted, "estimate", "exact"),
        agree("Over images drawn from the mixture p(z | x) averages to p(z)", numbers(averaged, "z_score")),
        Verdict(
            "What the source prints differs from the sums of its cells by the rounding of its last digit at most",
            f"of {off.size} numbers off: {wrong or 'none'}",
            bool((np.abs(off) <= LAST_DIGIT + 1e-6).all()) if off.size else None,
        ),
    ]
