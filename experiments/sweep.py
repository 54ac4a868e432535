"""How noisy is a gradient, and how wrong? Any model of the zoo, any bounds, any estimators, any numbers of draws.

    python -m experiments.sweep --model digits-vae --bounds iwae elbo
        --estimators pathwise doubly_reparameterized --samples 1 4 16 64 --replicates 1000

Every pair of bound and estimator is measured on the same draws at every K, at the fixed parameters of the model
(`vi.sweep`): value, variance, signal-to-noise ratios, cosine, effective sample size; and against the gradient that the
pair is to follow, bias and mean squared error. That gradient is exact where the zoo has it, as a sum or a closed form,
and otherwise measured on draws of its own, its errors being part of every interval. A pair that is not defined is
listed with the reason. `python -m experiments.zoo` describes the models. A parameter stands after a colon: renyi:0.5,
miwae:4, ciwae:0.3, cubo:2, jackknife:1, thermodynamic:0,0.1,1, piwae:4, minimized:pathwise.

A sweep that is killed loses nothing: the same command goes on from the last stop, and its numbers are bit for bit those
of a sweep that never stopped.

    python -m experiments.sweep

Seed 0, float32, two shared and busy CPU cores, 2 min 40 s: the autoencoder, ELBO and IWAE, with pathwise, sticking the
landing (STL) and doubly reparameterized (DReG) gradients, 95 % intervals:

    SNR of φ̄           K = 1               K = 64              bias of φ̄ at K = 64
    ELBO   pathwise    0.272 ± 0.009       2.155 ± 0.017       not resolved
           STL = DReG  0.755 ± 0.016       5.915 ± 0.061       not resolved
    IWAE   pathwise    as the ELBO         0.153 ± 0.016       not resolved
           DReG        as the ELBO         0.493 ± 0.041       not resolved
           STL         as the ELBO         2.378 ± 0.080       9.5 times the length of the true gradient

Under IWAE the gradient with the largest ratio is the one that points elsewhere: a signal-to-noise ratio says nothing of
what the signal is. `--quick` sweeps the linear-Gaussian toy in half a minute.
"""

import dataclasses
import hashlib
import itertools
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import pandas as pd
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import vi_jax as vi
from experiments import cli, distributed, progress, spelling, states, store, style, truth, zoo
from experiments.sweep_verdict import verdict
from vi_jax.measurement import cell_costs
from vi_jax.measurement.cells import lay_out

WIDTH = 80


def named(find: Callable[[str], Any], metavar: str) -> Any:
    """Returns how the command line reads a name: as it is if `find` knows it, and else one line lists all."""

    def read(words: list[str]) -> str:
        try:
            find(words[0])
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(2) from None
        return words[0]

    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda value: [value],
    )


MODELS = ", ".join(zoo.ZOO)
ModelName = Annotated[
    str,
    named(lambda name: spelling.chosen("model", zoo.ZOO, name, MODELS), "MODEL"),
    tyro.conf.arg(help=f"One of {MODELS}."),
]
BoundName = Annotated[str, named(spelling.bound, "BOUND")]
EstimatorName = Annotated[str, named(spelling.estimator, "ESTIMATOR")]


@dataclasses.dataclass(frozen=True)
class Config:
    """What is swept.

    Attributes:
      seed: of the draws. Model, data and parameters belong to the name of the model.
      replicates: R pools of K draws per datum.
      samples: values of K, increasing.
      reference: pools behind the gradients that no formula has; 0 goes without bias, cosine and directional SNR.
      timings: gradients timed per pair and K, after a compilation of a second or more for each; 0 times none.
      by_leaf: measure every array of the parameters by itself too, for the rows on file.
      stops: how often the sweep is saved.
      states: the folder that keeps how far it has come, until it ends; None keeps nothing.
    """

    seed: int = 0
    model: ModelName = "digits-vae"
    bounds: Annotated[tuple[BoundName, ...], tyro.conf.arg(help=f"Bounds, of {spelling.names(spelling.BOUNDS)}.")] = (
        "elbo",
        "iwae",
    )
    estimators: Annotated[
        tuple[EstimatorName, ...], tyro.conf.arg(help=f"Estimators, of {spelling.names(spelling.ESTIMATORS)}.")
    ] = ("pathwise", "sticking_the_landing", "doubly_reparameterized")
    samples: tuple[int, ...] = (1, 4, 16, 64)
    replicates: int = 1000
    reference: int = 400
    timings: int = 0
    by_leaf: bool = False
    stops: int = 20
    states: Path | None = Path("results/sweep/states")


