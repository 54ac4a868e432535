"""Two runs of the benchmark on one device, program by program: `python -m experiments.bench compare A B`.

Every ratio is B / A; below 1, B is faster or smaller.

    × time         median time of B / median time of A
    × time/matmul  the same, each time in units of the matrix product that ran in the same round: where the machine is
                   slower in one run, as shared ones are, it is slower at both. A program that waits for memory or for
                   launches does not slow down as a matrix product does, so neither column replaces the other
    resolved       faster or slower, where both intervals exclude 1 on the same side, of ten runs or more each

The intervals are 95 %, by the percentile bootstrap over finished runs (Efron 1979), of A and of B apart. They know what
varies within a run and not what varies between two: on a shared machine ratios below 1.3 are noise whatever they say.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
import tyro
from rich.console import Console

from experiments import tables
from experiments.bench import lines

NUM_RESAMPLES = 2000
# A bootstrap of fewer runs has intervals that are too narrow to call anything resolved.
MIN_RUNS = 10
COMPARED = ("flops", "temporary_bytes", "compile_seconds")
Key = tuple[str, str, int, int, str]


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What is compared.

    Attributes:
      a: folder or rows.jsonl of the run that all is divided by.
      b: folder or rows.jsonl of the other.
      fail_above: end with exit status 1 if a program is slower by more than this, resolved.
    """

    a: Annotated[Path, tyro.conf.Positional]
    b: Annotated[Path, tyro.conf.Positional]
    fail_above: float = math.inf


class Runs(NamedTuple):
    """One program in one file, all its runs: `[n]` milliseconds, and those of the matrix product of the same round."""

    line: dict[str, Any]
    milliseconds: np.ndarray
    matmul: np.ndarray


def main(argv: Sequence[str]) -> None:
    """Prints the comparison.

    Raises:
      SystemExit: the runs are not to be compared, and why (status 1); a program is slower than is allowed (1).
    """
    given = tyro.cli(Arguments, prog="python -m experiments.bench compare", description=__doc__, args=list(argv))
    rows = compared(given.a, given.b)
    tables.show(rows, Console())
    slower = rows.loc[(rows["resolved"] == "slower") & (rows["× time"] > given.fail_above)]
    if len(slower):
        names = ", ".join(slower["case"] + " " + slower["program"])
        raise SystemExit(f"error: slower than {given.fail_above} ×: {names}")


def compared(a: Path, b: Path) -> pd.DataFrame:
    """Returns a row per program that both have.

    Raises:
      SystemExit: a file is missing or corrupt, the devices or the arithmetic differ, or nothing is in both.
    """
    first, second = lines.read(a), lines.read(b)
    for read, path in ((first, a), (second, b)):
        check_same(device(read[0]), (device(line) for line in read), path, path)
    check_same(device(first[0]), map(device, second), a, b)
    ours, theirs = pooled(first), pooled(second)
    common = [key for key in ours if key in theirs]
    if not common:
        check_arithmetic(ours, theirs, a, b)
        raise SystemExit(
            f"error: no program is in both {a} ({names(ours)}) and {b} ({names(theirs)}): measure both with the same "
            "flags."
        )
    rng = np.random.default_rng(0)
    return pd.DataFrame([row(ours[key], theirs[key], rng) for key in common])


def device(line: dict[str, Any]) -> dict[str, Any]:
    """Returns what must be the same for times to be compared."""
    return {name: line["device"].get(name) for name in ("platform", "kind", "count", "cpu_count", "cpu")}


def check_same(expected: dict[str, Any], found: Iterable[dict[str, Any]], a: Path, b: Path) -> None:
    """Ends the program unless all of the devices found are the one expected."""
    for other in found:
        if other != expected:
            raise SystemExit(
                f"error: {a} was measured on {expected} and {b} on {other}: times of different devices are not to be "
                "compared; measure both on one."
            )


def check_arithmetic(ours: dict[Key, Runs], theirs: dict[Key, Runs], a: Path, b: Path) -> None:
    """Ends the program if the two have no arithmetic in common."""
    mine, other = ({key[-1] for key in keys} for keys in (ours, theirs))
    if not mine & other:
        raise SystemExit(
            f"error: {a} was computed in {', '.join(sorted(mine))} and {b} in {', '.join(sorted(other))}: measure both "
            "with the same --arithmetic."
        )


def names(runs: dict[Key, Runs]) -> str:
    """Returns the cases, for an error."""
    return ", ".join(dict.fromkeys(key[0] for key in runs))


def pooled(read: list[dict[str, Any]]) -> dict[Key, Runs]:
    """Returns all runs of each program: those of several runs in one file count together."""
    together: dict[Key, Runs] = {}
    for line in read:
        key = tuple(line[name] for name in ("name", "program", "batch_size", "num_steps", "arithmetic"))
        before = together.get(key, Runs(line, np.empty(0), np.empty(0)))
        times = (np.array(line.get(f"{name}_milliseconds") or [], float) for name in ("run", "matmul"))
        together[key] = Runs(line, *map(np.append, before[1:], times))
    return together


def row(a: Runs, b: Runs, rng: np.random.Generator) -> dict[str, Any]:
    """Returns the ratios of one program."""
    time = median_ratio(a.milliseconds, b.milliseconds, rng)
    relative = median_ratio(a.milliseconds / a.matmul, b.milliseconds / b.matmul, rng)
    return {
        "case": a.line["name"],
        "program": a.line["program"],
        **dict(zip(("× time", "× time_low", "× time_high"), time, strict=True)),
        "resolved": verdict(time, relative) if min(a.milliseconds.size, b.milliseconds.size) >= MIN_RUNS else "",
        **dict(zip(("× time/matmul", "× time/matmul_low", "× time/matmul_high"), relative, strict=True)),
        **{f"× {name.split('_')[0]}": divided(b.line.get(name), a.line.get(name)) for name in COMPARED},
        "runs": f"{a.milliseconds.size}, {b.milliseconds.size}",
        "arithmetic": a.line["arithmetic"],
    }


def median_ratio(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float]:
    """Returns median(b) / median(a) and the ends of its interval; NaN where either was not run."""
    if a.size == 0 or b.size == 0:
        return math.nan, math.nan, math.nan
    medians = (np.median(rng.choice(times, (NUM_RESAMPLES, times.size)), axis=1) for times in (a, b))
    below, above = medians
    low, high = np.quantile(above / below, (0.025, 0.975))
    return float(np.median(b) / np.median(a)), float(low), float(high)


def verdict(*ratios: tuple[float, float, float]) -> str:
    """Returns faster or slower if all intervals lie on that side of 1."""
    if all(high < 1 for _, _, high in ratios):
        return "faster"
    return "slower" if all(low > 1 for _, low, _ in ratios) else ""


def divided(b: float | None, a: float | None) -> float:
    """Returns b / a; NaN where either is not known or a is 0."""
    return b / a if a and b is not None else math.nan
