"""The mixture whose weights alone are learned: the paper's problem, a labelled mixture with its components fixed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vi_jax import models

pytestmark = pytest.mark.usefixtures("x64")


def test_it_is_the_labelled_mixture_with_given_components():
    exact, free = models.mixture_weights(20), models.mixture_labels(20, 1)
    theta = jnp.asarray(models.TRUE_MIXTURE_LOGITS)
    whole = models.MixtureParams(theta, 10.0 * jnp.arange(20)[:, None], jnp.full((20, 1), np.log(5.0)))
    for x in (-3.0, 47.0, 195.0):
        x = jnp.array([x])
        np.testing.assert_allclose(exact.log_evidence(theta, x), free.log_evidence(whole, x), rtol=1e-12)
        np.testing.assert_allclose(exact.posterior(theta, x).probs, free.posterior(whole, x).probs, atol=1e-12)


def test_data_follow_the_published_weights():
    exact = models.mixture_weights(20, initial_logits=models.TRUE_MIXTURE_LOGITS)
    p = exact.model.prior(exact.model.init(jax.random.key(0))).probs
    np.testing.assert_allclose(p, (np.arange(20) + 5) / 290, rtol=1e-12)
    x, z = jax.vmap(exact.model.sample, (0, None))(
        jax.random.split(jax.random.key(1), 20_000), exact.model.init(jax.random.key(0))
    )
    counts = np.bincount(z, minlength=20)
    assert np.all(np.abs(counts / 20_000 - p) < 4 * np.sqrt(p * (1 - p) / 20_000))
    rest = np.asarray(x)[:, 0] - 10 * np.asarray(z)
    assert abs(rest.mean()) < 4 * 5 / np.sqrt(20_000)
    assert abs(rest.std() - 5) < 4 * 5 / np.sqrt(40_000)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="initial_logits must be 3 finite numbers"):
        models.mixture_weights(3, initial_logits=[0.0, 1.0])
    with pytest.raises(ValueError, match="scale positive and finite, got 10.0 and -1"):
        models.mixture_weights(3, scale=-1)
    with pytest.raises(ValueError, match=r"x must have shape \(1,\)"):
        models.mixture_weights(3).log_evidence(jnp.zeros(3), jnp.zeros(()))
