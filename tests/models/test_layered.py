"""Several Gaussian layers: each given the one above it, and the draws follow the joint."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests.models.test_deep import KEY, initial, readable_log_prob, somewhere
from vi_jax import models

pytestmark = pytest.mark.usefixtures("x64")

LAYERED = models.hierarchical_decoder((2, 3, 1), 4, hidden=((5,), (), (3, 6)), mean=[0.2, 0.5, 0.5, 0.9])


def test_layers_are_the_written_out_ones():
    theta = somewhere(LAYERED)
    z, x = (np.array([0.4, -1.1]), np.array([0.3, 0.2, -0.5]), np.array([0.7])), np.array([0.0, 1, 1, 0])

    def dense(value, layer):
        return value @ layer["kernel"] + layer["bias"]

    def log_normal(value, above, layer):
        return stats.norm.logpdf(value, dense(above, layer["loc"]), np.exp(dense(above, layer["log_scale"]))).sum()

    pixels, middle, top = theta
    trunk = np.tanh(dense(np.tanh(dense(z[2], top["Dense_0"])), top["Dense_1"]))
    logits = dense(np.tanh(dense(z[0], pixels["Dense_0"])), pixels["logits"])
    expected = (
        stats.norm.logpdf(z[2]).sum()
        + log_normal(z[1], trunk, top)
        + log_normal(z[0], z[1], middle)
        + readable_log_prob(logits, x).sum()
    )
    np.testing.assert_allclose(jax.jit(LAYERED.log_joint)(theta, x, z), expected, rtol=1e-12)


def test_one_layer_is_the_decoder_without_layers():
    one, plain = models.hierarchical_decoder((2,), 4, hidden=((3,),)), models.bernoulli_decoder(2, 4, hidden=(3,))
    theta, x, z = somewhere(plain), jnp.array([0, 1, 1, 0]), jnp.array([0.3, -0.4])
    np.testing.assert_allclose(one.log_joint((theta,), x, (z,)), plain.log_joint(theta, x, z), rtol=1e-12)


def test_draws_of_the_layers_follow_the_joint():
    """E_p[∂_θ log p(x, z)] = 0 for draws (x, z) of the model itself, layer by layer."""
    theta = jax.tree.map(lambda leaf: 0.3 * leaf, somewhere(LAYERED))  # Small: no scale has heavy tails.

    @jax.jit
    @jax.vmap
    def score(key):
        return jax.grad(LAYERED.log_joint)(theta, *LAYERED.sample(key, theta))

    for leaf in jax.tree.leaves(score(jax.random.split(KEY, 20_000))):
        assert np.all(np.abs(leaf.mean(0)) < 4 * leaf.std(0) / np.sqrt(20_000))


def test_the_network_of_the_paper_has_its_shapes_and_its_initial_values():
    model = models.hierarchical_decoder((100, 50), 784, hidden=((200, 200), (100, 100)))
    theta = jax.eval_shape(model.init, KEY)
    shapes = [{name: layer["kernel"].shape for name, layer in part.items()} for part in theta]
    assert shapes == [
        {"Dense_0": (100, 200), "Dense_1": (200, 200), "logits": (200, 784)},
        {"Dense_0": (50, 100), "Dense_1": (100, 100), "loc": (100, 100), "log_scale": (100, 100)},
    ]
    theta = initial(LAYERED)
    np.testing.assert_allclose(nn.sigmoid(theta[0]["logits"]["bias"]), [0.2, 0.5, 0.5, 0.9], rtol=1e-12)
    for part in theta[1:]:
        for layer in part.values():
            assert np.abs(layer["kernel"]).max() <= np.sqrt(6 / sum(layer["kernel"].shape))
            assert not np.any(layer["bias"])


def test_bad_layers_are_named():
    with pytest.raises(ValueError, match=r"needs its entry of hidden: got \(2, 3\) and \(\(5,\),\)"):
        models.hierarchical_decoder((2, 3), 4, hidden=((5,),))
    with pytest.raises(ValueError, match=r"needs its entry of hidden: got \(2, 3\) and \(5, 5\)"):
        models.hierarchical_decoder((2, 3), 4, hidden=(5, 5))
    with pytest.raises(ValueError, match="at least one"):
        models.hierarchical_decoder((), 4, hidden=())
    with pytest.raises(ValueError, match="hidden must be .*got 0"):
        models.hierarchical_decoder((2, 3), 4, hidden=((5,), (0,)))
    with pytest.raises(ValueError, match=r"z\[1\] must have shape \(3,\).* got \(1,\)"):
        LAYERED.log_joint(somewhere(LAYERED), jnp.zeros(4), (jnp.zeros(2), jnp.zeros(1), jnp.zeros(1)))
