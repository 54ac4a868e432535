"""How many draws should one buy, and how should they be grouped?

A step may spend T = k M draws per datum: M bounds of k draws each, averaged (MIWAE; k = 1 is the ELBO, M = 1 is IWAE).
What it costs to follow ∇E[IWAE_k] is work-normalised: variance × cost of one gradient, over the square of its signal,

    tr Cov g × cost / ‖E g‖² = cost / SNR²,   the milliseconds (or operations) that buy a signal-to-noise ratio of one

For one target k it compares estimators and M, the signal being the same; at one T it compares k. Rainforth et al. 2018
(arXiv:1802.04537): SNR² of θ̄ goes like k M under IWAE, that of the pathwise φ̄ like M / k: with T fixed, φ pays k² for
a tighter bound. Tucker et al. 2018 (arXiv:1810.04152): doubly reparameterized it is k M again, and k costs nothing.

    python -m experiments.cost_of_variance

Seed 0, float32, two shared and busy CPU cores, 1 min 35 s and a minute or two of compilation the first time. With
T = 256 draws an SNR of one in φ̄ costs so many milliseconds (the variances are known to a few per cent where no interval
is given; the clock of such a machine is not):

    k, with M = 256/k          1        4        16       64       256
    toy         gap, nats      0.58     0.15     0.038    0.0091   0.0020
                pathwise       0.198    2.59     38.3     599      9541
                DReG           0.0110   0.0395   0.0796   0.102    0.109
    digits-vae  gap, nats      0.46     0.18     0.068    0.024    0.0067
                pathwise       0.251    1.45     8.6      53 ± 9   349 ± 135
                DReG           0.0347   0.116    0.73     5.7      42 ± 31

Which M: grouping is free (0.1 % of the operations), and whole draws are cheapest in bulk: for one target, variance ×
time at T = 1 is 12 times that at T = 256 on the toy, 11 times on the autoencoder; at T = 16, 2.9 and 1.1 times. In
operations it is flat from T = 16 on, to 8 %. So buy 16 draws at a time or more. Which k: pathwise, k = 1, all draws as
groups: k = 16 costs 34 to 190 times as much signal in φ̄. Doubly reparameterized, k = 4 costs 3.3 to 3.6 times, and
what more costs is up to the weights: nothing beyond k = 16 on the toy, where they vary little, and sevenfold for every
fourfold k on the autoencoder, whose θ̄ pays 5 times for k = 256. `--quick` (the toy, T = 1 and 16) takes half a minute.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterSciNotation, LogLocator

import vi_jax as vi
from experiments import cli, intervals, progress, spelling, style, zoo
from experiments.cost_verdict import verdict
from vi_jax.measurement import Costs, cell_costs

SIGNAL = "doubly_reparameterized"
"""Whose mean is the signal: of the three it has the least noise, and the same expectation."""
ESTIMATORS = {
    "pathwise": vi.estimators.pathwise,
    SIGNAL: vi.estimators.doubly_reparameterized,
    "vimco": vi.estimators.vimco,
}
BLOCKS = ("theta", "phi")


@dataclasses.dataclass(frozen=True)
class Config:
    """What the rows depend on.

    Attributes:
      seed: of the draws.
      models: names of the zoo, with reparameterized guides.
      draws: T, each a multiple of the one before; the values of M too. The first is 1.
      replicates: R.
      evidence: draws per datum for log p(x) where it has no formula.
      timings: gradients timed per estimator and T.
    """

    seed: int = 0
    models: tuple[str, ...] = ("toy", "digits-vae")
    draws: tuple[int, ...] = (1, 4, 16, 64, 256)
    replicates: int = 1000
    evidence: int = 50_000
    timings: int = 31


QUICK = Config(models=("toy",), draws=(1, 16), replicates=100, timings=5)


def run(config: Config, track: progress.Track) -> Iterator[list[dict[str, Any]]]:
    """Yields the rows of one model at a time."""
    evidence_key, sweep_key, cost_key = jax.random.split(jax.random.key(config.seed), 3)
    for model in config.models:
        posed = zoo.problem(model)
        log_p = evidence(config, evidence_key, posed)
        result = vi.sweep(
            sweep_key,
            *posed[:4],
            objectives=objectives(config),
            num_samples=config.draws,
            num_replicates=config.replicates,
            num_groups=10,
            progress=progress.callback(track, f"sweep {model}"),
        )
        costs = cell_costs(
            cost_key,
            *posed[:4],
            objectives=timed(config),
            num_samples=config.draws,
            num_timings=config.timings,
            progress=progress.callback(track, f"costs {model}"),
        )
        yield list(rows_of(config, model, result, costs, log_p))


def objectives(config: Config) -> dict[str, tuple[vi.BoundFn, vi.Estimator]]:
    """Returns MIWAE of every number of groups with every estimator."""
    pairs = itertools.product(config.draws, ESTIMATORS.items())
    return {f"{groups}/{name}": (spelling.bound(f"miwae:{groups}"), rule) for groups, (name, rule) in pairs}


def timed(config: Config) -> dict[str, tuple[vi.BoundFn, vi.Estimator]]:
    """Returns what is timed: every estimator in one group, and one of them in several, which should cost the same."""
    every = objectives(config)
    return {name: every[name] for name in (*(f"1/{rule}" for rule in ESTIMATORS), f"{config.draws[1]}/{SIGNAL}")}


def evidence(config: Config, key: jax.Array, posed: zoo.Problem) -> tuple[float, float]:
    """Returns log p(x) averaged over the data, and its standard error, which is zero where there is a formula."""
    if posed.exact is not None:
        log_p = jax.vmap(posed.exact.log_evidence, in_axes=(None, 0))(posed.params.theta, posed.x)
        return float(jnp.mean(log_p)), 0.0
    found = vi.log_evidence(key, *posed[:4], num_samples=config.evidence)
    error = jnp.sqrt(jnp.sum(found.standard_error**2)) / found.standard_error.size
    return float(jnp.mean(found.log_evidence)), float(error)


# --- rows -------------------------------------------------------------------------------------------------------------


def rows_of(
    config: Config, model: str, result: vi.SweepResult, costs: Costs, log_p: tuple[float, float]
) -> Iterator[dict[str, Any]]:
    """Yields a row per T, M, estimator and block."""
    priced = list(timed(config))
    for t, groups in itertools.product(config.draws, config.draws):
        if t % groups:
            continue
        signals = {block: signal(result, t // groups, block) for block in BLOCKS}
        for name, block in itertools.product(ESTIMATORS, BLOCKS):
            if (f"{groups}/{name}", t) in result.undefined:
                continue
            place, column = priced.index(f"1/{name}"), config.draws.index(t)
            ms, mflop = 1e3 * costs.seconds[place, column], 1e-6 * costs.flops[place, column]
            variance = at(result, "variance", groups, name, t, block)
            relative = ratio(variance, signals[block])
            yield {
                "model": model,
                "draws": t,
                "groups": groups,
                "per_bound": t // groups,
                "estimator": name,
                "block": block,
                **intervals.columns("gap", gap(result, t // groups, log_p)),
                **intervals.columns("variance", variance),
                **intervals.columns("relative_variance", relative),
                **intervals.columns("ms_for_snr_1", [ms * end for end in relative]),
                **intervals.columns("mflop_for_snr_1", [mflop * end for end in relative]),
                "ms": ms,
                "mflop": mflop,
                "ms_interpolated": bool(costs.interpolated[place, column]),
                "grouping_mflop": grouping(config, costs, column),
            }


def at(result: vi.SweepResult, quantity: str, groups: int, name: str, t: int, block: str) -> np.ndarray:
    """Returns value, low and high of a quantity of one cell."""
    place = result.objectives.index(f"{groups}/{name}"), result.num_samples.index(t), 0
    leaves = [np.asarray(leaf)[place] for leaf in getattr(result.quantities, quantity)]
    return np.array([leaf if leaf.ndim == 0 else leaf[BLOCKS.index(block)] for leaf in leaves], float)


def signal(result: vi.SweepResult, per_bound: int, block: str) -> np.ndarray:
    """Returns ‖E g‖² of IWAE_k, by the least noisy estimator and all draws: it is the same for every M."""
    most = result.num_samples[-1]
    cell = most // per_bound, SIGNAL, most, block
    return at(result, "snr", *cell) ** 2 * at(result, "variance", *cell)[0]


def ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """Returns a ratio of positive estimates; the relative lengths of their intervals add in squares."""
    with np.errstate(divide="ignore"):
        low = np.hypot(np.log(top[0] / top[1]), np.log(bottom[2] / bottom[0]))
        high = np.hypot(np.log(top[2] / top[0]), np.log(bottom[0] / bottom[1]))
    value = top[0] / bottom[0]
    return np.array([value, value * np.exp(-low), value * np.exp(high)])


def gap(result: vi.SweepResult, per_bound: int, log_p: tuple[float, float]) -> np.ndarray:
    """Returns log p(x) − E[IWAE_k], in nats."""
    most = result.num_samples[-1]
    value, low, high = at(result, "value", most // per_bound, SIGNAL, most, "phi")
    reach = math.hypot((high - low) / 2, intervals.QUANTILE * log_p[1])
    return log_p[0] - value + np.array([0.0, -reach, reach])


def grouping(config: Config, costs: Costs, column: int) -> float:
    """Returns the operations of draws in several groups over those of the same draws in one."""
    return float(costs.flops[-1, column] / costs.flops[list(ESTIMATORS).index(SIGNAL), column])


# --- table and figure -------------------------------------------------------------------------------------------------


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the largest T: for each k the gap, and the milliseconds that buy a signal-to-noise ratio of one."""
    most = rows.query("draws == draws.max()")
    theta, phi = (most.query(f"block == '{block}'").reset_index(drop=True) for block in BLOCKS)
    columns: dict[str, Any] = {
        "model": theta["model"],
        "k": theta["per_bound"],
        "estimator": [spelling.short(name) for name in theta["estimator"]],
        "gap": [float(f"{value:.2g}") for value in theta["gap"]],
    }
    for title, frame in (("ms, θ", theta), ("ms, φ", phi)):
        columns |= {title + end: frame[f"ms_for_snr_1{end}"] for end in ("", "_low", "_high")}
    return pd.DataFrame(columns).sort_values(["model", "k"], ascending=[False, True], kind="stable")


