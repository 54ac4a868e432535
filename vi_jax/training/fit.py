"""Training as one compiled program: a scan over steps."""

import functools
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.tree_util import Partial

from vi_jax.checks import check_batch, check_key, check_no_nan, check_positive_int
from vi_jax.lazy import optax
from vi_jax.objectives import StatefulObjective
from vi_jax.sharding import DATA, check_divides, completed, replicated
from vi_jax.training.evaluate import Evaluate, scan_and_evaluate, steps_before
from vi_jax.training.step import History, Prepare, TrainState, init_state, make_keyed_step, step_keys
from vi_jax.types import Objective, Params, PyTree


def fit(
    key: jax.Array | None,
    objective: Objective | StatefulObjective,
    optimizer: "optax.GradientTransformation",
    params_or_state: Params | TrainState,
    data: PyTree,
    *,
    num_steps: int,
    batch_size: int | None = None,
    prepare: Prepare | None = None,
    evaluate: Evaluate | None = None,
    evaluate_every: int | None = None,
    mesh: Mesh | None = None,
) -> tuple[TrainState, History]:
    """Climbs the objective for `num_steps` steps and returns the state and its history.

    One compiled program, a scan over steps. It is cached on the identity of objective, optimizer, `prepare` and
    `evaluate` and on the numbers, so make those once and pass the same objects again; `optax.adam(1e-3)` written inside
    a loop compiles at every turn. Seeds and initial parameters are a mapped axis:

        jax.vmap(lambda key, params: fit(key, objective, optimizer, params, data, num_steps=1000))(keys, stacked)

    and so is a learning rate, or any number that `optax.inject_hyperparams` keeps in the optimizer's state:

        optimizer = optax.inject_hyperparams(optax.adam)(learning_rate=1e-3)

        def run(key, rate):
            start = init_state(key, optimizer, params)
            start = start._replace(opt_state=optax.tree_utils.tree_set(start.opt_state, learning_rate=rate))
            return fit(None, objective, optimizer, start, data, num_steps=1000)

        jax.vmap(run)(keys, rates)

    Step t draws from `fold_in(key, t)`, and t goes on with the state: 60 steps and then 40 are the same 100 steps, draw
    for draw. So scripts loop over blocks of steps and report or save between them.

    Minibatches are drawn inside the program, uniformly and WITH replacement. The mean over such a batch is unbiased for
    the mean over the data at every batch size, sizes above N included, and the draws have no epoch to keep track of.
    The price against sampling without replacement: the variance due to the choice of data is larger by the factor
    (N − 1)/(N − B), and N draws leave out about 1/e of the data.

    An objective with a state of its own, as `objectives.score_climbing`, starts from a training state that holds one:

        chain = objectives.start_chain(chain_key, guide, params, data)
        fit(None, objective, optimizer, init_state(key, optimizer, params, extra=chain), data, num_steps=1000)

    Its state goes on with the training state, and what in it is per datum has a row for each of the N data: a batch
    takes its rows along and puts them back. Of a datum that a batch holds twice, both copies count in the gradient and
    the later one's row is kept, which is one step from the row before, as ever.

    With `evaluate` the program measures after every n-th step, n, 2n, …, counted from the first step of all, so that
    blocks of steps give the evaluations of the whole. Its key for step t is apart from those of all steps, and nothing
    it draws changes the training. It is no branch inside the steps but a scan around them, which stays free when
    mapped over seeds. Arrays it closes over are constants of the program; large ones go in as an argument, by
    `jax.tree_util.Partial(function of (test, key, params), test)`.

    With a mesh of devices the batch is divided over its axis `data`. Every device holds the whole state and ALL the
    data, so it has at hand whatever rows are drawn, the same as on one device. A step then communicates what the
    objective does, which for `value_and_grad` of the same mesh is the log-weights and the gradient, once; and two
    numbers for the history. An objective that knows of no mesh is divided by the compiler, which may send more. Data
    that do not fit the memory of one device need a loop of your own over `value_and_grad`. Seeds, over the devices:
    `vi.sharding.shard_replicates`.

    No buffer of the caller's is donated: parameters and states stay valid, to start the next seed from, at the price of
    one extra copy of the state for the whole run. Inside the scan the state is updated in place.

    Args:
      key: typed key. Given with a `TrainState` it replaces the state's own; None goes on with the state's.
      objective: `(key, params, x) -> (values [B], Params)`, the gradient an ascent direction; with a training state
        whose `extra` is not (), `(key, params, x, extra) -> (values [B], Params, extra)`.
      optimizer: any optax transformation of `Params`. What happens at a gradient that is not finite is its choice
        (`optax.apply_if_finite`); `fit` only reports.
      params_or_state: `Params` to start from, or the `TrainState` of an earlier run to continue.
      data: pytree whose leaves all have the N data as leading axis. Pass arrays already on the device if `fit` is
        called often. NaN in them is looked for at every call, in one pass.
      num_steps: number T of steps.
      batch_size: data per step; None takes all N, in their order.
      prepare: `(key, batch) -> batch`, run inside every step on the batch drawn: binarization, augmentation.
      evaluate: `(key, params) -> pytree of arrays`: a test bound, the parameters themselves.
      evaluate_every: number n of steps from one evaluation to the next. A state that comes to `fit` under a trace, as
        inside `jax.vmap`, has taken a multiple of n steps: its program is laid out before the number is known. What
        `history.evaluations.step` says is the true number always.
      mesh: devices, as of `vi.sharding.make_mesh`, the same as the objective's; B is a multiple of those along `data`.
        State and data are copied to all of them at every call, unless they lie there already
        (`vi.sharding.replicated`).

    Returns:
      The state after the last step, and `History` with leaves `[T]`, values in nats; its `evaluations` have one row for
      each multiple of n that was reached, T // n from a multiple of n on.

    Raises:
      TypeError: for a raw uint32 key, parameters that are no `Params`, or a count that is not an integer.
      ValueError: for no key with bare parameters; a count below 1; one of `evaluate` and `evaluate_every` without the
        other; data without a common leading axis, empty, or with NaN; a state of another optimizer; an objective whose
        gradient does not match the parameters, or whose state does not match the one it was given; a state that has
        not one row per datum; a batch that the devices along `data` do not divide.
    """
    num_steps = check_positive_int("num_steps", num_steps)
    batch_size = None if batch_size is None else check_positive_int("batch_size", batch_size)
    check_batch("data", data)
    check_no_nan("data", data)
    every = _check_evaluation(evaluate, evaluate_every)
    state = _resume(key, optimizer, params_or_state)
    if mesh is not None:
        mesh = completed(mesh)
        check_divides(mesh, DATA, "a batch", batch_size or check_batch("data", data))
        state, data = replicated(mesh, (state, data))
    return _scan_steps(
        state,
        data,
        evaluate if evaluate is None or isinstance(evaluate, Partial) else Partial(evaluate),
        objective=objective,
        optimizer=optimizer,
        prepare=prepare,
        batch_size=batch_size,
        num_steps=num_steps,
        every=every,
        before=0 if every is None else steps_before(state, every),
        mesh=mesh,
    )


