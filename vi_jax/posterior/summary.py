"""One row per parameter: mean, sd, quantiles, and how well they are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from vi_jax.posterior.diagnosis import Diagnosis


class Summary(NamedTuple):
    """A table of P parameters, in their own units; it prints as one.

    Attributes:
      names: of the rows.
      columns: `{column: [P]}`: mean, mcse, sd and quantiles after importance correction; k̂, the largest of the
        weights, of the mean and of the sd; ess, the effective sample size of the mean; then mean and sd of the guide
        itself.
      level: the verdict's.
    """

    names: tuple[str, ...]
    columns: dict[str, np.ndarray]
    level: str

    def to_pandas(self) -> pd.DataFrame:
        """A row per parameter, indexed by name, unrounded."""
        import pandas as pd

        return pd.DataFrame(self.columns, index=pd.Index(self.names, name="parameter"))

    def __str__(self) -> str:
        """A line per parameter, four digits a number."""
        body = zip(*([_shown(name, x) for x in column] for name, column in self.columns.items()), strict=True)
        head = ["", *self.columns]
        lines = [head, *([name, *row] for name, row in zip(self.names, body, strict=True))]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        table = "\n".join(
            f"{line[0]:<{widths[0]}}  " + "  ".join(f"{x:>{w}}" for x, w in zip(line[1:], widths[1:], strict=True))
            for line in lines
        )
        return f"{table}\nMoments are importance-corrected, q_ are the guide's own: {self.level}."


def summary(diagnosis: Diagnosis) -> Summary:
    """Returns mean, sd, quantiles, k̂ and effective sample size of every parameter: `print(vi.summary(diagnosis))`.

    mcse is the standard error of the mean. Nothing in the table is to be trusted where the verdict says so.
    """
    moments = diagnosis.moments
    corrected = moments.corrected
    columns = {
        "mean": corrected.mean,
        "mcse": corrected.mean_error,
        "sd": corrected.sd,
        **{f"{level:.3g}": row for level, row in zip(_percent(moments.levels), corrected.quantiles, strict=True)},
        "k": np.maximum(moments.mean_pareto_k, moments.sd_pareto_k),
        "ess": corrected.effective_sample_size,
        "q_mean": moments.raw.mean,
        "q_sd": moments.raw.sd,
    }
    columns = {
        name if name[0].isalpha() else f"{name}%": np.asarray(column, np.float64) for name, column in columns.items()
    }
    return Summary(diagnosis.names, columns, diagnosis.verdict.level)


def _percent(levels: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(100 * level for level in levels)


def _shown(column: str, value: float) -> str:
    return f"{value:.0f}" if column == "ess" else f"{value:.2f}" if column == "k" else f"{value:.4g}"
