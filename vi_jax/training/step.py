"""One step of stochastic gradient ascent on an objective: a pure function of state and data."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vi_jax.checks import check_batch, describe
from vi_jax.lazy import optax
from vi_jax.objectives import StatefulObjective
from vi_jax.training.rows import check_rows, draw_rows, gather, scatter, take
from vi_jax.types import Objective, Params, PyTree

Prepare = Callable[[jax.Array, PyTree], PyTree]


class TrainState(NamedTuple):
    """All that training carries from one step to the next; saved whole, it continues where it stopped.

    Attributes:
      params: `Params(theta, phi)`.
      opt_state: the optimizer's own state.
      step: int32 scalar, the number of steps taken.
      key: the run's key. Step t draws from `fold_in(key, t)`, so the draws do not depend on where a run was cut.
      extra: the state of an objective that has one, as `objectives.score_climbing`; () for all others. What in it is
        an `objectives.PerDatum` has one row for each of the N data, and the rest is one for all.
    """

    params: Params
    opt_state: "optax.OptState"
    step: jax.Array
    key: jax.Array
    extra: PyTree = ()


class Evaluations(NamedTuple):
    """What was measured every n steps.

    Attributes:
      step: int32 `[M]`, the steps taken before each of the M measurements.
      value: what the function of `(key, params)` returned, every leaf with M in front.
    """

    step: jax.Array
    value: PyTree


class History(NamedTuple):
    """What a run reports: leaves of shape `[T]` for T steps, `()` for a single step.

    Attributes:
      value: mean of the objective's values over the batch, in nats, before the update. Not finite if any value is not.
      num_nonfinite: int32, how many data of the batch had a value that is not finite.
      gradient_norm: `Params` of Euclidean norms, θ̄'s and φ̄'s.
      nonfinite_gradient: bool, whether any number of the gradient is not finite. What was done about it is the
        optimizer's to say: `optax.apply_if_finite` skips the step, and `training.check_finite` stops a run.
      evaluations: what `fit(evaluate=...)` measured on the way, `Evaluations`; () without it.
    """

    value: jax.Array
    num_nonfinite: jax.Array
    gradient_norm: Params
    nonfinite_gradient: jax.Array
    evaluations: Evaluations | tuple[()] = ()


def init_state(
    key: jax.Array, optimizer: "optax.GradientTransformation", params: Params, *, extra: PyTree = ()
) -> TrainState:
    """Returns the state before the first step.

    Args:
      key: typed key of the whole run.
      optimizer: any optax transformation of `Params`.
      params: initial parameters; Python numbers become arrays.
      extra: the initial state of the objective, such as `objectives.start_chain` makes for all the data of the run. A
        training state with one calls `objective(key, params, x, extra)`, and one without `objective(key, params, x)`.

    Raises:
      TypeError: if `params` is not a `Params`, or the optimizer no optax transformation.
    """
    if not isinstance(params, Params):
        raise TypeError(f"params must be Params(theta, phi), got {type(params).__name__}: wrap it, theta=() if empty.")
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise TypeError(f"optimizer must be an optax transformation, such as optax.adam(1e-3), got {optimizer!r}.")
    # A stated dtype takes away weak typing, which would change across the first step and cost a second trace.
    params, extra = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), (params, extra))
    return TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32), key, extra)


def make_step(
    objective: Objective | StatefulObjective,
    optimizer: "optax.GradientTransformation",
    prepare: Prepare | None = None,
    *,
    batch_size: int | None = None,
) -> Callable[[TrainState, PyTree], tuple[TrainState, History]]:
    """Returns `(state, data) -> (state, history)`, one step up the objective.

        params ← params + optimizer(−ḡ),   ḡ the objective's gradient, an ascent direction

    The sign is turned here and nowhere else: optax minimises. What an optimizer should do about a gradient that is not
    finite is the optimizer's to say, as in `optax.apply_if_finite`; the step only reports it, and how many values were.

    Args:
      objective: `(key, params, x) -> (values [B], Params)`; for a training state whose `extra` is not (),
        `(key, params, x, extra) -> (values [B], Params, extra)`.
      optimizer: any optax transformation of `Params`; `training.separate` treats θ and φ apart.
      prepare: `(key, batch) -> x`, run inside the step: binarizes, augments. Its draws and the objective's are
        independent, and the objective's do not depend on whether there is a `prepare`.
      batch_size: data per step, drawn uniformly with replacement; None takes all N, in their order. An objective sees
        the rows of its state that belong to the batch, and `rows.scatter` says where they go.

    Raises:
      ValueError: when traced, if the values are not `[B]`, the gradient differs from the parameters in structure, shape
        or dtype, or the objective's state from the one before; if that state has not one row per datum.
    """
    keyed = make_keyed_step(objective, optimizer, prepare, batch_size=batch_size)
    return lambda state, data: keyed(state, data, step_keys(state, 1)[0])


def step_keys(state: TrainState, num_steps: int) -> jax.Array:
    """Returns `[T, 2]` keys, of the data and of the objective in each of the next T steps."""
    numbers = state.step + jnp.arange(num_steps, dtype=state.step.dtype)
    return jax.vmap(lambda t: jax.random.split(jax.random.fold_in(state.key, t)))(numbers)


def make_keyed_step(
    objective: Objective | StatefulObjective,
    optimizer: "optax.GradientTransformation",
    prepare: Prepare | None = None,
    *,
    batch_size: int | None = None,
) -> Callable[[TrainState, PyTree, jax.Array], tuple[TrainState, History]]:
    """Returns `(state, data, keys) -> (state, history)`, the step of `make_step` with `step_keys` made beforehand.

    On a CPU the two hashes of a step take as long as a tenth of a small step; of all steps at once they take nothing.
    """

    def step(state: TrainState, data: PyTree, keys: jax.Array) -> tuple[TrainState, History]:
        data_key, objective_key = keys
        rows, x = _select(data_key, data, prepare, batch_size)
        values, gradient, extra = _evaluate(objective, objective_key, state, data, x, rows)
        _check_values(values)
        _check_like("params", state.params, gradient)
        descent = jax.tree.map(jnp.negative, gradient)
        updates, opt_state = optimizer.update(descent, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        state = state._replace(params=params, opt_state=opt_state, step=state.step + 1, extra=extra)
        return state, _report(values, gradient)

    return step


def _check_arguments(objective: Any, wanted: int) -> None:
    """Raises `TypeError` unless the objective takes as many arguments as there are: one more with a state."""
    try:
        inspect.signature(objective).bind(*range(wanted))
    except ValueError:
        return  # no signature to be had, as of a builtin
    except TypeError as error:
        remedy = (
            "it carries a state, which goes into init_state(key, optimizer, params, extra=...), as of "
            "objectives.start_chain or objectives.start_control"
            if wanted == 3
            else "it carries no state, so leave out init_state's extra"
        )
        called = "(key, params, x, state)" if wanted == 4 else "(key, params, x)"
        raise TypeError(f"the objective cannot be called as {called}: {error}; {remedy}.") from error


def _select(
    key: jax.Array, data: PyTree, prepare: Prepare | None, batch_size: int | None
) -> tuple[jax.Array | None, PyTree]:
    """The rows of the batch, None for all, and the batch as the objective is to see it."""
    if batch_size is None:
        return None, data if prepare is None else prepare(key, data)
    draw_key, prepare_key = (key, key) if prepare is None else jax.random.split(key)
    rows = draw_rows(draw_key, check_batch("data", data), batch_size)
    batch = take(data, rows)
    return rows, batch if prepare is None else prepare(prepare_key, batch)


def _evaluate(
    objective: Any, key: jax.Array, state: TrainState, data: PyTree, x: PyTree, rows: jax.Array | None
) -> tuple[jax.Array, Params, PyTree]:
    """The objective's values and gradient, and its next state."""
    extra = state.extra
    stateless = jax.tree.structure(extra) == jax.tree.structure(())
    _check_arguments(objective, 3 if stateless else 4)
    if stateless:
        returned = objective(key, state.params, x)
        if not isinstance(returned, tuple):
            raise TypeError(
                f"the objective must return (values [B], gradient), got {describe(returned)}: a scalar, as of "
                "vi.loss, is for an optax loop of your own; vi.value_and_grad makes an objective."
            )
        return *returned, extra
    check_rows(extra, check_batch("data", data))
    seen = extra if rows is None else gather(extra, rows)
    values, gradient, advanced = objective(key, state.params, x, seen)
    _check_like("extra", seen, advanced)
    return values, gradient, advanced if rows is None else scatter(extra, rows, advanced)


