"""Closed forms against quadrature, against each other, and against numbers found elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vi_jax import models

pytestmark = pytest.mark.usefixtures("x64")

RNG = np.random.default_rng(0)
ORDERS = (1.0, 0.5, -1.0, 2.0, -1e-6, 1 + 1e-6, -1000.0, 1000.0)


def random_covariance(dim):
    factor = RNG.normal(size=(dim, dim))
    return factor @ factor.T + 0.1 * np.eye(dim)


COVARIANCE = random_covariance(5)


def log_normal(z, mean, variance):
    return -jnp.log(2 * jnp.pi * variance) / 2 - (z - mean) ** 2 / (2 * variance)


def two_modes(distance, weight=0.5):
    parts = jnp.log(jnp.array([weight, 1 - weight])), jnp.array([-distance, distance])
    return lambda z: jax.nn.logsumexp(parts[0] + log_normal(z, parts[1], 1.0))


def test_kl_in_one_dimension_is_its_integral():
    exact = models.gaussian_kl([0.3], [[0.5]], [-1.0], [[2.0]])
    grid = jnp.linspace(-10, 10, 801)
    measured = models.quadrature_kl(lambda z: log_normal(z, 0.3, 0.5), lambda z: log_normal(z, -1.0, 2.0), grid)
    np.testing.assert_allclose(measured, exact, rtol=1e-13)
    assert models.gaussian_kl([0.3], [[0.5]], [0.3], [[0.5]]) == 0


def test_kl_in_three_dimensions_is_that_of_distrax_pairwise_and_asymmetric():
    q, p = ((RNG.normal(size=3), random_covariance(3)) for _ in range(2))
    as_target = [models.gaussian_target(*moments).posterior((), None) for moments in (q, p)]
    forward, reverse = models.gaussian_kl(*p, *q), models.gaussian_kl(*q, *p)
    np.testing.assert_allclose(reverse, as_target[0].kl_divergence(as_target[1]), rtol=1e-12)
    np.testing.assert_allclose(forward, as_target[1].kl_divergence(as_target[0]), rtol=1e-12)
    assert abs(forward - reverse) > 0.1


@pytest.mark.parametrize("alpha", [0.5, -1.0, 2.0])
def test_renyi_bound_in_one_dimension_is_its_integral(alpha):
    q, p = (0.3, 1.1), (-0.4, 1.3)
    z = jnp.linspace(-40, 40, 8001)
    log_q = log_normal(z, *q)
    log_w = log_normal(z, *p) - log_q
    integral = jnp.log(jnp.sum(jnp.exp(log_q + (1 - alpha) * log_w)) * (z[1] - z[0])) / (1 - alpha)
    exact = models.gaussian_renyi_bound([q[0]], [[q[1]]], [p[0]], [[p[1]]], alpha=alpha)
    np.testing.assert_allclose(exact, integral, rtol=1e-9)


def test_renyi_bound_falls_in_alpha_from_above_zero_through_zero_to_minus_kl_and_on():
    q, p = ((RNG.normal(size=3), random_covariance(3)) for _ in range(2))
    p = (p[0], p[1] + q[1])  # Wide enough that every order below 1 is finite... and those above are not all.
    values = [models.gaussian_renyi_bound(*p, *q, alpha=a) for a in (-0.5, 0.0, 0.5, 1 - 1e-9, 1.0, 1 + 1e-9)]
    assert np.all(np.diff(values) < 1e-12)
    assert values[0] > 0
    assert abs(values[1]) < 1e-14
    np.testing.assert_allclose(values[3:], -models.gaussian_kl(*p, *q), rtol=1e-7)


@pytest.mark.parametrize(("alpha", "infinity"), [(-1.0, np.inf), (3.0, -np.inf)])
def test_renyi_bound_is_infinite_where_the_mixed_precision_is_not_positive(alpha, infinity):
    # αΛ_q + (1−α)Λ_p changes sign at Λ_q = 2 Λ_p for α = −1, and at Λ_q = ⅔ Λ_p for α = 3.
    edge = 0.5 if alpha < 0 else 1.5
    outward = -1e-6 if alpha < 0 else 1e-6

    def bound(variance):
        return models.gaussian_renyi_bound([0.0], [[variance]], [0.2], [[1.0]], alpha=alpha)

    assert np.isfinite(bound(edge - outward))
    assert bound(edge + outward) == infinity
    assert jax.grad(bound)(edge + outward) == 0
    assert np.isfinite(jax.grad(bound)(edge - outward))


@pytest.mark.parametrize("alpha", ORDERS)
def test_mean_field_optimum_is_where_the_bound_has_no_slope(alpha):
    covariance = jnp.asarray(COVARIANCE)
    variances = models.mean_field_optimum(covariance, alpha=alpha)

    def bound(log_variances):
        centre, q = jnp.zeros(5), jnp.diag(jnp.exp(log_variances))
        return models.gaussian_renyi_bound(centre, q, centre, covariance, alpha=alpha)

    @jax.jit
    def around(optimum):
        values, slopes = jax.vmap(jax.value_and_grad(bound))(optimum + 1e-4 * jnp.eye(6, 5, k=-1))
        return values[1:] - values[0], slopes[0]

    rise, slope = around(jnp.log(variances))
    assert np.all(variances > 0)
    assert np.max(np.abs(slope)) < 1e-9
    # A lower bound is highest there, an upper bound lowest.
    assert np.all(rise * np.sign(alpha) <= 0)


def test_mean_field_optimum_has_the_known_numbers_and_grows_as_alpha_falls():
    covariance = np.array([[1.0, 0.9], [0.9, 1.0]])
    known = {2.0: None, 1.0: 0.19, 0.5: 0.43588989, 0.0: 1.0, -1.0: 1.43373972}
    found = [models.mean_field_optimum(covariance, alpha=alpha) for alpha in known]
    for value, expected in zip(found, known.values(), strict=True):
        assert expected is None or np.max(np.abs(value - expected)) < 1e-8
    assert np.all(np.diff(np.array(found)[:, 0]) > 0)
    bound = models.gaussian_renyi_bound(np.zeros(2), 0.19 * np.eye(2), np.zeros(2), covariance, alpha=1.0)
    np.testing.assert_allclose(bound, np.log(1 - 0.81) / 2, rtol=1e-12)


def test_mean_field_optimum_is_reverse_and_forward_kl_at_one_and_zero_in_the_datas_own_units():
    units = np.array([1.0, 10.0, 0.1, 3.0])
    covariance = random_covariance(4) * np.outer(units, units)
    reverse, forward = (models.mean_field_optimum(covariance, alpha=alpha) for alpha in (1.0, 0.0))
    np.testing.assert_allclose(reverse, 1 / np.diag(np.linalg.inv(covariance)), rtol=1e-10)
    np.testing.assert_allclose(forward, np.diag(covariance), rtol=1e-10)


@pytest.mark.parametrize(
    ("mean", "variance", "distance", "weight", "expected"),
    [
        (-3.99960, 1.001593, 4.0, 0.5, 0.6930529417),
        (0.0, 12.0598184, 4.0, 0.5, 1.8711965121),
        (0.0, 4.1902480, 2.0, 0.5, 0.2265079608),
        (-3.999391, 1.002379, 4.0, 0.3, 1.2038259822),
        (3.999742, 1.001058, 4.0, 0.3, 0.3566149685),
    ],
)
def test_quadrature_kl_of_two_modes_is_that_of_adaptive_quadrature(mean, variance, distance, weight, expected):
    # The expected values are those of scipy.integrate.quad, to 1e-10, minimised over mean and variance.
    target = two_modes(distance, weight)
    measured = models.quadrature_kl(lambda z: log_normal(z, mean, variance), target, jnp.linspace(-40, 40, 1601))
    np.testing.assert_allclose(measured, expected, atol=1e-9)


def test_quadrature_kl_exchanges_roles_and_skips_what_has_no_mass():
    grid = jnp.linspace(-40, 40, 1601)
    forward = models.quadrature_kl(two_modes(4.0), lambda z: log_normal(z, 0.0, 17.0), grid)
    assert abs(forward - 0.7235530265) < 1e-9

    def half_normal(z):
        return jnp.where(z < 0, -jnp.inf, log_normal(z, 0.0, 1.0) + jnp.log(2.0))

    cut = models.quadrature_kl(half_normal, lambda z: jnp.where(z < 0, -jnp.inf, log_normal(z, 0.0, 1.0)), grid)
    assert abs(cut - np.log(2)) < 0.05  # The jump at 0 costs the rule its accuracy, half a step's mass, and no more.


def test_quadrature_keeps_float32_precision():
    with jax.enable_x64(False):
        grid = jnp.linspace(-60, 60, 20001)
        value = models.quadrature_kl(lambda z: log_normal(z, 0.0, 17.0), lambda z: log_normal(z, 1.0, 17.0), grid)
        assert value.dtype == jnp.float32
        assert abs(value - 1 / 34) < 1e-5


def test_shapes_and_orders_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"cov_p must have shape \(2, 2\)"):
        models.gaussian_kl(np.zeros(2), np.eye(2), np.zeros(2), np.eye(3))
    with pytest.raises(ValueError, match="alpha must be a finite number"):
        models.mean_field_optimum(np.eye(2), alpha=np.inf)
    with pytest.raises(ValueError, match="square"):
        models.mean_field_optimum(np.ones(3), alpha=1.0)
    with pytest.raises(ValueError, match="grid"):
        models.quadrature_kl(jnp.sin, jnp.sin, jnp.zeros(()))
