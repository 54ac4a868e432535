"""Draws for the tools that people use already: an ArviZ object of whichever version is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from vi_jax import bounds, checks
from vi_jax.posterior.parameters import label

if TYPE_CHECKING:
    from vi_jax.posterior.diagnosis import Diagnosis


def to_arviz(diagnosis: Diagnosis, *, num_draws: int | None = None) -> Any:
    """Returns the approximation as an ArviZ object: `InferenceData` of ArviZ 0.x, `DataTree` of 1.x.

    Groups, each with one chain:
      posterior: draws resampled by the smoothed weights, which tools that know no weights may use as they are.
      sample_stats: of those, `lp`, the log joint of the unconstrained parameters, `log_weight`, and `draw_index`, where
        each stands in `guide`.
      guide: all S draws as they were made, with `log_weight` and `smoothed_log_weight`, in nats.

    Resampling is systematic: draw s appears ⌊S w̃_s⌋ or ⌈S w̃_s⌉ times, without a random number, and copies stand side by
    side, so that ArviZ's own effective sample size counts them as dependent. Variables are named as `Target.names`
    names them, nested ones with dots: "a.b". MCMC diagnostics such as R̂ say nothing of them; k̂ does, in the attributes.

    Args:
      diagnosis: of `vi.diagnose`.
      num_draws: of the group `posterior`; S if None.

    Raises:
      ValueError: the smoothed weights are not finite, so that nothing can be resampled; the text of the verdict says
        why.
    """
    import arviz

    number = checks.check_positive_int("num_draws", len(diagnosis.log_weights) if num_draws is None else num_draws)
    places = resample(diagnosis.smoothed_log_weights, number)
    variables = _variables(diagnosis)
    groups = {
        "posterior": {name: column[places] for name, column in variables.items()},
        "sample_stats": {
            "lp": diagnosis.log_joint[places],
            "log_weight": diagnosis.log_weights[places],
            "draw_index": places,
        },
        "guide": variables
        | {"log_weight": diagnosis.log_weights, "smoothed_log_weight": diagnosis.smoothed_log_weights},
    }
    with_chain = {group: {name: np.asarray(x)[None] for name, x in part.items()} for group, part in groups.items()}
    return _from_dict(arviz, with_chain, _attributes(diagnosis))


def resample(log_w: jax.Array, number: int) -> np.ndarray:
    """Returns the places `[number]`, ascending, of a systematic resample by self-normalised weights.

    Raises:
      ValueError: a weight is NaN or +∞, or all are zero.
    """
    w = np.asarray(bounds.normalized_weights(log_w), np.float64)
    if not (np.isfinite(w).all() and w.sum() > 0.5):
        raise ValueError(
            f"{int((~np.isfinite(w)).sum())} of {w.size} weights are no numbers, so nothing can be resampled: print "
            "the diagnosis, whose verdict says what is wrong with the density."
        )
    ends = np.cumsum(w) / w.sum()
    return np.minimum(np.searchsorted(ends, (np.arange(number) + 0.5) / number), w.size - 1)


def _variables(diagnosis: Diagnosis) -> dict[str, jax.Array]:
    """`{name: [S, ...]}`, one per leaf of the parameters."""
    leaves = jax.tree.leaves(diagnosis.draws)
    ends = np.cumsum([0, *(int(np.prod(leaf.shape[1:])) for leaf in leaves)])
    return {
        label(diagnosis.names[start]) if leaf.ndim > 1 else diagnosis.names[start]: jnp.asarray(leaf)
        for start, leaf in zip(ends, leaves, strict=False)
        if leaf.size
    }


def _attributes(diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "inference_library": "vi_jax",
        "pareto_k": float(diagnosis.pareto_k),
        "elbo": float(diagnosis.evidence.elbo.value),
        "log_evidence": float(diagnosis.evidence.log_evidence.value),
        "verdict": diagnosis.verdict.level,
    }


def _from_dict(arviz: Any, groups: dict[str, dict[str, np.ndarray]], attributes: dict[str, Any]) -> Any:
    if int(arviz.__version__.partition(".")[0]) >= 1:
        return arviz.from_dict(groups, attrs={"posterior": attributes})
    datasets = {group: arviz.dict_to_dataset(part) for group, part in groups.items()}
    datasets["posterior"].attrs.update(attributes)
    return arviz.InferenceData(warn_on_custom_groups=False, **datasets)