QUICK = Config(model="toy", samples=(1, 16), replicates=200, reference=100)
Pairs = Mapping[str, tuple[str, str]]


def run(config: Config, track: progress.Track) -> Iterator[pd.DataFrame]:
    """Yields all rows, at the end: what is known before it is in the state on file."""
    posed = zoo.problem(config.model)
    pairs = {f"{pair[0]}/{pair[1]}": pair for pair in itertools.product(config.bounds, config.estimators)}
    objectives = {name: (spelling.bound(b), spelling.estimator(e)) for name, (b, e) in pairs.items()}
    check_legal(posed, objectives, config.samples)
    mesh = distributed.mesh()
    reference_key, sweep_key, cost_key = jax.random.split(jax.random.key(config.seed), 3)
    measured = resumable(
        config,
        "reference",
        track,
        lambda **options: truth.measure(
            reference_key, config.model, list(pairs.values()), config.samples, config.reference, mesh=mesh, **options
        ),
    )
    result = resumable(
        config,
        "sweep",
        track,
        lambda **options: vi.sweep(
            sweep_key,
            *posed[:4],
            objectives=objectives,
            num_samples=config.samples,
            num_replicates=config.replicates,
            reference=lambda name, size: truth.reference(config.model, pairs[name], size, measured),
            blocks=vi.measurement.by_leaf if config.by_leaf else vi.measurement.theta_and_phi,
            num_stops=config.stops,
            mesh=mesh,
            **options,
        ),
    )
    if config.timings:
        costs = cell_costs(
            cost_key,
            *posed[:4],
            objectives=objectives,
            num_samples=config.samples,
            num_timings=config.timings,
            progress=progress.callback(track, "costs"),
        )
        result = result._replace(costs=costs)
    yield rows_of(config, pairs, result, measured)
    for phase in ("reference", "sweep"):
        if (path := state_file(config, phase)) is not None and distributed.is_first():
            path.unlink(missing_ok=True)


def check_legal(posed: zoo.Problem, objectives: Mapping[str, tuple], samples: tuple[int, ...]) -> None:
    """Ends the program, with the reason for each, where no pair is defined at any K."""
    reasons = []
    for name, pair in objectives.items():
        try:
            lay_out(posed.guide, {name: pair}, samples)
            return
        except ValueError as error:
            reasons.append(f"{name}: {plain(str(error).partition(': ')[2] or str(error))}")
    raise SystemExit("\n".join(["error: no pair is defined at any K.", *reasons]))


def plain(reason: str) -> str:
    """Returns a reason without the addresses of functions, which differ from run to run."""
    return re.sub(r"<function (?:\S+\.)?(\w+) at 0x[0-9a-f]+>", r"\1", reason)


# --- stopping and going on --------------------------------------------------------------------------------------------


def resumable(config: Config, phase: str, track: progress.Track, call: Callable[..., Any]) -> Any:
    """Calls with `progress`, `save` and `resume`, from where an earlier run of this configuration was stopped."""
    path, about = state_file(config, phase), states.context(dataclasses.asdict(sizes(config)))
    found = states.Found(None, 0.0, "")
    if path is not None:
        params = zoo.problem(config.model).params
        found = distributed.from_first(lambda: states.read(path, params, about))
    if found.why:
        say(f"{found.why}: the {phase} starts anew")
    if found.state is not None:
        say(f"the {phase} goes on from {path}, {found.share:.0%} done")
    try:
        return call(**options(path, about, found, phase, track))
    except ValueError as error:
        if found.state is None or distributed.is_of_runtime(error):
            raise
        say(f"{path} is not used: {error}")
    return call(**options(path, about, states.Found(None, 0.0, ""), phase, track))


