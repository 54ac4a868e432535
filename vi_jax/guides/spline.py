"""Monotone rational-quadratic splines of a coordinate: what the couplings of `guides.spline_flow` apply.

Between knots (x_k, y_k), k = 0 … N, with slopes δ_k, s = Δy/Δx of the bin and ξ = (x − x_k) / Δx in it:

    f(x) = y_k + Δy (s ξ² + δ_k ξ (1 − ξ)) / (s + (δ_{k+1} + δ_k − 2s) ξ (1 − ξ))
    f′(x) = s² (δ_{k+1} ξ² + 2s ξ (1 − ξ) + δ_k (1 − ξ)²) / (s + (δ_{k+1} + δ_k − 2s) ξ (1 − ξ))²

The knots span [−bound, bound] on both axes, and the outermost slopes are 1; beyond, f is the identity, so that f maps
ℝ onto ℝ and f′ is continuous. The inverse is the root of a quadratic.

Durkan, Bekasov, Murray and Papamakarios, "Neural Spline Flows" (arXiv:1906.04032).
"""

from typing import Any, NamedTuple

import distrax
import jax
import jax.numpy as jnp

# Raw parameters end at these numbers, softly: sizes of bins are within e^{±2} of each other and slopes within e^{±2}. A
# steeper spline loses so many digits in single precision that its inverse is another point, and draws run away.
_MAX_LOG_SIZE = 1.0
_MAX_LOG_SLOPE = 2.0


class _Bin(NamedTuple):
    """The bin that a point is in, each `[d]`: its corners, and the slopes there."""

    x: jax.Array
    y: jax.Array
    width: jax.Array
    height: jax.Array
    slope: jax.Array
    next_slope: jax.Array


class RationalQuadratic(distrax.Bijector):
    """One spline per coordinate, of raw parameters `[3N − 1, d]`; all of them zero is the identity.

    Written out because distrax's mixes integers and floats, which strict promotion refuses. A point beyond the range is
    clipped to it and goes on from there along the tangent, so that no branch has a derivative that is NaN.
    """

    def __init__(self, raw: jax.Array, bound: float):
        """Takes raw parameters, N rows of widths, N of heights and N − 1 of slopes, and the half width of the range."""
        super().__init__(event_ndims_in=0, is_constant_jacobian=False)
        num_bins = (raw.shape[0] + 1) // 3
        widths, heights, slopes = jnp.split(raw, [num_bins, 2 * num_bins])
        self._x, self._y = _knots(widths, bound), _knots(heights, bound)
        self._slope = jnp.pad(jnp.exp(_limited(slopes, _MAX_LOG_SLOPE)), ((1, 1), (0, 0)), constant_values=1)

    def forward_and_log_det(self, x: Any) -> tuple[jax.Array, jax.Array]:
        """Returns f(x) and log f′(x), each `[d]`."""
        inside = jnp.clip(x, self._x[0], self._x[-1])
        here = self._bin(inside, self._x)
        y, log_slope = _forward(here, (inside - here.x) / here.width)
        return y + (x - inside), log_slope

    def inverse_and_log_det(self, y: Any) -> tuple[jax.Array, jax.Array]:
        """Returns f⁻¹(y) and −log f′(f⁻¹(y)), each `[d]`."""
        inside = jnp.clip(y, self._y[0], self._y[-1])
        here = self._bin(inside, self._y)
        xi = _solve(here, (inside - here.y) / here.height)
        x = here.x + here.width * xi
        return x + (y - inside), -_forward(here, xi)[1]

    def _bin(self, value: jax.Array, knots: jax.Array) -> _Bin:
        index = jnp.sum(value >= knots[1:-1], axis=0)
        mask = jax.nn.one_hot(index, knots.shape[0] - 1, axis=0, dtype=knots.dtype)

        x, y, slope = self._x, self._y, self._slope
        rows = jnp.stack([x[:-1], y[:-1], x[1:] - x[:-1], y[1:] - y[:-1], slope[:-1], slope[1:]])
        return _Bin(*jnp.sum(mask * rows, axis=1))


def _limited(raw: jax.Array, limit: float) -> jax.Array:
    return limit * jnp.tanh(raw / limit)


def _knots(raw: jax.Array, bound: float) -> jax.Array:
    """Returns knots `[N + 1, d]` from −bound to bound, of raw sizes of bins `[N, d]`."""
    sizes = jax.nn.softmax(_limited(raw, _MAX_LOG_SIZE), axis=0)
    # A product with ones below the diagonal: XLA's cumulative sum takes several times as long for so few rows.
    below = jnp.tri(raw.shape[0] + 1, raw.shape[0], -1, dtype=raw.dtype)
    ends = jnp.matmul(below, sizes, precision=jax.lax.Precision.HIGHEST)
    return bound * (2 * ends - 1)


def _forward(here: _Bin, xi: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns f and log f′ at the fraction ξ of a bin."""
    s, between = here.height / here.width, xi * (1 - xi)
    denominator = s + (here.next_slope + here.slope - 2 * s) * between
    y = here.y + here.height * (s * xi**2 + here.slope * between) / denominator
    numerator = here.next_slope * xi**2 + 2 * s * between + here.slope * (1 - xi) ** 2
    return y, 2 * jnp.log(s) + jnp.log(numerator) - 2 * jnp.log(denominator)


def _solve(here: _Bin, part: jax.Array) -> jax.Array:
    """Returns the fraction ξ of a bin's width at which f has risen by this part w of its height.

    The root of (s − b) ξ² + b ξ − s w = 0, b = δ_k − w (δ_{k+1} + δ_k − 2s), as c/q or q/a, whichever does not cancel;
    where b < 0, s − b is positive, so that neither denominator is ever zero.
    """
    s = here.height / here.width
    b = here.slope - part * (here.next_slope + here.slope - 2 * s)
    root = jnp.sqrt(jnp.maximum(b**2 + 4 * (s - b) * s * part, jnp.finfo(b.dtype).tiny))
    q = (jnp.abs(b) + root) / 2
    return jnp.where(b < 0, q / jnp.where(b < 0, s - b, 1), s * part / q)
