"""An interval is three columns, `x`, `x_low` and `x_high`: tables print it, figures draw it. All are 95 % intervals."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy import stats

QUANTILE = float(stats.norm.ppf(0.975))


def columns(name: str, estimate: Iterable[Any]) -> dict[str, float]:
    """Returns the columns of an estimate (value, low, high), such as a `measurement.Estimate`."""
    return dict(zip((name, f"{name}_low", f"{name}_high"), (float(end) for end in estimate), strict=True))


def around(name: str, value: Any, standard_error: Any) -> dict[str, float]:
    """Returns the columns of a value ± 1.96 standard errors."""
    value, half_width = float(value), QUANTILE * float(standard_error)
    return columns(name, (value, value - half_width, value + half_width))


def mean(name: str, values: np.ndarray) -> dict[str, float]:
    """Returns the columns of the mean of independent values, by Student's t; of a single value, NaN for the ends."""
    values = np.asarray(values, np.float64).reshape(-1)
    if values.size == 1:
        return columns(name, (values[0], np.nan, np.nan))
    half_width = stats.t.ppf(0.975, values.size - 1) * values.std(ddof=1) / values.size**0.5
    return columns(name, (values.mean(), values.mean() - half_width, values.mean() + half_width))


def share(name: str, count: Any, total: Any) -> dict[str, float]:
    """Returns the columns of count / total, by the interval of Wilson (1927), which is one at 0 and at 1 too.

    NaN where there is nothing to count.
    """
    if total == 0:
        return columns(name, (np.nan, np.nan, np.nan))
    ends = stats.binomtest(int(count), int(total)).proportion_ci(method="wilson")
    return columns(name, (int(count) / int(total), ends.low, ends.high))
