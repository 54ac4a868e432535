"""What the rows of `cost_of_variance` say."""

import numpy as np
import pandas as pd

from experiments.verdicts import Verdict, above, below, ends, every, numbers, text


def verdict(rows: pd.DataFrame) -> list[Verdict]:
    """Judges what a tighter bound costs φ̄ with all draws of the largest T, and what grouping costs."""
    most = rows.query("draws == draws.max()")
    grouping = numbers(most.dropna(subset=["grouping_mflop"]), "grouping_mflop")
    free = Verdict(
        "Grouping draws costs no operations",
        f"{100 * max(grouping - 1, default=np.nan):.2f} % more at most",
        bool((np.abs(grouping - 1) < 0.01).all()) if grouping.size else None,
    )
    return [
        *(by_model(str(name), here) for name, here in most.query("block == 'phi'").groupby("model", sort=False)),
        free,
    ]


def by_model(name: str, rows: pd.DataFrame) -> Verdict:
    """Judges the variance of φ̄ over its squared signal at the largest k beside that at k = 1, pathwise and DReG."""
    k = int(numbers(rows, "per_bound").max())
    cells = rows.set_index(["estimator", "per_bound"])
    path, dreg = (
        log_ratio(*(ends(cells.loc[(rule, size)], "relative_variance") for size in (k, 1)))
        for rule in ("pathwise", "doubly_reparameterized")
    )
    # k² to theory, where the weights vary little.
    power = tuple(end / np.log(k) for end in path)
    holds = every([above(path), below((dreg[0] - path[0], dreg[1] - path[2], dreg[2] - path[1]))])
    claim = f"On {name} groups of {k} draws cost φ̄ signal by the path, and less of it by DReG"
    found = f"variance / signal² goes like k^({text(power)}) by the path, {np.exp(path[0]):.3g} times at k = {k}, "
    return Verdict(claim, found + f"and {np.exp(dreg[0]):.3g} times by DReG", holds)


def log_ratio(top: tuple[float, float, float], bottom: tuple[float, float, float]) -> tuple[float, float, float]:
    """Returns log(top / bottom) of positive estimates with its interval, as if they were independent."""
    with np.errstate(divide="ignore"):
        (a, a_low, a_high), (b, b_low, b_high) = np.log(top), np.log(bottom)
    return a - b, a - b - np.hypot(a - a_low, b_high - b), a - b + np.hypot(a_high - a, b - b_low)