def _report(values: jax.Array, gradient: Params) -> History:
    num_nonfinite = jnp.sum(~jnp.isfinite(values), dtype=jnp.int32)
    finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(gradient)]
    norms = Params(*map(_euclidean_norm, gradient))
    return History(jnp.mean(values), num_nonfinite, norms, ~jnp.all(jnp.array(finite, bool)))


def _euclidean_norm(tree: PyTree) -> jax.Array:
    return jnp.sqrt(sum((jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)), start=jnp.zeros(())))


def _check_values(values: jax.Array) -> None:
    if jnp.ndim(values) != 1:
        raise ValueError(f"an objective returns one value per datum, [B]; got shape {jnp.shape(values)}.")


_RETURNED = {
    "params": ("gradient", "return one gradient for every parameter, zeros for those it leaves alone"),
    "extra": ("next state", "return the state as it came, with new values"),
}


def _check_like(name: str, given: PyTree, returned: PyTree) -> None:
    """Raises unless what the objective returned has the structure, shapes and dtypes of what it was given."""
    what, remedy = _RETURNED[name]
    expected, got = jax.tree.structure(given), jax.tree.structure(returned)
    if expected != got:
        raise ValueError(f"the objective's {what} must have the structure of {name}, {expected}, got {got}: {remedy}.")
    for (path, leaf), other in zip(jax.tree_util.tree_leaves_with_path(given), jax.tree.leaves(returned), strict=True):
        wanted, found = (f"{jnp.result_type(a)}{list(jnp.shape(a))}" for a in (leaf, other))
        if wanted != found:
            where = f"{name}{jax.tree_util.keystr(path)}"
            raise ValueError(f"{where} is {wanted}, its {what} is {found}: make shape and dtype of the two agree.")
