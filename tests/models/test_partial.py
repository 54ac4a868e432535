"""Hidden coordinates drop out, whatever they hold; a mask that does not fit is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vi_jax import models

pytestmark = pytest.mark.usefixtures("x64")


def test_a_hidden_pixel_counts_for_nothing_in_a_decoder():
    decoder = models.bernoulli_decoder(2, 5, hidden=(4,))
    theta, z = decoder.init(jax.random.key(0)), jnp.array([0.3, -1.0])
    x, visible = np.array([1.0, 0.0, 1.0, 1.0, 0.0]), np.array([True, False, True, False, False])
    likelihood = np.asarray(models.bernoulli_log_prob(decoder.likelihood(theta, z).distribution.logits, jnp.asarray(x)))
    expected = decoder.prior(theta).log_prob(z) + likelihood[visible].sum()
    poisoned = np.where(visible, x, np.nan)
    np.testing.assert_allclose(decoder.log_joint(theta, models.observe(poisoned, visible), z), expected, rtol=1e-12)
    everything = models.observe(x, np.ones(5, bool))
    np.testing.assert_allclose(decoder.log_joint(theta, everything, z), decoder.log_joint(theta, x, z), rtol=1e-12)


HIDING = {
    "bernoulli_mixture": models.bernoulli_mixture(3, 4),
    "factor_analysis": models.factor_analysis(2, 4),
    "sigmoid_belief_net": models.sigmoid_belief_net(2, 4),
    "deep_belief_net": models.deep_belief_net((2, 1), 4, hidden=((), ())),
}


@pytest.mark.parametrize("name", HIDING)
def test_what_stands_at_a_hidden_coordinate_is_never_used(name):
    exact = HIDING[name]
    theta = exact.model.init(jax.random.key(0))
    x, visible = jnp.array([1.0, 0.0, 1.0, 0.0]), jnp.array([True, False, True, False])
    z = exact.posterior(theta, x).sample(seed=jax.random.key(1))
    clean, odd = models.observe(x, visible), models.Partial(jnp.where(visible, x, 7.0), visible)
    for f in (exact.log_evidence, lambda t, x: exact.model.log_joint(t, x, z)):
        np.testing.assert_allclose(f(theta, odd), f(theta, clean), rtol=1e-12)
    log_q = [exact.posterior(theta, datum).log_prob(z) for datum in (clean, odd)]
    np.testing.assert_allclose(*log_q, rtol=1e-12)


def test_a_model_of_whole_data_says_so():
    with pytest.raises(ValueError, match="takes whole data, no Partial"):
        models.restricted_boltzmann_machine(2, 4).log_evidence(
            models.restricted_boltzmann_machine(2, 4).model.init(jax.random.key(0)),
            models.observe(jnp.zeros(4), jnp.zeros(4, bool)),
        )


def test_one_mask_for_all_or_one_for_each():
    x = jnp.arange(6.0).reshape(2, 3)
    one = models.observe(x, jnp.array([True, False, True]))
    np.testing.assert_array_equal(one.values, [[0, 0, 2], [3, 0, 5]])
    np.testing.assert_array_equal(one.visible, [[True, False, True]] * 2)
    each = models.observe(x, x > 2)
    np.testing.assert_array_equal(each.values, [[0, 0, 0], [3, 4, 5]])


def test_refusals():
    with pytest.raises(TypeError, match="must be boolean"):
        models.observe(jnp.zeros(3), jnp.array([0, 2]))
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        models.observe(jnp.zeros((2, 3)), jnp.zeros(2, bool))
    decoder = models.bernoulli_decoder(2, 5, hidden=())
    batch = models.observe(jnp.zeros((1, 5)), jnp.zeros(5, bool))
    with pytest.raises(ValueError, match=r"x.visible must have shape \(5,\)"):
        decoder.log_joint(decoder.init(jax.random.key(0)), batch, jnp.zeros(2))
