"""Operators on estimators: what each half follows, through the coefficients and through the public function."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import vi_jax as vi
from tests import problems
from vi_jax import bounds, estimators

KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def _x64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def gradient(bound, estimator, num_samples=4):
    objective = vi.value_and_grad(problems.CURVED, problems.AMORTIZED, bound, estimator, num_samples=num_samples)
    return objective(KEY, problems.curved_params(), problems.curved_data())


def assert_trees_agree(actual, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), actual, expected)


@pytest.mark.parametrize("name", ["pathwise", "doubly_reparameterized", "vimco"])
def test_minimized_turns_the_guide_around_and_leaves_the_model(name):
    rule = getattr(estimators, name)
    values, up = gradient(bounds.cubo(2), rule)
    same, down = gradient(bounds.cubo(2), estimators.minimized(rule))
    np.testing.assert_array_equal(values, same)
    assert_trees_agree(down, vi.Params(up.theta, jax.tree.map(jnp.negative, up.phi)))


def test_minimizing_an_upper_bound_brings_it_down_to_the_evidence():
    """CUBO₂ of N(1, 1) by a Gaussian that can match it."""
    target = vi.Model(lambda key: (), lambda theta, x, z: problems.log_normal(z, jnp.ones(1), jnp.ones(())))
    guide = vi.guides.mean_field(1, initial_scale=1.3)
    rule = estimators.minimized(estimators.doubly_reparameterized)
    objective = vi.value_and_grad(target, guide, bounds.cubo(2), rule, num_samples=64)
    params = vi.Params((), guide.init(KEY))
    state, history = vi.fit(KEY, objective, optax.adam(0.05), params, jnp.zeros((1, 1)), num_steps=300)
    assert history.value[0] > 0.1
    np.testing.assert_allclose(history.value[-1], 0, atol=1e-3)
    np.testing.assert_allclose(state.params.phi.loc, 1, atol=0.02)


def test_split_follows_one_bound_in_theta_and_another_in_phi():
    of_theta, of_phi = (bounds.iwae, estimators.pathwise), (bounds.elbo, estimators.sticking_the_landing)
    values, joined = gradient(bounds.iwae, estimators.split(theta=of_theta, phi=of_phi))
    np.testing.assert_array_equal(values, gradient(*of_theta)[0])
    assert_trees_agree(joined, vi.Params(gradient(*of_theta)[1].theta, gradient(*of_phi)[1].phi))


def test_split_of_a_guide_without_path_needs_no_derivative_of_the_draws():
    rule = estimators.split(theta=(bounds.iwae, estimators.pathwise), phi=(bounds.iwae, estimators.vimco))
    guide = problems.AMORTIZED._replace(reparameterized=False)
    vi.value_and_grad(problems.CURVED, guide, bounds.iwae, rule, num_samples=4)


@pytest.mark.parametrize("name", ["pathwise", "doubly_reparameterized"])
def test_piwae_is_iwae_in_theta_and_miwae_in_phi(name):
    rule = getattr(estimators, name)
    _, both = gradient(bounds.iwae, estimators.piwae(2, rule))
    expected = vi.Params(gradient(bounds.iwae, rule)[1].theta, gradient(bounds.miwae(2), rule)[1].phi)
    assert_trees_agree(both, expected)


def test_a_gap_of_five_hundred_nats_leaves_piwae_finite():
    """path / model is 0/0 in a group whose weights are nothing beside the other group's."""
    log_w = jnp.array([[0.0, -1.0, -500.0, -501.0]]).T
    c = estimators.piwae(2)(bounds.iwae)(log_w)
    assert c.ratio is None
    assert np.all(np.isfinite(np.asarray(c.path)))
    np.testing.assert_allclose(c.path[2:, 0].sum(), 0.5, rtol=1e-9)
    np.testing.assert_allclose(c.model[2:, 0], 0, atol=1e-200)


def test_operators_say_what_they_are():
    assert estimators.minimized(estimators.vimco).__name__ == "minimized(vimco)"
    assert estimators.piwae(4).__name__ == "piwae(4, pathwise)"
    with pytest.raises(ValueError, match="multiple of 3"):
        gradient(bounds.iwae, estimators.piwae(3))


@pytest.mark.parametrize("rule", [estimators.wake_phi, estimators.wake_phi_doubly_reparameterized])
def test_minimizing_what_already_descends_the_forward_divergence_is_refused(rule):
    with pytest.raises(ValueError, match=rf"minimized\({rule.__name__}\) would climb .* use {rule.__name__} itself"):
        estimators.minimized(rule)
