"""Two processes that share a mesh get what one gets. They are real, and talk over the loopback."""

import socket
import subprocess
import sys
import time

TIMEOUT = 240

PROGRAM = """
import os, sys, traceback
import jax

def leave(*error):
    traceback.print_exception(*error)
    sys.stderr.flush()
    os._exit(1)

# Leaving in peace would wait for the other process, which waits for this one.
sys.excepthook = leave
jax.config.update("jax_num_cpu_devices", 4)
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]), initialization_timeout=60)

import functools
import importlib
import itertools
import jax.numpy as jnp
import numpy as np
import optax
import vi_jax as vi
from vi_jax.measurement import hosts

assert jax.device_count() == 8 and jax.process_count() == 2
made = vi.models.linear_gaussian(1)
model, guide = made.model, vi.guides.affine(1, 1, variance=2 / 3)
params = vi.Params(model.init(jax.random.key(0)), guide.init(jax.random.key(1)))
x, key, mesh = jax.random.normal(jax.random.key(2), (8, 1)), jax.random.key(3), vi.sharding.make_mesh
pair = vi.bounds.iwae, vi.estimators.doubly_reparameterized


turns = itertools.cycle((0, 1))


def same(of, mesh, rtol=2e-5):
    shared = hosts.whole(of(mesh))
    # What one process gets is compiled in one of the two: they take turns.
    if next(turns) == jax.process_index():
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=rtol, atol=rtol), shared, of(None))


# Data across the processes, draws within them.
gradient = lambda mesh: jax.jit(vi.value_and_grad(model, guide, *pair, num_samples=8, mesh=mesh))(key, params, x)
same(gradient, mesh(data=2, sample=4))

# Draws across the processes.
evidence = lambda mesh: vi.log_evidence(key, model, guide, params, x, num_samples=64, mesh=mesh)
same(evidence, mesh(sample=8))

def fit(mesh):
    objective = vi.value_and_grad(model, guide, *pair, num_samples=4, mesh=mesh)
    return vi.fit(key, objective, optax.adam(0.01), params, x, num_steps=5, mesh=mesh)[0].params

same(fit, mesh(data=8))

# Replicates over all axes. What is said of the moments is computed in each process by itself, when all is sent.
swept = importlib.import_module("vi_jax.measurement.sweep")
swept.assemble = lambda plan, rows, undefined, grouped, *rest: grouped

def sweep(mesh, **options):
    settings = dict(num_samples=(2,), num_replicates=400, num_stops=4, mesh=mesh) | options
    return swept.sweep(key, model, guide, params, x, objectives={"dreg": pair}, **settings)

states = []
dealt = mesh(replicate=4, data=2)
shared = sweep(dealt, save=states.append)
same(lambda mesh: shared if mesh is dealt else sweep(mesh), dealt, rtol=1e-3)
assert all(isinstance(leaf, np.ndarray) or leaf.is_fully_addressable for leaf in jax.tree.leaves(states))
again = sweep(dealt, resume=jax.tree.map(np.asarray, states[1]))
jax.tree.map(np.testing.assert_array_equal, shared, again)
resume = jax.tree.map(np.asarray, states[1]) if jax.process_index() else None
second = jax.process_index()
different = dict(num_replicates=400 + 8 * second), dict(num_stops=4 + second), dict(resume=resume)
for other in different:
    try:
        sweep(dealt, **other)
    except ValueError as error:
        assert "other arguments in process 1 than in process 0" in str(error)
    else:
        raise AssertionError(f"processes with different arguments went on: {other}")
print("same", sum(float(jnp.sum(leaf)) for leaf in jax.tree.leaves(shared)))
jax.distributed.shutdown()
"""


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def finished(processes: list[subprocess.Popen]) -> list[str]:
    """The last line that each prints, having ended well; all that they said, where one has not."""
    end = time.monotonic() + TIMEOUT
    try:
        said = [process.communicate(timeout=max(1, end - time.monotonic())) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n\n".join(err[-3000:] for _, err in said)
    return [out.splitlines()[-1] for out, _ in said]


def test_gradients_evidence_fits_and_sweeps_of_two_processes_are_those_of_one():
    address = f"127.0.0.1:{free_port()}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, address, str(number)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    first, second = finished(processes)
    assert first == second
    assert first.startswith("same")
