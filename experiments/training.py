"""Training in blocks of steps: shown, checked, on disk after each, and resumed where it was killed, bit for bit.

    state = vi.init_state(key, optimizer, params)
    files = Files(Path("results/mine"), about=dataclasses.asdict(config))
    trained = train(objective, optimizer, state, data, num_steps=10_000, block=1000, files=files, batch_size=50)
    print(summary(trained))

A block is one call of `vi.fit`. Nothing is fetched inside it; after it, its history is. That, the rows and a checkpoint
cost about 0.1 s, so make blocks of ten seconds or more.
"""

import dataclasses
import functools
import time
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple, TypedDict, Unpack

import jax
import jax.numpy as jnp
import numpy as np
import optax

import vi_jax as vi
from experiments import histories, progress
from experiments.training_files import Block, Files, resumed, save
from vi_jax.training import check_finite, num_nonfinite_gradients


class Options(TypedDict, total=False):
    """The options of `vi.fit`, the same for every block."""

    batch_size: int | None
    prepare: Callable[[jax.Array, Any], Any] | None
    evaluate: Callable[[jax.Array, vi.Params], Any] | None
    evaluate_every: int | None


class Trained(NamedTuple):
    """What came of it.

    Attributes:
      state: after the last step.
      history: of all steps, those before a resumption included, on the host; `[T]`, or with the axes of runs in front.
      num_nonfinite: how many steps, over all seeds, had a gradient that is not finite.
      why: what stopped it before the last step; empty if nothing did.
      laps: of each block that this process trained, compilation included and saving not; none if an earlier one had
        done it all.
    """

    state: vi.TrainState
    history: vi.History
    num_nonfinite: int
    why: str
    laps: tuple["Lap", ...]


class Lap(NamedTuple):
    """A block of steps, and the seconds that it took."""

    num_steps: int
    seconds: float


def never(history: vi.History) -> str:
    """The rule that does not stop."""
    return ""


def tolerate(history: vi.History, *, first_step: int = 0) -> None:
    """The guard that lets every gradient pass, for an optimizer that skips: `optax.apply_if_finite`."""


def train(
    objective: Any,
    optimizer: optax.GradientTransformation,
    state: vi.TrainState,
    data: Any,
    *,
    num_steps: int,
    block: int,
    files: Files | None = None,
    track: progress.Track = progress.silent,
    phase: str = "training",
    guard: Callable[..., None] = check_finite,
    stop: Callable[[vi.History], str] = never,
    **options: Unpack[Options],
) -> Trained:
    """Trains to `num_steps` steps in blocks, from the newest whole checkpoint in the folder if there is one.

    Many seeds are one program: a state with an axis of S runs before every leaf, as `jax.vmap(start)(keys)` makes it,
    is trained under `jax.vmap`, on the same data. More axes, such as rates of seeds, are mapped one within another.

    A process that is killed at any moment resumes after the last block that was saved, and ends with the history and
    the parameters of a run that was never killed, bit for bit: the same programs meet the same numbers. On another
    device or version of JAX they agree to rounding, and a line says that this may be so. A GPU repeats its bits with
    `XLA_FLAGS=--xla_gpu_deterministic_ops=true`. One process at a time may train in a folder.

    Args:
      objective: as for `vi.fit`.
      optimizer: as for `vi.fit`.
      state: before the first step, of one run or of S. A checkpoint replaces it.
      data: as for `vi.fit`.
      num_steps: T, of the whole run.
      block: steps of a block, a multiple of `evaluate_every`.
      files: where the run is kept; None keeps nothing.
      track: shows the blocks, with the speed and the mean bound of the last one.
      phase: what the track calls it.
      guard: `(history of a block, first_step=n)`, raises to stop before the block is saved.
      stop: `history so far -> reason to stop`, asked after every block; "" goes on.
      **options: of `vi.fit`.

    Raises:
      ValueError: a block that is no multiple of `evaluate_every`, a count below 1, a state of no run, or one that is
        not at its start.
      FloatingPointError: by the default guard, at a gradient that is not finite; names the last good checkpoint.
      SystemExit: one line: the disk refused, and the last good checkpoint is as it was; or the folder is of another
        run, or holds no whole checkpoint but damaged ones.
    """
    check_blocks(state, num_steps, block, options.get("evaluate_every"))
    run = block_function(objective, optimizer, data, options, jnp.ndim(state.step))
    if files is not None:
        about = dict(files.about) | {"num_steps": num_steps, "block": block, "runs": list(jnp.shape(state.step))}
        about |= {name: options.get(name) for name in ("batch_size", "evaluate_every")} | {"data": checksum(data)}
        files = dataclasses.replace(files, about=about)
    state, history = resumed(files, run, state, min(block, num_steps), options.get("evaluate_every"))
    done, news = 0 if history is None else history.value.shape[-1], ""
    why, laps = "" if history is None else stop(history), []

    def shown(length: int) -> str:
        return news

    lengths = [] if why else [min(block, num_steps - first) for first in range(done, num_steps, block)]
    for length in track(lengths, phase, label=shown, cost=float):
        began = time.monotonic()
        state, part = jax.block_until_ready(run(state, length))
        part = jax.device_get(part)
        laps.append(Lap(length, time.monotonic() - began))
        news = f"{length / laps[-1].seconds:,.0f} steps/s, {part.value.mean():.2f}"
        guarded(guard, part, done, files)
        history = part if history is None else histories.join(history, part)
        save(files, state, history, part, done)
        done, why = done + length, stop(history)
        if why:
            break
    assert history is not None, "there is one block at least"
    return Trained(state, history, num_nonfinite_gradients(history), why, tuple(laps))


