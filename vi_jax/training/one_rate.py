"""Stochastic ascent at one rate: until the iterates are still, and their average is known."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from vi_jax.lazy import optax
from vi_jax.objectives import StatefulObjective
from vi_jax.training import stopping
from vi_jax.training.fit import fit
from vi_jax.training.step import Prepare, TrainState
from vi_jax.types import Objective, Params, PyTree

Watch = Callable[[Params], jax.Array]
"""params -> `[W]`, the coordinates whose stillness counts, in units in which ½ d² is a loss in nats."""

BLOCK_STEPS = 480
LARGEST_R_HAT = 1.1
_RECORD_EVERY = 2
# Blocks in a window. One block of burn-in comes before the first, and all that came before is the burn-in of the next.
_WINDOWS = (1, 2, 4, 8)
# A wild gradient is forgotten after hundreds of steps, not thousands, in which the fit would stand and seem still.
_SECOND_MOMENT = 0.99


class Rate(NamedTuple):
    """What one rate came to.

    Attributes:
      state: after its last step.
      average: of the iterates in the last window.
      num_steps: taken.
      r_hat: the largest split-R̂ of a watched coordinate over the window; 1 if none moved at all.
      noise: ½ Σ MCSE² of the average, nats.
      is_still: whether R̂ < 1.1, or the window's halves differ by less than a tenth of the tolerance.
      num_nonfinite: steps whose value or gradient was not finite.
      is_alive: whether any gradient of the last block was finite.
    """

    state: TrainState
    average: Params
    num_steps: int
    r_hat: float
    noise: float
    is_still: bool
    num_nonfinite: int
    is_alive: bool


class _Block(NamedTuple):
    """Recorded parameters `[T, P]` and watched coordinates `[T, W]`, and what was not finite."""

    state: TrainState
    flat: np.ndarray
    watched: np.ndarray
    num_nonfinite: int
    is_alive: bool


def flat(params: Params) -> jax.Array:
    """Returns all numbers of the parameters, `[P]`."""
    return ravel_pytree(params)[0]


@functools.cache
def optimizer() -> "optax.GradientTransformation":
    """Returns Adam with its rate in its state, and steps of NaN left out; the same object always, for `fit`'s cache."""
    adam: Any = optax.inject_hyperparams(optax.adam)(learning_rate=0.1, b2=_SECOND_MOMENT)
    return optax.apply_if_finite(adam, np.iinfo(np.int32).max - 1)


def with_rate(state: TrainState, rate: float) -> TrainState:
    """Returns the state with fresh moments and this rate."""
    fresh = optimizer().init(state.params)
    old = optax.tree_utils.tree_get(fresh, "learning_rate")
    return state._replace(
        opt_state=optax.tree_utils.tree_set(fresh, learning_rate=jnp.asarray(rate, jnp.result_type(old)))
    )


def blocks(
    state: TrainState,
    objective: Objective | StatefulObjective,
    x: PyTree,
    prepare: Prepare | None,
    watch: Watch,
) -> Iterator[_Block]:
    """Runs on for ever, a block of steps at a time."""
    record = _recorder(watch)
    while True:
        state, history = fit(
            None,
            objective,
            optimizer(),
            state,
            x,
            num_steps=BLOCK_STEPS,
            prepare=prepare,
            evaluate=record,
            evaluate_every=_RECORD_EVERY,
        )
        bad_gradient = np.asarray(history.nonfinite_gradient)
        num_nonfinite = int(np.sum(bad_gradient | (np.asarray(history.num_nonfinite) > 0)))
        recorded: Any = history.evaluations
        numbers, watched = map(np.asarray, recorded.value)
        yield _Block(state, numbers, watched, num_nonfinite, not bad_gradient.all())


@functools.lru_cache(maxsize=64)
def _recorder(watch: Watch) -> Callable[[jax.Array, Params], tuple[jax.Array, jax.Array]]:
    return lambda key, params: (flat(params), watch(params))


def run_rate(run: Iterator[_Block], *, tolerance: float, largest_r_hat: float, most_noise: float) -> Rate:
    """Runs windows of 1, 2, 4 and 8 blocks, until one is still and its average known, or no gradient is finite.

    Args:
      run: blocks of steps at the rate.
      tolerance: nats; halves of a window that differ by less than a tenth of it are still, whatever their R̂: the
        iterates of an exact fit do not move about, they come to rest.
      largest_r_hat: what to wait for; infinite if stillness was seen before.
      most_noise: nats, of ½ Σ MCSE²; infinite if there is no need to know the average well.
    """
    window = _take(run, 1)
    num_blocks, num_nonfinite = 1, window[0].num_nonfinite
    r_hat = noise = drift = float("nan")
    for size in _WINDOWS:
        if not window[-1].is_alive:
            break
        window = _take(run, size)
        num_blocks += len(window)
        num_nonfinite += sum(block.num_nonfinite for block in window)
        r_hat, noise, drift = map(float, _judge(_points(window)))
        if (r_hat < largest_r_hat or drift < tolerance / 10) and noise < most_noise:
            break
    last = window[-1]
    mean = jnp.asarray(np.mean([block.flat for block in window], axis=0), window[0].flat.dtype)
    average = ravel_pytree(last.state.params)[1](mean)
    is_still = last.is_alive and (r_hat < LARGEST_R_HAT or drift < tolerance / 10)
    return Rate(last.state, average, num_blocks * BLOCK_STEPS, r_hat, noise, is_still, num_nonfinite, last.is_alive)


def _take(run: Iterator[_Block], size: int) -> list[_Block]:
    """Takes blocks, up to the first that is not alive, each reduced to its mean and to 1/size of its recordings.

    Every window is then the same number of points, means over `size` recordings in a row, whatever its length.
    """
    window: list[_Block] = []
    while len(window) < size and (not window or window[-1].is_alive):
        block = next(run)
        watched = block.watched.reshape(-1, size, block.watched.shape[1]).mean(axis=1)
        window.append(block._replace(flat=block.flat.mean(axis=0), watched=watched))
    return window


def _points(window: list[_Block]) -> np.ndarray:
    """The points of a window; one that was cut short, by NaN, is filled up by its last to be of the same shape."""
    points = np.concatenate([block.watched for block in window])
    missing = BLOCK_STEPS // _RECORD_EVERY - len(points)
    return np.concatenate([points, np.repeat(points[-1:], missing, axis=0)])


@jax.jit
def _judge(points: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the largest R̂, ½ Σ MCSE², and ½ Σ of the squared difference of the means of the two halves."""
    r_hat = stopping.split_r_hat(points[None])
    first, second = jnp.split(points, 2)
    drift = jnp.sum((jnp.mean(second, axis=0) - jnp.mean(first, axis=0)) ** 2) / 2
    errors = stopping.standard_error_of_average(points[None])
    largest = jnp.where(jnp.all(jnp.isnan(r_hat)) & jnp.isfinite(drift), 1, jnp.nanmax(r_hat))
    return largest, jnp.nansum(errors**2) / 2, drift
