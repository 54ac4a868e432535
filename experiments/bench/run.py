"""How a case is measured: compiled, warmed up, then run in turns."""

import math
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.bench import peak, variance
from experiments.bench.programs import Case, Compiled, Program, of_program
from experiments.bench.rows import Measured, rows

NUM_WARM_UP_RUNS = 2
SHARE_OF_MEMORY = 0.8


class Timed(NamedTuple):
    """What came of running a program.

    Attributes:
      seconds: `[n]` of each finished run, in order.
      squares: `[n // 2, 2]` half squared distances of θ̄ and of φ̄ between two runs; empty without a gradient.
      peak_bytes: the most that the device held, if no earlier program held more; NaN otherwise.
      notes: why a number is NaN.
    """

    seconds: np.ndarray
    squares: np.ndarray
    peak_bytes: float
    notes: tuple[str, ...]


def measure(
    case: Case, num_runs: int, rng: np.random.Generator, *, key: jax.Array, matmul_size: int
) -> list[dict[str, Any]]:
    """Returns one row per program of the case, the reference first.

    Args:
      case: what to measure.
      num_runs: timed runs of each program, at most.
      rng: of the order of runs, and of the resampling behind intervals.
      key: a typed key; run r of every program draws from `fold_in(key, r)`.
      matmul_size: n of the square matrix product that is timed beside them.
    """
    with jax.default_matmul_precision(case.arithmetic.precision):
        compiled = [prepared(case, program, key) for program in case.programs]
        fitting = [within_memory(*pair) for pair in zip(case.programs, compiled, strict=True)]
        extra = [bytes_per_draw(case, *pair, key) for pair in zip(case.programs, compiled, strict=True)]
        matmul, compiled_matmul = peak.compiled_matmul(matmul_size, case.arithmetic)
        everything = (*fitting, matmul), [*compiled, compiled_matmul]
        keys = [jax.block_until_ready(jax.random.fold_in(key, r)) for r in range(num_runs)]
        *timed, beside = time_in_turns(*everything, keys, rng)
    measured = [
        Measured(program, mine, slope, *took, did_fit=fits.max_runs == program.max_runs)
        for program, mine, slope, took, fits in zip(case.programs, compiled, extra, timed, fitting, strict=True)
    ]
    return rows(case, measured, beside.seconds, matmul_size, rng)


def prepared(case: Case, program: Program, key: jax.Array) -> Compiled:
    """Compiles a program in its arithmetic."""
    with jax.default_matmul_precision(of_program(case, program).precision):
        return program.prepare(program, key)


def within_memory(program: Program, compiled: Compiled) -> Program:
    """Returns the program, not to be run if its temporaries would take more than 4/5 of the memory that is left."""
    fits = not compiled.temporary_bytes > SHARE_OF_MEMORY * peak.free_bytes()
    return program if fits else program._replace(max_runs=0)


def bytes_per_draw(case: Case, program: Program, compiled: Compiled, key: jax.Array) -> float:
    """Returns by how many bytes the temporaries grow with each further draw of each datum; NaN where not asked for."""
    if program.fewer is None or program.fewer.num_samples >= case.num_samples:
        return math.nan
    fewer = prepared(case, program._replace(call=program.fewer.call), key)
    further = case.batch_size * (case.num_samples - program.fewer.num_samples)
    return (compiled.temporary_bytes - fewer.temporary_bytes) / further


def time_in_turns(
    programs: tuple[Program, ...], compiled: list[Compiled], keys: list[jax.Array], rng: np.random.Generator
) -> list[Timed]:
    """Times runs of each program, one per key or fewer, after runs that are not counted.

    Every round runs each program once, in an order drawn anew: what slows the machine for a while slows them alike.
    """
    peaks = [warm_up(*pair, keys[0]) for pair in zip(programs, compiled, strict=True)]
    seconds: list[list[float]] = [[] for _ in programs]
    squares: list[list[tuple[float, float]]] = [[] for _ in programs]
    before: list[Any] = [None for _ in programs]
    for number, key in enumerate(keys):
        for i in rng.permutation(len(programs)):
            program = programs[i]
            if number >= program.max_runs:
                continue
            taken, results = one_run(program, compiled[i], key)
            seconds[i].append(taken)
            if program.gradient is None:
                continue
            gradient = jax.device_get(program.gradient(results))
            if number % 2:
                squares[i].append(variance.half_squared_distance(before[i], gradient))
            before[i] = gradient
    return [
        Timed(np.array(times), np.reshape(pairs, (-1, 2)), *held)
        for times, pairs, held in zip(seconds, squares, peaks, strict=True)
    ]


def warm_up(program: Program, compiled: Compiled, key: jax.Array) -> tuple[float, tuple[str, ...]]:
    """Runs a program until it is warm; returns the peak of the device's memory, or NaN and why it is not known.

    A device keeps one peak for the life of a process, so that only a program which raises it can be told its own.
    """
    earlier = peak.peak_bytes()
    if program.max_runs == 0:
        return math.nan, ()
    for _ in range(NUM_WARM_UP_RUNS):
        one_run(program, compiled, key)
    held = peak.peak_bytes()
    if math.isnan(held):
        return held, ("peak memory: this device does not report it",)
    if held <= earlier:
        return math.nan, (f"peak memory: not above the {earlier:.4g} bytes of an earlier program",)
    return held, ()


def one_run(program: Program, compiled: Compiled, key: jax.Array) -> tuple[float, Any]:
    """Returns the seconds from the call to the last finished result, of all the case's work if the run does a part."""
    start = time.perf_counter()
    results = jax.block_until_ready(compiled.executable(key, *program.arguments))
    return (time.perf_counter() - start) / program.share, results