def _check_evaluation(evaluate: Any, every: Any) -> int | None:
    if (evaluate is None) != (every is None):
        raise ValueError(f"evaluate is {evaluate} and evaluate_every is {every}: give both, or neither.")
    return None if every is None else check_positive_int("evaluate_every", every)


def _resume(key: Any, optimizer: "optax.GradientTransformation", params_or_state: Params | TrainState) -> TrainState:
    if key is not None:
        check_key(key)
    if not isinstance(params_or_state, TrainState):
        if key is None:
            raise ValueError("key is None, which continues a TrainState, but bare params came: pass jax.random.key(0).")
        return init_state(key, optimizer, params_or_state)
    state = params_or_state if key is None else params_or_state._replace(key=key)
    expected = jax.tree.structure(jax.eval_shape(optimizer.init, state.params))
    if jax.tree.structure(state.opt_state) != expected:
        raise ValueError(
            f"the state's opt_state is {jax.tree.structure(state.opt_state)}, this optimizer's is {expected}: continue"
            " with the optimizer that began the run, or start anew from state.params."
        )
    return state


@functools.partial(
    jax.jit, static_argnames=("objective", "optimizer", "prepare", "batch_size", "num_steps", "every", "before", "mesh")
)
def _scan_steps(
    state: TrainState,
    data: PyTree,
    evaluate: Evaluate | None,
    *,
    objective: Objective | StatefulObjective,
    optimizer: "optax.GradientTransformation",
    prepare: Prepare | None,
    batch_size: int | None,
    num_steps: int,
    every: int | None,
    before: int,
    mesh: Mesh | None,
) -> tuple[TrainState, History]:
    objective = objective if mesh is None else _of_divided_batch(mesh, objective)
    step = make_keyed_step(objective, optimizer, prepare, batch_size=batch_size)

    def steps(state: TrainState, length: int) -> tuple[TrainState, History]:
        return jax.lax.scan(lambda state, keys: step(state, data, keys), state, step_keys(state, length))

    if evaluate is None or every is None:
        return steps(state, num_steps)
    return scan_and_evaluate(steps, evaluate, state, num_steps=num_steps, every=every, before=before)


def _of_divided_batch(mesh: Mesh, objective: Any) -> Any:
    """The objective of a batch that lies over the mesh's `data`, so that each device takes its own rows only."""
    over_data = NamedSharding(mesh, PartitionSpec(DATA))

    @functools.wraps(objective)
    def divided(key: jax.Array, params: Params, x: PyTree, *state: PyTree) -> Any:
        return objective(key, params, jax.lax.with_sharding_constraint(x, over_data), *state)

    return divided
