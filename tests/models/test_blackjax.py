"""A `logdensity_fn` of BlackJAX and a target are the same thing: one becomes the other, and NUTS takes it."""

from typing import Any

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import stats

import vi_jax as vi

POSITION = {"height": 2.0, "scale": 1.0}
NUM_CHAINS, NUM_STEPS = 32, 300


def logdensity_fn(position):
    """height ~ N(2, 0.5²) and scale ~ Gamma(4), independent."""
    return stats.norm.logpdf(position["height"], 2.0, 0.5) + stats.gamma.logpdf(position["scale"], 4.0)


def test_a_logdensity_fn_is_a_target_as_it_stands():
    def real(position):
        return logdensity_fn({**position, "scale": jnp.exp(position["scale"])})

    target = vi.models.unconstrained(real, like=POSITION)
    np.testing.assert_array_equal(target.start, [2.0, 1.0])
    np.testing.assert_array_equal(vi.models.log_density(target)(jnp.asarray(target.start)), real(POSITION))


def test_nuts_on_a_target_has_the_moments_of_the_posterior():
    target = vi.models.unconstrained(logdensity_fn, POSITION, {"scale": vi.models.supports.positive})
    make: Any = blackjax.nuts
    nuts = make(vi.models.log_density(target), step_size=0.5, inverse_mass_matrix=jnp.array([0.25, 0.28]))

    def chain(key):
        def step(state, key):
            state, _ = nuts.step(key, state)
            return state, target.constrain(state.position)

        return jax.lax.scan(step, nuts.init(jnp.asarray(target.start)), jax.random.split(key, NUM_STEPS))[1]

    draws = jax.jit(jax.vmap(chain))(jax.random.split(jax.random.key(0), NUM_CHAINS))
    for name, mean, variance in (("height", 2.0, 0.25), ("scale", 4.0, 4.0)):
        values = np.asarray(draws[name])[:, 50:]
        for found, exact in ((values, mean), ((values - mean) ** 2, variance)):
            of_chains = found.mean(axis=1)
            assert abs(of_chains.mean() - exact) < 4 * of_chains.std(ddof=1) / NUM_CHAINS**0.5
