"""The two things a user writes, and the shapes everything else is stated in.

One alphabet of axes: K samples, B data in a batch, D latent dimensions, N data in all, R replicates, P parameters.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax

PyTree = Any


class Params(NamedTuple):
    """Parameters of the model, θ, and of the guide, φ. Gradients have the same type."""

    theta: PyTree
    phi: PyTree


class Model(NamedTuple):
    """A joint density p_θ(x, z), written for ONE datum x and ONE latent z.

    Attributes:
      init: `key -> theta`.
      log_joint: `(theta, x, z) -> scalar`, log p_θ(x, z) in nats. Minus infinity is legal.
      sample: `(key, theta) -> (x, z)`, one ancestral draw, where there is one.
      prior: `theta -> distrax distribution` of z, where there is one.
      likelihood: `(theta, z) -> distrax distribution` of x given z, where there is one.
      likelihood_scale: `x -> N/n`, by the shapes of one datum alone, where log_joint multiplies the likelihood of n of
        N data by N/n: an unbiased estimate of the log joint, and no log joint. Estimators that need one then refuse.
    """

    init: Callable[[jax.Array], PyTree]
    log_joint: Callable[[PyTree, PyTree, PyTree], jax.Array]
    sample: Callable[[jax.Array, PyTree], tuple[PyTree, PyTree]] | None = None
    prior: Callable[[PyTree], Any] | None = None
    likelihood: Callable[[PyTree, PyTree], Any] | None = None
    likelihood_scale: Callable[[PyTree], float] | None = None


class Guide(NamedTuple):
    """An approximate posterior q_φ(z | x), written for ONE datum x.

    Attributes:
      init: `key -> phi`.
      distribution: `(phi, x) -> distrax distribution` over z, of batch shape (). Its `.sample(seed=key)` is called with
        one key per draw and its `.log_prob(z)` scores the draw.
      reparameterized: whether `.sample` carries the whole pathwise derivative ∂_φ z. False for discrete guides, and
        for mixtures whose sampler picks a component, which drops the derivative of the weights without a word
        (`guides.gaussian_mixture` keeps it).
      support: every value of z along a leading axis, for a guide over finitely many.
      from_noise: `(phi, x, noise) -> z`, one draw as a function of its noise, where that is known; the library's own
        take standard normal noise `[D]`.
      noise: `(key, indices [C]) -> [C, ...]`, the noise of the draws with these indices, for draws of one datum that
        depend on each other, as antithetic ones do; each alone has the law that `from_noise` expects. None for
        independent draws by `.sample`.
    """

    init: Callable[[jax.Array], PyTree]
    distribution: Callable[[PyTree, PyTree], Any]
    reparameterized: bool = True
    support: PyTree | None = None
    from_noise: Callable[[PyTree, PyTree, PyTree], PyTree] | None = None
    noise: Callable[[jax.Array, jax.Array], PyTree] | None = None


class Coefficients(NamedTuple):
    """A gradient estimator, evaluated: three vectors of K numbers per datum, each `[K, ...]`.

        θ̄ = Σ_k model_k ∂_θ log p_θ(x, z_k)
        φ̄ = Σ_k score_k ∂_φ log q_φ(z_k | x)                 z_k held fixed
           + Σ_k path_k ∂_z log w_k ∂_φ z_k                  φ inside log q held fixed

    Attributes:
      model: `[K, ...]` weights of the model's gradients.
      path: `[K, ...]` weights of the gradients through the draws.
      score: `[K, ...]` weights of the guide's scores.
      ratio: `[K, ...]` with path = ratio × model, where a bounded closed form is known; it buys one backward pass
        instead of two. A Python float says it before any draw: 1.0 for path ≡ model, 0.0 for no path at all, which is
        what a discrete guide needs. None if there is no such form.
    """

    model: jax.Array
    path: jax.Array
    score: jax.Array
    ratio: jax.Array | float | None = None


class BoundFn(Protocol):
    """L: log-weights `[K, ...]` -> `[...]` nats; larger is better for a lower bound."""

    def __call__(self, log_w: jax.Array, /) -> jax.Array: ...


class CoefficientFn(Protocol):
    """Log-weights `[K, ...]` -> `Coefficients`. It sees nothing but the log-weights."""

    def __call__(self, log_w: jax.Array, /) -> Coefficients: ...


class Estimator(Protocol):
    """bound -> (log-weights -> coefficients). The one signature of every gradient estimator."""

    def __call__(self, bound: BoundFn, /) -> CoefficientFn: ...


class Objective(Protocol):
    """(key, params, x) -> (values `[B]` in nats, gradient of their mean over the batch, an ascent direction)."""

    def __call__(self, key: jax.Array, params: Params, x: PyTree, /) -> tuple[jax.Array, Params]: ...
