"""Maximum likelihood by the exact evidence: its gradient, and where climbing it ends."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import vi_jax as vi
from vi_jax import models, objectives

pytestmark = pytest.mark.usefixtures("x64")
TOY = models.linear_gaussian(2)
OBJECTIVE = objectives.maximum_likelihood(TOY)


def test_value_and_gradient_are_the_closed_form_and_the_guide_stays():
    x, params = jax.random.normal(jax.random.key(0), (5, 2)), vi.Params(jnp.array([0.3, -1.0]), {"any": jnp.ones(3)})
    values, gradient = OBJECTIVE(jax.random.key(1), params, x)
    np.testing.assert_allclose(values, jax.vmap(TOY.log_evidence, in_axes=(None, 0))(params.theta, x), rtol=1e-12)
    np.testing.assert_allclose(gradient.theta, (x.mean(axis=0) - params.theta) / 2, rtol=1e-12)
    np.testing.assert_array_equal(gradient.phi["any"], 0)


def test_climbing_it_ends_at_the_mean_of_the_data():
    x = jax.random.normal(jax.random.key(0), (5, 2))
    state, _ = vi.fit(jax.random.key(1), OBJECTIVE, optax.sgd(1.0), vi.Params(jnp.zeros(2), ()), x, num_steps=60)
    np.testing.assert_allclose(state.params.theta, x.mean(axis=0), atol=1e-12)


def test_nan_in_the_data_is_named():
    with pytest.raises(ValueError, match="x holds 1 NaN"):
        OBJECTIVE(jax.random.key(1), vi.Params(jnp.zeros(2), ()), jnp.array([[jnp.nan, 0.0]]))
