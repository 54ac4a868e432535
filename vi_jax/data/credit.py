"""German credit, the customary target of Bayesian logistic regression: 1000 loans, and whether they went bad."""

import os
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vi_jax.data.find import find
from vi_jax.data.sources import GERMAN_CREDIT


class GermanCredit(NamedTuple):
    """One regression data set, whole: a posterior is its result, so nothing is held out.

    Attributes:
      x: `[1000, 25]` float32, the intercept's ones last.
      y: `[1000]` float32, 1 for a bad loan (300 of them), 0 for a good one.
      protocol: what was done, in words, to print beside a result.
    """

    x: jax.Array
    y: jax.Array
    protocol: str


def standardized(columns: np.ndarray) -> np.ndarray:
    """(x − mean x) / sd x of each column `[N, D]`, with the N-denominator deviation."""
    return scaled(columns - columns.mean(axis=0))


def scaled(columns: np.ndarray) -> np.ndarray:
    """x / sd x of each column `[N, D]`, not centred: the intercept is then correlated with every slope."""
    return columns / columns.std(axis=0)


def german_credit(
    path: str | os.PathLike[str] | None = None, *, coding: Callable[[np.ndarray], np.ndarray] = standardized
) -> GermanCredit:
    """Returns the numeric German credit data, its 24 columns coded, an intercept after them, y = 1 for "bad".

    Hofmann, "Statlog (German Credit Data)" (UCI, 1994), the numeric version. Codings in use differ, and with them the
    posterior: for w ~ N(0, 10² I) log p(y) is −585.041 standardized and −585.098 scaled, but the best mean-field ELBO
    −587.628 and −605.666 nats; for w ~ N(0, I), standardized, log p(y) is −529.176.

    Args:
      path: a folder with `german.data-numeric` or `german_credit_numeric.csv`, or such a file. None searches as
        `data.find` says.
      coding: `[1000, 24]` float64 to `[1000, 24]`, `standardized`, `scaled` or one's own; the protocol has its name.

    Raises:
      FileNotFoundError: the file is nowhere; the error lists where.
      ValueError: it is damaged, or other data; or the coding changes the shape or makes numbers that are not finite.
    """
    table = find(GERMAN_CREDIT, path)["table"]
    columns, label = table[:, :-1].astype(np.float64), table[:, -1]
    name = getattr(coding, "__name__", str(coding))
    coded = np.asarray(coding(columns))
    if coded.shape != columns.shape or not np.all(np.isfinite(coded)):
        raise ValueError(f"coding={name} must return {columns.shape} finite numbers, got shape {coded.shape}: {coded}")
    x = np.concatenate([coded, np.ones((len(coded), 1))], axis=1)
    protocol = f"German credit (UCI Statlog, numeric): 1000 loans, 24 columns {name}, intercept last, y = 1 for bad"
    return GermanCredit(jnp.asarray(x, jnp.float32), jnp.asarray(label == 2, jnp.float32), protocol)
