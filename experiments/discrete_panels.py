"""The panels of `discrete_latents`: they read rows."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments import style

FAMILIES = ("REINFORCE", "VIMCO", "Concrete", "wake-sleep", "RWS", "defensive RWS", "exact gradients")
LOOKS: dict[str, dict[str, Any]] = style.cycle(FAMILIES)
NET_CURVES = {
    "REINFORCE(1)": LOOKS["REINFORCE"] | {"linestyle": style.DASHES[2]},
    "NVIL(1)": LOOKS["REINFORCE"] | {"label": "NVIL", "marker": "X", "linestyle": "-"},
    "Concrete(1)": LOOKS["Concrete"],
    "DisARM(1)": {"label": "DisARM", "color": style.GREY, "marker": "d", "linestyle": "-"},
    "VIMCO(5)": LOOKS["VIMCO"] | {"linestyle": style.DASHES[1]},
    "VIMCO(50)": LOOKS["VIMCO"] | {"linestyle": "-"},
    "RWS(50)": LOOKS["RWS"] | {"linestyle": "-"},
}
REFERENCE = "exact likelihood"


def figure(rows: pd.DataFrame) -> Figure:
    """Draws the belief net above, and the mixture below, few draws to the left and many to the right."""
    panels = style.panels(3, 2, height=2.1)
    axes, mixture = panels.axes, rows.query("part == 'mixture'")
    ends(axes[0, 0], rows)
    learning(axes[0, 1], rows)
    sizes = sorted({int(k) for k in mixture["K"]})
    for column, size in enumerate((sizes[0], sizes[-1])):
        here = mixture.query(f"K == {size}")
        curves(axes[1, column], here, "weights_error", f"mixture, K = {size}: ‖p(z) − truth‖")
        curves(axes[2, column], here, "guide_error", f"mixture, K = {size}: ‖q(z | x) − truth‖")
    style.legend(panels.figure, columns=5)
    return panels.figure


def ends(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws −log p(x) and −ELBO at the end of training, a line per method."""
    net = rows.query("part == 'belief net'")
    final = net.query("step == step.max()")
    place = np.arange(len(final))[::-1]
    for name, fill, label in (("nll", "full", "−log p(x)"), ("negative_elbo", "none", "−ELBO")):
        axes.hlines(place, final[f"{name}_low"], final[f"{name}_high"], color=style.BLACK, linewidth=0.8)
        look = {"color": style.BLACK, "marker": "o", "linestyle": "", "markersize": 3, "markeredgewidth": 0.8}
        axes.plot(final[name], place, fillstyle=fill, label=label, **look)
    axes.set_yticks(place, list(final["method"]))
    axes.set(xlabel="nats per test digit, exact")
    axes.set_title("belief net, at the end")


def learning(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws −log p(x) during training; beyond the reference method's end there is little to gain."""
    net = rows.query("part == 'belief net'")
    for name, look in NET_CURVES.items():
        here = net.query(f"method == '{name}'")
        style.band(axes, here, "step", "nll", **look)
    reference = net.query(f"method == '{REFERENCE}'")
    if len(reference):
        axes.axhline(reference["nll"].iloc[-1], color=style.BLACK, linewidth=0.8, linestyle=style.DASHES[1])
    low = net["nll"].to_numpy().min()
    axes.set(xlabel="steps", ylabel="−log p(x), nats", ylim=(low - 0.1, low + 2.2))
    axes.set_title("belief net (VIMCO: K = 5 dashed, 50 solid)")


def curves(axes: Axes, rows: pd.DataFrame, measure: str, title: str) -> None:
    """Draws a distance of every method against steps."""
    for name, look in LOOKS.items():
        here = rows.query(f"method == '{name}'")
        if len(here):
            style.band(axes, here, "step", measure, **look)
    style.log_axis(axes)
    low, high = rows[measure].to_numpy().min(), rows[measure].to_numpy().max()
    axes.set(xlabel="steps", ylim=(low / 1.5, high * 1.3))
    axes.set_title(title)
