"""Generalized double reparameterization: the identity by quadrature, pairs with the plain gradient, exact variances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from tests.populations import z_scores
from vi_jax import bounds, estimators, guides, models, objectives
from vi_jax.models import LinearLayer

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)
CHAIN = models.linear_gaussian_chain((1, 1), 1)
NUM_DRAWS = 20_000


def log_normal(y, mean, log_scale):
    return -(((y - mean) * jnp.exp(-log_scale)) ** 2) / 2 - log_scale - np.log(2 * np.pi) / 2


def test_the_identity_holds_for_any_function_of_the_draw():
    """E_q[g ∂ log p] = E_q[(∂g + g ∂ log (q/p)) ∂T(ε̃)] in one dimension, for the mean and the scale of the prior."""
    z = jnp.linspace(-14, 14, 4001)
    theta, of_q = jnp.array([0.3, -0.2]), (0.8, 0.1)
    q = jnp.exp(log_normal(z, *of_q)) * (z[1] - z[0])

    def g(z):
        return jnp.tanh(z) + 0.3 * jnp.sin(2 * z) + 0.5

    def bracket(z):
        log_ratio = jax.grad(lambda z: log_normal(z, *of_q) - log_normal(z, *theta))(z)
        return jax.grad(g)(z) + g(z) * log_ratio

    noise = (z - theta[0]) * jnp.exp(-theta[1])
    moves = jax.jacobian(lambda theta: theta[0] + jnp.exp(theta[1]) * noise)(theta)
    left = (q * g(z)) @ jax.jacobian(lambda theta: log_normal(z, *theta))(theta)
    right = (q * jax.vmap(bracket)(z)) @ moves
    np.testing.assert_allclose(left, right, rtol=1e-10)


def layer(W, b, log_scale):
    return LinearLayer(np.full((1, 1), W), np.full(1, b), np.full(1, log_scale))


def affine(A, b):
    return guides.Affine(np.full((1, 1), A), np.full(1, b))


def squared(log_w):
    """A bound of one's own: no closed form is known of it."""
    return bounds.iwae(log_w) - 0.05 * bounds.iwae(log_w) ** 2


BOUNDS = {"iwae": bounds.iwae, "renyi": bounds.renyi(0.5), "own": squared}
SHARP = vi.Params((layer(0.9, 0.2, -0.1), layer(0.7, -0.3, 0.1)), (affine(0.4, 0.3), affine(0.5, -0.1)))
# The datum says little, and the guide is near the posterior, and so near the prior.
VAGUE = vi.Params((layer(0.9, 0.2, 1.5), layer(0.7, -0.3, 0.1)), (affine(0.06, -0.25), affine(0.4, 0.1)))
GUIDES = {
    "sharp": guides.chain(guides.affine(1, 1, variance=0.6), guides.affine(1, 1, variance=0.9)),
    "vague": guides.chain(guides.affine(1, 1, variance=1.6), guides.affine(1, 1, variance=0.72)),
}


@pytest.fixture(scope="module")
def pairs():
    """Plain doubly reparameterized and generalized gradients `[R, ...]` of the same draws, by bound."""
    with jax.enable_x64(True):
        x = jnp.full((1, 1), 0.8)

        def both(bound, guide, params):
            plain = vi.value_and_grad(CHAIN.model, guide, bound, estimators.doubly_reparameterized, num_samples=4)
            general = objectives.generalized_doubly_reparameterized(CHAIN.model, guide, bound, num_samples=4)
            return lambda key: (plain(key, params, x), general(key, params, x))

        made = {name: both(bound, GUIDES["sharp"], SHARP) for name, bound in BOUNDS.items()}
        made["vague"] = both(bounds.iwae, GUIDES["vague"], VAGUE)
        keys = jax.random.split(KEY, NUM_DRAWS)
        return jax.device_get(jax.jit(lambda keys: {name: jax.vmap(pair)(keys) for name, pair in made.items()})(keys))


@pytest.mark.parametrize("name", [*BOUNDS, "vague"])
def test_only_the_gradient_of_the_prior_differs_and_its_mean_does_not(name, pairs):
    (values, plain), (same_values, general) = pairs[name]
    np.testing.assert_allclose(values, same_values, rtol=1e-12)
    equal = (plain.phi, plain.theta[0]), (general.phi, general.theta[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-12), *equal)
    for one, other in zip(plain.theta[1], general.theta[1], strict=True):
        assert np.abs(one - other).min() > 0
        assert z_scores(one - other).max() < 4


