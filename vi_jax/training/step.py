"""One step of stochastic gradient ascent on an objective: a pure function of state and data."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from vi_jax.types import Objective, Params, PyTree

Prepare = Callable[[jax.Array, PyTree], PyTree]


class TrainState(NamedTuple):
    """All that training carries from one step to the next; saved whole, it continues where it stopped.

    Attributes:
      params: `Params(theta, phi)`.
      opt_state: the optimizer's own state.
      step: int32 scalar, the number of steps taken.
      key: the run's key. Step t draws from `fold_in(key, t)`, so the draws do not depend on where a run was cut.
      extra: carried along untouched; reserved for objectives with a state of their own.
    """

    params: Params
    opt_state: optax.OptState
    step: jax.Array
    key: jax.Array
    extra: PyTree = ()


class History(NamedTuple):
    """What a run reports: leaves of shape `[T]` for T steps, `()` for a single step.

    Attributes:
      value: mean of the objective's values over the batch, in nats, before the update. Not finite if any value is not.
      num_nonfinite: int32, how many data of the batch had a value that is not finite.
      gradient_norm: `Params` of Euclidean norms, θ̄'s and φ̄'s.
    """

    value: jax.Array
    num_nonfinite: jax.Array
    gradient_norm: Params


def init_state(key: jax.Array, optimizer: optax.GradientTransformation, params: Params) -> TrainState:
    """Returns the state before the first step.

    Args:
      key: typed key of the whole run.
      optimizer: any optax transformation of `Params`.
      params: initial parameters; Python numbers become arrays.

    Raises:
      TypeError: if `params` is not a `Params`.
    """
    if not isinstance(params, Params):
        raise TypeError(f"params must be Params(theta, phi), got {type(params).__name__}: wrap it, theta=() if empty.")
    # A stated dtype takes away weak typing, which would change across the first step and cost a second trace.
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), params)
    return TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32), key)


def make_step(
    objective: Objective, optimizer: optax.GradientTransformation, prepare: Prepare | None = None
) -> Callable[[TrainState, PyTree], tuple[TrainState, History]]:
    """Returns `(state, data) -> (state, history)`, one step up the objective.

        params ← params + optimizer(−ḡ),   ḡ the objective's gradient, an ascent direction

    The sign is turned here and nowhere else: optax minimises. What an optimizer should do about a gradient that is not
    finite is the optimizer's to say, as in `optax.apply_if_finite`; the step only counts the data whose value is not.

    Args:
      objective: `(key, params, x) -> (values [B], Params)`.
      optimizer: any optax transformation of `Params`; `optax.partition` treats θ and φ apart.
      prepare: `(key, data) -> x`, run inside the step: draws a batch, binarizes, subsamples. Its draws and the
        objective's are independent, and the objective's do not depend on whether there is a `prepare`.

    Raises:
      ValueError: when traced, if the values are not `[B]`, or the gradient differs from the parameters in structure,
        shape or dtype.
    """

    def step(state: TrainState, data: PyTree) -> tuple[TrainState, History]:
        data_key, objective_key = jax.random.split(jax.random.fold_in(state.key, state.step))
        x = data if prepare is None else prepare(data_key, data)
        values, gradient = objective(objective_key, state.params, x)
        _check_values(values)
        _check_gradient(state.params, gradient)
        descent = jax.tree.map(jnp.negative, gradient)
        updates, opt_state = optimizer.update(descent, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        state = state._replace(params=params, opt_state=opt_state, step=state.step + 1)
        return state, _report(values, gradient)

    return step


def _report(values: jax.Array, gradient: Params) -> History:
    num_nonfinite = jnp.sum(~jnp.isfinite(values), dtype=jnp.int32)
    return History(jnp.mean(values), num_nonfinite, Params(*map(_euclidean_norm, gradient)))


def _euclidean_norm(tree: PyTree) -> jax.Array:
    return jnp.sqrt(sum((jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)), start=jnp.zeros(())))


def _check_values(values: jax.Array) -> None:
    if jnp.ndim(values) != 1:
        raise ValueError(f"an objective returns one value per datum, [B]; got shape {jnp.shape(values)}.")


def _check_gradient(params: Params, gradient: Params) -> None:
    expected, got = jax.tree.structure(params), jax.tree.structure(gradient)
    if expected != got:
        raise ValueError(
            f"the objective's gradient must have the parameters' structure {expected}, got {got}: return one gradient"
            " for every parameter, zeros for those it leaves alone."
        )
    for (path, leaf), slope in zip(jax.tree_util.tree_leaves_with_path(params), jax.tree.leaves(gradient), strict=True):
        wanted, found = (f"{jnp.result_type(a)}{list(jnp.shape(a))}" for a in (leaf, slope))
        if wanted != found:
            where = f"params{jax.tree_util.keystr(path)}"
            raise ValueError(f"{where} is {wanted}, its gradient is {found}: make shape and dtype of the two agree.")
