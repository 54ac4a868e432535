"""How fast and how large this device is: the square matrix product that every case is timed beside, and its memory."""

import functools
import math
import re
from pathlib import Path
from typing import Any

import jax

from experiments.bench.arithmetic import Arithmetic
from experiments.bench.programs import Compiled, Program, ahead_of_time

NAME = "matmul"

# Large enough that the product, and no transfer or launch, is what takes the time: 10 to 30 ms on two cores of a CPU,
# and half a millisecond or more on any accelerator.
SIZES = {"cpu": 1024}
SIZE_ELSEWHERE = 8192

MEMORY = Path("/proc/meminfo")


def matmul_size() -> int:
    """Returns n of the product [n, n] × [n, n] that suits this device."""
    return SIZES.get(jax.devices()[0].platform, SIZE_ELSEWHERE)


def matmul(size: int, arithmetic: Arithmetic) -> Program:
    """Returns the product of two matrices `[size, size]`, 2 size³ operations, in this arithmetic."""
    left, right = jax.random.normal(jax.random.key(0), (2, size, size)).astype(arithmetic.dtype)
    return Program(NAME, lambda key, left, right: left @ right, (left, right))


@functools.cache
def compiled_matmul(size: int, arithmetic: Arithmetic) -> tuple[Program, Compiled]:
    """Compiles `matmul` once for all cases."""
    program = matmul(size, arithmetic)
    with jax.default_matmul_precision(arithmetic.precision):
        return program, ahead_of_time(program, jax.random.key(0))


def memory_stats() -> dict[str, Any]:
    """Returns what the device says of its memory; empty where it says nothing, as a CPU."""
    return jax.devices()[0].memory_stats() or {}


def free_bytes() -> float:
    """Returns the memory that is left on the device, or on a host that runs Linux and is the device; else infinity."""
    stats = memory_stats()
    if "bytes_limit" in stats:
        return float(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    found = re.search(r"MemAvailable: *(\d+) kB", MEMORY.read_text()) if MEMORY.exists() else None
    return 1024.0 * int(found[1]) if found else math.inf


def peak_bytes() -> float:
    """Returns the most that this process has held on the device so far; NaN where the device does not say."""
    return float(memory_stats().get("peak_bytes_in_use", math.nan))
