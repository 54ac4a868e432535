"""The encoders compute what their descriptions say."""

import jax
import numpy as np
import pytest

from vi_jax import guides

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)


def somewhere(guide):
    """φ whose every entry is random, the biases too."""
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), jax.eval_shape(guide.init, KEY))


def moments(guide, phi, x):
    def mean_and_scale(phi):
        q = guide.distribution(phi, x)
        return q.mean(), q.stddev()

    return jax.device_get(jax.jit(mean_and_scale)(phi))


def test_network_is_the_written_out_one():
    guide = guides.gaussian_encoder(4, 2, hidden=(3, 5))
    phi, x = somewhere(guide), np.array([0.0, 1, 1, 0.5])
    hidden = x
    for name in ("Dense_0", "Dense_1"):
        hidden = np.tanh(hidden @ phi[name]["kernel"] + phi[name]["bias"])
    mean, scale = moments(guide, phi, x)
    np.testing.assert_allclose(mean, hidden @ phi["loc"]["kernel"] + phi["loc"]["bias"], rtol=1e-12)
    log_scale = hidden @ phi["log_scale"]["kernel"] + phi["log_scale"]["bias"]
    np.testing.assert_allclose(scale, np.exp(log_scale), rtol=1e-12)


def test_default_network_is_64_100_100_and_two_heads_with_glorot_uniform_weights_and_zero_biases():
    phi = jax.device_get(jax.jit(guides.gaussian_encoder(64, 10).init)(KEY))
    shapes = {name: layer["kernel"].shape for name, layer in phi.items()}
    assert shapes == {"Dense_0": (64, 100), "Dense_1": (100, 100), "loc": (100, 10), "log_scale": (100, 10)}
    for layer in phi.values():
        limit = np.sqrt(6 / sum(layer["kernel"].shape))
        assert np.abs(layer["kernel"]).max() <= limit
        # Var of U(−a, a) is a²/3; its standard error over n draws is a² √(4/(45 n)).
        error = np.var(layer["kernel"]) - limit**2 / 3
        assert abs(error) < 4 * limit**2 * np.sqrt(4 / (45 * layer["kernel"].size))
        assert not np.any(layer["bias"])


def test_activation_is_used_and_no_hidden_layer_is_a_linear_encoder():
    x = np.array([1.0, 2.0])
    identity = guides.gaussian_encoder(2, 1, hidden=(3,), activation=lambda h: h)
    phi = somewhere(identity)
    hidden = x @ phi["Dense_0"]["kernel"] + phi["Dense_0"]["bias"]
    mean = hidden @ phi["loc"]["kernel"] + phi["loc"]["bias"]
    np.testing.assert_allclose(moments(identity, phi, x)[0], mean, rtol=1e-12)
    linear = guides.gaussian_encoder(2, 1, hidden=())
    phi = somewhere(linear)
    mean = x @ phi["loc"]["kernel"] + phi["loc"]["bias"]
    np.testing.assert_allclose(moments(linear, phi, x)[0], mean, rtol=1e-12)


def test_bernoulli_network_is_the_written_out_one_with_one_head():
    guide = guides.bernoulli_encoder(4, 2, hidden=(3, 5))
    phi, x = somewhere(guide), np.array([0.0, 1, 1, 0.5])
    assert set(phi) == {"Dense_0", "Dense_1", "logits"}
    hidden = x
    for name in ("Dense_0", "Dense_1"):
        hidden = np.tanh(hidden @ phi[name]["kernel"] + phi[name]["bias"])
    logits = hidden @ phi["logits"]["kernel"] + phi["logits"]["bias"]
    mean = jax.jit(lambda phi: guide.distribution(phi, x).mean())(phi)
    np.testing.assert_allclose(mean, 1 / (1 + np.exp(-logits)), rtol=1e-12)


@pytest.mark.parametrize("make", [guides.gaussian_encoder, guides.bernoulli_encoder])
def test_a_mean_is_taken_from_the_datum_first(make):
    mean, x = np.array([0.2, -3.0]), np.array([1.0, 2.0])
    plain, centred = make(2, 2, hidden=(3,)), make(2, 2, hidden=(3,), mean=mean)
    phi = somewhere(plain)
    np.testing.assert_allclose(
        centred.distribution(phi, x).mean(), plain.distribution(phi, x - mean).mean(), rtol=1e-12
    )
