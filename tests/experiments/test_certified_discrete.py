"""Every row of the certificate of discrete latents and their relaxations does what it claims, in one program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import certified_discrete, certified_relaxed
from experiments.claims import BIASED
from tests.populations import z_scores
from vi_jax import bounds

NUM_REPLICATES = 20_000
# The most draws where there must be no bias, and the fewest where there must be one.
ROWS = [
    (row, row.num_samples[0 if row.kind == BIASED else -1]) for row in certified_discrete.ROWS + certified_relaxed.ROWS
]


@pytest.fixture(scope="module")
def measured():
    with jax.enable_x64(True):
        problems = [row.build(num_samples) for row, num_samples in ROWS]
        keys = jax.random.split(jax.random.key(0), NUM_REPLICATES)
        every = jax.jit(lambda keys: [jax.lax.map(p.estimate, keys, batch_size=4000) for p in problems])
        return [(np.asarray(found), problem.exact) for found, problem in zip(every(keys), problems, strict=True)]


def test_every_claim_holds(measured):
    assert len(measured) >= 15
    wrong = []
    for (row, _), (found, exact) in zip(ROWS, measured, strict=True):
        assert found.shape == (NUM_REPLICATES, *exact.shape)
        if row.zero_variance:
            holds = np.abs(found - exact).max() < 1e-10
        else:
            worst = z_scores(found, exact).max()
            holds = worst > 10 if row.kind == BIASED else worst < 5
        wrong += [] if holds else [(row.family, row.target, row.estimator)]
    assert wrong == []


def test_the_quadrature_of_the_relaxed_bound_is_the_sum_over_pairs_of_nodes():
    with jax.enable_x64(True):

        def expected(theta, logit):
            law = certified_relaxed.relaxed_law(theta, logit)
            log_w = jnp.stack(jnp.meshgrid(law.log_w[::4], law.log_w[::4]))
            probability = jnp.exp(law.log_prob[::4, None] + law.log_prob[::4]) * 16
            return jnp.sum(probability * bounds.iwae(log_w))

        params = certified_discrete.point(1)
        exact = np.append(*jax.jit(jax.grad(expected, (0, 1)))(params.theta, params.phi[0]))
        np.testing.assert_allclose(certified_relaxed.exact_relaxed("iwae", 2), exact, rtol=1e-7)
