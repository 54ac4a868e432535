"""The library's own posteriors are targets too: the same numbers, z under its own names."""

import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi

NOTHING = jnp.zeros((1, 1))


def test_a_density_keeps_its_numbers():
    model = vi.models.funnel(3).model
    target = vi.models.as_target(model, NOTHING, 3)
    z = jnp.array([0.5, -1.0, 2.0])
    assert float(vi.models.log_density(target)(z)) == float(model.log_joint((), NOTHING[0], z))
    np.testing.assert_array_equal(target.unconstrain(target.constrain(z)), z)
    assert target.names == ("z[0]", "z[1]", "z[2]")


def test_a_regression_brings_its_data():
    rows = vi.models.Regression(jnp.array([[1.0, 2.0], [0.0, 1.0]]), jnp.array([1.0, 0.0]))
    target = vi.models.as_target(vi.models.logistic_regression(2, 2), vi.models.Regression(*(r[None] for r in rows)), 2)
    at_zero = vi.models.log_density(target)(jnp.zeros(2))
    assert float(at_zero) == pytest.approx(-np.log(2 * np.pi) - 2 * np.log(2), rel=1e-6)


@pytest.mark.parametrize(
    ("x", "dim", "message"),
    [
        (NOTHING, 4, r"z must have shape \(3,\)"),
        (jnp.zeros((2, 1)), 3, "x must hold ONE datum, B = 1, got 2"),
        (jnp.full((1, 1), jnp.nan), 3, "x holds 1 NaN"),
    ],
)
def test_what_does_not_fit_is_refused(x, dim, message):
    with pytest.raises(ValueError, match=message):
        vi.models.as_target(vi.models.funnel(3).model, x, dim)


def test_a_log_joint_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match=r"one number, in nats, got shape \(2,\)"):
        vi.models.as_target(vi.Model(lambda key: (), lambda theta, x, z: z), NOTHING, 2)
