"""Chains of guides: a density over a tuple, differentiable through all layers, and nothing else changes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

import vi_jax as vi
from tests.populations import z_scores
from vi_jax import bounds, estimators, guides, models

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)
TWO = guides.chain(guides.affine(1, 1, variance=0.6), guides.affine(1, 1, variance=0.9))
THREE = guides.chain(
    guides.gaussian_encoder(4, 3, hidden=(5,)),
    guides.gaussian_encoder(3, 2, hidden=()),
    guides.affine(2, 2, variance=1),
)


def somewhere(guide):
    rng = np.random.default_rng(2)
    return jax.tree.map(lambda leaf: 0.5 * rng.normal(size=leaf.shape), jax.eval_shape(guide.init, KEY))


def test_two_affine_layers_are_the_joint_gaussian():
    phi = (guides.Affine(jnp.array([[0.4]]), jnp.array([0.3])), guides.Affine(jnp.array([[-0.5]]), jnp.array([0.1])))
    mean = np.array([0.4 * 2 + 0.3, -0.5 * (0.4 * 2 + 0.3) + 0.1])
    covariance = np.array([[0.6, -0.5 * 0.6], [-0.5 * 0.6, 0.25 * 0.6 + 0.9]])
    q = TWO.distribution(phi, jnp.array([2.0]))
    z = np.array([0.7, -1.2])
    value = q.log_prob((jnp.asarray(z[:1]), jnp.asarray(z[1:])))
    np.testing.assert_allclose(value, stats.multivariate_normal(mean, covariance).logpdf(z), rtol=1e-12)
    draws = jax.jit(jax.vmap(lambda key: q.sample(seed=key)))(jax.random.split(KEY, 20_000))
    draws = np.concatenate(draws, axis=1)
    products = (draws - mean)[:, :, None] * (draws - mean)[:, None]
    assert z_scores(draws, mean).max() < 4
    assert z_scores(products, covariance).max() < 4


def test_three_layers_are_a_flat_tuple_scored_layer_by_layer():
    phi, x = somewhere(THREE), jnp.array([0.0, 1, 1, 0])

    @jax.jit
    def draw_and_score(key):
        q = THREE.distribution(phi, x)
        z = q.sample(seed=key)
        layers = zip(
            (guides.gaussian_encoder(4, 3, hidden=(5,)), guides.gaussian_encoder(3, 2, hidden=())), phi, strict=False
        )
        each = [guide.distribution(part, datum) for (guide, part), datum in zip(layers, (x, z[0]), strict=True)]
        each.append(guides.affine(2, 2, variance=1).distribution(phi[2], z[1]))
        return z, q.log_prob(z), sum(own.log_prob(value) for own, value in zip(each, z, strict=True))

    z, value, expected = draw_and_score(KEY)
    assert jax.tree.map(jnp.shape, z) == ((3,), (2,), (2,))
    np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_draws_carry_the_derivative_through_every_layer():
    phi = somewhere(THREE)
    rng = np.random.default_rng(3)
    # φ of the first layer alone: what moves the others is that z_1 moves.
    direction = (jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), phi[0]), *jax.tree.map(np.zeros_like, phi[1:]))

    @jax.jit
    def draw(step):
        moved = jax.tree.map(lambda p, d: p + step * d, phi, direction)
        return THREE.distribution(moved, jnp.array([0.0, 1, 1, 0])).sample(seed=KEY)

    tangent = jax.jacrev(draw)(0.0)
    for layer, high, low in zip(tangent, draw(1e-5), draw(-1e-5), strict=True):
        np.testing.assert_allclose(layer, (high - low) / 2e-5, rtol=1e-7)
        assert np.all(np.asarray(layer) != 0)


def test_a_deep_hierarchy_has_one_gradient_whole_and_in_chunks():
    model = models.hierarchical_decoder((3, 2), 4, hidden=((), ()))
    guide = guides.chain(guides.gaussian_encoder(4, 3, hidden=()), guides.gaussian_encoder(3, 2, hidden=()))
    params = vi.Params(model.init(KEY), guide.init(jax.random.key(1)))
    x = jnp.array([[0.0, 1, 1, 0], [1, 1, 0, 1]])
    whole, chunked = (
        vi.value_and_grad(
            model, guide, bounds.iwae, estimators.doubly_reparameterized, num_samples=7, chunk_size=chunk_size
        )
        for chunk_size in (None, 3)
    )
    found, expected = chunked(KEY, params, x), whole(KEY, params, x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), found, expected)


def test_training_reaches_the_posterior_and_then_the_bound_is_the_evidence_without_noise():
    exact = models.linear_gaussian_chain((1, 1), 1)
    theta = exact.model.init(jax.random.key(4))
    x = jnp.array([[0.3], [-1.0], [2.0]])
    posterior = exact.posterior(theta, x[0])
    variances = [float(q.variance()[0]) for q in (posterior.first, posterior.steps[0](x[0]))]
    guide = guides.chain(*(guides.affine(1, 1, variance=variance) for variance in variances))
    objective = vi.value_and_grad(exact.model, guide, bounds.elbo, estimators.sticking_the_landing, num_samples=4)
    optimizer = optax.partition({"fixed": optax.set_to_zero(), "moves": optax.adam(0.05)}, vi.Params("fixed", "moves"))
    start = vi.Params(theta, guide.init(KEY))
    state, history = vi.fit(KEY, objective, optimizer, start, x, num_steps=1000)
    log_p = jax.vmap(exact.log_evidence, (None, 0))(theta, x)
    assert np.ptp(history.value[:5]) > 0.1
    evidence = vi.log_evidence(KEY, exact.model, guide, state.params, x, num_samples=10)
    np.testing.assert_allclose(evidence.log_evidence, log_p, atol=1e-4)
    np.testing.assert_allclose(history.value[-5:], log_p.mean(), atol=1e-3)


def test_discrete_layers_take_the_score_function():
    """q(z_1) q(z_2 | z_1) over three states each, against the sum over all nine pairs."""
    above = vi.Guide(
        lambda key: jnp.zeros((3, 3)),
        lambda phi, z: guides.categorical(3).distribution(phi[z], ()),
        reparameterized=False,
    )
    guide = guides.chain(guides.categorical(3), above)
    assert not guide.reparameterized
    assert guide.support is None
    rng = np.random.default_rng(0)
    table = jnp.asarray(rng.normal(size=(3, 3)))
    model = vi.Model(lambda key: table, lambda theta, x, z: theta[z])
    params, x = vi.Params(table, somewhere(guide)), jnp.zeros((1, 1))

    def elbo(params):
        log_q = jax.nn.log_softmax(params.phi[0])[:, None] + jax.nn.log_softmax(params.phi[1])
        return jnp.sum(jnp.exp(log_q) * (params.theta - log_q))

    objective = vi.value_and_grad(model, guide, bounds.elbo, estimators.leave_one_out, num_samples=3)
    _, gradients = jax.jit(jax.vmap(lambda key: objective(key, params, x)))(jax.random.split(KEY, 10_000))
    for found, wanted in zip(jax.tree.leaves(gradients), jax.tree.leaves(jax.grad(elbo)(params)), strict=True):
        assert z_scores(np.asarray(found), np.asarray(wanted)).max() < 4
    with pytest.raises(ValueError, match="reparameterized=False"):
        vi.value_and_grad(model, guide, bounds.elbo, estimators.pathwise, num_samples=3)


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="at least one guide, got none"):
        guides.chain()
    wrong = guides.chain(guides.mean_field(3), guides.affine(2, 1, variance=1.0))
    with pytest.raises(ValueError, match=r"x must have shape \(2,\).* got \(3,\)"):
        jax.eval_shape(lambda key: wrong.distribution(wrong.init(key), jnp.zeros(1)).sample(seed=key), KEY)
    with pytest.raises(ValueError, match="tuple of 2 layers, got 3"):
        TWO.distribution(somewhere(TWO), jnp.zeros(1)).log_prob((jnp.zeros(1),) * 3)
