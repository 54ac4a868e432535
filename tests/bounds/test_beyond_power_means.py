"""The bounds that are no power mean: one-line definitions, directions, and unbiased gradients from every estimator."""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import hypothesis
import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from tests.oracle import SCORE, THROUGH_DRAWS, mean, power_mean
from tests.populations import LOG_JOINT, LOGITS, enumerate_gradients, expected_bound, gaussian_draws, z_scores
from vi_jax import bounds, estimators


@pytest.fixture(autouse=True)
def _x64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


iwae = power_mean(1.0)
BETAS = (0.0, 0.1, 0.5, 1.0)


def two_groups(log_w):
    half = len(log_w) // 2
    return (iwae(log_w[:half]) + iwae(log_w[half:])) / 2


def without_in_two_groups(log_w, k):
    half = len(log_w) // 2
    halves = [log_w[:half], log_w[half:]]
    halves[k // half] = jnp.delete(halves[k // half], k % half, axis=0)
    return (iwae(halves[0]) + iwae(halves[1])) / 2


def riemann(nodes):
    widths = np.diff(BETAS)

    def total(log_w):
        at = [jnp.sum(jax.nn.softmax(b * log_w, axis=0) * log_w, axis=0) for b in nodes]
        return sum(w * v for w, v in zip(widths, at, strict=True))

    return total


def jackknifed(order):
    """Σ_j c_j, each with its mean over all subsets written out."""

    def total(log_w):
        size, value = len(log_w), 0.0
        for j in range(order + 1):
            c = (-1) ** j * (size - j) ** order / (np.prod(range(1, order - j + 1)) * np.prod(range(1, j + 1)))
            subsets = [iwae(log_w[np.array(s)]) for s in itertools.combinations(range(size), size - j)]
            value = value + c * sum(subsets) / len(subsets)
        return value

    return total


class Case(NamedTuple):
    """A bound, its definition, and its definition on K − 1 draws where that is another."""

    bound: vi.BoundFn
    naive: vi.BoundFn
    without: Callable[[jax.Array, int], jax.Array] | None = None


CASES = {
    "miwae": Case(bounds.miwae(2), two_groups, without_in_two_groups),
    "ciwae": Case(bounds.ciwae(0.3), lambda v: 0.3 * mean(v) + 0.7 * iwae(v)),
    "thermodynamic": Case(bounds.thermodynamic(BETAS), riemann(BETAS[:-1])),
    "thermodynamic_upper": Case(bounds.thermodynamic_upper(BETAS), riemann(BETAS[1:])),
    "eubo": Case(bounds.eubo, lambda v: jnp.sum(jax.nn.softmax(v, axis=0) * v, axis=0)),
    "jackknife(1)": Case(bounds.jackknife(1), jackknifed(1)),
    "jackknife(2)": Case(bounds.jackknife(2), jackknifed(2)),
    "largest": Case(bounds.renyi(-np.inf), lambda v: jnp.max(v, axis=0)),
}
LOG_W = np.array([[0.3, -1.2, 2.0, 0.1], [-2.5, -2.0, -1.9, -2.2], [0.0, -50.0, -3.0, -100.0]]).T
close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_value_and_derivatives_are_those_of_the_definition(name):
    bound, naive, without = CASES[name]
    without = without or (lambda v, k: naive(jnp.delete(v, k, axis=0)))

    @jax.jit
    def pairs(log_w):
        a, h = jax.grad(naive)(log_w), jnp.diag(jax.hessian(naive)(log_w))
        replaced = jnp.stack([naive(log_w.at[k].set(log_w[::-1][k])) for k in range(4)])
        found = [
            (bound(log_w), naive(log_w)),
            (bound(log_w + 900) - 900, naive(log_w)),
            (bounds.gradient(bound)(log_w), a),
        ]
        found += [(bounds.substitute(bound)(log_w, log_w[::-1]), replaced)]
        found += [(bounds.omit(bound)(log_w), jnp.stack([without(log_w, k) for k in range(4)]))]
        if name != "largest":
            found += [(estimators.doubly_reparameterized(bound)(log_w).path, a - h)]
        return found

    for log_w in LOG_W.T:
        for found, expected in pairs(jnp.asarray(log_w)):
            close(found, expected)


@functools.cache
def population():
    return gaussian_draws(jax.random.key(0), 4, 10_000)


@pytest.mark.parametrize("name", CASES)
def test_estimators_agree_on_shared_draws(name):
    bound, draws = CASES[name].bound, population()
    rules = {"pathwise": estimators.pathwise} | {e: row.estimator for e, row in SCORE.items()}
    if name != "largest":
        rules["doubly_reparameterized"] = THROUGH_DRAWS["doubly_reparameterized"].estimator
    found = jax.jit(lambda log_w: {rule: e(bound)(log_w)[:3] for rule, e in rules.items()})(draws.log_w)
    gradients = {rule: draws.gradient(vi.Coefficients(*c)) for rule, c in found.items()}
    for rule, gradient in gradients.items():
        difference = gradient - gradients["pathwise"]
        np.testing.assert_allclose(difference[:, 0], 0, atol=1e-9)
        # What is left of θ is rounding, of which a z-score says nothing.
        assert z_scores(difference[:, 1:]).max() < 4.5, rule


@pytest.mark.parametrize("name", [name for name in CASES if name != "miwae"])
def test_score_estimators_have_the_exact_mean_over_all_tuples(name):
    bound, naive, _ = CASES[name]
    exact = jax.grad(functools.partial(expected_bound, naive, 3), (0, 1))(jnp.asarray(LOG_JOINT), jnp.asarray(LOGITS))
    for estimator in (estimators.score_function, estimators.vimco):
        found = enumerate_gradients(jax.jit(lambda log_w, e=estimator: e(bound)(log_w)._replace(ratio=None)), 3).mean()
        for one, other in zip(found, exact, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-10)


def test_no_digits_are_lost_in_float32():
    """Each in float32 near −100 nats, against itself in float64; the jackknife's terms cancel, and are kept small."""
    log_w = np.random.default_rng(0).normal(size=(64, 20)) - 100
    log_w = np.round(log_w * 2**12) / 2**12
    for name, (bound, _, _) in CASES.items():
        exact, found = (jax.jit(bound)(jnp.asarray(log_w, dtype)) for dtype in (jnp.float64, jnp.float32))
        assert found.dtype == jnp.float32, name
        # One rounding of a value near −100 is 4e-6.
        np.testing.assert_allclose(found, exact, atol=5e-5 if name == "jackknife(2)" else 2e-5, rtol=0)


def test_an_offset_of_log_p_costs_the_coefficients_no_digits_in_float32():
    """At ±10⁴ nats against float64 without it: every estimator but score_function, whose L is the offset itself."""
    log_w = np.random.default_rng(0).normal(size=(64, 2)) * 3
    log_w = np.round(log_w * 2**9) / 2**9  # still exact in float32 beside the offset
    rules = ("pathwise", "doubly_reparameterized", "leave_one_out", "vimco", "vimco_arithmetic")
    # A jump has no second derivative; order 2 costs K² terms per draw.
    pairs = [(name, rule) for name in CASES if name not in ("largest", "jackknife(2)") for rule in rules]

    @jax.jit
    def coefficients(log_w):
        return {pair: getattr(estimators, pair[1])(CASES[pair[0]].bound)(log_w)[:3] for pair in pairs}

    exact = coefficients(jnp.asarray(log_w))
    for offset in (1e4, -1e4):
        found = coefficients(jnp.asarray(log_w + offset, jnp.float32))
        for name, vectors in found.items():
            for one, other in zip(vectors, exact[name], strict=True):
                scale = max(np.abs(other).max(), 1e-3 * max(np.abs(v).max() for v in exact[name]))
                np.testing.assert_allclose(one, other, atol=3e-4 * scale, err_msg=str(name))


# --- directions -------------------------------------------------------------------------------------------------------

WEIGHTS = arrays.arrays(np.float64, 4, elements=st.floats(-30, 30))


@jax.jit
def ordered(log_w):
    sums = bounds.thermodynamic(BETAS), bounds.iwae, bounds.thermodynamic_upper(BETAS)
    increasing = (bounds.elbo, *sums, bounds.eubo, bounds.renyi(-np.inf))
    return [f(log_w) for f in increasing], [f(log_w) for f in (bounds.miwae(2), bounds.ciwae(0.4))]


@hypothesis.settings(max_examples=30)
@hypothesis.given(WEIGHTS)
def test_every_draw_is_in_order(log_w):
    increasing, between = (np.asarray(values) for values in ordered(jnp.asarray(log_w)))
    assert np.all(np.diff(increasing) >= -1e-9)
    assert np.all((increasing[0] - 1e-9 <= between) & (between <= increasing[2] + 1e-9))


def test_the_ends_of_each_family():
    log_w = jnp.asarray(LOG_W)
    assert bounds.ciwae(0) is bounds.iwae
    assert bounds.ciwae(1.0) is bounds.elbo
    close(bounds.miwae(1)(log_w), bounds.iwae(log_w))
    close(bounds.miwae(4)(log_w), bounds.elbo(log_w))
    close(bounds.thermodynamic((0, 1))(log_w), bounds.elbo(log_w))
    many = np.linspace(0, 1, 2001)
    close(bounds.thermodynamic(many)(log_w[:, :2]), bounds.iwae(log_w[:, :2]), atol=1e-2)


def test_the_jackknife_takes_out_the_leading_bias():
    """Exact expectations on three states: doubling K halves the bias of IWAE, and quarters that of order 1, roughly."""
    exact = float(np.log(np.exp(LOG_JOINT).sum()))
    bias = {
        order: [float(jax.jit(expected_bound, static_argnums=(0, 1))(bound, k)) - exact for k in (4, 8)]
        for order, bound in {0: bounds.iwae, 1: bounds.jackknife(1), 2: bounds.jackknife(2)}.items()
    }
    ratio = {order: first / second for order, (first, second) in bias.items()}
    assert 1.6 < ratio[0] < 2.2
    assert 3 < ratio[1] < 5
    assert abs(bias[2][1]) < abs(bias[1][1]) < abs(bias[0][1]) / 4


# --- zero weights, and refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_zero_weights(name):
    bound, minus = CASES[name].bound, -jnp.inf
    log_w = jnp.array([[minus] * 4, [minus, 0.5, 0.5, 0.5]]).T
    finite = {
        "thermodynamic_upper": 0.5,
        "eubo": 0.5,
        "largest": 0.5,
        "jackknife(1)": float(jackknifed(1)(jnp.array([-1e6, 0.5, 0.5, 0.5]))),
        "jackknife(2)": float(jackknifed(2)(jnp.array([-1e6, 0.5, 0.5, 0.5]))),
        "miwae": 0.5 + np.log(0.5) / 2,
    }
    np.testing.assert_allclose(bound(log_w), [minus, finite.get(name, minus)], rtol=1e-12)
    a = np.asarray(jax.jit(lambda v: estimators.pathwise(bound)(v).model)(log_w))
    np.testing.assert_array_equal(a[:, 0], 0)
    np.testing.assert_allclose(a[:, 1].sum(), 1.0 if name in finite else 0.0, rtol=1e-9)
    assert a[0, 1] == 0


def test_refusals_name_the_value_and_the_neighbours():
    log_w = jnp.zeros((4, 1))
    with pytest.raises(ValueError, match=r"miwae\(3\) needs num_samples to be a multiple of 3, got 4: take 6"):
        bounds.miwae(3)(log_w)
    with pytest.raises(ValueError, match="Use vimco"):
        estimators.leave_one_out(bounds.miwae(4))(log_w)
    with pytest.raises(ValueError, match=r"beta must lie in \[0, 1\].*got 1.5"):
        bounds.ciwae(1.5)
    for betas in ((0, 1, 1), (0.1, 1), (0, 0.5), (1,)):
        with pytest.raises(ValueError, match="betas must increase from 0 to 1"):
            bounds.thermodynamic(betas)
    with pytest.raises(ValueError, match=r"jackknife\(4\) .* num_samples > 4, got 4"):
        bounds.jackknife(4)(log_w)
    with pytest.raises(ValueError, match="continuous.*jumps.*pathwise.*vimco"):
        estimators.doubly_reparameterized(bounds.renyi(-np.inf))(log_w)
