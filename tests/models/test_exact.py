"""What every exact model claims. A new one joins by adding a row."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from vi_jax import models

pytestmark = pytest.mark.usefixtures("x64")

TABLE_X = jnp.arange(3)
TABLE_Z = jnp.arange(8)
BITS = np.random.default_rng(1).integers(2, size=(4, 3)).astype(float)
VECTORS = 2 * np.random.default_rng(0).normal(size=(4, 3))
ONES = np.ones((4, 1))
TWO_BUMPS = ([0.3, 0.7], [[-1.0, 0.0], [1.0, 2.0]], [[[1.0, 0.5], [0.5, 1.0]], [[2.0, 0.0], [0.0, 0.5]]])

CASES = {
    "table": (models.table(models.EYE_COLOURS.cells), TABLE_X, TABLE_Z),
    "normalized_table": (models.normalized_table(models.EYE_COLOURS.cells), TABLE_X, TABLE_Z),
    "bernoulli_mixture": (models.bernoulli_mixture(4, 3), BITS, jnp.arange(4)),
    "linear_gaussian": (models.linear_gaussian(3), VECTORS, -VECTORS + 0.5),
    "gaussian_mean": (models.gaussian_mean(3, prior_mean=0.1, variance=1.5), VECTORS, VECTORS[:, :1]),
    "factor_analysis": (models.factor_analysis(2, 3), VECTORS, VECTORS[:, 1:]),
    "ppca": (models.ppca(2, 3), VECTORS, VECTORS[:, 1:]),
    "linear_gaussian_chain": (models.linear_gaussian_chain((2, 1), 3), VECTORS, (VECTORS[:, 1:], -VECTORS[:, :1])),
    "three layers": (models.linear_gaussian_chain((1, 2, 1), 3), VECTORS, (ONES, VECTORS[:, 1:], VECTORS[:, :1])),
    "normal_gamma": (models.normal_gamma(3), VECTORS, VECTORS[:, 1:]),
    "sigmoid_belief_net": (models.sigmoid_belief_net(2, 3), BITS, BITS[:, 1:]),
    "deep_belief_net": (
        models.deep_belief_net((2, 1), 3, hidden=((), (2,))),
        BITS,
        (BITS[:, 1:], BITS[:, :1]),
    ),
    "restricted_boltzmann_machine": (models.restricted_boltzmann_machine(2, 3), BITS, BITS[:, 1:]),
    "mixture_labels": (models.mixture_labels(3, 3), VECTORS, jnp.arange(3)),
    "mixture_weights": (models.mixture_weights(3, spacing=1.0, scale=0.7), VECTORS[:, :1], jnp.arange(3)),
    "gaussian_mixture": (models.gaussian_mixture(*TWO_BUMPS), VECTORS, VECTORS[:, 1:]),
    "student_t_target": (models.student_t_target(5.0), VECTORS, VECTORS[:, 1:2]),
}


@pytest.fixture(params=CASES)
def case(request):
    exact, x, z = CASES[request.param]
    return exact, exact.model.init(jax.random.key(1)), jnp.asarray(x), jax.tree.map(jnp.asarray, z)


def each(zs):
    """The latents one by one; a latent may be a pytree."""
    return [jax.tree.map(lambda leaf, i=i: leaf[i], zs) for i in range(len(jax.tree.leaves(zs)[0]))]


def test_posterior_times_evidence_is_the_joint(case):
    exact, theta, xs, zs = case

    @jax.jit
    def product_and_joint(x, z):
        product = exact.posterior(theta, x).log_prob(z) + exact.log_evidence(theta, x)
        return product, exact.model.log_joint(theta, x, z)

    for x, z in itertools.product(xs, each(zs)):
        np.testing.assert_allclose(*product_and_joint(x, z), rtol=1e-12)


def test_gradient_of_the_evidence_is_the_posterior_mean_of_the_models_gradient(case):
    # Fisher's identity, its expectation a mean over draws from the exact posterior.
    exact, theta, xs, _ = case
    x = xs[0]
    keys = jax.random.split(jax.random.key(2), 4000)

    @jax.jit
    @jax.vmap
    def score_of_a_draw(key):
        return ravel_pytree(jax.grad(exact.model.log_joint)(theta, x, exact.posterior(theta, x).sample(seed=key)))[0]

    scores = np.asarray(score_of_a_draw(keys))
    error = scores.mean(0) - ravel_pytree(jax.jit(jax.grad(exact.log_evidence))(theta, x))[0]
    standard_error = scores.std(0) / np.sqrt(len(keys))
    assert np.all(np.abs(error) <= 4 * standard_error + 1e-12)


def test_one_batched_jitted_program_gives_the_same_numbers_under_strict_promotion(case):
    exact, theta, xs, zs = case
    log_joint, log_evidence = jax.jit(exact.model.log_joint), jax.jit(exact.log_evidence)
    looped = [[log_joint(theta, x, z) for z in each(zs)] for x in xs]
    with jax.numpy_dtype_promotion("strict"):
        per_x = jax.vmap(exact.model.log_joint, in_axes=(None, None, 0))
        batched = jax.jit(jax.vmap(per_x, in_axes=(None, 0, None)))(theta, xs, zs)
        evidence = jax.jit(jax.vmap(exact.log_evidence, in_axes=(None, 0)))(theta, xs)
    np.testing.assert_allclose(batched, np.array(looped), rtol=1e-12)
    np.testing.assert_allclose(evidence, [log_evidence(theta, x) for x in xs], rtol=1e-12)
