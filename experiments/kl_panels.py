"""The panels of `kl_directions`: they read rows, and closed forms of what is drawn behind them."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from experiments import style
from experiments.kl_fits import DEGREES, MIXTURES

SERIES = {"reverse KL": "elbo", "α = ½": "renyi", "forward KL": "forward_kl", "CUBO₂": "cubo"}
LOOKS: dict[str, dict[str, Any]] = {name: style.line(series) | {"label": name} for name, series in SERIES.items()}


def figure(rows: pd.DataFrame) -> Figure:
    """Draws contours, densities, restarts and the variances of wake-φ."""
    panels = style.panels(3, 3)
    axes = panels.axes
    contours(axes[0, 0], rows)
    variances(axes[0, 1], rows)
    wake(axes[0, 2], rows)
    on_line(axes[1, 0], rows, "±4", 11)
    starts(axes[1, 1], rows)
    restart_shares(axes[1, 2], rows)
    on_line(axes[2, 0], rows, "±2", 8)
    on_line(axes[2, 1], rows, "Gumbel", 6)
    tails(axes[2, 2], rows)
    style.legend(panels.figure, columns=5)
    return panels.figure


def restyled(look: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Returns the look with some keywords replaced."""
    return look | changes


def contours(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws the contour at two standard deviations of the target with ρ = 0.9 and of each q."""
    rho = 0.9 if "ρ = 0.9" in set(rows["target"]) else float(rows.iloc[0]["target"][4:])
    axes.add_patch(
        Ellipse((0, 0), 4 * np.sqrt(1 + rho), 4 * np.sqrt(1 - rho), angle=45, color=style.GREY, alpha=0.35, linewidth=0)
    )
    here = rows.query(f"target == 'ρ = {rho}' and method == 'exact gradient'")
    for name, variance in zip(here["objective"], here["variance"], strict=True):
        look = LOOKS[name]
        radius = 4 * np.sqrt(variance)
        axes.add_patch(Ellipse((0, 0), radius, radius, fill=False, color=look["color"], linewidth=1.2))
    axes.set(xlim=(-2.9, 2.9), ylim=(-2.9, 2.9), aspect="equal", xlabel="z₁", ylabel="z₂")
    axes.set_title(f"2-sd contours, ρ = {rho}")


def variances(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws learned variances, from draws, on the closed forms."""
    here = rows.query("part == 'correlated'")
    grid = np.linspace(0.3, 0.995, 200)
    for name, look in LOOKS.items():
        drawn = here.query(f"objective == '{name}' and method == 'draws'")
        rho = [float(target[4:]) for target in drawn["target"]]
        axes.plot(grid, closed_form(name, grid), color=look["color"])
        axes.vlines(rho, drawn["variance_low"], drawn["variance_high"], color=look["color"])
        axes.plot(rho, drawn["variance"], **restyled(look, linestyle=""))
    style.log_axis(axes)
    axes.set(xlabel="correlation ρ", ylabel="variance of q")
    axes.set_title("learned (marks), exact (lines)")


def closed_form(objective: str, rho: np.ndarray) -> np.ndarray:
    """Returns the variance that each direction gives a diagonal q on two unit Gaussians with correlation ρ."""
    # The eigenvalues of 2Λ; CUBO₂ has the mean of 1/(a − 1/v) and 1/(b − 1/v) equal to v, a quadratic in 1/v.
    a, b = 2 / (1 + rho), 2 / (1 - rho)
    return {
        "reverse KL": 1 - rho**2,
        "α = ½": np.sqrt(1 - rho**2),
        "forward KL": np.ones_like(rho),
        "CUBO₂": 8 / (3 * (a + b) - np.sqrt(9 * (a + b) ** 2 - 32 * a * b)),
    }[objective]


def wake(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws the variance at which wake-φ ends, against K."""
    here = rows.query("part == 'wake-φ'")
    style.bars(
        axes, here, "num_samples", "variance", **restyled(LOOKS["forward KL"], label="wake-φ", color=style.PURPLE)
    )
    axes.axhline(17, color=style.GREEN, linewidth=1)
    place = {"xy": (1, 17), "xycoords": ("axes fraction", "data"), "xytext": (-2, 2), "textcoords": "offset points"}
    axes.annotate("forward KL, exact", **place, ha="right", va="bottom")
    style.log2_axis(axes, here["num_samples"])
    axes.set(xlabel="samples K of wake-φ", ylabel="variance of q", ylim=(0, 20.5))
    axes.set_title("self-normalised, target ±4")


def density_of(target: str, z: np.ndarray) -> np.ndarray:
    """Returns the target's density."""
    if target == "Gumbel":
        return np.exp(-z - np.exp(-z))
    if target == "Student t":
        return 8 / (3 * np.pi * np.sqrt(DEGREES)) * (1 + z**2 / DEGREES) ** -3
    distance, weight = MIXTURES[target]
    return weight * normal(z, -distance, 1) + (1 - weight) * normal(z, distance, 1)


def normal(z: np.ndarray, mean: float, variance: float) -> np.ndarray:
    """Returns the density of N(mean, variance)."""
    return np.exp(-((z - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)


def on_line(axes: Axes, rows: pd.DataFrame, target: str, limit: float) -> None:
    """Draws the target's density and every q that was learned on it."""
    z = np.linspace(-limit, limit, 400)
    axes.fill_between(z, density_of(target, z), color=style.GREY, alpha=0.35, linewidth=0, label="target p")
    here = rows.query(f"target == '{target}' and method != 'restart' and part != 'wake-φ'").dropna(subset=["variance"])
    for name, mean, variance in zip(here["objective"], here["mean"], here["variance"], strict=True):
        axes.plot(z, normal(z, mean, variance), **restyled(LOOKS[name], marker=""))
    axes.set(xlabel="z", ylabel="density", ylim=(0, None))
    axes.set_title(f"two modes at {target}" if target in MIXTURES else target)


def tails(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws the Student-t target and its fits on a logarithmic axis."""
    on_line(axes, rows, "Student t", 10)
    axes.set_yscale("log")
    axes.set(ylim=(1e-6, 1))
    axes.set_title(f"Student t, ν = {DEGREES:g}")


def starts(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws where each restart on the modes ±4 began, marked by where it ended."""
    here = rows.query("target == '±4' and method == 'restart'")
    ends = {
        "ends left": (-9, -2, style.VERMILLION, "<"),
        "ends between": (-2, 2, style.BLACK, "o"),
        "ends right": (2, 9, style.PURPLE, ">"),
    }
    for name, (low, high, color, marker) in ends.items():
        chosen = here.query(f"{low} < mean <= {high}")
        look: dict[str, Any] = {"label": name, "color": color, "marker": marker, "markersize": 2.8, "linestyle": ""}
        axes.plot(chosen["start_mean"], chosen["start_scale"], **look)
    axes.set(xlabel="mean of q at the start", ylabel="sd of q at the start")
    axes.set_title("reverse KL on ±4, restarts")


def restart_shares(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws the share of restarts per optimum and mixture."""
    here = rows.dropna(subset=["share"])
    labels = [
        f"{target}: {method.removeprefix('mode at ')}"
        for target, method in zip(here["target"], here["method"], strict=True)
    ]
    place = np.arange(len(here))[::-1]
    axes.barh(place, here["share"], color=style.BLUE, alpha=0.5)
    axes.hlines(place, here["share_low"], here["share_high"], color=style.BLACK, linewidth=0.8)
    axes.set_yticks(place, labels)
    axes.grid(visible=False, axis="y")
    axes.set(xlabel="share of restarts", xlim=(0, 1))
    axes.set_title("target: mean of q at the end")
