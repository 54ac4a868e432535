"""The pullback, against plain `jax.grad` of a surrogate on the same draws.

The coefficients of every row of the tables are compared with the same surrogates in estimators/test_definition.py; here
come all estimators under one bound, and all bounds under one estimator of each form.
"""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from tests import problems
from tests.oracle import (
    BOUNDS,
    ESTIMATORS,
    SCORE,
    Problem,
    Row,
    largest,
    model_part,
    problem_of,
    reference_gradient,
    stop,
)
from vi_jax import bounds, estimators, guides
from vi_jax.estimators import estimator

NUM_SAMPLES = 4
KEY = jax.random.key(0)
PAIRS = [("iwae", name) for name in ESTIMATORS] + [("elbo", "leave_one_out"), ("user's blend", "vimco")]
PAIRS += [(bound, "doubly_reparameterized") for bound in ("elbo", "renyi(0.5)", "renyi(2)", "cubo(2)", "user's blend")]


@pytest.fixture(autouse=True)
def _eager_x64() -> Iterator[None]:
    """Compiling a row costs ten times what running it does."""
    with jax.enable_x64(True), jax.disable_jit():
        yield


@functools.cache
def all_at_once() -> tuple[jax.Array, dict[str, vi.Params]]:
    rows = {f"{b}-{e}": (BOUNDS[b].bound, ESTIMATORS[e].estimator) for b, e in PAIRS}
    objective = vi.shared_gradients(problems.CURVED, problems.AMORTIZED, rows, num_samples=NUM_SAMPLES)
    with jax.disable_jit(False):
        return objective(KEY, problems.curved_params(), problems.curved_data())


@functools.cache
def all_references() -> dict[str, vi.Params]:
    batch = reference_problems()

    def gradients(params: vi.Params) -> dict[str, vi.Params]:
        return {
            f"{b}-{e}": reference_gradient(ESTIMATORS[e].surrogate, BOUNDS[b].naive, batch, params) for b, e in PAIRS
        }

    with jax.disable_jit(False):
        return jax.jit(gradients)(problems.curved_params())


@functools.cache
def reference_problems(model: vi.Model = problems.CURVED) -> list[Problem]:
    x = problems.curved_data()
    keys = [jax.random.fold_in(KEY, b) for b in range(len(x))]
    return [problem_of(model, problems.AMORTIZED, key, x[b], NUM_SAMPLES) for b, key in enumerate(keys)]


def assert_trees_agree(actual, expected, rtol: float = 1e-9, atol: float = 1e-10) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=rtol, atol=atol), actual, expected)


@pytest.mark.parametrize(("bound", "name"), PAIRS)
def test_gradient_is_that_of_the_surrogate_on_the_same_draws(bound, name):
    assert_trees_agree(all_at_once()[1][f"{bound}-{name}"], all_references()[f"{bound}-{name}"])


def test_log_weights_are_those_of_the_same_draws():
    params = problems.curved_params()
    for b, p in enumerate(reference_problems()):
        z = p.draw(params.phi)
        expected = p.log_p(params.theta, z) - p.log_q(params.phi, z)
        np.testing.assert_allclose(all_at_once()[0][:, b], expected, rtol=1e-12)


# --- estimators of one's own: every way of stating path / model -------------------------------------------------------


def _path_without_model(bound, p, theta, phi):
    z = p.draw(phi)
    return jnp.mean(p.log_p(stop(theta), z) - p.log_q(stop(phi), z))


def _dreg_of_iwae(bound, p, theta, phi):
    z = p.draw(phi)
    log_w = p.log_p(stop(theta), z) - p.log_q(stop(phi), z)
    return model_part(bound, p, theta, phi) + jnp.sum(stop(jax.nn.softmax(log_w)) ** 2 * log_w)


@estimator
def path_without_model(bound, log_w):
    """model = 0 and path = 1/K: no ratio can say so."""
    zero = jnp.zeros_like(log_w)
    return vi.Coefficients(zero, zero + 1 / log_w.shape[0], zero)


def stated(ratio) -> vi.Estimator:
    @estimator
    def dreg(bound, log_w):
        w = bounds.normalized_weights(log_w)
        return vi.Coefficients(w, w**2, jnp.zeros_like(w), ratio(w))

    return dreg


def all_or_nothing(ratio: float | None) -> vi.Estimator:
    @estimator
    def path_is_model_or_nothing(bound, log_w):
        a = bounds.gradient(bound)(log_w)
        return vi.Coefficients(a, (ratio or 0.0) * a, jnp.zeros_like(a), ratio)

    return path_is_model_or_nothing


OWN = {
    "path without model": Row(path_without_model, _path_without_model),
    "ratio array": Row(stated(lambda w: w), _dreg_of_iwae),
    "ratio unknown": Row(stated(lambda w: None), _dreg_of_iwae),
    "ratio 1": Row(all_or_nothing(1.0), ESTIMATORS["sticking_the_landing"].surrogate),
    "ratio 0": Row(all_or_nothing(0.0), model_part),
    "no path, unsaid": Row(all_or_nothing(None), model_part),
}


def own_objective(model: vi.Model, guide: vi.Guide, row: Row, bound=bounds.iwae):
    return vi.value_and_grad(model, guide, bound, row.estimator, num_samples=NUM_SAMPLES)


@pytest.mark.parametrize("name", OWN)
def test_own_estimators(name):
    params = problems.curved_params()
    _, gradient = own_objective(problems.CURVED, problems.AMORTIZED, OWN[name])(KEY, params, problems.curved_data())
    assert_trees_agree(
        gradient, reference_gradient(OWN[name].surrogate, BOUNDS["iwae"].naive, reference_problems(), params)
    )


