"""Many devices do what one does, and send each other no more than they say. tests/test_sharding.py runs this file.

By itself: XLA_FLAGS=--xla_force_host_platform_device_count=8 python -m pytest -n 0 tests/eight_devices.py
"""

import functools
import math
import re
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, PartitionSpec

import vi_jax as vi
from tests import problems

KEY = jax.random.key(0)
# No multiple of any number of devices along `sample`.
NUM_SAMPLES = 11
PAIRS = {
    "pathwise": (vi.bounds.iwae, vi.estimators.pathwise),
    "doubly_reparameterized": (vi.bounds.iwae, vi.estimators.doubly_reparameterized),
    "vimco": (vi.bounds.iwae, vi.estimators.vimco),
    "wake_phi": (vi.bounds.iwae, vi.estimators.wake_phi),
}
CURVED = (problems.CURVED, problems.AMORTIZED)
# All pairs where draws and data are both divided; elsewhere fewer, for compiling is what takes time.
MESHES = {
    "one": ({}, ["wake_phi"]),
    "sample 2": ({"sample": 2}, ["doubly_reparameterized"]),
    "data 2, sample 4": ({"data": 2, "sample": 4}, list(PAIRS)),
    "sample 8": ({"sample": 8}, ["doubly_reparameterized", "vimco"]),
    "data 8": ({"data": 8}, ["pathwise", "wake_phi"]),
}
# Whatever the spelling of a release: an operation of its own, or the start of an asynchronous one.
COLLECTIVE = re.compile(r"= (.*?) (all-gather|all-reduce|all-to-all|reduce-scatter|collective-\w+)(?:-start)?\(")


@pytest.fixture(autouse=True)
def _x64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def mesh_of(**sizes: int) -> Mesh:
    return vi.sharding.make_mesh(**sizes, devices=jax.devices()[: math.prod(sizes.values())])


def problem(mesh: Mesh | None = None):
    params, x = problems.curved_params(), problems.curved_data(8)
    return (params, x) if mesh is None else (vi.sharding.replicated(mesh, params), vi.sharding.shard_data(mesh, x))


def assert_agree(actual, expected, rtol=1e-12, atol=1e-12) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=rtol, atol=atol), actual, expected)


def collectives(compiled) -> list[tuple[str, int]]:
    """Every collective of a compiled program, and how many numbers each device receives."""
    found = COLLECTIVE.findall(compiled.as_text())
    sizes = (re.findall(r"\w+\[([\d,]*)\]", shape) for shape, _ in found)
    numbers = (sum(math.prod(int(d) for d in dims.split(",") if d) for dims in shapes) for shapes in sizes)
    return list(zip((name for _, name in found), numbers, strict=True))


def compiled(f, *args):
    return jax.jit(f).lower(*args).compile()


@functools.cache
def alone():
    objective = vi.shared_gradients(*CURVED, PAIRS, num_samples=NUM_SAMPLES)
    return objective(KEY, *problem())


# --- gradients --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MESHES)
def test_gradients_are_those_of_one_device(name):
    sizes, pairs = MESHES[name]
    mesh = mesh_of(**sizes)
    rows = {pair: PAIRS[pair] for pair in pairs}
    log_w, gradients = vi.shared_gradients(*CURVED, rows, num_samples=NUM_SAMPLES, mesh=mesh)(KEY, *problem(mesh))
    assert_agree(log_w, alone()[0])
    assert_agree(gradients, {pair: alone()[1][pair] for pair in pairs})


@pytest.mark.parametrize(("sizes", "pair"), [({"sample": 8}, "vimco"), ({"data": 2}, "wake_phi")], ids=str)
def test_chunked_gradients_are_those_of_one_device(sizes, pair):
    mesh = mesh_of(**sizes)
    objective = vi.value_and_grad(*CURVED, *PAIRS[pair], num_samples=NUM_SAMPLES, chunk_size=1, mesh=mesh)
    values, gradient = objective(KEY, *problem(mesh))
    assert_agree(values, PAIRS[pair][0](alone()[0]))
    assert_agree(gradient, alone()[1][pair])


