"""`vi.sweep`: every objective at every K, from one pool of draws per replicate, streamed and resumable."""

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from vi_jax import checks
from vi_jax.log_weights import check_inputs, check_problem
from vi_jax.measurement import cells, moments
from vi_jax.measurement.cut import cut
from vi_jax.measurement.moments import Moments, Running
from vi_jax.measurement.one_pool import Average, Cells, over_batch, replicate
from vi_jax.measurement.result import SweepResult, assemble
from vi_jax.measurement.summary import Blocks, Measured, Reference, along_truth, theta_and_phi
from vi_jax.measurement.sums import Sums, automatic
from vi_jax.types import BoundFn, Estimator, Guide, Model, Params, PyTree

ReferenceFn = Callable[[str, int], Reference | None]

# Draws per datum and replicate that are evaluated together unless the caller says otherwise, and replicates at most.
_DRAWS_AT_ONCE, _REPLICATES_AT_ONCE = 16_384, 1024
# How often a sweep stops to report and to be saved unless the caller says otherwise.
_STOPS = 20


class SweepState(NamedTuple):
    """How far a sweep has come: arrays alone, to be saved and given back.

    Attributes:
      key: `key_data` of the sweep's key.
      num_replicates: R that the sweep is to reach.
      done: chunks finished, on each device.
      running: {K: grouped moments}, leaves `[devices, G, U, O, ...]`.
    """

    key: jax.Array
    num_replicates: jax.Array
    done: jax.Array
    running: dict[int, Running]


class Plan(NamedTuple):
    """Everything about a sweep that is not an array. Hashable, so that a second sweep does not compile again."""

    densities: tuple[Callable, ...]
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
        return 1 if self.mesh is None else self.mesh.size

    @property
    def stride(self) -> int:
        """Replicates in a chunk of all devices."""
        return self.rounds * self.num_groups * self.devices

    def rows(self) -> tuple[cells.Row, ...]:
        return cells.lay_out(self.guide(), dict(self.objectives), self.num_samples)[0]

    def model(self) -> Model:
        return Model(*self.densities[:2])

    def guide(self) -> Guide:
        return Guide(*self.densities[2:], reparameterized=self.reparameterized)


