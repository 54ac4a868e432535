"""The guides that `approximate` tries, from the plainest up. Each is fitted in coordinates of the one before."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vi_jax import guides
from vi_jax.guides.gaussian import scale_tril
from vi_jax.training.laplace import Gaussian
from vi_jax.types import Guide, PyTree

# Beyond it D (D + 1)/2 numbers of a factor are more than a few thousand steps can learn.
_MOST_FULL_RANK_DIMENSIONS = 100


class Rung(NamedTuple):
    """A family of guides.

    Attributes:
      name: in tables and verdicts.
      guide: `D -> Guide` over u `[D]`, which starts as N(0, I).
      rate: the first rate of its fit.
      gaussian: `φ -> Gaussian` over u, for the next rung to start from; None where it is none: the next then starts
        where this did.
    """

    name: str
    guide: Callable[[int], Guide]
    rate: float = 0.1
    gaussian: Callable[[PyTree], Gaussian] | None = None


def _diagonal(phi: guides.MeanField) -> Gaussian:
    return Gaussian(phi.loc, jnp.diag(jnp.exp(phi.log_scale)))


def _triangular(phi: guides.FullRank) -> Gaussian:
    return Gaussian(phi.loc, scale_tril(phi))


mean_field = Rung("mean_field", guides.mean_field, gaussian=_diagonal)
"""Independent in the coordinates of the Gaussian that it starts from, so that it keeps that one's correlations."""

full_rank = Rung("full_rank", guides.full_rank, gaussian=_triangular)
"""Any Gaussian."""

flow = Rung("flow", lambda dim: guides.flow(dim, num_layers=6), rate=0.01)
"""Couplings about a Gaussian. They need two dimensions."""


def default_ladder(dim: int) -> tuple[Rung, ...]:
    """Full rank and then a flow up to 100 dimensions; beyond, mean field about Laplace's Gaussian."""
    if dim > _MOST_FULL_RANK_DIMENSIONS:
        return (mean_field,)
    return (full_rank, flow) if dim > 1 else (full_rank,)


def step_up(rung: Rung, phi: PyTree, gaussian: Gaussian) -> Gaussian:
    """Returns the Gaussian over z that the next rung starts from: that of u, in the coordinates of `gaussian`."""
    if rung.gaussian is None:
        return gaussian
    u = rung.gaussian(phi)
    return Gaussian(gaussian.loc + gaussian.scale_tril @ u.loc, gaussian.scale_tril @ u.scale_tril)


def on(rung: Rung, gaussian: Gaussian) -> Guide:
    """Returns the guide over z whose start is `gaussian`."""
    return guides.preconditioned(rung.guide(jax.numpy.size(gaussian.loc)), *gaussian)
