"""A proposal without parameters: the prior, whose weights are likelihoods."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi

pytestmark = pytest.mark.usefixtures("x64")
TOY = vi.models.linear_gaussian(2)


def test_weights_under_the_prior_are_likelihoods_and_their_mean_estimates_the_evidence():
    mu, x = jnp.array([0.5, -0.5]), jnp.array([[1.0, 0.2]])
    guide = vi.guides.fixed(TOY.model.prior(mu))
    params = vi.Params(mu, guide.init(jax.random.key(0)))
    key = jax.random.key(1)
    z = guide.distribution((), x[0]).sample(seed=jax.random.fold_in(jax.random.fold_in(key, 0), 0))
    log_w = vi.log_weights(key, TOY.model, guide, params, x, num_samples=1)
    np.testing.assert_allclose(log_w[0, 0], TOY.model.likelihood(mu, z).log_prob(x[0]), rtol=1e-12)
    evidence = vi.log_evidence(key, TOY.model, guide, params, x, num_samples=20_000)
    error = float(evidence.log_evidence[0] - TOY.log_evidence(mu, x[0]))
    assert abs(error) < 4 * float(evidence.standard_error[0])


def test_a_draw_has_no_derivative_unless_it_is_said_to_have_one():
    uniform = vi.guides.fixed(distrax.Uniform(0.0, 1.0))
    with pytest.raises(ValueError, match="reparameterized=False"):
        vi.value_and_grad(TOY.model, uniform, vi.bounds.elbo, vi.estimators.pathwise, num_samples=1)
    assert vi.guides.fixed(distrax.Uniform(0.0, 1.0), reparameterized=True).reparameterized
