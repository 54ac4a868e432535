"""A frame as a table for the terminal: intervals as value ± half-width, never wider than the screen."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

MAX_ROWS = 60
UNBOUNDED = 100_000
LARGEST_FIXED = 1e6
SMALLEST_FIXED = 1e-4


def number(value: Any) -> str:
    """Returns a number in four significant digits (integers whole, – for NaN), anything else as it is."""
    if not isinstance(value, (float, np.floating)):
        return str(value)
    if math.isnan(value):
        return "–"
    whole = float(value).is_integer() and abs(value) < LARGEST_FIXED
    return f"{value:.0f}" if whole else f"{value:.4g}"


def plus_minus(value: float, half_width: float) -> str:
    """Returns `value ± half_width`: two digits of the half-width, and the value to the same place.

    A half-width that is not a number, as from a single replicate, leaves the value alone.
    """
    if math.isnan(value) or math.isnan(half_width):
        return number(float(value))
    if math.isinf(value) or math.isinf(half_width) or half_width == 0:
        return f"{number(float(value))} ± {number(float(half_width))}"
    scale = max(abs(value), half_width)
    place = math.floor(math.log10(half_width))
    if SMALLEST_FIXED <= scale < LARGEST_FIXED:
        decimals = max(0, 1 - place)
        return f"{value:.{decimals}f} ± {half_width:.{decimals}f}"
    digits = max(0, math.floor(math.log10(scale)) - place + 1)
    return f"{value:.{digits}e} ± {half_width:.1e}"


def with_intervals(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows as text, each `x`, `x_low`, `x_high` made one column `x`: value ± half-width.

    The half-width is the longer side of the interval, so that an interval which is not centred is never understated.
    """
    bounds = {f"{name}_{side}" for name in interval_names(rows.columns) for side in ("low", "high")}
    text = {name: rows[name].map(number) for name in rows.columns if name not in bounds}
    for name in interval_names(rows.columns):
        values = rows[name].to_numpy(float)
        longer = np.maximum(values - rows[f"{name}_low"].to_numpy(float), rows[f"{name}_high"].to_numpy(float) - values)
        text[name] = pd.Series(map(plus_minus, values, longer), index=rows.index, dtype=object)
    return pd.DataFrame(text)


def interval_names(columns: Iterable[str]) -> list[str]:
    """Returns every column `x` that comes with `x_low` and `x_high`."""
    columns = list(columns)
    return [name for name in columns if {f"{name}_low", f"{name}_high"} <= set(columns)]


def table(text: pd.DataFrame, numeric: Iterable[str]) -> Table:
    """Returns the frame of text as a table, numbers to the right."""
    numeric = set(numeric)
    result = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in text.columns:
        result.add_column(str(name), justify="right" if name in numeric else "left", no_wrap=True)
    for row in text.itertuples(index=False):
        result.add_row(*row)
    return result


def natural_width(wide: Table, console: Console) -> int:
    """Returns the width of a table that nothing squeezes."""
    return console.measure(wide, options=console.options.update(max_width=UNBOUNDED)).maximum


def show(rows: pd.DataFrame, console: Console) -> None:
    """Prints the rows. What does not fit the screen is left out, and said to be.

    Rows beyond the sixtieth and columns beyond the screen's width are dropped: the file has them.
    """
    text = with_intervals(rows.head(MAX_ROWS))
    numeric = set(rows.select_dtypes("number").columns)
    shown = len(text.columns)
    while shown > 1 and natural_width(table(text.iloc[:, :shown], numeric), console) > console.width:
        shown -= 1
    console.print(table(text.iloc[:, :shown], numeric), markup=False)
    if shown < len(text.columns):
        console.print(f"columns not shown: {', '.join(map(str, text.columns[shown:]))}", markup=False)
    if len(rows) > MAX_ROWS:
        console.print(f"rows not shown: {len(rows) - MAX_ROWS}")
