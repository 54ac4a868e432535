"""Estimators through the draws: unbiased per coordinate on shared draws, or biased as stated."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.oracle import BOUNDS, LIBRARY_BOUNDS, SCORE, THROUGH_DRAWS, largest
from tests.populations import Draws, gaussian_draws, z_scores
from vi_jax import bounds, estimators


@pytest.fixture(autouse=True)
def _eager_x64() -> Iterator[None]:
    """Compiling a row costs ten times what running it does."""
    with jax.enable_x64(True), jax.disable_jit():
        yield


NUM_SAMPLES = 4
UNBIASED = SCORE | {"doubly_reparameterized": THROUGH_DRAWS["doubly_reparameterized"]}


@functools.cache
def population() -> Draws:
    return gaussian_draws(jax.random.key(0), NUM_SAMPLES, 20_000)


def gradients(coefficients) -> np.ndarray:
    return population().gradient(coefficients(population().log_w))


@functools.cache
def pathwise_gradients(bound: str) -> np.ndarray:
    return gradients(estimators.pathwise(BOUNDS[bound].bound))


@pytest.mark.parametrize("estimator", UNBIASED)
@pytest.mark.parametrize("bound", BOUNDS)
def test_unbiased_per_coordinate_on_shared_draws(bound, estimator):
    difference = gradients(UNBIASED[estimator].estimator(BOUNDS[bound].bound)) - pathwise_gradients(bound)
    np.testing.assert_allclose(difference[:, 0], 0, atol=1e-10)  # θ follows the bound, draw by draw
    assert z_scores(difference).max() < 4


@pytest.mark.parametrize("bound", ["iwae", "renyi(0.5)", "renyi(2)", "cubo(2)", "user's blend"])
def test_sticking_the_landing_is_biased_beyond_one_sample(bound):
    """By E Σ_k h_k ∂_z log w_k ∂_φ z_k: what it keeps of the path and the doubly reparameterized gradient does not."""
    log_w, library_bound = population().log_w, BOUNDS[bound].bound
    stl, dreg = (e(library_bound) for e in (estimators.sticking_the_landing, estimators.doubly_reparameterized))
    assert z_scores(gradients(stl) - pathwise_gradients(bound))[1:].max() > 10
    h = jax.vmap(lambda v: jnp.diag(jax.hessian(BOUNDS[bound].naive)(v)), 1, 1)(log_w)
    bias = jnp.einsum("kr,krp->rp", h, population().path)
    np.testing.assert_allclose(gradients(stl)[:, 1:], gradients(dreg)[:, 1:] + bias, atol=1e-9)


def test_sticking_the_landing_is_unbiased_for_the_elbo():
    difference = gradients(estimators.sticking_the_landing(bounds.elbo)) - pathwise_gradients("elbo")
    assert 0 < z_scores(difference)[1:].max() < 4


def test_doubly_reparameterized_needs_a_continuous_gradient():
    """On max(log w) the score function agrees with pathwise, and the second reparameterization is far off."""
    pathwise = gradients(estimators.pathwise(largest))
    assert z_scores(gradients(estimators.score_function(largest)) - pathwise).max() < 4
    assert z_scores(gradients(estimators.doubly_reparameterized(largest)) - pathwise)[1:].max() > 100


def test_the_operator_refuses_a_gradient_that_is_known_to_jump():
    operator = estimators.reparameterize_score(estimators.pathwise)
    assert operator.__name__ == "reparameterize_score(pathwise)"
    with pytest.raises(ValueError, match=r"reparameterize_score\(pathwise\) needs a bound whose derivative is cont"):
        operator(bounds.renyi(-jnp.inf))(jnp.zeros((3, 1)))


@pytest.mark.parametrize("bound", LIBRARY_BOUNDS)
def test_closed_form_is_the_operator_applied_to_pathwise(bound):
    log_w = population().log_w[:, :50]
    closed = estimators.doubly_reparameterized(LIBRARY_BOUNDS[bound].bound)(log_w)
    operator = estimators.reparameterize_score(estimators.pathwise)(LIBRARY_BOUNDS[bound].bound)(log_w)
    for field in ("model", "path", "score"):
        np.testing.assert_allclose(getattr(closed, field), getattr(operator, field), atol=1e-12)


@pytest.mark.parametrize("bound", LIBRARY_BOUNDS)
def test_one_draw_leaves_nothing_to_reparameterize(bound):
    """At K = 1 every bound is log w: a = 1, h = 0."""
    log_w = jnp.array([[0.3, -700.0, 5.0]])
    for estimator in (estimators.doubly_reparameterized, estimators.sticking_the_landing):
        c = estimator(LIBRARY_BOUNDS[bound].bound)(log_w)
        np.testing.assert_array_equal((c.model, c.path, c.score), (np.ones((1, 3)), np.ones((1, 3)), np.zeros((1, 3))))


@pytest.mark.parametrize("alpha", [0.5, 2.0, -1.0, 0.0, 1.0])
def test_doubly_reparameterized_renyi_weights(alpha):
    """α w̃ + (1−α) w̃² with w̃ = softmax((1−α) log w), which is w̃² for IWAE and 1/K for the ELBO."""
    log_w = population().log_w[:, :50]
    weights = jax.nn.softmax((1 - alpha) * log_w, axis=0)
    c = estimators.doubly_reparameterized(bounds.renyi(alpha))(log_w)
    np.testing.assert_allclose(c.path, alpha * weights + (1 - alpha) * weights**2, atol=1e-12)
    np.testing.assert_allclose(c.model, weights, atol=1e-12)


def gaussian_case(seed: int):
    """p = N(μ, Σ), q = N(m, S), log w up to a constant, and its derivative in z, for draws `[R, 2]` of q."""
    rng = np.random.default_rng(seed)
    mu, m = rng.normal(size=(2, 2))
    p_root, q_root = rng.normal(size=(2, 2, 2)) + 2 * np.eye(2)
    precision, covariance = np.linalg.inv(p_root @ p_root.T), q_root @ q_root.T
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)
    noise = np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2)
    probability = np.outer(weights, weights).ravel() / weights.sum() ** 2
    z = m + noise @ q_root.T
    slope = -(z - mu) @ precision + (z - m) @ np.linalg.inv(covariance)
    score = (z - m) @ np.linalg.inv(covariance)
    return precision, covariance, probability, slope, score


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_covariance_of_the_gaussian_mean_gradient_at_one_sample(seed):
    """By quadrature, which is exact here: P S P for pathwise, B S B with B = P − S⁻¹ for sticking the landing."""
    precision, covariance, probability, slope, score = gaussian_case(seed)
    # ∂_m z = 1, and the coefficients of one draw do not depend on log w.
    log_w = jnp.zeros((1, len(probability)))
    b = precision - np.linalg.inv(covariance)
    for estimator, expected in (
        (estimators.pathwise, precision @ covariance @ precision),
        (estimators.sticking_the_landing, b @ covariance @ b),
        (estimators.doubly_reparameterized, b @ covariance @ b),
    ):
        c = estimator(bounds.iwae)(log_w)
        g = np.asarray(c.path[0])[:, None] * slope + np.asarray(c.score[0])[:, None] * score
        g = g - probability @ g
        np.testing.assert_allclose(np.einsum("r,ri,rj->ij", probability, g, g), expected, atol=1e-10)
