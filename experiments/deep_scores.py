"""What a trained deep generative model is worth on test images: evidence, bound, active units."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import vi_jax as vi
from vi_jax.types import PyTree

ACTIVE = 0.01
"""A unit is active if its posterior mean varies more than this from image to image."""
HALF = 50
"""Draws of each half of what the ELBO and the active units are computed from."""
PIECE = 500
"""Images that are scored at once, which bounds the memory."""


class Scores(NamedTuple):
    """One model and guide on N test images.

    Attributes:
      nll: `[N]` −log p̂(x), L_K of K draws of the guide: above −log p(x) in the mean, by about half of its variance.
      nll_error: `[N]` standard error of each by the draws alone.
      minus_elbo: `[N]`, of 2 · 50 draws.
      ess_share: `[N]` effective sample size of the K draws, over K.
      variances: for each layer, from the data upwards, `[D_l]`: Var_x(E_q[z]), unbiased.
    """

    nll: np.ndarray
    nll_error: np.ndarray
    minus_elbo: np.ndarray
    ess_share: np.ndarray
    variances: tuple[np.ndarray, ...]


def scores(
    key: jax.Array, model: vi.Model, guide: vi.Guide, params: vi.Params, x: jax.Array, *, num_draws: int
) -> Scores:
    """Scores every image.

    Args:
      key: a typed key, consumed.
      model: the model.
      guide: the guide, whose draws are an array or a tuple of one per layer.
      params: θ and φ.
      x: `[N, D]` of 0 and 1.
      num_draws: K of the evidence.
    """
    evidence_key, elbo_key = jax.random.split(key)
    parts = [
        vi.log_evidence(jax.random.fold_in(evidence_key, begin), model, guide, params, piece, num_samples=num_draws)
        for begin in range(0, len(x), PIECE)
        for piece in [x[begin : begin + PIECE]]
    ]
    log_p, error, ess = (np.concatenate([np.asarray(part[field], float) for part in parts]) for field in range(3))
    keys = jax.random.split(elbo_key, len(x))
    elbo, halves = halves_of(model.log_joint, guide.distribution, keys, params, x)
    return Scores(
        -log_p, error, -np.asarray(elbo, float), ess / num_draws, tuple(map(variance_of_means, jax.tree.leaves(halves)))
    )


def scores_of_seeds(
    key: jax.Array, model: vi.Model, guide: vi.Guide, params: vi.Params, x: jax.Array, *, num_draws: int
) -> list[Scores]:
    """Scores each of S runs, every leaf of whose parameters has S in front, on the same images with the same keys."""
    num_seeds = len(jax.tree.leaves(params)[0])
    return [scores(key, model, guide, of_seed(params, seed), x, num_draws=num_draws) for seed in range(num_seeds)]


def of_seed(params: vi.Params, seed: int) -> vi.Params:
    """Returns the parameters of one of S runs."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[seed], params)


@functools.partial(jax.jit, static_argnums=(0, 1))
def halves_of(
    log_joint: Callable[..., jax.Array],
    distribution: Callable[..., Any],
    keys: jax.Array,
    params: vi.Params,
    x: jax.Array,
) -> tuple[jax.Array, PyTree]:
    """Returns the ELBO `[N]` and means of z over two halves of the draws, `[N, 2, D_l]` for each layer."""

    def of_one(key: jax.Array, x: jax.Array) -> tuple[jax.Array, PyTree]:
        q = distribution(params.phi, x)
        z = jax.vmap(lambda key: q.sample(seed=key))(jax.random.split(key, 2 * HALF))
        log_w = jax.vmap(lambda z: log_joint(params.theta, x, z) - q.log_prob(z))(z)
        return log_w.mean(), jax.tree.map(lambda leaf: leaf.reshape(2, HALF, -1).mean(axis=1), z)

    return jax.lax.map(lambda pair: of_one(*pair), (keys, x), batch_size=min(PIECE, len(x)))


def variance_of_means(halves: jax.Array) -> np.ndarray:
    """Returns Var_x(E_q[z]) `[D]` from means of z over two independent halves of the draws, `[N, 2, D]`.

        Cov_x(m̄_1, m̄_2) = Var_x(E_q[z]),   while   Var_x(m̄_1) = Var_x(E_q[z]) + E_x[Var_q(z)] / 50

    The second would call units active that never vary. Burda et al. (arXiv:1509.00519), section 5.2, define it; of a
    Gaussian layer the mean is known, of a layer above one it is not.
    """
    first, second = np.moveaxis(np.asarray(halves, np.float64), 1, 0)
    return (
        np.mean((first - first.mean(axis=0)) * (second - second.mean(axis=0)), axis=0) * len(first) / (len(first) - 1)
    )


def num_active(variances: tuple[np.ndarray, ...]) -> tuple[int, ...]:
    """Returns the number of active units of each layer, from the data upwards."""
    return tuple(int(np.sum(layer > ACTIVE)) for layer in variances)


class Pictures(NamedTuple):
    """What a model draws, as probabilities of black pixels.

    Attributes:
      samples: `[n, D]`, of latents drawn from the prior.
      originals: `[m, D]` test images.
      reconstructions: `[m, D]`, of one draw of the guide for each.
      traversals: `[u, v, D]`: of the first test image with one unit of the top layer moved, the u most active ones.
    """

    samples: jax.Array
    originals: jax.Array
    reconstructions: jax.Array
    traversals: jax.Array


VALUES = np.linspace(-2.5, 2.5, 9)
"""What a unit is moved to, in standard deviations of its prior."""


def pictures(
    key: jax.Array,
    model: vi.Model,
    guide: vi.Guide,
    params: vi.Params,
    x: jax.Array,
    variances: tuple[np.ndarray, ...],
    *,
    num_samples: int,
    num_units: int,
) -> Pictures:
    """Draws from a model whose prior has a `bijector`, the map between noise and z, as all in `vi_jax.models` have.

    A unit is moved as noise: what lies below it moves along, with the noise of its own layers as it was.
    """
    units = np.argsort(-variances[-1])[:num_units]
    functions = (model.prior, model.likelihood, guide.distribution)
    return drawn(functions, num_samples, key, params, x, units)


@functools.partial(jax.jit, static_argnums=(0, 1))
def drawn(
    functions: tuple[Any, ...], num_samples: int, key: jax.Array, params: vi.Params, x: jax.Array, units: jax.Array
) -> Pictures:
    """Returns the pictures of a model's `prior` and `likelihood` and a guide's `distribution`, one compiled program."""
    prior, likelihood, distribution = functions
    prior_key, guide_key = jax.random.split(key)
    law = prior(params.theta)

    def seen(z: PyTree) -> jax.Array:
        return likelihood(params.theta, z).mean()

    samples = jax.vmap(lambda key: law.sample(seed=key))(jax.random.split(prior_key, num_samples))
    inferred = jax.vmap(lambda key, x: distribution(params.phi, x).sample(seed=key))(
        jax.random.split(guide_key, len(x)), x
    )
    noise = law.bijector.inverse(jax.tree.map(lambda leaf: leaf[0], inferred))
    (*below, top), structure = jax.tree.leaves(noise), jax.tree.structure(noise)

    def moved(unit: jax.Array, value: jax.Array) -> jax.Array:
        return seen(law.bijector.forward(jax.tree.unflatten(structure, [*below, top.at[unit].set(value)])))

    values = jnp.asarray(VALUES, top.dtype)
    traversals = jax.vmap(lambda unit: jax.vmap(lambda value: moved(unit, value))(values))(units)
    return Pictures(jax.vmap(seen)(samples), x, jax.vmap(seen)(inferred), traversals)
