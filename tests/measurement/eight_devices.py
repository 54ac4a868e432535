"""A sweep over devices is that of one, and they talk at the end alone. tests/test_sharding.py runs this file.

By itself: XLA_FLAGS=--xla_force_host_platform_device_count=8 python -m pytest -n 0 tests/measurement/eight_devices.py
"""

import functools
import importlib

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from tests.measurement.test_stream import KEY, PAIRS, PARAMS, X, plan_of, swept
from vi_jax.measurement import stream

NUM_REPLICATES = 450
VIMCO = {"objectives": {"vimco": PAIRS["vimco"]}, "num_samples": (2,), "num_replicates": NUM_REPLICATES}
exactly = functools.partial(jax.tree.map, np.testing.assert_array_equal)


def mesh_of(*shape: int) -> Mesh:
    names = ("replicate", "data", "sample")[: len(shape)]
    return jax.make_mesh(shape, names, devices=jax.devices()[: np.prod(shape)])


def problem(mesh: Mesh | None):
    """A plan of one pair, and its arguments at the start."""
    plan = plan_of(NUM_REPLICATES, num_samples=(2,), pairs=VIMCO["objectives"], mesh=mesh)
    return plan, (KEY, PARAMS, X, None, NUM_REPLICATES)


def moments_of(mesh: Mesh | None):
    plan, arguments = problem(mesh)
    *_, last = stream.blocks_of(plan, *arguments, stream.start(plan, *arguments), num_stops=2)
    return stream.merged(plan, last.running[2])


alone = functools.cache(functools.partial(moments_of, None))


def assert_those_of_one_device(moments):
    np.testing.assert_array_equal(moments.count, alone().count)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=2e-5), moments, alone())


@pytest.mark.parametrize("devices", [1, 2])
def test_replicates_dealt_to_devices_give_the_same_moments(devices):
    assert_those_of_one_device(moments_of(mesh_of(devices)))


def test_the_axes_of_a_mesh_make_no_difference_and_a_state_knows_devices_not_axes(monkeypatch):
    # What is said of the moments comes after; tests/experiments/test_distributed.py has it of two devices.
    monkeypatch.setattr(
        importlib.import_module("vi_jax.measurement.sweep"), "assemble", lambda *arguments: arguments[3][2]
    )
    states = []
    dealt = swept(mesh=mesh_of(2, 2, 2), save=states.append, **VIMCO)
    assert_those_of_one_device(dealt)
    saved = jax.tree.map(np.asarray, states[0])
    assert int(saved.done) == 1 < len(states)
    exactly(dealt, swept(mesh=mesh_of(2, 2, 2), resume=saved, **VIMCO))
    plan, arguments = problem(mesh_of(8))
    start = stream.start(plan, *arguments)
    (rest,) = stream.blocks_of(plan, *arguments, stream.resumed(plan, start, saved), num_stops=2)
    exactly(dealt, stream.merged(plan, rest.running[2]))


# Of the text of a program.
NAMES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")


def test_devices_talk_at_the_end_alone():
    plan = plan_of(1000, mesh=mesh_of(8))
    state = stream.start(plan, KEY, PARAMS, X, None, 1000)
    block = stream.block.lower(plan, KEY, PARAMS, X, None, 1000, 0, 1, state.running).compile()
    merge = stream.pooled.lower(plan, state.running[4]).compile()
    found = [{name for name in NAMES if f" {name}(" in program.as_text()} for program in (block, merge)]
    assert found == [set(), {"all-gather", "all-to-all"}]
