"""How a sweep runs: replicates in chunks, chunks in blocks between which it may be stopped, blocks over devices."""

import functools
import math
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from vi_jax import checks
from vi_jax.measurement import cells, hosts, moments
from vi_jax.measurement.jackknife import Estimate, student_t_quantile
from vi_jax.measurement.moments import Moments, Running
from vi_jax.measurement.one_pool import Average, Cells, replicate, tails
from vi_jax.measurement.summary import Blocks, Measured, Reference, along_truth
from vi_jax.types import BoundFn, Estimator, Guide, Model, Params, PyTree

# Draws per datum and replicate that are evaluated together unless the caller says otherwise, and replicates at most.
_DRAWS_AT_ONCE, _REPLICATES_AT_ONCE = 24_576, 1024

Truth = dict[int, Reference] | None
"""{K: references}, leaves `[U, O, ...]`."""


class SweepState(NamedTuple):
    """How far a sweep has come: arrays alone, to be saved and given back.

    Attributes:
      fingerprint: of the key, parameters, data, reference, replicates, chunks, K and names of objectives of the sweep.
      done: chunks finished, on each device.
      running: {K: grouped moments}, leaves `[devices, G, U, O, ...]`.
    """

    fingerprint: jax.Array
    done: jax.Array
    running: dict[int, Running]


class Plan(NamedTuple):
    """Everything about a sweep that is not an array. Hashable, so that a second sweep does not compile again."""

    densities: tuple[Any, ...]
    reparameterized: bool
    objectives: tuple[tuple[str, tuple[BoundFn, Estimator]], ...]
    num_samples: tuple[int, ...]
    sums: Params
    average: Average
    blocks: Blocks
    max_groups: int
    num_groups: int
    rounds: int
    at_once: int
    mesh: Mesh | None

    @property
    def devices(self) -> int:
        """How many share the replicates: all of the mesh, whatever its axes are called."""
        return 1 if self.mesh is None else self.mesh.size

    @property
    def stride(self) -> int:
        """Replicates in a chunk of all devices."""
        return self.rounds * self.num_groups * self.devices

    def rows(self) -> tuple[cells.Row, ...]:
        """The cells that are defined, K by K."""
        return cells.lay_out(self.guide(), dict(self.objectives), self.num_samples)[0]

    def model(self) -> Model:
        """What is measured of the model: its density alone."""
        return Model(*self.densities[:2])

    def guide(self) -> Guide:
        """The guide, without its support."""
        init, distribution, from_noise, noise = self.densities[2:]
        return Guide(init, distribution, self.reparameterized, from_noise=from_noise, noise=noise)


