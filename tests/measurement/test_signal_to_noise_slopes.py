"""The signal-to-noise ratio against K on the linear-Gaussian toy, as Rainforth et al. (arXiv:1802.04537) prove it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import vi_jax as vi

DIM, NUM_DATA, NUM_REPLICATES = 20, 16, 2000
NUM_SAMPLES = (16, 64, 256)
OBJECTIVES = {
    "pathwise": (vi.bounds.iwae, vi.estimators.pathwise),
    "doubly_reparameterized": (vi.bounds.iwae, vi.estimators.doubly_reparameterized),
    "wake_phi": (vi.bounds.iwae, vi.estimators.wake_phi),
    "wake_phi_doubly_reparameterized": (vi.bounds.iwae, vi.estimators.wake_phi_doubly_reparameterized),
}


@functools.cache
def toy():
    """Parameters within 0.01 of the optimum, where the asymptotics show by K = 256."""
    exact, guide = vi.models.linear_gaussian(DIM), vi.guides.affine(DIM, DIM, variance=2 / 3)
    data_key, noise_key = jax.random.split(jax.random.key(0))
    x = jax.vmap(lambda key: exact.model.sample(key, jnp.zeros(DIM))[0])(jax.random.split(data_key, NUM_DATA))
    mu, A, b = vi.models.linear_gaussian_optimum(x)
    flat, unravel = ravel_pytree(vi.Params(mu, vi.guides.Affine(A, b)))
    return exact.model, guide, unravel(flat + 0.01 * jax.random.normal(noise_key, flat.shape)), x


@functools.cache
def swept() -> vi.SweepResult:
    """Mean and variance of every coordinate of every estimator at every K, from the same draws."""
    return vi.sweep(
        jax.random.key(1), *toy(), objectives=OBJECTIVES, num_samples=NUM_SAMPLES, num_replicates=NUM_REPLICATES
    )


def gradient_moments(num_samples: int) -> dict[str, tuple[vi.Params, vi.Params]]:
    """Mean and variance of every estimator at one K."""
    result = swept()
    k = result.num_samples.index(num_samples)
    return {
        name: jax.tree.map(lambda leaf, o=o: leaf[o, k, 0], (result.mean, result.variance))
        for o, name in enumerate(result.objectives)
    }


def slope(name: str, signal: str, block: str) -> float:
    """Slope of log (mean over coordinates of |signal's mean| / name's standard deviation) against log K."""
    ratios = []
    for num_samples in NUM_SAMPLES:
        measured = gradient_moments(num_samples)
        mean, _ = ravel_pytree(getattr(measured[signal][0], block))
        variance, _ = ravel_pytree(getattr(measured[name][1], block))
        ratios.append(np.mean(np.abs(mean)) / np.mean(np.sqrt(variance)))
    return float(np.polyfit(np.log(NUM_SAMPLES), np.log(ratios), 1)[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "signal", "block", "expected"),
    [
        # The pathwise mean drowns at K = 256; the doubly reparameterized gradient has the same mean.
        ("pathwise", "doubly_reparameterized", "phi", -0.5),
        ("pathwise", "pathwise", "theta", 0.5),
        ("doubly_reparameterized", "doubly_reparameterized", "phi", 0.5),
        ("wake_phi", "wake_phi_doubly_reparameterized", "phi", 0.5),
        ("wake_phi_doubly_reparameterized", "wake_phi_doubly_reparameterized", "phi", 0.5),
    ],
)
def test_signal_to_noise_ratio_grows_or_falls_like_the_root_of_k(name, signal, block, expected):
    assert abs(slope(name, signal, block) - expected) < 0.07
