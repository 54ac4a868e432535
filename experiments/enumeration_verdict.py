"""What the rows of `enumeration_cost` say."""

import pandas as pd

from experiments.verdicts import Verdict, above, below, ends, every, text

ERROR = 1e-13
SLOPES = 0.8, 1.2
"""What a clock of a machine with other work to do may make of one doubling per bit."""


def verdict(rows: pd.DataFrame) -> list[Verdict]:
    """Judges the sums by two exact answers, and what they cost by the number of their terms."""
    error = rows[["free_energy_relative_error", "idle_relative_error"]].to_numpy()
    sums = Verdict(
        "The streamed sums are exact to rounding",
        f"the largest relative error of {error.size} checks is {error.max():.1e}",
        bool((error <= ERROR).all()),
    )
    return [sums, time(rows), memory(rows)]


def time(rows: pd.DataFrame) -> Verdict:
    """Judges doublings of time per bit, over the upper half of the d; the number of terms has one."""
    slope = ends(rows.iloc[-1], "exponent")
    holds = every([above(slope, SLOPES[0]), below(slope, SLOPES[1])])
    found = f"{text(slope)} doublings per bit, exact 1" if slope[0] == slope[0] else "too few d to fit a slope"
    return Verdict("Each bit doubles the time", found, holds)


def memory(rows: pd.DataFrame) -> Verdict:
    """Judges the memory of the two largest numbers of terms beside a table of all codes."""
    claim = "Streamed sums take memory that does not grow with the number of terms"
    if len(rows) < 2:
        return Verdict(claim, "a single d", holds=None)
    first, last = rows.iloc[-2], rows.iloc[-1]
    growth, terms = last["megabytes"] / first["megabytes"], last["codes"] / first["codes"]
    found = f"{growth:.2f} times the memory for {terms:.0f} times the terms, a table "
    found += f"{last['table_megabytes'] / first['table_megabytes']:.1f} times"
    # Before the first full chunk of terms it grows with them.
    full = first["codes"] >= 4096
    return Verdict(claim, found, bool(growth < 1 + 0.1 * (terms - 1)) if full else None)
