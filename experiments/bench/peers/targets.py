"""What to reach, row by row: the number, where it is measured, and whether it holds."""

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import pandas as pd

from experiments.bench.peers.contest import OK


class Goal(NamedTuple):
    """A number to reach.

    Attributes:
      against: what stands beside the library.
      peer: whose process measures it.
      workload: of the contest.
      program: of the contest.
      num_samples: K or S; None for the one of its workload.
      number: the goal.
      column: which number of the row. Ratios are the peer's over the library's: times faster, or times less memory.
      reaches: how measured and goal compare.
    """

    against: str
    peer: str
    workload: str
    program: str
    num_samples: int | None
    number: float
    column: str = "ratio"
    reaches: Callable[[float, float], bool] = operator.ge


def per_samples(against: str, peer: str, workload: str, program: str, numbers: dict[int, float]) -> list[Goal]:
    """Returns a goal per number of draws."""
    return [Goal(against, peer, workload, program, num_samples, number) for num_samples, number in numbers.items()]


LIMIT = 1 / 1.05
AT_MOST = operator.le
PLAIN, LOOP, BY_HAND = "plain JAX", "loop of jitted gradients", "hand-written scan"
SCAN, STEP = "svi.update in jit(scan)", "W2 IWAE step"
RUN_AGAIN, IN_JIT = {1: 25, 10: 12, 100: 3.5}, {1: 1.2, 10: 2, 100: 1.1}

GOALS = (
    *per_samples("hand-written fit, / 1.05", PLAIN, "W1 fit", BY_HAND, dict.fromkeys((1, 10, 100), LIMIT)),
    *per_samples("hand-written step, / 1.05", PLAIN, STEP, BY_HAND, dict.fromkeys((5, 50), LIMIT)),
    *per_samples("NumPyro svi.run", "NumPyro", "W1 fit", "svi.run", RUN_AGAIN),
    *per_samples("NumPyro svi.run, 32 fits", "NumPyro", "W1 32 fits", "svi.run in a loop", {1: 25, 10: 25}),
    *per_samples("NumPyro in jit(scan)", "NumPyro", "W1 fit", SCAN, IN_JIT),
    *per_samples("NumPyro in vmap, 32 fits", "NumPyro", "W1 32 fits", "vmap of jit(scan)", {1: 1, 10: 1}),
    *per_samples("BlackJAX in jit(scan)", "BlackJAX", "W1 fit", "step in jit(scan)", IN_JIT),
    *per_samples("NumPyro RenyiELBO", "NumPyro", STEP, SCAN, {5: 1.1, 50: 1.1, 500: 1}),
    *per_samples("torch.compile, IWAE step", "PyTorch", STEP, "torch.compile", {50: 1, 500: 1}),
    *per_samples("loop, variance", PLAIN, "W4 variance", LOOP, {1: 50, 64: 12, 256: 3.5, 1024: 2}),
    Goal("loop, whole grid", PLAIN, "W4 grid", LOOP, None, 50),
    Goal("one pair / whole grid", PLAIN, "W4 grid", "one pair, largest K", None, 1 / 3),
    Goal("log p(x) at once, time", PLAIN, "W3 log p(x)", "all draws at once", None, 2.5),
    Goal("log p(x) at once, memory", PLAIN, "W3 log p(x)", "all draws at once", None, 10, "memory_ratio"),
    *(
        Goal(f"operations, {name}", PLAIN, "W2 operations", name, None, 1.05, "flops_ratio", AT_MOST)
        for name in ("pathwise", "STL", "DReG", "wake-φ")
    ),
    Goal("64 chunks / one, time a draw", PLAIN, "W5 many draws", "in chunks", None, 1.1, "ratio", AT_MOST),
    Goal("64 chunks, bytes a draw", PLAIN, "W5 many draws", "in chunks", None, 16, "bytes_per_draw", AT_MOST),
)

SIGNS: dict[Any, str] = {operator.ge: "≥", AT_MOST: "≤"}


def judged(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the goals as a table: what was measured, with an interval where there is one, and whether it is met.

    A goal of whose number nothing was measured says so: it is not met, and it is not missed either.
    """
    further = rows["temporary_bytes"] - rows["reference_temporary_bytes"]
    rows = rows.assign(bytes_per_draw=further / (rows["num_samples"] * rows["batch_size"]))
    return pd.DataFrame([judge(goal, rows) for goal in GOALS])


def judge(goal: Goal, rows: pd.DataFrame) -> dict[str, str]:
    """Returns one row of the table."""
    here = rows.loc[
        (rows["peer"] == goal.peer)
        & (rows["workload"] == goal.workload)
        & rows["program"].str.endswith(goal.program)
        & ((rows["num_samples"] == goal.num_samples) | (goal.num_samples is None))
    ]
    samples = "" if goal.num_samples is None else str(goal.num_samples)
    written = {"against": goal.against, "K": samples, "goal": f"{SIGNS[goal.reaches]} {goal.number:.3g}"}
    if here.empty:
        return written | {"met": "not measured", "measured": "–"}
    row = here.iloc[-1]
    if row["status"] != OK:
        return written | {"met": str(row["status"]), "measured": "–"}
    value, low, high = (float(row[name]) for name in (goal.column, "ratio_low", "ratio_high"))
    interval = f" ({low:.3g} to {high:.3g})" if goal.column == "ratio" else ""
    return written | {"met": "yes" if goal.reaches(value, goal.number) else "NO", "measured": f"{value:.3g}{interval}"}
