"""What a model with exact answers offers: every estimator is judged against one of these."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from vi_jax.types import Model, PyTree


class ExactModel(NamedTuple):
    """A model together with its evidence and posterior, for ONE datum x.

        log p_θ(x) = log ∫ p_θ(x, z) dz,   p_θ(z | x) = p_θ(x, z) / p_θ(x)

    Attributes:
      model: log p_θ(x, z), as everywhere else.
      log_evidence: `(theta, x) -> scalar`, log p_θ(x) in nats.
      posterior: `(theta, x) -> distrax distribution` of z given x.
    """

    model: Model
    log_evidence: Callable[[PyTree, PyTree], jax.Array]
    posterior: Callable[[PyTree, PyTree], Any]
