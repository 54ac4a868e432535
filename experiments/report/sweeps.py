"""The numbers behind the interactive view: sweeps as series of value ± interval against K, one set per sweep.

A set is plain data, as the page's script reads it:

    label, note        which sweep, and where it comes from
    bounds             [{name, label}]
    series             [{bound, label, color, shape, dash}]
    quantities         [{name, label, option, group, log, points: [{series, k, value, low, high, text, shown}]}]

A value without an interval has low = high = value. On a logarithmic axis a value is shown where its interval is above
zero, as in the static figures. JSON has no infinity: such a value is null, and its text says what it is.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from experiments import style, tables

BOUND, THETA, PHI = "of the bound", "of the gradient θ̄ of the model", "of the gradient φ̄ of the guide"

SHORT = {BOUND: "", THETA: " of θ̄", PHI: " of φ̄"}


class Quantity(NamedTuple):
    """A column that can be chosen.

    Attributes:
      column: with `_low` and `_high` beside it, where it has an interval.
      label: in words, with its unit.
      log: whether its axis is logarithmic, as in the static figure.
    """

    column: str
    label: str
    log: bool


OF_A_CELL = (
    Quantity("value", "value, nats", log=False),
    Quantity("value_bias", "bias of the value, nats", log=False),
    Quantity("value_variance", "variance of the value, nats²", log=True),
    Quantity("effective_sample_size", "effective sample size", log=True),
)
OF_A_BLOCK = (
    Quantity("snr", "signal-to-noise ratio", log=True),
    Quantity("variance", "variance", log=True),
    Quantity("relative_bias", "bias ÷ length of the true gradient", log=True),
    Quantity("mean_squared_error", "mean squared error", log=True),
    Quantity("directional_snr", "signal-to-noise ratio along the true gradient", log=True),
    Quantity("cosine", "cosine with the true gradient", log=False),
)
OF_SAMPLES = {
    BOUND: (
        Quantity("value", "value, nats per digit", log=False),
        Quantity("gap", "gap to log p(x), nats per digit", log=True),
        Quantity("ess", "effective sample size", log=True),
        Quantity("milliseconds", "milliseconds per gradient", log=True),
    ),
    THETA: (Quantity("snr_theta", "signal-to-noise ratio", log=True), Quantity("variance_theta", "variance", log=True)),
    PHI: (Quantity("snr_phi", "signal-to-noise ratio", log=True), Quantity("variance_phi", "variance", log=True)),
}

MARKS = {
    "o": "M1,0A1,1,0,1,1,-1,0A1,1,0,1,1,1,0Z",
    "s": "M-.9,-.9H.9V.9H-.9Z",
    "D": "M0,-1.1L1.1,0L0,1.1L-1.1,0Z",
    "^": "M0,-1.1L1.1,.9H-1.1Z",
    "v": "M0,1.1L1.1,-.9H-1.1Z",
    "P": "M-.4,-1.1H.4V-.4H1.1V.4H.4V1.1H-.4V.4H-1.1V-.4H-.4Z",
    "X": "M-1,-.5L-.5,-1L0,-.5L.5,-1L1,-.5L.5,0L1,.5L.5,1L0,.5L-.5,1L-1,.5L-.5,0Z",
    "*": "M0,-1.2L.3,-.4L1.15,-.37L.48,.16L.7,.97L0,.5L-.7,.97L-.48,.16L-1.15,-.37L-.3,-.4Z",
}
"""matplotlib's markers as paths in the square from −1 to 1, about."""


def of_sweep(rows: pd.DataFrame, looks: Mapping[tuple[str, str], style.Series], note: str) -> dict[str, Any]:
    """Returns the set of a run of `experiments.sweep`.

    Args:
      rows: of the run, those of defined pairs.
      looks: of each (bound, estimator).
      note: where they come from.
    """
    ends = ("", "_low", "_high")
    rows = rows.assign(**{f"relative_bias{end}": rows[f"bias_norm{end}"] / rows["truth_norm"] for end in ends})
    parts = ((THETA, "theta", OF_A_BLOCK), (PHI, "phi", OF_A_BLOCK), (BOUND, "theta", OF_A_CELL))
    named = [(group, rows.query(f"block == '{block}'"), quantities) for group, block, quantities in parts]
    return dataset(f"sweep of {rows['model'].iloc[0]}", note, looks, named)