@pytest.mark.parametrize("name", ["pathwise", "doubly_reparameterized", "score_function"])
def test_a_bound_with_a_kink(name):
    params, surrogate = problems.curved_params(), ESTIMATORS[name].surrogate
    objective = own_objective(problems.CURVED, problems.AMORTIZED, ESTIMATORS[name], largest)
    _, gradient = objective(KEY, params, problems.curved_data())
    assert_trees_agree(gradient, reference_gradient(surrogate, largest, reference_problems(), params))


def _steep_log_joint(theta, x, z):
    return 10_000.0 * jnp.sum(jnp.sin(7 * z + theta["mu"])) + problems.CURVED.log_joint(theta, x, z)


STEEP = problems.CURVED._replace(log_joint=_steep_log_joint)


@pytest.mark.parametrize("name", ["doubly_reparameterized", "wake_phi_doubly_reparameterized", "vimco", *list(OWN)[:3]])
def test_weights_that_underflow(name):
    """Gaps of a thousand nats, where all weights but one are exactly zero and path / model would be 0/0."""
    row, params, x = (ESTIMATORS | OWN)[name], problems.curved_params(), problems.curved_data()
    batch = reference_problems(STEEP)
    for p in batch:
        z = p.draw(params.phi)
        assert np.all(np.diff(np.sort(p.log_p(params.theta, z) - p.log_q(params.phi, z))) > 1000)
    _, gradient = own_objective(STEEP, problems.AMORTIZED, row)(KEY, params, x)
    expected = reference_gradient(row.surrogate, BOUNDS["iwae"].naive, batch, params)
    largest_entry = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected))
    assert_trees_agree(gradient, expected, atol=1e-12 * largest_entry)


@pytest.mark.parametrize("name", ["doubly_reparameterized", "vimco"])
def test_latents_may_be_trees(name):
    row, params, x = ESTIMATORS[name], problems.tree_params(), problems.tree_data()
    objective = vi.value_and_grad(problems.TREE, problems.PAIRED, bounds.iwae, row.estimator, num_samples=2)
    data = [jax.tree.map(lambda leaf, b=b: leaf[b], x) for b in range(2)]
    batch = [problem_of(problems.TREE, problems.PAIRED, jax.random.fold_in(KEY, b), data[b], 2) for b in range(2)]
    reference = functools.partial(reference_gradient, row.surrogate, BOUNDS["iwae"].naive, batch)
    with jax.disable_jit(False):
        assert_trees_agree(objective(KEY, params, x)[1], jax.jit(reference)(params))


@pytest.mark.parametrize("name", ["doubly_reparameterized", "score_function"])
@pytest.mark.parametrize("narrow", ["theta", "phi"])
def test_gradients_have_the_dtype_of_their_parameters(name, narrow):
    params = problems.curved_params()
    to_float32 = functools.partial(jax.tree.map, lambda leaf: leaf.astype(jnp.float32))
    mixed = params._replace(**{narrow: to_float32(getattr(params, narrow))})
    objective = own_objective(problems.CURVED, problems.AMORTIZED, ESTIMATORS[name])
    _, gradient = objective(KEY, mixed, problems.curved_data())
    assert jax.tree.map(lambda leaf: leaf.dtype, gradient) == jax.tree.map(lambda leaf: leaf.dtype, mixed)


# --- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ESTIMATORS)
def test_discrete_guides_are_refused_exactly_where_a_path_is_asked_for(name):
    def make():
        return vi.value_and_grad(problems.CURVED, guides.categorical(3), bounds.iwae, row.estimator, num_samples=2)

    row = ESTIMATORS[name]
    if name not in (*SCORE, "wake_phi"):
        with pytest.raises(
            ValueError,
            match=r"iwae with \S+ .*categorical.*reparameterized=False.*Legal .* iwae with score_function, leave",
        ):
            make()
    else:
        make()


@pytest.mark.parametrize("ratio", [2.0, -1.0])
def test_a_float_ratio_other_than_0_and_1_is_refused(ratio):
    with pytest.raises(ValueError, match=rf"path_is_model_or_nothing: .* 0\.0 or 1\.0, got {ratio}"):
        own_objective(problems.CURVED, problems.AMORTIZED, Row(all_or_nothing(ratio), model_part))


@pytest.mark.parametrize("ratio", [1, np.float64(1.0), np.ones(()), np.ones(NUM_SAMPLES)])
def test_a_ratio_of_the_wrong_shape_is_refused(ratio):
    with pytest.raises(ValueError, match=r"dreg: ratio must be an array \[K, \.\.\.\] like log_w, got "):
        own_objective(problems.CURVED, problems.AMORTIZED, Row(stated(lambda w: ratio), model_part))


def test_coefficients_of_the_wrong_shape_are_refused():
    @estimator
    def scalar_score(bound, log_w):
        a = bounds.gradient(bound)(log_w)
        return vi.Coefficients(a, a, jnp.zeros(()), 1.0)

    with pytest.raises(ValueError, match=r"scalar_score: score must be an array \[K, \.\.\.\] like log_w"):
        own_objective(problems.CURVED, problems.AMORTIZED, Row(scalar_score, model_part))


def test_an_estimator_undefined_at_this_k_is_refused_before_any_draw():
    with pytest.raises(ValueError, match="vimco .* needs num_samples ≥ 2, got 1"):
        vi.value_and_grad(problems.CURVED, problems.AMORTIZED, bounds.iwae, estimators.vimco, num_samples=1)
