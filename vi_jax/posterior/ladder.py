"""The guides that `approximate` tries, from the plainest up. Each is fitted in coordinates of the one before."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular

from vi_jax import bounds, estimators, guides, objectives
from vi_jax.gradient import value_and_grad
from vi_jax.guides.gaussian import scale_tril
from vi_jax.posterior.gaussian import compose
from vi_jax.training.laplace import Gaussian
from vi_jax.training.settle import Watch, flat
from vi_jax.types import Guide, Model, Objective, Params, PyTree

_NUM_DRAWS = 16
_NUM_WATCHED = 128
# A guide over a global latent does not look at its datum.
_NO_DATA = np.zeros(1)
# Beyond it D (D + 1)/2 numbers of a factor are more than a few thousand steps can learn.
_MOST_FULL_RANK_DIMENSIONS = 100


def landing(model: Model, guide: Guide) -> Objective:
    """The ELBO by sticking the landing, 16 draws a step: its noise vanishes where the guide is the posterior."""
    return value_and_grad(model, guide, bounds.elbo, estimators.sticking_the_landing, num_samples=_NUM_DRAWS)


def parameters(guide: Guide) -> Watch:
    """All numbers of φ."""
    del guide
    return flat


def moments(guide: Guide) -> Watch:
    """Means and log standard deviations of u, by 128 draws from the same noise: what of a flow has to come to rest."""

    def watch(params: Params) -> jax.Array:
        size = jax.eval_shape(lambda: guide.distribution(params.phi, _NO_DATA).sample(seed=jax.random.key(0)))
        noise = jax.random.normal(jax.random.key(0), (_NUM_WATCHED, *size.shape), size.dtype)
        assert guide.from_noise is not None
        u = jax.vmap(guide.from_noise, (None, None, 0))(params.phi, _NO_DATA, noise)
        return jnp.concatenate([jnp.mean(u, axis=0), jnp.log(jnp.std(u, axis=0))])

    return watch


class Rung(NamedTuple):
    """A family of guides.

    Attributes:
      name: in tables and verdicts.
      guide: `D -> Guide` over u `[D]`, which starts as N(0, I).
      rate: the first rate of its fit.
      objective: what it climbs, `(model, guide) -> Objective`.
      watch: `guide over u -> Watch`, whose stillness ends the fit.
      gaussian: `φ -> Gaussian` over u, for the next rung to start from; None where it is none: the next then starts
        where this did.
    """

    name: str
    guide: Callable[[int], Guide]
    rate: float = 0.1
    objective: Callable[[Model, Guide], Objective] = landing
    watch: Callable[[Guide], Watch] = parameters
    gaussian: Callable[[PyTree], Gaussian] | None = None


def _diagonal(phi: guides.MeanField) -> Gaussian:
    return Gaussian(phi.loc, jnp.diag(jnp.exp(phi.log_scale)))


def _triangular(phi: guides.FullRank) -> Gaussian:
    return Gaussian(phi.loc, scale_tril(phi))


mean_field: Rung = Rung("mean_field", guides.mean_field, gaussian=_diagonal)
"""Independent in the coordinates of the Gaussian that it starts from, so that it keeps that one's correlations."""

full_rank: Rung = Rung("full_rank", guides.full_rank, gaussian=_triangular)
"""Any Gaussian."""

flow: Rung = Rung("flow", lambda dim: guides.flow(dim, num_layers=6), rate=0.01, watch=moments)
"""Couplings about a Gaussian. They need two dimensions."""


def of_modes(within: Gaussian, modes: Gaussian, log_mass: jax.Array) -> Rung:
    """A mixture with a component in each of M modes, weighed by their masses; each is independent in u of `within`.

    It climbs `objectives.stratified`, as many draws of every component as the others have in all, which carries
    weights between modes that no draw can travel between.

    Args:
      within: the Gaussian over z in whose coordinates the guide lives.
      modes: Gaussians over z, leaves `[M, ...]`.
      log_mass: `[M]` nats.
    """
    loc = jax.vmap(lambda m: solve_triangular(within.scale_tril, m - within.loc, lower=True))(modes.loc)
    factors = jax.vmap(lambda L: solve_triangular(within.scale_tril, L, lower=True))(modes.scale_tril)
    log_scale = jnp.stack([guides.mean_field_from_gaussian(*each).log_scale for each in zip(loc, factors, strict=True)])
    phi = guides.GaussianMixture(log_mass - jnp.max(log_mass), loc, log_scale)

    def guide(dim: int) -> Guide:
        return guides.gaussian_mixture(dim, loc.shape[0])._replace(init=lambda key: phi)

    def objective(model: Model, guide: Guide) -> Objective:
        return objectives.stratified(model, guide, num_samples=_NUM_DRAWS)

    return Rung(f"mixture of {loc.shape[0]}", guide, objective=objective)


def default_ladder(dim: int) -> tuple[Rung, ...]:
    """Full rank and then a flow up to 100 dimensions; beyond, mean field about Laplace's Gaussian."""
    if dim > _MOST_FULL_RANK_DIMENSIONS:
        return (mean_field,)
    return (full_rank, flow) if dim > 1 else (full_rank,)


def step_up(rung: Rung, phi: PyTree, gaussian: Gaussian) -> Gaussian:
    """Returns the Gaussian over z that the next rung starts from: that of u, in the coordinates of `gaussian`."""
    if rung.gaussian is None:
        return gaussian
    return compose(gaussian, rung.gaussian(phi))


def on(rung: Rung, gaussian: Gaussian) -> Guide:
    """Returns the guide over z whose start is `gaussian`."""
    return guides.preconditioned(rung.guide(jnp.size(gaussian.loc)), *gaussian)
