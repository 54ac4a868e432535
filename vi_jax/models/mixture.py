"""Targets with known normaliser, mean and variance, and a mixture whose latent is the component's label.

A target is a density over z alone: θ = (), x is ignored (pass `zeros((1, 1))`, one datum of length 1), log p(x) = 0
and the posterior is the target itself. So a guide's ELBO is −KL(q ‖ p), and its EUBO is KL(p ‖ q).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jax.typing import ArrayLike

from vi_jax import checks
from vi_jax.lazy import distrax
from vi_jax.models.exact import ExactModel
from vi_jax.shapes import check_shape
from vi_jax.types import Model, PyTree


class Density(NamedTuple):
    """What a target needs of a distribution, under the names that distrax gives it.

    Attributes:
      sample: `(*, seed) -> z`, one draw.
      log_prob: `z -> scalar`, nats.
      mean: `() -> [D]`.
      variance: `() -> [D]`, coordinate by coordinate.
    """

    sample: Callable[..., jax.Array]
    log_prob: Callable[[jax.Array], jax.Array]
    mean: Callable[[], jax.Array]
    variance: Callable[[], jax.Array]


def target(distribution: Callable[[], Any], shape: tuple[int, ...]) -> ExactModel:
    """Makes a model of a density over z alone.

    Args:
      distribution: `() -> ` anything with `sample(seed=key)` and `log_prob(z)`, normalised. It is built where it is
        used, so that it follows the precision of the caller.
      shape: of z.

    Returns:
      The exact model with θ = (), log p(x) = 0, and prior and posterior both equal to the target.

    Raises:
      ValueError: when called, z is not of this shape.
    """

    def init(key: jax.Array) -> tuple[()]:
        del key
        return ()

    def log_joint(theta: tuple[()], x: PyTree, z: jax.Array) -> jax.Array:
        del theta, x
        return distribution().log_prob(check_shape("z", z, shape))

    def sample(key: jax.Array, theta: tuple[()]) -> tuple[jax.Array, jax.Array]:
        del theta
        return jnp.zeros(1), distribution().sample(seed=key)

    def prior(theta: tuple[()]) -> Any:
        del theta
        return distribution()

    def log_evidence(theta: tuple[()], x: PyTree) -> jax.Array:
        del theta, x
        return jnp.zeros(())

    def posterior(theta: tuple[()], x: PyTree) -> Any:
        del theta, x
        return distribution()

    return ExactModel(Model(init, log_joint, sample, prior), log_evidence, posterior)


def gaussian_target(mean: ArrayLike, covariance: ArrayLike) -> ExactModel:
    """Makes the target p(z) = N(mean, covariance).

    Args:
      mean: `[D]`.
      covariance: `[D, D]`, positive definite; NaN comes out if it is not. It may be traced: `jax.vmap` maps over
        targets.

    Returns:
      The exact model; z is `[D]`.

    Raises:
      ValueError: the shapes do not fit together, or when called, z is not `[D]`.
    """
    shape = np.shape(mean)
    if len(shape) != 1 or np.shape(covariance) != shape * 2:
        raise ValueError(f"mean must be [D] and covariance [D, D], got shapes {shape} and {np.shape(covariance)}.")

    def distribution() -> distrax.MultivariateNormalTri:
        factor = jnp.linalg.cholesky(jnp.asarray(covariance, float))
        return distrax.MultivariateNormalTri(jnp.asarray(mean, float), factor)

    def log_prob(z: jax.Array) -> jax.Array:
        return _gaussian_log_prob(z, jnp.asarray(mean, float), jnp.asarray(covariance, float))

    return _scored_by(log_prob, shape, target(distribution, shape))


def gaussian_mixture(weights: ArrayLike, means: ArrayLike, covariances: ArrayLike) -> ExactModel:
    """Makes the target p(z) = Σ_m π_m N(z; μ_m, Σ_m).

    Args:
      weights: π, `[M]`, positive; normalised here.
      means: μ, `[M, D]`.
      covariances: Σ, `[M, D, D]`, each positive definite; NaN comes out if one is not. All three may be traced.

    Returns:
      The exact model; z is `[D]`. Its draws come from distrax, whose mixture carries no derivative of the weights.

    Raises:
      ValueError: the shapes do not fit together, or when called, z is not `[D]`.
    """
    shape = np.shape(means)
    fits = len(shape) == 2 and np.shape(weights) == shape[:1] and np.shape(covariances) == (*shape, shape[-1])
    if not fits:
        shapes = f"{np.shape(weights)}, {shape} and {np.shape(covariances)}"
        raise ValueError(f"weights, means and covariances must be [M], [M, D] and [M, D, D], got {shapes}.")

    def distribution() -> distrax.MixtureSameFamily:
        factors = jnp.linalg.cholesky(jnp.asarray(covariances, float))
        components = distrax.MultivariateNormalTri(jnp.asarray(means, float), factors)
        return distrax.MixtureSameFamily(distrax.Categorical(logits=jnp.log(jnp.asarray(weights, float))), components)

    def log_prob(z: jax.Array) -> jax.Array:
        per_component = jax.vmap(_gaussian_log_prob, in_axes=(None, 0, 0))
        scores = per_component(z, jnp.asarray(means, float), jnp.asarray(covariances, float))
        return jax.nn.logsumexp(jax.nn.log_softmax(jnp.log(jnp.asarray(weights, float))) + scores)

    return _scored_by(log_prob, shape[1:], target(distribution, shape[1:]))


def gumbel_target() -> ExactModel:
    """Makes the skewed target p(z) = exp(−z − e^{−z}) on the line, of skewness 1.14: its right tail is the heavier one.

    The best Gaussians are closed forms. Reverse KL: N(½, 1), since E_q[log p] = −m − e^{−m + v/2}. Forward KL: the
    target's moments, N(.57722, π²/6), the mean being Euler's constant.

    Returns:
      The exact model; z is `[1]`.
    """

    def distribution() -> distrax.Independent:
        return distrax.Independent(distrax.Gumbel(jnp.zeros(1), jnp.ones(1)), reinterpreted_batch_ndims=1)

    return target(distribution, (1,))


def student_t_target(degrees: float) -> ExactModel:
    """Makes the heavy-tailed target p(z) ∝ (1 + z²/ν)^{−(ν+1)/2} on the line.

    Its variance is ν/(ν − 2), infinite for ν ≤ 2; with it the forward KL to every Gaussian is infinite.

    Args:
      degrees: ν > 0, a Python number.

    Returns:
      The exact model; z is `[1]`.

    Raises:
      ValueError: `degrees` is not positive.
    """
    if not degrees > 0:
        raise ValueError(f"degrees must be positive, got {degrees!r}.")

    def log_prob(z: jax.Array) -> jax.Array:
        half = jnp.asarray(degrees / 2, z.dtype)
        constant = jax.lax.lgamma(half + 0.5) - jax.lax.lgamma(half) - jnp.log(degrees * jnp.pi) / 2
        return constant.astype(z.dtype) - (half + 0.5) * jnp.log1p(z[0] ** 2 / degrees)

    density = Density(
        sample=lambda *, seed: jax.random.t(seed, degrees, (1,)),
        log_prob=log_prob,
        mean=lambda: jnp.zeros(1),
        variance=lambda: jnp.full(1, degrees / (degrees - 2) if degrees > 2 else jnp.inf),
    )
    return target(lambda: density, (1,))


class MixtureParams(NamedTuple):
    """θ of `mixture_labels`.

    Attributes:
      logits: `[M]`, of the component's probabilities.
      means: `[M, D]`.
      log_scales: `[M, D]`, logarithms of standard deviations.
    """

    logits: jax.Array
    means: jax.Array
    log_scales: jax.Array


def mixture_labels(num_components: int, dim: int) -> ExactModel:
    """Makes the Gaussian mixture with its label as the latent: z ~ Categorical(π), x | z ~ N(μ_z, diag(σ_z²)).

        log p(x) = log Σ_m π_m N(x; μ_m, diag(σ_m²)),   p(z = m | x) ∝ π_m N(x; μ_m, diag(σ_m²))

    Args:
      num_components: M ≥ 1.
      dim: D ≥ 1, of the datum.

    Returns:
      The exact model; θ is `MixtureParams`, of which `init` draws means from N(0, I) and leaves the rest at zero. x is
      `[D]` and z an integer scalar, for `guides.categorical(M)`. A z outside 0, …, M − 1 has probability zero.

    Raises:
      TypeError, ValueError: a size is not a positive integer. When called: x is not of shape `[D]`.
    """
    num_components = checks.check_positive_int("num_components", num_components)
    dim = checks.check_positive_int("dim", dim)

    def init(key: jax.Array) -> MixtureParams:
        shape = (num_components, dim)
        return MixtureParams(jnp.zeros(num_components), jax.random.normal(key, shape), jnp.zeros(shape))

    def prior(theta: MixtureParams) -> distrax.Categorical:
        return distrax.Categorical(logits=theta.logits)

    def likelihood(theta: MixtureParams, z: jax.Array) -> distrax.MultivariateNormalDiag:
        return distrax.MultivariateNormalDiag(theta.means[z], jnp.exp(theta.log_scales[z]))

    def sample(key: jax.Array, theta: MixtureParams) -> tuple[jax.Array, jax.Array]:
        z_key, x_key = jax.random.split(key)
        z = prior(theta).sample(seed=z_key)
        return likelihood(theta, z).sample(seed=x_key), z

    def scores(theta: MixtureParams, x: jax.Array) -> jax.Array:
        x = check_shape("x", x, (dim,)).astype(theta.means.dtype)
        components = distrax.MultivariateNormalDiag(theta.means, jnp.exp(theta.log_scales))
        return jax.nn.log_softmax(theta.logits) + components.log_prob(x)

    def log_joint(theta: MixtureParams, x: jax.Array, z: jax.Array) -> jax.Array:
        z = check_shape("z", z, ())
        inside = (z >= 0) & (z < num_components)
        return jnp.where(inside, scores(theta, x)[jnp.clip(z, 0, num_components - 1)], -jnp.inf)

    def log_evidence(theta: MixtureParams, x: jax.Array) -> jax.Array:
        return jax.nn.logsumexp(scores(theta, x))

    def posterior(theta: MixtureParams, x: jax.Array) -> distrax.Categorical:
        return distrax.Categorical(logits=scores(theta, x))

    return ExactModel(Model(init, log_joint, sample, prior, likelihood), log_evidence, posterior)


def _gaussian_log_prob(z: jax.Array, mean: jax.Array, covariance: jax.Array) -> jax.Array:
    """Returns log N(z; mean, covariance).

    By the inverse factor, which does not depend on z: mapped over draws it is computed once and multiplied, where a
    triangular solve per draw, as distrax has it, takes forty times as long on a CPU.
    """
    factor = jnp.linalg.cholesky(covariance)
    inverse = solve_triangular(factor, jnp.eye(mean.shape[0], dtype=factor.dtype), lower=True)
    white = inverse @ (z - mean)
    log_scale = jnp.sum(jnp.log(jnp.diag(factor)))
    return -jnp.sum(white**2) / 2 - log_scale - mean.shape[0] * math.log(2 * math.pi) / 2


def _scored_by(log_prob: Callable[[jax.Array], jax.Array], shape: tuple[int, ...], exact: ExactModel) -> ExactModel:
    """Returns the model with its joint scored by a function that costs less than the distribution's own."""

    def log_joint(theta: tuple[()], x: PyTree, z: jax.Array) -> jax.Array:
        del theta, x
        return log_prob(check_shape("z", z, shape))

    return exact._replace(model=exact.model._replace(log_joint=log_joint))
