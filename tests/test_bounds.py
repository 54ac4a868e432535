"""Bounds: values and derivatives against one-line definitions, and the inequalities that give them their name."""

import functools
from collections.abc import Iterator

import hypothesis
import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.oracle import LIBRARY_BOUNDS, power_mean
from tests.populations import LOG_JOINT, LOGITS, expected_bound
from vi_jax import bounds

LOG_P = float(np.log(np.exp(LOG_JOINT).sum()))
SHAPE = (4, 3)
LOG_W = np.array([[0.3, -1.2, 2.0, 0.1], [-2.5] * 4, [0.0, -500.0, -3.0, -1000.0]]).T


@pytest.fixture
def eager() -> Iterator[None]:
    """Compiling a row costs ten times what running it does."""
    with jax.enable_x64(True), jax.disable_jit():
        yield


def per_datum(function):
    """Maps over the data, which come behind the draws."""
    return jax.vmap(function, in_axes=-1, out_axes=-1)


# --- values and derivatives -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", LIBRARY_BOUNDS)
def test_value_and_closed_forms_are_those_of_the_definition(name):
    (bound, naive), log_w = LIBRARY_BOUNDS[name], jnp.asarray(LOG_W)
    form = bounds.closed_form(bound)
    a, h = (per_datum(f)(log_w) for f in (jax.grad(naive), lambda v: jnp.diag(jax.hessian(naive)(v))))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9)
    close(bound(log_w), naive(log_w))
    close(form.gradient(log_w), a)
    assert form.ratio is not None
    close((form.ratio(log_w) if callable(form.ratio) else form.ratio) * a, a - h)
    replacement = jnp.asarray(LOG_W[::-1] / 2)
    for k in range(len(LOG_W)):
        close(form.omit(log_w)[k], naive(jnp.delete(log_w, k, axis=0)))
        close(form.substitute(log_w, replacement)[k], naive(log_w.at[k].set(replacement[k])))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", LIBRARY_BOUNDS)
def test_automatic_differentiation_takes_the_place_of_closed_forms(name):
    bound, log_w = LIBRARY_BOUNDS[name].bound, jnp.asarray(LOG_W)
    plain = lambda log_w: bound(log_w)  # noqa: E731 - what a user writes
    assert bounds.closed_form(plain) is None
    assert bounds.closed_form(bound) is not None
    close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9)
    close(bounds.gradient(plain)(log_w), bounds.gradient(bound)(log_w))
    close(bounds.omit(plain)(log_w), bounds.omit(bound)(log_w))
    close(bounds.substitute(plain)(log_w, log_w[::-1]), bounds.substitute(bound)(log_w, log_w[::-1]))


@pytest.mark.parametrize("order", [1e-2, 1e-6, -1e-4])
def test_no_digits_are_lost_near_the_elbo(order):
    """(log-mean-exp s log w)/s in float32 would be off by 10⁻⁷/s: all of them at α = 1 ± 10⁻⁶."""
    values = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32) - 50
    bound = bounds.renyi(1 - order)
    functions = (
        bound,
        lambda log_w: bounds.substitute(bound)(log_w, log_w[::-1]),
        bounds.omit(bound),
    )
    for function in functions:
        with jax.enable_x64(True):
            expected = function(jnp.asarray(values, jnp.float64))
        np.testing.assert_allclose(jax.jit(function)(jnp.asarray(values)), expected, atol=2e-5)
    # L_s = mean + s/2 variance + O(s²).
    second_order = values.mean(axis=0) + order / 2 * values.var(axis=0)
    np.testing.assert_allclose(bound(jnp.asarray(values)), second_order, atol=2e-5 + order**2)


def test_renyi_is_continuous_through_the_elbo_and_iwae():
    log_w = jnp.asarray(np.random.default_rng(1).normal(size=(10, 3)), jnp.float32)
    np.testing.assert_array_equal(bounds.renyi(1.0)(log_w), bounds.elbo(log_w))
    np.testing.assert_array_equal(bounds.renyi(0.0)(log_w), bounds.iwae(log_w))
    np.testing.assert_array_equal(bounds.renyi(-1.0)(log_w), bounds.cubo(2)(log_w))
    for edge in (0.05, -0.05):  # where the formula changes
        below, above = (bounds.renyi(1 - edge * (1 + d))(log_w) for d in (-1e-3, 1e-3))
        np.testing.assert_allclose(below, above, atol=5e-4)


def test_elbo_alone_is_linear():
    linear = {name for name, row in LIBRARY_BOUNDS.items() if bounds.is_linear(row.bound)}
    assert linear == {"elbo"}
    assert not bounds.is_linear(lambda log_w: bounds.elbo(log_w))
    assert bounds.is_linear(bounds.renyi(1.0))


