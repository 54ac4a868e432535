"""Every model of the zoo is whole, and what it says of its gradients is what a paper calculation says."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from experiments import truth, zoo
from vi_jax.measurement import Reference

# These are trained when they are asked for.
TRAINED = {"belief-net", "digits-vae"}
QUICK = [name for name in zoo.ZOO if name not in TRAINED]


@pytest.mark.parametrize("name", QUICK)
def test_model_guide_parameters_and_data_fit_together(name):
    model, guide, params, x, exact = zoo.problem(name)
    rule = vi.estimators.pathwise if guide.reparameterized else vi.estimators.score_function
    objective = vi.value_and_grad(model, guide, vi.bounds.elbo, rule, num_samples=2)
    values, gradient = jax.eval_shape(objective, jax.random.key(0), params, x)
    assert values.shape == (len(x),)
    assert jax.tree.map(jnp.shape, gradient) == jax.tree.map(jnp.shape, params)
    assert exact is not None
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(params.phi))


@pytest.mark.parametrize(
    "name", ["mixture", "boltzmann", "gaussian-mean", "normal-gamma", "ppca", "two-modes", "mixture-weights"]
)
def test_importance_sampling_sees_the_evidence_that_the_zoo_calls_exact(name):
    model, guide, params, x, exact = zoo.problem(name)
    found = vi.log_evidence(jax.random.key(1), model, guide, params, x, num_samples=4000)
    log_p = jax.vmap(exact.log_evidence, in_axes=(None, 0))(params.theta, x)
    # The error of log p̂ itself, and the rounding of float32 beside it.
    assert np.all(np.abs(found.log_evidence - log_p) < 5 * found.standard_error + 1e-4 * np.abs(log_p))


def test_a_problem_belongs_to_its_name():
    assert zoo.problem("toy") is zoo.problem("toy")
    again = zoo.ZOO["toy"].make(jax.random.fold_in(jax.random.key(0), list(zoo.ZOO).index("toy")))
    for leaf, other in zip(jax.tree.leaves(zoo.problem("toy")[2:4]), jax.tree.leaves(again[2:4]), strict=True):
        np.testing.assert_array_equal(leaf, other)


def test_an_unknown_model_is_answered_with_all_that_there_are():
    with pytest.raises(ValueError, match=r"there is no model 'vae': choose from table, .*digits-vae, .*banana"):
        zoo.problem("vae")


def test_parameters_are_near_an_optimum_and_not_at_it():
    """Of the toy the distance is known: N(0, 0.01²) in each coordinate."""
    posed = zoo.problem("toy")
    mu, A, b = vi.models.linear_gaussian_optimum(posed.x)
    off = np.concatenate([np.ravel(posed.params.theta - mu), np.ravel(posed.params.phi.A - A)])
    assert 0.008 < np.std(off) < 0.012
    assert np.abs(posed.params.phi.b - b).max() < 0.05


def test_targets_are_near_their_own_optimum():
    for name, optimum in (("funnel", vi.models.funnel_optimum(10)), ("banana", vi.models.banana_optimum())):
        posed = zoo.problem(name)
        assert 0 < np.abs(posed.params.phi.loc - optimum.loc).max() < 0.05
        assert 0 < np.abs(posed.params.phi.log_scale - np.log(optimum.scale)).max() < 0.05


# --- truth ------------------------------------------------------------------------------------------------------------


def nothing(name: str, size: int) -> None:
    return None


exactly = functools.partial(truth.reference, "table", measured=nothing)


def test_the_table_has_the_gradients_that_enumeration_by_hand_has():
    """Three states, η = (.1, −.4, .3): sums over all tuples, done elsewhere in float64."""
    elbo = exactly(("elbo", "vimco"), 5)
    np.testing.assert_allclose(elbo.value, -1.66574242, atol=1e-5)
    np.testing.assert_allclose(elbo.gradient.phi, [0.38750937, 0.04494531, -0.43245469], atol=1e-5)
    iwae = exactly(("iwae", "vimco"), 3)
    np.testing.assert_allclose(iwae.value, -1.40195791, atol=1e-5)
    np.testing.assert_allclose(iwae.gradient.phi, [0.1819850, -0.0192668, -0.1627182], atol=1e-5)
    assert float(iwae.value_error) == 0.0


def test_each_pair_is_judged_by_what_it_follows():
    plain, wake = exactly(("iwae", "vimco"), 2), exactly(("iwae", "wake_phi"), 2)
    np.testing.assert_allclose(wake.gradient.phi, [0.3606706, -0.03590698, -0.32476362], atol=1e-5)
    np.testing.assert_array_equal(wake.gradient.theta, plain.gradient.theta)
    down = exactly(("iwae", "minimized:vimco"), 2)
    np.testing.assert_array_equal(down.gradient.phi, -plain.gradient.phi)
    np.testing.assert_array_equal(down.gradient.theta, plain.gradient.theta)
    split = exactly(("iwae", "piwae:2"), 4)
    np.testing.assert_allclose(split.gradient.phi, plain.gradient.phi, atol=1e-6)
    np.testing.assert_array_equal(split.gradient.theta, exactly(("iwae", "vimco"), 4).gradient.theta)


def test_of_one_draw_every_bound_is_the_elbo_and_of_too_many_none_is_known():
    np.testing.assert_allclose(exactly(("renyi:2", "vimco"), 1).value, exactly(("elbo", "vimco"), 1).value, rtol=1e-6)
    beyond = exactly(("iwae", "vimco"), 8)
    assert np.isnan(beyond.value)
    assert np.all(np.isnan(beyond.gradient.phi))


def test_what_no_formula_has_is_what_was_measured():
    params = zoo.problem("two-modes").params
    given = Reference(jnp.ones(()), params, jnp.full((), 0.1), params)
    found = truth.reference("two-modes", ("iwae", "minimized:pathwise"), 4, lambda name, size: given)
    assert float(found.value) == 1.0
    np.testing.assert_array_equal(found.gradient.phi.loc, -params.phi.loc)
    np.testing.assert_array_equal(found.gradient_error.phi.loc, params.phi.loc)
    wake = truth.reference("two-modes", ("iwae", "wake_phi"), 4, lambda name, size: given)
    assert np.all(np.isnan(wake.gradient.phi.loc))
