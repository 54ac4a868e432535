"""Readers of the file formats in which these data sets are passed around: bytes in, arrays out, or one error."""

import contextlib
import gzip
import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn
from zipfile import BadZipFile, ZipFile, is_zipfile

import numpy as np

Arrays = dict[str, np.ndarray]

GZIP_MAGIC = b"\x1f\x8b"
ZIP_MAGIC = b"PK\x03\x04"
UNSIGNED_BYTES = 8
"""The type code of idx, third byte of the file, that images and labels have; the fourth is the number of axes."""


def read_idx(path: Path) -> np.ndarray:
    """Reads an idx file of unsigned bytes, compressed by gzip or not: its first two bytes tell, not its name.

    Header: two zero bytes, a type code, the number of axes, then the length of each axis as 4 bytes, the largest first.
    LeCun and Cortes, "The MNIST database of handwritten digits".

    Args:
      path: the file.

    Returns:
      uint8 of the shape that the header names.

    Raises:
      ValueError: the file cannot be read, is empty, of another format, or shorter or longer than its header says.
    """
    with _reading(path, "idx"):
        content = path.read_bytes()
        if content.startswith(GZIP_MAGIC):
            content = gzip.decompress(content)
        zeros, code, num_axes = struct.unpack_from(">HBB", content)
        shape = struct.unpack_from(f">{num_axes}I", content, 4)
        if (zeros, code) != (0, UNSIGNED_BYTES):
            _refuse(f"its first four bytes are {content[:4].hex()}, where 00 00 08 and a number of axes belong")
        pixels = np.frombuffer(content, np.uint8, offset=4 + 4 * num_axes)
        if pixels.size != np.prod(shape, dtype=np.int64):
            _refuse(f"its header names the shape {shape}, and {pixels.size} bytes follow")
        return pixels.reshape(shape)


def read_amat(path: Path, num_columns: int) -> np.ndarray:
    """Reads a text of binary rows, one datum a line: "0 1 1 … 0".

    Args:
      path: the file.
      num_columns: numbers in a row.

    Returns:
      `[N, num_columns]` uint8 of 0 and 1. Costs about three times the size of the text in memory.

    Raises:
      ValueError: the file cannot be read, is empty, or holds anything but rows of so many zeros and ones.
    """
    with _reading(path, "amat"):
        text = np.fromfile(path, np.uint8)
        digit = (text == ord("0")) | (text == ord("1"))
        space = np.isin(text, np.frombuffer(b" \r\n", np.uint8))
        if not np.all(digit | space):
            _refuse("it holds other characters than 0, 1, blanks and line ends")
        starts = np.flatnonzero(np.append([True], text[:-1] == ord("\n")))
        widths = np.add.reduceat(digit, starts, dtype=np.int32) if text.size else np.zeros(1, np.int32)
        if np.any(widths != num_columns):
            line = np.flatnonzero(widths != num_columns)[0]
            _refuse(f"line {line + 1} holds {widths[line]} numbers, not {num_columns}")
        return (text[digit] - np.uint8(ord("0"))).reshape(-1, num_columns)


def read_npz(path: Path, keys: tuple[str, ...]) -> Arrays:
    """Reads these arrays of bytes from a NumPy archive; pickled objects are refused, since reading one runs it.

    Args:
      path: the file.
      keys: names of the arrays.

    Returns:
      uint8 arrays of two axes or more.

    Raises:
      ValueError: the file cannot be read, is empty or truncated, lacks a key, or has something else under it.
    """
    arrays = _archived(path, keys)
    for key, array in arrays.items():
        if array.dtype != np.uint8 or array.ndim < 2:
            raise ValueError(f"{path}: {key} is {array.dtype}{list(array.shape)}, not bytes [N, ...]: other data.")
    return arrays


