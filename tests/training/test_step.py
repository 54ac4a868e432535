"""One step: the sign is turned once, the draws belong to the step, and wrong objectives are refused by name."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vi_jax.training.step import init_state, make_step
from vi_jax.types import Params

PARAMS = Params(theta={"loc": jnp.array([1.0, -2.0])}, phi=jnp.array(0.5))
DATA = jnp.array([[0.0, 1.0], [2.0, 3.0], [4.0, -1.0]])


def quadratic(key, params, x):
    """−½|x_b − θ|² − φ: θ̄ = mean(x) − θ, φ̄ = −1."""
    del key
    values = -0.5 * jnp.sum((x - params.theta["loc"]) ** 2, axis=1) - params.phi
    return values, Params({"loc": x.mean(0) - params.theta["loc"]}, -jnp.ones(()))


def test_a_step_of_gradient_descent_goes_up_by_the_rate_times_the_gradient():
    step = make_step(quadratic, optax.sgd(0.1))
    state, report = step(init_state(jax.random.key(0), optax.sgd(0.1), PARAMS), DATA)
    # mean(x) = (2, 1), so θ̄ = (1, 3) and φ̄ = −1.
    np.testing.assert_allclose(state.params.theta["loc"], [1.1, -1.7], rtol=1e-6)
    np.testing.assert_allclose(state.params.phi, 0.4, rtol=1e-6)
    values = [-0.5 * (1 + 9) - 0.5, -0.5 * (1 + 25) - 0.5, -0.5 * (9 + 1) - 0.5]
    np.testing.assert_allclose(report.value, np.mean(values), rtol=1e-6)
    np.testing.assert_allclose(report.gradient_norm, (np.sqrt(10.0), 1.0), rtol=1e-6)
    assert int(state.step) == 1


def test_the_draws_belong_to_the_key_and_the_step_alone():
    def noise(key, params, x):
        return jnp.full(len(x), jax.random.normal(key)), jax.tree.map(jnp.zeros_like, params)

    optimizer = optax.sgd(1.0)
    step = make_step(noise, optimizer)
    state = init_state(jax.random.key(0), optimizer, PARAMS)
    later, first = step(state, DATA)
    _, second = step(later, DATA)
    _, again = step(state._replace(step=jnp.int32(1), params=jax.tree.map(jnp.zeros_like, PARAMS)), DATA)
    assert first.value != second.value
    assert second.value == again.value
    # A `prepare` draws from a key of its own and leaves the objective's draws as they are.
    _, prepared = make_step(noise, optimizer, lambda key, x: x + jax.random.normal(key))(state, DATA)
    assert prepared.value == first.value


def test_prepare_and_objective_draw_from_different_keys():
    def echo(key, params, x):
        return jax.random.normal(key, x.shape) - x, jax.tree.map(jnp.zeros_like, params)

    step = make_step(echo, optax.sgd(1.0), lambda key, x: jax.random.normal(key, x.shape))
    _, report = step(init_state(jax.random.key(0), optax.sgd(1.0), PARAMS), jnp.zeros(1))
    assert abs(report.value) > 1e-3


def test_values_that_are_not_finite_are_counted_one_by_one():
    def gaps(key, params, x):
        del key
        return x, jax.tree.map(jnp.zeros_like, params)

    step = make_step(gaps, optax.sgd(1.0))
    state = init_state(jax.random.key(0), optax.sgd(1.0), PARAMS)
    _, report = step(state, jnp.array([0.0, -jnp.inf, jnp.nan, 1.0, jnp.inf]))
    assert report.num_nonfinite == 3
    assert step(state, jnp.ones(4))[1].num_nonfinite == 0


def test_an_empty_block_has_norm_zero_and_python_numbers_become_arrays():
    def objective(key, params, x):
        del key
        return x - params.phi, Params((), -jnp.ones(()))

    optimizer = optax.adam(0.1)
    state = init_state(jax.random.key(0), optimizer, Params((), 1.0))
    assert not state.params.phi.weak_type
    state, report = make_step(objective, optimizer)(state, jnp.ones(3))
    assert report.gradient_norm == Params(0.0, 1.0)
    assert state.extra == ()


@pytest.mark.parametrize(
    ("values", "gradient", "message"),
    [
        (jnp.zeros(()), PARAMS, r"one value per datum, \[B\]; got shape \(\)"),
        (jnp.zeros(3), Params({"other": jnp.zeros(2)}, jnp.zeros(())), "structure of params.*'loc'.*got.*'other'"),
        (jnp.zeros(3), Params({"loc": jnp.zeros(1)}, jnp.zeros(())), r"theta\['loc'\] is float32\[2\].*float32\[1\]"),
        (jnp.zeros(3), Params({"loc": jnp.zeros(2)}, jnp.zeros((), jnp.bfloat16)), r"phi is float32\[\].*bfloat16\[\]"),
    ],
)
def test_an_objective_that_returns_something_else_is_refused_by_name(values, gradient, message):
    step = make_step(lambda key, params, x: (values, gradient), optax.sgd(1.0))
    with pytest.raises(ValueError, match=message):
        step(init_state(jax.random.key(0), optax.sgd(1.0), PARAMS), DATA)


def test_parameters_that_are_not_params_are_refused():
    with pytest.raises(TypeError, match=r"must be Params.*got tuple"):
        init_state(jax.random.key(0), optax.sgd(1.0), (1.0, 2.0))  # pyright: ignore[reportArgumentType]
