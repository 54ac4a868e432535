"""The tables of a run, for the terminal and for a page, and its figure."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from experiments import style
from experiments.bench.peers.contest import OK


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns a line per program: how many times as long it takes as the library's, or why that is not known."""
    return pd.DataFrame(
        {
            "peer": rows["peer"],
            "work": rows["workload"],
            "K": rows["num_samples"],
            "peer / ours": [ratio(row) for row in rows.to_dict("records")],
            "program": rows["program"],
            "what it is": rows["label"],
            "ours ms": rows["reference_milliseconds"].map(three_digits),
            "ms": rows["milliseconds"].map(three_digits),
            "value": [agreement(row) for row in rows.to_dict("records")],
        }
    )


def ratio(row: Mapping[Any, Any]) -> str:
    """Returns the median ratio and its interval, or the status of what was not timed."""
    if row["status"] != OK:
        return str(row["status"])
    if math.isnan(row["ratio"]):
        return f"{three_digits(row['flops_ratio'])} × operations"
    return f"{three_digits(row['ratio'])} ({three_digits(row['ratio_low'])} to {three_digits(row['ratio_high'])})"


def agreement(row: Mapping[Any, Any]) -> str:
    """Returns the value reached and the library's, with how far they may lie apart; – where nothing is reached."""
    if math.isnan(row["value"]) or row["tolerance"] == 0:
        return "–"
    return f"{row['value']:.2f}, ours {row['expected']:.2f}, ± {row['tolerance']:.2f}"


def three_digits(value: float) -> str:
    """Returns a number in three significant digits, without an exponent; – for NaN."""
    if math.isnan(value):
        return "–"
    return f"{float(f'{value:.3g}'):.12g}"


def figure(rows: pd.DataFrame) -> Figure:
    """Draws peer / ours of every program that was timed, a row each."""
    timed = rows.loc[rows["ratio"].notna()].iloc[::-1].reset_index(drop=True)
    drawn, axes = style.panels(height=0.8 + 0.14 * len(timed))
    looks = style.cycle(sorted(rows["peer"].unique()))
    for peer, here in timed.groupby("peer"):
        look = looks[str(peer)] | {"linestyle": "none"}
        axes[0, 0].hlines(here.index, here["ratio_low"], here["ratio_high"], color=look["color"], linewidth=0.8)
        axes[0, 0].plot(here["ratio"], here.index, **look)
    samples = ", K = " + timed["num_samples"].astype(str)
    axes[0, 0].axvline(1, color=style.BLACK, linewidth=0.8)
    axes[0, 0].set_yticks(timed.index, timed["peer"] + ", " + timed["workload"] + samples + ", " + timed["program"])
    axes[0, 0].set_ylim(-0.6, len(timed) - 0.4)
    style.log_x_axis(axes[0, 0])
    axes[0, 0].set_xlabel("time / time of the library's program")
    return drawn