def read_draws(path: Path) -> Arrays:
    """Reads posterior draws and the names of their columns from a NumPy archive.

    Args:
      path: the file, with `draws` and `names`.

    Returns:
      `draws` `[S, P]` float64, finite; `names` `[P]`, strings.

    Raises:
      ValueError: the file cannot be read, is empty or truncated, or holds anything else.
    """
    arrays = _archived(path, ("draws", "names"))
    draws, names = arrays["draws"], arrays["names"]
    with _reading(path, "npz"):
        if draws.dtype != np.float64 or draws.ndim != 2 or not draws.size or not np.all(np.isfinite(draws)):
            _refuse(f"its draws, {draws.dtype}{list(draws.shape)}, are not [S, P] finite numbers in float64")
        if names.dtype.kind != "U" or names.shape != draws.shape[1:]:
            _refuse(f"it has {names.dtype}{list(names.shape)} for the names of {draws.shape[1]} columns")
    return arrays


def read_json(path: Path) -> Any:
    """Reads a JSON text, bare, compressed by gzip, or alone in a zip archive: its first bytes tell, not its name.

    Args:
      path: the file.

    Raises:
      ValueError: the file cannot be read, is empty or truncated, no JSON, or an archive of several files.
    """
    with _reading(path, "json"):
        content = path.read_bytes()
        if content.startswith(GZIP_MAGIC):
            content = gzip.decompress(content)
        elif content.startswith(ZIP_MAGIC):
            with ZipFile(path) as archive:
                (only,) = archive.namelist()
                content = archive.read(only)
        return json.loads(content)


def read_mat(path: Path, keys: tuple[str, ...]) -> Arrays:
    """Reads these variables of a MATLAB file, by SciPy; columns stay columns.

    Args:
      path: the file.
      keys: names of the variables.

    Raises:
      ValueError: the file cannot be read, is empty or truncated, or lacks a variable.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    with _reading(path, "mat", MatReadError, NotImplementedError, TypeError):
        variables = loadmat(path, variable_names=keys)
        _require(keys, variables.keys())
        return {key: variables[key] for key in keys}


def read_integers(path: Path, num_columns: int, num_headers: int) -> np.ndarray:
    """Reads a text of rows of integers, between commas or blanks.

    Args:
      path: the file.
      num_columns: numbers in a row.
      num_headers: lines to skip at the top.

    Returns:
      `[N, num_columns]` int16.

    Raises:
      ValueError: the file cannot be read, is empty, or a row holds something else.
    """
    with _reading(path, "table", OverflowError):
        lines = path.read_text(encoding="ascii").splitlines()[num_headers:]
        rows = [line.replace(",", " ").split() for line in lines if line.strip()]
        wrong = [number for number, row in enumerate(rows, 1) if len(row) != num_columns]
        if not rows or wrong:
            _refuse(f"row {wrong[0]} does not hold {num_columns} numbers" if wrong else "it has no rows")
        return np.array([[int(entry) for entry in row] for row in rows], np.int16)


def _archived(path: Path, keys: tuple[str, ...]) -> Arrays:
    with _reading(path, "npz"):
        if not is_zipfile(path):
            _refuse("it is no zip archive, or its end is missing")
        with np.load(path, allow_pickle=False) as archive:
            _require(keys, archive.keys())
            return {key: archive[key] for key in keys}


@contextlib.contextmanager
def _reading(path: Path, form: str, *more: type[Exception]) -> Iterator[None]:
    broken = (OSError, EOFError, ValueError, LookupError, struct.error, zlib.error, BadZipFile, *more)
    try:
        yield
    except broken as error:
        reason = str(error) or type(error).__name__
        raise ValueError(
            f"{path} is no readable {form} file: {reason}. It is empty, truncated or something else: replace it."
        ) from error


def _refuse(reason: str) -> NoReturn:
    raise ValueError(reason)


def _require(keys: tuple[str, ...], found: Iterable[str]) -> None:
    names = sorted(name for name in found if not name.startswith("__"))
    missing = [key for key in keys if key not in names]
    if missing:
        _refuse(f"it lacks {', '.join(missing)} and has {', '.join(names) or 'nothing'}")
