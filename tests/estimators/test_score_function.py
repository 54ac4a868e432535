"""Score-function estimators: every claim about an expectation is checked by enumerating all draws."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.oracle import BOUNDS, SCORE, WAKE
from tests.populations import LOG_JOINT, LOGITS, enumerate_gradients, expected_bound
from vi_jax import bounds, estimators

pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture
def eager() -> Iterator[None]:
    """Compiling a row costs ten times what running it does."""
    with jax.disable_jit():
        yield


@functools.cache
def exact_gradient(bound: str, num_samples: int) -> tuple[np.ndarray, np.ndarray]:
    naive = functools.partial(expected_bound, BOUNDS[bound].naive, num_samples)
    theta, phi = jax.grad(naive, argnums=(0, 1))(jnp.asarray(LOG_JOINT), jnp.asarray(LOGITS))
    return np.asarray(theta), np.asarray(phi)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("estimator", SCORE)
@pytest.mark.parametrize("bound", BOUNDS)
def test_expectation_over_all_draws_is_the_exact_gradient(bound, estimator):
    coefficients = SCORE[estimator].estimator(BOUNDS[bound].bound)
    theta, phi = enumerate_gradients(coefficients, 3).mean()
    expected_theta, expected_phi = exact_gradient(bound, 3)
    np.testing.assert_allclose(theta, expected_theta, atol=1e-10)
    np.testing.assert_allclose(phi, expected_phi, atol=1e-10)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("estimator", WAKE)
@pytest.mark.parametrize("bound", BOUNDS)
def test_wake_estimators_leave_theta_to_the_bound(bound, estimator):
    theta, _ = enumerate_gradients(WAKE[estimator].estimator(BOUNDS[bound].bound), 3).mean()
    np.testing.assert_allclose(theta, exact_gradient(bound, 3)[0], atol=1e-10)


@pytest.mark.parametrize(
    ("num_samples", "value", "gradient", "traces"),
    [
        (2, -1.47530468, (0.2603143, -0.0087879, -0.2515263), (6.34975, 0.442003, 0.442003, 0.434537, 0.527874)),
        (3, -1.40195791, (0.1819850, -0.0192668, -0.1627182), (7.35956, 0.200089, 0.282969, 0.282429, 0.202546)),
        (5, -1.34481096, (0.1056111, -0.0177117, -0.0878994), (9.01265, 0.0906212, 0.1550734, 0.1413944, 0.0767166)),
        (8, -1.31544350, (0.0621426, -0.0122651, -0.0498775), (11.73815, 0.0481155, 0.0906489, 0.0723362, 0.0359449)),
    ],
)
def test_three_state_oracle(num_samples, value, gradient, traces):
    """Recorded numbers, to all printed digits: variance of the plain score grows with K, that of VIMCO shrinks."""
    np.testing.assert_allclose(expected_bound(bounds.iwae, num_samples), value, atol=5e-9)
    iwae_rows = ("score_function", "vimco", "vimco_arithmetic")
    enumerated = [enumerate_gradients(jax.jit(SCORE[name].estimator(bounds.iwae)), num_samples) for name in iwae_rows]
    for population in enumerated:
        np.testing.assert_allclose(population.mean()[1], gradient, atol=6e-8)
    enumerated.append(enumerate_gradients(jax.jit(estimators.wake_phi(bounds.iwae)), num_samples))
    enumerated.append(enumerate_gradients(jax.jit(estimators.leave_one_out(bounds.elbo)), num_samples))
    np.testing.assert_allclose([e.trace_of_covariance() for e in enumerated], traces, rtol=5e-6)


def test_elbo_of_the_three_states():
    np.testing.assert_allclose(expected_bound(bounds.elbo, 1), -1.66574242, atol=5e-9)
    for num_samples in (1, 2, 3):
        coefficients = SCORE["score_function"].estimator(bounds.elbo)
        phi = enumerate_gradients(coefficients, num_samples).mean()[1]
        np.testing.assert_allclose(phi, (0.38750937, 0.04494531, -0.43245469), atol=5e-9)


@pytest.mark.parametrize("num_samples", [2, 3, 6])
def test_leave_one_out_under_the_elbo_is_vargrad(num_samples):
    log_w = jax.random.normal(jax.random.key(0), (num_samples, 5)) * 3
    c = jax.jit(estimators.leave_one_out(bounds.elbo))(log_w)
    np.testing.assert_allclose(c.score, (log_w - log_w.mean(axis=0)) / (num_samples - 1), atol=1e-12)
    half_variance = jax.grad(lambda log_w: jnp.var(log_w, axis=0, ddof=1).sum() / 2)(log_w)
    np.testing.assert_allclose(c.score, half_variance, atol=1e-12)


def test_for_iwae_leave_one_out_is_arithmetic_vimco():
    log_w = jax.random.normal(jax.random.key(1), (6, 4)) * 5
    one, other = (jax.jit(e(bounds.iwae))(log_w).score for e in (estimators.leave_one_out, estimators.vimco_arithmetic))
    np.testing.assert_allclose(one, other, atol=1e-12)


def quadrature(num_nodes: int = 40) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(num_nodes)
    return nodes, weights / weights.sum()


def score_gradients(estimator, log_w, noise, scale) -> np.ndarray:
    """d/dm of N(m, s²) from the score coefficients of draws z = m + s ε, `[R]`."""
    return np.einsum("kr,kr->r", estimator(bounds.elbo)(jnp.asarray(log_w)).score, noise / scale)


def test_variance_of_the_score_function_for_a_gaussian_and_its_growth_with_log_z():
    """Coefficient c + uε − vε² at K = 1: variance (c² + 2u² + 15v² − 6cv)/s², by quadrature. It grows with log Z."""
    (c, u, v), scale = (-0.7, 1.3, 0.4), 0.6
    noise, probability = quadrature()
    for offset in (0.0, 5.0):
        # L − a = log w − 1 at K = 1.
        log_w = (c + 1 + offset + u * noise - v * noise**2)[None]
        gradients = score_gradients(estimators.score_function, log_w, noise[None], scale)
        variance = probability @ gradients**2 - (probability @ gradients) ** 2
        constant = c + offset
        expected = (constant**2 + 2 * u**2 + 15 * v**2 - 6 * constant * v) / scale**2
        np.testing.assert_allclose(variance, expected, rtol=1e-10)


@pytest.mark.parametrize("estimator", ["leave_one_out", "vimco", "vimco_arithmetic"])
@pytest.mark.parametrize("bound", [name for name in BOUNDS if "jackknife" not in name])  # itself undefined there
def test_one_draw_has_no_baseline(bound, estimator):
    coefficients = SCORE[estimator].estimator(BOUNDS[bound].bound)
    with pytest.raises(ValueError, match=rf"{estimator} .* needs num_samples ≥ 2, got 1\. Use score_function"):
        coefficients(jnp.zeros((1, 3)))


# --- OVIS -------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("eager")
def test_ovis_is_unbiased():
    for num_samples in (2, 3):
        theta, phi = enumerate_gradients(estimators.ovis(bounds.iwae), num_samples).mean()
        expected_theta, expected_phi = exact_gradient("iwae", num_samples)
        np.testing.assert_allclose(theta, expected_theta, atol=1e-12)
        np.testing.assert_allclose(phi, expected_phi, atol=1e-12)


@pytest.mark.usefixtures("eager")
def test_ovis_is_leave_one_out_less_a_constant():
    """Also where the others are far below; where they have no weight, neither has a baseline, and both are the same."""
    log_w = jax.random.normal(jax.random.key(0), (6, 4)) * 5
    log_w = jnp.concatenate([log_w, jnp.array([[0.0, 0.3], *[[-600.0, -jnp.inf]] * 5])], axis=1)
    c, expected = (e(bounds.iwae)(log_w) for e in (estimators.ovis, estimators.leave_one_out))
    assert c.ratio == 0.0
    np.testing.assert_allclose(c.model, expected.model, atol=1e-12)
    np.testing.assert_allclose(c.score[:, :-1] - expected.score[:, :-1], -np.log1p(-1 / 6), atol=1e-12)
    np.testing.assert_allclose(c.score[0, -1], expected.score[0, -1], atol=1e-12)


def test_the_signal_of_ovis_rises_with_k_where_that_of_vimco_falls():
    """Exact mean and variance of φ̄, over all tuples: like √K at least, with VIMCO falling like 1/√K."""
    rules = {"ovis": estimators.ovis, "vimco": estimators.vimco, "leave_one_out": estimators.leave_one_out}
    snr = {name: [] for name in rules}
    for name, rule in rules.items():
        for num_samples in (2, 4, 8):
            population = enumerate_gradients(jax.jit(rule(bounds.iwae)), num_samples)
            snr[name].append(np.linalg.norm(population.mean()[1]) / np.sqrt(population.trace_of_covariance()))
    assert np.all(np.diff(snr["ovis"]) > 0.4 * np.array(snr["ovis"][:-1]))
    assert np.all(np.diff(snr["vimco"]) < 0)
    assert np.all(np.diff(snr["leave_one_out"]) < 0)
    assert snr["ovis"][2] > 5 * snr["vimco"][2]


@pytest.mark.usefixtures("eager")
def test_what_the_authors_code_adds_to_the_baseline_is_a_bias():
    """At γ = 1 it subtracts w̃_k too: what remains, log Ẑ − log mean of the others, leans towards the forward KL."""

    def with_its_own_weight(log_w):
        c = estimators.ovis(bounds.iwae)(log_w)
        return c._replace(score=c.score + c.model)

    _, phi = enumerate_gradients(with_its_own_weight, 3).mean()
    _, wake = enumerate_gradients(estimators.wake_phi(bounds.iwae), 3).mean()
    np.testing.assert_allclose(phi - exact_gradient("iwae", 3)[1], wake, atol=1e-12)
    assert np.abs(wake).max() > 0.1


@pytest.mark.usefixtures("eager")
def test_ovis_keeps_its_digits_for_weights_that_are_small_and_stays_finite_for_one_that_is_all():
    """The score is w̃²/2 + w̃³/3 + …, by its series in float64; and −log(1 − w̃) − w̃ up to w̃ = 1."""
    log_w = jnp.stack([jnp.array([gap, 0.0, 0.0]) for gap in (-30.0, -20.0, -9.0, -4.0, -1.3, -0.8, -0.4)], axis=1)
    weights = np.asarray(jax.nn.softmax(log_w, axis=0))[0]
    series = sum(weights**n / n for n in range(2, 200))
    for dtype, rtol in ((jnp.float64, 1e-14), (jnp.float32, 2e-6)):
        score = estimators.ovis(bounds.iwae)(log_w.astype(dtype)).score
        assert score.dtype == dtype
        np.testing.assert_allclose(score[0], series, rtol=rtol)
    alone = estimators.ovis(bounds.iwae)(jnp.array([[0.0, 0.0], [-800.0, -jnp.inf]]))
    np.testing.assert_allclose(alone.score, [[800.0 - 1, -np.log(2) - 1], [0, 0]], rtol=1e-12)


def test_ovis_refuses_what_it_does_not_hold_for():
    with pytest.raises(ValueError, match="ovis is a baseline for iwae alone, not for elbo: use leave_one_out or vimco"):
        estimators.ovis(bounds.elbo)(jnp.zeros((2, 3)))
    with pytest.raises(ValueError, match="ovis .* num_samples ≥ 2, got 1"):
        estimators.ovis(bounds.iwae)(jnp.zeros((1, 3)))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("estimator", ["leave_one_out", "vimco", "vimco_arithmetic"])
def test_closed_forms_of_a_bound_that_does_not_shift_with_its_argument_change_nothing(estimator):
    """tanh(0.3 IWAE): log-weights must not be centred, although the bound has closed forms."""

    def plain(log_w):
        return jnp.tanh(0.3 * bounds.iwae(log_w))

    def closed(log_w):
        return plain(log_w)

    forms = bounds.ClosedForm(bounds.gradient(plain), None, None, bounds.substitute(plain), bounds.omit(plain))
    bounds.with_closed_form(closed, forms)
    log_w = jnp.array([0.3, -1.0, 2.0])
    found, expected = (SCORE[estimator].estimator(bound)(log_w) for bound in (closed, plain))
    np.testing.assert_allclose(found.model, expected.model, atol=1e-12)
    np.testing.assert_allclose(found.score, expected.score, atol=1e-12)
