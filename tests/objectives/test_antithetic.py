"""DisARM: unbiased against the sum over all codes, and less noisy than leaving one of two independent draws out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from tests.populations import z_scores
from vi_jax import bounds, estimators, guides, models, objectives

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)
NET, GUIDE = models.sigmoid_belief_net(3, 4), guides.bernoulli_encoder(4, 3, hidden=())
X = jnp.array([[0.0, 1, 1, 0], [1, 1, 0, 1]])


def point() -> vi.Params:
    theta = NET.model.init(KEY)
    return vi.Params(theta._replace(W=3 * theta.W, b=jnp.array([0.5, -1.0, 0.2])), GUIDE.init(jax.random.key(1)))


def test_value_and_gradient_have_the_exact_mean_and_less_noise_than_two_independent_draws():
    pair = objectives.disarm(NET.model, GUIDE, num_pairs=1)
    two = vi.value_and_grad(NET.model, GUIDE, bounds.elbo, estimators.leave_one_out, num_samples=2)
    keys = jax.random.split(KEY, 20_000)
    (values, gradients), (_, others) = jax.jit(
        lambda p: tuple(jax.vmap(lambda key, o=o: o(key, p, X))(keys) for o in (pair, two))
    )(point())
    expected, exact = objectives.enumerated(NET.model, GUIDE)(KEY, point(), X)
    assert z_scores(np.asarray(values), np.asarray(expected)).max() < 4
    for found, wanted in zip(jax.tree.leaves(gradients), jax.tree.leaves(exact), strict=True):
        moves = np.asarray(found).std(axis=0) > 1e-12
        assert z_scores(np.asarray(found)[:, moves], np.asarray(wanted)[moves]).max() < 4
        np.testing.assert_allclose(np.asarray(found)[0][~moves], np.asarray(wanted)[~moves], atol=1e-12)
    noise, more = (
        sum(np.var(np.asarray(leaf), axis=0).sum() for leaf in jax.tree.leaves(g.phi)) for g in (gradients, others)
    )
    assert noise < 0.8 * more


def test_other_guides_are_refused():
    objective = objectives.disarm(models.linear_gaussian(2).model, guides.mean_field(2), num_pairs=1)
    params = vi.Params(jnp.zeros(2), guides.mean_field(2).init(KEY))
    with pytest.raises(ValueError, match=r"independent Bernoulli bits.*MultivariateNormalDiag.*leave_one_out"):
        objective(KEY, params, jnp.zeros((1, 2)))
