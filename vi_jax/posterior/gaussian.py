"""The Gaussian that a fit begins at: Pathfinder's or Laplace's, whichever has the larger ELBO."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from vi_jax.posterior.modes import Places
from vi_jax.training.laplace import Gaussian, laplace
from vi_jax.training.matching import batch_and_match
from vi_jax.training.mode import find_modes
from vi_jax.training.pathfinder import Pathfinder, log_weights, pathfinder

# Pathfinder, and batch and match, factor a [D, D] matrix at every step.
_MOST_SMALL_DIMENSIONS = 200
_NUM_PATHS = 4
_NUM_DRAWS = 200
_NUM_MATCHES = 100


class Beginning(NamedTuple):
    """Where a fit begins.

    Attributes:
      gaussian: over z `[D]`.
      elbo: its ELBO, nats, on the draws by which it was chosen.
      paths: the Gaussians of the paths that differ, leaves `[M, ...]`, the heaviest first; M = 0 where there are none.
      log_mass: `[M]` nats, their ELBOs.
      places: all Gaussians that were met, those that were not chosen too: a guide is asked whether it covers each.
    """

    gaussian: Gaussian
    elbo: float
    paths: Gaussian
    log_mass: jax.Array
    places: Places


def begin(key: jax.Array, log_density: Partial, start: jax.Array) -> Beginning:
    """Returns the best Gaussian that ascents from M = 4 starts come by: the start, and 3 uniformly within ± 2 of it.

    Pathfinder's best; then, twice, Laplace's approximation at the mode nearest to the best so far; then 100 updates of
    batch and match. Each is found in the coordinates in which the best so far is N(0, I), where L-BFGS and the Hessian
    are well conditioned in float32 too, and kept if its ELBO is larger on the same noise: a mode without a Gaussian
    about it, as of the centred eight schools, is not. Beyond 200 dimensions Pathfinder and batch and match, which are
    O(D³) a step, are left out.

    Args:
      key: typed key, consumed.
      log_density: z `[D]` -> scalar nats.
      start: `[D]`, where log p is finite.
    """
    starts_key, path_key, match_key, noise_key = jax.random.split(key, 4)
    nearby = jax.random.uniform(starts_key, (_NUM_PATHS - 1, start.size), start.dtype, -2, 2)
    starts = jnp.concatenate([start[None], start + nearby])
    noise = jax.random.normal(noise_key, (_NUM_DRAWS, start.size), start.dtype)
    best, paths, log_mass = _first(path_key, log_density, starts)
    elbo = _elbo(log_density, best, noise)
    met = [(Gaussian(*path), float(mass)) for *path, mass in zip(*paths, log_mass, strict=True)]
    # Each in the coordinates of the best before it.
    improvements = [_laplace_within, _laplace_within]
    if start.size <= _MOST_SMALL_DIMENSIONS:
        improvements.append(functools.partial(_match_within, match_key))
    for improve in improvements:
        candidate = compose(best, improve(Partial(_within, log_density, best), start.size))
        found = _elbo(log_density, candidate, noise)
        met.append((candidate, found))
        if found > elbo:
            best, elbo = candidate, found
    return Beginning(best, elbo, paths, log_mass, _places(met))


def _places(met: list[tuple[Gaussian, float]]) -> Places:
    gaussians = [gaussian for gaussian, log_mass in met if np.isfinite(log_mass)]
    dim = met[0][0].loc.size
    loc = jnp.stack([gaussian.loc for gaussian in gaussians]) if gaussians else jnp.zeros((0, dim))
    factors = jnp.stack([gaussian.scale_tril for gaussian in gaussians]) if gaussians else jnp.zeros((0, dim, dim))
    return Places(loc, jnp.asarray([log_mass for _, log_mass in met if np.isfinite(log_mass)], float), factors)


def _first(key: jax.Array, log_density: Partial, starts: jax.Array) -> tuple[Gaussian, Gaussian, jax.Array]:
    if starts.shape[1] > _MOST_SMALL_DIMENSIONS:
        modes = find_modes(log_density, starts)
        best = Gaussian(modes.location[jnp.argmax(modes.log_density)], jnp.eye(starts.shape[1], dtype=starts.dtype))
        return best, jax.tree.map(lambda leaf: leaf[None][:0], best), jnp.zeros(0)
    found: Pathfinder = pathfinder(key, log_density, starts)
    kept = np.array(_distinct(jax.tree.map(np.asarray, found.gaussian), np.asarray(found.elbo)), int)
    best = jax.tree.map(lambda leaf: leaf[found.best], found.gaussian)
    return best, jax.tree.map(lambda leaf: leaf[kept], found.gaussian), found.elbo[kept]


def _distinct(paths: Gaussian, log_mass: np.ndarray) -> list[int]:
    """The paths whose centres lie apart, the heaviest first.

    |L⁻¹ (m − m′)|² > D + 5 √(2D): of a draw of that Gaussian it is D, give or take √(2D).
    """
    dim = paths.loc.shape[1]
    kept: list[int] = []
    for number in np.argsort(-log_mass):
        distances = [np.linalg.solve(paths.scale_tril[number], paths.loc[number] - paths.loc[other]) for other in kept]
        if np.isfinite(log_mass[number]) and all(np.sum(d**2) > dim + 5 * np.sqrt(2 * dim) for d in distances):
            kept.append(int(number))
    return kept


def compose(outer: Gaussian, inner: Gaussian) -> Gaussian:
    """Returns the Gaussian over z = loc + L u of one over u."""
    return Gaussian(outer.loc + outer.scale_tril @ inner.loc, outer.scale_tril @ inner.scale_tril)


def _laplace_within(log_density: Partial, dim: int) -> Gaussian:
    mode = find_modes(log_density, jnp.zeros((1, dim))).location[0]
    return _laplace(log_density, mode).gaussian


def _match_within(key: jax.Array, log_density: Partial, dim: int) -> Gaussian:
    start = Gaussian(jnp.zeros(dim), jnp.eye(dim))
    return batch_and_match(key, log_density, start, num_steps=_NUM_MATCHES).gaussian


def _within(log_density: Partial, gaussian: Gaussian, u: jax.Array) -> jax.Array:
    return log_density(gaussian.loc + gaussian.scale_tril @ u)


_laplace = jax.jit(lambda log_density, mode: laplace(log_density, mode))


def _elbo(log_density: Partial, gaussian: Gaussian, noise: jax.Array) -> float:
    mean = jnp.mean(_log_weights(log_density, gaussian, noise))
    return float(jnp.where(jnp.isnan(mean), -jnp.inf, mean))


@jax.jit
def _log_weights(log_density: Partial, gaussian: Gaussian, noise: jax.Array) -> jax.Array:
    return log_weights(log_density, gaussian, noise)
