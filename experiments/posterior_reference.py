"""NUTS where no reference is stored: four chains by BlackJAX, with what is needed to know how far to believe them."""

from typing import Any, NamedTuple

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import vi_jax as vi
from experiments.posterior_targets import Reference
from vi_jax.training import Gaussian

NUM_CHAINS = 4


class Chains(NamedTuple):
    """What the chains say of the P constrained numbers.

    Attributes:
      reference: moments, their Monte Carlo standard errors, and all draws.
      r_hat: the largest R̂ of a number.
      effective_sample_size: the smallest.
      num_divergent: transitions that diverged, of all.
    """

    reference: Reference
    r_hat: float
    effective_sample_size: float
    num_divergent: int


def nuts(key: jax.Array, target: vi.models.Target, start: Gaussian, *, num_steps: int) -> Chains:
    """Runs NUTS from draws of a Gaussian: `num_steps` of window adaptation a chain, then as many that are kept.

    The Monte Carlo standard error of a mean is sd/√ESS. R̂ and ESS are those of Gelman and others as BlackJAX has them.

    Hoffman and Gelman, "The No-U-Turn Sampler" (arXiv:1111.4246).
    """
    density = vi.models.log_density(target)
    library: Any = blackjax

    def chain(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        start_key, warm_key, key = jax.random.split(key, 3)
        position = start.loc + start.scale_tril @ jax.random.normal(start_key, start.loc.shape)
        warmup = library.window_adaptation(library.nuts, density, target_acceptance_rate=0.9)
        (state, tuned), _ = warmup.run(warm_key, position, num_steps)
        kernel = library.nuts(density, **tuned)

        def step(state: Any, key: jax.Array) -> tuple[Any, tuple[jax.Array, jax.Array]]:
            state, info = kernel.step(key, state)
            return state, (ravel_pytree(target.constrain(state.position))[0], info.is_divergent)

        return jax.lax.scan(step, state, jax.random.split(key, num_steps))[1]

    draws, divergent = jax.jit(jax.vmap(chain))(jax.random.split(key, NUM_CHAINS))
    r_hat = np.asarray(library.diagnostics.potential_scale_reduction(draws))
    sizes = np.asarray(library.diagnostics.effective_sample_size(draws))
    flat = np.asarray(draws).reshape(-1, draws.shape[-1])
    sd = flat.std(axis=0, ddof=1)
    reference = Reference("NUTS", flat.mean(axis=0), sd, sd / np.sqrt(sizes), flat)
    return Chains(reference, float(r_hat.max()), float(sizes.min()), int(jnp.sum(divergent)))
