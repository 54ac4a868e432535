"""Other coordinates: the same guide, moved, with its density, its noise and its derivative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import vi_jax as vi
from vi_jax import bounds, estimators, guides, models

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)
LOC, SCALE_TRIL = np.array([1.0, -2.0]), np.array([[2.0, 0.0], [-1.0, 0.3]])


def test_a_moved_gaussian_is_the_gaussian_of_the_moved_moments():
    guide = guides.preconditioned(guides.mean_field(2), LOC, SCALE_TRIL)
    phi = guides.MeanField(jnp.array([0.3, 0.7]), jnp.array([0.2, -0.4]))
    factor = SCALE_TRIL @ np.diag(np.exp(phi.log_scale))
    law = stats.multivariate_normal(LOC + SCALE_TRIL @ phi.loc, factor @ factor.T)
    z = np.array([0.4, -1.0])
    q = guide.distribution(phi, ())
    np.testing.assert_allclose(q.log_prob(jnp.asarray(z)), law.logpdf(z), rtol=1e-12)
    noise = jnp.array([1.0, -0.5])
    np.testing.assert_allclose(guide.from_noise(phi, (), noise), law.mean + factor @ noise, rtol=1e-12)
    with pytest.raises(ValueError, match=r"z must have shape \(2,\)"):
        q.log_prob(jnp.zeros((3, 2)))


def test_whitened_by_the_target_itself_a_standard_guide_is_the_target_already():
    exact = models.gaussian_target(LOC, SCALE_TRIL @ SCALE_TRIL.T)
    guide = guides.preconditioned(guides.flow(2, num_layers=2, coupling_hidden=(3,)), LOC, SCALE_TRIL)
    objective = vi.value_and_grad(exact.model, guide, bounds.elbo, estimators.sticking_the_landing, num_samples=3)
    values, gradient = objective(KEY, vi.Params((), guide.init(KEY)), jnp.zeros((1, 1)))
    for leaf in (values, *jax.tree.leaves(gradient)):
        np.testing.assert_allclose(leaf, 0, atol=1e-12)


def test_what_the_guide_is_it_stays():
    mirrored = guides.preconditioned(guides.antithetic(guides.mean_field(2), 2), LOC, SCALE_TRIL)
    phi = mirrored.init(KEY)
    z = jax.vmap(lambda e: mirrored.from_noise(phi, (), e))(mirrored.noise(KEY, jnp.arange(2)))
    np.testing.assert_allclose(z.mean(axis=0), LOC, rtol=1e-12)
    plain = guides.preconditioned(guides.gaussian_mixture(2, 2), LOC, SCALE_TRIL)
    assert (plain.from_noise, plain.noise, plain.reparameterized) == (None, None, True)
    with pytest.raises(ValueError, match=r"finite support: take a guide over the reals"):
        guides.preconditioned(guides.bernoulli(2), LOC, SCALE_TRIL)
