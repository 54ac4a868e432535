"""The evidence between its bounds, where it is known: p = N(0, I) with log Z = −3, q = N(0, s² I)."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vi_jax.measurement import evidence_sandwich

LOG_Z = -3.0


def log_weights(scale, draws):
    log_ratio = -(draws**2) / 2 + (draws / scale) ** 2 / 2 + math.log(scale)
    return LOG_Z + jnp.sum(log_ratio, axis=1)


def kl(one, other, dim):
    """KL(N(0, one²) ‖ N(0, other²)) in dim dimensions."""
    return dim * (math.log(other / one) + (one / other) ** 2 / 2 - 0.5)


@pytest.mark.parametrize("scale", [0.8, 1.5])
def test_the_evidence_lies_between_bounds_of_known_expectation(scale):
    noise, exact = jax.random.normal(jax.random.key(0), (2, 4096, 3))
    found = evidence_sandwich(log_weights(scale, scale * noise), reference_log_w=log_weights(scale, exact))
    assert found.eubo is not None
    for bound, truth in ((found.elbo, LOG_Z - kl(scale, 1, 3)), (found.eubo, LOG_Z + kl(1, scale, 3))):
        assert abs(bound.value - truth) < 4 * bound.standard_error
        assert bound.standard_error < 0.1
    assert found.reliable
    assert found.interval[0] < LOG_Z < found.interval[1]
    assert found.elbo.value < found.iwae.value < found.interval[1]
    assert found.iwae_num_samples == 128
    if scale > 1:
        # Var w is finite for s² > ½, and E w² in closed form: Z² s² / √(2 s² − 1) per dimension.
        cubo = LOG_Z + 1.5 * math.log(scale**2 / math.sqrt(2 * scale**2 - 1))
        assert abs(found.cubo.value - cubo) < 4 * found.cubo.standard_error


def test_heavy_tails_leave_a_lower_bound_alone():
    noise = jax.random.normal(jax.random.key(1), (4096, 30))
    found = evidence_sandwich(log_weights(0.3, 0.3 * noise), exact_upper=-2.0)
    assert not found.reliable
    assert found.interval[0] < LOG_Z
    assert found.interval[1] == np.inf
    assert found.exact_upper == -2.0
    # E w² is infinite, and so is the CUBO; its estimate lies below what it is named to bound.
    assert found.cubo.value < LOG_Z


def test_equal_weights_need_no_tail_and_weights_without_a_number_are_not_reliable():
    assert evidence_sandwich(jnp.full(4096, LOG_Z)).reliable
    found = evidence_sandwich(jnp.full(4096, LOG_Z).at[0].set(jnp.nan))
    assert not found.reliable
    assert np.isnan(found.elbo.value)


def test_a_heavy_tail_of_nearly_equal_weights_is_not_reliable():
    """p = ½ N(0, I) + ½ N(0, 0.1² I) in ten dimensions, q its spike: w = ½ + O(10⁻⁴) in all draws."""
    z = 0.1 * jax.random.normal(jax.random.key(4), (4096, 10))
    slab = -jnp.sum(z**2, axis=1) / 2 * (1 - 100) + 10 * math.log(0.1)
    found = evidence_sandwich(jnp.logaddexp(slab, 0) - math.log(2))
    assert found.effective_sample_size > 0.99 * 4096
    assert found.pareto_k > 0.7
    assert not found.reliable


def test_weights_of_several_posteriors_or_one_reference_draw_are_refused():
    with pytest.raises(ValueError, match=r"one posterior, got shape \(5, 2\)"):
        evidence_sandwich(jnp.zeros((5, 2)))
    with pytest.raises(ValueError, match="R ≥ 2"):
        evidence_sandwich(jnp.zeros(4096), reference_log_w=jnp.zeros(1))


def test_the_interval_of_weights_without_a_variance_is_wider_and_holds_the_truth_more_often():
    """Weights of a Pareto law of index .65, whose mean is 1/(1 − .65); 60 batches of 10,000."""
    index, truth = 0.65, -math.log(1 - 0.65)
    batches = -index * jnp.log(jax.random.uniform(jax.random.key(3), (60, 10_000), minval=1e-7))
    found = [evidence_sandwich(log_w) for log_w in batches]
    found = [each for each in found if each.reliable]
    distance = np.array([abs(float(each.log_evidence.value) - truth) for each in found])
    plain = np.mean(distance < [1.96 * float(each.log_evidence.standard_error) for each in found])
    widened = np.mean([float(each.interval[0]) < truth < float(each.interval[1]) for each in found])
    assert len(found) > 30
    assert plain < 0.8
    assert widened > 0.8
