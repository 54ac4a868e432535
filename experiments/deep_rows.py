"""Rows of trained deep generative models: results, learning curves, and images as text."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from experiments import intervals
from experiments.deep_presets import Reference
from experiments.deep_scores import Pictures, Scores, num_active
from experiments.deep_training import Learned

MEAN = "mean"
"""Of a row over all seeds, where others have the number of a seed."""
LAYERS = 2
COLUMNS = (
    *("nll", "nll_low", "nll_high", "mc_error", "spread", "reference_nll"),
    *("gain", "gain_low", "gain_high"),
    *("minus_elbo", "minus_elbo_low", "minus_elbo_high", "reference_minus_elbo"),
    *(f"active_{layer}" for layer in range(1, LAYERS + 1)),
    *("ess_share", "num_nonfinite", "seconds", "steps_per_second"),
    *("num_steps", "num_test", "num_draws", "protocol"),
    *("step", "iwae", "elbo", "what", "line", "column", "pixels"),
)


def row(part: str, method: str, k: int, seed: Any, **values: Any) -> dict[str, Any]:
    """Returns one row; what a part does not have is NaN, so that every row has the same columns."""
    return {"part": part, "method": method, "K": k, "seed": str(seed), **dict.fromkeys(COLUMNS, np.nan), **values}


def result_rows(
    method: str, k: int, found: Sequence[Scores], baseline: Sequence[Scores], reference: Reference | None, **shared: Any
) -> Iterator[dict[str, Any]]:
    """Yields what each seed reaches, and then their mean.

    Intervals are those of a mean over test images, at the parameters that were found: `spread`, half of the distance
    between the best and the worst seed, is what they leave out. `mc_error` is the standard error of the NLL by its
    draws. `gain` is the NLL of the baseline less this one, image by image.

    Args:
      method: a name of `deep_training.METHODS`.
      k: draws in training.
      found: scores of each seed on the same images.
      baseline: scores of the method that others are compared with.
      reference: what is to stand beside the mean.
      **shared: columns that are the same for all seeds.
    """
    for seed, (mine, other) in enumerate(zip(found, baseline, strict=True)):
        yield row("result", method, k, seed, **of_scores([mine], [other]), **shared)
    known = {} if reference is None else {"reference_nll": reference.nll, "reference_minus_elbo": reference.minus_elbo}
    per_seed = [mine.nll.mean() for mine in found]
    spread = (max(per_seed) - min(per_seed)) / 2
    yield row("result", method, k, MEAN, **of_scores(found, baseline), spread=spread, **known, **shared)


def of_scores(found: Sequence[Scores], baseline: Sequence[Scores]) -> dict[str, Any]:
    """Returns the columns of a mean over seeds and images; active units are a mean over seeds."""
    nll, other = (np.mean([each.nll for each in these], axis=0) for these in (found, baseline))
    errors = np.stack([each.nll_error for each in found])
    active = np.mean([num_active(each.variances) for each in found], axis=0)
    return {
        **over_images("nll", nll),
        "mc_error": np.sqrt(np.sum(errors**2)) / errors.size,
        **over_images("gain", other - nll),
        **over_images("minus_elbo", np.mean([each.minus_elbo for each in found], axis=0)),
        **{f"active_{layer}": number for layer, number in enumerate(active, start=1)},
        "ess_share": np.mean([each.ess_share for each in found]),
        "num_test": nll.size,
    }


def over_images(name: str, values: np.ndarray) -> dict[str, float]:
    """Returns the columns of a mean over images, ± 1.96 standard errors."""
    values = np.asarray(values, np.float64)
    return intervals.around(name, values.mean(), values.std(ddof=1) / values.size**0.5)


def curve_rows(method: str, k: int, learned: Learned, **shared: Any) -> Iterator[dict[str, Any]]:
    """Yields the bounds on test images along the way, of each seed."""
    for seed, (iwae, elbo) in enumerate(zip(learned.curve["iwae"], learned.curve["elbo"], strict=True)):
        for step, *values in zip(learned.curve["step"], iwae, elbo, strict=True):
            yield row("curve", method, k, seed, step=int(step), iwae=values[0], elbo=values[1], **shared)


def picture_rows(method: str, k: int, seed: int, drawn: Pictures, per_line: int) -> Iterator[dict[str, Any]]:
    """Yields one row per image, by what it shows and its place there."""
    grids = {
        "samples": np.asarray(drawn.samples).reshape(-1, per_line, drawn.samples.shape[-1]),
        "reconstructions": np.stack([drawn.originals, drawn.reconstructions]),
        "traversals": np.asarray(drawn.traversals),
    }
    for what, grid in grids.items():
        for line, column in np.ndindex(grid.shape[:2]):
            place = {"what": what, "line": line, "column": column}
            yield row("image", method, k, seed, **place, pixels=as_text(grid[line, column]))


def as_text(image: np.ndarray) -> str:
    """Returns values in [0, 1] as `#` and two hexadecimal digits each, of 255: what is lost is below 0.002.

    The sign keeps a reader from taking digits for a number.
    """
    return "#" + np.round(255 * np.clip(image, 0, 1)).astype(np.uint8).tobytes().hex()


def as_image(text: str) -> np.ndarray:
    """Returns the square image, `[side, side]` in [0, 1]."""
    values = np.frombuffer(bytes.fromhex(text.removeprefix("#")), np.uint8) / 255
    return values.reshape(round(values.size**0.5), -1)


def grid_of(rows: pd.DataFrame, what: str) -> np.ndarray:
    """Returns the images of one kind, `[lines, columns, side, side]`."""
    here = rows.query("what == @what").sort_values(by=["line", "column"])
    images = np.stack([as_image(text) for text in here["pixels"]])
    return images.reshape(len(set(here["line"])), -1, *images.shape[1:])
