"""A scan of steps with a measurement every n of them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.core import Tracer

from vi_jax.training.step import Evaluations, History, TrainState
from vi_jax.types import Params, PyTree

Evaluate = Callable[[jax.Array, Params], PyTree]
Steps = Callable[[TrainState, int], tuple[TrainState, History]]

# No step is as large: steps are int32 and not negative, so no key of an evaluation is the key of a step.
_EVALUATION = 2**32 - 1


def evaluation_key(state: TrainState) -> jax.Array:
    """Returns the key of the evaluation of a state, `fold_in(fold_in(key, 2³² − 1), step)`.

    It is apart from the keys of all steps, and the same wherever a run was cut.
    """
    return jax.random.fold_in(jax.random.fold_in(state.key, _EVALUATION), state.step)


def steps_before(state: TrainState, every: int) -> int:
    """Returns how many steps the state has taken since the last multiple of n.

    It fixes the layout of the program, so it is read off the state, which waits for the run that made it. Under a trace
    the step has no value, and the answer is 0.
    """
    return 0 if isinstance(state.step, Tracer) else int(state.step) % every


def scan_and_evaluate(
    steps: Steps, evaluate: Evaluate, state: TrainState, *, num_steps: int, every: int, before: int
) -> tuple[TrainState, History]:
    """Runs T steps and measures after each n-th, in a scan of scans.

    A scan over steps with the measurement under a condition would be shorter. Mapped over seeds, a condition becomes a
    choice between two results that are both computed, and every step would pay for a measurement.

    Args:
      steps: `(state, T) -> (state, history)`.
      evaluate: `(key, params) -> pytree of arrays`.
      state: before the first step.
      num_steps: T.
      every: n.
      before: how many steps the state is past a multiple of n, in [0, n).

    Returns:
      The last state, and a history with ⌊(before + T)/n⌋ evaluations.
    """

    def stretch(state: TrainState, length: int) -> tuple[TrainState, History]:
        state, history = steps(state, length)
        value = jax.tree.map(jnp.asarray, evaluate(evaluation_key(state), state.params))
        return state, history._replace(evaluations=Evaluations(state.step, value))

    lengths = [every] * ((before + num_steps) // every)
    rest = (before + num_steps) % every if lengths else num_steps
    parts = []
    if before and lengths:
        state, part = stretch(state, every - before)
        parts.append(part._replace(evaluations=jax.tree.map(lambda leaf: leaf[None], part.evaluations)))
        lengths.pop()
    if lengths:
        state, part = jax.lax.scan(lambda state, _: stretch(state, every), state, length=len(lengths))
        parts.append(jax.tree.map(_join_axes, part._replace(evaluations=()))._replace(evaluations=part.evaluations))
    if rest:
        none = _no_evaluations(evaluate, state)
        state, part = steps(state, rest)
        parts.append(part._replace(evaluations=none))
    return state, jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def _join_axes(leaf: jax.Array) -> jax.Array:
    return leaf.reshape(-1, *leaf.shape[2:])


def _no_evaluations(evaluate: Evaluate, state: TrainState) -> Evaluations:
    value = jax.eval_shape(evaluate, evaluation_key(state), state.params)
    return Evaluations(
        jnp.zeros(0, state.step.dtype), jax.tree.map(lambda leaf: jnp.zeros((0, *leaf.shape), leaf.dtype), value)
    )
