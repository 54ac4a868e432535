"""Draws of another distribution: unbiased against sums, RLOO where it is the guide's own, and bounded weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from tests import problems
from tests.populations import z_scores
from vi_jax import bounds, estimators, guides, models, objectives

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)
TABLE, FINITE = models.table(models.THREE_STATES), guides.categorical(3)
POINT = vi.Params(jnp.log(jnp.array(models.THREE_STATES)), jnp.array([0.1, -0.4, 0.3]))
OTHER = jnp.array([-0.5, 0.6, 0.2])
X = jnp.array([0])


def other(params, x):
    del params
    return FINITE.distribution(OTHER, x)


def own(guide):
    return lambda params, x: guide.distribution(params.phi, x)


def pairs_of_states(params: vi.Params, log_r: jax.Array):
    """All nine pairs of draws of r: probability `[9]`, log p, log q and log r `[2, 9]`, differentiable in `params`."""
    tuples = np.indices((3, 3)).reshape(2, -1)
    log_q = jax.nn.log_softmax(params.phi)
    return jnp.exp(log_r[tuples].sum(axis=0)), params.theta[0][tuples], log_q[tuples], log_r[tuples]


def replicated(objective, params, x, num=20_000):
    return jax.jit(jax.vmap(objective, (0, None, None)))(jax.random.split(KEY, num), params, x)


def assert_mean(found, expected):
    """Per coordinate; what does not move is compared as it is."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert z_scores(found, expected).max() < 4.5


# --- log-variance -----------------------------------------------------------------------------------------------------


def test_with_draws_of_the_guide_it_is_rloo_draw_by_draw():
    point, x = problems.curved_params(), problems.curved_data()
    objective = objectives.log_variance(problems.CURVED, problems.AMORTIZED, own(problems.AMORTIZED), num_samples=4)
    rloo = {"rloo": (bounds.elbo, estimators.leave_one_out), "iwae": (bounds.iwae, estimators.vimco)}
    log_w, expected = vi.shared_gradients(problems.CURVED, problems.AMORTIZED, rloo, num_samples=4)(KEY, point, x)
    values, found = objective(KEY, point, x)
    np.testing.assert_allclose(values, -jnp.var(log_w, axis=0, ddof=1) / 2, rtol=1e-12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), found.phi, expected["rloo"].phi)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), found.theta, expected["iwae"].theta)


def test_the_log_variance_is_unbiased_under_any_reference():
    log_r = jax.nn.log_softmax(OTHER)

    def exact(params):
        """−½ Var_r(log w) and the importance-weighted bound of two draws, each a sum."""
        log_w, r = params.theta[0] - jax.nn.log_softmax(params.phi), jnp.exp(log_r)
        probability, log_p, _, of_r = pairs_of_states(params, log_r)
        return -(r @ log_w**2 - (r @ log_w) ** 2) / 2, probability @ bounds.iwae(log_p - of_r)

    values, found = replicated(objectives.log_variance(TABLE.model, FINITE, other, num_samples=2), POINT, X)
    assert_mean(values, exact(POINT)[0])
    assert_mean(found.phi, jax.grad(lambda params: exact(params)[0])(POINT).phi)
    assert_mean(found.theta, jax.grad(lambda params: exact(params)[1])(POINT).theta)


def test_it_vanishes_at_the_posterior_whatever_is_drawn():
    toy, guide = models.linear_gaussian(2), guides.affine(2, 2, variance=0.5)
    params = vi.Params(jnp.zeros(2), guides.Affine(jnp.eye(2) / 2, jnp.zeros(2)))
    wide = guides.affine(2, 2, variance=9.0)
    objective = objectives.log_variance(toy.model, guide, own(wide), num_samples=5)
    values, found = objective(KEY, params, jnp.ones((3, 2)))
    np.testing.assert_allclose(values, 0, atol=1e-12)
    for leaf in jax.tree.leaves(found.phi):
        np.testing.assert_allclose(leaf, 0, atol=1e-12)
    assert np.abs(found.theta).min() > 1e-3


# --- defensive wake-φ -------------------------------------------------------------------------------------------------


def test_defensive_wake_has_the_mean_of_its_mixture():
    share = 0.3
    log_r = jnp.logaddexp(
        jnp.log(1 - share) + jax.nn.log_softmax(POINT.phi), jnp.log(share) + jax.nn.log_softmax(OTHER)
    )

    def exact(params):
        """E log mean w, whose slope is that of θ̄; and E Σ w̃ log q with w̃ held fixed, whose slope is that of φ̄."""
        probability, log_p, log_q, of_r = pairs_of_states(params, log_r)
        weights = jax.lax.stop_gradient(jax.nn.softmax(log_p - of_r, axis=0))
        return probability @ bounds.iwae(log_p - of_r), probability @ jnp.sum(weights * log_q, axis=0)

    objective = objectives.defensive_wake_phi(TABLE.model, FINITE, other, share=share, num_samples=2)
    values, found = replicated(objective, POINT, X)
    assert_mean(values, exact(POINT)[0])
    assert_mean(found.theta, jax.grad(lambda params: exact(params)[0])(POINT).theta)
    assert_mean(found.phi, jax.grad(lambda params: exact(params)[1])(POINT).phi)


