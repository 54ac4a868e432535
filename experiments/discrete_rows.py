"""The rows of `discrete_latents`: one for each evaluation of a trained method, and one for each difference."""

from typing import Any

import numpy as np

from experiments import intervals
from experiments.training import Trained
from vi_jax.training import Evaluations

MEASURES = ("nll", "gap", "negative_elbo", "weights_error", "guide_error", "own_error", "lost")


def evaluations(trained: Trained) -> dict[str, np.ndarray]:
    """Returns what was measured on the way, `[S, M]` each, and the steps under `step`, `[M]`."""
    found = trained.history.evaluations
    assert isinstance(found, Evaluations), "trained with evaluate="
    return {"step": np.asarray(found.step)[0]} | {name: np.asarray(leaf, float) for name, leaf in found.value.items()}


def rows_of(
    part: str, method: str, num_samples: int, trained: Trained, measured: dict[str, np.ndarray]
) -> list[dict[str, Any]]:
    """Returns a row per evaluation: means over seeds with intervals by Student's t.

    The time is that of all seeds together, in the fastest block: the first one is compiled too. Of a method that was
    trained before a resumption it is not known.
    """
    common = {"part": part, "method": method, "K": num_samples, "num_nonfinite": trained.num_nonfinite}
    common["ms_per_step"] = 1000 * min((lap.seconds / lap.num_steps for lap in trained.laps), default=np.nan)
    return [
        common | {"step": int(step)} | measures({name: measured[name][:, m] for name in MEASURES if name in measured})
        for m, step in enumerate(measured["step"])
    ]


def difference(first: str, second: str, last: dict[str, np.ndarray]) -> dict[str, Any]:
    """Returns the row of a difference of final NLL, first less second, paired by seed."""
    common = {"part": "difference", "method": f"{first} − {second}", "K": 0, "num_nonfinite": 0}
    return common | {"ms_per_step": np.nan, "step": 0} | measures({"nll": last[first] - last[second]})


def measures(values: dict[str, np.ndarray]) -> dict[str, float]:
    """Returns the columns of all measures, NaN for those that were not taken."""
    return {
        column: number
        for name in MEASURES
        for column, number in intervals.mean(name, values.get(name, np.full(1, np.nan))).items()
    }
