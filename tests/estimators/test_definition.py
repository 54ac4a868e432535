"""All estimators at once: their coefficients against the surrogates, and what every one of them must keep."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from tests.oracle import BOUNDS, ESTIMATORS, THROUGH_DRAWS, reference_coefficients
from vi_jax import bounds
from vi_jax.estimators import estimator

ROWS = [pytest.param(b, e, id=f"{b}-{e}") for b in BOUNDS for e in ESTIMATORS]
OPERATORS = [name for name in THROUGH_DRAWS if name.startswith("reparameterized ")]

# Four draws, and a datum a row: ordinary, equal, and weights that underflow in float64 too.
FINITE = np.array(
    [[0.3, -1.2, 2.0, 0.1], [-3.0, 4.0, 0.5, -0.2], [-2.5] * 4, [0, -500, -3, -1000], [-700, -0.5, -2, 0]]
)
IMPOSSIBLE = np.array([[-np.inf] * 4, [-np.inf, 0.5, -1.0, -np.inf]])
OFFSET = 1000.0
LOG_W = np.concatenate([FINITE, FINITE + OFFSET, IMPOSSIBLE]).T


@pytest.fixture(autouse=True)
def _eager_x64() -> Iterator[None]:
    """Compiling a row costs ten times what running it does."""
    with jax.enable_x64(True), jax.disable_jit():
        yield


@functools.cache
def coefficients(bound: str, name: str) -> vi.Coefficients:
    return ESTIMATORS[name].estimator(BOUNDS[bound].bound)(jnp.asarray(LOG_W))


def columns(c: vi.Coefficients, start: int, stop: int) -> vi.Coefficients:
    return vi.Coefficients(*(np.asarray(field)[:, start:stop] for field in c[:3]))


def assert_coefficients_agree(actual: vi.Coefficients, expected: vi.Coefficients, atol: float = 1e-9) -> None:
    for field in ("model", "path", "score"):
        np.testing.assert_allclose(
            getattr(actual, field), getattr(expected, field), rtol=atol, atol=atol, err_msg=field
        )


@pytest.mark.parametrize(("bound", "name"), ROWS)
def test_coefficients_are_the_derivatives_of_the_surrogate(bound, name):
    of_datum = functools.partial(reference_coefficients, ESTIMATORS[name].surrogate, BOUNDS[bound].naive)
    expected = jax.vmap(of_datum, in_axes=1, out_axes=1)(jnp.asarray(FINITE.T))
    assert_coefficients_agree(columns(coefficients(bound, name), 0, 5), expected)


@pytest.mark.parametrize(("bound", "name"), ROWS)
def test_only_the_plain_score_function_sees_log_z(bound, name):
    c, moved = (columns(coefficients(bound, name), *ends) for ends in ((0, 5), (5, 10)))
    if name == "score_function":
        c = c._replace(score=c.score + OFFSET)
    assert_coefficients_agree(moved, c)


@pytest.mark.parametrize(("bound", "name"), ROWS)
def test_ratio_says_what_it_means(bound, name):
    c = coefficients(bound, name)
    if c.ratio is not None and "jackknife" not in bound:
        assert np.all(np.isfinite(c.ratio))
        np.testing.assert_allclose(c.path, c.ratio * c.model, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("bound", "name"), [row for row in ROWS if "jackknife" not in row.id])  # its −∞ + ∞ is NaN
def test_impossible_data_have_zeros(bound, name):
    """All weights zero, and two of them zero. Where the bound is −∞ every coefficient is exactly zero."""
    log_w, c = jnp.asarray(IMPOSSIBLE.T), columns(coefficients(bound, name), 10, 12)
    values = BOUNDS[bound].bound(log_w)
    np.testing.assert_array_equal(jnp.isneginf(values), [True, bound in {"elbo", "renyi(2)", "user's blend"}])
    for vector in c[:3]:
        assert np.all(np.isfinite(vector))
        np.testing.assert_array_equal(vector[:, np.isneginf(values)], 0)
    # A draw of zero weight has no part in log w's derivative, even where it keeps a score.
    np.testing.assert_array_equal((c.model[0], c.model[3], c.path[0], c.path[3]), 0)


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name not in OPERATORS])
@pytest.mark.parametrize("bound", ["elbo", "iwae", "renyi(0.99)", "renyi(2)"])
def test_float32_keeps_its_digits_far_from_zero(bound, name):
    """Scores are of order 1/K and log p of order 10⁴: computed in float32 and compared with float64."""
    # Multiples of 2⁻⁹ nats, so that adding the offset rounds nothing.
    log_w = np.round(np.random.default_rng(0).normal(size=(24, 2)) * 2**9) / 2**9
    of_bound = ESTIMATORS[name].estimator(BOUNDS[bound].bound)
    exact = of_bound(jnp.asarray(log_w))
    at_origin, *far = (of_bound(jnp.asarray(log_w + o, jnp.float32)) for o in (0.0, -10240.0, 10240.0))
    assert {field.dtype for c in (at_origin, *far) for field in c[:3]} == {jnp.dtype(jnp.float32)}
    assert_coefficients_agree(at_origin, exact, 3e-6)
    if name != "score_function":
        for c in far:
            assert_coefficients_agree(c, exact, 3e-6)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators_keep_their_names(name):
    vector = ESTIMATORS[name].estimator
    operators = {
        "reparameterized pathwise": "reparameterize_score(pathwise)",
        "reparameterized score": "reparameterize_score(score_function)",
    }
    assert vector.__name__ == operators.get(name, name)


def test_an_estimator_is_made_of_one_function_of_bound_and_log_w():
    @estimator
    def only_the_model(bound, log_w):
        """Leaves the guide alone."""
        a = bounds.gradient(bound)(log_w)
        return vi.Coefficients(a, 0 * a, 0 * a, 0.0)

    assert only_the_model.__name__ == "only_the_model"
    assert only_the_model.__doc__ == "Leaves the guide alone."
    c = only_the_model(bounds.iwae)(jnp.array([[0.0, -jnp.inf], [0.0, -jnp.inf]]))
    np.testing.assert_array_equal(c.model, [[0.5, 0.0], [0.5, 0.0]])
    assert c.ratio == 0.0