def sweep(
    key: jax.Array,
    model: Model,
    guide: Guide,
    params: Params,
    x: PyTree,
    *,
    objectives: Mapping[str, tuple[BoundFn, Estimator]],
    num_samples: Sequence[int],
    num_replicates: int,
    reference: ReferenceFn | None = None,
    average: Average = over_batch,
    blocks: Blocks = theta_and_phi,
    theta: Sums | None = None,
    phi: Sums | None = None,
    groups_per_pool: int = 1,
    chunk_size: int | None = None,
    num_groups: int = 20,
    mesh: Mesh | None = None,
    num_stops: int = _STOPS,
    progress: Callable[[int, int], None] | None = None,
    save: Callable[[SweepState], None] | None = None,
    resume: SweepState | None = None,
) -> SweepResult:
    """Measures how the gradients of several objectives behave against K, all on the same draws, at fixed parameters.

        pool r:  z_1..z_{K_max} ~ q_φ(z | x_b) for every datum, from the key fold_in(key, r)
        cell (objective, K) of replicate r = value_and_grad(..., num_samples=K)(fold_in(key, r), params, x)

    to rounding, so that all differences between objectives, and between values of K, are paired. Per draw the
    derivatives are formed once, in θ and in the arrays that q reads (`sums.per_draw`), and every cell is a product of
    matrices with its coefficients; where there are too many parameters, every cell is a backward pass (`sums.pulled`).
    Moments are streamed and grouped: memory does not grow with R. What is reported, and its intervals, is in
    `Quantities`.

    A cell that is undefined (VIMCO at K = 1) is listed in `undefined` with the reason and is NaN in every array.

    Rainforth et al., "Tighter Variational Bounds are Not Necessarily Better" (arXiv:1802.04537), who measure the
    signal-to-noise ratio of gradients against K.

    Args:
      key: a typed key, consumed.
      model: log p_θ(x, z) for one datum and one draw.
      guide: q_φ(z | x) for one datum.
      params: θ and φ, at which everything is measured.
      x: data; every leaf has a leading batch axis B.
      objectives: (bound, estimator) by name.
      num_samples: values of K, increasing.
      num_replicates: R pools.
      reference: `(name, K) -> Reference`, the true value and gradient that a cell is judged by, or None where there is
        none. Without it biases, errors, cosines and directional signal-to-noise ratios are NaN.
      average: `over_batch` measures the mean over the batch, `per_datum` each datum by itself.
      blocks: `gradient -> {name: part}`, what is measured apart: `theta_and_phi`, `by_leaf` or your own.
      theta: how sums over draws are formed in θ: `per_draw`, `pulled` or `projected(r)`. None chooses `per_draw` up to
        1024 numbers, `pulled` above.
      phi: the same in φ, where the numbers are those of the arrays that q reads, not those of φ.
      groups_per_pool: of how many disjoint groups of K draws of a pool each K makes replicates, where the pool has as
        many. 1 reads the first K draws alone.
      chunk_size: replicates evaluated at once. None takes about 16,000 draws' worth.
      num_groups: G ≤ R, groups of replicates for the jackknife.
      mesh: devices over which the replicates are dealt. The same moments, in another order of summation.
      num_stops: how often, at most, the sweep reports and can be saved.
      progress: `(done, total)` replicates, called at every stop.
      save: `(SweepState)`, called at every stop. What it raises stops the sweep.
      resume: a state that `save` was given by a sweep of the same arguments: the rest is run, and the moments are bit for
        bit those of a sweep that was never stopped.

    Returns:
      `SweepResult`.

    Raises:
      ValueError: K do not increase, no objective or none that is defined, fewer replicates than groups, a state of
        another sweep; otherwise as `value_and_grad`.
      TypeError: as `value_and_grad`.
    """
    check_inputs(key, params, x)
    check_problem(model, guide, params, x)
    num_replicates = checks.check_positive_int("num_replicates", num_replicates)
    rows, undefined = cells.lay_out(guide, objectives, num_samples)
    at_once, rounds = _chunk(
        chunk_size, num_replicates, num_groups, mesh, rows[-1].num_samples * checks.check_batch("x", x)
    )
    plan = Plan(
        densities=(model.init, model.log_joint, guide.init, guide.distribution),
        reparameterized=guide.reparameterized,
        objectives=tuple(objectives.items()),
        num_samples=tuple(row.num_samples for row in rows),
        sums=_sums(guide, params, x, key, theta, phi),
        average=average,
        blocks=blocks,
        max_groups=checks.check_positive_int("groups_per_pool", groups_per_pool),
        num_groups=num_groups,
        rounds=rounds,
        at_once=at_once,
        mesh=mesh,
    )
    truth = None if reference is None else _truth(plan, reference, params, x)
    start = _start(plan, key, params, x, truth, num_replicates)
    state = start if resume is None else _resumed(start, resume)
    for state in _blocks(plan, key, params, x, truth, state, num_stops):
        if progress is not None:
            progress(min(int(state.done) * plan.stride, num_replicates), num_replicates)
        if save is not None:
            save(state)
    return assemble(plan, rows, undefined, {size: _merged(running) for size, running in state.running.items()}, truth)


def _sums(guide: Guide, params: Params, x: PyTree, key: jax.Array, theta: Sums | None, phi: Sums | None) -> Params:
    """How sums over draws are formed, in θ and in φ."""
    read = cut(guide, params.phi, jax.tree.map(lambda leaf: leaf[0], x), key).size
    size = sum(jnp.size(leaf) for leaf in jax.tree.leaves(params.theta))
    return Params(automatic(size) if theta is None else theta, automatic(read) if phi is None else phi)


def _chunk(
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


def _units(plan: Plan, x: PyTree) -> int:
    shapes = jax.eval_shape(
        lambda x, keys: plan.average(lambda x, keys: jnp.zeros(1))(x, keys), x, jnp.zeros(checks.check_batch("x", x))
    )
    return shapes.shape[1]


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
    first,
    last,
    device,
    running,
) -> dict[int, Running]:
    """Adds chunks `first` to `last` of a device to its running moments. Pure and traceable."""
    one, ids = _measure(plan), jnp.arange(plan.rounds * plan.num_groups)

    def add_chunk(i: jax.Array, running: dict[int, Running]) -> dict[int, Running]:
        replicate_ids = (i * plan.devices + device) * ids.size + ids
        batches = replicate_ids.reshape(-1, plan.at_once)
        evaluate = jax.vmap(lambda r: one(jax.random.fold_in(key, r), params, x, truth))
        draws = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), jax.lax.map(evaluate, batches))
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


