"""Wake-phase gradients: self-normalised, so biased by a stated amount, and blind to log Z."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.oracle import BOUNDS, WAKE
from tests.populations import LOG_JOINT, LOGITS, enumerate_gradients, gaussian_draws, z_scores
from vi_jax import bounds, estimators

pytestmark = pytest.mark.usefixtures("x64")

POSTERIOR = np.exp(LOG_JOINT) / np.exp(LOG_JOINT).sum()
FORWARD_KL_ASCENT = POSTERIOR - np.exp(LOGITS) / np.exp(LOGITS).sum()


def bias(num_samples: int) -> np.ndarray:
    return enumerate_gradients(jax.jit(estimators.wake_phi(bounds.iwae)), num_samples).mean()[1] - FORWARD_KL_ASCENT


def test_self_normalisation_biases_the_gradient_towards_zero():
    np.testing.assert_allclose(FORWARD_KL_ASCENT, (0.3606706, -0.03590698, -0.32476362), atol=1e-7)
    mean = enumerate_gradients(jax.jit(estimators.wake_phi(bounds.iwae)), 2).mean()[1]
    np.testing.assert_allclose(mean, (0.15089, 0.01854, -0.16942), atol=5e-6)


def test_one_draw_tells_nothing_of_the_posterior():
    """w̃ = 1 at K = 1: the expected score of q, which is zero."""
    np.testing.assert_allclose(
        enumerate_gradients(jax.jit(estimators.wake_phi(bounds.iwae)), 1).mean()[1], 0, atol=1e-12
    )


def test_bias_falls_like_one_over_k():
    """bias = c₁/K + c₂/K² + …: two of its points predict the third."""
    at_4, at_6, at_9 = (bias(k) for k in (4, 6, 9))
    c1, c2 = np.linalg.solve([[1 / 4, 1 / 16], [1 / 6, 1 / 36]], np.stack([at_4, at_6]))
    np.testing.assert_allclose(at_9, c1 / 9 + c2 / 81, atol=0.05 * np.abs(at_9).max())
    assert np.abs(at_9).max() < np.abs(at_6).max() < np.abs(at_4).max()


@pytest.mark.parametrize("bound", ["elbo", "renyi(0.5)", "cubo(2)", "user's blend"])
def test_phi_does_not_depend_on_the_bound(bound):
    log_w = jax.random.normal(jax.random.key(0), (5, 3)) * 4
    for row in WAKE.values():
        c, reference = (jax.jit(row.estimator(b))(log_w) for b in (BOUNDS[bound].bound, bounds.iwae))
        np.testing.assert_allclose(c.path, reference.path, atol=1e-12)
        np.testing.assert_allclose(c.score, reference.score, atol=1e-12)


@pytest.mark.parametrize("num_samples", [2, 4])
def test_both_forms_have_the_same_expectation(num_samples):
    draws = gaussian_draws(jax.random.key(1), num_samples, 40_000)
    plain, reparameterized = (draws.gradient(jax.jit(row.estimator(bounds.iwae))(draws.log_w)) for row in WAKE.values())
    assert z_scores(reparameterized - plain).max() < 4
    assert z_scores(plain)[1:].min() > 10  # and it is not zero


def test_reparameterized_form_is_the_operator_applied_to_the_plain_one():
    log_w = jax.random.normal(jax.random.key(2), (5, 3)) * 4
    operator = estimators.reparameterize_score(estimators.wake_phi)(bounds.iwae)(log_w)
    c = estimators.wake_phi_doubly_reparameterized(bounds.iwae)(log_w)
    weights = jax.nn.softmax(log_w, axis=0)
    np.testing.assert_allclose(c.path, operator.path, atol=1e-12)
    np.testing.assert_allclose(c.path, weights - weights**2, atol=1e-12)
    np.testing.assert_array_equal(c.score, operator.score)


@pytest.mark.parametrize("bound", [name for name in BOUNDS if "jackknife" not in name])  # needs two draws
def test_reparameterized_form_is_identically_zero_at_one_sample(bound):
    c = estimators.wake_phi_doubly_reparameterized(BOUNDS[bound].bound)(jnp.array([[0.0, -30.0, 800.0]]))
    np.testing.assert_array_equal((c.path, c.score), np.zeros((2, 1, 3)))


@pytest.mark.parametrize("offset", [-200.0, 200.0])
def test_weights_are_self_normalised_in_float32(offset):
    """Raw weights would scale the gradient by e^c, and be 0 or infinite in float32 beyond |c| ≈ 90."""
    log_w = jax.random.normal(jax.random.key(3), (6, 4), jnp.float32)
    for row in WAKE.values():
        c, moved = row.estimator(bounds.iwae)(log_w), row.estimator(bounds.iwae)(log_w + offset)
        np.testing.assert_allclose(moved.score, c.score, atol=3e-5)
        np.testing.assert_allclose(moved.path, c.path, atol=3e-5)
