"""The Bernoulli decoder: its density is normalised, its gradient exact, its network the stated one."""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vi_jax import models

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)


def initial(model):
    return jax.device_get(jax.jit(model.init)(KEY))


def somewhere(model):
    """θ whose every entry is random, the biases too: nothing cancels and nothing is zero."""
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), jax.eval_shape(model.init, KEY))


def readable_log_prob(logits, x):
    p = 1 / (1 + jnp.exp(-logits))
    return x * jnp.log(p) + (1 - x) * jnp.log(1 - p)


@pytest.mark.parametrize("x", [0.0, 1.0, 0.3])
def test_log_prob_and_its_derivatives_are_those_of_the_definition(x):
    logits = jnp.linspace(-8, 8, 33)  # 0 is among them
    for wrt in (0, 1):
        derivative = jax.jit(jax.vmap(jax.grad(models.bernoulli_log_prob, argnums=wrt), in_axes=(0, None)))
        reference = jax.jit(jax.vmap(jax.grad(readable_log_prob, argnums=wrt), in_axes=(0, None)))
        np.testing.assert_allclose(derivative(logits, x), reference(logits, x), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(models.bernoulli_log_prob(logits, x), readable_log_prob(logits, x), rtol=1e-12)
    second = jax.jit(jax.vmap(jax.hessian(models.bernoulli_log_prob), in_axes=(0, None)))(logits, x)
    np.testing.assert_allclose(second, -nn.sigmoid(logits) * nn.sigmoid(-logits), rtol=1e-12)


def test_log_prob_is_smooth_at_zero():
    assert jax.grad(models.bernoulli_log_prob)(0.0, 1.0) == 0.5
    assert jax.grad(models.bernoulli_log_prob)(0.0, 0.0) == -0.5


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("magnitude", [30.0, 100.0, 1e4])
def test_log_prob_is_exact_in_both_tails(dtype, magnitude):
    logits = jnp.array([magnitude, magnitude, -magnitude, -magnitude], dtype)
    x = jnp.array([0, 1, 0, 1], dtype)
    value = models.bernoulli_log_prob(logits, x)
    gradient = jax.grad(lambda logits: models.bernoulli_log_prob(logits, x).sum())(logits)
    tail = np.exp(-magnitude)
    np.testing.assert_allclose(value, [-magnitude, -tail, -tail, -magnitude], rtol=1e-6, atol=np.finfo(dtype).tiny)
    np.testing.assert_allclose(gradient, [-1, tail, -tail, 1], rtol=1e-6, atol=np.finfo(dtype).eps)
    assert value.dtype == gradient.dtype == dtype


def test_joint_is_prior_times_likelihood():
    rng = np.random.default_rng(0)
    model = models.bernoulli_decoder(3, 5, hidden=(7,), mean=rng.uniform(size=5))
    theta, z, x = somewhere(model), jnp.asarray(rng.normal(size=3)), jnp.array([0.0, 1, 1, 0, 1])
    assert model.prior
    assert model.likelihood
    product = model.prior(theta).log_prob(z) + model.likelihood(theta, z).log_prob(x)
    np.testing.assert_allclose(jax.jit(model.log_joint)(theta, x, z), product, rtol=1e-12)


def test_joint_is_normalised_over_data_and_latent():
    model = models.bernoulli_decoder(1, 3, hidden=(4,), mean=[0.1, 0.5, 0.8])
    theta = somewhere(model)
    x, z = jnp.array(list(itertools.product([0, 1], repeat=3))), jnp.linspace(-10, 10, 201)[:, None]
    per_x = jax.vmap(model.log_joint, in_axes=(None, None, 0))
    density = jnp.exp(jax.jit(jax.vmap(per_x, in_axes=(None, 0, None)))(theta, x, z))
    np.testing.assert_allclose(density.sum() * 0.1, 1, rtol=1e-10)


def test_network_is_the_written_out_one():
    model = models.bernoulli_decoder(2, 4, hidden=(3, 5))
    theta, z, x = somewhere(model), np.array([0.4, -1.1]), np.array([0.0, 1, 1, 0])
    first, second, last = theta["Dense_0"], theta["Dense_1"], theta["logits"]
    hidden = np.tanh(np.tanh(z @ first["kernel"] + first["bias"]) @ second["kernel"] + second["bias"])
    logits = hidden @ last["kernel"] + last["bias"]
    expected = readable_log_prob(logits, x).sum() - z @ z / 2 - np.log(2 * np.pi)
    np.testing.assert_allclose(jax.jit(model.log_joint)(theta, x, z), expected, rtol=1e-12)


def test_gradient_is_the_slope_along_random_directions():
    rng = np.random.default_rng(0)
    model = models.bernoulli_decoder(3, 6, hidden=(5, 5), mean=rng.uniform(size=6))
    theta, z = somewhere(model), jnp.asarray(rng.normal(size=3))
    x = jnp.asarray(rng.integers(0, 2, size=6))
    gradient = jax.jit(jax.grad(model.log_joint, argnums=(0, 2)))(theta, x, z)
    direction = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), (theta, z))

    @jax.jit
    def at(step):
        moved = jax.tree.map(lambda p, d: p + step * d, (theta, z), direction)
        return model.log_joint(moved[0], x, moved[1])

    slope = (at(1e-5) - at(-1e-5)) / 2e-5
    inner = sum(jax.tree.leaves(jax.tree.map(lambda g, d: jnp.sum(g * d), gradient, direction)))
    np.testing.assert_allclose(inner, slope, rtol=1e-7)


