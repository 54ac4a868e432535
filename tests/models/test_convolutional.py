"""The convolutional decoder is the written-out one, and its mirror, the encoder, too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vi_jax import guides, models
from vi_jax.models import likelihoods

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)


def somewhere(init):
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: 0.3 * rng.normal(size=leaf.shape), jax.eval_shape(init, KEY))


def correlate(image, kernel, stride):
    """Σ_ij image[s·r + i, s·c + j] kernel[i, j], on channels [h, w, in] and [4, 4, in, out]."""
    size = (image.shape[0] - 4) // stride + 1
    at = [[image[stride * r : stride * r + 4, stride * c : stride * c + 4] for c in range(size)] for r in range(size)]
    return np.einsum("rcijk,ijkl->rcl", np.array(at), kernel)


def down(image, layer):
    return np.maximum(correlate(np.pad(image, ((1, 1), (1, 1), (0, 0))), layer["kernel"], 2) + layer["bias"], 0)


def up(image, kernel):
    dilated = np.zeros((2 * image.shape[0] - 1, 2 * image.shape[1] - 1, image.shape[2]))
    dilated[::2, ::2] = image
    return correlate(np.pad(dilated, ((2, 2), (2, 2), (0, 0))), kernel, 1)


def test_encoder_is_the_written_out_one():
    guide, x = guides.convolutional_encoder(3, channels=(2, 4), hidden=(5,)), np.random.default_rng(0).random(784)
    phi = somewhere(guide.init)
    trunk = down(down(x.reshape(28, 28, 1), phi["Conv_0"]), phi["Conv_1"]).reshape(-1)
    trunk = np.maximum(trunk @ phi["Dense_0"]["kernel"] + phi["Dense_0"]["bias"], 0)
    loc, log_scale = (trunk @ phi[head]["kernel"] + phi[head]["bias"] for head in ("loc", "log_scale"))
    noise = np.array([0.3, -1.0, 0.5])
    np.testing.assert_allclose(guide.from_noise(phi, x, noise), loc + np.exp(log_scale) * noise, rtol=1e-10)
    with pytest.raises(ValueError, match=r"x must have shape \(784,\)"):
        guide.distribution(phi, np.zeros((28, 28)))


def test_decoder_is_the_written_out_one_with_a_bias_per_pixel():
    rng = np.random.default_rng(0)
    model = models.convolutional_decoder(3, likelihood=likelihoods.gaussian_per_pixel(), channels=(2, 4))
    theta, z, x = somewhere(model.init), rng.normal(size=3), rng.normal(size=784)
    dense, first = theta["Dense_0"], theta["ConvTranspose_0"]
    image = np.maximum(z @ dense["kernel"] + dense["bias"], 0).reshape(7, 7, 4)
    image = np.maximum(up(image, first["kernel"]) + first["bias"], 0)
    loc, log_scale = (
        up(image, theta[name]["kernel"]).reshape(-1) + theta[f"{name}_bias"] for name in ("loc", "log_scale")
    )
    terms = -(((x - loc) / np.exp(log_scale)) ** 2) / 2 - log_scale - np.log(2 * np.pi) / 2
    expected = terms.sum() - z @ z / 2 - 1.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(model.log_joint(theta, x, z), expected, rtol=1e-10)


@pytest.mark.parametrize("likelihood", [likelihoods.bernoulli(), likelihoods.gaussian()], ids=["bernoulli", "gaussian"])
def test_decoder_has_the_stated_parameters_and_starts_at_the_mean(likelihood):
    mean = np.linspace(0.1, 0.9, 784)
    model = models.convolutional_decoder(3, likelihood=likelihood, mean=mean)
    theta = jax.eval_shape(model.init, KEY)
    assert sum(leaf.size for leaf in jax.tree.leaves(theta)) == 49 * 4 * 64 + 16 * 65 * 32 + 32 + 784 + len(
        likelihood.shared
    )
    started = likelihood.bias(mean, 784)
    (name,) = started
    outputs = {name: jnp.asarray(started[name])} | {key: jnp.asarray(v) for key, v in likelihood.shared.items()}
    np.testing.assert_allclose(likelihood.distribution(outputs).mean(), mean, rtol=1e-9)


def test_bad_channels_are_named():
    with pytest.raises(ValueError, match=r"channels must be two.* got \(8,\)"):
        models.convolutional_decoder(2, likelihood=likelihoods.bernoulli(), channels=(8,))