LOOKS: Mapping[str, dict[str, Any]] = {
    "pathwise": style.line("iwae/pathwise"),
    SIGNAL: style.line("iwae/doubly_reparameterized"),
    "vimco": style.line("iwae/vimco"),
}


def figure(rows: pd.DataFrame) -> Figure:
    """Draws a row per model: what a signal costs in φ̄ and θ̄ against k, and what buying few draws at a time costs."""
    models = list(dict.fromkeys(rows["model"]))
    panels = style.panels(len(models), 3)
    most = rows["draws"].max()
    for line, model in zip(panels.axes, models, strict=True):
        here = rows.query(f"model == '{model}'")
        for axes, block, symbol in zip(line, ("phi", "theta"), ("φ̄", "θ̄"), strict=False):
            against_k(axes, here.query(f"draws == {most} and block == '{block}'"))
            axes.set_title(f"{symbol}, {model}")
        against_draws(line[2], here.query(f"block == 'phi' and estimator == '{SIGNAL}'"))
        line[0].set_ylabel("ms for an SNR of 1")
        line[2].set(title=f"φ̄, {model}", ylabel=f"price (at T = {most}: 1)")
    for axes in panels.axes[-1, :2]:
        axes.set_xlabel(f"k draws per bound, {most}/k bounds")
    panels.axes[-1, 2].set_xlabel("draws T at a time")
    style.legend(panels.figure, columns=4)
    return panels.figure


