"""Evaluations inside the program: the same numbers however a run is cut, and none of their draws in the training."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vi_jax.training.evaluate import evaluation_key
from vi_jax.training.fit import fit
from vi_jax.training.step import init_state
from vi_jax.types import Params

KEY = jax.random.key(3)
DATA = jnp.array([0.5, -1.2, 2.0, 0.3, 4.4])
ADAM = optax.inject_hyperparams(optax.adam)(learning_rate=0.1)
START = Params(theta=jnp.array(2.0), phi={"loc": jnp.array(-1.0)})


def noisy(key, params, x):
    noise = jax.random.normal(key)
    return -0.5 * (x - params.theta) ** 2, Params(x.mean() - params.theta + noise, {"loc": noise - params.phi["loc"]})


def look(key, params):
    return {"theta": params.theta, "noise": jax.random.normal(key, (2,))}


def run(state, num_steps, **options):
    return fit(None, noisy, ADAM, state, DATA, num_steps=num_steps, batch_size=2, **options)


def identical(one, two):
    def bits(leaf):
        return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf

    jax.tree.map(lambda a, b: np.testing.assert_array_equal(bits(a), bits(b)), one, two)


@pytest.fixture(scope="module")
def start():
    return init_state(KEY, ADAM, START)


@pytest.fixture(scope="module")
def whole(start):
    return run(start, 14, evaluate=look, evaluate_every=4)


def test_they_change_nothing_of_the_training_and_see_its_parameters(start, whole):
    state, history = run(start, 14)
    assert history.evaluations == ()
    identical(state, whole[0])
    identical(history, whole[1]._replace(evaluations=()))
    found = whole[1].evaluations
    np.testing.assert_array_equal(found.step, [4, 8, 12])
    assert found.value["noise"].shape == (3, 2)
    last, _ = run(start, 12)
    identical(look(evaluation_key(last), last.params), jax.tree.map(lambda leaf: leaf[-1], found.value))


def test_a_run_in_blocks_gives_the_evaluations_of_the_whole(start, whole):
    state, parts = start, []
    for length in (3, 7, 4):  # before the first evaluation, over two, and past the last
        state, part = run(state, length, evaluate=look, evaluate_every=4)
        parts.append(part)
    identical(state, whole[0])
    identical(jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts), whole[1])


def test_no_key_of_an_evaluation_is_that_of_a_step(start):
    states = [start._replace(step=jnp.int32(step)) for step in range(50)]
    steps = [jax.random.fold_in(KEY, step) for step in range(50)]
    # What a step draws from, its own key included: an evaluation that splits its key must not meet those of a step.
    of_steps = [jnp.stack([key, *jax.random.split(key)]) for key in steps]
    of_evaluations = [evaluation_key(state)[None] for state in states]
    assert len(np.unique(jax.random.key_data(jnp.concatenate([*of_steps, *of_evaluations])), axis=0)) == 200


def test_seeds_and_learning_rates_are_one_program_and_each_run_is_the_single_one(start, whole):
    traces = []

    def counted(key, params, x):
        traces.append(1)
        return noisy(key, params, x)

    def one(key, rate):
        opt_state = optax.tree_utils.tree_set(start.opt_state, learning_rate=rate)
        state = start._replace(key=key, opt_state=opt_state)
        options = {"num_steps": 12, "batch_size": 2, "evaluate": look, "evaluate_every": 4}
        return fit(None, counted, ADAM, state, DATA, **options)

    keys, rates = jnp.stack([KEY, jax.random.key(7), KEY]), jnp.array([0.1, 0.1, 0.3])
    state, history = jax.vmap(one)(keys, rates)
    assert len(traces) == 1
    np.testing.assert_array_equal(history.evaluations.step, [[4, 8, 12]] * 3)
    first = jax.tree.map(lambda leaf: leaf[0], history)
    expected = whole[1]._replace(evaluations=())
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b[:12], rtol=1e-5, atol=1e-6),
        first._replace(evaluations=()),
        expected,
    )
    identical(first.evaluations.value["noise"], whole[1].evaluations.value["noise"])
    assert len(set(np.asarray(state.params.theta).tolist())) == 3
    slow, _ = one(KEY, jnp.array(0.3))
    np.testing.assert_allclose(state.params.theta[2], slow.params.theta, rtol=1e-5)


def test_mapped_over_seeds_an_evaluation_is_no_branch_of_the_step(start):
    def stacked(state):
        return jax.vmap(lambda state: run(state, 12, evaluate=look, evaluate_every=4))(state)

    states = jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), start)
    text = str(jax.make_jaxpr(stacked)(states))
    assert "cond[" not in text


def test_large_data_of_an_evaluation_are_an_argument_of_the_program(start):
    traces = []

    def distance(test, key, params):
        traces.append(1)
        return jnp.abs(test - params.theta).sum()

    found = [
        run(start, 4, evaluate=jax.tree_util.Partial(distance, test), evaluate_every=4)[1].evaluations.value[0]
        for test in (jnp.zeros(3), jnp.ones(3))
    ]
    assert len(traces) == 1
    # The parameters are the same: θ < 0 would move both distances by 3, and 0 < θ < 1 neither.
    assert abs(found[0] - found[1]) > 0.1


@pytest.mark.parametrize("options", [{"evaluate": look}, {"evaluate_every": 3}])
def test_one_without_the_other_is_refused(start, options):
    with pytest.raises(ValueError, match="give both, or neither"):
        run(start, 2, **options)


def test_a_number_below_one_is_refused(start):
    with pytest.raises(ValueError, match="evaluate_every must be at least 1, got 0"):
        run(start, 2, evaluate=look, evaluate_every=0)
