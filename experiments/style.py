"""How every figure of this repository looks, so that a series has the same colour, marker and dash in all of them.

Colours are those of Okabe and Ito, "Color Universal Design" (2008), which readers with any common colour vision tell
apart; yellow is left out because a thin yellow line on white is not seen. Marker and dash repeat what the colour says,
so that a figure survives a black-and-white printer.

In an SVG the letters are outlines, not text: the figure then looks the same on every machine, with no font to embed or
to miss. Equal rows and an equal matplotlib give equal bytes, so that a difference between two figures is a difference.
"""

import contextlib
import itertools
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.style
import numpy as np
import pandas as pd
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

COLUMN_WIDTH = 3.25
TEXT_WIDTH = 6.75
PANEL_HEIGHT = 2.3
DPI = 200
MAX_TICKS = 6

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#7F7F7F"
PALETTE = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK)
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))

RC = {
    "figure.dpi": 100,
    "savefig.dpi": DPI,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.labelsize": 7.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=PALETTE),
    "grid.color": "#E5E5E5",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "lines.markeredgewidth": 0.0,
    "errorbar.capsize": 1.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "vi_jax",
}


class Panels(NamedTuple):
    """A figure and its `[rows, columns]` axes."""

    figure: Figure
    axes: np.ndarray


class Series(NamedTuple):
    """How one series looks."""

    label: str
    color: str
    marker: str
    dash: Any


SERIES = {
    "elbo": Series("ELBO", BLUE, "o", "-"),
    "iwae": Series("IWAE", VERMILLION, "s", "-"),
    "forward_kl": Series("forward KL", GREEN, "^", "-"),
    "eubo": Series("EUBO", PURPLE, "D", "-"),
    "cubo": Series("CUBO", ORANGE, "v", "-"),
    "renyi": Series("Rényi", SKY, "P", "-"),
    "evidence": Series("log p(x)", BLACK, "", DASHES[1]),
    "elbo/pathwise": Series("ELBO, pathwise", BLUE, "o", DASHES[1]),
    "elbo/sticking_the_landing": Series("ELBO, sticking the landing", SKY, "s", DASHES[1]),
    "elbo/score_function": Series("ELBO, score function", GREY, "X", DASHES[1]),
    "elbo/leave_one_out": Series("ELBO, leave-one-out", ORANGE, "v", DASHES[1]),
    "iwae/pathwise": Series("IWAE, pathwise", VERMILLION, "o", "-"),
    "iwae/doubly_reparameterized": Series("IWAE, doubly reparameterized", GREEN, "D", "-"),
    "iwae/score_function": Series("IWAE, score function", GREY, "X", "-"),
    "iwae/vimco": Series("IWAE, VIMCO", PURPLE, "^", "-"),
    "iwae/vimco_arithmetic": Series("IWAE, VIMCO (arithmetic)", PURPLE, "v", DASHES[2]),
    "forward_kl/wake_phi": Series("forward KL, wake-φ", BLACK, "P", DASHES[3]),
    "forward_kl/wake_phi_doubly_reparameterized": Series("forward KL, wake-φ doubly rep.", ORANGE, "*", DASHES[3]),
}


def line(name: str) -> dict[str, Any]:
    """Returns the keywords with which `Axes.plot` draws the series `name`, the same in every figure.

    Raises:
      ValueError: the series has no look yet.
    """
    if name not in SERIES:
        raise ValueError(
            f"no series {name!r}: add a row to style.SERIES, or use style.cycle for names of one figure only"
        )
    return keywords(SERIES[name])