def options(path: Path | None, about: Mapping[str, Any], found: states.Found, phase: str, track: progress.Track):
    """Returns the options of `vi.sweep` that report, save and resume."""
    moved = progress.callback(track, phase, done=found.share)
    share = found.share

    def report(done: int, total: int) -> None:
        nonlocal share
        share = done / total
        moved(done, total)

    def save(state: vi.measurement.SweepState) -> None:
        if path is not None and distributed.is_first():
            states.write(path, state, about, share)

    return {"progress": report, "save": save, "resume": found.state}


def sizes(config: Config) -> Config:
    """Returns the configuration with what the numbers do not depend on at its defaults."""
    return dataclasses.replace(config, states=None, timings=0)


def state_file(config: Config, phase: str) -> Path | None:
    """Returns where a phase of this configuration is kept."""
    text = json.dumps(dataclasses.asdict(sizes(config)), sort_keys=True)
    name = f"{config.model}-{hashlib.sha256(text.encode()).hexdigest()[:8]}-{phase}.state"
    return None if config.states is None else config.states / name


def say(text: str) -> None:
    """Tells whoever watches, beside the rows."""
    if distributed.is_first():
        print(text, file=sys.stderr, flush=True)


# --- rows, table, figure ----------------------------------------------------------------------------------------------


def rows_of(config: Config, pairs: Pairs, result: vi.SweepResult, measured: truth.Measured) -> pd.DataFrame:
    """Returns the tidy table of the sweep, with the names apart, and the size and source of each truth."""
    rows = result.to_pandas()
    of_pair = [pairs[name] for name in rows["objective"]]
    cells = list(zip(of_pair, map(int, rows["num_samples"]), rows["block"], strict=True))
    norms = {}
    for pair, size in dict.fromkeys(cell[:2] for cell in cells):
        gradient = truth.reference(config.model, pair, size, measured).gradient
        norms[pair, size] = {name: norm(part) for name, part in result.block_function(gradient).items()}
    names = pd.DataFrame(
        {"model": config.model, "bound": [pair[0] for pair in of_pair], "estimator": [pair[1] for pair in of_pair]},
        index=rows.index,
    )
    return pd.concat([names, rows.drop(columns=["objective", "undefined"])], axis=1).assign(
        truth_norm=[norms[pair, size][block] for pair, size, block in cells],
        truth=[source(config, *cell) for cell in cells],
        undefined=[plain(reason) for reason in rows["undefined"]],
    )


def norm(tree: Any) -> float:
    """Returns the length of a part of a gradient."""
    return float(np.sqrt(sum(float(np.sum(np.square(leaf, dtype=float))) for leaf in jax.tree.leaves(tree))))


def source(config: Config, pair: tuple[str, str], size: int, block: str) -> str:
    """Returns how the gradient is known that a block is judged by."""
    target = truth.follows(*pair)
    name = target.theta if block.startswith("theta") else target.phi
    if truth.exact(config.model, name, size) is not None:
        return "exact"
    return "measured" if config.reference and name != truth.FORWARD_KL else "none"


