"""Gaussian guides: φ means what it is called, and their divergences are closed forms."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vi_jax import guides

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)
NO_DATA = np.zeros(1)


def full_rank_parameters():
    return guides.FullRank(
        loc=jnp.array([1.0, 2, 3, 4]), log_scale=jnp.array([0.1, -0.2, 0.3, 0]), lower=jnp.array([4.0, 5, 6, 7, 8, 9])
    )


def moments(guide, phi, x=NO_DATA):
    def mean_and_covariance(phi):
        q = guide.distribution(phi, x)
        return q.mean(), q.covariance()

    return jax.device_get(jax.jit(mean_and_covariance)(phi))


@pytest.mark.parametrize("make", [guides.mean_field, guides.full_rank])
def test_initial_guide_is_centred_with_the_given_standard_deviation(make):
    guide = make(2, initial_scale=0.25)
    mean, covariance = moments(guide, guide.init(KEY))
    np.testing.assert_allclose(mean, 0)
    np.testing.assert_allclose(covariance, 0.0625 * np.eye(2), rtol=1e-12)


def test_mean_field_reads_its_parameters():
    phi = guides.MeanField(loc=jnp.array([1.0, -2]), log_scale=jnp.array([0.5, -1]))
    mean, covariance = moments(guides.mean_field(2), phi)
    np.testing.assert_allclose(mean, [1, -2])
    np.testing.assert_allclose(covariance, np.diag(np.exp([1, -2])), rtol=1e-12)


def test_full_rank_fills_its_factor_row_by_row():
    diagonal = np.diag(np.exp([0.1, -0.2, 0.3, 0]))
    factor = np.array([[0, 0, 0, 0], [4, 0, 0, 0], [5, 6, 0, 0], [7, 8, 9, 0]]) + diagonal
    mean, covariance = moments(guides.full_rank(4), full_rank_parameters())
    np.testing.assert_allclose(mean, [1, 2, 3, 4])
    np.testing.assert_allclose(covariance, factor @ factor.T, rtol=1e-12)


def test_full_rank_has_no_idle_parameter():
    z = np.array([0.3, -0.7, 0.2, 1.1])
    log_prob = lambda phi: guides.full_rank(4).distribution(phi, NO_DATA).log_prob(z)  # noqa: E731
    gradient = jax.device_get(jax.jit(jax.grad(log_prob))(full_rank_parameters()))
    assert sum(leaf.size for leaf in gradient) == 4 * (4 + 3) // 2
    assert all(np.all(leaf != 0) for leaf in gradient)


def test_full_rank_in_one_dimension_is_mean_field():
    full, mean_field = guides.full_rank(1, initial_scale=0.5), guides.mean_field(1, initial_scale=0.5)
    q, p = (g.distribution(g.init(KEY), NO_DATA) for g in (full, mean_field))
    np.testing.assert_allclose(q.log_prob(jnp.array([0.3])), p.log_prob(jnp.array([0.3])), rtol=1e-12)


def test_affine_moves_the_mean_only():
    phi = guides.Affine(A=jnp.array([[1.0, 2], [3, 4], [5, 6]]), b=jnp.array([0.5, 0.0, -0.5]))
    mean, covariance = moments(guides.affine(2, 3, variance=2 / 3), phi, np.array([1, -1]))
    np.testing.assert_allclose(mean, [-0.5, -1, -1.5])
    np.testing.assert_allclose(covariance, 2 / 3 * np.eye(3), rtol=1e-12)


@pytest.mark.parametrize("make", [guides.mean_field, guides.full_rank])
def test_entropy_and_divergence_from_a_standard_normal_are_closed_forms(make):
    guide = make(3)

    @jax.jit
    def closed_forms(key):
        phi = jax.tree.map(lambda leaf: leaf + 0.3, guide.init(key))
        q = guide.distribution(phi, NO_DATA)
        prior = distrax.MultivariateNormalDiag(jnp.zeros(3), jnp.ones(3))
        return q.mean(), q.covariance(), q.entropy(), q.kl_divergence(prior)

    mean, covariance, entropy, kl = jax.device_get(closed_forms(KEY))
    log_det = np.linalg.slogdet(covariance)[1]
    np.testing.assert_allclose(entropy, (3 * np.log(2 * np.pi * np.e) + log_det) / 2, rtol=1e-12)
    np.testing.assert_allclose(kl, (np.trace(covariance) + mean @ mean - 3 - log_det) / 2, rtol=1e-10)
