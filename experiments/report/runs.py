"""The runs of one experiment in a folder of results, and which of them a reader should see.

Nothing found here is trusted: a run may still be going on, may have been killed while it wrote, or may be of another
year. What cannot be read is a `Broken` with the reason, never an error.
"""

import dataclasses
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from experiments import store

NAME = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}(-\d+)?")
"""What `provenance.stem` and `store.create` call the folder of a run."""

NEEDED = {"experiment": str, "status": str, "started": str, "config": dict, "seed": int, "argv": list}
OPTIONAL = {"git": dict, "packages": dict, "device": dict, "seconds": int | float}
STATUSES = ("finished", "interrupted", "failed", "running")
KINDS = ("full", "custom", "quick")


class Run(NamedTuple):
    """A run that can be shown.

    Attributes:
      folder: of the run.
      record: its provenance.
      rows: as reported.
      kind: "full", the configuration that the experiment has today; "quick"; or "custom".
      changed: the settings that differ from the full configuration, as `name = value`.
    """

    folder: Path
    record: dict[str, Any]
    rows: pd.DataFrame
    kind: str
    changed: tuple[str, ...]


class Broken(NamedTuple):
    """A folder of a run that cannot be shown, and why."""

    folder: Path
    reason: str


def found(results: Path, name: str, config: Any) -> tuple[list[Run], list[Broken]]:
    """Returns the runs of `results/name`, the one to show first, and the folders that cannot be shown.

    A finished run goes before one that was interrupted, failed or never said how it ended; then the full configuration
    before others, and the quick one last; then the newest.

    Args:
      results: the folder of all results, as `--out` of the experiments.
      name: of the experiment.
      config: its full configuration.
    """
    parent = results / name
    here = parent.iterdir() if parent.is_dir() else ()
    folders = sorted((path for path in here if NAME.fullmatch(path.name)), key=age)
    all_ = [opened(folder, name, config) for folder in folders]
    newest_first = [run for run in reversed(all_) if isinstance(run, Run)]
    return sorted(newest_first, key=rank), [broken for broken in all_ if isinstance(broken, Broken)]


def age(folder: Path) -> tuple[str, int]:
    """Returns what is larger of the run that was started later: the time, and the suffix of those of one second."""
    time, suffix = folder.name[:25], folder.name[26:]
    return time, int(suffix or 1)


def rank(run: Run) -> tuple[int, int]:
    """Returns what the better run has less of."""
    return STATUSES.index(run.record["status"]), KINDS.index(run.kind)


def opened(folder: Path, name: str, config: Any) -> Run | Broken:
    """Reads a folder."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return Broken(folder, "is empty: the run was killed at its start")
    try:
        record = store.read_provenance(folder)
    except SystemExit:
        return Broken(folder, "has no provenance.json that can be read")
    if fault := wrong(record, name):
        return Broken(folder, f"{fault} in provenance.json")
    try:
        rows = store.read(folder)
    except SystemExit:
        return Broken(folder, f"has no rows; {ending(record)}")
    except ValueError as error:
        return Broken(folder, f"rows.csv cannot be read: {error}")
    if rows.empty:
        return Broken(folder, f"has no rows; {ending(record)}")
    if cut_off(folder / "rows.csv"):
        return Broken(folder, f"rows.csv ends in the middle of a line; {ending(record)}")
    return Run(folder, record, rows, *described(record, config))


def cut_off(path: Path) -> bool:
    """Whether the last line of a file has no end: its writer was killed, or a copy of it was."""
    with open(path, "rb") as file:
        file.seek(-1, 2)
        return file.read(1) != b"\n"


def wrong(record: Any, name: str) -> str:
    """Returns what a provenance lacks, or ""."""
    if not isinstance(record, dict):
        return f"has {type(record).__name__} where a record should be"
    missing = [key for key, kind in NEEDED.items() if not isinstance(record.get(key), kind)]
    if missing:
        return f"lacks {', '.join(missing)}"
    odd = [key for key, kind in OPTIONAL.items() if not isinstance(record.get(key), kind | None)]
    if odd:
        return f"says nothing that can be read of {', '.join(odd)}"
    if not math.isfinite(record.get("seconds") or 0):
        return f"has seconds = {record['seconds']}"
    if record["experiment"] != name:
        return f"names another experiment, {record['experiment']!r},"
    return "" if record["status"] in STATUSES else f"has an unknown status, {record['status']!r},"


def ending(record: dict[str, Any]) -> str:
    """Returns how a run ended, in words."""
    if record["status"] == "running":
        return "running: it goes on, or its process was killed"
    message = record.get("message")
    return f"{record['status']}: {message}" if message else str(record["status"])


def described(record: dict[str, Any], config: Any) -> tuple[str, tuple[str, ...]]:
    """Returns the kind of a run, and the settings that differ from `config`."""
    full = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    now = record["config"]
    names = dict.fromkeys([*full, *now])
    changed = tuple(f"{key} = {now.get(key, 'none')}" for key in names if now.get(key) != full.get(key))
    if "--quick" in record["argv"]:
        return "quick", changed
    return ("custom", changed) if changed else ("full", ())


def unknown(results: Path, names: Sequence[str]) -> list[str]:
    """Returns the folders of `results` that hold runs of commands outside the story, as `bench`."""
    if not results.is_dir():
        return []
    here = (path for path in results.iterdir() if path.is_dir() and path.name not in names)
    return sorted(path.name for path in here if any(NAME.fullmatch(run.name) for run in path.iterdir()))
