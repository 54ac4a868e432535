"""Pathfinder: the best Gaussian along the way of an ascent to a mode."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from vi_jax import checks
from vi_jax.training.ascent import Ascent, LogDensity, ascender, check_starts, is_done
from vi_jax.training.laplace import Gaussian
from vi_jax.training.mode import as_partial

# Zhang et al., section 3: pairs of smaller curvature, against |y|², say nothing of the inverse Hessian.
_LEAST_CURVATURE = 1e-12
# The ascent stops where nothing is left to gain, in nats; the Gaussians on the way are what is wanted.
_TOLERANCE = 1e-5


class Pathfinder(NamedTuple):
    """One Gaussian for each of M paths.

    Attributes:
      gaussian: `Gaussian` with leaves `[M, D]` and `[M, D, D]`.
      elbo: `[M]` nats, by fresh draws, so that the choice along the path does not favour it; −∞ where no iterate had a
        Gaussian with a finite draw. It is that of the Gaussian restricted to where log p is finite.
      standard_error: `[M]` nats, of `elbo`.
      chosen: `[M]` int32, the number of steps to the iterate that was chosen.
      num_steps: `[M]` int32, how many the path has.
      best: int32, the path of the largest ELBO.
    """

    gaussian: Gaussian
    elbo: jax.Array
    standard_error: jax.Array
    chosen: jax.Array
    num_steps: jax.Array
    best: jax.Array


class _Path(NamedTuple):
    """Where the path is, what it has learnt of the curvature, and the best Gaussian so far."""

    now: Ascent
    diagonal: jax.Array
    steps: jax.Array
    slopes: jax.Array
    gaussian: Gaussian
    elbo: jax.Array
    chosen: jax.Array


def pathfinder(
    key: jax.Array,
    log_density: LogDensity,
    starts: jax.Array,
    *,
    num_steps: int = 200,
    memory_size: int = 6,
    num_draws: int = 50,
    num_final_draws: int = 200,
) -> Pathfinder:
    """Climbs from M starts, and returns of each path the Gaussian of the largest ELBO.

        q_l = N(z_l + H_l ∇log p(z_l), H_l),   ELBO(q_l) ≈ mean_k [log p(z_k) − log q_l(z_k)],   z_k ~ q_l

    with z_l the iterates of L-BFGS and H_l its estimate of the inverse of −∇²log p: a diagonal that is updated by
    Gilbert and Lemaréchal's rule, and the last J pairs of steps and gradients on top. A path to the mode of a funnel,
    or to no mode at all, crosses the bulk on its way, and that is what it is kept for. Pairs without positive
    curvature are left out. All iterates are judged by the same noise. A Gaussian with draws where log p is not finite
    is taken as cut off there: its ELBO is the mean over the others, plus the log of their share.

    The best of many has a small standard error and may still be far from the best Gaussian: along the other D − J
    directions H_l is diagonal. It is a start, not a fit.

    Price: per step one line search, K evaluations of log p, O(J D²) for H_l and O(D³) for its factor; O(D²) memory per
    path. H_l is dense: up to a few hundred D. One compiled program, as `find_modes`.

    Zhang, Carpenter, Gelman and Vehtari, "Pathfinder: Parallel quasi-Newton variational inference" (arXiv:2108.03782),
    who start uniformly in (−2, 2)^D, with J = 6, and K = 5.

    Args:
      key: typed key, consumed.
      log_density: z `[D]` -> scalar nats.
      starts: `[M, D]`.
      num_steps: the most steps of each path.
      memory_size: J ≥ 1.
      num_draws: K, of each Gaussian on the way.
      num_final_draws: at least 2, of the one that is returned.

    Raises:
      TypeError, ValueError: `starts` is not `[M, D]` or has NaN, a count is not a positive integer, or there are less
        than two final draws.
    """
    checks.check_key(key)
    counts = dict(num_steps=num_steps, memory_size=memory_size, num_draws=num_draws, num_final_draws=num_final_draws)
    sizes = tuple(checks.check_positive_int(name, count) for name, count in counts.items())
    if num_final_draws < 2:
        raise ValueError("num_final_draws must be at least 2, got 1: one draw has no standard error.")
    return _pathfinder(key, as_partial(log_density), check_starts(starts), *sizes)


@functools.partial(jax.jit, static_argnums=(3, 4, 5, 6))
def _pathfinder(
    key: jax.Array,
    log_density: Partial,
    starts: jax.Array,
    num_steps: int,
    memory_size: int,
    num_draws: int,
    num_final_draws: int,
) -> Pathfinder:
    path_key, final_key = jax.random.split(key)
    noise = jax.random.normal(path_key, (num_draws, starts.shape[1]), starts.dtype)
    final_noise = jax.random.normal(final_key, (num_final_draws, starts.shape[1]), starts.dtype)
    climb = ascender(log_density, memory_size)

    def advance(path: _Path) -> _Path:
        now = climb.step(path.now)
        path = _learn(path, now)
        gaussian = _gaussian(path)
        elbo, _ = _restricted_elbo(log_weights(log_density, gaussian, noise))
        better = elbo > path.elbo
        gaussian, elbo, chosen = jax.tree.map(
            lambda a, b: jnp.where(better, a, b),
            (gaussian, elbo, now.num_steps),
            (path.gaussian, path.elbo, path.chosen),
        )
        return path._replace(gaussian=gaussian, elbo=elbo, chosen=chosen)

    def run(z: jax.Array) -> _Path:
        start = _start(climb.start(z), memory_size)
        return jax.lax.while_loop(
            lambda path: ~is_done(path.now, _TOLERANCE) & (path.now.num_steps < num_steps), advance, start
        )

    paths = jax.vmap(run)(starts)
    log_w = jax.vmap(lambda gaussian: log_weights(log_density, gaussian, final_noise))(paths.gaussian)
    elbo, error = jax.vmap(_restricted_elbo)(log_w)
    elbo = jnp.where(jnp.isneginf(paths.elbo), -jnp.inf, elbo)
    return Pathfinder(paths.gaussian, elbo, error, paths.chosen, paths.now.num_steps, jnp.argmax(elbo))


def _restricted_elbo(log_w: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the mean of the finite log-weights plus the log of their share, −∞ if there are none, and its error."""
    is_finite = jnp.isfinite(log_w)
    count = jnp.sum(is_finite)
    mean = jnp.sum(jnp.where(is_finite, log_w, 0)) / count
    variance = jnp.sum(jnp.where(is_finite, (log_w - mean) ** 2, 0)) / (count - 1)
    elbo = jnp.where(count > 0, mean + jnp.log(count / log_w.size), -jnp.inf)
    return elbo, jnp.sqrt(variance / count)


