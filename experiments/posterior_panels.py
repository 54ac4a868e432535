"""The figure of `posteriors`, dots by target and by method, full where the library's verdict is trust; its table."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from experiments import style
from experiments.posterior_targets import TARGETS

WIDTH = 10.0
# Inches for each line of dots, for titles and ticks, and for a legend.
LINE_HEIGHT, MARGIN, LEGEND = 0.19, 0.6, 0.4


class Metric(NamedTuple):
    """One column of panels.

    Attributes:
      column: of the rows.
      title: above the panel.
      label: below it.
      limits: of the axis; a dot beyond them is drawn at the edge.
      band: where a result is good.
      ticks: of the axis.
      scale: "log" or "linear".
    """

    column: str
    title: str
    label: str
    limits: tuple[float, float]
    band: tuple[float, float]
    ticks: tuple[float, ...]
    scale: str = "log"


_MEAN = ("error / posterior sd", (3e-3, 20), (3e-3, 0.1), (0.01, 0.1, 1, 10))
_SD = ("sd / posterior sd", (0.08, 5), (0.95, 1.05), (0.1, 0.25, 0.5, 1, 2, 4))
METRICS = (
    Metric("gap", "gap of the bound", "log Z − ELBO, nats", (1e-3, 30), (1e-3, 0.1), (0.01, 0.1, 1, 10)),
    Metric("mean_error", "worst mean", *_MEAN),
    Metric("sd_ratio", "worst sd", *_SD),
    Metric("corrected_mean_error", "worst mean, corrected", *_MEAN),
    Metric("corrected_sd_ratio", "worst sd, corrected", *_SD),
    Metric("pareto_k", "tail of the weights", "k̂", (-0.3, 1.5), (-0.3, 0.7), (0, 0.7, 1.4), "linear"),
)

FIRST = ("default", "full-rank/reverse-kl", "mean-field/reverse-kl", "full-rank/laplace", "full-rank/pathfinder")
"""The methods of the upper panels, which every target has."""


def figure(rows: pd.DataFrame) -> Figure:
    """Draws the targets with the methods they share, and below every method with the targets that have most of them."""
    rows = named(rows.dropna(subset=["elbo"]))
    shared = [name for name in FIRST if name in set(rows["method"])]
    above = rows.query("method in @shared")
    targets = [name for name in TARGETS if name in set(above["target"])]
    counts = rows.groupby("target")["method"].nunique()
    thorough = [name for name in TARGETS if counts.get(name, 0) == counts.max()][: len(style.PALETTE)]
    below = rows.query("target in @thorough")
    methods = list(dict.fromkeys([*shared, *below["method"]]))
    heights = [MARGIN + LINE_HEIGHT * len(names) for names in (targets, methods)]
    drawn = Figure(figsize=(WIDTH, sum(heights) + 2 * LEGEND), layout="constrained")
    axes = drawn.subplots(2, len(METRICS), sharey="row", squeeze=False, height_ratios=heights)
    panels(axes[0], above, "target", "method", targets, style.cycle(shared))
    panels(axes[1], below, "method", "target", methods, style.cycle(thorough))
    legend(drawn, "outside upper center", style.cycle(shared))
    legend(drawn, "outside lower center", style.cycle(thorough))
    return drawn


def named(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows with a column `method`: GUIDE/OBJECTIVE, or "default" for the call that chose its guide."""
    method = rows["guide"] + "/" + rows["objective"]
    return rows.assign(method=method.where(rows["objective"] != "default", "default"))


def panels(
    axes: np.ndarray, rows: pd.DataFrame, line: str, series: str, lines: Sequence[str], looks: Mapping[str, Any]
) -> None:
    """Draws a panel for each metric: a line of dots for each of `lines`, a dot for each of `looks`."""
    for axis, metric in zip(axes, METRICS, strict=True):
        for number, (name, look) in enumerate(looks.items()):
            here = pd.DataFrame(rows.groupby(series).get_group(name))
            shift = 0.64 * ((number + 0.5) / len(looks) - 0.5)
            dots(axis, here, metric, np.array([lines.index(value) for value in here[line]]) + shift, look)
        axis.axvspan(*metric.band, color=style.GREY, alpha=0.13, linewidth=0)
        axis.set(xscale=metric.scale, xlim=metric.limits, xlabel=metric.label, ylim=(len(lines) - 0.5, -0.5))
        axis.set_title(metric.title)
        axis.set_xticks(metric.ticks, [f"{tick:g}" for tick in metric.ticks])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_yticks(np.arange(len(lines)), lines)
        axis.grid(visible=False, axis="y")
        axis.hlines(np.arange(len(lines) - 1) + 0.5, *metric.limits, color="#E5E5E5", linewidth=0.4)


def dots(axis: Axes, rows: pd.DataFrame, metric: Metric, heights: np.ndarray, look: Mapping[str, Any]) -> None:
    """Draws the values of one series, full where they are trusted and hollow where not."""
    values = rows[metric.column].to_numpy(float).clip(*metric.limits)
    trusted = rows["level"].to_numpy() != "not to be trusted"
    for chosen, face in ((trusted, look["color"]), (~trusted, "white")):
        axis.plot(
            values[chosen],
            heights[chosen],
            linestyle="",
            marker=look["marker"],
            color=look["color"],
            markerfacecolor=face,
            markeredgewidth=0.8,
            zorder=3,
        )


def legend(drawn: Figure, side: Any, looks: Mapping[str, Any]) -> None:
    """Puts the series above or below their panels, and what hollow and grey mean."""

    def mark(color: str, marker: str, face: str) -> Line2D:
        return Line2D([], [], linestyle="", color=color, marker=marker, markerfacecolor=face, markeredgewidth=0.8)

    handles = {name: mark(look["color"], look["marker"], look["color"]) for name, look in looks.items()}
    handles["hollow: verdict “not to be trusted”"] = mark(style.GREY, "o", "white")
    handles["grey: good"] = mark("#E8E8E8", "s", "#E8E8E8")
    drawn.legend(handles.values(), handles.keys(), loc=side, ncols=len(handles))


SHOWN = ("default", "mean-field/reverse-kl", "full-rank/reverse-kl")
"""The methods of the table."""
WORDS = {"trusted": "yes", "trusted after importance correction": "corrected", "not to be trusted": "no"}


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the default call and the two Gaussians of each target, in few columns; `mean*`, `sd*` are corrected."""
    shown = named(rows).query("method in @SHOWN")
    chosen = shown["guide"] + " (default)"
    renamed = {
        "level": "trusted",
        "gap": "gap",
        "pareto_k": "k̂",
        "mean_error": "mean",
        "sd_ratio": "sd",
        "corrected_mean_error": "mean*",
        "corrected_sd_ratio": "sd*",
        "seconds": "s",
    }
    columns = ["target", "guide", *renamed, "elbo", "elbo_low", "elbo_high"]
    shown = shown.assign(guide=shown["guide"].where(shown["objective"] != "default", chosen))
    return shown.filter(columns).rename(columns=renamed).replace({"trusted": WORDS}).reset_index(drop=True)