def defined(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of cells that are defined."""
    return rows.query("undefined.isna() or undefined == ''")


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns a line per pair and K: value, signal-to-noise ratios, and the bias of φ̄ as a share of the truth.

    A bias that is not resolved from zero reads 0.
    """
    rows = defined(rows)
    theta, phi = (rows.query(f"block == '{block}'").reset_index(drop=True) for block in ("theta", "phi"))
    names = [f"{b} {spelling.short(e)}" for b, e in zip(theta["bound"], theta["estimator"], strict=True)]
    # Its interval is on file: six columns do not fit eighty characters with three intervals among them.
    columns: dict[str, Any] = {"objective": names, "K": theta["num_samples"], "L": theta["value"]}
    for title, frame, column in (("SNR θ", theta, "snr"), ("SNR φ", phi, "snr")):
        columns |= {title + end: frame[column + end] for end in ("", "_low", "_high")}
    norm, low, true = (phi[column].to_numpy(float) for column in ("bias_norm", "bias_norm_low", "truth_norm"))
    bias = np.where(low == 0, 0.0, norm / true)
    return pd.DataFrame(columns | {"bias": [float(f"{share:.2g}") for share in bias]})


def missing(rows: pd.DataFrame) -> list[str]:
    """Returns a paragraph per reason for which pairs are not defined, with the pairs and their K."""
    out = rows.drop(index=defined(rows).index).drop_duplicates(["bound", "estimator", "num_samples"])
    paragraphs = []
    for reason, cells in out.groupby("undefined", sort=False):
        pairs = dict.fromkeys(f"{b}/{e}" for b, e in zip(cells["bound"], cells["estimator"], strict=True))
        ks = dict.fromkeys(str(k) for k in cells["num_samples"])
        text = f"not defined: {', '.join(pairs)} at K = {', '.join(ks)}: {reason}"
        paragraphs.append(textwrap.fill(text, WIDTH, subsequent_indent="    ", break_on_hyphens=False))
    return paragraphs


PANELS = (
    ("theta", "value", "bound, nats"),
    ("theta", "snr", "SNR of θ̄"),
    ("phi", "snr", "SNR of φ̄"),
    ("phi", "variance", "variance of φ̄"),
    ("phi", "relative_bias", "bias of φ̄ ÷ its truth"),
    ("phi", "effective_sample_size", "effective sample size"),
)


def figure(rows: pd.DataFrame) -> Figure:
    """Draws six quantities against K, a line per pair: colour says the estimator, dashes the bound."""
    rows, ends = defined(rows), ("", "_low", "_high")
    rows = rows.assign(**{f"relative_bias{end}": rows[f"bias_norm{end}"] / rows["truth_norm"] for end in ends})
    panels = style.panels(2, 3)
    for axes, (block, column, title) in zip(panels.axes.flat, PANELS, strict=True):
        lines(axes, rows.query(f"block == '{block}'"), column)
        style.log2_axis(axes, rows["num_samples"])
        axes.set_xlim(rows["num_samples"].min() / 1.2, rows["num_samples"].max() * 1.2)
        axes.set_title(title)
    for axes in panels.axes[-1]:
        axes.set_xlabel("samples K")
    # Filled column by column: a column for each bound.
    style.legend(panels.figure, columns=len(set(rows["bound"])))
    return panels.figure


def lines(axes: Axes, rows: pd.DataFrame, column: str) -> None:
    """Draws a column for every pair; of what is positive by nature, only what is resolved from zero."""
    positive, seen = column != "value", False
    for pair, look in looks(rows).items():
        here = rows.query(f"bound == '{pair[0]}' and estimator == '{pair[1]}'")
        shown = here.query(f"{column}_low > 0") if positive else here
        seen |= not shown.empty
        style.band(axes, shown, "num_samples", column, **style.keywords(look))
    if not seen:
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", color=style.GREY)
        axes.set_yticks([])
    elif positive:
        style.log_axis(axes)


def looks(rows: pd.DataFrame) -> dict[tuple[str, str], style.Series]:
    """Returns how each pair of bound and estimator looks: colour and marker say the estimator, dashes the bound."""
    estimators, bounds = (dict.fromkeys(rows[column]) for column in ("estimator", "bound"))
    colours = dict(zip(estimators, itertools.cycle((*style.PALETTE, style.GREY)), strict=False))
    markers = dict(zip(estimators, itertools.cycle(style.MARKERS), strict=False))
    dashes = dict(zip(bounds, itertools.cycle(style.DASHES), strict=False))
    pairs = dict.fromkeys(zip(rows["bound"], rows["estimator"], strict=True))
    return {(b, e): style.Series(f"{b}, {e}", colours[e], markers[e], dashes[b]) for b, e in pairs}


def main() -> None:
    """Runs, and lists what is not defined below the table."""
    folder = cli.main(run, figure, Config(), quick=QUICK, table=table, verdict=verdict, processes=distributed.together)
    if distributed.is_first():
        for paragraph in missing(store.read(folder)):
            print(paragraph)


if __name__ == "__main__":
    main()