def summary(trained: Trained) -> str:
    """Returns one line: steps, why it stopped, and the gradients that were not finite."""
    steps = trained.history.value.size
    text = f"{steps:,} steps" + (f", stopped: {trained.why}" if trained.why else "")
    return f"{text}; {trained.num_nonfinite or 'no'} gradients not finite"


def check_blocks(state: vi.TrainState, num_steps: int, block: int, every: int | None) -> None:
    """Raises `ValueError` unless the state is of a run, or several, at step 0, and a block ends with an evaluation."""
    if 0 in jnp.shape(state.step):
        raise ValueError(f"the state holds no run, its axes are {jnp.shape(state.step)}: give it one key at least.")
    if jnp.any(state.step):
        raise ValueError(
            f"the state has taken {state.step} steps: begin with init_state(key, optimizer, state.params)."
        )
    if num_steps < 1 or block < 1:
        raise ValueError(f"num_steps = {num_steps} and block = {block} must be at least 1.")
    if every is not None and block % every:
        raise ValueError(
            f"block = {block} must be a multiple of evaluate_every = {every}: make it {block // every * every + every}."
        )


def block_function(objective: Any, optimizer: Any, data: Any, options: Options, axes: int) -> Block:
    """Returns `(state, number of steps) -> (state, history)`, mapped over the axis of runs if there is one."""

    def run(state: vi.TrainState, length: int) -> tuple[vi.TrainState, vi.History]:
        one = functools.partial(vi.fit, None, objective, optimizer, data=data, num_steps=length, **options)
        for _ in range(axes):
            one = jax.vmap(one)
        return one(state)

    return run


def checksum(data: Any) -> int:
    """Returns a number of all bytes of the data, so that a run does not go on with others."""
    leaves = (np.ascontiguousarray(leaf) for leaf in jax.tree.leaves(data))
    return functools.reduce(lambda sum_so_far, leaf: zlib.crc32(leaf.data, sum_so_far), leaves, 0)


def guarded(guard: Callable[..., None], part: vi.History, first_step: int, files: Files | None) -> None:
    """Calls the guard, and adds to what it says where the last good state is."""
    try:
        guard(part, first_step=first_step)
    except FloatingPointError as error:
        where = "the start of the run" if files is None or not first_step else f"step {first_step} in {files.folder}"
        raise FloatingPointError(f"{error} The last good state is that of {where}.") from None
