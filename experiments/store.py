"""The folder of a run: made fresh, filled row by row, never overwritten.

    <out>/<experiment>/<UTC time>-<hash of the configuration>/
      provenance.json   what produced the rows; written first, completed last
      rows.csv          every block of rows, on disk as soon as it is reported
      figure.png, figure.svg

What cannot be written ends the program with one line that names the path and the remedy (a `SystemExit` with a message,
status 1), not with a traceback.
"""

import contextlib
import itertools
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

Block = pd.DataFrame | Sequence[Mapping[str, Any]]

REMEDY = "Free some space, or choose another folder with --out DIR."


@contextlib.contextmanager
def writing(path: Path, remedy: str = REMEDY) -> Iterator[None]:
    """Turns an operating system's refusal to write `path` into one line and exit status 1."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise SystemExit(f"error: cannot write {path}: {reason}. {remedy}") from error


def create(out: Path, experiment: str, stem: str) -> Path:
    """Makes and returns the new folder `out/experiment/stem`, or `stem-2`, `stem-3`, … if that one is taken.

    Making a folder is atomic, so that two runs started in the same second never share one.
    """
    parent = out / experiment
    with writing(parent):
        for part in (parent, *parent.parents):
            if part.is_file():
                raise SystemExit(f"error: {part} is a file, not a folder. Choose another folder with --out DIR.")
        parent.mkdir(parents=True, exist_ok=True)
        for suffix in itertools.chain([""], (f"-{n}" for n in itertools.count(2))):
            with contextlib.suppress(FileExistsError):
                (parent / f"{stem}{suffix}").mkdir()
                return parent / f"{stem}{suffix}"
    raise AssertionError("unreachable: itertools.count does not end")


def as_scalar(value: Any) -> Any:
    """Returns the cell as a NumPy scalar; waits for a `jax.Array` to be computed.

    Raises:
      ValueError: the value is an array with axes.
    """
    array = np.asarray(value)
    if array.ndim:
        raise ValueError(f"a cell holds an array of shape {array.shape}; yield one row per number")
    return array[()]


def as_frame(block: Block) -> pd.DataFrame:
    """Returns a block of rows as a frame of scalars.

    Raises:
      ValueError: the block is one bare row, or a cell is not a scalar.
    """
    if isinstance(block, Mapping):
        raise ValueError(f"a block of rows is a DataFrame or a list of dicts; yield [row], not the row {block!r}")
    return pd.DataFrame(block).map(as_scalar)


def append(folder: Path, rows: pd.DataFrame) -> None:
    """Appends rows to `rows.csv` and waits until they are on disk. The first block fixes the columns.

    Floats are written with as many digits as it takes to read the same number back.

    Raises:
      ValueError: the columns differ from those of the first block.
      SystemExit: the disk refused. The blocks before this one stay whole.
    """
    if rows.empty:
        return
    path = folder / "rows.csv"
    with writing(path):
        size = path.stat().st_size if path.exists() else 0
    columns = list(pd.read_csv(path, nrows=0).columns) if size else list(rows.columns)
    if set(columns) != set(rows.columns):
        raise ValueError(
            f"rows have columns {sorted(rows.columns)}, the first block had {sorted(columns)}; "
            "give every row every column, NaN where it has no value"
        )
    text = rows[columns].to_csv(index=False, header=not size, lineterminator="\n")
    with writing(path):
        append_durably(path, text.encode(), size)


def append_durably(path: Path, data: bytes, size: int) -> None:
    """Appends `data` to a file of `size` bytes and waits for the disk; on failure cuts the file back to `size`."""
    try:
        with open(path, "ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            os.truncate(path, size)
        raise


def read(folder: Path) -> pd.DataFrame:
    """Returns the rows of a run, as reported.

    Raises:
      SystemExit: there is no `rows.csv`, or it is empty.
    """
    path = folder / "rows.csv"
    try:
        return pd.read_csv(path, keep_default_na=False, na_values=[""])
    except (OSError, pd.errors.EmptyDataError) as error:
        raise SystemExit(f"error: no rows in {path}: the run has reported none.") from error


def copy(source: Path, target: Path) -> None:
    """Copies a file, whole or not at all; makes the folder it goes to."""
    temporary = target.with_name(target.name + ".tmp")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, temporary)
        os.replace(temporary, target)


def write_provenance(folder: Path, record: Mapping[str, Any]) -> None:
    """Writes `provenance.json` whole or not at all."""
    text = json.dumps(record, indent=2, default=str, ensure_ascii=False) + "\n"
    replace(folder / "provenance.json", text.encode())


def replace(path: Path, data: bytes, remedy: str = REMEDY) -> None:
    """Writes a file whole or not at all, and waits for the disk; makes the folder it goes to.

    What is on its way has a name that no other process writes to, and is removed where it does not arrive.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with writing(path, remedy):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def read_provenance(folder: Path) -> dict[str, Any]:
    """Returns the provenance of a run.

    Raises:
      SystemExit: `folder` is not the folder of a run.
    """
    path = folder / "provenance.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: cannot read {path}: give the folder of a run, as printed at its end.") from error
