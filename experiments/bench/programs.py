"""What is timed, and how a program comes to be run: compiled ahead of any call, or as the library calls it."""

import math
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax


class Compiled(NamedTuple):
    """A program, compiled for this device.

    Attributes:
      executable: takes the program's arguments.
      trace_seconds: from Python to the compiler's input; 0 where it is part of the next.
      compile_seconds: from there to the executable.
      flops: floating-point operations of one step, as the compiler counts them; NaN where it does not.
      temporary_bytes: what one call holds besides arguments and results; NaN where the device does not say.
    """

    executable: Callable[..., Any]
    trace_seconds: float
    compile_seconds: float
    flops: float
    temporary_bytes: float


def ahead_of_time(program: "Program") -> Compiled:
    """Compiles a pure function before any call of it."""
    start = time.perf_counter()
    lowered = jax.jit(program.call).lower(*program.arguments)
    traced = time.perf_counter()
    executable = lowered.compile()
    finished = time.perf_counter()
    flops = (executable.cost_analysis() or {}).get("flops", math.nan) * program.counted
    memory = getattr(executable.memory_analysis(), "temp_size_in_bytes", math.nan)
    return Compiled(executable, traced - start, finished - traced, float(flops), float(memory))


def called(program: "Program") -> Compiled:
    """Takes a function as it is, with all that it does; a first call compiles the programs inside it."""
    start = time.perf_counter()
    jax.block_until_ready(program.call(*program.arguments))
    return Compiled(program.call, 0.0, time.perf_counter() - start, math.nan, math.nan)


class Program(NamedTuple):
    """One function to time.

    Attributes:
      name: what the table calls it.
      call: `(*arguments) -> arrays`.
      arguments: arrays.
      counted: how many of its operations the compiler's count holds, 1 for all of one step, NaN where that cannot be
        known: the body of every loop counts once, however often it runs.
      max_runs: at most so many timed runs; 0 compiles it for its memory and does not run it.
      share: of the case's work that one run does. Times are divided by it.
      prepare: `Program -> Compiled`: `ahead_of_time`, or `called` where the work is more than one pure function.
    """

    name: str
    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    counted: float = 1.0
    max_runs: int = sys.maxsize
    share: float = 1.0
    prepare: Callable[["Program"], Compiled] = ahead_of_time


class Case(NamedTuple):
    """Programs that do the same work, timed in turns.

    Attributes:
      workload: what the work is.
      num_samples: K or S, draws per datum.
      batch_size: B.
      num_steps: steps in one call; milliseconds, draws and operations are those of one step.
      programs: the reference first.
    """

    workload: str
    num_samples: int
    batch_size: int
    num_steps: int
    programs: tuple[Program, ...]
