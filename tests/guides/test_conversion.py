"""Starts: what a family can hold it holds exactly, what it cannot is the stated projection."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vi_jax import guides

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
DIM = 6
LOC = RNG.normal(size=DIM)
FACTORS = RNG.normal(size=(DIM, 1))
LOW_RANK_COVARIANCE = np.diag(RNG.uniform(0.2, 0.6, DIM)) + FACTORS @ FACTORS.T
SCALE_TRIL = np.tril(RNG.normal(size=(DIM, DIM)), -1) + np.diag(RNG.uniform(0.5, 2, DIM))
POINTS = RNG.normal(size=(5, DIM)) * 2
MEAN_FIELD = guides.MeanField(LOC, RNG.normal(size=DIM))  # NumPy, so that the precision is that of the test.


def log_prob(guide, phi):
    return jax.jit(lambda phi: jax.vmap(guide.distribution(phi, ()).log_prob)(jnp.asarray(POINTS)))(phi)


def test_full_rank_is_the_gaussian_and_gives_its_factor_back():
    phi = guides.full_rank_from_gaussian(LOC, SCALE_TRIL)
    expected = stats.multivariate_normal(LOC, SCALE_TRIL @ SCALE_TRIL.T).logpdf(POINTS)
    np.testing.assert_allclose(log_prob(guides.full_rank(DIM), phi), expected, rtol=1e-10)
    np.testing.assert_allclose(guides.scale_tril(phi), SCALE_TRIL, rtol=1e-12)


@pytest.mark.parametrize("make", [guides.flow, guides.spline_flow])
def test_a_flow_starts_as_the_full_rank_gaussian_exactly(make):
    phi = guides.full_rank_from_gaussian(LOC, SCALE_TRIL)
    flow = make(DIM, base=guides.full_rank, num_layers=2, coupling_hidden=(4,))
    found = log_prob(flow, guides.flow_from_full_rank(flow, KEY, phi))
    np.testing.assert_allclose(found, log_prob(guides.full_rank(DIM), phi), rtol=1e-10)
    with pytest.raises(ValueError, match=r"guides.flow\(6, base=guides.full_rank\)"):
        guides.flow_from_full_rank(make(DIM, num_layers=1), KEY, phi)


def test_from_mean_field_full_rank_is_the_same_density_and_low_rank_nearly():
    expected = log_prob(guides.mean_field(DIM), MEAN_FIELD)
    full = log_prob(guides.full_rank(DIM), guides.full_rank_from_mean_field(MEAN_FIELD))
    np.testing.assert_allclose(full, expected, rtol=1e-12)
    phi = guides.low_rank_from_mean_field(KEY, MEAN_FIELD, rank=2)
    np.testing.assert_allclose(log_prob(guides.low_rank(DIM, 2), phi), expected, rtol=1e-5)
    variance = guides.low_rank(DIM, 2).distribution(phi, ()).variance()
    np.testing.assert_allclose(variance, np.exp(2 * MEAN_FIELD.log_scale), rtol=1e-12)
    assert np.all(np.asarray(phi.factors) != 0)


def test_mean_field_is_where_the_reverse_divergence_from_the_gaussian_is_least():
    """Its gradient there is zero, in closed form: Σ_jj of the precision times the variance is one."""
    full = guides.full_rank_from_gaussian(LOC, SCALE_TRIL)
    target = guides.full_rank(DIM).distribution(full, ())

    def divergence(phi):
        return guides.mean_field(DIM).distribution(phi, ()).kl_divergence(target)

    phi = guides.mean_field_from_full_rank(full)
    slope = jax.jit(jax.grad(divergence))(phi)
    np.testing.assert_allclose(slope.loc, 0, atol=1e-10)
    np.testing.assert_allclose(slope.log_scale, 0, atol=1e-10)


def test_low_rank_recovers_a_covariance_of_its_form_and_keeps_every_variance_of_another():
    phi = guides.low_rank_from_gaussian(LOC, np.linalg.cholesky(LOW_RANK_COVARIANCE), rank=1)
    expected = stats.multivariate_normal(LOC, LOW_RANK_COVARIANCE).logpdf(POINTS)
    np.testing.assert_allclose(log_prob(guides.low_rank(DIM, 1), phi), expected, rtol=1e-8)
    other = SCALE_TRIL @ SCALE_TRIL.T
    q = guides.low_rank(DIM, 1).distribution(guides.low_rank_from_gaussian(LOC, SCALE_TRIL, rank=1), ())
    np.testing.assert_allclose(q.variance(), np.diag(other), rtol=1e-10)
    off = ~np.eye(DIM, dtype=bool)
    assert np.linalg.norm((q.covariance() - other)[off]) < 0.9 * np.linalg.norm(other[off])
    with pytest.raises(ValueError, match="rank must be at most D = 6, got 7"):
        guides.low_rank_from_gaussian(LOC, SCALE_TRIL, rank=7)


def test_mixture_components_are_spread_like_the_gaussian_and_as_narrow_as_its_mean_field():
    phi = guides.gaussian_mixture_from_gaussian(KEY, LOC, SCALE_TRIL, num_components=2000, spread=2.0)
    whitened = np.linalg.solve(SCALE_TRIL, (np.asarray(phi.loc) - LOC).T) / 2
    np.testing.assert_allclose(whitened @ whitened.T / 2000, np.eye(DIM), atol=5 * (2 / 2000) ** 0.5)
    np.testing.assert_allclose(phi.log_scale[7], guides.mean_field_from_gaussian(LOC, SCALE_TRIL).log_scale)
    np.testing.assert_array_equal(phi.logits, 0)


@pytest.mark.parametrize(
    ("loc", "scale_tril", "message"),
    [
        (LOC[:3], SCALE_TRIL, r"got shapes \(3,\) and \(6, 6\)"),
        (LOC * np.nan, SCALE_TRIL, "loc holds 6 numbers that are not finite"),
        (LOC, SCALE_TRIL @ SCALE_TRIL.T, r"lower triangular .* pass jnp.linalg.cholesky\(covariance\)"),
        (LOC, -np.eye(DIM), "positive diagonal"),
    ],
)
def test_what_is_no_gaussian_is_named(loc, scale_tril, message):
    for start in (guides.full_rank_from_gaussian, guides.mean_field_from_gaussian):
        with pytest.raises(ValueError, match=message):
            start(loc, scale_tril)
    with pytest.raises(ValueError, match=message):
        guides.preconditioned(guides.mean_field(DIM), loc, scale_tril)
