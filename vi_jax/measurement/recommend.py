"""Which bound, estimator and number of draws to train with: measured for one problem on one device."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from vi_jax import bounds, checks
from vi_jax.measurement.cost import Costs, cell_costs
from vi_jax.measurement.ranking import Ranking, rank
from vi_jax.measurement.references import reference_gradients, unbiased_estimators
from vi_jax.measurement.signals import Cell, Measured, hopeless, marks, measured
from vi_jax.measurement.sweep import SweepResult, sweep
from vi_jax.types import BoundFn, Estimator, Guide, Model, Params, PyTree

if TYPE_CHECKING:
    import pandas as pd

Objectives = Mapping[str, tuple[BoundFn, Estimator]]

# Names in a sentence.
_NAMED = 5


class Choice(NamedTuple):
    """What to use for one block of parameters.

    Attributes:
      cells: (objective, K) of the C candidates whose signal is known.
      snr_squared: `[C]`, squares of the directional signal-to-noise ratios of one gradient; 0 where it points away.
      seconds: `[C]`, of one gradient; NaN for a candidate that is left out.
      ranking: who is best, by SNR² per second, and who cannot be told from it.
      left_out: {(objective, K): why}.
    """

    cells: tuple[Cell, ...]
    snr_squared: np.ndarray
    seconds: np.ndarray
    ranking: Ranking
    left_out: Mapping[Cell, str]

    @property
    def best(self) -> Cell | None:
        """(objective, K), or None where no candidate has a signal."""
        return self.cells[self.ranking.best] if self.ranking.best >= 0 else None

    @property
    def tied(self) -> tuple[Cell, ...]:
        """What cannot be told from the best, most per second first."""
        return tuple(self.cells[i] for i in self.order() if self.ranking.tied[i])

    def order(self) -> np.ndarray:
        """Indices of the candidates, most per second first."""
        return np.argsort(-np.nan_to_num(self.ranking.per_second.value, nan=-1.0), kind="stable")


class Recommendation(NamedTuple):
    """What `recommend` found.

    Attributes:
      theta: the choice for θ.
      phi: the choice for φ.
      sentence: both in words.
      result: the sweep behind them, with the costs of what was timed.
    """

    theta: Choice
    phi: Choice
    sentence: str
    result: SweepResult

    def to_pandas(self) -> "pd.DataFrame":
        """Returns a row per block and candidate, most SNR² per second first; `verdict` says what speaks against one."""
        import pandas as pd

        return pd.DataFrame([*_rows("theta", self.theta), *_rows("phi", self.phi)])


def recommend(
    key: jax.Array,
    model: Model,
    guide: Guide,
    params: Params,
    x: PyTree,
    *,
    seconds_per_step: float | None = None,
    objectives: Objectives | None = None,
    num_samples: Sequence[int] = (1, 8, 64),
    num_groups: Sequence[int] = (8,),
    num_replicates: int = 400,
    cost: Callable[..., Costs] = cell_costs,
    progress: Callable[[str, int, int], None] | None = None,
) -> Recommendation:
    """Names the bound, estimator and K with the most directional signal per second, for θ and for φ.

        rate = SNR² / seconds,   SNR = E ⟨g, u⟩ / sd ⟨g, u⟩,   u the direction of ∇E[L_K] of the candidate's own bound

    SNR² adds over independent gradients, and so do seconds: the rate says what a budget buys, however it is cut into
    steps. It measures how well a gradient follows its bound, and not which bound deserves to be followed: a tighter one
    costs rate in φ, and `to_pandas` has all of them side by side.

    u is measured by `reference_gradients` on draws of its own: the mean gradient of the least noisy unbiased estimator
    over all of them. Noise in u, whose size is known, turns it from the truth by an angle of cosine ρ, and the ratios
    are divided by ρ; where ρ < 0.7 the direction counts as unresolved, and its candidates are left out. The excess 1/R
    of a squared mean over R replicates is taken off SNR². Seconds are medians of finished gradients, compilation apart,
    and costs within 10 % of each other count as one. Of one bound at one K, an estimator with less than a tenth of the
    SNR² of another in φ is not timed, and neither is the same gradient under a second name.

    Price: two sweeps, and a compilation for each candidate that is timed: minutes for a network.

    Args:
      key: a typed key, consumed.
      model: as of `sweep`.
      guide: as of `sweep`.
      params: as of `sweep`. A recommendation holds near them: ask again later in training.
      x: as of `sweep`, one batch of the size to be trained with. The choice of data is no noise here.
      seconds_per_step: candidates that take longer are left out. None allows all.
      objectives: (bound, estimator) by name, each estimator one that is unbiased for its bound. None takes ELBO, IWAE
        and MIWAE with the estimators of the library that are, and that the guide allows.
      num_samples: K, draws per datum in all, increasing. Of more than three, the seconds of some are interpolated.
      num_groups: M of the MIWAE candidates, which make M bounds of K/M draws.
      num_replicates: R of each of the two sweeps, 20 or more.
      cost: what measures costs, called as `cell_costs`; whatever it returns as seconds is the cost.
      progress: `(phase, done, total)`, of the phases "reference", "sweep" and "cost".

    Returns:
      `Recommendation`; its `sentence` is the answer.

    Raises:
      TypeError, ValueError: as `sweep`.
    """
    checks.check_key(key)
    reference_key, sweep_key, cost_key = jax.random.split(key, 3)
    named = candidates(guide, num_groups) if objectives is None else dict(objectives)
    bound_of = {name: _first(named, bound) for name, (bound, _) in named.items()}
    problem = model, guide, params, x
    truth = reference_gradients(
        reference_key,
        *problem,
        bounds={name: named[name][0] for name in bound_of.values()},
        num_samples=num_samples,
        num_replicates=num_replicates,
        progress=_phase(progress, "reference"),
    )
    reference = lambda name, size: truth(bound_of[name], size)  # noqa: E731
    result = sweep(
        sweep_key,
        *problem,
        objectives=named,
        num_samples=num_samples,
        num_replicates=num_replicates,
        reference=reference,
        progress=_phase(progress, "sweep"),
    )
    blocks = measured(result, reference, bound_of, 0), measured(result, reference, bound_of, 1)
    out = hopeless(blocks, bound_of, marks(result))
    worth = {name for block in blocks for name, size in block.cells if (name, size) not in out}
    objectives = {name: pair for name, pair in named.items() if name in worth}
    if objectives:
        timing = _phase(progress, "cost")
        costs = cost(cost_key, *problem, objectives=objectives, num_samples=num_samples, progress=timing)
        result = result._replace(costs=_on_grid(result, list(objectives), costs))
    theta, phi = (_choice(result, block, out, seconds_per_step) for block in blocks)
    return Recommendation(theta, phi, f"{_words('θ', theta)} {_words('φ', phi)}", result)


def candidates(guide: Guide, num_groups: Sequence[int]) -> dict[str, tuple[BoundFn, Estimator]]:
    """Returns ELBO, IWAE and MIWAE with all estimators that are unbiased for them and legal for the guide, by name."""
    family = {"elbo": bounds.elbo, "iwae": bounds.iwae} | {f"miwae({m})": bounds.miwae(m) for m in num_groups}
    return {
        f"{name}/{rule}": (bound, estimator)
        for name, bound in family.items()
        for rule, estimator in unbiased_estimators(guide, bound).items()
    }


def _first(named: Objectives, bound: BoundFn) -> str:
    """The first objective of a bound lends it its name."""
    return next(name for name, (other, _) in named.items() if other is bound)


def _phase(progress: Callable[[str, int, int], None] | None, phase: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(phase, done, total)


def _on_grid(result: SweepResult, names: Sequence[str], costs: Costs) -> Costs:
    """The costs of some objectives on the grid of all, NaN where nothing was timed."""
    grid = Costs(
        *(np.full((len(result.objectives), len(result.num_samples)), fill) for fill in (np.nan, np.nan, False))
    )
    for whole, part in zip(grid, costs, strict=True):
        whole[[result.objectives.index(name) for name in names]] = part
    return grid


def _choice(result: SweepResult, block: Measured, out: Mapping[Cell, str], budget: float | None) -> Choice:
    left_out = dict(result.undefined) | block.unresolved | dict(out)
    seconds = np.full(len(block.cells), np.nan)
    for i, (name, size) in enumerate(block.cells):
        if result.costs is None or (name, size) in out:
            continue
        taken = result.costs.seconds[result.objectives.index(name), result.num_samples.index(size)]
        if budget is not None and taken > budget:
            left_out[name, size] = f"takes {taken:.3g} seconds, more than {budget:g}"
        else:
            seconds[i] = taken
    square = np.maximum(block.signals.snr, 0.0) ** 2
    return Choice(block.cells, square, seconds, rank(block.signals, seconds), left_out)


def _words(symbol: str, choice: Choice) -> str:
    if not choice.cells:
        why = "the direction of no gradient is resolved, which more replicates might mend, or there are no parameters"
        return f"{symbol}: no recommendation: {why}."
    if choice.best is None:
        return f"{symbol}: no recommendation: no candidate that is allowed has a signal."
    i, rate = choice.ranking.best, choice.ranking.per_second
    value, low, high = (float(end[i]) / 1000 for end in rate)
    text = (
        f"{symbol}: {_named(choice.best)} has the most signal per second: SNR² = {choice.snr_squared[i]:.3g} in "
        f"{1000 * choice.seconds[i]:.3g} ms, {value:.3g} [{low:.3g}, {high:.3g}] per ms"
    )
    if not choice.ranking.resolved:
        text += ", which is not resolved from none: take more replicates"
    if choice.tied:
        more = f" and {len(choice.tied) - _NAMED} more" if len(choice.tied) > _NAMED else ""
        text += f"; not resolved from it: {', '.join(map(_named, choice.tied[:_NAMED]))}{more}"
    return text + "."


def _named(cell: Cell) -> str:
    return f"{cell[0]} at K = {cell[1]}"


def _rows(block: str, choice: Choice) -> Iterator[dict[str, Any]]:
    rate = choice.ranking.per_second
    for i in choice.order():
        cell = choice.cells[i]
        tied = "not resolved from the best" if choice.ranking.tied[i] else choice.left_out.get(cell, "")
        values = choice.snr_squared[i], choice.seconds[i], rate.value[i], rate.low[i], rate.high[i]
        yield _row(block, cell, "best" if cell == choice.best else tied, *map(float, values))
    for cell in choice.left_out.keys() - set(choice.cells):
        yield _row(block, cell, choice.left_out[cell])


def _row(block: str, cell: Cell, verdict: str, *values: float) -> dict[str, Any]:
    columns = "snr_squared", "seconds", "per_second", "per_second_low", "per_second_high"
    numbers = dict(zip(columns, values or (float("nan"),) * len(columns), strict=True))
    return {"block": block, "objective": cell[0], "num_samples": cell[1], **numbers, "verdict": verdict}