def total_variance(leaves):
    return sum(np.var(leaf, axis=0).sum() for leaf in leaves)


def test_the_prior_gains_where_the_datum_says_little_and_not_where_it_says_much(pairs):
    ratio = {
        name: total_variance(general.theta[1]) / total_variance(plain.theta[1])
        for name, ((_, plain), (_, general)) in pairs.items()
    }
    # Each variance is known to a few per cent.
    assert ratio["vague"] < 0.2
    assert ratio["iwae"] > 1.1


@pytest.mark.parametrize(("noise", "gains"), [(9.0, True), (0.25, False)])
def test_variances_at_the_posterior_are_the_closed_forms(noise, gains):
    """Prior N(m, 1), posterior variance s²: (1 − s²)²/s² against s² for ∂m."""
    exact, guide = models.gaussian_mean(1, variance=noise), guides.mean_field(1)
    s2 = noise / (1 + noise)
    theta, x = exact.model.init(KEY), jnp.array([[0.7]])
    params = vi.Params(theta, guides.MeanField(jnp.array([0.7 / (1 + noise)]), jnp.array([np.log(s2) / 2])))
    plain = vi.value_and_grad(exact.model, guide, bounds.elbo, estimators.pathwise, num_samples=1)
    general = objectives.generalized_doubly_reparameterized(exact.model, guide, bounds.elbo, num_samples=1)
    keys = jax.random.split(KEY, NUM_DRAWS)
    slopes = jax.jit(
        lambda keys: [jax.vmap(lambda key, o=o: o(key, params, x)[1].theta.prior_mean)(keys) for o in (plain, general)]
    )(keys)
    expected = s2, (1 - s2) ** 2 / s2
    # The variance of n Gaussian numbers has a relative error of √(2/n): five of them.
    np.testing.assert_allclose([np.var(s) for s in slopes], expected, rtol=5 * np.sqrt(2 / NUM_DRAWS))
    assert (expected[1] < expected[0]) == gains


def test_where_the_guide_is_the_prior_its_gradient_has_no_noise_under_the_elbo():
    exact, guide = models.gaussian_mean(1), guides.mean_field(1)
    params = vi.Params(exact.model.init(KEY), guide.init(KEY))
    objective = objectives.generalized_doubly_reparameterized(exact.model, guide, bounds.elbo, num_samples=3)
    _, gradient = objective(KEY, params, jnp.array([[2.0]]))
    np.testing.assert_allclose(gradient.theta[:2], 0, atol=1e-12)


def test_single_precision_stays_single_and_one_layer_without_parameters_is_the_plain_gradient(strict_promotion):
    with jax.enable_x64(False):
        model, guide = models.hierarchical_decoder((2,), 3, hidden=((),)), guides.chain(guides.gaussian_encoder(3, 2))
        params, x = vi.Params(model.init(KEY), guide.init(KEY)), jnp.ones((2, 3))
        general = objectives.generalized_doubly_reparameterized(model, guide, bounds.iwae, num_samples=3)
        plain = vi.value_and_grad(model, guide, bounds.iwae, estimators.doubly_reparameterized, num_samples=3)
        found, expected = general(KEY, params, x), plain(KEY, params, x)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found, expected)
        assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype(jnp.float32)}


def test_refusals_name_the_remedy():
    bare, guide = CHAIN.model._replace(prior=None), GUIDES["sharp"]
    make = objectives.generalized_doubly_reparameterized
    with pytest.raises(ValueError, match=r"Model\(prior=\.\.\.\)"):
        make(bare, guide, bounds.iwae, num_samples=2)
    with pytest.raises(ValueError, match="reparameterized=False"):
        make(CHAIN.model, guide._replace(reparameterized=False), bounds.iwae, num_samples=2)
    with pytest.raises(ValueError, match="continuous"):
        make(CHAIN.model, guide, bounds.renyi(-np.inf), num_samples=2)

    class Plain:
        def log_prob(self, z):
            return -sum(jnp.sum(part**2) for part in z) / 2

    objective = make(CHAIN.model._replace(prior=lambda theta: Plain()), guide, bounds.iwae, num_samples=2)
    with pytest.raises(ValueError, match=r"prior, a Plain, has no bijector.*MultivariateNormalDiag"):
        objective(KEY, SHARP, jnp.ones((1, 1)))
