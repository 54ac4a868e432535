"""Belief net and Boltzmann machine: normalised, exact by enumeration, equal to the closed form where there is one."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vi_jax import models

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)
D, LATENTS = 4, 3
ALL_X = np.array(list(itertools.product((0.0, 1.0), repeat=D)))
ALL_Z = np.array(list(itertools.product((0.0, 1.0), repeat=LATENTS)))
NET = models.sigmoid_belief_net(LATENTS, D)
MACHINE = models.restricted_boltzmann_machine(LATENTS, D)


def somewhere(exact, seed=0):
    """θ whose every entry is random: nothing cancels and nothing is zero."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(exact.model.init, KEY)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), shapes)


def sigmoid(value):
    return 1 / (1 + np.exp(-np.asarray(value)))


def log_bernoulli(p, bits):
    return np.sum(np.log(np.where(bits == 1, p, 1 - p)))


def test_belief_net_is_the_written_out_density():
    theta, x, z = somewhere(NET), ALL_X[6], ALL_Z[5]
    pixels = sigmoid(np.array(theta.W) @ z + np.array(theta.c))
    expected = log_bernoulli(sigmoid(theta.b), z) + log_bernoulli(pixels, x)
    np.testing.assert_allclose(NET.model.log_joint(theta, x, z), expected, rtol=1e-12)
    parts = NET.model.prior(theta).log_prob(z) + NET.model.likelihood(theta, z).log_prob(x)
    np.testing.assert_allclose(parts, expected, rtol=1e-12)


def test_belief_net_evidence_sums_to_one_over_all_data():
    evidence = jax.jit(jax.vmap(NET.log_evidence, in_axes=(None, 0)))(somewhere(NET), ALL_X)
    np.testing.assert_allclose(np.exp(evidence).sum(), 1, rtol=1e-12)


def test_hidden_pixels_are_summed_out_of_evidence_and_posterior():
    theta, visible = somewhere(NET), np.array([True, False, True, False])
    both = jax.jit(jax.vmap(lambda x: (NET.log_evidence(theta, x), NET.posterior(theta, x).logits)))
    log_p, log_joint = both(ALL_X)
    partial = models.observe(np.where(visible, [0.0, np.nan, 1.0, np.nan], np.nan), visible)
    hidden_log_p, hidden_log_joint = both(jax.tree.map(lambda leaf: leaf[None], partial))
    consistent = (ALL_X[:, 0] == 0) & (ALL_X[:, 2] == 1)
    np.testing.assert_allclose(np.exp(hidden_log_p[0]), np.exp(log_p)[consistent].sum(), rtol=1e-12)
    np.testing.assert_allclose(np.exp(hidden_log_joint[0]), np.exp(log_joint)[consistent].sum(0), rtol=1e-12)
    joint = NET.model.log_joint(theta, partial, jnp.asarray(models.codes(LATENTS)[3]))
    np.testing.assert_allclose(joint, hidden_log_joint[0, 3], rtol=1e-12)


def test_belief_net_samples_follow_the_evidence():
    theta, num_draws = somewhere(NET), 20_000
    x, z = jax.jit(jax.vmap(NET.model.sample, in_axes=(0, None)))(jax.random.split(KEY, num_draws), theta)
    log_p = jax.jit(jax.vmap(jax.vmap(NET.model.log_joint, (None, None, 0)), (None, 0, None)))(theta, ALL_X, ALL_Z)
    code = lambda bits: np.asarray(bits @ 2.0 ** np.arange(bits.shape[1])[::-1], int)  # noqa: E731
    frequency = np.zeros(log_p.shape)
    np.add.at(frequency, (code(x), code(z)), 1 / num_draws)
    p = np.exp(log_p)
    assert np.all(np.abs(frequency - p) < 4.5 * np.sqrt(p * (1 - p) / num_draws) + 1 / num_draws)


