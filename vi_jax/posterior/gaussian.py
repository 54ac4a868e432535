"""The Gaussian that a fit begins at: Pathfinder's or Laplace's, whichever has the larger ELBO."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from vi_jax.training.laplace import Gaussian, laplace
from vi_jax.training.mode import find_modes
from vi_jax.training.pathfinder import Pathfinder, log_weights, pathfinder

# Pathfinder factors a [D, D] matrix at every step of every path.
_MOST_PATHFINDER_DIMENSIONS = 200
_NUM_PATHS = 4
_NUM_DRAWS = 200
# Newton's way to a mode that L-BFGS has come near: each turn sees the curvature in the coordinates of the last.
_NUM_TURNS = 2


class Beginning(NamedTuple):
    """Where a fit begins.

    Attributes:
      gaussian: over z `[D]`.
      elbo: its ELBO, nats, on the draws by which it was chosen.
      paths: the Gaussians of the paths that differ, leaves `[M, ...]`, the heaviest first; M = 0 where there are none.
      log_mass: `[M]` nats, their ELBOs.
    """

    gaussian: Gaussian
    elbo: float
    paths: Gaussian
    log_mass: jax.Array


def begin(key: jax.Array, log_density: Partial, start: jax.Array) -> Beginning:
    """Returns the best Gaussian that ascents from M = 4 starts come by: the start, and 3 uniformly within ± 2 of it.

    Pathfinder's best, and then, twice, Laplace's approximation at the mode nearest to the best so far, in the
    coordinates in which that is N(0, I): L-BFGS and the Hessian are then well conditioned in float32 too. Of all of
    them the one of the largest ELBO is kept, on the same noise, so that a mode without a Gaussian about it, as of the
    centred eight schools, is not chosen. Beyond 200 dimensions Pathfinder, which is O(D³) a step, is left out.

    Args:
      key: typed key, consumed.
      log_density: z `[D]` -> scalar nats.
      start: `[D]`, where log p is finite.
    """
    starts_key, path_key, noise_key = jax.random.split(key, 3)
    nearby = jax.random.uniform(starts_key, (_NUM_PATHS - 1, start.size), start.dtype, -2, 2)
    starts = jnp.concatenate([start[None], start + nearby])
    noise = jax.random.normal(noise_key, (_NUM_DRAWS, start.size), start.dtype)
    best, paths, log_mass = _first(path_key, log_density, starts)
    elbo = _elbo(log_density, best, noise)
    for _ in range(_NUM_TURNS):
        turned = _turn(log_density, best)
        found = _elbo(log_density, turned, noise)
        if not found > elbo:
            break
        best, elbo = turned, found
    return Beginning(best, elbo, paths, log_mass)


def _first(key: jax.Array, log_density: Partial, starts: jax.Array) -> tuple[Gaussian, Gaussian, jax.Array]:
    if starts.shape[1] > _MOST_PATHFINDER_DIMENSIONS:
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


def _turn(log_density: Partial, gaussian: Gaussian) -> Gaussian:
    """Laplace's approximation, found and stated in the coordinates of a Gaussian."""
    within = Partial(_within, log_density, gaussian)
    mode = find_modes(within, jnp.zeros((1, gaussian.loc.size), gaussian.loc.dtype)).location[0]
    found = _laplace(within, mode).gaussian
    return Gaussian(gaussian.loc + gaussian.scale_tril @ found.loc, gaussian.scale_tril @ found.scale_tril)


def _within(log_density: Partial, gaussian: Gaussian, u: jax.Array) -> jax.Array:
    return log_density(gaussian.loc + gaussian.scale_tril @ u)


_laplace = jax.jit(lambda log_density, mode: laplace(log_density, mode))


def _elbo(log_density: Partial, gaussian: Gaussian, noise: jax.Array) -> float:
    mean = jnp.mean(_log_weights(log_density, gaussian, noise))
    return float(jnp.where(jnp.isnan(mean), -jnp.inf, mean))


@jax.jit
def _log_weights(log_density: Partial, gaussian: Gaussian, noise: jax.Array) -> jax.Array:
    return log_weights(log_density, gaussian, noise)