def log_weights(log_density: LogDensity, gaussian: Gaussian, noise: jax.Array) -> jax.Array:
    """Returns log p(z_k) − log q(z_k), `[K]` nats, of the draws z_k = loc + L ε_k for noise `[K, D]`."""
    z = gaussian.loc + noise @ gaussian.scale_tril.T
    log_scale = jnp.sum(jnp.log(jnp.diagonal(gaussian.scale_tril)))
    log_q = -jnp.sum(noise**2 + jnp.log(2 * jnp.pi), axis=1) / 2 - log_scale
    return jax.vmap(log_density)(z) - log_q


def _start(now: Ascent, memory_size: int) -> _Path:
    dim = now.location.shape[0]
    memory = jnp.zeros((memory_size, dim), now.location.dtype)
    eye = jnp.eye(dim, dtype=now.location.dtype)
    worst = jnp.full_like(now.log_density, -jnp.inf)
    unit = jnp.ones_like(now.location)
    return _Path(now, unit, memory, memory, Gaussian(now.location, eye), worst, jnp.zeros((), jnp.int32))


def _learn(path: _Path, now: Ascent) -> _Path:
    """Takes the step s and the loss of slope y into the memory, unless sᵀy says that the curvature is not positive."""
    s, y = now.location - path.now.location, path.now.gradient - now.gradient
    curvature = jnp.vdot(s, y)
    is_useful = curvature > _LEAST_CURVATURE * jnp.vdot(y, y)
    learnt = path._replace(
        diagonal=_diagonal(path.diagonal, s, y, curvature),
        steps=jnp.roll(path.steps, -1, axis=0).at[-1].set(s),
        slopes=jnp.roll(path.slopes, -1, axis=0).at[-1].set(y),
    )
    return jax.tree.map(lambda a, b: jnp.where(is_useful, a, b), learnt, path)._replace(now=now)


def _diagonal(alpha: jax.Array, s: jax.Array, y: jax.Array, curvature: jax.Array) -> jax.Array:
    """1/α_i ← a/(b α_i) + y_i²/b − a s_i²/(b c α_i²), a = yᵀ diag(α) y, b = sᵀy, c = sᵀ diag(α)⁻¹ s.

    Gilbert and Lemaréchal, "Some numerical experiments with variable-storage quasi-Newton algorithms" (1989), as in
    algorithm 3 of Pathfinder: the diagonal of a BFGS update of diag(α), scaled by a/b.
    """
    a, c = jnp.vdot(y, alpha * y), jnp.vdot(s, s / alpha)
    inverse = (a / alpha + y**2 - a * s**2 / (c * alpha**2)) / curvature
    return 1 / inverse


def _gaussian(path: _Path) -> Gaussian:
    """BFGS on diag(α): H ← (I − ρ s yᵀ) H (I − ρ y sᵀ) + ρ s sᵀ, ρ = 1/sᵀy, for the pairs from old to new."""

    def update(H: jax.Array, pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        s, y = pair
        curvature = jnp.vdot(s, y)
        rho = jnp.where(curvature > 0, 1 / curvature, 0)
        left = H - rho * jnp.outer(s, y @ H)
        return left - rho * jnp.outer(left @ y, s) + rho * jnp.outer(s, s), None

    covariance, _ = jax.lax.scan(update, jnp.diag(path.diagonal), (path.steps, path.slopes))
    loc = path.now.location + covariance @ path.now.gradient
    return Gaussian(loc, jnp.linalg.cholesky(covariance))
