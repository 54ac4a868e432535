"""`vi.sweep`: every objective at every K, from one pool of draws per replicate."""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from vi_jax import checks
from vi_jax.legality import check_scale
from vi_jax.log_weights import check_inputs, check_problem
from vi_jax.measurement import cells, hosts, stream
from vi_jax.measurement.cut import cut
from vi_jax.measurement.one_pool import Average, over_batch
from vi_jax.measurement.result import SweepResult, assemble
from vi_jax.measurement.stream import Plan, SweepState
from vi_jax.measurement.summary import Blocks, Reference, theta_and_phi
from vi_jax.measurement.sums import Sums, automatic
from vi_jax.sharding import completed
from vi_jax.types import BoundFn, Estimator, Guide, Model, Params, PyTree

ReferenceFn = Callable[[str, int], Reference | None]

# How often a sweep stops to report and to be saved unless the caller says otherwise.
_STOPS = 20
_POOLS_FOR_THE_TAIL = 100


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
      chunk_size: replicates evaluated at once. None takes about 24,000 draws' worth.
      num_groups: G ≤ R, groups of replicates for the jackknife.
      mesh: devices over which the replicates are dealt, as of `vi.sharding.make_mesh`: over all its axes, since there
        are replicates in plenty and none needs another device. The same moments, in another order of summation. Nothing
        is sent between devices but at a stop, for `save`, and at the end. With devices of several processes
        (`docs/devices.md`), each of which calls `sweep` with the same arguments, every process is told and returned the
        same.
      num_stops: how often, at most, the sweep reports and can be saved.
      progress: `(done, total)` replicates, called at every stop.
      save: `(SweepState)`, called at every stop, in every process, with the moments of all devices. What it raises
        stops the sweep.
      resume: a state that `save` was given by a sweep of the same arguments: the rest is run, and the moments are bit
        for bit those of a sweep that was never stopped. It needs as many devices, in however many processes.

    Returns:
      `SweepResult`.

    Raises:
      ValueError: K do not increase, no objective or none that is defined, fewer replicates than groups, a state of
        another sweep, other arguments in another process; otherwise as `value_and_grad`.
      TypeError: as `value_and_grad`.
    """
    check_inputs(key, params, x)
    params, x = hosts.whole((params, x))
    check_problem(model, guide, params, x)
    num_replicates = checks.check_positive_int("num_replicates", num_replicates)
    rows, undefined = cells.lay_out(guide, objectives, num_samples)
    for row in rows:
        for name in row.names:
            check_scale(model, guide, x, *objectives[name], row.num_samples)
    plan = planned(
        (key, model, guide, params, x),
        objectives,
        tuple(row.num_samples for row in rows),
        num_replicates,
        Params(theta, phi),
        average=average,
        blocks=blocks,
        groups_per_pool=groups_per_pool,
        chunk_size=chunk_size,
        num_groups=num_groups,
        mesh=mesh,
    )
    truth = None if reference is None else _truth(plan, reference, params, x)
    state = stream.start(plan, key, params, x, truth, num_replicates)
    stream.check_same_stops(plan, num_stops, saved=save is not None, resume=resume)
    if resume is not None:
        state = stream.resumed(plan, state, resume)
    for reached in stream.blocks_of(plan, key, params, x, truth, num_replicates, state, num_stops):
        state = reached
        if progress is not None:
            progress(min(int(state.done) * plan.stride, num_replicates), num_replicates)
        if save is not None:
            save(hosts.whole(state))
    grouped = {size: stream.merged(plan, running) for size, running in state.running.items()}
    num_pools = min(num_replicates, _POOLS_FOR_THE_TAIL)
    tails = stream.pareto_k(plan._replace(mesh=None), key, params, x, num_pools)
    return assemble(plan, rows, undefined, grouped, truth, tails)


def planned(
    problem: tuple[jax.Array, Model, Guide, Params, PyTree],
    objectives: Mapping[str, tuple[BoundFn, Estimator]],
    num_samples: tuple[int, ...],
    num_replicates: int,
    sums: Params,
    *,
    average: Average = over_batch,
    blocks: Blocks = theta_and_phi,
    groups_per_pool: int = 1,
    chunk_size: int | None = None,
    num_groups: int = 20,
    mesh: Mesh | None = None,
) -> Plan:
    """Returns the plan of a sweep: its arguments, with what was left open decided. `sums` are those in θ and φ."""
    key, model, guide, params, x = problem
    mesh = None if mesh is None else completed(mesh)
    draws = num_samples[-1] * checks.check_batch("x", x)
    at_once, rounds = stream.chunked(chunk_size, num_replicates, num_groups, mesh, draws)
    return Plan(
        densities=(model.init, model.log_joint, guide.init, guide.distribution, guide.from_noise, guide.noise),
        reparameterized=guide.reparameterized,
        objectives=tuple(objectives.items()),
        num_samples=num_samples,
        sums=_sums(guide, params, x, key, sums),
        average=average,
        blocks=blocks,
        max_groups=checks.check_positive_int("groups_per_pool", groups_per_pool),
        num_groups=num_groups,
        rounds=rounds,
        at_once=at_once,
        mesh=mesh,
    )


def _sums(guide: Guide, params: Params, x: PyTree, key: jax.Array, given: Params) -> Params:
    """How sums over draws are formed, in θ and in φ."""
    read = cut(guide, params.phi, jax.tree.map(lambda leaf: leaf[0], x), key).size
    size = sum(jnp.size(leaf) for leaf in jax.tree.leaves(params.theta))
    automatically = Params(automatic(size), automatic(read))
    return Params(*(rule if rule is not None else own for rule, own in zip(given, automatically, strict=True)))


def _units(plan: Plan, x: PyTree) -> int:
    shapes = jax.eval_shape(
        lambda x, keys: plan.average(lambda x, keys: jnp.zeros(1))(x, keys), x, jnp.zeros(checks.check_batch("x", x))
    )
    return shapes.shape[1]


def _truth(plan: Plan, reference: ReferenceFn, params: Params, x: PyTree) -> dict[int, Reference]:
    """References stacked over the objectives of each K, leaves `[U, O, ...]`; NaN where there is none."""
    units = _units(plan, x)
    rows = [row for row in plan.rows() if row.names]
    return {
        row.num_samples: jax.tree.map(
            lambda *leaves: jnp.stack(leaves, axis=1),
            *(_filled(plan, reference(name, row.num_samples), params, units) for name in row.names),
        )
        for row in rows
    }


def _filled(plan: Plan, given: Reference | None, params: Params, units: int) -> Reference:
    """A reference with U units and nothing left out, projected where the sweep is."""
    nan, zero = (
        jax.tree.map(lambda leaf, fill=fill: jnp.full(jnp.shape(leaf), fill), params) for fill in (jnp.nan, 0.0)
    )
    value, gradient, value_error, gradient_error = Reference(jnp.asarray(jnp.nan), nan) if given is None else given

    def measured(gradient: Params) -> Params:
        full = jax.tree.map(lambda leaf, like: jnp.broadcast_to(leaf, (units, *jnp.shape(like))), gradient, params)
        # An empty θ has no axis to map over.
        parts = zip(plan.sums, full, strict=True)
        return Params(*(jax.vmap(sums.measure)(part) if jax.tree.leaves(part) else part for sums, part in parts))

    filled = Reference(
        jnp.broadcast_to(value, (units,)),
        measured(gradient),
        jnp.broadcast_to(0.0 if value_error is None else value_error, (units,)),
        measured(zero if gradient_error is None else gradient_error),
    )
    # Of one type, whatever was given: a number that is weakly typed would compile the sweep again.
    return jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, jnp.result_type(float)), filled)
