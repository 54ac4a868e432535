"""The figure of `posteriors`: dots by target and by method, filled where the library's own verdict trusts them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments import style
from experiments.posterior_targets import TARGETS

WIDTH = 10.0
# Inches for each line of dots, and for titles and ticks.
LINE_HEIGHT, MARGIN = 0.17, 0.55


class Metric(NamedTuple):
    """One column of panels.

    Attributes:
      column: of the rows.
      title: above the panel.
      label: below it.
      limits: of the axis; a dot beyond them is drawn at the edge.
      band: where a result is good.
      is_log: whether the axis is logarithmic.
    """

    column: str
    title: str
    label: str
    limits: tuple[float, float]
    band: tuple[float, float]
    is_log: bool = True


METRICS = (
    Metric("gap", "gap", "log Z − ELBO, nats", (1e-3, 30), (1e-3, 0.1)),
    Metric("mean_error", "worst mean", "error / posterior sd", (3e-3, 10), (3e-3, 0.1)),
    Metric("sd_ratio", "worst sd", "sd / posterior sd", (0.08, 4), (0.95, 1.05)),
    Metric("corrected_mean_error", "corrected: worst mean", "error / posterior sd", (3e-3, 10), (3e-3, 0.1)),
    Metric("corrected_sd_ratio", "corrected: worst sd", "sd / posterior sd", (0.08, 4), (0.95, 1.05)),
    Metric("pareto_k", "k̂ of 10 000 weights", "k̂", (-0.3, 1.5), (-0.3, 0.7), is_log=False),
)

FIRST = ("default", "full-rank/reverse-kl", "mean-field/reverse-kl", "full-rank/laplace", "full-rank/pathfinder")
"""The methods of the upper panels, which every target has."""


def figure(rows: pd.DataFrame) -> Figure:
    """Draws the targets with the methods they share, and below every method with the targets that have most of them."""
    rows = named(rows.dropna(subset=["pareto_k"]))
    shared = [name for name in FIRST if name in set(rows["method"])]
    above = rows[rows["method"].isin(shared)]
    targets = [name for name in TARGETS if name in set(above["target"])]
    counts = rows.groupby("target")["method"].nunique()
    thorough = [name for name in TARGETS if counts.get(name, 0) == counts.max()][: len(style.PALETTE)]
    below = rows[rows["target"].isin(thorough)]
    methods = list(dict.fromkeys([*shared, *below["method"]]))
    heights = [MARGIN + LINE_HEIGHT * len(names) for names in (targets, methods)]
    drawn = Figure(figsize=(WIDTH, sum(heights) + 0.9), layout="constrained")
    parts = drawn.subfigures(2, 1, height_ratios=[height + 0.3 for height in heights])
    for part, here, line, series, lines, looks in (
        (parts[0], above, "target", "method", targets, style.cycle(shared)),
        (parts[1], below, "method", "target", methods, style.cycle(thorough)),
    ):
        panels(part.subplots(1, len(METRICS), sharey=True), here, line, series, lines, looks)
        legend(part, looks)
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
            here = rows[rows[series] == name]
            shift = 0.64 * ((number + 0.5) / len(looks) - 0.5)
            dots(axis, here, metric, np.array([lines.index(value) for value in here[line]]) + shift, look)
        axis.axvspan(*metric.band, color=style.GREY, alpha=0.13, linewidth=0)
        if metric.is_log:
            style.log_x_axis(axis)
        axis.set(xlim=metric.limits, xlabel=metric.label, ylim=(len(lines) - 0.5, -0.5))
        axis.set_title(metric.title)
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
            clip_on=False,
            zorder=3,
        )


def legend(part: Any, looks: Mapping[str, Any]) -> None:
    """Puts the series under their panels, and what hollow and grey mean."""

    def mark(color: str, marker: str, face: str) -> Line2D:
        return Line2D([], [], linestyle="", color=color, marker=marker, markerfacecolor=face, markeredgewidth=0.8)

    handles = {name: mark(look["color"], look["marker"], look["color"]) for name, look in looks.items()}
    handles["hollow: verdict “not to be trusted”"] = mark(style.GREY, "o", "white")
    handles["grey: good"] = mark("#E8E8E8", "s", "#E8E8E8")
    part.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))
