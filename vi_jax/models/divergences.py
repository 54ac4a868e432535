"""How far a Gaussian q is from a density p: closed forms between Gaussians, and sums on a line for anything else.

Both densities are normalised here, so with w = p / q every bound is one on log 1 = 0: the ELBO is −KL(q ‖ p). For a
model with evidence p(x) and posterior p, add log p(x).
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jax.typing import ArrayLike

_NEWTON_STEPS = 60
_MOST_STEPS = 5000
_LARGEST_LOG_STEP = 1.0


def gaussian_kl(mean_q: ArrayLike, cov_q: ArrayLike, mean_p: ArrayLike, cov_p: ArrayLike) -> jax.Array:
    """Returns KL(q ‖ p) between two Gaussians. Differentiable in all four arguments.

        KL(q ‖ p) = ½ (tr(Σ_p⁻¹ Σ_q) − D + (m_p − m_q)ᵀ Σ_p⁻¹ (m_p − m_q) + log |Σ_p| − log |Σ_q|)

    The reverse divergence if p is the target. The forward one, KL(p ‖ q), is the same function with q and p exchanged.

    Args:
      mean_q: `[D]`.
      cov_q: `[D, D]`, positive definite; NaN comes out if it is not.
      mean_p: `[D]`.
      cov_p: `[D, D]`, positive definite.

    Returns:
      Scalar, in nats, at least 0 up to rounding.

    Raises:
      ValueError: the shapes do not fit together.
    """
    mean_q, cov_q, mean_p, cov_p = _check_pair(mean_q, cov_q, mean_p, cov_p)
    factor_q, factor_p = jnp.linalg.cholesky(cov_q), jnp.linalg.cholesky(cov_p)
    spread = solve_triangular(factor_p, factor_q, lower=True)
    shift = solve_triangular(factor_p, mean_p - mean_q, lower=True)
    # log of the ratio of the diagonals, and not a difference of log-determinants, is 0 where the two are equal.
    log_ratio = jnp.sum(jnp.log(jnp.diag(factor_p) / jnp.diag(factor_q)))
    return (jnp.sum(spread**2) - mean_q.shape[0] + jnp.sum(shift**2)) / 2 + log_ratio


def gaussian_renyi_bound(
    mean_q: ArrayLike, cov_q: ArrayLike, mean_p: ArrayLike, cov_p: ArrayLike, *, alpha: float
) -> jax.Array:
    """Returns the exact Rényi bound of order α between two Gaussians. Differentiable where it is finite.

        L_α = log E_q[w^{1−α}] / (1−α),   w = p / q
            = ½ Σ_i (log λ_i − log(1 + s(λ_i − 1)) / s) − ½ α δᵀ (α Σ_p + s Σ_q)⁻¹ δ,   s = 1 − α,  δ = m_p − m_q

    with λ the eigenvalues of Σ_q Λ_p, written so that no digits are lost near s = 0. α = 1 is −KL(q ‖ p), taken as the
    limit; α = 0 is log 1 = 0; α = −1 is CUBO₂. L_α decreases in α.

    E_q[w^s] is infinite unless αΛ_q + sΛ_p is positive definite. Then L_α = +∞ for α < 1 and −∞ for α > 1, with a
    gradient of zero; a mean over draws is finite all the same, and means nothing.

    Li and Turner, "Rényi Divergence Variational Inference" (arXiv:1602.02311).

    Args:
      mean_q: `[D]`.
      cov_q: `[D, D]`, positive definite; NaN comes out if it is not.
      mean_p: `[D]`.
      cov_p: `[D, D]`, positive definite.
      alpha: α, a finite Python number.

    Returns:
      Scalar, in nats.

    Raises:
      ValueError: the shapes do not fit together, or `alpha` is not finite.
    """
    mean_q, cov_q, mean_p, cov_p = _check_pair(mean_q, cov_q, mean_p, cov_p)
    s = 1.0 - _check_order(alpha)
    whitened = solve_triangular(jnp.linalg.cholesky(cov_p), jnp.linalg.cholesky(cov_q), lower=True)
    ratios = jnp.linalg.eigvalsh(whitened.T @ whitened)
    growth = s * (ratios - 1)
    finite = jnp.all(growth > -1)
    valid = ~jnp.any(jnp.isnan(ratios))
    # The branch that is not taken is differentiated too: it must not divide by zero.
    growth, ratios = jnp.where(finite, growth, 0), jnp.where(finite, ratios, 1)
    slope = jnp.log1p(growth) / s if s else ratios - 1
    mixed = jnp.where(finite, alpha * cov_p + s * cov_q, jnp.eye(mean_q.shape[0], dtype=cov_p.dtype))
    shift = mean_p - mean_q
    value = jnp.sum(jnp.log(ratios) - slope) / 2 - alpha * (shift @ jnp.linalg.solve(mixed, shift)) / 2
    return jnp.where(valid, jnp.where(finite, value, math.copysign(math.inf, s)), jnp.nan)


def mean_field_optimum(covariance: ArrayLike, *, alpha: float) -> jax.Array:
    """Returns the variances of the best diagonal Gaussian for N(m, Σ) under the Rényi bound; its mean is m.

        diag((α Λ_q + (1−α) Λ)⁻¹) = diag(Λ_q⁻¹) = v,   Λ = Σ⁻¹

    α = 1, reverse KL: 1/Λ_ii. α = 0, forward KL, as the limit: Σ_ii. α = ½ lies between, α = −1 (CUBO₂, minimised)
    above. v_i grows as α falls. The problem is convex in the precisions for α < 0, in the log-variances for 0 < α < 1
    and in the variances for α > 1, so the stationary point is the optimum and Newton's method finds it. Near |α| = ∞
    it lies at the edge of where the bound is finite.

    Args:
      covariance: Σ, `[D, D]`, positive definite; NaN comes out if it is not.
      alpha: α, a finite Python number.

    Returns:
      `[D]` variances.

    Raises:
      ValueError: `covariance` is not a square matrix, or `alpha` is not finite.
    """
    covariance = _floats(covariance)
    if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1]:
        raise ValueError(f"covariance must be one square matrix [D, D], got shape {covariance.shape}.")
    alpha = _check_order(alpha)
    variances = jnp.diag(covariance)
    # Free of units: the bound does not change if a coordinate is measured on another scale.
    correlation = covariance / jnp.sqrt(variances[:, None] * variances)
    valid = jnp.all(jnp.isfinite(jnp.linalg.cholesky(correlation)))
    return jnp.where(valid, variances * _unit_optimum(correlation, jnp.linalg.inv(correlation), alpha), jnp.nan)


def _unit_optimum(correlation: jax.Array, precision: jax.Array, alpha: float) -> jax.Array:
    """Returns the variances for coordinates of variance one."""
    ones = jnp.ones(correlation.shape[0], correlation.dtype)
    if alpha == 1:
        return ones / jnp.diag(precision)
    if alpha > 1:
        return _meet_from_inside(alpha * correlation, alpha - 1, ones / jnp.diag(precision))
    if alpha < 0:
        return 1 / _meet_from_inside((1 - alpha) * precision, -alpha, ones)
    if alpha == 0:
        return ones
    return 1 / _meet_in_logs((1 - alpha) * precision, alpha, jnp.diag(precision))


def quadrature_kl(
    log_q: Callable[[jax.Array], jax.Array], log_p: Callable[[jax.Array], jax.Array], grid: jax.Array
) -> jax.Array:
    """Returns KL(q ‖ p) between two densities on a line, by the trapezoid rule. Differentiable in what they close over.

        KL(q ‖ p) = ∫ q(z) (log q(z) − log p(z)) dz

    Of smooth densities that have died out at both ends the rule is exact to rounding once the step is below about half
    of the smallest standard deviation. For KL(p ‖ q) exchange the two.

    Args:
      log_q: scalar z -> log q(z), normalised. Where it is −∞ nothing is added.
      log_p: scalar z -> log p(z).
      grid: `[G]` equally spaced and increasing, wide enough to hold q.

    Returns:
      Scalar, in nats.

    Raises:
      ValueError: `grid` is not a vector of two points at least.
    """
    if grid.ndim != 1 or grid.shape[0] < 2:
        raise ValueError(f"grid must be a vector of two points at least, got shape {grid.shape}.")
    log_density, log_target = jax.vmap(log_q)(grid), jax.vmap(log_p)(grid)
    outside = jnp.isneginf(log_density)
    ratio = jnp.where(outside, 0, log_density) - jnp.where(outside, 0, log_target)
    # A difference of two neighbours would carry the rounding of the grid, multiplied by its length.
    step = (grid[-1] - grid[0]) / (grid.shape[0] - 1)
    return jnp.trapezoid(jnp.where(outside, 0, jnp.exp(log_density)) * ratio, dx=step)


@jax.jit
def _meet_from_inside(base: jax.Array, share: jax.Array | float, limit: jax.Array) -> jax.Array:
    """Solves diag((base − c diag y)⁻¹) = 1/y for y > 0, c = `share` > 0.

    It minimises −c Σ log y_i − log |base − c diag y|, which is convex and, scaled to coefficients of at least 1,
    self-concordant: Newton steps of length 1/(1 + decrement) never leave the domain and end quadratically. They begin
    at `limit`, the solution as c → 0, or on the way to it from zero where it lies outside. What has not arrived is NaN.
    """
    scale = jnp.maximum(1, 1 / share)

    def newton(y: jax.Array) -> tuple[jax.Array, jax.Array]:
        inverse = jnp.linalg.inv(base - share * jnp.diag(y))
        slope = share * (jnp.diag(inverse) - 1 / y)
        step = jnp.linalg.solve(share * jnp.diag(1 / y**2) + share**2 * inverse**2, slope)
        return step, jnp.sqrt(jnp.maximum(scale * (slope @ step), 0))

    def advance(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        count, y, _ = state
        step, decrement = newton(y)
        return count + 1, y - step / (1 + decrement), jnp.max(jnp.abs(step) / y)

    tiny = 4 * jnp.finfo(base.dtype).eps
    root = jnp.linalg.cholesky(base)
    scaled = solve_triangular(root, solve_triangular(root, jnp.diag(limit), lower=True).T, lower=True)
    start = limit * jnp.minimum(1, 0.5 / (share * jnp.linalg.eigvalsh(scaled)[-1]))
    first = (jnp.zeros((), int), start, jnp.full((), jnp.inf, base.dtype))
    _, y, _ = jax.lax.while_loop(lambda state: (state[0] < _MOST_STEPS) & (state[2] > tiny), advance, first)
    residual = jnp.max(jnp.abs(y * jnp.diag(jnp.linalg.inv(base - share * jnp.diag(y))) - 1))
    return jnp.where(residual < jnp.finfo(base.dtype).eps ** 0.5, y, jnp.nan)


@jax.jit
def _meet_in_logs(base: jax.Array, share: jax.Array | float, start: jax.Array) -> jax.Array:
    """Solves diag((base + c diag y)⁻¹) = 1/y for y > 0, 0 < c = `share` < 1.

    With y = e^τ it minimises log |base + c diag e^τ| − c Σ τ_i, convex in τ.
    """

    def step(_: int, log_y: jax.Array) -> jax.Array:
        y = jnp.exp(log_y)
        inverse = jnp.linalg.inv(base + share * jnp.diag(y))
        slope = y * jnp.diag(inverse) - 1
        curvature = jnp.diag(y * jnp.diag(inverse)) - share * y[:, None] * inverse**2 * y
        newton = jnp.linalg.solve(curvature, slope)
        return log_y - newton * jnp.minimum(1, _LARGEST_LOG_STEP / jnp.maximum(jnp.max(jnp.abs(newton)), 1e-30))

    return jnp.exp(jax.lax.fori_loop(0, _NEWTON_STEPS, step, jnp.log(start)))


def _check_pair(
    mean_q: ArrayLike, cov_q: ArrayLike, mean_p: ArrayLike, cov_p: ArrayLike
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    mean_q, cov_q, mean_p, cov_p = (_floats(value) for value in (mean_q, cov_q, mean_p, cov_p))
    if mean_q.ndim != 1:
        raise ValueError(f"mean_q must be one vector [D], got shape {mean_q.shape}: map over pairs with jax.vmap.")
    dim = mean_q.shape[0]
    others = (("cov_q", cov_q, (dim, dim)), ("mean_p", mean_p, (dim,)), ("cov_p", cov_p, (dim, dim)))
    for name, value, shape in others:
        if value.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, as mean_q has length {dim}, got {value.shape}.")
    return mean_q, cov_q, mean_p, cov_p


def _floats(values: ArrayLike) -> jax.Array:
    values = jnp.asarray(values)
    return values if jnp.issubdtype(values.dtype, jnp.floating) else values.astype(float)


def _check_order(alpha: float) -> float:
    if not math.isfinite(alpha):
        raise ValueError(f"alpha must be a finite number, got {alpha!r}.")
    return float(alpha)