def chunked(
    chunk_size: int | None, num_replicates: int, num_groups: int, mesh: Mesh | None, draws: int
) -> tuple[int, int]:
    """Replicates evaluated at once, and rounds of groups in a chunk."""
    num_groups = checks.check_positive_int("num_groups", num_groups)
    if not 2 <= num_groups <= num_replicates:
        raise ValueError(
            f"num_groups must lie between 2 and num_replicates={num_replicates}, got {num_groups}: an interval comes "
            "from leaving out one group of replicates at a time. Take 20 groups, and 20 replicates or more."
        )
    if chunk_size is None:
        chunk_size = min(max(1, _DRAWS_AT_ONCE // draws), _REPLICATES_AT_ONCE)
    chunk_size = min(
        checks.check_positive_int("chunk_size", chunk_size), -(-num_replicates // (1 if mesh is None else mesh.size))
    )
    if chunk_size >= num_groups:
        return chunk_size // num_groups * num_groups, chunk_size // num_groups
    # Less than a round at a time, in equal parts.
    return max(part for part in range(1, chunk_size + 1) if num_groups % part == 0), 1


# --- one replicate ----------------------------------------------------------------------------------------------------


def _measure(plan: Plan) -> Callable[[jax.Array, Params, PyTree, Any], dict[int, Measured]]:
    """Makes (key, params, x, truth) -> {K: Measured}, leaves `[J, U, O, ...]`."""
    read = replicate(plan.model(), plan.guide(), plan.rows(), *plan.sums, plan.average, plan.max_groups)

    def measured(cell: Cells, truth: Reference | None) -> Measured:
        if truth is None:
            along = cosine = jnp.zeros((*cell.value.shape, 0))
        else:
            against = functools.partial(along_truth, blocks=plan.blocks)
            over_units = jax.vmap(jax.vmap(against))
            along, cosine = jax.vmap(over_units, in_axes=(0, None))(cell.gradient, truth.gradient)
        return Measured(*cell, along, cosine)

    def one(key: jax.Array, params: Params, x: PyTree, truth: dict[int, Reference] | None) -> dict[int, Measured]:
        return {
            size: measured(cell, None if truth is None else truth[size]) for size, cell in read(key, params, x).items()
        }

    return one


def sweep_moments(
    plan: Plan,
    key: jax.Array,
    params: Params,
    x: PyTree,
    truth: Any,
    num_replicates: jax.Array,
    first: jax.Array | int,
    last: jax.Array | int,
    device: jax.Array | int,
    running: dict[int, Running],
) -> dict[int, Running]:
    """Adds chunks `first` to `last` of a device to its running moments. Pure and traceable."""
    one, ids = _measure(plan), jnp.arange(plan.rounds * plan.num_groups)

    def add_chunk(i: jax.Array, running: dict[int, Running]) -> dict[int, Running]:
        replicate_ids = (i * plan.devices + device) * ids.size + ids
        batches = replicate_ids.reshape(-1, plan.at_once)
        evaluate = jax.vmap(lambda r: one(jax.random.fold_in(key, r), params, x, truth))
        draws = jax.tree.map(lambda leaf: leaf.reshape(ids.size, *leaf.shape[2:]), jax.lax.map(evaluate, batches))
        counted = (replicate_ids < num_replicates).reshape(plan.rounds, plan.num_groups)
        return {size: _add(running[size], draws[size], counted) for size in running}

    return jax.lax.fori_loop(first, last, add_chunk, running)


def _add(running: Running, draws: Measured, counted: jax.Array) -> Running:
    """Draws `[rounds · G, J, ...]`: the J groups of a pool are replicates of the same group."""
    rounds, num_groups = counted.shape
    per_pool = draws.value.shape[1]

    def by_group(leaf: jax.Array) -> jax.Array:
        leaf = jnp.moveaxis(leaf.reshape(rounds, num_groups, *leaf.shape[1:]), 2, 1)
        return leaf.reshape(rounds * per_pool, num_groups, *leaf.shape[3:])

    return moments.add(running, jax.tree.map(by_group, draws), jnp.repeat(counted, per_pool, axis=0))


@functools.partial(jax.jit, static_argnums=(0, 4))
def pareto_k(plan: Plan, key: jax.Array, params: Params, x: PyTree, num_pools: int) -> dict[int, Estimate]:
    """Returns {K: mean k̂ over the first pools of a sweep}, each `[U]`: so smooth a number needs no more of them."""
    one = tails(plan.model(), plan.guide(), plan.num_samples, plan.average)
    each = jax.lax.map(lambda r: one(jax.random.fold_in(key, r), params, x), jnp.arange(num_pools))

    def estimate(k: jax.Array) -> Estimate:
        reach = student_t_quantile(0.975, num_pools - 1) * jnp.std(k, axis=0, ddof=1) / math.sqrt(num_pools)
        return Estimate(k.mean(axis=0), k.mean(axis=0) - reach, k.mean(axis=0) + reach)

    return {size: estimate(k[:, 0]) for size, k in each.items()}


# --- all of them ------------------------------------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnums=0)
def block(plan: Plan, key, params, x, truth, num_replicates, first, last, running):
    """Adds chunks `first` to `last` of every device to its moments. The devices send each other nothing."""
    mesh = plan.mesh

    def on_device(key, params, x, truth, running):
        device = 0 if mesh is None else jax.lax.axis_index(mesh.axis_names)
        mine = jax.tree.map(lambda leaf: leaf[0], running)
        mine = sweep_moments(plan, key, params, x, truth, num_replicates, first, last, device, mine)
        return jax.tree.map(lambda leaf: leaf[None], mine)

    if mesh is None:
        return on_device(key, params, x, truth, running)
    axes, whole = PartitionSpec(mesh.axis_names), PartitionSpec()

    def local(key_data, *problem):
        return on_device(jax.random.wrap_key_data(key_data, impl=jax.random.key_impl(key)), *problem)

    # Without the check of varying axes, nothing inside is summed over devices: derivatives in parameters that all
    # devices share would be, without a word. Its types would not fit the traced halves of a guide either.
    everywhere = jax.shard_map(local, mesh=mesh, in_specs=(whole,) * 4 + (axes,), out_specs=axes, check_vma=False)
    return everywhere(jax.random.key_data(key), params, x, truth, running)


def _begin(plan: Plan, key, params, x, truth) -> dict[int, Running]:
    """Moments of nothing yet, leaves `[devices, G, U, O, ...]`. On the host one array of zeros stands for all."""

    def begin(draw: Measured) -> Running:
        one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), draw)
        shapes = jax.eval_shape(lambda: moments.begin(one, plan.num_groups))
        return jax.tree.map(lambda leaf: np.broadcast_to(np.zeros((), leaf.dtype), (plan.devices, *leaf.shape)), shapes)

    draws = jax.eval_shape(functools.partial(_measured_once, plan), key, params, x, truth)
    return {size: begin(draw) for size, draw in draws.items()}


@functools.partial(jax.jit, static_argnums=0)
def _measured_once(plan: Plan, key, params, x, truth) -> dict[int, Measured]:
    """One replicate. Jitted for its shapes alone, which JAX then remembers: a second sweep traces no estimator."""
    return _measure(plan)(key, params, x, truth)


def start(plan: Plan, key: jax.Array, params: Params, x: PyTree, truth: Truth, num_replicates: int) -> SweepState:
    """Returns the state before the first replicate.

    Raises:
      ValueError: the processes that share the mesh were given different arguments.
    """
    mark = repr((num_replicates, plan.stride, plan.at_once, plan.num_samples, [name for name, _ in plan.objectives]))
    fingerprint = _checksum(mark, (jax.random.key_data(key), params, x, truth))
    hosts.check_same("vi.sweep", fingerprint, plan.mesh)
    return SweepState(fingerprint, jnp.zeros((), int), hosts.deal(_begin(plan, key, params, x, truth), plan.mesh))


def check_same_stops(plan: Plan, num_stops: int, *, saved: bool, resume: SweepState | None) -> None:
    """Raises unless all processes stop equally often, save or not, and go on from the same state.

    At a stop that is saved they send each other their moments: one that did not come there would take another's next
    message for it.

    Raises:
      ValueError: they do not.
    """
    hosts.check_same("vi.sweep", _checksum(repr((num_stops, saved, resume is None)), resume), plan.mesh)


def _checksum(mark: str, tree: PyTree) -> jax.Array:
    for leaf in jax.tree.leaves(tree):
        mark = f"{zlib.crc32(np.ascontiguousarray(leaf).tobytes(), zlib.crc32(mark.encode()))}"
    return jnp.asarray(zlib.crc32(mark.encode()) & 0x7FFFFFFF, jnp.int32)


def blocks_of(
    plan: Plan,
    key: jax.Array,
    params: Params,
    x: PyTree,
    truth: Truth,
    num_replicates: int,
    state: SweepState,
    num_stops: int,
) -> Iterator[SweepState]:
    """Yields the state at every stop that is still to come."""
    num_chunks = math.ceil(num_replicates / plan.stride)
    step = math.ceil(num_chunks / checks.check_positive_int("num_stops", num_stops))
    while (done := int(state.done)) < num_chunks:
        last = min(done + step, num_chunks)
        running = block(plan, key, params, x, truth, num_replicates, done, last, state.running)
        state = state._replace(done=jnp.asarray(last), running=jax.block_until_ready(running))
        yield state


def resumed(plan: Plan, fresh: SweepState, given: SweepState) -> SweepState:
    """Returns the given state on the devices, after a look at whether it belongs to the sweep that starts afresh."""
    shapes = [jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.result_type(leaf)), s) for s in (fresh, given)]
    same = shapes[0] == shapes[1] and int(fresh.fingerprint) == int(given.fingerprint)
    if not same:
        raise ValueError(
            "resume is the state of another sweep: key, params, x, objectives, num_samples, num_replicates, reference, "
            "chunk_size, num_groups and mesh must be the same as then. Start anew without it."
        )
    fingerprint, done, running = given
    return SweepState(jnp.asarray(fingerprint), jnp.asarray(done), hosts.deal(running, plan.mesh))


