"""A linear-Gaussian problem with two layers of latents, and the exact gradient of every bound and divergence on it.

One dimension each: z_2 ~ N(0, 1), z_1 | z_2, x | z_1, and q(z_1 | x) q(z_2 | z_1) with affine means. log w is a
function of two standard normal numbers, so that its law is a quadrature on a grid, and ∇E[L_K] is exact at every K. The
forward divergence has the mean of ∂_φ log q, a polynomial of degree 2, under a Gaussian law, which three Gauss-Hermite
nodes in each dimension integrate exactly.
"""

import functools
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import vi_jax as vi
from experiments.certified_problems import log_normal
from vi_jax import guides, models
from vi_jax.models import LinearLayer, weight_laws

CHAIN = models.linear_gaussian_chain((1, 1), 1)
VARIANCES = (0.6, 0.9)
GUIDE = guides.chain(*(guides.affine(1, 1, variance=variance) for variance in VARIANCES))
DATUM = 0.8
NUM_THETA = 6


def two_layers() -> tuple[vi.Params, jax.Array]:
    """Returns parameters at which nothing is special, and a batch of one datum."""
    theta = tuple(
        LinearLayer(jnp.full((1, 1), W), jnp.full(1, b), jnp.full(1, log_scale))
        for W, b, log_scale in ((0.9, 0.2, -0.1), (0.7, -0.3, 0.1))
    )
    phi = tuple(guides.Affine(jnp.full((1, 1), A), jnp.full(1, b)) for A, b in ((0.4, 0.3), (0.5, -0.1)))
    return vi.Params(theta, phi), jnp.full((1, 1), DATUM)


def log_joint(theta: tuple[LinearLayer, ...], x: jax.Array, z1: jax.Array, z2: jax.Array) -> jax.Array:
    """Returns log p(x, z_1, z_2), written out and elementwise."""
    of_x, of_z1 = (jax.tree.map(jnp.squeeze, layer) for layer in theta)
    return (
        log_normal(x, of_x.W * z1 + of_x.b, of_x.log_scale)
        + log_normal(z1, of_z1.W * z2 + of_z1.b, of_z1.log_scale)
        + log_normal(z2, jnp.zeros(()), 0.0)
    )