@pytest.mark.parametrize("chunk_size", [None, 2])
def test_log_weights_are_gathered_once_and_the_gradient_is_summed_once(chunk_size):
    mesh = mesh_of(data=2, sample=4)
    pair = PAIRS["doubly_reparameterized"]
    objective = vi.value_and_grad(*CURVED, *pair, num_samples=NUM_SAMPLES, chunk_size=chunk_size, mesh=mesh)
    params, x = problem(mesh)
    program = compiled(objective, KEY, params, x)
    num_parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    # ⌈11/4⌉ draws on each of 4 devices, 8/2 data.
    assert sorted(collectives(program)) == [("all-gather", 12 * 4), ("all-reduce", num_parameters)]
    values, gradient = program(KEY, params, x)
    assert values.sharding.spec == PartitionSpec("data")
    assert_agree(values, pair[0](alone()[0]))
    assert_agree(gradient, alone()[1]["doubly_reparameterized"])


def test_draws_of_zero_weight_are_exchanged_for_those_of_another_device():
    rows = {name: PAIRS[name] for name in ("doubly_reparameterized", "vimco")}
    args = KEY, problems.edged_params(), problems.edged_data(1.0, 100.0)
    gradients = functools.partial(vi.shared_gradients, problems.EDGED, problems.FREE, rows, num_samples=8)
    log_w, expected = gradients()(*args)
    mesh = mesh_of(data=2, sample=4)
    assert_agree(gradients(mesh=mesh)(*args), (log_w, expected))
    streamed = vi.value_and_grad(problems.EDGED, problems.FREE, *rows["vimco"], num_samples=8, chunk_size=1, mesh=mesh)
    assert_agree(streamed(*args), (vi.bounds.iwae(log_w), expected["vimco"]))
    # The first datum has a draw on some devices and none on others; the devices of the second have none at all.
    possible = jnp.any(jnp.isfinite(log_w).reshape(4, 2, 2), axis=1)
    assert possible[:, 0].any()
    assert not possible[:, 0].all()
    assert not possible[:, 1].any()


def test_the_loss_is_that_of_one_device():
    loss = vi.loss(*CURVED, *PAIRS["pathwise"], num_samples=NUM_SAMPLES, mesh=mesh_of(data=2, sample=4))
    np.testing.assert_allclose(jax.jit(loss)(KEY, *problem()), -vi.bounds.iwae(alone()[0]).mean(), rtol=1e-12)
    slope = jax.jit(jax.grad(loss, argnums=1))(KEY, *problem())
    assert_agree(slope, jax.tree.map(jnp.negative, alone()[1]["pathwise"]))


@pytest.mark.parametrize("chunk_size", [None, 2])
def test_a_gradient_of_many_devices_exports_for_every_platform(chunk_size):
    pair = PAIRS["doubly_reparameterized"]
    mesh = mesh_of(data=2, sample=4)
    objective = vi.value_and_grad(*CURVED, *pair, num_samples=NUM_SAMPLES, chunk_size=chunk_size, mesh=mesh)
    of_seed = jax.jit(lambda seed, params, x: objective(jax.random.wrap_key_data(seed), params, x))
    export = jax.export.export(of_seed, platforms=["cpu", "cuda", "tpu"])
    exported = export(jax.random.key_data(KEY), *problem())
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert exported.nr_devices == 8


# --- the evidence -----------------------------------------------------------------------------------------------------


def test_the_evidence_is_that_of_one_device_and_sends_three_numbers_per_datum():
    mesh = mesh_of(data=2, sample=4)
    estimate = functools.partial(vi.log_evidence, num_samples=NUM_SAMPLES, chunk_size=2)
    program = compiled(lambda key, params, x: estimate(key, *CURVED, params, x, mesh=mesh), KEY, *problem(mesh))
    assert sorted(collectives(program)) == [("all-reduce", 4), ("all-reduce", 8)]
    assert_agree(program(KEY, *problem(mesh)), estimate(KEY, *CURVED, *problem()))


