"""The mixture of "Revisiting Reweighted Wake-Sleep", of which only the weights are learned."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from vi_jax import checks
from vi_jax.lazy import distrax
from vi_jax.models.exact import ExactModel
from vi_jax.shapes import check_shape
from vi_jax.types import Model

TRUE_MIXTURE_LOGITS = np.log(np.arange(20) + 5.0)
"""θ of the data in that paper: p(z = c) ∝ c + 5, 20 components."""

FAR_MIXTURE_LOGITS = np.arange(20)[::-1].astype(float)
"""θ from which its runs start: p(z = c) ∝ e^{−c}, all mass where the data have least."""


def mixture_weights(
    num_components: int = 20,
    *,
    spacing: float = 10.0,
    scale: float = 5.0,
    initial_logits: ArrayLike | None = None,
) -> ExactModel:
    """Makes z ~ Categorical(softmax(θ)), x | z ~ N(spacing · z, scale²): components given, their weights learned.

        log p_θ(x) = log Σ_c softmax(θ)_c N(x; spacing · c, scale²)

    Le, Kosiorek, Siddharth, Teh and Wood, "Revisiting Reweighted Wake-Sleep" (arXiv:1805.10469). Its problem is the
    default, with data at θ = `TRUE_MIXTURE_LOGITS` and a start at θ = `FAR_MIXTURE_LOGITS`, where their code learns 2θ;
    its guide is `guides.categorical_encoder(1, 20, hidden=(16, 16))`. From that start a component in which the guide
    stops drawing is lost: θ̄ = Σ_k w̃_k ∂_θ log p(z_k) lowers the weight of whatever is not drawn, and the guide is told
    of nothing it did not draw. A defensive mixture with a uniform law of z (`objectives.defensive_wake_phi`) keeps all
    components drawn.

    Args:
      num_components: C ≥ 1.
      spacing: distance between the means of neighbours, finite.
      scale: standard deviation of every component, positive and finite.
      initial_logits: `[C]` that `init` sets, whatever the key; None means zeros.

    Returns:
      The exact model; θ is the vector `[C]` of logits. x is `[1]` and z an integer scalar, for
      `guides.categorical_encoder(1, C)`. A z outside 0, …, C − 1 has probability zero. Evidence and posterior cost C.

    Raises:
      TypeError, ValueError: `num_components` is not a positive integer; a number is out of its range; `initial_logits`
        is not `[C]` or not finite. When called: x or z has another shape.
    """
    num_components = checks.check_positive_int("num_components", num_components)
    if not (math.isfinite(spacing) and 0 < scale < math.inf):
        raise ValueError(f"spacing must be finite and scale positive and finite, got {spacing} and {scale}.")
    start = np.zeros(num_components) if initial_logits is None else np.asarray(initial_logits, float)
    if start.shape != (num_components,) or not np.all(np.isfinite(start)):
        raise ValueError(f"initial_logits must be {num_components} finite numbers, got {initial_logits}.")

    def init(key: jax.Array) -> jax.Array:
        del key
        return jnp.asarray(start, jnp.result_type(float))

    def prior(theta: jax.Array) -> distrax.Categorical:
        return distrax.Categorical(logits=theta)

    def likelihood(theta: jax.Array, z: jax.Array) -> distrax.MultivariateNormalDiag:
        loc = (spacing * z.astype(theta.dtype))[None]
        return distrax.MultivariateNormalDiag(loc, jnp.full_like(loc, scale))

    def sample(key: jax.Array, theta: jax.Array) -> tuple[jax.Array, jax.Array]:
        z_key, x_key = jax.random.split(key)
        z = prior(theta).sample(seed=z_key)
        return likelihood(theta, z).sample(seed=x_key), z

    def scores(theta: jax.Array, x: jax.Array) -> jax.Array:
        x = check_shape("x", x, (1,)).astype(theta.dtype)
        distance = (x - spacing * jnp.arange(num_components, dtype=theta.dtype)) / scale
        return jax.nn.log_softmax(theta) - distance**2 / 2 - math.log(2 * math.pi) / 2 - math.log(scale)

    def log_joint(theta: jax.Array, x: jax.Array, z: jax.Array) -> jax.Array:
        z = check_shape("z", z, ())
        inside = (z >= 0) & (z < num_components)
        return jnp.where(inside, scores(theta, x)[jnp.clip(z, 0, num_components - 1)], -jnp.inf)

    def log_evidence(theta: jax.Array, x: jax.Array) -> jax.Array:
        return jax.nn.logsumexp(scores(theta, x))

    def posterior(theta: jax.Array, x: jax.Array) -> distrax.Categorical:
        return distrax.Categorical(logits=scores(theta, x))

    return ExactModel(Model(init, log_joint, sample, prior, likelihood), log_evidence, posterior)
