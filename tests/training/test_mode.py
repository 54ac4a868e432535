"""Modes and Laplace approximations of densities whose answers are known, and of densities that have none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from vi_jax import training

PRECISION = jnp.array([[4.0, 1.5], [1.5, 1.0]])


def normal(z):
    return -z @ PRECISION @ z / 2


def slope(z):
    return z[0] - z[1] ** 2


def two_modes_by_a_cliff(z):
    """Modes at (±2, ±2); NaN beyond z_0 = 2.1, and +∞ further on."""
    return jnp.where(z[0] > 9, jnp.inf, jnp.where(z[0] > 2.1, jnp.nan, -jnp.sum((z**2 - 4) ** 2)))


def centred_schools(z):
    return vi.models.eight_schools(vi.models.CENTRED).log_joint((), jnp.asarray(vi.models.EIGHT_SCHOOLS.effects), z)


def funnel(z):
    return vi.models.funnel(10).model.log_joint((), None, z)


def test_every_start_finds_the_mode_of_its_basin_and_backs_off_from_nan_and_infinity():
    starts = jnp.array([[1.0, 5.0], [-3.0, 0.1], [-0.1, -40.0], [3.0, 0.0], [10.0, 0.0]])
    found = training.find_modes(two_modes_by_a_cliff, starts)
    np.testing.assert_allclose(np.abs(found.location[:3]), 2, atol=1e-3)
    assert np.sign(found.location[1]).tolist() == [-1, 1]
    assert found.converged.tolist() == [True, True, True, False, False]
    assert np.all(found.gradient_norm[:3] < 0.1)
    assert np.all(np.isneginf(found.log_density[3:]))


@pytest.mark.parametrize("density", [centred_schools, slope])
def test_a_density_without_a_maximum_ends_without_convergence(density):
    found = training.find_modes(density, jnp.stack([jnp.zeros(10), jnp.ones(10)]), num_steps=150)
    assert not np.any(found.converged)
    assert np.all(found.num_steps <= 150)


def test_the_funnel_has_its_mode_in_the_neck(x64):
    """At x = 0 the log density is −v²/18 − 9 v/2: v = −40.5, where no posterior mass is.

    The curvature in x is e^40 there, and what float32 leaves of the gradient depends on how it is compiled.
    """
    found = training.find_modes(funnel, jax.random.normal(jax.random.key(0), (2, 10)))
    assert np.all(found.converged)
    np.testing.assert_allclose(found.location[:, 0], -40.5, atol=0.1)


def test_laplace_of_a_gaussian_is_that_gaussian():
    mode = training.find_modes(normal, jnp.array([[3.0, -9.0]])).location[0]
    found = training.laplace(normal, mode)
    np.testing.assert_allclose(found.gaussian.loc, jnp.zeros(2), atol=1e-3)
    tril = found.gaussian.scale_tril
    np.testing.assert_allclose(tril @ tril.T, jnp.linalg.inv(PRECISION), rtol=1e-4)
    assert np.all(np.diagonal(tril) > 0)
    assert tril[0, 1] == 0
    assert found.num_repaired == 0


def test_laplace_at_a_saddle_says_what_it_repaired():
    found = training.laplace(lambda z: z[0] ** 2 / 2 - 2 * z[1] ** 2 + 0 * z[2], jnp.zeros(3))
    assert found.num_repaired == 2
    np.testing.assert_allclose(np.diagonal(found.gaussian.scale_tril)[:2], [1, 0.5], rtol=1e-4)
    assert np.all(np.isfinite(found.gaussian.scale_tril))


def test_float64_converges_further(x64):
    found = training.find_modes(normal, jnp.array([[3.0, -9.0]]), tolerance=1e-16)
    assert found.location.dtype == jnp.float64
    np.testing.assert_allclose(found.location[0], 0, atol=1e-7)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: training.find_modes(normal, jnp.zeros(2)), r"\[M, D\].*got shape \(2,\): one is z\[None\]"),
        (lambda: training.find_modes(normal, jnp.full((1, 2), jnp.nan)), "starts holds 2 NaN"),
        (lambda: training.find_modes(normal, jnp.zeros((1, 2)), tolerance=0.0), "above 0 nats, got 0.0"),
        (lambda: training.find_modes(normal, jnp.zeros((1, 2)), num_steps=0), "num_steps must be at least 1"),
        (lambda: training.laplace(normal, jnp.zeros((1, 2))), r"one point \[D\], got shape \(1, 2\)"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
