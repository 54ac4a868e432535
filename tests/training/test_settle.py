"""A fit without tuning: targets of known best ELBO, objectives of every kind, and densities that have no answer."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from vi_jax import training

NOTHING = jnp.zeros((1, 1))
SCHOOLS = jnp.asarray(vi.models.EIGHT_SCHOOLS.effects)[None]
NUM_DRAWS = 20_000
STL, DREG = vi.estimators.sticking_the_landing, vi.estimators.doubly_reparameterized


def normal(z):
    return -z @ z / 2


def fit(model, guide, x, objective=None, **arguments):
    """STL on ten draws from the guide's own start, or another objective."""
    objective = objective or vi.value_and_grad(model, guide, vi.bounds.elbo, STL, num_samples=10)
    params = vi.Params((), guide.init(jax.random.key(0)))
    score = training.log_weight_score(model, guide)
    return training.fit_until_settled(jax.random.key(1), objective, params, x, score=score, **arguments)


TARGETS = {
    "funnel": (vi.models.funnel(10).model, vi.guides.mean_field(10), NOTHING, -1.862847),
    "non-centred": (vi.models.eight_schools(vi.models.NON_CENTRED), vi.guides.mean_field(10), SCHOOLS, -31.597),
    "centred": (vi.models.eight_schools(vi.models.CENTRED), vi.guides.mean_field(10), SCHOOLS, -33.403),
    "non-centred-full": (vi.models.eight_schools(vi.models.NON_CENTRED), vi.guides.full_rank(10), SCHOOLS, -31.532),
    "centred-full": (vi.models.eight_schools(vi.models.CENTRED), vi.guides.full_rank(10), SCHOOLS, -32.590),
}


SLOW = {"centred", "non-centred-full"}  # The five together take half a minute of compilation.


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in TARGETS])
def test_the_best_elbo_is_reached_without_tuning(name):
    model, guide, x, best = TARGETS[name]
    found = fit(model, guide, x)
    log_w = vi.log_weights(jax.random.key(2), model, guide, found.params, x, num_samples=NUM_DRAWS)
    assert found.settled, found.reason
    assert abs(jnp.mean(log_w) - best) < 0.05
    last = found.stages[-1]
    assert abs(last.gain) + last.gain_standard_error < 0.01
    assert last.noise < 0.01
    assert abs(last.score - best) < 4 * last.standard_error + 0.05


def piecewise(theta, x, z):
    """log p = slope z_0 − (width_0 z_0² + width_1 z_1²)/2 up to z_0 = cut, and log(beyond) after it; one program."""
    cut, beyond, slope, *width = x
    return jnp.where(
        z[0] > cut, jnp.log(beyond), slope * z[0] - (jnp.log(width[0]) * z[0] ** 2 + width[1] * z[1] ** 2) / 2
    )


PIECEWISE, PLANE = vi.Model(lambda key: (), piecewise), vi.guides.mean_field(2)
BY_STL = vi.value_and_grad(PIECEWISE, PLANE, vi.bounds.elbo, STL, num_samples=10)
BY_ELBO = training.log_weight_score(PIECEWISE, PLANE)


def fit_piecewise(*numbers, **arguments):
    start = vi.Params((), PLANE.init(jax.random.key(0)))
    x = jnp.array([numbers])
    return training.fit_until_settled(jax.random.key(1), BY_STL, start, x, score=BY_ELBO, **arguments)


def test_a_normal_is_found_and_each_rate_is_half_of_the_one_before():
    found = fit_piecewise(jnp.inf, 1.0, 1.0, jnp.e, 1.0, first_rate=0.5)
    assert found.settled, found.reason
    assert [stage.rate for stage in found.stages] == [0.5 * 0.5**n for n in range(len(found.stages))]
    assert math.isnan(found.stages[0].gain)
    np.testing.assert_allclose(found.params.phi.loc, [1, 0], atol=0.01)
    np.testing.assert_allclose(found.stages[-1].score, 0.5 + np.log(2 * np.pi), atol=1e-3)


