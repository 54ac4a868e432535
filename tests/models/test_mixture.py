"""Targets: normalised, drawn from as they are scored, with the moments they state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vi_jax import models

X = np.zeros(1)
LINE = {
    "gaussian": models.gaussian_target([0.7], [[2.0]]),
    "mixture": models.gaussian_mixture([3.0, 7.0], [[-4.0], [4.0]], np.ones((2, 1, 1))),
    "gumbel": models.gumbel_target(),
    "student_t": models.student_t_target(9.0),
}


@pytest.mark.parametrize("name", LINE)
def test_a_target_on_a_line_is_normalised_and_has_the_moments_of_its_density_and_of_its_draws(name):
    exact = LINE[name]

    @jax.jit
    def evaluate(keys, grid):
        density = jnp.exp(jax.vmap(lambda z: exact.model.log_joint((), X, z))(grid[:, None]))
        draws = jax.vmap(lambda key: exact.posterior((), X).sample(seed=key))(keys)
        return density, draws

    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        grid = jnp.linspace(-60, 60, 24_001)
        density, draws = map(np.asarray, evaluate(jax.random.split(jax.random.key(3), 20_000), grid))
        grid = np.asarray(grid)
        stated = [float(m[0]) for m in (exact.posterior((), X).mean(), exact.posterior((), X).variance())]
    weights = density * (120 / 24_000)
    mean = np.sum(weights * grid)
    assert abs(weights.sum() - 1) < 1e-9
    np.testing.assert_allclose(stated, [mean, np.sum(weights * (grid - mean) ** 2)], rtol=1e-6, atol=1e-9)
    # The draws' distribution function against the density's, everywhere: Kolmogorov at a risk of 1e-4.
    below = np.interp(np.sort(draws[:, 0]), grid, np.cumsum(weights) - weights / 2)
    steps = np.arange(20_000) / 20_000
    assert np.max(np.abs(below - steps)) < 2.23 / np.sqrt(20_000)


def test_a_target_in_the_plane_has_the_covariance_it_was_given():
    covariance = np.array([[1.0, 0.9], [0.9, 2.0]])
    exact = models.gaussian_target([1.0, -2.0], covariance)
    keys = jax.random.split(jax.random.key(0), 20_000)
    draws = np.asarray(jax.jit(jax.vmap(lambda key: exact.posterior((), X).sample(seed=key)))(keys))
    errors = (np.cov(draws.T) - covariance) / np.sqrt((covariance**2 + np.outer(*[np.diag(covariance)] * 2)) / 20_000)
    assert np.max(np.abs(errors)) < 4
    assert np.max(np.abs(draws.mean(0) - [1, -2]) / np.sqrt(np.diag(covariance) / 20_000)) < 4


def test_a_model_of_one_component_is_its_gaussian_whatever_the_covariance_is_traced_from():
    covariances = np.array([[[1.0, 0.5], [0.5, 1.0]], [[2.0, 0.0], [0.0, 0.3]]], np.float32)
    z = jnp.array([0.3, -1.0])

    @jax.jit
    @jax.vmap
    def both(covariance):
        alone = models.gaussian_target(np.zeros(2), covariance)
        mixed = models.gaussian_mixture(np.ones(1), np.zeros((1, 2)), covariance[None])
        return alone.model.log_joint((), X, z), mixed.model.log_joint((), X, z)

    alone, mixed = both(covariances)
    np.testing.assert_allclose(alone, mixed, rtol=1e-6)
    quadratic = [z @ np.linalg.solve(c, z) + np.log(np.linalg.det(2 * np.pi * c)) for c in covariances]
    np.testing.assert_allclose(alone, -np.array(quadratic) / 2, rtol=1e-5)


def test_labels_are_drawn_as_they_are_scored():
    exact = models.mixture_labels(2, 1)
    theta = models.MixtureParams(jnp.log(jnp.array([0.2, 0.8])), jnp.array([[-5.0], [5.0]]), jnp.zeros((2, 1)))
    keys = jax.random.split(jax.random.key(1), 5000)
    x, z = jax.jit(jax.vmap(lambda key: exact.model.sample(key, theta)))(keys)
    assert abs(np.mean(z) - 0.8) < 4 * np.sqrt(0.16 / 5000)
    assert np.mean((x[:, 0] > 0) == (z == 1)) > 0.999
    assert exact.model.log_joint(theta, x[0], jnp.array(2)) == -np.inf
    np.testing.assert_allclose(exact.posterior(theta, jnp.zeros(1)).probs, [0.2, 0.8], rtol=1e-5)


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"covariance \[D, D\], got shapes"):
        models.gaussian_target([0.0, 1.0], [[1.0]])
    with pytest.raises(ValueError, match=r"\[M\], \[M, D\] and \[M, D, D\]"):
        models.gaussian_mixture([0.5, 0.5], [-4.0, 4.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="degrees must be positive"):
        models.student_t_target(0.0)
    with pytest.raises(ValueError, match=r"z must have shape \(1,\)"):
        LINE["gumbel"].model.log_joint((), X, jnp.zeros(3))
