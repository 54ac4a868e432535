"""What do the gradients cost on this machine's device, beside the same work written by hand?

    W1 fit step    mean-field ELBO of a Bayesian logistic regression, 569 × 31, S draws: one step of `vi.fit`
    W2 gradient    IWAE of an autoencoder 784-200-200-50, 100 random binary images, K draws: one gradient
    W3 evidence    `vi.log_evidence` of the same autoencoder, K = 5000, beside the memory of all draws at once
    W4 sweep       `vi.sweep` of eight pairs at K = 1, 2, …, 1024 on the linear-Gaussian toy, D = 20, 1000 replicates,
                   beside one pair at K = 1024, and beside a Python loop of a jitted gradient per pair and K

    make bench
    python -m experiments.bench --quick

The hand-written programs of W1 and W2 are a scan over steps with optax, and plain `jax.grad` of the same bound; every
estimator's time is divided by theirs, and those of W4 by that of one pair. Each program is compiled once, never from a
cache, and warmed up; then all programs of a case run in turns, in an order drawn anew each round, and every run is
waited for.

    ms         of one step or gradient: the median of all finished runs; the file has the quartiles too
    × time     median over rounds of time / hand-written time, with an interval for it of about 95 %
    MB         temporaries of one call, as the compiler plans them: what it holds besides arguments and results
    × FLOPs    operations as the compiler counts them; – where a loop hides how many there are

The programs alone are timed: what the library checks of concrete arguments before them, once per call, is not. On a CPU
they are compiled as all experiments are, at backend optimisation level 1; XLA_FLAGS=--xla_backend_optimization_level=3
is JAX's own default. On two cores that others use, ratios below 1.3 are noise.

`rows.jsonl` repeats the rows, each with device, versions and commit, to be collected over machines.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments import cli, progress, store, style
from experiments.bench.cases import Config, cases
from experiments.bench.run import measure

QUICK = Config(
    regression_samples=(10,),
    image_samples=(5,),
    evidence_batch_size=20,
    sweep_samples=(1, 16),
    sweep_replicates=40,
    num_looped=2,
    num_runs=10,
    num_evidence_runs=3,
    num_loops=3,
)
PROVENANCE = ("experiment", "started", "git", "python", "packages", "device", "jax", "environment")


def run(config: Config, track: progress.Track) -> Iterator[list[dict[str, Any]]]:
    """Yields the rows of one case at a time."""
    rng = np.random.default_rng(config.seed)
    todo = track(
        cases(config),
        "bench",
        label=lambda case: f"{case.workload}, K = {case.num_samples}",
        cost=lambda case: len(case.programs),
    )
    for case in todo:
        yield measure(case, config.num_runs, rng)


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the columns that fit a terminal."""
    return pd.DataFrame(
        {
            "case": rows["workload"],
            "K": rows["num_samples"],
            "program": rows["program"],
            "ms": rows["milliseconds"].map(three_digits),
            **{f"× time{end}": rows[f"ratio{end}"] for end in ("", "_low", "_high")},
            "compile s": (rows["trace_seconds"] + rows["compile_seconds"]).round(1),
            "MB": (rows["temporary_bytes"] / 1e6).map(three_digits),
            "× FLOPs": rows["flops_ratio"].round(3),
            "draws/s": rows["draws_per_second"].map(three_digits),
        }
    )


def three_digits(value: float) -> float:
    """Returns the number in three significant digits."""
    return float(f"{value:.3g}")


def figure(rows: pd.DataFrame) -> Figure:
    """Draws time / hand-written time of every program that was timed beside one, a row each."""
    beside_another = rows.duplicated(["workload", "num_samples"])
    timed = rows.loc[rows["ratio"].notna() & beside_another].iloc[::-1].reset_index(drop=True)
    drawn, axes = style.panels(height=0.6 + 0.17 * len(timed))
    looks = style.cycle(sorted(timed["program"].unique()))
    for program, here in timed.groupby("program"):
        look = looks[str(program)] | {"linestyle": "none"}
        axes[0, 0].hlines(here.index, here["ratio_low"], here["ratio_high"], color=look["color"], linewidth=0.8)
        axes[0, 0].plot(here["ratio"], here.index, **look)
    names = timed["workload"] + ", K = " + timed["num_samples"].astype(str) + ", " + timed["program"]
    axes[0, 0].axvline(1, color=style.BLACK, linewidth=0.8)
    axes[0, 0].set_yticks(timed.index, names)
    axes[0, 0].set_ylim(-0.6, len(timed) - 0.4)
    style.log_x_axis(axes[0, 0])
    axes[0, 0].set_xlabel("time / time of the first program of its case")
    return drawn


def write_lines(folder: Path) -> Path:
    """Writes `rows.jsonl`, each row with the provenance that a comparison needs. One that exists stays."""
    path = folder / "rows.jsonl"
    if path.exists():
        return path
    record = store.read_provenance(folder)
    shared = {"run": folder.name} | {name: record[name] for name in PROVENANCE}
    rows = json.loads(str(store.read(folder).to_json(orient="records", double_precision=15)))
    with store.writing(path), open(path, "x", encoding="utf-8") as file:
        file.writelines(json.dumps(shared | row, ensure_ascii=False) + "\n" for row in rows)
    return path


if __name__ == "__main__":
    os.environ["VI_JAX_CACHE"] = "off"
    print(write_lines(cli.main(run, figure, Config(), quick=QUICK, table=table)))
