"""A training history on the host: blocks joined, rows for a file, events for TensorBoard.

Leaves are `[T]`, or `[S, T]` for S seeds; what was evaluated is `[M, ...]` or `[S, M, ...]`. More axes of runs, such as
rates of seeds, come before these alike.
"""

import importlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

import vi_jax as vi

LARGEST_EVALUATION = 100
"""Numbers of one evaluation that get columns; larger ones, as whole iterates, are in the checkpoint alone."""


def time_axis(history: vi.History) -> int:
    """Returns how many axes of runs come before that of steps: 0, or 1 for seeds, or more."""
    return history.value.ndim - 1


def join(first: vi.History, second: vi.History) -> vi.History:
    """Returns the history of two blocks, one after the other."""
    axis = time_axis(first)
    return jax.tree.map(lambda one, two: np.concatenate([one, two], axis), first, second)


def resized(history: Any, num_steps: int, num_evaluations: int) -> Any:
    """Returns shapes and types of a history of another length; `history` may itself be no more than that."""
    axis = time_axis(history)

    def of(length: int) -> Callable[[Any], jax.ShapeDtypeStruct]:
        return lambda leaf: jax.ShapeDtypeStruct((*leaf.shape[:axis], length, *leaf.shape[axis + 1 :]), leaf.dtype)

    steps = jax.tree.map(of(num_steps), history._replace(evaluations=()))
    return steps._replace(evaluations=jax.tree.map(of(num_evaluations), history.evaluations))


def to_rows(history: vi.History, first_step: int) -> pd.DataFrame:
    """Returns a row per step, of each run if there are several; numbered by the steps taken after it.

    What was evaluated stands in the row of its step, in a column per number, and NaN in the others. Of several axes of
    runs, as rates of seeds, the last changes fastest: run = rate · (number of seeds) + seed.
    """
    axes = time_axis(history)
    if axes == 0:
        return _rows_of_one(history, first_step)
    num_runs = math.prod(np.shape(history.value)[:axes])
    flat = jax.tree.map(lambda leaf: np.reshape(leaf, (num_runs, *np.shape(leaf)[axes:])), history)
    frames = [_rows_of_one(_run(flat, number), first_step) for number in range(num_runs)]
    for number, frame in enumerate(frames):
        frame.insert(0, "run", number)
    return pd.concat(frames, ignore_index=True).sort_values(["step", "run"], kind="stable", ignore_index=True)


def tensorboard(folder: Path) -> Callable[[vi.History, int], None]:
    """Makes `(history of a block, first step) -> None`, which writes the rows as TensorBoard event files.

    Events of a run that was killed, later than the first step, are hidden by the viewer. Price: 20 µs a number.

    Raises:
      SystemExit: tensorboardX is not installed.
    """
    try:
        module = importlib.import_module("tensorboardX")
    except ImportError as error:
        raise SystemExit("error: event files need tensorboardX: pip install 'vi-jax[tensorboard]'.") from error
    writers = []

    def write(history: vi.History, first_step: int) -> None:
        if not writers:
            writers.append(module.SummaryWriter(str(folder), purge_step=first_step + 1))
        for row in to_rows(history, first_step).to_dict("records"):
            step, run = int(row.pop("step")), row.pop("run", None)
            for name, value in row.items():
                if not np.isnan(value) or not str(name).startswith("evaluation"):
                    writers[0].add_scalar(name if run is None else f"{name}/{run:.0f}", float(value), step)
        writers[0].flush()

    return write


def _run(history: vi.History, number: int) -> vi.History:
    return jax.tree.map(lambda leaf: leaf[number], history)


def _rows_of_one(history: vi.History, first_step: int) -> pd.DataFrame:
    steps = first_step + 1 + np.arange(len(history.value))
    columns = {
        "step": steps,
        "value": history.value,
        "num_nonfinite": history.num_nonfinite,
        "nonfinite_gradient": np.asarray(history.nonfinite_gradient, int),
        "gradient_norm_theta": history.gradient_norm.theta,
        "gradient_norm_phi": history.gradient_norm.phi,
    }
    return pd.DataFrame(columns | dict(_evaluation_columns(history, steps)))


def _evaluation_columns(history: vi.History, steps: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    if not isinstance(history.evaluations, vi.training.Evaluations):
        return
    places = np.asarray(history.evaluations.step) - steps[0]
    for path, leaf in jax.tree_util.tree_leaves_with_path(history.evaluations.value):
        leaf = np.asarray(leaf)
        # By its shape alone: a block too short for an evaluation has the columns of all others.
        if math.prod(leaf.shape[1:]) > LARGEST_EVALUATION:
            continue
        for index in np.ndindex(leaf.shape[1:]):
            column = np.full(len(steps), np.nan, np.result_type(leaf.dtype, np.float32))
            column[places] = leaf[(slice(None), *index)]
            yield "evaluation" + jax.tree_util.keystr(path) + "".join(f"[{i}]" for i in index), column
