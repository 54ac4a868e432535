"""Going on with a run in the folder of an earlier one: `--resume RUN_DIR`.

The arguments are those of the earlier run. What was trained is read from its checkpoints, which `training.train` finds
in the folder, and all rows are reported anew, so that they are of one piece.
"""

import dataclasses
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments import store

TOLD = ("started", "status", "seconds", "git", "packages", "device")
"""What the provenance of a resumed run keeps of each run before it."""


def has_checkpoints(folder: Path) -> bool:
    """Returns whether anything was saved that a run could go on from."""
    return any(path.name.isdecimal() for path in folder.rglob("checkpoints/*"))


def check_alone(chosen: Any, defaults: Any) -> None:
    """Ends the program if flags beside `--resume` change the configuration, which would be lost."""
    if chosen != defaults:
        raise SystemExit("error: --resume takes the configuration of the earlier run: leave out the other flags.")


def arguments(folder: Path) -> list[str]:
    """Returns the command line of the earlier run.

    Raises:
      SystemExit: the run saved nothing to go on from, or `folder` is not the folder of a run.
    """
    if not has_checkpoints(folder):
        raise SystemExit(f"error: no checkpoints in {folder}: the run saved none before it ended. Run it anew.")
    return store.read_provenance(folder)["argv"]


def reopen(folder: Path, config: Any) -> dict[str, Any]:
    """Sets the rows of the earlier run aside, as `rows-1.csv`, `rows-2.csv` and so on: they are to be reported anew.

    Args:
      folder: of the run.
      config: what its arguments mean now.

    Returns:
      What the provenance is to tell of the runs before.

    Raises:
      SystemExit: the arguments no longer mean what they did, as after a change of a default; or the disk refused.
    """
    before, now = store.read_provenance(folder), json.loads(json.dumps(dataclasses.asdict(config), default=str))
    saved = before["config"]
    if differing := sorted(name for name in {*saved, *now} if saved.get(name) != now.get(name)):
        which = "; ".join(f"{name} was {saved.get(name)!r} and is {now.get(name)!r}" for name in differing)
        raise SystemExit(f"error: {folder} has another configuration than its arguments give now: {which}.")
    rows = folder / "rows.csv"
    if rows.exists():
        # Not removed: until this run has come as far as the earlier one, they are all that was reported.
        with store.writing(rows):
            rows.rename(next(path for path in _numbered(folder) if not path.exists()))
    return {"earlier": [*before.get("earlier", []), {name: before[name] for name in TOLD if name in before}]}


def _numbered(folder: Path) -> Iterator[Path]:
    """Yields names for rows that are set aside; a count of the files could name one that is there."""
    return (folder / f"rows-{number}.csv" for number in itertools.count(1))
