"""A folder of made results, and the experiments that left them: what a report is tested on."""

import dataclasses
import itertools
import json
from types import SimpleNamespace
from typing import NamedTuple

import pandas as pd

from experiments import style
from experiments.report import story

HASH = "0457cb1c"


@dataclasses.dataclass(frozen=True)
class Config:
    seed: int = 0
    num_steps: int = 100


class Verdict(NamedTuple):
    claim: str
    found: str
    holds: bool | None


def leave(results, name, day, *, status="finished", argv=(), rows=None, svg=None, **changes):
    """Writes the folder of a run of 2026-11-`day`."""
    folder = results / name / f"202611{day:02d}T120000Z-{HASH}"
    folder.mkdir(parents=True)
    record = {
        "experiment": name,
        "status": status,
        "started": f"2026-11-{day:02d}T12:00:00.000+00:00",
        "config": {"seed": 0, "num_steps": 100} | changes.pop("config", {}),
        "seed": 0,
        "argv": list(argv),
        "git": {"commit": "0123456789abcdef", "dirty": True},
        "python": "3.11.7",
        "packages": {"jax": "0.10.2"},
        "device": {"platform": "cpu", "cpu": "a processor", "count": 1, "cpu_count": 2},
        "seconds": 75.0,
    }
    (folder / "provenance.json").write_text(json.dumps(record | changes))
    if rows is not None:
        rows.to_csv(folder / "rows.csv", index=False)
    if svg is not None:
        (folder / "figure.svg").write_text(svg)
    return folder


def gaps(scale=1.0):
    """Rows of an experiment with an interval."""
    return pd.DataFrame({"K": [1, 4], "gap": [scale, scale / 4], "gap_low": [0.9, 0.2], "gap_high": [1.1, 0.3]})


def sweep_rows():
    """Rows as `experiments.sweep` writes them: SNR = 0.1 for ELBO and 0.2 for IWAE, times K, twice that for DReG."""
    pairs = itertools.product(("elbo", "iwae"), ("pathwise", "doubly_reparameterized"), (1, 16), ("theta", "phi"))
    rows = []
    for bound, estimator, k, block in pairs:
        snr = (0.1 if bound == "elbo" else 0.2) * k * (1 if estimator == "pathwise" else 2)
        row = {"model": "toy", "bound": bound, "estimator": estimator, "num_samples": k, "block": block}
        row |= around("value", -3.0 + snr / 10) | around("snr", snr) | around("variance", 1 / snr, 0.2)
        row |= around("bias_norm", 0.0) | {"truth_norm": 2.0, "num_replicates": 200, "undefined": ""}
        rows.append(row)
    return pd.DataFrame(rows)


def around(name, value, half=0.05):
    return {name: value, f"{name}_low": value - half, f"{name}_high": value + half}


def figure(rows):
    """Draws a line & no more."""
    drawn, axes = style.panels()
    axes[0, 0].plot([1, 2])
    return drawn


def module(**parts):
    """An experiment's module."""
    made = {"Config": Config, "figure": figure, "__doc__": "Is 1 < 2 & 3 > 2?\n\nIt is."} | parts
    return SimpleNamespace(**made)


def experiment(name):
    return story.Experiment(name, f"What is {name}?", f"that `{name}` < [all](../docs/all.md)", "9 min")
