"""How a case is measured: compiled, warmed up, then run in turns."""

import math
import time
from typing import Any

import jax
import numpy as np

from experiments.bench.programs import Case, Compiled, Program

NUM_WARM_UP_RUNS = 2


def measure(case: Case, num_runs: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Returns one row per program of the case, the reference first."""
    compiled = [program.prepare(program) for program in case.programs]
    seconds = time_in_turns(case.programs, compiled, num_runs, rng)
    return [
        row(case, program, compiled[0], mine, seconds[0], times)
        for program, mine, times in zip(case.programs, compiled, seconds, strict=True)
    ]


def time_in_turns(
    programs: tuple[Program, ...], compiled: list[Compiled], num_runs: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Returns the seconds of each finished run, `[num_runs or fewer]` per program, after runs that are not counted.

    Every round runs each program once, in an order drawn anew: what slows the machine for a while slows them alike.
    """
    for _ in range(NUM_WARM_UP_RUNS):
        for program, mine in zip(programs, compiled, strict=True):
            if program.max_runs > 0:
                seconds_of_one_run(program, mine)
    seconds: list[list[float]] = [[] for _ in programs]
    for number in range(num_runs):
        for i in rng.permutation(len(programs)):
            if number < programs[i].max_runs:
                seconds[i].append(seconds_of_one_run(programs[i], compiled[i]))
    return [np.array(times) for times in seconds]


def seconds_of_one_run(program: Program, compiled: Compiled) -> float:
    """Returns the seconds from the call to the last finished result, of all the case's work if the run does a part."""
    start = time.perf_counter()
    jax.block_until_ready(compiled.executable(*program.arguments))
    return (time.perf_counter() - start) / program.share


def row(
    case: Case,
    program: Program,
    reference: Compiled,
    compiled: Compiled,
    reference_seconds: np.ndarray,
    seconds: np.ndarray,
) -> dict[str, Any]:
    """Returns what is known of one program. NaN stands where nothing was run or counted."""
    quartiles = dict(zip(("_q1", "", "_q3"), 1000 * three_quartiles(seconds) / case.num_steps, strict=True))
    draws = case.num_samples * case.batch_size
    return {
        "workload": case.workload,
        "program": program.name,
        "num_samples": case.num_samples,
        "batch_size": case.batch_size,
        "num_steps": case.num_steps,
        "num_runs": seconds.size,
        "trace_seconds": compiled.trace_seconds,
        "compile_seconds": compiled.compile_seconds,
        **{f"milliseconds{end}": value for end, value in quartiles.items()},
        **median_ratio(seconds, reference_seconds),
        "draws_per_second": 1000 * draws / quartiles[""],
        "flops": compiled.flops,
        "flops_ratio": compiled.flops / reference.flops if reference.flops > 0 else math.nan,
        "temporary_bytes": compiled.temporary_bytes,
    }


def median_ratio(seconds: np.ndarray, reference_seconds: np.ndarray) -> dict[str, float]:
    """Returns the median over rounds of seconds / reference seconds, an interval for it, and the quartiles.

    The interval is median ± 1.57 (q3 − q1) / √n, about 95 % for independent rounds (McGill, Tukey and Larsen,
    "Variations of box plots", 1978). Rounds on a machine that others use are not quite independent.
    """
    rounds = min(seconds.size, reference_seconds.size)
    low, median, high = three_quartiles(seconds[:rounds] / reference_seconds[:rounds])
    half_width = 1.57 * (high - low) / math.sqrt(rounds) if rounds else math.nan
    interval = {"ratio": median, "ratio_low": median - half_width, "ratio_high": median + half_width}
    return interval | {"ratio_q1": low, "ratio_q3": high}


def three_quartiles(values: np.ndarray) -> np.ndarray:
    """Returns the lower quartile, the median and the upper quartile; NaN for no values."""
    return np.quantile(values, (0.25, 0.5, 0.75)) if values.size else np.full(3, math.nan)
