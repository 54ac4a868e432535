"""Factor analysis against scipy's multivariate normal, and PPCA against the maximum likelihood of real digits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

import vi_jax as vi
from vi_jax import models
from vi_jax.data import digits

pytestmark = pytest.mark.usefixtures("x64")
LATENT, DATA = 3, 7
EXACT = models.factor_analysis(LATENT, DATA)
SOME = np.array([True, False, True, True, False, False, True])
PATTERNS = {"one": np.arange(DATA) == 2, "some": SOME, "all": np.ones(DATA, bool)}


@pytest.fixture(scope="module")
def theta():
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        arrays = rng.normal(size=DATA), rng.normal(size=(DATA, LATENT)), rng.normal(size=DATA)
        return models.FactorAnalysis(*map(jnp.asarray, arrays))


@pytest.fixture(scope="module")
def x():
    return 2 * np.random.default_rng(1).normal(size=DATA)


def joint_covariance(theta):
    """Of (z, x), by writing it out."""
    W, noise = np.asarray(theta.loadings), np.exp(theta.log_noise)
    return np.block([[np.eye(LATENT), W.T], [W, W @ W.T + np.diag(noise)]])


def conditional(mean, covariance, given, values):
    """Mean and covariance of a Gaussian's other coordinates, by the textbook's Schur complement."""
    gain = covariance[np.ix_(~given, given)] @ np.linalg.inv(covariance[np.ix_(given, given)])
    rest = covariance[np.ix_(~given, ~given)] - gain @ covariance[np.ix_(given, ~given)]
    return mean[~given] + gain @ (values - mean[given]), rest


@pytest.mark.parametrize("pattern", PATTERNS)
def test_evidence_of_any_subset_is_the_gaussian_marginal(theta, x, pattern):
    visible = PATTERNS[pattern]
    covariance = joint_covariance(theta)[LATENT:, LATENT:]
    expected = multivariate_normal(theta.mean[visible], covariance[np.ix_(visible, visible)]).logpdf(x[visible])
    np.testing.assert_allclose(EXACT.log_evidence(theta, models.observe(x, visible)), expected, rtol=1e-10)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_posterior_given_any_subset_is_the_gaussian_conditional(theta, x, pattern):
    given = np.concatenate([np.zeros(LATENT, bool), PATTERNS[pattern]])
    marginal = ~np.concatenate([np.zeros(LATENT, bool), ~PATTERNS[pattern]])
    mean = np.concatenate([np.zeros(LATENT), theta.mean])[marginal]
    covariance = joint_covariance(theta)[np.ix_(marginal, marginal)]
    mean, covariance = conditional(mean, covariance, given[marginal], x[PATTERNS[pattern]])
    q = EXACT.posterior(theta, models.observe(x, PATTERNS[pattern]))
    np.testing.assert_allclose(q.mean(), mean, rtol=1e-10)
    np.testing.assert_allclose(q.covariance(), covariance, rtol=1e-10, atol=1e-14)
    z = np.arange(LATENT) / 2
    np.testing.assert_allclose(q.log_prob(z), multivariate_normal(mean, covariance).logpdf(z), rtol=1e-10)


def test_all_visible_is_the_plain_datum_and_none_visible_is_the_prior(theta, x):
    everything, nothing = (models.observe(x, np.full(DATA, seen)) for seen in (True, False))
    z = np.arange(LATENT) / 2
    for function in (EXACT.log_evidence, lambda t, x: EXACT.model.log_joint(t, x, z)):
        np.testing.assert_allclose(function(theta, everything), function(theta, jnp.asarray(x)), rtol=1e-13)
    np.testing.assert_allclose(EXACT.log_evidence(theta, nothing), 0, atol=1e-14)
    prior = EXACT.model.prior(theta)
    np.testing.assert_allclose(EXACT.model.log_joint(theta, nothing, z), prior.log_prob(z), rtol=1e-13)
    np.testing.assert_allclose(EXACT.posterior(theta, nothing).covariance(), np.eye(LATENT), atol=1e-14)


def test_hidden_pixels_given_visible_ones_are_the_gaussian_conditional(theta, x):
    mean, covariance = conditional(np.asarray(theta.mean), joint_covariance(theta)[LATENT:, LATENT:], SOME, x[SOME])
    found = jax.jit(models.hidden_given_visible)(theta, models.observe(x, SOME))
    np.testing.assert_allclose(found.mean[~SOME], mean, rtol=1e-10)
    np.testing.assert_allclose(found.mean[SOME], x[SOME], rtol=0)
    np.testing.assert_allclose(found.covariance[np.ix_(~SOME, ~SOME)], covariance, rtol=1e-10, atol=1e-14)
    assert not found.covariance[SOME].any()
    assert not found.covariance[:, SOME].any()


def test_hidden_values_are_never_used_not_even_nan_in_gradients(theta, x):
    evidence = jax.jit(jax.value_and_grad(EXACT.log_evidence))
    changed = np.where(SOME, x, np.nan)
    for a, b in zip(
        jax.tree.leaves(evidence(theta, models.observe(changed, SOME))),
        jax.tree.leaves(evidence(theta, models.Partial(jnp.where(SOME, x, 1e3), jnp.asarray(SOME)))),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_prior_likelihood_and_sampler_make_the_joint(theta, x):
    z = np.arange(LATENT) / 2
    product = EXACT.model.prior(theta).log_prob(z) + EXACT.model.likelihood(theta, z).log_prob(x)
    np.testing.assert_allclose(EXACT.model.log_joint(theta, jnp.asarray(x), z), product, rtol=1e-12)
    keys = jax.random.split(jax.random.key(0), 20_000)
    xs, zs = jax.jit(jax.vmap(EXACT.model.sample, in_axes=(0, None)))(keys, theta)
    draws = np.concatenate([zs, xs - theta.mean], axis=1)
    products = draws[:, :, None] * draws[:, None]
    error = products.mean(0) - joint_covariance(theta)
    assert np.all(np.abs(error) < 4.5 * products.std(0) / np.sqrt(len(keys)))


def test_mean_field_optimum_is_stationary_and_its_gap_is_the_kl(theta, x):
    guide = vi.guides.mean_field(LATENT)
    best = models.optimal_mean_field(theta, models.observe(x, SOME))
    phi = vi.guides.MeanField(best.mean, jnp.log(best.variance) / 2)

    @jax.jit
    @jax.value_and_grad
    def divergence(phi):
        return vi.exact.reverse_kl(EXACT, guide, vi.Params(theta, phi), models.observe(x, SOME))

    gap, gradient = divergence(phi)
    np.testing.assert_allclose(best.gap, gap, rtol=1e-10)
    assert best.gap > 0.1
    for leaf in gradient:
        np.testing.assert_allclose(leaf, 0, atol=1e-12)
    assert np.all(best.variance < EXACT.posterior(theta, models.observe(x, SOME)).variance())


@pytest.mark.parametrize(
    ("latent_dim", "log_likelihood", "noise"),
    [(2, -1.575498, 0.056869), (5, 6.725075, 0.038136), (10, 14.576528, 0.024090)],
)
def test_maximum_likelihood_of_ppca_on_digits(latent_dim, log_likelihood, noise):
    images = np.asarray(digits(), float)
    images = images[:, images.std(axis=0) > 0]
    assert images.shape == (1797, 61)
    theta = models.ppca_maximum_likelihood(jnp.asarray(images), latent_dim)
    exact = models.ppca(latent_dim, 61)

    @jax.jit
    @jax.value_and_grad
    def mean_log_likelihood(theta):
        return jnp.mean(jax.vmap(exact.log_evidence, in_axes=(None, 0))(theta, images))

    mean, gradient = mean_log_likelihood(theta)
    np.testing.assert_allclose(mean, log_likelihood, atol=5e-7)
    np.testing.assert_allclose(jnp.exp(theta.log_noise), noise, atol=5e-7)
    for leaf in jax.tree.leaves(gradient):
        np.testing.assert_allclose(leaf, 0, atol=1e-10)


def test_one_program_serves_every_mask_in_float32_under_strict_promotion(theta, x):
    images = np.tile(x, (3, 1))
    masks = np.stack(list(PATTERNS.values()))
    wanted = [EXACT.log_evidence(theta, models.observe(x, mask)) for mask in masks]
    with jax.enable_x64(False), jax.numpy_dtype_promotion("strict"):
        theta32 = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float32), theta)
        data = models.observe(jnp.asarray(images, jnp.float32), masks)
        found = jax.jit(jax.vmap(EXACT.log_evidence, in_axes=(None, 0)))(theta32, data)
        conditionals = jax.vmap(models.hidden_given_visible, in_axes=(None, 0))(theta32, data)
    assert found.dtype == conditionals.covariance.dtype == jnp.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_bad_arguments_are_named(theta):
    with pytest.raises(ValueError, match="latent_dim must be at least 1, got 0"):
        models.ppca(0, 3)
    with pytest.raises(ValueError, match=r"D above latent_dim = 3, got shape \(5, 3\)"):
        models.ppca_maximum_likelihood(jnp.zeros((5, 3)), 3)
    for bad in (jnp.zeros((2, DATA)), models.observe(np.zeros((2, DATA)), SOME)):
        with pytest.raises(ValueError, match=r"must have shape \(7,\)"):
            EXACT.log_evidence(theta, bad)