# --- all of them ------------------------------------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnums=0)
def _block(plan: Plan, key, params, x, truth, num_replicates, first, last, running):
    def on_device(key, params, x, truth, running):
        device = 0 if plan.mesh is None else jax.lax.axis_index(plan.mesh.axis_names)
        mine = jax.tree.map(lambda leaf: leaf[0], running)
        mine = sweep_moments(plan, key, params, x, truth, num_replicates, first, last, device, mine)
        return jax.tree.map(lambda leaf: leaf[None], mine)

    if plan.mesh is None:
        return on_device(key, params, x, truth, running)
    axes, whole = PartitionSpec(plan.mesh.axis_names), PartitionSpec()

    def varying(key_data, params, x, truth, running):
        # Derivatives in parameters that all devices share would be summed over the devices, without a word.
        params, x, truth = jax.lax.pcast((params, x, truth), plan.mesh.axis_names, to="varying")
        return on_device(jax.random.wrap_key_data(key_data, impl=jax.random.key_impl(key)), params, x, truth, running)

    dealt = jax.shard_map(varying, mesh=plan.mesh, in_specs=(whole, whole, whole, whole, axes), out_specs=axes)
    return dealt(jax.random.key_data(key), params, x, truth, running)


@functools.partial(jax.jit, static_argnums=0)
def _begin(plan: Plan, key, params, x, truth) -> dict[int, Running]:
    def begin(draw: Measured) -> Running:
        one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), draw)
        running = moments.begin(one, plan.num_groups)
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (plan.devices, *leaf.shape)), running)

    return {size: begin(draw) for size, draw in jax.eval_shape(_measure(plan), key, params, x, truth).items()}


def _start(plan: Plan, key, params, x, truth, num_replicates: int) -> SweepState:
    running = _begin(plan, key, params, x, truth)
    return SweepState(jax.random.key_data(key), jnp.asarray(num_replicates), jnp.zeros((), int), running)


def _blocks(plan: Plan, key, params, x, truth, state: SweepState, num_stops: int) -> Iterator[SweepState]:
    """Yields the state at every stop, and at least once."""
    num_chunks = math.ceil(int(state.num_replicates) / plan.stride)
    step = math.ceil(num_chunks / checks.check_positive_int("num_stops", num_stops))
    while (done := int(state.done)) < num_chunks:
        last = min(done + step, num_chunks)
        running = _block(plan, key, params, x, truth, state.num_replicates, done, last, state.running)
        state = state._replace(done=jnp.asarray(last), running=jax.block_until_ready(running))
        yield state


def _resumed(fresh: SweepState, given: SweepState) -> SweepState:
    shapes = [jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.result_type(leaf)), s) for s in (fresh, given)]
    same = shapes[0] == shapes[1] and all(np.array_equal(a, b) for a, b in zip(fresh[:2], given[:2], strict=True))
    if not same:
        raise ValueError(
            "resume is the state of another sweep: key, replicates, objectives, K, groups and devices must be the same. "
            f"It holds num_replicates={int(given.num_replicates)} and K of {tuple(given.running)}; this sweep has "
            f"{int(fresh.num_replicates)} and {tuple(fresh.running)}."
        )
    return jax.tree.map(jnp.asarray, given)


@jax.jit
def _merged(running: Running) -> Moments:
    """The moments of all devices together, leaves `[G, U, O, ...]`."""
    finished = jax.vmap(moments.finish)(running)
    parts = [jax.tree.map(lambda leaf, d=d: leaf[d], finished) for d in range(finished.count.shape[0])]
    return functools.reduce(jax.vmap(moments.merge), parts)


def _truth(plan: Plan, reference: ReferenceFn, params: Params, x: PyTree) -> dict[int, Reference]:
    """References stacked over the objectives of each K, leaves `[U, O, ...]`; NaN where there is none."""
    units = _units(plan, x)
    unknown = Reference(jnp.nan, jax.tree.map(lambda leaf: jnp.full(jnp.shape(leaf), jnp.nan), params))

    def one(name: str, size: int) -> Reference:
        given = reference(name, size)
        value, gradient, value_error, gradient_error = unknown if given is None else given
        lead = lambda leaf, like: jnp.broadcast_to(leaf, (units, *jnp.shape(like)))  # noqa: E731
        full = lambda tree: jax.tree.map(lead, tree, params)  # noqa: E731
        measured = lambda g: jax.vmap(lambda g: Params(plan.sums.theta.measure(g.theta), plan.sums.phi.measure(g.phi)))(
            full(g)
        )  # noqa: E731
        none = jax.tree.map(jnp.zeros_like, params)
        return Reference(
            lead(value, 0.0),
            measured(gradient),
            lead(0.0 if value_error is None else value_error, 0.0),
            measured(none if gradient_error is None else gradient_error),
        )

    return {
        row.num_samples: jax.tree.map(
            lambda *leaves: jnp.stack(leaves, axis=1), *(one(name, row.num_samples) for name in row.names)
        )
        for row in plan.rows()
        if row.names
    }
