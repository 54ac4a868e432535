"""What is timed, and how a program comes to be run: compiled ahead of any call, or as the library calls it."""

import math
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from experiments.bench.arithmetic import Arithmetic

IN_A_LOOP = "operations: a loop hides how often its body runs"
NOT_ONE_PROGRAM = "operations and temporaries: more than one program"


class Compiled(NamedTuple):
    """A program, compiled for this device.

    Attributes:
      executable: takes a key and the program's arguments.
      trace_seconds: from Python to the compiler's input; 0 where it is part of the next.
      compile_seconds: from there to the executable.
      flops: floating-point operations of one step, as the compiler counts them; NaN where it does not.
      bytes_accessed: of one step, read and written, as the compiler counts them; NaN where it does not.
      temporary_bytes: what one call holds besides arguments and results; NaN where the device does not say.
      notes: why a number is NaN.
    """

    executable: Callable[..., Any]
    trace_seconds: float
    compile_seconds: float
    flops: float
    bytes_accessed: float
    temporary_bytes: float
    notes: tuple[str, ...] = ()


def ahead_of_time(program: "Program", key: jax.Array) -> Compiled:
    """Compiles a pure function before any call of it."""
    start = time.perf_counter()
    lowered = jax.jit(program.call).lower(key, *program.arguments)
    traced = time.perf_counter()
    executable = lowered.compile()
    finished = time.perf_counter()
    analysis = executable.cost_analysis() or {}
    flops, moved = (float(analysis.get(name, math.nan)) * program.counted for name in ("flops", "bytes accessed"))
    temporaries = float(getattr(executable.memory_analysis(), "temp_size_in_bytes", math.nan))
    compiled = Compiled(executable, traced - start, finished - traced, flops, moved, temporaries)
    return compiled._replace(notes=_reasons(program, compiled))


def _reasons(program: "Program", compiled: Compiled) -> tuple[str, ...]:
    uncounted = IN_A_LOOP if math.isnan(program.counted) else "operations: this compiler does not count them"
    unknown = {uncounted: compiled.flops, "temporaries: this device does not plan them": compiled.temporary_bytes}
    return tuple(reason for reason, value in unknown.items() if math.isnan(value))


def called(program: "Program", key: jax.Array) -> Compiled:
    """Takes a function as it is, with all that it does; a first call compiles the programs inside it."""
    start = time.perf_counter()
    jax.block_until_ready(program.call(key, *program.arguments))
    seconds = time.perf_counter() - start
    return Compiled(program.call, 0.0, seconds, math.nan, math.nan, math.nan, (NOT_ONE_PROGRAM,))


class Fewer(NamedTuple):
    """The same program with fewer draws, compiled beside it: the memory of a draw is the slope between them.

    Attributes:
      call: as that of the program.
      num_samples: of it, K.
    """

    call: Callable[..., Any]
    num_samples: int


class Program(NamedTuple):
    """One function to time.

    Attributes:
      name: what the table calls it.
      call: `(key, *arguments) -> arrays`. Every run has a key of its own, the same for all programs of a round.
      arguments: arrays.
      gradient: `results -> Params`, the gradient among what is returned; None where there is none.
      counted: how many of its operations the compiler's count holds, 1 for all of one step, NaN where that cannot be
        known: the body of every loop counts once, however often it runs.
      fewer: what its memory is compared with; None where no memory per draw is asked for.
      max_runs: at most so many timed runs; 0 compiles it for its memory and does not run it.
      share: of the case's work that one run does. Times are divided by it.
      arithmetic: what it is done in, where that is not the case's.
      prepare: `(Program, key) -> Compiled`: `ahead_of_time`, or `called` where the work is more than one pure function.
    """

    name: str
    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    gradient: Callable[[Any], Any] | None = None
    counted: float = 1.0
    fewer: Fewer | None = None
    max_runs: int = sys.maxsize
    share: float = 1.0
    arithmetic: Arithmetic | None = None
    prepare: Callable[["Program", jax.Array], Compiled] = ahead_of_time


class Case(NamedTuple):
    """Programs that do the same work, timed in turns.

    Attributes:
      name: what the work is, as the table calls it.
      model: what it is done with.
      num_samples: K or S, draws per datum.
      batch_size: B.
      num_steps: steps in one call; milliseconds, draws and operations are those of one step.
      num_fits: fits that one call does at once.
      arithmetic: what it is done in.
      programs: the reference first.
    """

    name: str
    model: str
    num_samples: int
    batch_size: int
    num_steps: int
    num_fits: int
    arithmetic: Arithmetic
    programs: tuple[Program, ...]


def of_program(case: Case, program: Program) -> Arithmetic:
    """Returns what one program of a case is done in."""
    return program.arithmetic or case.arithmetic
