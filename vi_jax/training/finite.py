"""Stopping a run at a gradient that is not finite."""

import jax
import numpy as np

from vi_jax.training.step import History

REMEDY = (
    "lower the learning rate, clip the gradient (optax.clip_by_global_norm), or skip such steps "
    "(optax.apply_if_finite(optimizer, max_consecutive_errors))"
)


def num_nonfinite_gradients(history: History) -> int:
    """Returns how many steps of a run, over all its seeds, had a gradient that is not finite. Waits for the run."""
    return int(np.sum(np.asarray(history.nonfinite_gradient)))


def check_finite(history: History, *, first_step: int = 0) -> None:
    """Raises if a gradient was not finite: for loops over blocks of steps, before a block is saved.

    Skipping instead is the optimizer's work: `optax.apply_if_finite` leaves parameters and moments as they were, and
    counts, in `total_notfinite` of its state, while `nonfinite_gradient` of the history says where.

    Args:
      history: of a block, leaves `[T]`, or `[S, T]` for S seeds.
      first_step: how many steps came before it.

    Raises:
      FloatingPointError: names the first such step, counted from 1, its seed if there are several, and the remedy.
    """
    bad = np.asarray(jax.device_get(history.nonfinite_gradient))
    if not bad.any():
        return
    step = first_step + 1 + int(np.argmax(bad.reshape(-1, bad.shape[-1]).any(axis=0)))
    runs = np.flatnonzero(bad.reshape(-1, bad.shape[-1])[:, step - first_step - 1])
    who = "" if bad.ndim == 1 else f" of run {', '.join(map(str, runs))}"
    raise FloatingPointError(
        f"the gradient{who} is not finite at step {step} (in {bad.sum()} of {bad.size} steps of this block): {REMEDY}."
    )