REPORTED = {
    "nan in places": ((2.0, -1.0, 0.0, jnp.e, 1.0), "scores of .* draws are not finite"),
    "zero in places": ((2.0, 0.0, 0.0, jnp.e, 1.0), "scores of .* draws are not finite"),
    "nan everywhere": ((jnp.inf, 1.0, 0.0, -1.0, 1.0), "no gradient was finite"),
    "improper": ((jnp.inf, 1.0, 0.0, 1.0, 1.0), "grew without bound"),
    "unbounded": ((jnp.inf, 1.0, 1.0, 1.0, 1.0), "still travel"),
}


@pytest.mark.parametrize("name", REPORTED)
def test_a_density_without_an_answer_is_reported_for_what_it_is(name):
    numbers, reason = REPORTED[name]
    found = fit_piecewise(*numbers)
    assert not found.settled
    assert re.search(reason, found.reason), found.reason
    assert sum(stage.num_steps for stage in found.stages) < 20_000


PRECISION = jnp.array([[2.0, 0.8], [0.8, 1.0]])
SMALL = vi.Model(lambda key: (), lambda theta, x, z: -(z - 0.3) @ PRECISION @ (z - 0.3) / 2)
FULL = vi.guides.full_rank(2)
OBJECTIVES = {
    "iwae": vi.value_and_grad(SMALL, FULL, vi.bounds.iwae, DREG, num_samples=8),
    "renyi": vi.value_and_grad(SMALL, FULL, vi.bounds.renyi(0.5), DREG, num_samples=8),
    # Of few draws its minimum is no minimum: a guide where all weights are small has a smaller one.
    "cubo": vi.value_and_grad(SMALL, FULL, vi.bounds.cubo(2), vi.estimators.minimized(DREG), num_samples=64),
    "wake_phi": vi.value_and_grad(SMALL, FULL, vi.bounds.iwae, vi.estimators.wake_phi, num_samples=8),
    "score_climbing": vi.objectives.score_climbing(SMALL, FULL, num_samples=8),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_kind_of_objective_finds_a_gaussian_by_the_same_loop(name):
    start = vi.Params((), FULL.init(jax.random.key(0)))
    chain = {"score_climbing": vi.objectives.start_chain(jax.random.key(3), FULL, start, NOTHING)}.get(name, ())
    found = fit(SMALL, FULL, NOTHING, OBJECTIVES[name], extra=chain)
    log_normalizer = np.log(2 * np.pi) - np.linalg.slogdet(PRECISION)[1] / 2
    assert found.settled, found.reason
    np.testing.assert_allclose(found.params.phi.loc, 0.3, atol=0.1)
    assert log_normalizer - 0.03 < found.stages[-1].score < log_normalizer + 1e-3


def test_minibatches_work_with_the_elbo_and_another_bound_on_them_is_refused():
    """Means of 64 numbers, w ~ N(0, I): the posterior is N(Σ x / 65, I / 65) in each coordinate."""
    x = jax.random.normal(jax.random.key(0), (1, 64, 2)) + 0.5
    model = vi.models.global_latent(
        lambda key: (), lambda theta, z: normal(z), lambda theta, row, z: normal(row - z), num_data=64
    )
    arguments = dict(prepare=training.subsample(32), first_rate=0.05, tolerance=0.05)
    found = fit(model, FULL, x, **arguments)
    assert found.settled, found.reason
    np.testing.assert_allclose(found.params.phi.loc, x[0].sum(axis=0) / 65, atol=0.05)
    np.testing.assert_allclose(jnp.exp(found.params.phi.log_scale), 65**-0.5, rtol=0.15)
    with pytest.raises(ValueError, match="scale"):
        fit(model, FULL, x, vi.value_and_grad(model, FULL, vi.bounds.iwae, DREG, num_samples=8), **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(first_rate=0.0), "first_rate must be above 0, got 0.0"),
        (dict(tolerance=-1.0), "above 0 nats, got -1.0"),
        (dict(max_stages=0), "max_stages must be at least 1"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit(SMALL, FULL, NOTHING, **arguments)
