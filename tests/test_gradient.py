"""Objectives: exact gradients in closed form, whichever way the program is run, and the differentiable loss."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from tests import problems
from tests.oracle import BOUNDS, ESTIMATORS
from tests.populations import LOG_JOINT, LOGITS, enumerate_gradients, expected_bound, z_scores
from vi_jax import bounds, estimators, guides, models

KEY = jax.random.key(0)


pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture
def eager() -> Iterator[None]:
    with jax.disable_jit():
        yield


def assert_trees_agree(actual, expected, rtol: float = 1e-9, atol: float = 1e-10) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=rtol, atol=atol), actual, expected)


def over_keys(objective, num_replicates: int, params: vi.Params, x):
    keys = jax.random.split(KEY, num_replicates)
    return jax.jit(jax.vmap(objective, in_axes=(0, None, None)))(keys, params, x)


# --- a categorical guide, through the public function -----------------------------------------------------------------


def test_discrete_latents_against_enumeration():
    """The table of log-probabilities is θ and the logits are φ: 3000 replicates of 8 data, K = 3."""
    num_samples, batch_size = 3, 8
    exact, guide = models.table(models.THREE_STATES), guides.categorical(3)
    params = vi.Params(exact.model.init(KEY), jnp.asarray(LOGITS))
    names = ("score_function", "leave_one_out", "vimco", "vimco_arithmetic", "wake_phi")
    rows = {name: (bounds.iwae, ESTIMATORS[name].estimator) for name in names}
    objective = vi.shared_gradients(exact.model, guide, rows, num_samples=num_samples)
    log_w, gradients = over_keys(objective, 3000, params, jnp.zeros(batch_size, int))
    values = np.asarray(jax.vmap(bounds.iwae)(log_w)).ravel()
    assert z_scores(values, -1.40195791) < 4
    _, exact_phi = jax.grad(functools.partial(expected_bound, BOUNDS["iwae"].naive, num_samples), (0, 1))(
        jnp.asarray(LOG_JOINT), jnp.asarray(LOGITS)
    )
    for name in names:
        population = enumerate_gradients(ESTIMATORS[name].estimator(bounds.iwae), num_samples)
        mean_theta, mean_phi = population.mean()
        if name != "wake_phi":
            np.testing.assert_allclose(mean_phi, exact_phi, atol=1e-10)
        assert z_scores(np.asarray(gradients[name].theta)[:, 0], mean_theta).max() < 4
        assert z_scores(np.asarray(gradients[name].phi), mean_phi).max() < 4
        # Data of a batch are independent: the variance of their mean is that of one datum over B.
        squares = (np.asarray(gradients[name].phi) - mean_phi) ** 2
        assert z_scores(squares.sum(axis=1), population.trace_of_covariance() / batch_size) < 4


# --- the linear-Gaussian toy ------------------------------------------------------------------------------------------

DIM = 2


def toy(*names: str, variance: float = 2 / 3, num_samples: int = 1):
    guide = guides.affine(DIM, DIM, variance=variance)
    rows = {name: (bounds.elbo, ESTIMATORS[name].estimator) for name in names}
    return vi.shared_gradients(models.linear_gaussian(DIM).model, guide, rows, num_samples=num_samples)


def test_elbo_gradients_of_the_toy_and_the_variance_ratio_sixteen():
    x = jax.random.normal(jax.random.key(1), (5, DIM))
    names = ("pathwise", "sticking_the_landing", "doubly_reparameterized", "score_function")
    run = jax.jit(jax.vmap(toy(*names), in_axes=(0, None, None)))
    keys = jax.random.split(KEY, 20_000)

    # Away from the optimum: unbiased for the exact gradient, coordinate by coordinate.
    mu, a, b = jnp.array([0.4, -0.2]), 0.1 * jnp.eye(DIM), jnp.array([0.3, -0.6])

    def mean_elbo(mu, a, b):
        return jnp.mean(jax.vmap(lambda x: models.linear_gaussian_elbo(mu, a, b, x))(x))

    exact = jax.grad(mean_elbo, (0, 1, 2))(mu, a, b)
    for gradient in run(keys, vi.Params(mu, guides.Affine(a, b)), x)[1].values():
        for leaf, expected in zip((gradient.theta, *gradient.phi), exact, strict=True):
            assert z_scores(np.asarray(leaf), np.asarray(expected)).max() < 4

    # At the optimum: pathwise −2√s ε and sticking the landing −½√s ε, draw by draw, of variance 8/3 and 1/6 per datum.
    mu, a, b = models.linear_gaussian_optimum(x)
    gradients = run(keys, vi.Params(mu, guides.Affine(a, b)), x)[1]
    pathwise, stl = (np.asarray(gradients[name].phi.b) for name in ("pathwise", "sticking_the_landing"))
    np.testing.assert_allclose(pathwise, 4 * stl, atol=1e-12)
    assert z_scores(pathwise**2, 8 / 3 / len(x)).max() < 4
    assert z_scores(stl**2, 1 / 6 / len(x)).max() < 4


def test_sticking_the_landing_is_silent_where_the_guide_is_the_posterior():
    x = jax.random.normal(jax.random.key(2), (2, DIM))
    mu, a, b = models.linear_gaussian_optimum(x)
    names = ("pathwise", "sticking_the_landing", "doubly_reparameterized", "leave_one_out", "score_function")
    log_w, gradients = toy(*names, variance=1 / 2, num_samples=3)(KEY, vi.Params(mu, guides.Affine(a, b)), x)
    np.testing.assert_allclose(
        log_w, jax.vmap(models.linear_gaussian(DIM).log_evidence, (None, 0))(mu, x)[None] + 0 * log_w
    )
    for name in ("sticking_the_landing", "doubly_reparameterized", "leave_one_out"):
        for leaf in gradients[name].phi:
            np.testing.assert_allclose(leaf, 0.0, atol=1e-12)
    for name in ("pathwise", "score_function"):
        assert np.abs(gradients[name].phi.b).min() > 1e-3


# --- however the program is run ---------------------------------------------------------------------------------------

FORMS = ("score_function", "pathwise", "doubly_reparameterized", "reparameterized pathwise")


def curved(name: str, chunk_size: int | None = None, bound: vi.BoundFn = bounds.iwae):
    return vi.value_and_grad(
        problems.CURVED,
        problems.AMORTIZED,
        bound,
        ESTIMATORS[name].estimator,
        num_samples=4,
        chunk_size=chunk_size,
    )


@functools.cache
def compiled(name: str, chunk_size: int | None = None) -> tuple[jax.Array, vi.Params]:
    with jax.disable_jit(False):
        return curved(name, chunk_size)(KEY, problems.curved_params(), problems.curved_data())


@pytest.mark.parametrize(("name", "chunk_size"), [*((name, None) for name in FORMS), ("doubly_reparameterized", 3)])
def test_compiled_or_not(name, chunk_size):
    with jax.disable_jit():
        expected = curved(name)(KEY, problems.curved_params(), problems.curved_data())
    assert_trees_agree(compiled(name, chunk_size), expected)


@pytest.mark.usefixtures("eager")
def test_values_and_shared_gradients_are_those_of_single_objectives():
    params, x = problems.curved_params(), problems.curved_data()
    names = ("doubly_reparameterized", "score_function")
    rows = {name: (bounds.iwae, ESTIMATORS[name].estimator) for name in names}
    log_w, gradients = vi.shared_gradients(problems.CURVED, problems.AMORTIZED, rows, num_samples=4)(KEY, params, x)
    for name in names:
        values, gradient = compiled(name)
        assert values.shape == (2,)
        np.testing.assert_allclose(values, bounds.iwae(log_w), rtol=1e-9)
        assert_trees_agree(gradient, gradients[name])
        assert isinstance(gradient, vi.Params)


@pytest.mark.parametrize("chunk_size", [None, 3])
def test_mapped_over_keys_parameters_and_data(chunk_size):
    objective = curved("doubly_reparameterized", chunk_size)
    keys, x = jax.random.split(KEY, 3), problems.curved_data(6).reshape(3, 2, 2)
    params = jax.tree.map(
        lambda leaf: leaf + 0.1 * jnp.arange(3.0).reshape(3, *[1] * leaf.ndim), problems.curved_params()
    )
    mapped = jax.vmap(objective)(keys, params, x)
    for i in range(3):
        one = objective(keys[i], jax.tree.map(lambda leaf, i=i: leaf[i], params), x[i])
        assert_trees_agree(jax.tree.map(lambda leaf, i=i: leaf[i], mapped), one)


@pytest.mark.parametrize("chunk_size", [None, 2])
def test_one_trace_serves_every_call(chunk_size):
    traces = []

    def log_joint(theta, x, z):
        traces.append(1)
        return problems.CURVED.log_joint(theta, x, z)

    objective = vi.value_and_grad(
        problems.CURVED._replace(log_joint=log_joint),
        problems.AMORTIZED,
        bounds.iwae,
        estimators.doubly_reparameterized,
        num_samples=4,
        chunk_size=chunk_size,
    )
    params, x = problems.curved_params(), problems.curved_data()
    first = objective(KEY, params, x)
    count = len(traces)
    second = objective(jax.random.key(1), jax.tree.map(jnp.add, params, first[1]), x + 1)
    assert len(traces) == count > 0
    assert np.all(np.asarray(first[0]) != np.asarray(second[0]))


@pytest.mark.usefixtures("strict_promotion")
@pytest.mark.parametrize(("name", "chunk_size"), [("doubly_reparameterized", 3), ("reparameterized pathwise", None)])
def test_strict_promotion(name, chunk_size):
    values, gradient = curved(name, chunk_size)(KEY, problems.curved_params(), problems.curved_data())
    assert {leaf.dtype for leaf in (values, *jax.tree.leaves(gradient))} == {jnp.dtype(jnp.float64)}


# --- the loss ---------------------------------------------------------------------------------------------------------


def curved_loss(chunk_size: int | None = None):
    return vi.loss(
        problems.CURVED,
        problems.AMORTIZED,
        bounds.iwae,
        estimators.doubly_reparameterized,
        num_samples=4,
        chunk_size=chunk_size,
    )


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("chunk_size", [None, 3])
def test_loss_and_its_derivative_are_minus_the_objective(chunk_size):
    params, x = problems.curved_params(), problems.curved_data()
    values, gradient = compiled("doubly_reparameterized")
    value, derivative = jax.value_and_grad(curved_loss(chunk_size), argnums=1)(KEY, params, x)
    assert value.shape == ()
    np.testing.assert_allclose(value, -values.mean(), rtol=1e-9)
    np.testing.assert_allclose(curved_loss(chunk_size)(KEY, params, x), value, rtol=1e-9)
    assert_trees_agree(derivative, jax.tree.map(jnp.negative, gradient))
    scaled = jax.grad(lambda params: 2.5 * curved_loss(chunk_size)(KEY, params, x) + 1.0)(params)
    assert_trees_agree(scaled, jax.tree.map(lambda leaf: -2.5 * leaf, gradient))


def test_loss_under_jit_vmap_and_scan_is_a_python_loop_of_gradients():
    x, seeds, num_steps = problems.curved_data(), jnp.arange(2), 3
    loss, objective = curved_loss(), curved("doubly_reparameterized")

    def train(seed):
        def step(params, i):
            value, gradient = jax.value_and_grad(loss, argnums=1)(
                jax.random.fold_in(jax.random.key(seed), i), params, x
            )
            return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient), value

        return jax.lax.scan(step, problems.curved_params(), jnp.arange(num_steps))

    trained, losses = jax.jit(jax.vmap(train))(seeds)
    for s in seeds:
        params = problems.curved_params()
        for i in range(num_steps):
            values, gradient = objective(jax.random.fold_in(jax.random.key(s), i), params, x)
            np.testing.assert_allclose(losses[s, i], -values.mean(), rtol=1e-9)
            params = jax.tree.map(lambda p, g: p + 0.1 * g, params, gradient)
        assert_trees_agree(jax.tree.map(lambda leaf, s=s: leaf[s], trained), params)


@pytest.mark.usefixtures("eager")
def test_loss_does_not_pretend_to_know_the_derivative_in_the_data():
    gradient = jax.grad(curved_loss(), argnums=2)(KEY, problems.curved_params(), problems.curved_data())
    assert np.all(np.isnan(gradient))


def test_loss_of_integer_data():
    exact, guide = models.table(models.THREE_STATES), guides.categorical(3)
    loss = vi.loss(exact.model, guide, bounds.iwae, estimators.vimco, num_samples=3)
    params = vi.Params(exact.model.init(KEY), jnp.asarray(LOGITS))
    derivative = jax.jit(jax.grad(loss, argnums=1))(KEY, params, jnp.zeros(2, int))
    np.testing.assert_allclose(derivative.theta.sum(), -1.0, rtol=1e-9)  # weights add up to one
    assert derivative.phi.shape == (3,)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("chunk_size", [None, 3])
def test_loss_of_an_impossible_batch_is_infinite_with_derivative_zero(chunk_size):
    loss = vi.loss(
        problems.EDGED, problems.FREE, bounds.iwae, estimators.pathwise, num_samples=4, chunk_size=chunk_size
    )
    value, derivative = jax.value_and_grad(loss, argnums=1)(
        KEY, problems.edged_params(), problems.edged_data(100.0, 200.0)
    )
    assert value == np.inf
    jax.tree.map(lambda leaf: np.testing.assert_array_equal(leaf, 0.0), derivative)


# --- bad input (the rest is in test_log_weights.py) -------------------------------------------------------------------


@pytest.mark.parametrize("make", [curved, lambda name, chunk_size: curved_loss(chunk_size)])
@pytest.mark.parametrize(
    ("chunk_size", "error", "message"),
    [
        (0, ValueError, "chunk_size must be at least 1, got 0"),
        (-2, ValueError, "chunk_size must be at least 1, got -2"),
        (2.0, TypeError, r"chunk_size must be a Python integer ≥ 1, got 2\.0"),
        (True, TypeError, "chunk_size must be a Python integer ≥ 1, got True"),
    ],
)
def test_bad_chunk_sizes(make, chunk_size, error, message):
    with pytest.raises(error, match=message):
        make("pathwise", chunk_size)


def test_what_is_no_bound_or_no_estimator_is_named():
    def make(bound, estimator):
        vi.value_and_grad(problems.CURVED, problems.AMORTIZED, bound, estimator, num_samples=4)

    with pytest.raises(TypeError, match=r"estimator must be a function, such as vi\.estimators.*got 'vimco' \(str\)"):
        make(bounds.iwae, "vimco")
    with pytest.raises(TypeError, match=r"bound must be a function, such as vi\.bounds.*got 'iwae' \(str\)"):
        make("iwae", estimators.vimco)
    with pytest.raises(ValueError, match="truth value") as caught:
        make(bounds.renyi, estimators.vimco)
    assert "bounds.renyi(0.5)" in caught.value.__notes__[0]


@pytest.mark.parametrize("chunk_size", [None, 2])
@pytest.mark.parametrize("bound", [jnp.max, lambda log_w: log_w, lambda log_w: jnp.mean(log_w, axis=0, keepdims=True)])
def test_a_bound_that_mixes_the_data_is_refused(bound, chunk_size):
    with pytest.raises(
        ValueError, match=r"bound must map log-weights \[K, B\] to values \[B\], got .* reduce over axis 0"
    ):
        curved("pathwise", chunk_size, bound)


@pytest.mark.parametrize("name", ["leave_one_out", "vimco", "vimco_arithmetic"])
@pytest.mark.parametrize("chunk_size", [None, 1])
def test_leave_one_out_of_one_draw_is_refused_before_any_draw(name, chunk_size):
    with pytest.raises(ValueError, match="needs num_samples ≥ 2, got 1"):
        vi.value_and_grad(
            problems.CURVED,
            problems.AMORTIZED,
            bounds.iwae,
            ESTIMATORS[name].estimator,
            num_samples=1,
            chunk_size=chunk_size,
        )


def test_bound_and_estimator_in_the_wrong_order():
    with pytest.raises(
        (TypeError, ValueError), match="bound pathwise returns a function: bound and estimator may be exchanged"
    ):
        vi.value_and_grad(problems.CURVED, problems.AMORTIZED, estimators.pathwise, bounds.iwae, num_samples=2)