def of_samples(rows: pd.DataFrame, point: str, note: str) -> dict[str, Any]:
    """Returns the set of a run of `experiments.sample_sweep` at one parameter point, "trained" or "perturbed"."""
    names = {"objective": "bound", "bound": "value", "bound_low": "value_low", "bound_high": "value_high"}
    here = pd.DataFrame(rows[rows["parameters"].eq(point)]).rename(columns=names)
    pairs = dict.fromkeys(zip(here["bound"], here["estimator"], strict=True))
    looks = {pair: style.SERIES["/".join(pair)] for pair in pairs}
    named = [(group, here, quantities) for group, quantities in OF_SAMPLES.items()]
    return dataset(f"sample_sweep: {point} autoencoder", note, looks, named)


def dataset(
    label: str,
    note: str,
    looks: Mapping[tuple[str, str], style.Series],
    named: Iterable[tuple[str, pd.DataFrame, Iterable[Quantity]]],
) -> dict[str, Any]:
    """Returns a set; quantities without any number are left out."""
    order = {pair: number for number, pair in enumerate(looks)}
    quantities = [
        {
            "name": f"{group}/{each.label}",
            "label": each.label,
            "option": each.label + SHORT[group],
            "group": group,
            "log": each.log,
            "points": found,
        }
        for group, rows, chosen in named
        for each in chosen
        if (found := list(points(rows, each, order)))
    ]
    return {
        "label": label,
        "note": note,
        "bounds": [{"name": name, "label": bound_label(name)} for name in dict.fromkeys(pair[0] for pair in looks)],
        "series": [
            {
                "bound": pair[0],
                "label": series_label(*pair),
                "color": look.color,
                "shape": MARKS[look.marker],
                "dash": dash(look.dash),
            }
            for pair, look in looks.items()
        ],
        "quantities": quantities,
    }


def points(rows: pd.DataFrame, quantity: Quantity, order: Mapping[tuple[str, str], int]) -> Iterator[dict[str, Any]]:
    """Yields the points of a column; NaN, of what was not measured, is left out."""
    column = quantity.column
    if column not in rows:
        return
    names = [column] * 3 if f"{column}_low" not in rows else [column, f"{column}_low", f"{column}_high"]
    cells = rows[["bound", "estimator", "num_samples", *names]].itertuples(index=False, name=None)
    for bound, estimator, k, *ends in cells:
        if not np.isnan(ends[0]):
            yield {"series": order[bound, estimator], "k": int(k)} | drawn(quantity, *ends)


def drawn(quantity: Quantity, value: float, low: float, high: float) -> dict[str, Any]:
    """Returns a value as it is written and as it is drawn: an infinite one is only written."""
    ends = [end if np.isfinite(end) else value for end in (low, high)]
    finite = bool(np.isfinite(value))
    return {
        "value": value if finite else None,
        "low": ends[0] if finite else None,
        "high": ends[1] if finite else None,
        "text": tables.plus_minus(value, max(value - low, high - value)) if high > low else tables.number(value),
        "shown": finite and bool(ends[0] > 0 or not quantity.log),
    }


def series_label(bound: str, estimator: str) -> str:
    """Returns what the figures call a pair."""
    known = style.SERIES.get(f"{bound}/{estimator}")
    return known.label if known else f"{bound_label(bound)}, {estimator.replace('_', ' ')}"


def bound_label(name: str) -> str:
    """Returns what the figures call a bound."""
    return style.SERIES[name].label if name in style.SERIES else name


def dash(pattern: Any) -> list[float]:
    """Returns matplotlib's dash pattern, in points, as SVG's, in pixels of a line of two; [1, 0] is a solid line."""
    return [1, 0] if pattern == "-" else [2 * length for length in pattern[1]]
