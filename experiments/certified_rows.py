"""Rows of the certificate for what is no function of log-weights alone: an objective, a problem, its exact gradient.

A module `experiments/certified_*.py` lists its rows as `ROWS`; `experiments/certify.py` measures them all.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np


class Problem(NamedTuple):
    """An objective at fixed parameters on one datum.

    Attributes:
      estimate: `key -> [P]`, one estimate of the gradient, raveled: all coordinates that the row makes a claim of.
      exact: `[P]`, what its mean should be; float64, by enumeration, quadrature or closed form.
    """

    estimate: Callable[[jax.Array], jax.Array]
    exact: np.ndarray


class ObjectiveRow(NamedTuple):
    """One row of the certificate.

    Attributes:
      family: the guide's, as "two layers".
      target: what is climbed, as "elbo" or "forward KL".
      estimator: its name, as "disarm".
      kind: `claims.UNBIASED`; or `claims.BIASED`, and then a bias must be resolved.
      claim: what is claimed, in a few words of the page.
      formula: of the gradient of φ, in words of the page.
      source: paper.
      build: `K -> Problem`, called under float64 outside of any trace.
      num_samples: values of K, increasing.
      order: of the bias in 1/K, for a biased row that claims one: measured between successive K.
      zero_variance: the row claims that all estimates are equal.
    """

    family: str
    target: str
    estimator: str
    kind: str
    claim: str
    formula: str
    source: str
    build: Callable[[int], Problem]
    num_samples: tuple[int, ...] = (1, 8)
    order: float | None = None
    zero_variance: bool = False