def against_k(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws the milliseconds that buy a signal, at the same number of draws, against how many go into one bound."""
    for name, look in LOOKS.items():
        here = rows.query(f"estimator == '{name}' and ms_for_snr_1_high < inf")
        style.band(axes, here, "per_bound", "ms_for_snr_1", **look | {"label": spelling.short(name)})
    style.log2_axis(axes, rows["per_bound"])
    style.log_axis(axes)
    prices = rows["ms_for_snr_1"].to_numpy(float)
    if prices.max() > 100 * prices.min():
        # Too many decades for plain numbers.
        axes.yaxis.set_major_locator(LogLocator(numticks=style.MAX_TICKS))
        axes.yaxis.set_major_formatter(LogFormatterSciNotation())


def against_draws(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws variance × cost of one target against T, in time and in operations, relative to the largest T."""
    for per_bound, colour in ((1, style.BLUE), (16, style.GREEN)):
        here = rows.query(f"per_bound == {per_bound}").sort_values("draws")
        for unit, dash in (("ms", "-"), ("mflop", style.DASHES[2])):
            price = here["variance"] * here[unit]
            axes.plot(
                here["draws"],
                price / price.iloc[-1],
                color=colour,
                linestyle=dash,
                marker="o",
                label=f"k = {per_bound}: variance × {'time' if unit == 'ms' else 'operations'}",
            )
    style.log2_axis(axes, rows["draws"])
    style.log_axis(axes)


if __name__ == "__main__":
    cli.main(run, figure, Config(), quick=QUICK, table=table, verdict=verdict)
