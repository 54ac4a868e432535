"""The bijections of the supports: onto the set, and with the determinant that autodiff gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from vi_jax.models import supports

SUPPORTS = {
    "real": (supports.real, 3, lambda v: v),
    "positive": (supports.positive, 3, lambda v: v),
    "unit_interval": (supports.unit_interval, 3, lambda v: v),
    "interval": (supports.interval(-2.0, np.array([3.0, 4.0, 5.0])), 3, lambda v: v),
    "greater_than": (supports.greater_than(1.5), 3, lambda v: v),
    "less_than": (supports.less_than(-1.5), 3, lambda v: v),
    "ordered": (supports.ordered, 3, lambda v: v),
    "simplex": (supports.simplex, 3, lambda v: v[:-1]),
    "correlation_cholesky": (supports.correlation_cholesky, 3, lambda v: v[np.tril_indices(3, -1)]),
}


@pytest.mark.parametrize("name", SUPPORTS)
def test_a_bijection_has_its_determinant_and_its_inverse(name):
    support, size, coordinates = SUPPORTS[name]
    with jax.enable_x64(True):
        u = 1.5 * jax.random.normal(jax.random.key(1), (size,))
        value = support.constrain(u)
        jacobian = jax.jacobian(lambda u: ravel_pytree(coordinates(support.constrain(u)))[0])(u)
        assert np.linalg.slogdet(jacobian)[1] == pytest.approx(float(support.log_det(u)), rel=1e-9, abs=1e-9)
        np.testing.assert_allclose(support.unconstrain(value), u, rtol=1e-8)
        assert bool(support.contains(value))


def test_a_uniform_correlation_has_light_tails():
    """r = tanh u: log (1 − r²) = −2 u + log 4 far out."""
    log_p = [float(supports.correlation_cholesky.log_det(jnp.full(1, u))) for u in (8.0, 10.0)]
    np.testing.assert_allclose(log_p, [-16 + np.log(4), -20 + np.log(4)], atol=1e-4)


@pytest.mark.parametrize("name", SUPPORTS)
def test_leading_axes_are_independent_copies(name):
    support, size, _ = SUPPORTS[name]
    u = jax.random.normal(jax.random.key(2), (4, size))
    np.testing.assert_allclose(support.constrain(u), jax.vmap(support.constrain)(u), rtol=1e-6)
    assert float(support.log_det(u)) == pytest.approx(float(jax.vmap(support.log_det)(u).sum()), rel=1e-5)
    assert bool(support.contains(support.constrain(u)))


@pytest.mark.parametrize(
    ("support", "outside"),
    [
        (supports.real, np.inf),
        (supports.positive, 0.0),
        (supports.positive, np.nan),
        (supports.unit_interval, 1.0),
        (supports.interval(1, 2), 2.5),
        (supports.greater_than(1), 1.0),
        (supports.greater_than(1), 0.5),
        (supports.interval(1, 2), 0.5),
        (supports.positive, -1.0),
        (supports.less_than(1), 2.0),
        (supports.ordered, np.array([0.0, 2.0, 1.0])),
        (supports.ordered, 1.0),
        (supports.simplex, np.array([0.3, 0.3, 0.3])),
        (supports.simplex, np.array([1.2, -0.2])),
        (supports.correlation_cholesky, np.array([[1.0, 0.0], [0.5, 0.5]])),
        (supports.correlation_cholesky, np.array([[1.0, 0.1], [0.0, 1.0]])),
        (supports.correlation_cholesky, np.ones(3)),
    ],
)
def test_what_is_outside_is_seen(support, outside):
    assert not bool(support.contains(jnp.asarray(outside)))


@pytest.mark.parametrize(
    ("support", "inside"),
    [
        (supports.positive, 0.1),
        (supports.unit_interval, 0.9),
        (supports.interval(1, 2), 1.5),
        (supports.greater_than(1), 2.0),
        (supports.less_than(1), 0.5),
        (supports.ordered, np.array([-1.0, 2.0])),
        (supports.simplex, np.array([0.9, 0.1])),
        (supports.correlation_cholesky, np.array([[1.0, 0.0], [0.6, 0.8]])),
    ],
)
def test_what_is_inside_is_reached(support, inside):
    inside = jnp.asarray(inside)
    assert bool(support.contains(inside))
    np.testing.assert_allclose(support.constrain(support.unconstrain(inside)), inside, rtol=1e-5)


@pytest.mark.parametrize(
    "make", [lambda: supports.interval(1, 1), lambda: supports.greater_than(np.inf), lambda: supports.less_than(np.nan)]
)
def test_bounds_that_are_none_are_refused(make):
    with pytest.raises(ValueError, match="finite"):
        make()
