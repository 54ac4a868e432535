"""Draws and their log-weights: which key makes which draw, the exact bounds of the toy, and every bad input."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from tests import problems
from tests.populations import z_scores
from vi_jax import bounds, estimators, guides, models

KEY = jax.random.key(0)


def log_weights(model: vi.Model, guide: vi.Guide, params: vi.Params, x, num_samples: int) -> jax.Array:
    return jax.jit(functools.partial(vi.log_weights, model=model, guide=guide, num_samples=num_samples))(
        KEY, params=params, x=x
    )


def curved_log_weights(num_samples: int, batch_size: int = 3) -> jax.Array:
    x = problems.curved_data(3)[:batch_size]
    return log_weights(problems.CURVED, problems.AMORTIZED, problems.curved_params(), x, num_samples)


def test_draw_k_of_datum_b_belongs_to_its_own_key():
    params, x = problems.curved_params(), problems.curved_data(3)
    log_w = curved_log_weights(4)
    assert log_w.shape == (4, 3)
    for k, b in np.ndindex(4, 3):
        q = problems.AMORTIZED.distribution(params.phi, x[b])
        z = q.sample(seed=jax.random.fold_in(jax.random.fold_in(KEY, b), k))
        expected = problems.CURVED.log_joint(params.theta, x[b], z) - q.log_prob(z)
        np.testing.assert_allclose(log_w[k, b], expected, rtol=1e-5, atol=1e-5)


def test_a_draw_does_not_depend_on_how_many_there_are():
    np.testing.assert_allclose(curved_log_weights(8), curved_log_weights(16)[:8], rtol=1e-6, atol=1e-6)


def test_a_datum_does_not_depend_on_the_batch_behind_it():
    np.testing.assert_allclose(curved_log_weights(4, 1), curved_log_weights(4)[:, :1], rtol=1e-6, atol=1e-6)


def test_data_and_latents_may_be_trees():
    params, x = problems.tree_params(), problems.tree_data()
    log_w = log_weights(problems.TREE, problems.PAIRED, params, x, 2)
    datum = jax.tree.map(lambda leaf: leaf[1], x)
    q = problems.PAIRED.distribution(params.phi, datum)
    z = q.sample(seed=jax.random.fold_in(jax.random.fold_in(KEY, 1), 0))
    expected = problems.TREE.log_joint(params.theta, datum, z) - q.log_prob(z)
    np.testing.assert_allclose(log_w[0, 1], expected, rtol=1e-5)


def test_discrete_draws():
    exact, guide = models.table(models.THREE_STATES), guides.categorical(3)
    params = vi.Params(exact.model.init(KEY), jnp.array([0.1, -0.4, 0.3]))
    log_w = log_weights(exact.model, guide, params, jnp.zeros(50, int), 40)
    possible = np.log(models.THREE_STATES[0]) - np.asarray(jax.nn.log_softmax(params.phi))
    nearest = np.abs(np.asarray(log_w)[..., None] - possible)
    np.testing.assert_allclose(nearest.min(axis=-1), 0, atol=1e-6)
    frequencies = np.bincount(nearest.argmin(axis=-1).ravel(), minlength=3) / 2000
    np.testing.assert_allclose(frequencies, jax.nn.softmax(params.phi), atol=4 * 0.5 / np.sqrt(2000))


def test_strict_promotion(strict_promotion):
    del strict_promotion
    assert curved_log_weights(2).dtype == jnp.float32


def test_double_precision(x64):
    del x64
    assert curved_log_weights(2).dtype == jnp.float64


# --- the linear-Gaussian toy, IWAE_K − log p --------------------------------------------------------------------------

NUM_SAMPLES = (1, 2, 4, 8, 16, 64, 256, 1024)
GAPS = {
    1: (-0.022826, -0.009436, -0.004377, -0.002116, -0.001041, -0.000257, -0.000064, -0.000016),
    5: (-0.114128, -0.049969, -0.023342, -0.011295, -0.005558, -0.001373, -0.000342, -0.000086),
    20: (-0.456513, -0.229325, -0.114494, -0.057058, -0.028448, -0.007092, -0.001771, -0.000443),
}


@functools.cache
def relative_log_weights(dim: int) -> np.ndarray:
    """log w − log p(x), `[1024, B]`, at the optimum, where its law is the same for every datum."""
    exact, guide = models.linear_gaussian(dim), guides.affine(dim, dim, variance=2 / 3)
    x = jax.random.normal(jax.random.key(1), (160, dim)) * 1.4
    mu, a, b = models.linear_gaussian_optimum(x)
    log_w = log_weights(exact.model, guide, vi.Params(mu, guides.Affine(a, b)), x, 1024)
    return np.asarray(log_w - jax.vmap(exact.log_evidence, (None, 0))(mu, x))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dim", GAPS)
def test_iwae_of_the_linear_gaussian_toy(dim):
    for num_samples, expected in zip(NUM_SAMPLES, GAPS[dim], strict=True):
        log_w = relative_log_weights(dim).reshape(num_samples, -1)
        # E[mean w / p] − 1 = 0 is known, and taking it out leaves the second order in 1/√K.
        values = np.asarray(jax.jit(bounds.iwae)(log_w)) - (np.exp(log_w).mean(axis=0) - 1)
        error = values.std(ddof=1) / np.sqrt(values.size)
        assert abs(values.mean() - expected) < 4 * error + 6e-7  # half a unit of the last printed digit
        assert error < 0.2 * abs(expected)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dim", GAPS)
def test_moments_of_the_weights_at_the_optimum(dim):
    """E w = p;  Var(w)/p² = (16/15)^{D/2} − 1;  Var log w = D/18."""
    log_w = relative_log_weights(dim).ravel()
    assert z_scores(np.exp(log_w), 1.0) < 4
    assert z_scores((np.exp(log_w) - 1) ** 2, (16 / 15) ** (dim / 2) - 1) < 4
    assert z_scores((log_w - log_w.mean()) ** 2, dim / 18) < 4


@pytest.mark.usefixtures("x64")
def test_elbo_of_the_toy_away_from_the_optimum():
    """−(log(3π)/2 + 1/6) D − |m − μ|²/2 − |m − x|²/2, and Var log w = D/18 + (8/3)|δ|² with δ = (μ + x)/2 − m."""
    exact, guide = models.linear_gaussian(3), guides.affine(3, 3, variance=2 / 3)
    mu, x = jnp.array([0.3, -1.0, 0.5]), jnp.array([1.0, 0.2, -0.7])
    a, b = 0.2 * jnp.eye(3), jnp.array([0.5, 0.1, -0.4])
    m = a @ x + b
    params = vi.Params(mu, guides.Affine(a, b))
    log_w = log_weights(exact.model, guide, params, jnp.tile(x, (20, 1)), 2000)
    elbo = -(np.log(3 * np.pi) / 2 + 1 / 6) * 3 - jnp.sum((m - mu) ** 2) / 2 - jnp.sum((m - x) ** 2) / 2
    np.testing.assert_allclose(models.linear_gaussian_elbo(mu, a, b, x), elbo, rtol=1e-12)
    assert z_scores(np.asarray(log_w).ravel(), float(elbo)) < 4
    variance = 3 / 18 + 8 / 3 * float(jnp.sum(((mu + x) / 2 - m) ** 2))
    assert z_scores((np.asarray(log_w).ravel() - float(elbo)) ** 2, variance) < 4


# --- bad input: every entrance says the same --------------------------------------------------------------------------


def _objective(key, model, guide, params, x, num_samples):
    return vi.value_and_grad(model, guide, bounds.iwae, estimators.pathwise, num_samples=num_samples)(key, params, x)


def _chunked(key, model, guide, params, x, num_samples):
    return vi.value_and_grad(
        model, guide, bounds.iwae, estimators.score_function, num_samples=num_samples, chunk_size=1
    )(key, params, x)


def _shared(key, model, guide, params, x, num_samples):
    rows = {"one": (bounds.elbo, estimators.pathwise)}
    return vi.shared_gradients(model, guide, rows, num_samples=num_samples)(key, params, x)


def _loss(key, model, guide, params, x, num_samples):
    return vi.loss(model, guide, bounds.iwae, estimators.pathwise, num_samples=num_samples)(key, params, x)


def _loss_gradient(key, model, guide, params, x, num_samples):
    loss = vi.loss(model, guide, bounds.iwae, estimators.pathwise, num_samples=num_samples)
    return jax.grad(loss, argnums=1)(key, params, x)


def _log_weights(key, model, guide, params, x, num_samples):
    return vi.log_weights(key, model, guide, params, x, num_samples=num_samples)


def _evidence(key, model, guide, params, x, num_samples):
    return vi.log_evidence(key, model, guide, params, x, num_samples=num_samples)


ENTRANCES = [_objective, _chunked, _shared, _loss, _loss_gradient, _log_weights, _evidence]


def good() -> dict:
    return {
        "key": KEY,
        "model": problems.CURVED,
        "guide": problems.AMORTIZED,
        "params": problems.curved_params(),
        "x": problems.curved_data(),
        "num_samples": 2,
    }


def curved(**changes) -> vi.Model:
    return problems.CURVED._replace(**changes)


def amortized(distribution) -> vi.Guide:
    return problems.AMORTIZED._replace(distribution=distribution)


THETA, PHI = problems.curved_params()

BAD = {
    "K = 0": ({"num_samples": 0}, ValueError, "num_samples must be at least 1, got 0"),
    "K < 0": ({"num_samples": -5}, ValueError, "num_samples must be at least 1, got -5"),
    "K a float": ({"num_samples": 2.0}, TypeError, r"num_samples must be a Python integer ≥ 1, got 2\.0"),
    "K a bool": ({"num_samples": True}, TypeError, "num_samples must be a Python integer ≥ 1, got True"),
    "raw key": ({"key": jax.random.PRNGKey(0)}, TypeError, r"typed key, jax\.random\.key\(seed\); got uint32\[2\]"),
    "many keys": ({"key": jax.random.split(KEY, 3)}, ValueError, r"array of keys of shape \(3,\).*jax\.vmap"),
    "seed": ({"key": 0}, TypeError, r"typed key, jax\.random\.key\(seed\); got 0"),
    "plain tuple": ({"params": (THETA, PHI)}, TypeError, r"vi_jax\.Params\(theta, phi\), got tuple"),
    "theta's structure": ({"params": vi.Params({"mu": jnp.zeros(2)}, PHI)}, ValueError, r"params\.theta has structure"),
    "phi's structure": ({"params": vi.Params(THETA, jnp.zeros(2))}, ValueError, r"params\.phi has structure"),
    "theta and phi swapped": ({"params": vi.Params(PHI, THETA)}, ValueError, r"params\.theta has structure"),
    "theta's shape": (
        {"params": vi.Params(THETA | {"mu": jnp.zeros(3)}, PHI)},
        ValueError,
        r"params\.theta\['mu'\] has shape \(3,\), but init makes \(2,\)",
    ),
    "phi's shape": (
        {"params": vi.Params(THETA, PHI | {"b": jnp.zeros((1, 2))})},
        ValueError,
        r"params\.phi\['b'\] has shape \(1, 2\), but init makes \(2,\)",
    ),
    "NaN in the data": ({"x": jnp.array([[1.0, jnp.nan]])}, ValueError, "x holds 1 NaN among its 2 numbers: drop or"),
    "no batch axis": (
        {"x": jnp.zeros(())},
        ValueError,
        r"x is a scalar, without a batch axis: add one, as in x\[None\]",
    ),
    "a list": ({"x": [[1.0, 2.0]]}, ValueError, r"x has a Python number for a leaf.*make it an array, jnp\.asarray"),
    "no batch axis, vector": ({"x": jnp.zeros(2)}, ValueError, r"fails for one datum.*leading batch axis B.*x\[None\]"),
    "no datum": ({"x": jnp.zeros((0, 2))}, ValueError, "empty batch axis"),
    "batch axes differ": (
        {"x": {"a": jnp.zeros((2, 2)), "b": jnp.zeros((3, 2))}},
        ValueError,
        r"x\['a'\] has length 2, x\['b'\] has 3",
    ),
    "log_joint a vector": (
        {"model": curved(log_joint=lambda theta, x, z: -((z - x) ** 2))},
        ValueError,
        r"model\.log_joint must return one scalar .* got \(2,\) for a datum of shape \(2,\) .*Sum over the event",
    ),
    "log_joint of shape (1,)": (
        {"model": curved(log_joint=lambda theta, x, z: -jnp.sum((z - x) ** 2, keepdims=True))},
        ValueError,
        r"model\.log_joint must return one scalar .* got \(1,\)",
    ),
    "log_joint a pair": (
        {"model": curved(log_joint=lambda theta, x, z: (jnp.zeros(()), z))},
        ValueError,
        r"model\.log_joint must return one scalar",
    ),
    "log_joint raises": (
        {"model": curved(log_joint=lambda theta, x, z: x @ jnp.zeros(7))},
        ValueError,
        r"model\.log_joint fails for one datum and one draw",
    ),
    "params first": (
        {"key": problems.curved_params()},
        TypeError,
        r"typed key, jax\.random\.key\(seed\); got a Params\.",
    ),
    "no distribution": (
        {"guide": amortized(lambda phi, x: (phi["b"], phi["b"]))},
        ValueError,
        r"guide\.distribution must return a distrax distribution of one z, got a tuple",
    ),
    "log_prob a vector": (
        {"guide": amortized(lambda phi, x: VectorScore(phi["b"], jnp.ones(2)))},
        ValueError,
        r"log_prob must return one scalar .* got \(2,\)",
    ),
}


class VectorScore(problems.Normal):
    def log_prob(self, z: jax.Array) -> jax.Array:
        return -(((z - self.loc) / self.scale) ** 2)


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("case", BAD)
def test_bad_input_raises_one_clear_error(case, entrance):
    changes, error, message = BAD[case]
    with pytest.raises(error, match=f"(?s){message}") as caught:
        entrance(**(good() | changes))
    assert type(caught.value) is error


@pytest.mark.parametrize("case", ["theta's shape", "log_joint a vector", "no batch axis", "plain tuple"])
def test_what_shapes_tell_is_told_under_a_trace_too(case):
    changes, error, message = BAD[case]
    arguments = good() | changes
    traced = {name: arguments.pop(name) for name in ("key", "params", "x")}
    with pytest.raises(error, match=f"(?s){message}"):
        jax.jit(lambda traced: _objective(**arguments, **traced))(traced)
