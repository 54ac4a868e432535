"""What the rows of `gradient_snr` say."""

import pandas as pd

from experiments.verdicts import Verdict, above, against, agree, below, every, numbers, z_scores

GROUPS_LESS_ONE = 19
"""Degrees of freedom of every interval: a sweep has 20 groups of replicates."""
COORDINATES = 1000
"""As many as a row may have behind its largest z, 440 by default: the rows do not say."""


def verdict(rows: pd.DataFrame) -> list[Verdict]:
    """Judges slopes by those of theory and mean gradients by the exact ones."""
    cells, found = rows.query("part == 'cell'"), rows.query("part == 'slope'")
    limits = found.dropna(subset=["limit_low"])
    mean = agree(
        "Every mean gradient is the exact one in every coordinate",
        numbers(cells, "largest_z"),
        num=COORDINATES * len(cells),
    )
    limit = agree(
        "For K → ∞ the SNR goes like K^½ or K^−½, as theory says of each bound and estimator",
        z_scores(limits, "limit", "theory", GROUPS_LESS_ONE),
        freedom=GROUPS_LESS_ONE,
        wrong=against(limits, "limit", 0.0, GROUPS_LESS_ONE),
    )
    return [mean, limit, signs(found.query("block == 'phi'")), measured(cells)]


def signs(rows: pd.DataFrame) -> Verdict:
    """Judges the direction of each line through log SNR of φ̄, which small K have too."""
    up, slopes = numbers(rows, "theory") > 0, rows[["slope", "slope_low", "slope_high"]].to_numpy()
    holds = every((above if rises else below)(line) for rises, line in zip(up, slopes, strict=True))
    groups = (("rise", slopes[up, 0]), ("fall", slopes[~up, 0]))
    found = ", ".join(f"{len(s)} {word} with slopes {s.min():.2f} to {s.max():.2f}" for word, s in groups if len(s))
    return Verdict("The SNR of φ̄ rises with K or falls, as theory says of each bound and estimator", found, holds)


def measured(rows: pd.DataFrame) -> Verdict:
    """Judges the SNR whose signal is the mean of the gradients by that of the exact signal, where it is resolved."""
    kept = rows.query("measured_low > 0")
    found = agree(
        "Where the mean of the gradients is resolved from zero, it gives the SNR of the exact signal",
        z_scores(kept, "measured", "snr", GROUPS_LESS_ONE),
        freedom=GROUPS_LESS_ONE,
    )
    return found._replace(found=f"{len(kept)} of {len(rows)} are resolved; {found.found}")