def test_default_network_is_10_100_100_64_with_glorot_uniform_weights_and_zero_biases():
    theta = initial(models.bernoulli_decoder(10, 64))
    assert [layer["kernel"].shape for layer in theta.values()] == [(10, 100), (100, 100), (100, 64)]
    for layer in theta.values():
        limit = np.sqrt(6 / sum(layer["kernel"].shape))
        assert np.abs(layer["kernel"]).max() <= limit
        # Var of U(−a, a) is a²/3; its standard error over n draws is a² √(4/(45 n)).
        error = np.var(layer["kernel"]) - limit**2 / 3
        assert abs(error) < 4 * limit**2 * np.sqrt(4 / (45 * layer["kernel"].size))
        assert not np.any(layer["bias"])


def test_output_bias_is_the_logit_of_the_clipped_mean():
    bias = initial(models.bernoulli_decoder(2, 3, mean=[0.0, 0.25, 1.0]))["logits"]["bias"]
    np.testing.assert_allclose(nn.sigmoid(bias), [0.001, 0.25, 0.999], rtol=1e-12)


def test_samples_have_the_models_pixel_means():
    mean, num_draws = np.array([0.2, 0.5, 0.9]), 10_000
    model = models.bernoulli_decoder(2, 3, hidden=())
    theta = {"logits": {"kernel": np.zeros((2, 3)), "bias": np.log(mean / (1 - mean))}}
    assert model.sample
    x, z = jax.jit(jax.vmap(model.sample, in_axes=(0, None)))(jax.random.split(KEY, num_draws), theta)
    assert set(np.unique(x)) == {0.0, 1.0}
    assert np.all(np.abs(x.mean(0) - mean) < 4 * np.sqrt(mean * (1 - mean) / num_draws))
    assert np.all(np.abs(z.mean(0)) < 4 / np.sqrt(num_draws))
    assert np.all(np.abs((z**2).mean(0) - 1) < 4 * np.sqrt(2 / num_draws))


def test_sampled_pixels_depend_on_the_sampled_latent():
    model = models.bernoulli_decoder(1, 1, hidden=())
    theta = {"logits": {"kernel": np.array([[1e6]]), "bias": np.zeros(1)}}
    assert model.sample
    x, z = jax.jit(jax.vmap(model.sample, in_axes=(0, None)))(jax.random.split(KEY, 100), theta)
    np.testing.assert_array_equal(x, z > 0)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.int8, jnp.bool_])
def test_pixels_of_any_dtype_batched_jitted_and_under_strict_promotion(dtype):
    rng = np.random.default_rng(0)
    model = models.bernoulli_decoder(2, 4, hidden=(3,), activation=nn.relu)
    theta = somewhere(model)
    x, z = rng.integers(0, 2, size=(3, 4)).astype(dtype), rng.normal(size=(3, 5, 2))
    log_joint = jax.jit(model.log_joint)
    looped = [[log_joint(theta, a.astype(float), b) for b in bs] for a, bs in zip(x, z, strict=True)]
    with jax.numpy_dtype_promotion("strict"):
        per_x = jax.vmap(model.log_joint, in_axes=(None, None, 0))
        batched = jax.jit(jax.vmap(per_x, in_axes=(None, 0, 0)))(theta, x, z)
    np.testing.assert_allclose(batched, np.array(looped), rtol=1e-12)


def test_parameters_and_density_keep_single_precision():
    with jax.enable_x64(False), jax.numpy_dtype_promotion("strict"):
        model = models.bernoulli_decoder(2, 4, hidden=(3,))
        theta = jax.eval_shape(model.init, KEY)
        value = jax.eval_shape(model.log_joint, theta, jnp.ones(4), jnp.zeros(2))
        assert model.sample
        x, z = jax.eval_shape(model.sample, KEY, theta)
    assert {leaf.dtype for leaf in jax.tree.leaves((theta, value, x, z))} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"latent_dim": 0}, ValueError, "latent_dim must be .*got 0"),
        ({"data_dim": 3.0}, TypeError, "data_dim must be .*got 3.0"),
        ({"hidden": (10, -1)}, ValueError, "hidden must be .*got -1"),
        ({"mean": [0.5, 0.5]}, ValueError, r"mean must have shape \(3,\), got \(2,\)"),
        ({"mean": [0.0, 8.0, 16.0]}, ValueError, r"\[0, 1\], got values from 0.0 to 16.0; scale"),
        ({"mean": [0.0, np.nan, 0.5]}, ValueError, r"\[0, 1\], got values from nan"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        models.bernoulli_decoder(**{"latent_dim": 2, "data_dim": 3, **arguments})


def test_a_datum_or_draw_of_another_shape_never_broadcasts():
    model = models.bernoulli_decoder(2, 3)
    theta = somewhere(model)
    for x, z in ((jnp.zeros(1), jnp.zeros(2)), (jnp.zeros((5, 3)), jnp.zeros(2)), (jnp.zeros(3), jnp.zeros((5, 2)))):
        with pytest.raises(ValueError, match=r"must have shape .*batch axes"):
            jax.eval_shape(model.log_joint, theta, x, z)