# --- zero weights -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LIBRARY_BOUNDS)
def test_zero_weights(name):
    """−∞ where every weight is zero; for α ≥ 1, where any is. Otherwise the zeros count in K."""
    bound, exponent = LIBRARY_BOUNDS[name].bound, {"elbo": 0.0, "renyi(2)": -1.0}.get(name, 1.0)
    assert bound(jnp.full(3, -jnp.inf)) == -jnp.inf
    some = bound(jnp.array([-jnp.inf, 0.5, 0.5]))
    if exponent <= 0:
        assert some == -jnp.inf
    else:
        order = {"iwae": 1.0, "renyi(0.5)": 0.5, "renyi(0.99)": 0.01}.get(name, 2.0)
        np.testing.assert_allclose(some, 0.5 + np.log(2 / 3) / order, rtol=1e-5)


def test_normalized_weights_of_nothing_are_zero():
    log_w = jnp.array([[-jnp.inf, -jnp.inf], [-jnp.inf, 800.0]])
    np.testing.assert_array_equal(bounds.normalized_weights(log_w), [[0.0, 0.0], [0.0, 1.0]])


def test_combinations_of_the_others_do_not_cancel():
    """A difference with the sum of all would lose the small ones: 1 − (1 − 10⁻²⁰) = 0."""
    log_w = jnp.array([0.0, -50.0, -60.0, -jnp.inf])
    expected = [-50.0 + np.log1p(np.exp(-10.0)), 0.0, 0.0, 0.0]
    np.testing.assert_allclose(bounds.log_sum_of_others(log_w), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(bounds.mean_of_others(jnp.array([1e8, 1.0, 3.0]))[0], 2.0, rtol=1e-6)
    np.testing.assert_allclose(bounds.mean_of_others(log_w), [-jnp.inf, -jnp.inf, -jnp.inf, -110 / 3], rtol=1e-6)


# --- inequalities, draw by draw ---------------------------------------------------------------------------------------

WEIGHTS = arrays.arrays(np.float64, 4, elements=st.floats(-30, 30))


@hypothesis.settings(max_examples=40)
@hypothesis.given(WEIGHTS)
def test_renyi_falls_with_alpha_between_the_extremes(log_w):
    """Power means rise with their exponent, from the smallest log-weight to the largest."""
    with jax.enable_x64(True), jax.disable_jit():
        values = [float(bounds.renyi(a)(jnp.asarray(log_w))) for a in (5.0, 2.0, 1.01, 1.0, 0.99, 0.5, 0.0, -1.0, -5.0)]
    assert np.all(np.diff([log_w.min(), *values, log_w.max()]) >= -1e-9)


@hypothesis.settings(max_examples=40)
@hypothesis.given(WEIGHTS)
def test_iwae_rises_with_k_on_average_over_the_draw_left_out(log_w):
    """log mean w ≥ mean over k of log mean of the others: Burda's L_K ≥ L_{K−1} for every set of draws."""
    with jax.enable_x64(True), jax.disable_jit():
        log_w = jnp.asarray(log_w)
        assert float(bounds.iwae(log_w)) >= float(jnp.mean(bounds.omit(bounds.iwae)(log_w))) - 1e-9


# --- sign contract, by enumeration ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["elbo", "iwae", "renyi(0.5)", "renyi(0.99)", "renyi(2)"])
def test_lower_bounds_are_below_log_p_in_expectation(name):
    values = [float(expected_bound(LIBRARY_BOUNDS[name].bound, num_samples)) for num_samples in (1, 2, 4)]
    assert max(values) < LOG_P
    np.testing.assert_allclose(values[0], -1.66574242, atol=5e-9)  # every bound at K = 1 is the ELBO
    direction = {"elbo": 0.0, "renyi(2)": -1.0}.get(name, 1.0)  # falls with K for α > 1
    assert np.all(np.sign(np.round(np.diff(values), 12)) == direction)


@pytest.mark.usefixtures("x64")
def test_cubo_of_k_draws_is_no_bound():
    values = [float(expected_bound(bounds.cubo(2), num_samples)) for num_samples in (1, 2, 4, 8)]
    assert np.all(np.diff(values) > 0)
    assert values[0] < LOG_P < exact_moment(2.0)
    assert values[-1] < exact_moment(2.0)


def exact_moment(exponent: float) -> float:
    """(1/s) log E_q[w^s]."""
    log_q = LOGITS - np.log(np.exp(LOGITS).sum())
    return float(np.log(np.sum(np.exp(log_q + exponent * (LOG_JOINT - log_q)))) / exponent)


@pytest.mark.usefixtures("x64")
def test_draws_in_exact_proportion_give_the_closed_forms():
    """q = (5, 3, 2)/10 and ten draws with those frequencies: the K-draw bounds are the exact moments, on both sides."""
    q = np.array([0.5, 0.3, 0.2])
    log_w = jnp.asarray(np.repeat(LOG_JOINT - np.log(q), [5, 3, 2]))
    values = {}
    for name, order in (("elbo", 0.0), ("renyi(0.5)", 0.5), ("iwae", 1.0), ("cubo(2)", 2.0)):
        w = np.exp(LOG_JOINT) / q
        exact = np.log(np.sum(q * w**order)) / order if order else np.sum(q * np.log(w))
        values[name] = LIBRARY_BOUNDS[name].bound(log_w)
        np.testing.assert_allclose(values[name], exact, rtol=1e-12)
    np.testing.assert_allclose(values["iwae"], LOG_P, rtol=1e-12)
    assert values["elbo"] < values["renyi(0.5)"] < LOG_P < values["cubo(2)"]
    eubo = np.sum(bounds.normalized_weights(log_w) * log_w)  # E under the posterior of log w
    assert eubo > LOG_P


# --- lognormal weights, log w ~ N(−s²/2, s²): log p = 0 ---------------------------------------------------------------

LOGNORMAL = {
    0.5: (-0.125, -0.065884, -0.027444, -0.013945, -0.002829, -0.001417, -0.000142),
    1.0: (-0.5, -0.290485, -0.135545, -0.073721, -0.016423, -0.008381, -0.000857),
    2.0: (-2.0, -1.357751, -0.801358, -0.529541, -0.188617, -0.116489, -0.019429),
    3.0: (-4.5, -3.354435, -2.289123, -1.717495, -0.873324, -0.646181, -0.219332),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("s", LOGNORMAL)
def test_iwae_of_lognormal_weights_by_quadrature(s):
    """Two draws: a double integral, exact to the printed digits."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    log_w = s * np.stack(np.meshgrid(nodes, nodes)) - s**2 / 2
    probability = np.outer(weights, weights) / weights.sum() ** 2
    np.testing.assert_allclose(
        np.sum(probability * jax.jit(bounds.iwae)(jnp.asarray(log_w))), LOGNORMAL[s][1], atol=1e-6
    )
    np.testing.assert_allclose(np.sum(probability * bounds.iwae(jnp.asarray(log_w[:1]))), LOGNORMAL[s][0], atol=1e-9)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("s", LOGNORMAL)
def test_iwae_of_lognormal_weights_by_simulation(s):
    noise = np.random.default_rng(0).normal(size=1_000_000)
    for num_samples, expected in list(zip((1, 2, 5, 10, 50, 100, 1000), LOGNORMAL[s], strict=True))[
        2 : 7 if s <= 1 else 6
    ]:
        log_w = (s * noise - s**2 / 2).reshape(num_samples, -1)
        values = np.asarray(jax.jit(bounds.iwae)(log_w))
        # E[mean w] − 1 = 0 is known, and taking it out leaves the second order; at s > 1 its variance is too large.
        values = values - (np.exp(log_w).mean(axis=0) - 1 if s <= 1 else 0)
        error = values.std(ddof=1) / np.sqrt(values.size)
        assert abs(values.mean() - expected) < 4 * error + 5e-7
        assert error < 0.15 * abs(expected)


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [float("nan"), float("inf")])
def test_orders_are_finite(alpha):
    with pytest.raises(ValueError, match=f"alpha must be a finite number, got {alpha}"):
        bounds.renyi(alpha)
    with pytest.raises(ValueError, match=f"n must be a finite number, got {alpha}"):
        bounds.cubo(alpha)


@pytest.mark.parametrize("n", [0.5, 0, -1.0])
def test_chi_bounds_start_at_one(n):
    with pytest.raises(ValueError, match=rf"n must be at least 1 .* got {n}\. .*renyi\(1 - n\)"):
        bounds.cubo(n)


@pytest.mark.parametrize("name", LIBRARY_BOUNDS)
def test_log_weights_are_arrays_of_floats_with_draws(name):
    bound = LIBRARY_BOUNDS[name].bound
    with pytest.raises(TypeError, match="log_w must be .*floating-point log-weights in nats, got dtype int32"):
        bound(jnp.arange(3))
    with pytest.raises(TypeError, match=r"got \[0\.1, 0\.2\]"):
        bound([0.1, 0.2])
    with pytest.raises(ValueError, match=r"leading axis of K ≥ 1 draws, got shape \(\)"):
        bound(jnp.zeros(()))
    with pytest.raises(ValueError, match=r"got shape \(0, 3\)"):
        bound(jnp.zeros((0, 3)))


def test_reference_power_mean_is_itself():
    """The references are used everywhere: one value by hand."""
    np.testing.assert_allclose(power_mean(2.0)(jnp.log(jnp.array([1.0, 7.0]))), np.log(25) / 2, rtol=1e-6)
