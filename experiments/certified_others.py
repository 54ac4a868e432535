"""The rows of the certificate that are no pair of bound and estimator: where they are listed, and when one is green."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from experiments import (
    certified_dependent,
    certified_discrete,
    certified_layers,
    certified_measure,
    certified_reference,
    certified_relaxed,
)
from experiments.claims import BIASED, UNBIASED

ROWS = {
    "dependent draws": certified_dependent.ROWS,
    "Bernoulli": certified_discrete.ROWS,
    "relaxed": certified_relaxed.ROWS,
    "reference draws": certified_reference.ROWS,
    "layers and chains": certified_layers.ROWS,
}
"""Every module of rows, under the name of what it is about; the rows of one are compiled together."""
LINE = 5.0
NO_VARIANCE = 1e-20
"""Of a row that claims to have none, relative to the square of its exact gradient: rounding in float64."""
ORDER_WITHIN = 0.4
"""How far the measured order of a bias may lie from the claimed one, beyond its interval."""


def values_of_k(subject: str) -> tuple[int, ...]:
    """Returns every K at which a row of this subject is measured, in order."""
    return certified_measure.values_of_k(ROWS[subject])


def measure(key: jax.Array, subject: str, num_samples: int, num_replicates: int) -> list[dict[str, Any]]:
    """Returns the rows of one subject at one K."""
    return certified_measure.measure(key, ROWS[subject], num_samples, num_replicates)


def with_order(before: Mapping[str, Any] | None, row: dict[str, Any]) -> dict[str, Any]:
    """Adds the order of a bias in 1/K since the row's last K, and the interval that LINE standard errors leave it."""
    order = low = high = np.nan
    if before is not None and not np.isnan(row["claimed_order"]):
        steps = np.log(row["num_samples"] / before["num_samples"])
        order = np.log(before["bias_phi"] / row["bias_phi"]) / steps
        errors = [each["bias_error"] / each["bias_phi"] for each in (before, row)]
        low, high = (order + sign * LINE * np.hypot(*errors) / steps for sign in (-1, 1))
    return row | {"order": order, "order_low": low, "order_high": high}


def is_green(row: Mapping[str, Any]) -> bool:
    """Whether a row is what it claims to be."""
    if row["zero_variance"] and row["variance_phi"] > NO_VARIANCE * max(1.0, row["exact"] ** 2):
        return False
    if row["claim"] == UNBIASED:
        return bool(abs(row["z_phi"]) < LINE)
    assert row["claim"] == BIASED, row["claim"]
    if np.isnan(row["order"]):
        return bool(row["bias_phi"] > LINE * row["bias_error"])
    claimed = row["claimed_order"]
    return bool(row["order_low"] < claimed + ORDER_WITHIN and row["order_high"] > claimed - ORDER_WITHIN)