def test_a_latent_that_is_a_tree_and_a_defense_that_is_the_guide():
    """The mixture is q itself then, and the gradient has the mean of plain wake-φ."""
    objective = objectives.defensive_wake_phi(
        problems.TREE, problems.PAIRED, own(problems.PAIRED), share=0.5, num_samples=3
    )
    plain = vi.value_and_grad(problems.TREE, problems.PAIRED, bounds.iwae, estimators.wake_phi, num_samples=3)
    point, x = problems.tree_params(), problems.tree_data()
    first, second = (jax.tree.map(np.asarray, replicated(f, point, x, 3000)) for f in (objective, plain))
    for one, other in zip(*(jax.tree.leaves(both) for both in (first, second)), strict=True):
        error = np.hypot(one.std(axis=0), other.std(axis=0)) / np.sqrt(3000)
        assert np.all(np.abs(one.mean(axis=0) - other.mean(axis=0)) < 4.5 * error)


def narrow():
    """p(z | x) = N(1, ½) at x = 2, and a guide N(0, 0.15²)."""
    toy, guide = models.linear_gaussian(1), guides.mean_field(1, initial_scale=0.15)
    return toy.model, guide, vi.Params(jnp.zeros(1), guide.init(KEY)), jnp.full((1, 1), 2.0)


def prior(params, x):
    del x
    return problems.Normal(params.theta, jnp.ones(()))


def test_weights_are_bounded_by_the_likelihood_over_the_share():
    model, guide, params, x = narrow()
    objective = objectives.defensive_wake_phi(model, guide, prior, share=0.25, num_samples=1)
    # Of one draw the value is log w, and the likelihood of x is at most (2π)^−½.
    most = -np.log(2 * np.pi) / 2 - np.log(0.25)
    values, _ = replicated(objective, params, x)
    assert most - 0.3 < np.max(values) <= most + 1e-12
    assert np.max(vi.log_weights(KEY, model, guide, params, x, num_samples=20_000)) > most + 1


def test_a_narrow_guide_misleads_the_plain_wake_phase_far_more():
    model, guide, params, x = narrow()
    # E_{N(1, ½)}[∂ log q]: (1 − 0)/s² and (1² + ½)/s² − 1.
    exact = np.array([1 / 0.15**2, 1.5 / 0.15**2 - 1])
    wake = vi.value_and_grad(model, guide, bounds.iwae, estimators.wake_phi, num_samples=16)
    defended = objectives.defensive_wake_phi(model, guide, prior, share=0.3, num_samples=16)
    bias = []
    for objective in (wake, defended):
        phi = replicated(objective, params, x, 4000)[1].phi
        samples = np.concatenate([phi.loc, phi.log_scale], axis=1)
        bias.append(np.abs(samples.mean(axis=0) - exact))
        error = samples.std(axis=0) / np.sqrt(4000)
    assert np.all(bias[0] > 0.5 * exact)
    assert np.all(bias[1] + 5 * error < 0.5 * bias[0])


# --- zero weights, and refusals ---------------------------------------------------------------------------------------


def test_a_datum_without_weight_is_minus_infinity_and_leaves_no_trace():
    """Below an edge the density is zero, its derivative NaN: for all draws of the first datum, half of the second's."""
    point, x = problems.edged_params(), problems.edged_data(100.0, 0.0, -100.0)
    wide = own(problems.FREE)
    of_wake = objectives.defensive_wake_phi(problems.EDGED, problems.FREE, wide, share=0.5, num_samples=6)
    of_variance = objectives.log_variance(problems.EDGED, problems.FREE, wide, num_samples=6)
    for objective, possible in ((of_wake, [False, True, True]), (of_variance, [False, False, True])):
        values, found = objective(KEY, point, x)
        np.testing.assert_array_equal(np.isneginf(values), ~np.array(possible))
        assert all(np.all(np.isfinite(np.asarray(leaf))) for leaf in jax.tree.leaves((values[2], found)))
        assert np.abs(np.asarray(found.theta)) > 1e-3
        none, nothing = objective(KEY, point, problems.edged_data(100.0, 100.0))
        assert np.all(np.isneginf(none))
        assert not any(np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(nothing))


def test_a_guide_that_is_zero_where_the_reference_draws():
    """log w = ∞: as impossible as −∞ for the variance; and so it is where the model is zero there too."""
    objective = objectives.log_variance(TABLE.model, FINITE, other, num_samples=20)
    for theta in (POINT.theta, POINT.theta.at[0, 2].set(-jnp.inf)):
        values, found = objective(KEY, vi.Params(theta, jnp.array([0.0, 0.0, -jnp.inf])), X)
        assert np.isneginf(values[0])
        assert not any(np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(found))


def test_refusals_name_the_value_and_the_remedy():
    with pytest.raises(ValueError, match="needs num_samples ≥ 2, got 1"):
        objectives.log_variance(TABLE.model, FINITE, other, num_samples=1)
    for share in (0, 1, -0.5, float("nan")):
        with pytest.raises(ValueError, match=rf"share must lie between 0 and 1, got {share}.*wake_phi"):
            objectives.defensive_wake_phi(TABLE.model, FINITE, other, share=share, num_samples=2)
    toy, guide = models.linear_gaussian(2), guides.mean_field(2)
    params = vi.Params(jnp.zeros(2), guide.init(KEY))
    wrong = objectives.log_variance(
        toy.model, guide, lambda params, x: problems.Normal(jnp.zeros(3), jnp.ones(())), num_samples=2
    )
    with pytest.raises(ValueError, match=r"shaped like the guide's, \(2,\), and .* are \(3,\)"):
        wrong(KEY, params, jnp.zeros((1, 2)))
