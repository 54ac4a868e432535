"""A linear-Gaussian model with several layers of latents, whose evidence and posterior are closed forms.

    z_L ~ N(0, I),   z_l | z_{l+1} ~ N(W_l z_{l+1} + b_l, Ψ_l),   x = z_0

Every marginal is Gaussian, from the top downwards:

    z_l ~ N(m_l, S_l),   m_l = W_l m_{l+1} + b_l,   S_l = W_l S_{l+1} W_lᵀ + Ψ_l,   m_L = 0,  S_L = I

and the posterior is a chain that runs the other way, because x tells of z_{l+1} only what z_l tells:

    p(z | x) = p(z_1 | x) Π_l p(z_{l+1} | z_l)
    z_{l+1} | z_l ~ N(m_{l+1} + G_l (z_l − m_l), S_{l+1} − G_l W_l S_{l+1}),   G_l = S_{l+1} W_lᵀ S_l⁻¹
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vi_jax import checks
from vi_jax.chains import ChainDistribution, ReversedChain
from vi_jax.lazy import distrax
from vi_jax.models.exact import ExactModel
from vi_jax.shapes import check_layers, check_shape
from vi_jax.types import Model


class LinearLayer(NamedTuple):
    """One layer's θ: N(W z + b, diag(exp(log_scale))²) of D numbers given the d above.

    Attributes:
      W: `[D, d]`.
      b: `[D]`.
      log_scale: `[D]`.
    """

    W: jax.Array
    b: jax.Array
    log_scale: jax.Array


LinearChain = tuple[LinearLayer, ...]
Latents = tuple[jax.Array, ...]


def linear_gaussian_chain(latent_dims: Sequence[int], data_dim: int) -> ExactModel:
    """Makes z_L ~ N(0, I), z_l | z_{l+1} ~ N(W_l z_{l+1} + b_l, diag(exp(log_scale_l))²), and x = z_0.

        log p(x, z) = log N(z_L; 0, I) + Σ_{l=0}^{L−1} log N(z_l; W_l z_{l+1} + b_l, Ψ_l),   p(x) = N(m_0, S_0)

    Factor analysis with the prior of its factors learned too. Layer 1 is nearest to the data, as in `guides.chain`,
    and `guides.chain(affine(…), affine(…))` has the posterior's form. The posterior is a `ChainDistribution`. Price:
    L Cholesky factors per evidence or posterior.

    Args:
      latent_dims: (D_1, …, D_L), each ≥ 1, from the data upwards.
      data_dim: D_0 ≥ 1.

    Returns:
      The exact model; θ is a tuple of `LinearLayer`, θ[0] of x given z_1 and the others of the prior. `init` draws W
      and b from N(0, 1), W divided by √d, so that keys make different problems. x is `[D_0]` and z the tuple
      (z_1, …, z_L) of `[D_l]`. The prior has a `bijector`.

    Raises:
      TypeError, ValueError: a dimension is not a positive integer, or there is no latent layer. When called: x or a
        layer of z has another shape.
    """
    latent_dims = tuple(checks.check_positive_int("latent_dims", dim) for dim in latent_dims)
    dims = (checks.check_positive_int("data_dim", data_dim), *latent_dims)
    if not latent_dims:
        raise ValueError("latent_dims must name at least one layer of latents, got (): (2,) is factor analysis.")

    def init(key: jax.Array) -> LinearChain:
        keys = jax.random.split(key, len(latent_dims))
        return tuple(_initial(*layer) for layer in zip(keys, dims[:-1], latent_dims, strict=True))

    def prior(theta: LinearChain) -> ReversedChain:
        top = jnp.zeros(dims[-1], theta[-1].b.dtype)
        steps = tuple(functools.partial(_given_above, layer) for layer in theta[:0:-1])
        return ReversedChain(ChainDistribution(distrax.MultivariateNormalDiag(top, jnp.ones_like(top)), steps))

    def likelihood(theta: LinearChain, z: Latents) -> distrax.MultivariateNormalDiag:
        return _given_above(theta[0], z[0])

    def sample(key: jax.Array, theta: LinearChain) -> tuple[jax.Array, Latents]:
        z_key, x_key = jax.random.split(key)
        z = prior(theta).sample(seed=z_key)
        return likelihood(theta, z).sample(seed=x_key), z

    def log_joint(theta: LinearChain, x: jax.Array, z: Latents) -> jax.Array:
        z = check_layers(z, latent_dims)
        return prior(theta).log_prob(z) + jnp.asarray(likelihood(theta, z).log_prob(_datum(theta, x)))

    def log_evidence(theta: LinearChain, x: jax.Array) -> jax.Array:
        mean, covariance = _marginals(theta)[0]
        return jnp.asarray(_gaussian(mean, covariance).log_prob(_datum(theta, x)))

    def posterior(theta: LinearChain, x: jax.Array) -> ChainDistribution:
        moments = _marginals(theta)
        layers = [functools.partial(_given_below, *args) for args in zip(theta, moments[:-1], moments[1:], strict=True)]
        return ChainDistribution(layers[0](_datum(theta, x)), tuple(layers[1:]))

    def _datum(theta: LinearChain, x: jax.Array) -> jax.Array:
        return check_shape("x", x, (data_dim,)).astype(theta[0].b.dtype)

    return ExactModel(Model(init, log_joint, sample, prior, likelihood), log_evidence, posterior)


def _initial(key: jax.Array, dim: int, dim_above: int) -> LinearLayer:
    w_key, b_key = jax.random.split(key)
    W = jax.random.normal(w_key, (dim, dim_above)) / jnp.sqrt(jnp.asarray(dim_above, float))
    return LinearLayer(W, jax.random.normal(b_key, (dim,)), jnp.zeros(dim))


def _given_above(layer: LinearLayer, above: jax.Array) -> "distrax.MultivariateNormalDiag":
    """p(z_l | z_{l+1})."""
    return distrax.MultivariateNormalDiag(layer.W @ above + layer.b, jnp.exp(layer.log_scale))


def _marginals(theta: LinearChain) -> list[tuple[jax.Array, jax.Array]]:
    """(m_l, S_l) for l = 0 … L."""
    top = theta[-1].W
    moments = [(jnp.zeros(top.shape[1], top.dtype), jnp.eye(top.shape[1], dtype=top.dtype))]
    for W, b, log_scale in theta[::-1]:
        mean, covariance = moments[-1]
        moments.append((W @ mean + b, W @ covariance @ W.T + jnp.diag(jnp.exp(2 * log_scale))))
    return moments[::-1]


def _given_below(
    layer: LinearLayer, below: tuple[jax.Array, jax.Array], above: tuple[jax.Array, jax.Array], z: jax.Array
) -> "distrax.MultivariateNormalTri":
    """p(z_{l+1} | z_l = z), from layer l and the marginal moments of z_l and z_{l+1}."""
    gain = jnp.linalg.solve(below[1], layer.W @ above[1]).T
    return _gaussian(above[0] + gain @ (z - below[0]), above[1] - gain @ layer.W @ above[1])


def _gaussian(mean: jax.Array, covariance: jax.Array) -> "distrax.MultivariateNormalTri":
    return distrax.MultivariateNormalTri(mean, jnp.linalg.cholesky(covariance))
