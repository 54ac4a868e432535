"""The nine log-densities: against SciPy on small data of the same form, and against the reference draws of the real."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy import stats

import vi_jax as vi
from vi_jax.models import posteriordb

needs_data = pytest.mark.skipif("VI_JAX_DATA" not in os.environ, reason="VI_JAX_DATA names no folder of real data")
pytestmark = pytest.mark.usefixtures("x64")
RNG = np.random.default_rng(0)
NORMAL, CAUCHY = stats.norm.logpdf, stats.halfcauchy.logpdf


def regression(y, mean, sigma):
    return NORMAL(y, mean, sigma).sum()


def kidiq(data, beta, sigma):
    hs, iq = data["mom_hs"], data["mom_iq"]
    mean = beta[0] + beta[1] * hs + beta[2] * iq + beta[3] * hs * iq
    return regression(data["kid_score"], mean, sigma) + CAUCHY(sigma, scale=2.5)


def nes(data, beta, sigma):
    mean = beta[0] + beta[1] * data["real_ideo"] + beta[2] * data["race_adj"]
    ages = sum(beta[place] * (data["age_discrete"] == group) for place, group in ((3, 2), (4, 3), (5, 4)))
    rest = beta[6] * data["educ1"] + beta[7] * data["gender"] + beta[8] * data["income"]
    return regression(data["partyid7"], mean + ages + rest, sigma)


def diamonds(data, b, intercept, sigma):
    centred = data["X"][:, 1:] - data["X"][:, 1:].mean(0)
    prior = NORMAL(b).sum() + stats.t.logpdf(intercept, 3, 8, 10) + np.log(2) + stats.t.logpdf(sigma, 3, 0, 10)
    return prior + regression(data["Y"], intercept + centred @ b, sigma)


def autoregression(data, alpha, beta, sigma):
    y, order = data["y"], data["K"]
    means = [alpha + sum(beta[k] * y[t - k - 1] for k in range(order)) for t in range(order, len(y))]
    prior = NORMAL(alpha, scale=10) + NORMAL(beta, scale=10).sum() + CAUCHY(sigma, scale=2.5)
    return prior + regression(y[order:], np.array(means), sigma)


def garch(data, mu, alpha0, alpha1, beta1):
    variance, total = data["sigma1"] ** 2, 0.0
    for now in data["y"]:
        total += NORMAL(now, mu, variance**0.5)
        variance = alpha0 + alpha1 * (now - mu) ** 2 + beta1 * variance
    return total


def low_dim_gauss_mix(data, mu, sigma, theta):
    parts = theta * stats.norm.pdf(data["y"], mu[0], sigma[0]) + (1 - theta) * stats.norm.pdf(
        data["y"], mu[1], sigma[1]
    )
    of_means = np.log(2) + NORMAL(mu, scale=2).sum()
    of_scales = stats.halfnorm.logpdf(sigma, scale=2).sum()
    return np.log(parts).sum() + of_means + of_scales + stats.beta.logpdf(theta, 5, 5)


def gp_pois_regr(data, rho, alpha, f):
    x = data["x"]
    covariance = alpha**2 * np.exp(-((x[:, None] - x) ** 2) / (2 * rho**2)) + 1e-10 * np.eye(len(x))
    prior = stats.gamma.logpdf(rho, 25, scale=1 / 4) + stats.halfnorm.logpdf(alpha, scale=2)
    likelihood = stats.poisson.logpmf(data["k"], np.exp(f)).sum()
    return prior + stats.multivariate_normal.logpdf(f, cov=covariance) + likelihood


def eight_schools(data, theta, mu, tau):
    prior = NORMAL(mu, scale=5) + CAUCHY(tau, scale=5) + NORMAL(theta, mu, tau).sum()
    return prior + NORMAL(data["y"], theta, data["sigma"]).sum()


SCHOOLS = {"J": 3, "y": np.array([28.0, 8, -3]), "sigma": np.array([15.0, 10, 16])}
CASES = {
    "arK-arK": (autoregression, {"K": 2, "T": 9, "y": RNG.normal(size=9)}),
    "diamonds-diamonds": (
        diamonds,
        {"Y": RNG.normal(8, 1, 6), "X": np.insert(RNG.normal(3, 1, (6, 2)), 0, 1.0, axis=1)},
    ),
    "eight_schools-eight_schools_centered": (eight_schools, SCHOOLS),
    "eight_schools-eight_schools_noncentered": (eight_schools, SCHOOLS),
    "garch-garch11": (garch, {"T": 6, "y": RNG.normal(5, 1, 6), "sigma1": 0.5}),
    "gp_pois_regr-gp_pois_regr": (gp_pois_regr, {"x": np.array([-6.0, 1, 9]), "k": np.array([40, 3, 9])}),
    "kidiq-kidscore_interaction": (
        kidiq,
        {
            "kid_score": RNG.normal(90, 20, 6),
            "mom_hs": np.array([0, 1, 1, 0, 1, 1]),
            "mom_iq": RNG.normal(100, 15, 6),
        },
    ),
    "low_dim_gauss_mix-low_dim_gauss_mix": (low_dim_gauss_mix, {"y": RNG.normal(0, 2, 7)}),
    "nes1980-nes": (
        nes,
        {name: RNG.integers(1, 5, 12) for name in ("partyid7", "real_ideo", "race_adj", "educ1", "gender", "income")}
        | {"age_discrete": np.tile([1, 2, 3, 4], 3)},
    ),
}


def ravelled(target):
    return lambda z: ravel_pytree(target.constrain(z))[0]


@pytest.mark.parametrize("name", CASES)
def test_log_joint_is_the_density_of_the_parameters_times_the_jacobian(name):
    """log p(z) = log p(parameters) + log |det ∂parameters/∂z|, the right side by SciPy and by autodiff."""
    expected, data = CASES[name]
    target = posteriordb.posterior(name, data)
    z = 0.5 * jax.random.normal(jax.random.key(3), (target.dim,))
    parameters = target.constrain(z)
    jacobian = jax.jit(jax.jacobian(ravelled(target)))(z)
    right = expected(data, *map(np.asarray, parameters)) + np.linalg.slogdet(jacobian)[1]
    assert float(jax.jit(vi.models.log_density(target))(z)) == pytest.approx(float(right), rel=1e-9)
    np.testing.assert_allclose(target.unconstrain(parameters), z, rtol=1e-6)
    assert len(target.names) == len(jacobian)
    assert np.isfinite(jnp.asarray(target.start)).all()


@needs_data
@pytest.mark.parametrize("name", CASES)
def test_reference_draws_obey_steins_identities(name):
    """E ∂log p = 0 and E (z − m) ∂log p = −1: a wrong likelihood, prior or Jacobian moves one of them."""
    posterior = vi.data.posteriordb(name)
    target = posteriordb.posterior(name, posterior.data)
    assert target.names == posterior.reference.names
    draws = posterior.reference.draws
    unravel = ravel_pytree(target.constrain(jnp.zeros(target.dim)))[1]
    z = jax.jit(jax.vmap(lambda draw: target.unconstrain(unravel(draw))))(draws)
    slopes = np.asarray(jax.jit(jax.vmap(jax.grad(vi.models.log_density(target))))(z))
    z = np.asarray(z)
    for identity in (slopes, (z - z.mean(axis=0)) * slopes + 1):
        scores = identity.mean(axis=0) / (identity.std(axis=0) / len(z) ** 0.5)
        assert np.max(np.abs(scores)) < 4
        assert np.mean(scores**2) < 2.5


def test_halves_of_the_data_average_to_the_whole():
    """Minibatches: (N/n) scales the likelihood, so that the mean over a partition is the log joint."""
    _, data = CASES["kidiq-kidscore_interaction"]
    model, x, dim, *_ = posteriordb.kidiq(data)
    z = 0.1 * jnp.ones(dim)
    whole, *halves = (
        model.log_joint((), jax.tree.map(lambda leaf, part=part: leaf[0, part], x), z)
        for part in (slice(0, 6), slice(0, 3), slice(3, 6))
    )
    assert float(sum(halves)) / 2 == pytest.approx(float(whole), rel=1e-12)


def test_a_regression_starts_from_least_squares():
    _, data = CASES["kidiq-kidscore_interaction"]
    target = posteriordb.kidiq(data)
    slope = jax.grad(vi.models.log_density(target))(jnp.asarray(target.start))
    np.testing.assert_allclose(slope[:-1], 0, atol=1e-6)
    assert target.names == ("beta[1]", "beta[2]", "beta[3]", "beta[4]", "sigma")


@pytest.mark.parametrize(
    ("make", "data", "message"),
    [
        (posteriordb.kidiq, {"kid_score": [1.0], "mom_hs": [1.0]}, "kidiq lack 'mom_iq' and have kid_score, mom_hs"),
        (posteriordb.garch, {"y": [1.0, np.nan], "sigma1": 0.5}, r"y .* 2 finite numbers, .* 1 that are not finite"),
        (posteriordb.garch, {"y": [1.0, 2.0], "sigma1": 0.0}, "sigma1 .* positive and finite, got 0.0"),
        (posteriordb.gp_pois_regr, {"x": [1.0, 2.0], "k": [3]}, r"k .* vector of 2 finite numbers, got shape \(1,\)"),
        (posteriordb.autoregression, {"y": [1.0, 2.0], "K": 2}, "K must be below the 2 values of y, got 2"),
        (posteriordb.diamonds, {"Y": [1.0, 2.0], "X": [[1.0, 2.0]]}, r"X .* \[2, P ≥ 2\], got shape \(1, 2\)"),
        (posteriordb.low_dim_gauss_mix, {"y": [[1.0]]}, r"got shape \(1, 1\)"),
    ],
)
def test_data_of_another_form_are_refused(make, data, message):
    with pytest.raises(ValueError, match=message):
        make(data)


def test_an_unknown_posterior_is_refused():
    with pytest.raises(ValueError, match="no log-density of 'arK', only of arK-arK, diamonds-diamonds"):
        posteriordb.posterior("arK", {})


def test_the_gaussian_process_refuses_float32():
    _, data = CASES["gp_pois_regr-gp_pois_regr"]
    target = posteriordb.gp_pois_regr(data)
    with jax.enable_x64(False):
        for use in (lambda: posteriordb.gp_pois_regr(data), lambda: vi.models.log_density(target)(jnp.zeros(5))):
            with pytest.raises(ValueError, match=r"needs float64, got float32.*update\('jax_enable_x64', True\)"):
                use()
