"""`rows.jsonl`: a line per program, on disk as soon as its case is done, with all that a comparison needs."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments import store

NAME = "rows.jsonl"
PROVENANCE = ("experiment", "started", "git", "python", "packages", "device", "jax", "environment")
NEEDED = ("name", "program", "arithmetic", "batch_size", "num_steps", "device", "run_milliseconds")


def append(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Appends rows to the lines of a run, each with the run's provenance; waits until they are on disk.

    Raises:
      SystemExit: the disk refused; the lines before these stay whole.
    """
    record = store.read_provenance(folder)
    shared = {"run": folder.name} | {name: record[name] for name in PROVENANCE}
    lines = (json.dumps(shared | _plain(row), ensure_ascii=False, allow_nan=False) for row in rows)
    path = folder / NAME
    with store.writing(path):
        size = path.stat().st_size if path.exists() else 0
        store.append_durably(path, "".join(f"{line}\n" for line in lines).encode(), size)
    return path


def _plain(value: Any) -> Any:
    """Returns the value as JSON knows it, null for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read(path: Path) -> list[dict[str, Any]]:
    """Returns the lines of a run, given its folder or its file, or of several runs in one file.

    Raises:
      SystemExit: there is no such file, it is empty, or a line is none of `python -m experiments.bench`.
    """
    path = path / NAME if path.is_dir() else path
    remedy = "give the folder of a run of python -m experiments.bench, or its rows.jsonl."
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: cannot read {path}: {remedy}") from error
    lines = [_parsed(path, number, line) for number, line in enumerate(text.splitlines(), 1)]
    if not lines:
        raise SystemExit(f"error: {path} has no lines: {remedy}")
    return lines


def _parsed(path: Path, number: int, text: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except ValueError:
        line = None
    if not isinstance(line, dict) or any(name not in line for name in NEEDED):
        raise SystemExit(
            f"error: line {number} of {path} is no row of python -m experiments.bench: remove that line, or measure "
            "again."
        )
    return line