def means_of_guide(phi: tuple[guides.Affine, ...], x: jax.Array, z1: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the means of z_1 given x and of z_2 given z_1."""
    first, second = (jax.tree.map(jnp.squeeze, layer) for layer in phi)
    return first.A * x + first.b, second.A * z1 + second.b


def log_guide(phi: tuple[guides.Affine, ...], x: jax.Array, z1: jax.Array, z2: jax.Array) -> jax.Array:
    """Returns log q(z_1, z_2 | x), written out and elementwise."""
    of_z1, of_z2 = means_of_guide(phi, x, z1)
    return log_normal(z1, of_z1, np.log(VARIANCES[0]) / 2) + log_normal(z2, of_z2, np.log(VARIANCES[1]) / 2)


def law_of_weights(params: vi.Params, num_nodes: int = 73) -> weight_laws.WeightLaw:
    """Returns the law of log w under q, on a square of nodes of noise, by default a quarter apart."""
    nodes = np.linspace(-9, 9, num_nodes)
    first, second = (axis.ravel() for axis in np.meshgrid(nodes, nodes))
    log_density = -(first**2 + second**2) / 2
    x = jnp.asarray(DATUM)
    z1 = means_of_guide(params.phi, x, jnp.zeros(()))[0] + VARIANCES[0] ** 0.5 * first
    z2 = means_of_guide(params.phi, x, z1)[1] + VARIANCES[1] ** 0.5 * second
    log_w = log_joint(params.theta, x, z1, z2) - log_guide(params.phi, x, z1, z2)
    return weight_laws.WeightLaw(log_w, jnp.asarray(log_density - np.log(np.exp(log_density).sum())))


@functools.cache
def exact_bound(alpha: float, num_samples: int) -> np.ndarray:
    """Returns ∇E[L_K] of the Rényi bound of order α in θ and φ, `[10]`: 0 is IWAE, 1 the ELBO."""

    def expected(params: vi.Params) -> jax.Array:
        return weight_laws.expected_renyi(law_of_weights(params), num_samples, alpha=alpha)

    return np.asarray(ravel_pytree(jax.jit(jax.grad(expected))(two_layers()[0]))[0])


def mean_score(noise_to_draw: Callable[..., tuple[jax.Array, ...]], num_noise: int) -> np.ndarray:
    """Returns E[∂_φ log q(z | x)] over x, z_1, z_2 that are made of standard normal noise, affinely. `[4]`."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)
    noise = np.array(list(itertools.product(nodes, repeat=num_noise))).T
    weight = np.prod(np.array(list(itertools.product(weights / weights.sum(), repeat=num_noise))), axis=1)
    draws = noise_to_draw(*noise)
    slope = jax.grad(lambda phi: jnp.sum(weight * log_guide(phi, *draws)))(two_layers()[0].phi)
    return np.asarray(ravel_pytree(slope)[0])


@functools.cache
def exact_forward_kl() -> np.ndarray:
    """Returns −∇KL(p(z | x) ‖ q) in φ, `[4]`."""
    params, x = two_layers()

    def draw(first: np.ndarray, second: np.ndarray) -> tuple[jax.Array, ...]:
        # Both conditionals by completing the square, apart from the library's.
        of_x, of_z1 = (jax.tree.map(jnp.squeeze, layer) for layer in params.theta)
        prior = of_z1.W**2 + jnp.exp(2 * of_z1.log_scale)
        precision = 1 / prior + of_x.W**2 * jnp.exp(-2 * of_x.log_scale)
        pulled = of_z1.b / prior + of_x.W * (DATUM - of_x.b) * jnp.exp(-2 * of_x.log_scale)
        z1 = pulled / precision + first / jnp.sqrt(precision)
        above = 1 + of_z1.W**2 * jnp.exp(-2 * of_z1.log_scale)
        z2 = of_z1.W * (z1 - of_z1.b) * jnp.exp(-2 * of_z1.log_scale) / above + second / jnp.sqrt(above)
        return x[0, 0], z1, z2

    return mean_score(draw, 2)


@functools.cache
def exact_sleep() -> np.ndarray:
    """Returns −∇ E_{p(x)} KL(p(z | x) ‖ q) in φ, `[4]`."""
    of_x, of_z1 = (jax.tree.map(jnp.squeeze, layer) for layer in two_layers()[0].theta)

    def draw(top: np.ndarray, middle: np.ndarray, bottom: np.ndarray) -> tuple[jax.Array, ...]:
        z1 = of_z1.W * top + of_z1.b + jnp.exp(of_z1.log_scale) * middle
        return of_x.W * z1 + of_x.b + jnp.exp(of_x.log_scale) * bottom, z1, jnp.asarray(top)

    return mean_score(draw, 3)


@functools.cache
def exact_evidence() -> np.ndarray:
    """Returns ∇ log p(x) in θ, `[6]`: x is Gaussian, of a mean and a variance that are summed up by hand."""

    def log_evidence(theta: tuple[LinearLayer, ...]) -> jax.Array:
        of_x, of_z1 = (jax.tree.map(jnp.squeeze, layer) for layer in theta)
        below = of_z1.W**2 + jnp.exp(2 * of_z1.log_scale)
        variance = of_x.W**2 * below + jnp.exp(2 * of_x.log_scale)
        return log_normal(jnp.asarray(DATUM), of_x.W * of_z1.b + of_x.b, jnp.log(variance) / 2)

    return np.asarray(ravel_pytree(jax.grad(log_evidence)(two_layers()[0].theta))[0])
