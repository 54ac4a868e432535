"""A linear decoder with one noise for all pixels is probabilistic PCA, and training finds its maximum likelihood.

Lucas et al., "Don't Blame the ELBO!" (arXiv:1911.02469): the ELBO of a linear autoencoder has no maximum but that of
the likelihood, and there its value is the likelihood, since a rotation of z makes the posterior's precision diagonal.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import vi_jax as vi
from vi_jax import models
from vi_jax.models import likelihoods


def as_ppca(theta):
    return models.FactorAnalysis(theta["loc"]["bias"], theta["loc"]["kernel"].T, theta["log_noise"])


@pytest.mark.usefixtures("x64")
def test_a_linear_gaussian_decoder_is_ppca():
    model, exact = models.decoder(2, 4, likelihood=likelihoods.gaussian(), hidden=()), models.ppca(2, 4)
    rng = np.random.default_rng(0)
    theta = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), jax.eval_shape(model.init, jax.random.key(0)))
    x, z = rng.normal(size=4), rng.normal(size=2)
    np.testing.assert_allclose(model.log_joint(theta, x, z), exact.model.log_joint(as_ppca(theta), x, z), rtol=1e-12)


@pytest.mark.parametrize(
    ("latent_dim", "num_steps", "published"), [(2, 600, -1.575498), (5, 1000, 6.725075), (10, 3000, 14.576528)]
)
def test_a_linear_autoencoder_reaches_the_likelihood_of_ppca(latent_dim, num_steps, published):
    """scikit-learn's digits in sixteenths, without the three constant pixels."""
    x = np.asarray(vi.data.digits())
    x = jnp.asarray(x[:, x.std(axis=0) > 0])
    evidence, elbo, best = fitted(x, latent_dim, num_steps)
    np.testing.assert_allclose(best, published, atol=1e-4)
    assert abs(evidence - best) < 0.005
    assert abs(elbo - best) < 0.005


def fitted(x, latent_dim, num_steps):
    """The evidence of the trained θ, the ELBO of the trained pair, both exact, and the maximum: means over the data."""
    mean, dim = x.mean(axis=0), x.shape[1]
    model = models.decoder(latent_dim, dim, likelihood=likelihoods.gaussian(), hidden=(), mean=mean)
    guide = vi.guides.gaussian_encoder(dim, latent_dim, hidden=(), mean=mean)
    objective = vi.objectives.analytic_kl(model, guide, vi.estimators.sticking_the_landing, num_samples=1)
    key, theta_key, phi_key = jax.random.split(jax.random.key(0), 3)
    params = vi.Params(model.init(theta_key), guide.init(phi_key))
    optimizer = optax.adam(optax.cosine_decay_schedule(0.05, num_steps))
    state, _ = vi.fit(key, objective, optimizer, params, x, num_steps=num_steps)
    exact = models.ppca(latent_dim, dim)

    @jax.jit
    @jax.vmap
    def evidence_and_elbo(x):
        theta = as_ppca(state.params.theta)
        q, p = guide.distribution(state.params.phi, x), exact.posterior(theta, x)
        gap = models.gaussian_kl(q.mean(), q.covariance(), p.mean(), p.covariance())
        return exact.log_evidence(theta, x), exact.log_evidence(theta, x) - gap

    evidence, elbo = evidence_and_elbo(x)
    best = jax.vmap(exact.log_evidence, (None, 0))(models.ppca_maximum_likelihood(x, latent_dim), x)
    return evidence.mean(), elbo.mean(), best.mean()
