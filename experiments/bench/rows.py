"""From what was measured to rows: per step, beside the case's reference, NaN with a reason where nothing is known."""

import math
from typing import Any, NamedTuple

import numpy as np

from experiments import intervals
from experiments.bench import variance
from experiments.bench.programs import Case, Compiled, Program, of_program

NO_GRADIENT = "variance: no single gradient is returned"
TOO_LARGE = "time: its temporaries do not fit the memory that is left"
TERA = 1e12


class Measured(NamedTuple):
    """All that is known of one program; the fields are those of `Compiled` and `run.Timed`."""

    program: Program
    compiled: Compiled
    bytes_per_draw: float
    seconds: np.ndarray
    squares: np.ndarray
    peak_bytes: float
    notes: tuple[str, ...]
    did_fit: bool


def rows(
    case: Case, measured: list[Measured], matmul_seconds: np.ndarray, matmul_size: int, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Returns one row per program, the reference first. Lists hold a number per finished run."""
    return [row(case, mine, measured[0], matmul_seconds, matmul_size, rng) for mine in measured]


def row(
    case: Case,
    mine: Measured,
    reference: Measured,
    matmul_seconds: np.ndarray,
    matmul_size: int,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Returns what is known of one program."""
    compiled, seconds = mine.compiled, mine.seconds
    milliseconds = 1000 * seconds / case.num_steps
    quartiles = dict(zip(("_q1", "", "_q3"), three_quartiles(milliseconds), strict=True))
    draws = case.num_samples * case.batch_size * case.num_fits
    return {
        **{name: getattr(case, name) for name in ("name", "model")},
        "program": mine.program.name,
        "arithmetic": case.arithmetic.name,
        **{name: getattr(of_program(case, mine.program), name) for name in ("dtype", "precision")},
        **{name: getattr(case, name) for name in ("num_samples", "batch_size", "num_steps", "num_fits")},
        "num_runs": seconds.size,
        "trace_seconds": compiled.trace_seconds,
        "compile_seconds": compiled.compile_seconds,
        **{f"milliseconds{end}": value for end, value in quartiles.items()},
        **median_ratio(seconds, reference.seconds),
        "draws_per_second": 1000 * draws / quartiles[""],
        "flops": compiled.flops,
        "flops_ratio": _divided(compiled.flops, reference.compiled.flops),
        "bytes_accessed": compiled.bytes_accessed,
        "temporary_bytes": compiled.temporary_bytes,
        "temporary_ratio": _divided(compiled.temporary_bytes, reference.compiled.temporary_bytes),
        "bytes_per_draw": mine.bytes_per_draw,
        "peak_bytes": mine.peak_bytes,
        **share_of_peak(reference.compiled.flops * case.num_steps, seconds, matmul_seconds, matmul_size),
        **variances(mine, reference, rng),
        "notes": "; ".join(_notes(mine, reference)),
        "run_milliseconds": milliseconds.tolist(),
        "matmul_milliseconds": (1000 * matmul_seconds[: seconds.size]).tolist(),
    }


def _divided(value: float, reference: float) -> float:
    return value / reference if reference > 0 else math.nan


def _notes(mine: Measured, reference: Measured) -> tuple[str, ...]:
    late = () if mine.did_fit else (TOO_LARGE,)
    no_gradient = () if mine.program.gradient else (NO_GRADIENT,)
    unknown_work = math.isnan(reference.compiled.flops)
    no_share = ("share of peak: the operations of the reference are not counted",) if unknown_work else ()
    return (*mine.compiled.notes, *mine.notes, *late, *no_gradient, *no_share)


def share_of_peak(flops: float, seconds: np.ndarray, matmul_seconds: np.ndarray, matmul_size: int) -> dict[str, float]:
    """Returns the speed of the matrix product beside the runs, and what part of it the case's work was done at.

        share = median over rounds of (operations / seconds) / (2 n³ / seconds of the product)

    The operations are those of the case's reference for all its programs: what a program computes twice is no work.
    """
    product = 2.0 * matmul_size**3
    rounds = min(seconds.size, matmul_seconds.size)
    shares = flops / product * matmul_seconds[:rounds] / seconds[:rounds]
    return {
        "matmul_size": matmul_size,
        "matmul_teraflops": float(np.median(product / matmul_seconds)) / TERA if matmul_seconds.size else math.nan,
        "peak_share": float(np.median(shares)) if rounds else math.nan,
    }


def variances(mine: Measured, reference: Measured, rng: np.random.Generator) -> dict[str, float]:
    """Returns the total variance of the gradient, of θ̄ and of φ̄, and what each costs beside the reference."""
    theta, phi = mine.squares.T
    parts = {"variance": theta + phi, "variance_theta": theta, "variance_phi": phi}
    columns: dict[str, float] = {}
    for name, values in parts.items():
        columns |= intervals.mean(name, values) if values.size else intervals.columns(name, 3 * (math.nan,))
    compared = variance.ratios(mine.squares, mine.seconds, reference.squares, reference.seconds, rng)
    return columns | compared


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
