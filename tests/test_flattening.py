"""Data and draws share one axis exactly where repeating x is free, and nothing but the time depends on it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from vi_jax.flattening import may_repeat
from vi_jax.log_weights import model_log_joint

THETA = jnp.arange(6.0).reshape(3, 2) / 4
X, Z = jnp.arange(15.0).reshape(5, 3) / 10, jnp.arange(40.0).reshape(5, 4, 2) / 30


def pixels(theta, x, z):
    return jnp.sum(jnp.where(x > 0.5, x * (theta @ z), -jnp.square(theta @ z)))


def network_of_x(theta, x, z):
    return jnp.sum(jnp.tanh(x @ theta) * z)


def matrix_of_x(theta, x, z):
    return jnp.sum(jnp.outer(x, x)[:2, :2] @ z)


def factorial_of_x(theta, x, z):
    return jnp.sum(theta @ z - jax.scipy.special.gammaln(x + 1))


def loop_over_x(theta, x, z):
    return jax.lax.scan(lambda carry, x: (carry * x, None), jnp.sum(theta @ z), x)[0]


def triangle_of_x(theta, x, z):
    return jnp.sum(jax.scipy.linalg.solve_triangular(jnp.outer(x, x)[:2, :2] + jnp.eye(2), z))


def loop_of_unknown_length(theta, x, z):
    return jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * x[0]), (0, jnp.sum(theta @ z)))[1]


CASES = {pixels: True} | dict.fromkeys(
    (network_of_x, matrix_of_x, factorial_of_x, loop_over_x, triangle_of_x, loop_of_unknown_length), False
)


@pytest.mark.parametrize("log_joint", CASES, ids=lambda f: f.__name__)
def test_x_is_repeated_where_nothing_dear_is_done_with_it(log_joint):
    assert may_repeat(log_joint, THETA, X, Z) == CASES[log_joint]


@pytest.mark.parametrize("log_joint", CASES, ids=lambda f: f.__name__)
def test_the_log_joint_of_every_pair_is_that_of_the_pair_alone(log_joint):
    model = vi.Model(lambda key: THETA, log_joint)
    expected = [[log_joint(THETA, x, z) for z in draws] for x, draws in zip(X, Z, strict=True)]
    np.testing.assert_allclose(model_log_joint(model, THETA, X, Z), expected, rtol=1e-5, atol=1e-6)


def test_the_decoder_of_the_library_shares_one_axis():
    model = vi.models.bernoulli_decoder(2, 3, hidden=(4,))
    assert may_repeat(model.log_joint, model.init(jax.random.key(0)), X, Z)
