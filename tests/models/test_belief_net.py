"""Belief nets of several layers: the joint is the written-out one, and the evidence the sum over all codes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from tests.models.test_deep import KEY, readable_log_prob, somewhere
from vi_jax import guides, models

pytestmark = pytest.mark.usefixtures("x64")
DIMS = (2, 1, 2)
NET = models.deep_belief_net(DIMS, 3, hidden=((), (4,), ()))
X = jnp.array([[0.0, 1, 1], [1, 1, 0]])
CODES = [tuple(np.split(np.array(code, float), [2, 3])) for code in itertools.product([0, 1], repeat=5)]


def written_out(theta, x, z):
    pixels, first, second, b = theta

    def dense(value, layer):
        return value @ layer["kernel"] + layer["bias"]

    hidden = np.tanh(dense(z[1], first["Dense_0"]))
    logits = (dense(z[0], pixels["logits"]), dense(hidden, first["logits"]), dense(z[2], second["logits"]), b)
    return sum(readable_log_prob(own, value).sum() for own, value in zip(logits, (x, *z), strict=True))


def test_joint_is_the_written_out_one_and_evidence_its_sum_over_all_codes():
    theta = somewhere(NET.model)
    log_joint = jax.jit(NET.model.log_joint)
    expected = np.array([written_out(theta, X[0], z) for z in CODES])
    np.testing.assert_allclose([log_joint(theta, X[0], z) for z in CODES], expected, rtol=1e-12)
    np.testing.assert_allclose(NET.log_evidence(theta, X[0]), np.log(np.exp(expected).sum()), rtol=1e-12)
    bits = NET.posterior(theta, X[0]).mean()
    p = np.exp(expected - expected.max())
    for layer, found in enumerate(bits):
        np.testing.assert_allclose(found, p @ np.array([z[layer] for z in CODES]) / p.sum(), rtol=1e-12)


def test_one_linear_layer_is_the_sigmoid_belief_net():
    mean = [0.2, 0.5, 0.9]
    net, plain = models.deep_belief_net((2,), 3, hidden=((),), mean=mean), models.sigmoid_belief_net(2, 3, mean=mean)
    layer = somewhere(net.model)[0]["logits"]
    b = jnp.array([0.3, -1.0])
    theta, same = ({"logits": layer}, b), models.BeliefNet(b, layer["kernel"].T, layer["bias"])
    np.testing.assert_allclose(net.log_evidence(theta, X[0]), plain.log_evidence(same, X[0]), rtol=1e-12)
    np.testing.assert_allclose(net.model.init(KEY)[0]["logits"]["bias"], plain.model.init(KEY).c, rtol=1e-12)


def test_draws_follow_the_joint():
    """E_p[∂_θ log p(x, z)] = 0 for draws (x, z) of the net itself, layer by layer."""
    theta = somewhere(NET.model)

    @jax.jit
    @jax.vmap
    def score(key):
        return jax.grad(NET.model.log_joint)(theta, *NET.model.sample(key, theta))

    for leaf in jax.tree.leaves(score(jax.random.split(KEY, 10_000))):
        assert np.all(np.abs(leaf.mean(0)) <= 4 * leaf.std(0) / 100)


def test_a_chain_of_bernoulli_encoders_is_its_guide():
    sizes = zip((3, *DIMS[:-1]), DIMS, strict=True)
    guide = guides.chain(*(guides.bernoulli_encoder(*size, hidden=()) for size in sizes))
    assert guide.support is None
    assert not guide.reparameterized
    params = vi.Params(somewhere(NET.model), jax.tree.map(lambda leaf: 0.3 * leaf, somewhere(guide)))
    found = vi.log_evidence(KEY, NET.model, guide, params, X, num_samples=20_000)
    exact = jax.vmap(NET.log_evidence, (None, 0))(params.theta, X)
    assert np.all(np.abs(found.log_evidence - exact) < 4 * found.standard_error)
    assert np.all(found.standard_error < 0.05)


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"needs its entry of hidden: got \(2, 3\)"):
        models.deep_belief_net((2, 3), 4, hidden=((),))
    with pytest.raises(ValueError, match=r"z\[1\] must have shape \(1,\)"):
        NET.model.log_joint(somewhere(NET.model), X[0], (jnp.zeros(2), jnp.zeros(2), jnp.zeros(2)))
    big = models.deep_belief_net((20, 1), 1, hidden=((), ()))
    with pytest.raises(ValueError, match="at most 20 bits"):
        jax.eval_shape(big.posterior, jax.eval_shape(big.model.init, KEY), jnp.zeros(1))
