"""The linear-Gaussian toy against quadrature, and against the numbers of arXiv:1802.04537's setting."""

import itertools

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from vi_jax import guides, models
from vi_jax.exact import elbo
from vi_jax.types import Params

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)


def gauss_hermite(function, mean, variance, degree=12):
    """E f(z) over N(mean, variance I), exact for polynomials of degree up to 23 in each coordinate."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(degree)
    grid = np.array(list(itertools.product(nodes, repeat=len(mean))))
    weight = np.prod(list(itertools.product(weights / weights.sum(), repeat=len(mean))), axis=1)
    return np.sum(weight * np.asarray(jax.vmap(function)(mean + np.sqrt(variance) * grid)))


def problem(dim):
    """μ, A, b and x of the toy, drawn at random; nowhere near its optimum."""
    rng = np.random.default_rng(dim)
    mu, b, x = jnp.asarray(rng.normal(size=(3, dim)))
    return mu, jnp.asarray(rng.normal(size=(dim, dim))), b, x


@pytest.mark.parametrize("dim", [1, 2])
def test_evidence_is_the_integral_of_the_joint(dim):
    exact, (mu, _, _, x) = models.linear_gaussian(dim), problem(dim)
    line = np.linspace(-12, 12, 121)  # the trapezoid rule is exact to rounding for Gaussians at this spacing
    grid = jnp.array(list(itertools.product(line, repeat=dim)))
    density = jnp.exp(jax.vmap(exact.model.log_joint, in_axes=(None, None, 0))(mu, x, grid))
    np.testing.assert_allclose(exact.log_evidence(mu, x), jnp.log(density.sum() * (24 / 120) ** dim), rtol=1e-10)


def test_evidence_and_posterior_are_the_stated_gaussians():
    exact, (mu, _, _, x) = models.linear_gaussian(3), problem(3)
    evidence = distrax.MultivariateNormalDiag(mu, jnp.full(3, np.sqrt(2))).log_prob(x)
    np.testing.assert_allclose(exact.log_evidence(mu, x), evidence, rtol=1e-12)
    np.testing.assert_allclose(exact.posterior(mu, x).mean(), (mu + x) / 2, rtol=1e-12)
    np.testing.assert_allclose(exact.posterior(mu, x).variance(), 0.5, rtol=1e-12)


def test_prior_and_likelihood_make_the_joint():
    model, (mu, _, z, x) = models.linear_gaussian(4).model, problem(4)
    assert model.prior
    assert model.likelihood
    product = model.prior(mu).log_prob(z) + model.likelihood(mu, z).log_prob(x)
    np.testing.assert_allclose(model.log_joint(mu, x, z), product, rtol=1e-12)


@pytest.mark.parametrize("variance", [2 / 3, 0.2])
@pytest.mark.parametrize("dim", [1, 2])
def test_elbo_is_the_expectation_of_log_w_exactly(dim, variance):
    exact, (mu, A, b, x) = models.linear_gaussian(dim), problem(dim)
    q = distrax.MultivariateNormalDiag(A @ x + b, jnp.full(dim, np.sqrt(variance)))
    expectation = gauss_hermite(lambda z: exact.model.log_joint(mu, x, z) - q.log_prob(z), A @ x + b, variance)
    np.testing.assert_allclose(models.linear_gaussian_elbo(mu, A, b, x, variance=variance), expectation, rtol=1e-12)


def test_variance_of_log_w_is_the_stated_quadratic():
    exact, (mu, A, b, x) = models.linear_gaussian(2), problem(2)
    mean = A @ x + b
    q = distrax.MultivariateNormalDiag(mean, jnp.full(2, np.sqrt(2 / 3)))
    log_w = lambda z: exact.model.log_joint(mu, x, z) - q.log_prob(z)  # noqa: E731
    second, first = (gauss_hermite(lambda z, p=p: log_w(z) ** p, mean, 2 / 3) for p in (2, 1))
    delta = (mu + x) / 2 - mean
    np.testing.assert_allclose(second - first**2, 2 / 18 + 8 / 3 * jnp.sum(delta**2), rtol=1e-9)


@pytest.mark.parametrize(("dim", "gap"), [(1, -0.022826), (5, -0.114128), (20, -0.456513)])
def test_the_optimum_is_stationary_best_and_misses_the_evidence_by_the_known_gap(dim, gap):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(3 * dim, dim)) + 1)
    exact, optimum = models.linear_gaussian(dim), models.linear_gaussian_optimum(x)

    @jax.jit
    def mean_elbo(mu, A, b):
        return jnp.mean(jax.vmap(models.linear_gaussian_elbo, in_axes=(None, None, None, 0))(mu, A, b, x))

    best = mean_elbo(*optimum)
    evidence = jnp.mean(jax.vmap(exact.log_evidence, in_axes=(None, 0))(optimum[0], x))
    np.testing.assert_allclose(best - evidence, gap, atol=5e-7)
    for gradient in jax.grad(mean_elbo, argnums=(0, 1, 2))(*optimum):
        np.testing.assert_allclose(gradient, 0, atol=1e-12)
    for _ in range(10):
        assert mean_elbo(*(p + 0.1 * rng.normal(size=p.shape) for p in optimum)) < best


def test_ancestral_samples_have_the_models_moments():
    exact, mu, num_draws = models.linear_gaussian(2), jnp.array([1.0, -2.0]), 20_000
    assert exact.model.sample
    x, z = jax.jit(jax.vmap(exact.model.sample, in_axes=(0, None)))(jax.random.split(KEY, num_draws), mu)
    features = np.stack([z - mu, x - mu, (z - mu) ** 2 - 1, (x - mu) ** 2 - 2, (x - mu) * (z - mu) - 1])
    error, standard_error = features.mean(1), features.std(1) / np.sqrt(num_draws)
    assert np.all(np.abs(error) < 4 * standard_error)


def test_data_of_another_dtype_is_cast_to_the_parameters():
    exact, (mu, _, z, _) = models.linear_gaussian(2), problem(2)
    for dtype in (jnp.float32, jnp.int8, jnp.bool_):
        x = jnp.array([1, 0], dtype)
        with jax.numpy_dtype_promotion("strict"):
            value = exact.model.log_joint(mu, x, z)
        np.testing.assert_allclose(value, exact.model.log_joint(mu, x.astype(float), z), rtol=1e-12)


@pytest.mark.parametrize("shape", [(), (3,), (5, 2), (1, 2)])
def test_a_datum_or_draw_of_another_shape_never_broadcasts(shape):
    exact, mu, bad, good = models.linear_gaussian(2), jnp.zeros(2), jnp.zeros(shape), jnp.zeros(2)
    for call in (
        lambda: exact.model.log_joint(mu, bad, good),
        lambda: exact.model.log_joint(mu, good, bad),
        lambda: exact.log_evidence(mu, bad),
        lambda: exact.posterior(mu, bad),
        lambda: models.linear_gaussian_elbo(mu, jnp.eye(2), mu, bad),
    ):
        with pytest.raises(ValueError, match=r"must have shape \(2,\).*batch axes"):
            call()


def test_the_optimum_needs_a_data_set():
    with pytest.raises(ValueError, match=r"data set \[N, D\], got shape \(2,\)"):
        models.linear_gaussian_optimum(jnp.zeros(2))


@pytest.mark.parametrize(("dim", "error"), [(0, ValueError), (2.5, TypeError)])
def test_a_dimension_is_a_positive_integer(dim, error):
    with pytest.raises(error, match=f"dim must be .*got {dim}"):
        models.linear_gaussian(dim)


def test_a_gaussian_mean_has_the_known_evidence_posterior_and_elbo():
    exact = models.gaussian_mean(4, prior_mean=0.1, prior_variance=2.0, variance=1.5)
    theta, x, guide = exact.model.init(KEY), jnp.array([0.5, -1.2, 2.0, 0.3]), guides.mean_field(1)
    np.testing.assert_allclose(exact.log_evidence(theta, x), -7.14187840, atol=5e-9)
    np.testing.assert_allclose(exact.posterior(theta, x).mean(), [0.352632], atol=5e-7)
    np.testing.assert_allclose(exact.posterior(theta, x).variance(), [0.315789], atol=5e-7)
    params = Params(theta, guide.init(KEY))
    np.testing.assert_allclose(elbo(exact, guide, params, x), -7.84575794, atol=5e-9)
    expectation = gauss_hermite(
        lambda z: exact.model.log_joint(theta, x, z) - guide.distribution(params.phi, x).log_prob(z), np.zeros(1), 1.0
    )
    np.testing.assert_allclose(expectation, -7.84575794, atol=5e-9)


def test_a_gaussian_mean_is_one_multivariate_gaussian_over_the_data_set():
    exact = models.gaussian_mean(3, prior_mean=-0.4, prior_variance=0.7, variance=0.2)
    theta, x = exact.model.init(KEY), jnp.array([0.5, -1.2, 2.0])
    expected = multivariate_normal(np.full(3, -0.4), 0.7 + 0.2 * np.eye(3)).logpdf(x)
    np.testing.assert_allclose(exact.log_evidence(theta, x), expected, rtol=1e-12)
    xs, zs = jax.jit(jax.vmap(exact.model.sample, in_axes=(0, None)))(jax.random.split(KEY, 20_000), theta)
    centred = xs + 0.4
    products = jnp.stack([centred[:, 0] ** 2 - 0.9, centred[:, 0] * centred[:, 1] - 0.7, (zs[:, 0] + 0.4) ** 2 - 0.7])
    assert np.all(np.abs(products.mean(1)) < 4 * products.std(1) / np.sqrt(len(xs)))


def test_a_variance_must_be_positive():
    with pytest.raises(ValueError, match=r"variance must be positive and finite, got -1\.0"):
        models.gaussian_mean(3, variance=-1.0)
