"""The figure of trained deep generative models: learning curves, results, and what the best one draws."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments import deep_rows, style
from experiments.deep_training import METHODS

COLOURS = {
    "vae": style.BLUE,
    "iwae": style.VERMILLION,
    "dreg": style.GREEN,
    "rws": style.BLACK,
    "piwae": style.PURPLE,
}
BACKGROUND = 0.15
"""Light grey: what is white in an image is seen to be part of it."""
SETTLED = 0.15
"""Share of training after which a learning curve is drawn to scale; before it rises too steeply."""


def figure(rows: pd.DataFrame) -> Figure:
    """Draws curves and results above, the images of the method with the least NLL below."""
    drawn = Figure(figsize=(style.TEXT_WIDTH, 5.8), layout="constrained")
    above, below = np.asarray(drawn.subfigures(2, 1, height_ratios=(1, 1.25)))
    panels = above.subplots(1, 3, width_ratios=(1.35, 1, 1))
    results = rows.query("part == 'result' and seed == @deep_rows.MEAN")
    curves(panels[0], rows.query("part == 'curve'"))
    gains(panels[1], results)
    gaps(panels[2], results)
    panels[2].set_yticklabels([])
    above.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, handlelength=3)
    best = results.sort_values("nll").iloc[0]
    method, k = best["method"], best["K"]
    pictures(below, rows.query("part == 'image' and method == @method and K == @k"), name_of(method, k))
    return drawn


def name_of(method: str, k: float) -> str:
    """Returns what a run is called."""
    return f"{METHODS[method].label}, k = {k:.0f}"


def looks(rows: pd.DataFrame) -> dict[tuple[str, int], dict[str, Any]]:
    """Returns keywords for each run: the colour is the method's, the line and the marker are of its k."""
    sizes = sorted({int(k) for k in rows["K"]})
    return {
        (method, int(k)): {
            "label": name_of(method, k),
            "color": COLOURS[method],
            "marker": style.MARKERS[sizes.index(int(k)) % len(style.MARKERS)],
            "linestyle": style.DASHES[-1 - sizes.index(int(k)) % len(style.DASHES)],
        }
        for method, k in dict.fromkeys(zip(rows["method"], rows["K"], strict=True))
    }


def curves(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws the bound on test images against steps, a mean over seeds."""
    settled = []
    for (method, k), look in looks(rows).items():
        steps, means = mean_curve(rows.query(f"method == '{method}' and K == {k}"), "iwae")
        axes.plot(steps, means, **{**look, "marker": ""})
        settled.extend(means[steps >= SETTLED * steps[-1]])
    margin = 0.1 * (max(settled) - min(settled))
    axes.set_ylim(min(settled) - margin, max(settled) + margin)
    axes.set(title="IWAE bound of 50 draws, test", xlabel="steps", ylabel="nats")


def mean_curve(rows: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns steps and the mean over seeds of a column of one run's curves."""
    seeds = rows.pivot(index="step", columns="seed", values=column)
    return np.asarray(seeds.index), seeds.to_numpy(float).mean(axis=1)


def names(axes: Axes, rows: pd.DataFrame) -> np.ndarray:
    """Names the runs on the y axis, the first on top, and returns their places."""
    places = np.arange(len(rows))[::-1]
    axes.set_yticks(places, [name_of(*pair) for pair in zip(rows["method"], rows["K"], strict=True)])
    axes.set_ylim(-0.5, len(rows) - 0.5)
    return places


def gains(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws how much less the NLL is than the first run's, with intervals over images; open marks are the reference."""
    first = rows.iloc[0]
    for place, row, look in zip(names(axes, rows), rows.to_dict("records"), looks(rows).values(), strict=True):
        axes.plot([row["gain_low"], row["gain_high"]], [place, place], color=look["color"], linewidth=1.1)
        axes.plot(row["gain"], place, color=look["color"], marker="o")
        reference = first["reference_nll"] - row["reference_nll"]
        axes.plot(reference, place + 0.25, color=style.GREY, marker="D", fillstyle="none", markeredgewidth=0.8)
    axes.axvline(0, color=style.BLACK, linewidth=0.8)
    axes.set(title=f"NLL: gain over {name_of(first['method'], first['K'])}", xlabel="nats (grey: reference)")


def gaps(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws −ELBO − NLL, which is KL(q ‖ p(z | x)); open marks are the reference."""
    for place, row, look in zip(names(axes, rows), rows.to_dict("records"), looks(rows).values(), strict=True):
        axes.plot(row["minus_elbo"] - row["nll"], place, color=look["color"], marker="o")
        reference = row["reference_minus_elbo"] - row["reference_nll"]
        axes.plot(reference, place + 0.25, color=style.GREY, marker="D", fillstyle="none", markeredgewidth=0.8)
    axes.set_xlim(left=0)
    axes.set(title="KL(q ‖ p(z | x))", xlabel="−ELBO − NLL, nats")


def pictures(figure: Any, rows: pd.DataFrame, name: str) -> None:
    """Draws samples on the left, reconstructions and traversals on the right."""
    left, right = np.asarray(figure.subfigures(1, 2, width_ratios=(1, 1.12)))
    samples, (pairs, moved) = left.subplots(), right.subplots(2, 1, height_ratios=(2, 4))
    mosaic(samples, deep_rows.grid_of(rows, "samples"), f"{name}: samples, pixel probabilities")
    mosaic(pairs, deep_rows.grid_of(rows, "reconstructions"), "test images, and reconstructed from a draw of q")
    pairs.set_yticks([])
    mosaic(moved, deep_rows.grid_of(rows, "traversals"), "one latent unit from −2.5 to 2.5; the most active four")


def mosaic(axes: Axes, images: np.ndarray, title: str) -> None:
    """Draws `[lines, columns, side, side]` with grey between."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=BACKGROUND)
    lines, columns, side, _ = padded.shape
    style.picture(axes, padded.swapaxes(1, 2).reshape(lines * side, columns * side))
    axes.set_title(title)
