"""Gradients that are not finite: reported step by step, skipped or stopped by choice."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vi_jax.training.finite import check_finite, num_nonfinite_gradients
from vi_jax.training.fit import fit
from vi_jax.training.step import init_state
from vi_jax.types import Params

ADAM = optax.apply_if_finite(optax.adam(0.1), max_consecutive_errors=5)
START = Params(jnp.zeros(()), jnp.array([1.0, 2.0]))
BAD = jnp.array([0, 0, 1, 0, 1, 1, 0, 0], bool)


def broken(key, params, x):
    """One number of φ̄ is infinite where the datum says so; the values are finite."""
    return jnp.zeros(1), Params(jnp.ones(()), jnp.where(x[0], jnp.array([1.0, jnp.inf]), -params.phi))


@pytest.fixture(scope="module")
def path():
    """States after each of 8 steps; the data say which are bad, by the number of the step."""
    state, states, reports = init_state(jax.random.key(0), ADAM, START), [], []
    for step in range(8):
        state, report = fit(None, broken, ADAM, state, BAD[step : step + 1], num_steps=1)
        states.append(state)
        reports.append(report)
    return states, jax.tree.map(lambda *leaves: np.concatenate(leaves), *reports)


def test_each_step_says_whether_its_gradient_was_finite(path):
    _, history = path
    np.testing.assert_array_equal(history.nonfinite_gradient, BAD)
    assert not history.num_nonfinite.any()
    assert num_nonfinite_gradients(history) == 3


def test_a_skipped_step_leaves_parameters_and_moments_as_they_were_and_is_counted(path):
    states, _ = path
    for step in np.flatnonzero(BAD):
        before, after = states[step - 1], states[step]
        jax.tree.map(np.testing.assert_array_equal, before.params, after.params)
        jax.tree.map(np.testing.assert_array_equal, before.opt_state.inner_state, after.opt_state.inner_state)
        assert after.step == step + 1
    assert (states[3].params.phi != states[2].params.phi).all()
    assert states[-1].opt_state.total_notfinite == 3


def test_the_check_names_the_first_step_and_the_remedy(path):
    _, history = path
    check_finite(jax.tree.map(lambda leaf: leaf[:2], history))
    with pytest.raises(FloatingPointError, match=r"gradient is not finite at step 103 \(in 3 of 8.*apply_if_finite"):
        check_finite(history, first_step=100)
    stacked = jax.tree.map(lambda leaf: np.stack([np.zeros_like(leaf), leaf]), history)
    with pytest.raises(FloatingPointError, match=r"of run 1 is not finite at step 3 \(in 3 of 16"):
        check_finite(stacked)