def cycle(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Returns keywords for each name, for series that belong to one figure only: dimensions, seeds, data sets.

    Raises:
      ValueError: more names than the palette can tell apart.
    """
    if len(names) > len(PALETTE):
        raise ValueError(f"{len(names)} series, {len(PALETTE)} colours: split the figure into panels")
    looks = zip(names, PALETTE, MARKERS, itertools.cycle(DASHES), strict=False)
    return {name: keywords(Series(str(name), color, marker, dash)) for name, color, marker, dash in looks}


def keywords(series: Series) -> dict[str, Any]:
    """Returns the keywords of `Axes.plot`."""
    return {"label": series.label, "color": series.color, "marker": series.marker, "linestyle": series.dash}


def context() -> contextlib.AbstractContextManager[None]:
    """Returns the context in which figures are made and saved; a reader's own matplotlibrc has no say in it."""
    return matplotlib.style.context(["default", RC])


def panels(rows: int = 1, columns: int = 1, *, width: float = TEXT_WIDTH, height: float = PANEL_HEIGHT) -> Panels:
    """Returns a figure and its `[rows, columns]` axes, without pyplot: no window, nothing global.

    Args:
      rows: how many panels below each other.
      columns: how many panels beside each other.
      width: of the whole figure, in inches: `COLUMN_WIDTH` or `TEXT_WIDTH` of a paper.
      height: of one row of panels, in inches.
    """
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    return Panels(figure, figure.subplots(rows, columns, squeeze=False))


def log2_axis(axes: Axes, values: Iterable[int]) -> None:
    """Makes the x axis logarithmic to base 2, ticked at the numbers of samples that were run, written as integers.

    Of more than six values every second, third, … is labelled, from the smallest on; the rest are minor ticks.
    """
    ticks = sorted(set(values))
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(ticks[:: math.ceil(len(ticks) / MAX_TICKS)]))
    axes.xaxis.set_minor_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def log_axis(axes: Axes) -> None:
    """Makes the y axis logarithmic, ticked at 1, 2 and 5 times powers of ten, written as plain numbers."""
    axes.set_yscale("log")
    _tick_plainly(axes.yaxis)


def log_x_axis(axes: Axes) -> None:
    """Does the same to the x axis."""
    axes.set_xscale("log")
    _tick_plainly(axes.xaxis)


def _tick_plainly(axis: Axis) -> None:
    axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=MAX_TICKS))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def band(axes: Axes, rows: pd.DataFrame, x: str, y: str, **look: Any) -> None:
    """Draws column `y` against `x` as a line, with `y_low` to `y_high` shaded."""
    rows = rows.sort_values(x)
    axes.fill_between(rows[x], rows[f"{y}_low"], rows[f"{y}_high"], color=look["color"], alpha=0.18, linewidth=0)
    axes.plot(rows[x], rows[y], **look)


def bars(axes: Axes, rows: pd.DataFrame, x: str, y: str, **look: Any) -> None:
    """Draws column `y` against `x` as a line, with a bar from `y_low` to `y_high` at each point."""
    rows = rows.sort_values(x)
    axes.vlines(rows[x], rows[f"{y}_low"], rows[f"{y}_high"], color=look["color"], linewidth=0.8)
    axes.plot(rows[x], rows[y], **look)


def picture(axes: Axes, values: np.ndarray) -> None:
    """Draws an image `[height, width]` of values in [0, 1], white at 0 and black at 1, without ticks."""
    axes.imshow(values, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(True)


def legend(figure: Figure, columns: int = 3) -> None:
    """Puts one legend, each series once, under all panels."""
    found = [axes.get_legend_handles_labels() for axes in figure.axes]
    handles = {label: handle for pair in found for handle, label in zip(*pair, strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(columns, len(handles)))


def save(figure: Figure, folder: Path) -> list[Path]:
    """Writes `figure.png` and `figure.svg`, or `figure-2.*`, … beside earlier ones. Returns the two paths."""
    for stem in itertools.chain(["figure"], (f"figure-{n}" for n in itertools.count(2))):
        paths = [folder / f"{stem}.png", folder / f"{stem}.svg"]
        if not any(path.exists() for path in paths):
            break
    for path, metadata in zip(paths, ({"Software": None}, {"Date": None, "Creator": None}), strict=True):
        with open(path, "xb") as file:
            figure.savefig(file, format=path.suffix[1:], metadata=metadata)
    return paths
