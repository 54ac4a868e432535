"""Programs that do the same work, shown to reach the same value before any of them is timed."""

import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.bench import arithmetic, peak
from experiments.bench.programs import Case, Compiled, Program, ahead_of_time
from experiments.bench.run import measure

RECOMPILES = "recompiles every call"
DISPATCH = "Python dispatch per step"
ONE_BY_ONE = "one fit after another"
MEMORY = "memory"
ARITHMETIC = "arithmetic"

OK, MISMATCH, FAILED, MISSING = "ok", "mismatch", "failed", "not installed"


class Value(NamedTuple):
    """What a program reached, in nats unless its contest says otherwise.

    Attributes:
      mean: the objective.
      tolerance: how far another program's value may lie from it by chance.
    """

    mean: float
    tolerance: float


def value_of_draws(draws: Any) -> Value:
    """Returns the mean of independent draws, with five of its standard errors and 10⁻⁵ of it for float32."""
    draws = np.asarray(draws, np.float64)
    mean = float(draws.mean())
    return Value(mean, 5 * float(draws.std(ddof=1)) / math.sqrt(draws.size) + 1e-5 * abs(mean))


class Entry(NamedTuple):
    """One program of a contest.

    Attributes:
      name: what the table calls it.
      call: `(*arguments) -> arrays`, what is timed.
      arguments: arrays.
      label: what the difference from the reference consists of.
      value: runs the work to the end and returns what it reached.
      prepare: `ahead_of_time`, or `called` where the work is more than one pure function of JAX.
      share: of the contest's work that one run does. Times are divided by it.
      counted: how many of its operations the compiler's count holds: 1 for all, NaN where a loop hides that.
      max_runs: at most so many timed runs; 0 compiles it for what the compiler counts.
    """

    name: str
    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    label: str
    value: Callable[[], Value]
    prepare: Callable[[Program, jax.Array], Compiled] = ahead_of_time
    share: float = 1.0
    counted: float = 1.0
    max_runs: int = sys.maxsize


class Contest(NamedTuple):
    """Programs that do the same work.

    Attributes:
      workload: what the work is.
      num_samples: K or S, draws per datum.
      batch_size: B.
      num_steps: steps in one run; times are those of one.
      entries: the reference first. Times are divided by its time.
      num_runs: at most so many rounds.
    """

    workload: str
    num_samples: int
    batch_size: int
    num_steps: int
    entries: tuple[Entry, ...]
    num_runs: int = sys.maxsize


Row = dict[str, Any]


def compete(contest: Contest, num_runs: int, rng: np.random.Generator) -> list[Row]:
    """Returns one row per entry but the reference. Only programs that agree with it are timed.

    An entry whose program raises is a row that says so: a framework's own compiler may not work on this machine. The
    reference must run.
    """
    reference, *others = contest.entries
    expected = reference.value()
    judged = [(entry, *judge(entry, expected)) for entry in others]
    agreeing = [reference, *(entry for entry, status, _ in judged if status == OK)]
    by_name = measured(contest, agreeing, num_runs, rng) if len(agreeing) > 1 else {}
    beside = by_name.get(reference.name, {})
    return [
        row(contest, entry.name, entry.label, status)
        | {"value": value.mean, "expected": expected.mean, "tolerance": value.tolerance + expected.tolerance}
        | figures(by_name.get(entry.name, {}), beside)
        for entry, status, value in judged
    ]


def measured(contest: Contest, entries: list[Entry], num_runs: int, rng: np.random.Generator) -> dict[str, Row]:
    """Returns what `make bench` measures of each entry, by name, all run in turns."""
    case = Case(
        name=contest.workload,
        model="",
        num_samples=contest.num_samples,
        batch_size=contest.batch_size,
        num_steps=contest.num_steps,
        num_fits=1,
        arithmetic=arithmetic.full(),
        programs=tuple(map(program, entries)),
    )
    rows = measure(case, min(num_runs, contest.num_runs), rng, key=jax.random.key(0), matmul_size=peak.matmul_size())
    return {row["program"]: row for row in rows}


def program(entry: Entry) -> Program:
    """Returns what is timed of an entry: every run draws from the entry's own key, as its judged value did."""
    return Program(
        name=entry.name,
        call=lambda key, *arguments: entry.call(*arguments),
        arguments=entry.arguments,
        counted=entry.counted,
        max_runs=entry.max_runs,
        share=entry.share,
        prepare=entry.prepare,
    )


def judge(entry: Entry, expected: Value) -> tuple[str, Value]:
    """Returns the status of an entry and the value it reached, NaN where it reached none."""
    try:
        value = entry.value()
    except Exception as error:  # The failure is the peer's, of any kind, and the other programs go on.
        first_line = (str(error).strip().splitlines() or [""])[0]
        return f"{FAILED}: {type(error).__name__}: {first_line[:120]}", Value(math.nan, math.nan)
    agrees = abs(value.mean - expected.mean) <= value.tolerance + expected.tolerance
    return OK if agrees else MISMATCH, value


def row(contest: Contest, program: str, label: str, status: str) -> Row:
    """Returns what is known of an entry before it has run."""
    return {
        "workload": contest.workload,
        "program": program,
        "label": label,
        "num_samples": contest.num_samples,
        "batch_size": contest.batch_size,
        "num_steps": contest.num_steps,
        "reference": contest.entries[0].name if contest.entries else "",
        "status": status,
        **dict.fromkeys(("value", "expected", "tolerance"), math.nan),
        **figures({}, {}),
    }


def figures(measured: Row, reference: Row) -> Row:
    """Returns times and counts of an entry and of its reference; NaN for what was not run.

    `ratio` is entry / reference, the median over rounds, with an interval for it; `memory_ratio` and `flops_ratio` are
    those of the compiler's counts; `milliseconds` are of one step.
    """
    names = ("num_runs", "milliseconds", "ratio", "ratio_low", "ratio_high", "flops_ratio", "temporary_bytes")
    known = {name: float(measured.get(name, math.nan)) for name in names}
    beside = {f"reference_{name}": float(reference.get(name, math.nan)) for name in ("milliseconds", "temporary_bytes")}
    held = beside["reference_temporary_bytes"]
    return known | beside | {"memory_ratio": known["temporary_bytes"] / held if held > 0 else math.nan}
