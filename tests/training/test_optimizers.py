"""θ and φ apart: a half that is frozen stays bit for bit, and each half moves as it would alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vi_jax.training.fit import fit
from vi_jax.training.optimizers import separate
from vi_jax.types import Params

KEY = jax.random.key(0)
START = Params({"w": jnp.array([1.0, -2.0])}, jnp.array(3.0))
SGD, ADAM, FROZEN = optax.sgd(0.1), optax.adam(0.1), optax.set_to_zero()


def objective(key, params, x):
    """θ̄ = −θ, φ̄ = noise − φ."""
    noise = jax.random.normal(key)
    return x, Params({"w": -params.theta["w"]}, noise - params.phi)


def final(optimizer, start=START, objective=objective):
    return fit(KEY, objective, optimizer, start, jnp.zeros(1), num_steps=5)[0].params


def test_each_half_moves_as_it_would_under_its_optimizer_alone():
    both = final(separate(theta=SGD, phi=ADAM))
    # Different programs, in which the compiler may round differently.
    np.testing.assert_allclose(both.theta["w"], final(SGD).theta["w"], rtol=1e-6)
    np.testing.assert_allclose(both.phi, final(ADAM).phi, rtol=1e-6)


@pytest.mark.parametrize("frozen", ["theta", "phi"])
def test_a_frozen_half_is_unchanged_bit_for_bit_and_the_other_moves(frozen):
    found = final(separate(**({"theta": SGD, "phi": ADAM} | {frozen: FROZEN})))
    other = "phi" if frozen == "theta" else "theta"
    jax.tree.map(np.testing.assert_array_equal, getattr(found, frozen), getattr(START, frozen))
    assert all(
        jax.tree.leaves(jax.tree.map(lambda a, b: bool((a != b).all()), getattr(found, other), getattr(START, other)))
    )


def test_an_empty_half_is_no_obstacle():
    def without_theta(key, params, x):
        return x, Params((), -params.phi)

    found = final(separate(theta=ADAM, phi=SGD), Params((), jnp.array(3.0)), without_theta)
    np.testing.assert_allclose(found.phi, 3 * 0.9**5, rtol=1e-6)