def test_gradient_of_the_evidence_is_the_posterior_expectation_of_the_models_gradient():
    # Fisher's identity, as a sum over codes and not over draws; more codes than one chunk has.
    exact = models.sigmoid_belief_net(13, D)
    theta, x = somewhere(exact), ALL_X[9]

    @jax.jit
    def both(theta):
        table = models.codes(13)
        log_p = exact.log_evidence(theta, x)
        scores = jax.vmap(jax.grad(exact.model.log_joint), (None, None, 0))(theta, x, table)
        p = jnp.exp(jax.vmap(exact.model.log_joint, (None, None, 0))(theta, x, table) - log_p)
        return jax.grad(exact.log_evidence)(theta, x), jax.tree.map(lambda s: jnp.tensordot(p, s, 1), scores)

    for found, expected in zip(*both(theta), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_initial_belief_net_has_the_mean_of_the_data_in_its_bias():
    mean = np.array([0.0, 0.25, 0.5, 1.0])
    theta = models.sigmoid_belief_net(LATENTS, D, mean=mean).model.init(KEY)
    np.testing.assert_allclose(sigmoid(theta.c), [0.001, 0.25, 0.5, 0.999], rtol=1e-12)
    assert not np.any(theta.b)
    limit = np.sqrt(6 / (D + LATENTS))
    assert 0.5 * limit < np.abs(theta.W).max() <= limit


def test_enumeration_of_a_boltzmann_machine_is_its_free_energy_and_so_is_the_gradient():
    # 14 bits of 20 pixels: several chunks, every unit at work.
    machine = models.restricted_boltzmann_machine(14, 20)
    theta = somewhere(machine, seed=1)
    x = np.random.default_rng(2).integers(2, size=20).astype(float)

    def enumerated(theta):
        return models.log_sum_over_codes(lambda z: machine.model.log_joint(theta, x, z), 14)

    value, gradient = jax.jit(jax.value_and_grad(enumerated))(theta)
    expected, expected_gradient = jax.jit(jax.value_and_grad(lambda theta: machine.log_evidence(theta, x)))(theta)
    np.testing.assert_allclose(value, expected, rtol=1e-10)
    for found, wanted in zip(gradient, expected_gradient, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(gradient.a, machine.posterior(theta, x).mean(), rtol=1e-9)


def test_boltzmann_energy_and_partition_function_by_brute_force_over_data_and_latents():
    theta, transposed = somewhere(MACHINE), somewhere(models.restricted_boltzmann_machine(D, LATENTS), seed=4)
    a, W, c = (np.asarray(leaf) for leaf in theta)
    energy = np.array([[a @ z + c @ x + x @ W @ z for z in ALL_Z] for x in ALL_X])
    every = jax.jit(jax.vmap(jax.vmap(MACHINE.model.log_joint, (None, None, 0)), (None, 0, None)))(theta, ALL_X, ALL_Z)
    np.testing.assert_allclose(every, energy, rtol=1e-12, atol=1e-12)
    log_z = models.boltzmann_log_partition(theta)
    np.testing.assert_allclose(log_z, np.log(np.exp(energy).sum()), rtol=1e-12)
    evidence = jax.vmap(MACHINE.log_evidence, in_axes=(None, 0))(theta, ALL_X)
    np.testing.assert_allclose(np.exp(evidence - log_z).sum(), 1, rtol=1e-12)
    # More latents than pixels: then the sum runs over the data.
    a, W, c = (np.asarray(leaf) for leaf in transposed)
    energy = np.array([[a @ z + c @ x + x @ W @ z for z in ALL_X] for x in ALL_Z])
    np.testing.assert_allclose(models.boltzmann_log_partition(transposed), np.log(np.exp(energy).sum()), rtol=1e-12)


def test_the_smaller_layer_is_summed():
    # One pixel and 30 latents: two terms and no loop, or else 2^30.
    theta = models.BoltzmannMachine(jnp.ones(30), jnp.ones((1, 30)), jnp.ones(1))
    off, on = 30 * np.log1p(np.e), 1 + 30 * np.log1p(np.e**2)
    assert "scan" not in str(jax.make_jaxpr(models.boltzmann_log_partition)(theta))
    np.testing.assert_allclose(models.boltzmann_log_partition(theta), np.logaddexp(off, on), rtol=1e-12)


@pytest.mark.parametrize("exact", [NET, MACHINE], ids=["net", "machine"])
def test_single_precision_stays_single_under_strict_promotion_and_data_take_any_dtype(exact):
    x = ALL_X[5]
    expected = exact.log_evidence(somewhere(exact), x)
    with jax.enable_x64(False), jax.numpy_dtype_promotion("strict"):
        theta = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float32), somewhere(exact))
        for dtype in (jnp.int8, jnp.bool_, jnp.float32):
            value = exact.log_evidence(theta, jnp.asarray(x.astype(bool), dtype))
            np.testing.assert_allclose(value, expected, rtol=1e-5)
            assert value.dtype == jnp.float32
        z = exact.posterior(theta, jnp.asarray(x, jnp.float32)).sample(seed=KEY)
        assert z.dtype == exact.model.log_joint(theta, jnp.asarray(x, jnp.float32), z).dtype == jnp.float32


@pytest.mark.parametrize("exact", [NET, MACHINE], ids=["net", "machine"])
def test_a_datum_or_a_draw_of_another_shape_never_broadcasts(exact):
    theta = somewhere(exact)
    for call in (
        lambda: exact.model.log_joint(theta, ALL_X, ALL_Z[0]),
        lambda: exact.model.log_joint(theta, ALL_X[0], ALL_Z[0, :1]),
        lambda: exact.log_evidence(theta, ALL_X),
        lambda: exact.posterior(theta, ALL_X[0, :1]),
    ):
        with pytest.raises(ValueError, match="must have shape"):
            call()


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="latent_dim must be .*got 0"):
        models.sigmoid_belief_net(0, 3)
    with pytest.raises(TypeError, match="data_dim must be .*got 3.5"):
        models.restricted_boltzmann_machine(2, 3.5)
    with pytest.raises(ValueError, match=r"mean must have shape \(3,\)"):
        models.sigmoid_belief_net(2, 3, mean=np.zeros(2))
    large = models.sigmoid_belief_net(21, 3)
    with pytest.raises(ValueError, match="dim=21"):
        large.posterior(jax.eval_shape(large.model.init, KEY), np.zeros(3))