# --- training ---------------------------------------------------------------------------------------------------------

OPTIMIZER = optax.adam(1e-2)


@functools.cache
def fit_on(mesh: Mesh | None):
    objective = vi.value_and_grad(*CURVED, *PAIRS["doubly_reparameterized"], num_samples=4, mesh=mesh)

    def fit(key: jax.Array):
        params, data = problems.curved_params(), problems.curved_data(40)
        state, history = vi.fit(key, objective, OPTIMIZER, params, data, num_steps=5, batch_size=8, mesh=mesh)
        return state.params, state.opt_state, history

    return fit


def test_a_fit_is_that_of_one_device_and_sends_no_data():
    mesh = mesh_of(data=2, sample=4)
    program = compiled(fit_on(mesh), KEY)
    num_parameters = sum(leaf.size for leaf in jax.tree.leaves(problems.curved_params()))
    # In a step: the log-weights, the gradient, and for the history the mean value and how many are not finite.
    expected = [("all-gather", 4 * 4), ("all-reduce", 1), ("all-reduce", 1), ("all-reduce", num_parameters)]
    assert sorted(collectives(program)) == expected
    result = program(KEY)
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(result))
    assert_agree(result, fit_on(None)(KEY), rtol=1e-10)


def test_replicates_of_a_fit_communicate_nothing():
    mesh = mesh_of(replicate=8)
    keys = jax.random.split(KEY, 8)
    program = compiled(jax.vmap(fit_on(mesh), spmd_axis_name="replicate"), vi.sharding.shard_replicates(mesh, keys))
    assert collectives(program) == []
    result = program(vi.sharding.shard_replicates(mesh, keys))
    assert result[2].value.sharding.spec == PartitionSpec("replicate")
    one = jax.tree.map(lambda leaf: leaf[5], result)
    assert_agree(one, fit_on(None)(keys[5]), rtol=1e-10)


def test_an_objective_of_no_mesh_is_fitted_on_one_all_the_same():
    mesh = mesh_of(data=4, sample=2)

    def objective(key, params, x):
        del key
        return -jnp.sum((x - params.theta) ** 2, axis=1), vi.Params(2 * jnp.mean(x - params.theta, axis=0), ())

    def fit(mesh: Mesh | None):
        start = vi.Params(jnp.zeros(2), ())
        return vi.fit(KEY, objective, OPTIMIZER, start, problems.curved_data(40), num_steps=5, batch_size=8, mesh=mesh)

    (state, history), (expected, expected_history) = fit(mesh), fit(None)
    assert_agree(state.params, expected.params)
    assert_agree(history, expected_history)


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_batch_that_the_devices_do_not_divide_is_refused():
    mesh = mesh_of(data=8)
    objective = vi.value_and_grad(*CURVED, *PAIRS["pathwise"], num_samples=2, mesh=mesh)
    params, x = problems.curved_params(), problems.curved_data(12)
    with pytest.raises(ValueError, match="x has 12 rows, no multiple of the 8 devices .* 'data': pass 8 or 16"):
        objective(KEY, params, x)
    with pytest.raises(ValueError, match="12 rows"):
        vi.log_evidence(KEY, *CURVED, params, x, num_samples=2, mesh=mesh)
    with pytest.raises(ValueError, match="a batch has 4 rows, .* pass 8"):
        vi.fit(KEY, objective, OPTIMIZER, params, x, num_steps=1, batch_size=4, mesh=mesh)
    with pytest.raises(ValueError, match="x has 12 rows"):
        vi.sharding.shard_data(mesh, x)


def test_a_mesh_of_another_making_with_some_of_the_axes_will_do():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    x = jax.device_put(problems.curved_data(8), jax.sharding.NamedSharding(mesh, PartitionSpec("data")))
    estimate = vi.log_evidence(KEY, *CURVED, problems.curved_params(), x, num_samples=NUM_SAMPLES, mesh=mesh)
    np.testing.assert_allclose(estimate.log_evidence, vi.bounds.iwae(alone()[0]), rtol=1e-12)
