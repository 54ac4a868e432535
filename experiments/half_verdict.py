"""What the rows of `hidden_half` say."""

import numpy as np
import pandas as pd

from experiments.verdicts import Verdict, above, against, agree, below, ends, every, numbers, text, where


def verdict(rows: pd.DataFrame) -> list[Verdict]:
    """Judges p(x_visible) and hidden pixels by exact answers or two guides, and calibration by its definition."""
    evidence, pixels = (rows.query(f"part == '{part}'") for part in ("evidence", "hidden pixel"))
    own = rows.query('part == "calibration" and what == "the model\'s own"')
    exact, rivals = (where(evidence, mask) for mask in (evidence["exact"].notna(), evidence["exact"].isna()))
    return [
        agree(
            "log p(x_visible) and hidden pixels by importance sampling are the exact ones of PPCA and the belief net",
            numbers(known := pd.concat([exact, pixels]), "z"),
            wrong=against(known, "estimate", known.groupby(["part", "model"])["exact"].transform("mean")),
        ),
        agree("The two guides of the VAE agree on log p(x_visible)", numbers(rivals, "z")),
        agree("For images that a model draws its hidden pixels are calibrated", numbers(own, "z")),
        real(rows.query("part == 'calibration' and what == 'real digits' and model == 'PPCA'")),
    ]


def real(rows: pd.DataFrame) -> Verdict:
    """Judges PPCA's narrowest interval and its 95 % interval on real digits."""
    claim = "For real digits PPCA's are not: its narrow intervals hold too many grey pixels, its wide ones too few"
    narrow, wide = (where(rows, np.isclose(numbers(rows, "exact"), level)) for level in (0.1, 0.95))
    if narrow.empty or wide.empty:
        return Verdict(claim, "no such intervals", holds=None)
    held = {float(here["exact"].iloc[0]): ends(here.iloc[0], "estimate") for here in (narrow, wide)}
    (small, many), (large, few) = held.items()
    found = ", ".join(f"{100 * level:.0f} % hold {text(value)}" for level, value in held.items())
    return Verdict(claim, found, every([above(many, small), below(few, large)]))