def merged(plan: Plan, running: Running) -> Moments:
    """The moments of all devices together, leaves `[G, U, O, ...]`, whole in every process."""
    return hosts.whole(pooled(plan, running))


@functools.partial(jax.jit, static_argnums=0)
def pooled(plan: Plan, running: Running) -> Moments:
    """The moments of all devices together: an all-to-all and an all-gather of those of one."""
    mesh = plan.mesh
    if mesh is None:
        return moments.finish(jax.tree.map(lambda leaf: leaf[0], running))
    spec = PartitionSpec(mesh.axis_names)
    local = functools.partial(_on_device, mesh.axis_names, mesh.size)
    return jax.shard_map(local, mesh=mesh, in_specs=spec, out_specs=PartitionSpec(), check_vma=False)(running)


def _on_device(axes: tuple[str, ...], num_devices: int, running: Running) -> Moments:
    """Pools over devices as over groups; each device does so for its share of the coordinates.

    No sum is left to a collective: the bits do not depend on how the devices are spread over processes.
    """
    mine = moments.finish(jax.tree.map(lambda leaf: leaf[0], running))

    def share(leaf: jax.Array) -> jax.Array:
        flat = leaf.reshape(len(leaf), math.prod(leaf.shape[1:]))
        # At least one number for each: collectives know no empty arrays.
        width = num_devices * max(1, math.ceil(flat.shape[1] / num_devices))
        parts = jnp.pad(flat, ((0, 0), (0, width - flat.shape[1]))).reshape(len(leaf), num_devices, -1)
        return jax.lax.all_to_all(parts[None], axes, split_axis=2, concat_axis=0, tiled=True)[:, :, 0]

    def put_together(leaf: jax.Array, like: jax.Array) -> jax.Array:
        flat = jax.lax.all_gather(leaf, axes, axis=1, tiled=True)
        return flat[:, : math.prod(like.shape[1:])].reshape(like.shape)

    count = jax.lax.all_gather(mine.count, axes)
    mean, m2 = jax.tree.map(share, (mine.mean, mine.m2))
    total = jax.vmap(moments.pool, in_axes=1)(Moments(count, mean, m2))
    return Moments(total.count, *jax.tree.map(put_together, (total.mean, total.m2), (mine.mean, mine.m2)))
