"""What is printed and drawn of the rows: a table that begins with what fits 80 columns, and a dot per ratio."""

import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from experiments import store, style, tables

WIDE = 240


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns what is worth printing, first things first: a terminal drops the last columns that it has no room for."""
    case = case_names(rows)
    interval = {f"× time{end}": rows[f"ratio{end}"] for end in ("", "_low", "_high")}
    variance = {
        f"× {name} {letter}{end}": rows[f"{column}_{part}{end}"]
        for name, column in (("var", "variance_ratio"), ("var·time", "cost_ratio"))
        for part, letter in (("theta", "θ"), ("phi", "φ"))
        for end in ("", "_low", "_high")
    }
    return pd.DataFrame(
        {
            "case": case.where(case != case.shift(), ""),
            "program": rows["program"],
            "ms": rows["milliseconds"].map(three_digits),
            **interval,
            "MB": (rows["temporary_bytes"] / 1e6).map(three_digits).round(3),
            "compile": rows["compile_seconds"].round(1),
            "trace": rows["trace_seconds"].round(1),
            "× FLOPs": rows["flops_ratio"].round(3),
            "% peak": (100 * rows["peak_share"]).map(three_digits),
            "draws/s": rows["draws_per_second"].map(three_digits),
            **variance,
            "GFLOP": (rows["flops"] / 1e9).map(three_digits),
            "GB moved": (rows["bytes_accessed"] / 1e9).map(three_digits),
            "B/draw": rows["bytes_per_draw"].map(three_digits),
            "peak MB": (rows["peak_bytes"] / 1e6).map(three_digits),
        }
    )


def case_names(rows: pd.DataFrame) -> pd.Series:
    """Returns the name of each row's case, with its arithmetic where there are several."""
    several = len(set(rows["arithmetic"])) > 1
    both = zip(rows["name"], rows["arithmetic"], strict=True)
    return pd.Series([f"{name} {kind}" if several else name for name, kind in both], index=rows.index)


def three_digits(value: float) -> float:
    """Returns the number in three significant digits."""
    return float(f"{value:.3g}")


def write_wide(folder: Path) -> Path:
    """Writes all rows and columns as text; above them the device, below them why a number is missing. Returns where."""
    rows, path = store.read(folder), folder / "table.txt"
    with store.writing(path), open(path, "w", encoding="utf-8") as file:
        console = Console(file=file, width=WIDE)
        console.print(setting(folder), markup=False, highlight=False)
        for start in range(0, len(rows), tables.MAX_ROWS):
            tables.show(table(rows).iloc[start : start + tables.MAX_ROWS], console)
        for line in reasons(rows):
            console.print(line, markup=False, highlight=False)
    return path


def setting(folder: Path) -> str:
    """Returns in one line where and with what a run was made."""
    record = store.read_provenance(folder)
    device, commit = record["device"], (record["git"]["commit"] or "unknown")[:10]
    changed = ", changed" if record["git"]["dirty"] else ""
    where = f"{device['count']} × {device['platform']} ({device['kind']}), {device['cpu_count']} cores of the host"
    return f"{where}; jax {record['packages'].get('jax')}; commit {commit}{changed}; {record['started'][:10]}"


def reasons(rows: pd.DataFrame) -> Iterator[str]:
    """Yields why numbers are missing, and of which programs, a line per reason."""
    notes = rows.assign(note=rows["notes"].fillna("").str.split("; ")).explode("note")
    for note, programs in notes.loc[notes["note"] != ""].groupby("note"):
        which = [f"{case} {name}" for case, name in zip(programs["name"], programs["program"], strict=True)]
        yield f"– {note}: {'every program' if len(which) == len(rows) else ', '.join(which)}"


def figure(rows: pd.DataFrame) -> Figure:
    """Draws time / hand-written time of every program that was timed beside one, a row each."""
    rows = rows.assign(case=case_names(rows))
    timed = rows.loc[rows["ratio"].notna() & rows.duplicated("case")].iloc[::-1].reset_index(drop=True)
    drawn, axes = style.panels(height=0.6 + 0.17 * len(timed))
    axes[0, 0].hlines(timed.index, timed["ratio_low"], timed["ratio_high"], color=style.BLUE, linewidth=0.8)
    axes[0, 0].plot(timed["ratio"], timed.index, "o", color=style.BLUE)
    axes[0, 0].axvline(1, color=style.BLACK, linewidth=0.8)
    axes[0, 0].set_yticks(timed.index, timed["case"] + ", " + timed["program"])
    axes[0, 0].set_ylim(-0.6, max(len(timed), 1) - 0.4)
    if not math.isnan(timed["ratio"].max()):
        style.log_x_axis(axes[0, 0])
    axes[0, 0].set_xlabel("time / time of the first program of its case")
    return drawn
