"""Objectives with a state: rows go with their data, the rest goes whole, and a run can be cut anywhere."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import vi_jax as vi
from tests import problems
from tests.training.test_fit import Counted, assert_identical
from vi_jax import bounds, estimators, guides, objectives
from vi_jax.objectives import PerDatum
from vi_jax.training import rows
from vi_jax.training.fit import fit
from vi_jax.training.step import init_state, make_step
from vi_jax.types import Params

KEY = jax.random.key(3)
SGD = optax.sgd(0.1)
START = Params(theta=jnp.array(0.5), phi=())
NUMBERS = jnp.arange(5.0)


def record(key, params, x, state):
    """Writes into each row which datum it has met, and the same noise twice; counts its calls beside."""
    noise = jax.random.normal(key, x.shape)
    met = {"sum": state["met"].rows["sum"] + x, "count": state["met"].rows["count"] + 1, "twice": (noise, noise)}
    gradient = params._replace(theta=jnp.mean(noise) * params.theta)
    return x, gradient, {"met": PerDatum(met), "calls": state["calls"] + 1}


def blank(num_data=5):
    zeros = jnp.zeros(num_data)
    met = {"sum": zeros, "count": jnp.zeros(num_data, int), "twice": (zeros, zeros)}
    return {"met": PerDatum(met), "calls": jnp.zeros((), int)}


def start(key=KEY):
    return init_state(key, SGD, START, extra=blank())


def assert_rows_go_with_their_data(step, num_steps=200):
    state, _ = jax.lax.scan(lambda state, _: step(state, NUMBERS), start(), length=num_steps)
    met = state.extra["met"].rows
    # A row has met its own datum only, and every step that met it at most once.
    np.testing.assert_array_equal(met["sum"], NUMBERS * met["count"])
    assert np.all(met["count"] <= num_steps)
    np.testing.assert_array_equal(*met["twice"])
    assert int(state.extra["calls"]) == num_steps
    return np.asarray(met["count"])


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_rows_go_with_their_data_and_a_datum_that_is_met_twice_counts_once(batch_size):
    count = assert_rows_go_with_their_data(make_step(record, SGD, batch_size=batch_size))
    share = 1 - (1 - 1 / 5) ** batch_size
    assert np.all(np.abs(count - 200 * share) < 4 * np.sqrt(200 * share * (1 - share)))


def test_without_batches_every_row_advances_and_prepare_leaves_them_in_place():
    count = assert_rows_go_with_their_data(make_step(record, SGD, lambda key, x: x), num_steps=3)
    np.testing.assert_array_equal(count, 3)


def test_of_the_copies_of_a_datum_the_last_is_kept_whole():
    state = {"chain": PerDatum((jnp.zeros(5), jnp.zeros((5, 2)))), "whole": jnp.zeros(2)}
    chosen = jnp.array([3, 1, 3, 0, 1])
    seen = rows.gather(state, chosen)
    assert jax.tree.map(jnp.shape, seen) == {"chain": PerDatum(((5,), (5, 2))), "whole": (2,)}
    new = {"chain": PerDatum((jnp.arange(1.0, 6.0), jnp.ones((5, 2)) * jnp.arange(1.0, 6.0)[:, None]))}
    put = jax.jit(rows.scatter)(state, chosen, new | {"whole": jnp.ones(2)})
    kept = [4.0, 5.0, 0.0, 3.0, 0.0]
    np.testing.assert_array_equal(put["chain"].rows[0], kept)
    np.testing.assert_array_equal(put["chain"].rows[1], np.stack([kept, kept], axis=1))
    np.testing.assert_array_equal(put["whole"], 1)


def to_the_next_row(state, chosen, advanced):
    return right_scatter(state, (chosen + 1) % 5, advanced)


def to_the_first_rows(state, chosen, advanced):
    return right_scatter(state, jnp.arange(chosen.size), advanced)


def a_copy_for_each_leaf(state, chosen, advanced):
    """The last copy of one leaf, and the first of another."""
    backwards = jax.tree.map(lambda leaf: leaf[::-1] if leaf.ndim else leaf, advanced)
    last, first = right_scatter(state, chosen, advanced), right_scatter(state, chosen[::-1], backwards)
    mixed = last["met"].rows | {"twice": (last["met"].rows["twice"][0], first["met"].rows["twice"][1])}
    return last | {"met": PerDatum(mixed)}


right_scatter = rows.scatter


@pytest.mark.parametrize("scatter", [to_the_next_row, to_the_first_rows, a_copy_for_each_leaf])
def test_rows_that_go_elsewhere_are_seen(scatter, monkeypatch):
    monkeypatch.setattr("vi_jax.training.step.scatter", scatter)
    with pytest.raises(AssertionError):
        assert_rows_go_with_their_data(make_step(record, SGD, batch_size=3))


def test_a_run_in_two_parts_is_the_whole_run_bit_for_bit_and_mapped_runs_are_single_ones_in_one_trace():
    objective = Counted(record)

    def run(state, num_steps):
        return fit(None, objective, SGD, state, NUMBERS, num_steps=num_steps, batch_size=2)

    whole, history = run(start(), 100)
    state, first = run(start(), 60)
    state, second = run(state, 40)
    assert_identical(whole, state)
    assert_identical(history, jax.tree.map(lambda a, b: np.concatenate([a, b]), first, second))
    assert objective.traces == 3  # One for each number of steps.
    keys = jax.random.split(KEY, 3)
    mapped = jax.vmap(lambda key: run(start(key), 100)[0].extra["met"].rows["sum"])(keys)
    for key, own in zip(keys, mapped, strict=True):
        np.testing.assert_array_equal(own, run(start(key), 100)[0].extra["met"].rows["sum"])
    assert objective.traces == 3


def test_climbing_along_chains_ends_at_the_forward_divergence_and_two_weighted_draws_do_not():
    """p has two modes and q = softmax(φ z) has not: the best q has the mean of p, and wake-φ at K = 2 a mean of .18."""
    log_p, states = jnp.log(jnp.array([0.6, 0.05, 0.35])), jnp.arange(3)
    model = vi.Model(lambda key: jnp.zeros(()), lambda theta, x, z: log_p[z] + 0 * theta)
    monotone = vi.Guide(
        lambda key: jnp.zeros(()), lambda phi, x: guides.categorical(3).distribution(phi * states, x), False
    )
    params, data = Params(jnp.zeros(()), jnp.zeros(())), jnp.zeros(64)
    optimizer = optax.sgd(optax.exponential_decay(0.5, 20, 0.8, transition_begin=200))

    def end(objective, extra=()):
        """The mean of q in the end; half of the 64 chains take a step at a time."""
        state = init_state(KEY, optimizer, params, extra=extra)
        state, history = fit(None, objective, optimizer, state, data, num_steps=400, batch_size=32)
        assert not history.num_nonfinite.any()
        return jax.nn.softmax(state.params.phi * states) @ states

    chain = objectives.start_chain(KEY, monotone, params, data)
    np.testing.assert_allclose(end(objectives.score_climbing(model, monotone, num_samples=2), chain), 0.75, atol=0.05)
    wake = vi.value_and_grad(model, monotone, bounds.iwae, estimators.wake_phi, num_samples=2)
    assert end(wake) < 0.3


def tampered(last):
    return lambda *args: (*record(*args)[:2], last)


@pytest.mark.parametrize(
    ("objective", "extra", "message"),
    [
        (record, blank(4), r"rows for 4 data, but there are 5: start it on all the data"),
        (tampered({}), blank(), r"next state must have the structure of extra.*return the state"),
        (tampered(blank(4)), blank(), r"extra\['met'\].rows\['count'\] is int32\[2\].*int32\[4\]"),
    ],
)
def test_a_state_that_does_not_fit_is_named(objective, extra, message):
    with pytest.raises(ValueError, match=message):
        make_step(objective, SGD, batch_size=2)(init_state(KEY, SGD, START, extra=extra), NUMBERS)


def test_a_training_state_says_how_the_objective_is_called():
    with pytest.raises(TypeError, match="missing a required argument: 'state'"):
        make_step(record, SGD)(init_state(KEY, SGD, START), NUMBERS)
    state = init_state(KEY, SGD, START, extra={"temperature": 1.0})
    assert not state.extra["temperature"].weak_type
    with pytest.raises(TypeError, match="too many positional arguments"):
        make_step(lambda key, params, x: (x, params), SGD)(state, NUMBERS)


def test_a_state_where_there_is_none_and_none_where_there_is_one():
    params, x = problems.curved_params(), problems.curved_data()
    model, guide, optimizer = problems.CURVED, problems.AMORTIZED, optax.sgd(0.1)
    plain = vi.value_and_grad(model, guide, vi.bounds.elbo, vi.estimators.pathwise, num_samples=2)
    climbing = vi.objectives.score_climbing(model, guide, num_samples=2)
    with pytest.raises(TypeError, match=r"\(key, params, x\).*carries a state.*init_state\(key, optimizer, params, ex"):
        vi.fit(jax.random.key(0), climbing, optimizer, params, x, num_steps=1)
    chain = vi.objectives.start_chain(jax.random.key(1), guide, params, x)
    state = vi.init_state(jax.random.key(0), optimizer, params, extra=chain)
    with pytest.raises(TypeError, match=r"\(key, params, x, state\).*carries no state.*leave out init_state's extra"):
        vi.fit(None, plain, optimizer, state, x, num_steps=1)
