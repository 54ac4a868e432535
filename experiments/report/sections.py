"""What the page says of one experiment, from the run to show: its figure, its table, its verdicts, and what failed."""

import inspect
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd

from experiments import style, tables
from experiments.report import runs
from experiments.report.story import Experiment

T = TypeVar("T")


class Printed(NamedTuple):
    """What an experiment prints at its end.

    Attributes:
      text: its table, intervals as value ± half-width.
      numeric: the columns that are numbers.
      left_out: how many rows there are besides.
    """

    text: pd.DataFrame
    numeric: frozenset[str]
    left_out: int


class Section(NamedTuple):
    """One experiment on the page.

    Attributes:
      experiment: the step of the story.
      about: the docstring of its module.
      run: the run that is shown; None where there is none.
      others: the other runs that could be shown, the next best first.
      figure: as SVG; None where there is no run, or it could not be drawn.
      caption: what the figure draws, a sentence.
      table: of the same run; None likewise.
      verdicts: of its rows against the exact answers; empty where the experiment has none.
      troubles: what went wrong, a sentence each.
    """

    experiment: Experiment
    about: str
    run: runs.Run | None
    others: list[runs.Run]
    figure: bytes | None
    caption: str
    table: Printed | None
    verdicts: Sequence[Any]
    troubles: list[str]


def build(experiment: Experiment, module: Any, results: Path) -> Section:
    """Returns the section of an experiment; what its code raises on these rows is a trouble, not an error.

    Args:
      experiment: the step of the story.
      module: has `Config` and `figure(rows)`, and may have `table(rows)` and `verdict(rows)`.
      results: the folder of all results.
    """
    found, broken = runs.found(results, experiment.name, module.Config())
    troubles = [f"{each.folder.name} {each.reason}." for each in broken]
    about = module.__doc__ or ""
    if not found:
        return Section(experiment, about, None, [], None, "", None, (), troubles)
    shown, *others = found
    if shown.record["status"] != "finished":
        troubles.append(f"{shown.folder.name}, which is shown, did not finish: {runs.ending(shown.record)}.")
    figure = attempt("the figure", lambda: drawing(shown, module.figure), troubles)
    table = attempt("the table", lambda: printed(getattr(module, "table", lambda rows: rows)(shown.rows)), troubles)
    verdicts = attempt("the verdicts", lambda: list(getattr(module, "verdict", lambda rows: [])(shown.rows)), troubles)
    if None in (figure, table, verdicts):
        why = "older than this code" if shown.record["status"] == "finished" else "too few"
        troubles.append(
            f"The rows of {shown.folder.name} may be {why}: python -m experiments.{experiment.name} makes new."
        )
    return Section(experiment, about, shown, others, figure, caption(module.figure), table, verdicts or (), troubles)


def printed(rows: pd.DataFrame) -> Printed:
    """Returns a frame as the command line prints it, all columns and as many rows."""
    numeric = frozenset(map(str, rows.select_dtypes("number").columns))
    return Printed(
        tables.with_intervals(rows.head(tables.MAX_ROWS)), numeric, left_out=max(0, len(rows) - tables.MAX_ROWS)
    )


def attempt(what: str, call: Callable[[], T], troubles: list[str]) -> T | None:
    """Returns what `call` returns, or None and a word about it: the rows may be older than the code that reads them."""
    try:
        return call()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".rstrip(".")
        troubles.append(f"{what} could not be made of these rows: {reason}.")
        return None


def caption(figure: Callable[..., Any]) -> str:
    """Returns what a `figure(rows)` draws, from the first sentence of its docstring; "" where it has none."""
    first = (inspect.getdoc(figure) or "").partition("\n\n")[0].replace("\n", " ")
    said = re.sub(r"^Draws,? ", "", first)
    return said[:1].upper() + said[1:]


def drawing(run: runs.Run, figure: Callable[[pd.DataFrame], Any]) -> bytes:
    """Returns the newest figure of a run as SVG, or draws one where the run left none."""
    drawn = sorted(run.folder.glob("figure*.svg"), key=lambda path: int((re.findall(r"\d+", path.stem) or ["1"])[0]))
    if drawn and b"<svg" in (data := drawn[-1].read_bytes()):
        return data
    buffer = io.BytesIO()
    with style.context():
        figure(run.rows).savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
