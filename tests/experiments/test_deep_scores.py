"""Scores against what is known exactly: a linear-Gaussian model, and guides made by hand."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from experiments import deep_scores

KEY = jax.random.key(0)
DIM = 3
TOY = vi.models.linear_gaussian(DIM)
X = 2**0.5 * jax.random.normal(jax.random.key(1), (40, DIM))
AFFINE = vi.guides.Affine(0.4 * jnp.eye(DIM), jnp.full(DIM, 0.1))


@pytest.fixture(scope="module")
def found():
    guide, params = vi.guides.affine(DIM, DIM, variance=2 / 3), vi.Params(jnp.zeros(DIM), AFFINE)
    exact = np.asarray(jax.jit(jax.vmap(TOY.log_evidence, in_axes=(None, 0)))(params.theta, X))
    elbo = np.asarray(jax.jit(jax.vmap(lambda x: vi.exact.elbo(TOY, guide, params, x)))(X))
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf + 0.5]), params)
    return deep_scores.scores_of_seeds(KEY, TOY.model, guide, stacked, X, num_draws=2000), exact, elbo


def test_nll_and_elbo_are_the_exact_ones_within_their_errors(found):
    (mine, _), exact, elbo = found
    z = (-mine.nll - exact) / mine.nll_error
    assert np.abs(z).max() < 4.5
    assert np.abs(z).mean() > 0.5
    # Var(log w) / D = 1/18 + (8/3) |δ|²/D: see the toy.
    error = np.sqrt(mine.minus_elbo.size * 100.0)
    assert abs(np.sum(-mine.minus_elbo - elbo)) / mine.minus_elbo.size < 4 * 3 / error
    assert np.all(mine.ess_share <= 1 + 1e-5)


def test_each_seed_is_scored_at_its_own_parameters(found):
    (mine, other), _, _ = found
    assert other.nll.mean() - mine.nll.mean() > 0.01


def test_active_units_are_counted_of_means_and_not_of_draws():
    """Unit 0 follows x, unit 1 does so below the threshold, unit 2 is the prior, unit 3 is noise of a large scale."""
    slopes, scales = jnp.array([0.5, 0.05, 0.0, 0.0]), jnp.array([0.3, 1.0, 1.0, 5.0])
    guide = vi.Guide(lambda key: (), lambda phi, x: distrax.MultivariateNormalDiag(slopes * x[0], scales * jnp.ones(4)))
    model = vi.Model(lambda key: (), lambda theta, x, z: -jnp.sum(z**2) / 2)
    x = jax.random.normal(jax.random.key(2), (2000, 1))
    scored = deep_scores.scores(KEY, model, guide, vi.Params((), ()), x, num_draws=2)
    (variances,) = scored.variances
    error = np.asarray(scales) ** 2 / deep_scores.HALF / 2000**0.5
    error += 2 * np.asarray(slopes * scales) / (deep_scores.HALF * 2000) ** 0.5
    expected = np.asarray(slopes) ** 2 * np.var(np.asarray(x), ddof=1)
    assert np.all(np.abs(variances - expected) < 4 * error)
    assert deep_scores.num_active((variances, np.array([0.02, 0.2]))) == (1, 2)


def test_a_traversal_moves_one_unit_and_leaves_the_others():
    model = vi.models.hierarchical_decoder((3, 2), 4, hidden=((5,), (5,)))
    guide = vi.guides.chain(vi.guides.gaussian_encoder(4, 3, hidden=()), vi.guides.gaussian_encoder(3, 2, hidden=()))
    params = jax.jit(lambda: vi.Params(model.init(KEY), guide.init(KEY)))()
    variances = (np.ones(3), np.array([0.1, 0.4]))
    drawn = deep_scores.pictures(KEY, model, guide, params, jnp.ones((2, 4)), variances, num_samples=6, num_units=2)
    assert drawn.samples.shape == (6, 4)
    assert drawn.traversals.shape == (2, 9, 4)

    @jax.jit
    def expected(key):
        """The most active unit of the top layer, 1, moved to the seventh value, the rest as the guide drew it."""
        z = guide.distribution(params.phi, jnp.ones(4)).sample(seed=key)
        law = model.prior(params.theta)
        noise = law.bijector.inverse(z)
        moved = law.bijector.forward((noise[0], noise[1].at[1].set(deep_scores.VALUES[6])))
        return [model.likelihood(params.theta, each).mean() for each in (moved, z)]

    moved, same = expected(jax.random.split(jax.random.split(KEY)[1], 2)[0])
    np.testing.assert_allclose(drawn.traversals[0, 6], moved, rtol=1e-4)
    np.testing.assert_allclose(drawn.reconstructions[0], same, rtol=1e-4)
    assert np.all(np.ptp(drawn.traversals, axis=1) > 1e-3)
