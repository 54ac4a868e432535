"""What do the gradients cost on this machine's device, beside the same work written by hand?

    W1 fits      mean-field ELBO of a Bayesian logistic regression, 569 × 31, S draws: a step of `vi.fit`; 32 fits
    W2 gradient  ELBO and IWAE of an autoencoder 784-200-200-50, 100 random binary images, K draws, by each estimator
    W3 evidence  `vi.log_evidence` of the same autoencoder, K = 5000, beside all draws at once
    W4 sweep     `vi.sweep` of eight pairs at K = 1, 2, …, 1024 on the linear-Gaussian toy, D = 20, 1000 replicates,
                 beside one pair at K = 1024, and beside a Python loop of a jitted gradient per pair and K
    W5 long      one IWAE gradient of one image at K = 512 and 32,768, in chunks of 512

    make bench
    python -m experiments.bench --quick
    python -m experiments.bench --cases 'W2*' --samples 50 --programs DReG
    python -m experiments.bench compare RUN_A RUN_B

The first program of a case is its reference; in W1, W2, W3 and W5 it is written by hand. Each program is compiled once,
never from a cache, and warmed up; then all programs of a case, and a square matrix product, run in turns, in an order
drawn anew each round and with a key that is that round's; every run is waited for. docs/benchmarks.md says what each
column means, how to run this on a GPU or TPU, and how to compare two commits.

`rows.jsonl` repeats the rows with every run's time, device, versions and commit, a case at a time; `table.txt` has all
columns.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments import cli, progress
from experiments.bench import compare, lines, peak, report
from experiments.bench.cases import build, chosen
from experiments.bench.config import QUICK, Config
from experiments.bench.run import measure


def run(config: Config, track: progress.Track, folder: Path) -> Iterator[list[dict[str, Any]]]:
    """Yields the rows of one case at a time, and writes them with the times of all runs into the folder."""
    rng, key = np.random.default_rng(config.seed), jax.random.key(config.seed)
    size = config.matmul_size or peak.matmul_size()
    for entry in track(chosen(config), "bench", label=lambda entry: entry.name):
        measured = measure(build(entry, config), config.num_runs, rng, key=key, matmul_size=size)
        lines.append(folder, measured)
        yield [{name: value for name, value in row.items() if not isinstance(value, list)} for row in measured]


if __name__ == "__main__":
    if sys.argv[1:2] == ["compare"]:
        compare.main(sys.argv[2:])
    else:
        os.environ["VI_JAX_CACHE"] = "off"
        written = cli.main(run, report.figure, Config(), quick=QUICK, table=report.table, call=cli.with_folder)
        print(report.write_wide(written))
        print(written / lines.NAME)
