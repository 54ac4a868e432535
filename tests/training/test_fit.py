"""fit: one program, the same numbers however it is cut, mapped or repeated."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vi_jax.training.fit import fit
from vi_jax.training.rows import draw_rows, take
from vi_jax.training.step import TrainState, init_state
from vi_jax.types import Params

KEY = jax.random.key(3)
DATA = jnp.array([0.5, -1.2, 2.0, 0.3, 4.4])
ADAM = optax.adam(0.1)
SGD = optax.sgd(0.1)
START = Params(theta=jnp.array(2.0), phi={"loc": jnp.array(-1.0), "log_scale": jnp.array(0.5)})


def quadratic(key, params, x):
    """−½(x_b − θ)², without noise: θ̄ = mean(x) − θ."""
    del key
    return -0.5 * (x - params.theta) ** 2, jax.tree.map(jnp.zeros_like, params)._replace(theta=x.mean() - params.theta)


def noisy(key, params, x):
    """The quadratic, and for φ the sticking-the-landing ELBO of q = N(loc, scale²) against N(1, ½²), one draw."""
    values, gradient = quadratic(key, params, x)
    noise, scale = jax.random.normal(key), jnp.exp(params.phi["log_scale"])
    z = params.phi["loc"] + scale * noise
    slope = (1.0 - z) / 0.25 + noise / scale
    log_w = jax.scipy.stats.norm.logpdf(z, 1.0, 0.5) - jax.scipy.stats.norm.logpdf(z, params.phi["loc"], scale)
    return values + log_w, gradient._replace(phi={"loc": slope, "log_scale": slope * scale * noise})


class Counted:
    """An objective that counts how often it is traced."""

    def __init__(self, objective):
        self.objective = objective
        self.traces = 0

    def __call__(self, *args):
        self.traces += 1
        return self.objective(*args)


def assert_identical(one, two):
    def bits(leaf):
        return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf

    jax.tree.map(lambda a, b: np.testing.assert_array_equal(bits(a), bits(b)), one, two)


def test_the_whole_path_of_gradient_ascent_is_the_closed_form():
    state, history = fit(KEY, quadratic, SGD, START, DATA, num_steps=30)
    mean, variance = float(DATA.mean()), float(DATA.var())
    theta = mean + 0.9 ** np.arange(31) * (2.0 - mean)
    np.testing.assert_allclose(state.params.theta, theta[-1], rtol=1e-5)
    np.testing.assert_allclose(history.value, -0.5 * (variance + (mean - theta[:-1]) ** 2), rtol=1e-5)
    np.testing.assert_allclose(history.gradient_norm.theta, np.abs(mean - theta[:-1]), rtol=1e-4)
    np.testing.assert_array_equal(history.gradient_norm.phi, np.zeros(30))
    np.testing.assert_array_equal(history.num_nonfinite, np.zeros(30))
    assert int(state.step) == 30


def test_a_guide_of_the_right_family_reaches_its_target_exactly():
    state, history = fit(KEY, noisy, ADAM, START, DATA, num_steps=1500)
    np.testing.assert_allclose(state.params.phi["loc"], 1.0, atol=1e-4)
    np.testing.assert_allclose(state.params.phi["log_scale"], np.log(0.5), atol=1e-4)
    # At the target log w ≡ 0: what is left of the value is the quadratic's −½ var(x).
    np.testing.assert_allclose(history.value[-1], -0.5 * DATA.var(), rtol=1e-4)


@pytest.mark.parametrize(("cut", "key"), [(20, None), (20, KEY), (1, None)])
def test_a_run_in_two_parts_is_the_whole_run_bit_for_bit(cut, key):
    whole = fit(KEY, noisy, ADAM, START, DATA, num_steps=40, batch_size=2)
    state, first = fit(KEY, noisy, ADAM, START, DATA, num_steps=cut, batch_size=2)
    state, second = fit(key, noisy, ADAM, state, DATA, num_steps=40 - cut, batch_size=2)
    assert_identical(whole[0], state)
    assert_identical(whole[1], jax.tree.map(lambda a, b: np.concatenate([a, b]), first, second))


def test_a_new_key_replaces_the_keys_of_a_state_and_steps_go_on():
    state, _ = fit(KEY, noisy, ADAM, START, DATA, num_steps=20, batch_size=2)
    other = jax.random.key(9)
    replaced, _ = fit(other, noisy, ADAM, state, DATA, num_steps=20, batch_size=2)
    assert_identical(replaced, fit(None, noisy, ADAM, state._replace(key=other), DATA, num_steps=20, batch_size=2)[0])
    assert int(replaced.step) == 40
    kept, _ = fit(None, noisy, ADAM, state, DATA, num_steps=20, batch_size=2)
    assert kept.params.phi["loc"] != replaced.params.phi["loc"]


def test_repeated_and_resumed_and_mapped_fits_share_one_trace():
    objective = Counted(noisy)
    state, _ = fit(KEY, objective, ADAM, START, DATA, num_steps=7, batch_size=2)
    fit(jax.random.key(1), objective, ADAM, START, DATA + 1.0, num_steps=7, batch_size=2)
    fit(None, objective, ADAM, state, DATA, num_steps=7, batch_size=2)
    python_numbers = Params(2.0, {"loc": -1.0, "log_scale": 0.5})
    fit(KEY, objective, ADAM, python_numbers, DATA, num_steps=7, batch_size=2)
    jax.vmap(lambda key: fit(key, objective, ADAM, START, DATA, num_steps=7, batch_size=2))(jax.random.split(KEY, 3))
    assert objective.traces == 1


def test_fits_mapped_over_seeds_and_starts_are_the_single_fits():
    keys = jax.random.split(KEY, 3)
    starts = jax.tree.map(lambda leaf: np.asarray(leaf) + np.arange(3, dtype=np.float32), START)

    def run(key, params):
        return fit(key, noisy, ADAM, params, DATA, num_steps=20, batch_size=2)

    state, history = jax.vmap(run)(keys, starts)
    mapped = jax.tree.map(np.asarray, (state.params, state.opt_state, history))
    for i in range(3):
        state, history = run(keys[i], jax.tree.map(lambda leaf, i=i: leaf[i], starts))
        single, own = (state.params, state.opt_state, history), jax.tree.map(lambda leaf, i=i: leaf[i], mapped)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), own, single)
    assert len(set(mapped[0].phi["loc"])) == 3


def test_fits_map_over_learning_rates():
    def final(rate):
        return fit(KEY, quadratic, optax.sgd(rate), START, DATA, num_steps=4)[0].params.theta

    rates = jnp.array([0.0, 0.1, 1.0])
    mean = float(DATA.mean())
    np.testing.assert_allclose(jax.vmap(final)(rates), mean + (1 - rates) ** 4 * (2.0 - mean), rtol=1e-5)


def test_fit_runs_inside_jit_where_data_has_no_values_yet():
    jitted = jax.jit(lambda key, data: fit(key, quadratic, SGD, START, data, num_steps=30)[0].params.theta)
    outside = fit(KEY, quadratic, SGD, START, DATA, num_steps=30)[0].params.theta
    np.testing.assert_allclose(jitted(KEY, DATA), outside, rtol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_batches_are_uniform_draws_with_replacement(batch_size):
    def report(key, params, x):
        del key
        return x["value"], jax.tree.map(jnp.zeros_like, params)

    data = {"value": DATA, "label": jnp.arange(5)}
    _, history = fit(KEY, report, SGD, START, data, num_steps=4000, batch_size=batch_size)
    means = np.asarray(history.value, np.float64)
    # The mean of B draws with replacement has variance σ²/B exactly; without, it would be smaller by (N − B)/(N − 1).
    variance = float(DATA.var()) / batch_size
    assert abs(means.mean() - float(DATA.mean())) < 4 * np.sqrt(variance / 4000)
    squared = (means - float(DATA.mean())) ** 2
    assert abs(squared.mean() - variance) < 4 * squared.std() / np.sqrt(4000)


def test_a_batch_keeps_the_leaves_of_a_datum_together():
    batch = take({"value": DATA, "label": jnp.arange(5)}, draw_rows(KEY, 5, 64))
    np.testing.assert_array_equal(batch["value"], DATA[batch["label"]])
    assert set(np.asarray(batch["label"])) == set(range(5))


def test_prepare_sees_the_batch_and_draws_anew_at_every_step():
    def binarize(key, x):
        return jax.random.bernoulli(key, x).astype(float)

    def report(key, params, x):
        del key
        assert x.shape == (50,)
        return x, jax.tree.map(jnp.zeros_like, params)

    _, history = fit(KEY, report, SGD, START, jnp.full(7, 0.3), num_steps=400, batch_size=50, prepare=binarize)
    np.testing.assert_allclose(history.value.mean(), 0.3, atol=4 * np.sqrt(0.21 / 20_000))
    np.testing.assert_allclose(history.value.var(), 0.21 / 50, rtol=4 * np.sqrt(2 / 400))


def test_which_data_are_drawn_says_nothing_about_what_prepare_draws():
    def difference(key, x):
        return x - draw_rows(key, 1000, 8)

    def report(key, params, x):
        del key
        return jnp.abs(x), jax.tree.map(jnp.zeros_like, params)

    _, history = fit(KEY, report, SGD, START, jnp.arange(1000.0), num_steps=1, batch_size=8, prepare=difference)
    assert history.value > 10


def test_theta_and_phi_take_optimizers_of_their_own_and_theta_can_be_frozen():
    labels = Params(theta="frozen", phi="trained")
    optimizer = optax.partition({"frozen": optax.set_to_zero(), "trained": ADAM}, labels)
    state, _ = fit(KEY, noisy, optimizer, START, DATA, num_steps=20, batch_size=2)
    alone, _ = fit(KEY, noisy, ADAM, START, DATA, num_steps=20, batch_size=2)
    assert state.params.theta == START.theta
    assert_identical(state.params.phi, alone.params.phi)
    assert alone.params.theta != START.theta


def test_what_a_gradient_that_is_not_finite_does_is_the_optimizers_choice_and_is_counted():
    def broken(key, params, x):
        values, gradient = quadratic(key, params, x)
        bad = jnp.where(jnp.arange(x.size) == 0, jnp.where(jax.random.bernoulli(key, 0.3), -jnp.inf, 0.0), 0.0)
        return values + bad, jax.tree.map(lambda leaf: leaf + 0 * bad.sum(), gradient)  # 0 · ∞ = NaN

    guarded = optax.apply_if_finite(SGD, max_consecutive_errors=100)
    state, history = fit(KEY, broken, guarded, START, DATA, num_steps=40)
    num_bad = int(history.num_nonfinite.sum())
    assert 4 < num_bad < 24
    mean = float(DATA.mean())
    np.testing.assert_allclose(state.params.theta, mean + 0.9 ** (40 - num_bad) * (2.0 - mean), rtol=1e-4)
    assert jnp.isnan(fit(KEY, broken, SGD, START, DATA, num_steps=40)[0].params.theta)


def test_the_callers_arrays_survive():
    start = init_state(KEY, ADAM, START)
    fit(None, noisy, ADAM, start, DATA, num_steps=2)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((start, START, DATA)))


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"key": None}, ValueError, r"pass jax\.random\.key"),
        ({"key": jax.random.PRNGKey(0)}, TypeError, r"jax\.random\.key\(seed\); got uint32\[2\]"),
        ({"num_steps": 0}, ValueError, "num_steps must be at least 1, got 0"),
        ({"num_steps": 1.5}, TypeError, r"num_steps must be a Python integer ≥ 1, got 1\.5 \(float\)"),
        ({"batch_size": -2}, ValueError, "batch_size must be at least 1, got -2"),
        ({"batch_size": True}, TypeError, "batch_size must be a Python integer ≥ 1, got True"),
        ({"data": jnp.zeros(())}, ValueError, r"data is a scalar.*x\[None\]"),
        ({"data": jnp.zeros((0, 2))}, ValueError, r"data has an empty batch axis, shape \(0, 2\)"),
        ({"data": {}}, ValueError, "data has no leaves"),
        ({"data": {"a": DATA, "b": DATA[:2]}}, ValueError, r"data\['a'\] has length 5, data\['b'\] has 2"),
        ({"data": {"a": DATA, "b": np.array([1.0, np.nan] * 2 + [0])}}, ValueError, r"data\['b'\] holds 2 NaN.*impute"),
        ({"params_or_state": (1.0, 2.0)}, TypeError, "must be Params.*got tuple"),
        ({"params_or_state": init_state(KEY, SGD, START)}, ValueError, "optimizer that began the run"),
    ],
)
def test_bad_input_is_refused_with_its_remedy(changed, error, message):
    arguments = {"key": KEY, "params_or_state": START, "data": DATA, "num_steps": 2} | changed
    with pytest.raises(error, match=message):
        fit(objective=noisy, optimizer=ADAM, **arguments)


def test_infinite_data_is_legal():
    state, _ = fit(KEY, lambda key, params, x: (x, params), SGD, START, jnp.array([jnp.inf]), num_steps=1)
    assert isinstance(state, TrainState)


def test_a_rate_for_an_optimizer_and_a_loss_for_an_objective_are_named():
    with pytest.raises(TypeError, match=r"optimizer must be an optax transformation, such as optax\.adam.*got 0\.1"):
        fit(KEY, quadratic, 0.1, START, DATA, num_steps=1)
    with pytest.raises(TypeError, match=r"must return \(values \[B\], gradient\).*a scalar, as of vi\.loss"):
        fit(KEY, lambda *inputs: quadratic(*inputs)[0].mean(), SGD, START, DATA, num_steps=1)
