"""Likelihoods are the densities they say, sum to one, keep a finite gradient, and start at the mean of the data."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests.populations import z_scores
from vi_jax import models
from vi_jax.models import likelihoods

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)
A, B = (
    np.array([-1.3, 0.4, 2.0]),
    np.array([-0.5, -1.6, 2.1]),
)  # Two heads of three pixels; the last is wide, its cells narrow.
COUNTS, REAL = np.array([0.0, 5.0, 16.0]), np.array([0.3, -1.0, 2.5])


def logistic_cell(x, loc, log_scale, num_levels):
    cdf = functools.partial(stats.logistic.cdf, loc=loc, scale=np.exp(log_scale))
    top = num_levels - 1
    upper, lower = np.where(x == top, 1, cdf((x + 0.5) / top)), np.where(x == 0, 0, cdf((x - 0.5) / top))
    return np.log(upper - lower)


P = 1 / (1 + np.exp(-A))
# name: (likelihood, outputs, x, what scipy says, levels or None)
CASES = {
    "bernoulli": (likelihoods.bernoulli(), {"logits": A}, [0, 1, 1], lambda x: stats.bernoulli.logpmf(x, P), 2),
    "binomial": (likelihoods.binomial(16), {"logits": A}, COUNTS, lambda x: stats.binom.logpmf(x, 16, P), 17),
    "gaussian": (
        likelihoods.gaussian(),
        {"loc": A, "log_noise": np.array(-0.8)},
        REAL,
        lambda x: stats.norm.logpdf(x, A, np.exp(-0.4)),
        None,
    ),
    "gaussian_per_pixel": (
        likelihoods.gaussian_per_pixel(),
        {"loc": A, "log_scale": B},
        REAL,
        lambda x: stats.norm.logpdf(x, A, np.exp(B)),
        None,
    ),
    "gaussian_fixed": (
        likelihoods.gaussian_fixed(0.3),
        {"loc": A},
        REAL,
        lambda x: stats.norm.logpdf(x, A, 0.3),
        None,
    ),
    "discretized_logistic": (
        likelihoods.discretized_logistic(256),
        {"loc": A, "log_scale": B},
        [0, 100, 254],
        lambda x: logistic_cell(np.asarray(x), A, B, 256),
        256,
    ),
}
DISCRETE = [name for name, case in CASES.items() if case[-1]]


@pytest.mark.parametrize("name", CASES)
def test_log_prob_is_scipys_pixel_by_pixel_and_the_distributions(name):
    likelihood, outputs, x, expected, _ = CASES[name]
    outputs, x = jax.tree.map(jnp.asarray, outputs), jnp.asarray(x, float)
    with jax.numpy_dtype_promotion("strict"):
        found, whole = likelihood.log_prob(outputs, x), likelihood.distribution(outputs).log_prob(x)
    np.testing.assert_allclose(found, expected(x), rtol=1e-9)
    np.testing.assert_allclose(whole, expected(x).sum(), rtol=1e-9)


@pytest.mark.parametrize("name", DISCRETE)
def test_all_levels_have_probability_one_and_the_stated_mean_and_nothing_else_has_any(name):
    likelihood, outputs, *_, num_levels = CASES[name]
    outputs = jax.tree.map(jnp.asarray, outputs)
    levels = jnp.broadcast_to(jnp.arange(num_levels, dtype=float)[:, None], (num_levels, 3))
    p = jnp.exp(jax.vmap(lambda x: likelihood.log_prob(outputs, x))(levels))
    np.testing.assert_allclose(p.sum(0), 1, rtol=1e-12)
    np.testing.assert_allclose(likelihood.distribution(outputs).mean(), (p * levels).sum(0), rtol=1e-10)
    if name != "bernoulli":  # which takes expected pixels too
        for x in (-1.0, 0.5, float(num_levels)):
            assert np.all(likelihood.log_prob(outputs, jnp.full(3, x)) == -np.inf)


@pytest.mark.parametrize("name", CASES)
def test_draws_have_the_mean_that_the_distribution_states(name):
    likelihood, outputs, *_ = CASES[name]
    q = likelihood.distribution(jax.tree.map(jnp.asarray, outputs))
    draws = jax.vmap(lambda key: q.sample(seed=key))(jax.random.split(KEY, 10_000))
    assert z_scores(np.asarray(draws), np.asarray(q.mean())).max() < 4


@pytest.mark.parametrize("name", DISCRETE)
def test_values_and_gradients_stay_finite_at_extreme_outputs_in_single_precision(name):
    likelihood, outputs, _, _, num_levels = CASES[name]
    with jax.enable_x64(False):
        x = jnp.array([0.0, 1.0, num_levels - 1], jnp.float32)
        for first in (-1e4, 1e4, 0.5):
            for second in (-30.0, 30.0):
                point = dict(zip(outputs, (jnp.full(3, first), jnp.full(3, second)), strict=False))
                value, gradient = jax.value_and_grad(lambda o: likelihood.log_prob(o, x).sum())(point)
                assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((value, gradient))), (first, second)


def test_the_tails_of_the_logistic_fall_at_the_rate_of_its_scale_and_single_precision_agrees():
    loc, log_scale, x = jnp.full(3, 0.5), jnp.full(3, np.log(0.002)), jnp.array([1.0, 2.0, 3.0])
    log_p = models.likelihoods.discretized_logistic().log_prob({"loc": loc, "log_scale": log_scale}, x)
    np.testing.assert_allclose(np.diff(log_p), 1 / (255 * 0.002), rtol=1e-10)  # Each below e^{-240}.
    single = {"loc": loc.astype(jnp.float32), "log_scale": log_scale.astype(jnp.float32)}
    found = models.likelihoods.discretized_logistic().log_prob(single, x.astype(jnp.float32))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, log_p, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in CASES if name != "discretized_logistic"])
def test_a_decoder_starts_at_the_mean_of_the_data(name):
    mean = np.array([0.2, 0.9, 0.5]) * (16 if name == "binomial" else 1)
    model = models.decoder(2, 3, likelihood=CASES[name][0], hidden=(), mean=mean)
    theta = jax.tree.map(lambda leaf: leaf * (leaf.ndim != 2), model.init(KEY))  # Without its weights.
    np.testing.assert_allclose(model.likelihood(theta, jnp.ones(2)).mean(), mean, rtol=1e-9)


def test_a_logistic_starts_at_the_mean_level():
    bias = likelihoods.discretized_logistic(256).bias([0.0, 51.0, 255.0], 3)
    np.testing.assert_allclose(bias["loc"], [0, 0.2, 1])


def test_hidden_pixels_drop_out_of_every_likelihood():
    visible = np.array([True, False, True])
    for likelihood, _, x, *_ in CASES.values():
        model = models.decoder(2, 3, likelihood=likelihood, hidden=())
        theta, z = model.init(KEY), jnp.array([0.3, -1.0])
        partial = models.observe(np.where(visible, x, np.nan), visible)
        seen = model.likelihood(theta, z)
        outputs = {name: z @ part["kernel"] + part["bias"] for name, part in theta.items() if type(part) is dict}
        outputs |= {name: part for name, part in theta.items() if name in likelihood.shared}
        terms = likelihood.log_prob(outputs, jnp.asarray(x, float))
        expected = model.prior(theta).log_prob(z) + terms[visible].sum()
        np.testing.assert_allclose(model.log_joint(theta, partial, z), expected, rtol=1e-10)
        np.testing.assert_allclose(seen.log_prob(jnp.asarray(x, float)), terms.sum(), rtol=1e-10)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: likelihoods.binomial(0), ValueError, "total must be at least 1, got 0"),
        (lambda: likelihoods.binomial(16.0), TypeError, "total must be .*16.0"),
        (lambda: likelihoods.discretized_logistic(1), ValueError, "num_levels must be at least 2, got 1"),
        (lambda: likelihoods.gaussian_fixed(0.0), ValueError, "scale must be positive and finite, got 0.0"),
        (lambda: likelihoods.gaussian().bias([1.0], 2), ValueError, r"mean must have shape \(2,\), got \(1,\)"),
        (lambda: likelihoods.gaussian().bias([np.nan], 1), ValueError, "mean must be finite"),
        (lambda: likelihoods.binomial(4).bias([5.0], 1), ValueError, "from 0.0 to 4, got values from 5.0"),
    ],
)
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
