"""Where the files of a data set are: an explicit path, VI_JAX_DATA, the user's cache, a system package, a download."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vi_jax.data.download import Download, Remote, fetch, retrieve
from vi_jax.data.formats import Arrays


class Container(NamedTuple):
    """Files that hold a data set together, and their reader.

    Attributes:
      files: their names in one folder.
      read: `(*paths) -> {part: array}`, in the order of `files`; raises `ValueError` for a damaged file.
    """

    files: tuple[str, ...]
    read: Callable[..., Arrays]


class Source(NamedTuple):
    """All there is to know about the whereabouts of one data set.

    Attributes:
      name: what errors call it.
      folders: below a place, the folders to look into; the first is the one that a download goes to.
      containers: the forms it is passed around in; the first that a folder holds is read.
      sha256: of each part, its bytes row by row as the readers return them: the data, whatever file held them. A part
        that is not listed is not verified.
      home: where a person finds it.
      system: folders of system packages.
      downloads: files that together are the first container; none, if no checksum of a file is known.
    """

    name: str
    folders: tuple[str, ...]
    containers: tuple[Container, ...]
    sha256: Mapping[str, str]
    home: str
    system: tuple[str, ...] = ()
    downloads: tuple[Remote, ...] = ()


def find(source: Source, path: str | os.PathLike[str] | None = None, *, download: Download = retrieve) -> Arrays:
    """Reads a data set from the first place that holds it, and verifies what it read.

    With a path, only there. Else in the folder that the environment variable `VI_JAX_DATA` names, the user's cache
    (`$XDG_CACHE_HOME/vi_jax/data` or `~/.cache/vi_jax/data`), the folder of a system package, and last on the network,
    into the cache. The first place with all files of a container decides: if those are damaged or other data, that is
    an error, never a reason to go on.

    Args:
      source: what to look for.
      path: a folder, or the one file of a container, under any name with the right suffix.
      download: how to fetch one file.

    Returns:
      The parts of the data set.

    Raises:
      FileNotFoundError: it is nowhere; with everything that was tried, and the remedy.
      ValueError: the files that decide are damaged, or hold other data than the checksum names.
    """
    if path is not None:
        return _given(source, Path(path).expanduser())
    tried = [] if os.environ.get("VI_JAX_DATA") else ["VI_JAX_DATA: not set"]
    for label, folder in _places(source):
        held, lacks = _held(source, folder)
        if held:
            return _read(source, *held, tried)
        tried.append(f"{label} {folder}: {lacks}")
    target = _cache() / source.folders[0]
    failures = fetch(source.downloads, target, download)
    if failures:
        raise FileNotFoundError(_message(source, "was not found", tried + failures))
    return _given(source, target)


def _places(source: Source) -> Iterator[tuple[str, Path]]:
    root = os.environ.get("VI_JAX_DATA")
    roots = [("VI_JAX_DATA", Path(root).expanduser())] if root else []
    for label, place in [*roots, ("cache", _cache())]:
        yield from ((label, place / folder) for folder in source.folders)
    yield from (("system package", Path(folder)) for folder in source.system)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vi_jax" / "data"


def _held(source: Source, folder: Path) -> tuple[tuple[Container, list[Path]] | None, str]:
    """The first container whose files are all there, or what is missing."""
    if not folder.is_dir():
        return None, "no such folder"
    lacks = "none of the files"
    for container in source.containers:
        missing = [file for file in container.files if not (folder / file).is_file()]
        if not missing:
            return (container, [folder / file for file in container.files]), ""
        if len(missing) < len(container.files):
            lacks = f"incomplete, without {', '.join(missing)}"
    return None, lacks


def _given(source: Source, path: Path) -> Arrays:
    if path.is_file():
        held, lacks = _alone(source, path), f"one file, and no form of {source.name} is a single {path.suffix} file"
    else:
        held, lacks = _held(source, path)
    if not held:
        raise FileNotFoundError(_message(source, "was not found", [f"path {path}: {lacks}"]))
    return _read(source, *held, [])


def _alone(source: Source, file: Path) -> tuple[Container, list[Path]] | None:
    """The container of one file that has this one's suffix, whatever its name."""
    for container in source.containers:
        if len(container.files) == 1 and Path(container.files[0]).suffix == file.suffix:
            return container, [file]
    return None


def _read(source: Source, container: Container, paths: list[Path], tried: list[str]) -> Arrays:
    try:
        parts = container.read(*paths)
        for part, expected in source.sha256.items():
            digest = sha256_of(parts[part])
            if digest != expected:
                raise ValueError(
                    f"{', '.join(map(str, paths))}: the {part} data have SHA-256 {digest}, not {expected}. "
                    "They are damaged or other data, and results would not compare."
                )
    except ValueError as error:
        raise ValueError(
            _message(source, "was found, but damaged, or there are other data in its place", [*tried, str(error)])
        ) from error
    return parts


def sha256_of(array: np.ndarray) -> str:
    """SHA-256 of the numbers of an array, row by row, in their own dtype."""
    return hashlib.sha256(array.tobytes()).hexdigest()


def _message(source: Source, problem: str, tried: list[str]) -> str:
    forms = ", or ".join(" and ".join(container.files) for container in source.containers)
    remedy = (
        f"Remedy: get {forms}, from {source.home}, into DIR/{source.folders[0]} and set VI_JAX_DATA=DIR in the "
        "environment; or name the folder by the argument path=."
    )
    return "\n  ".join([f"{source.name} {problem}. Tried:", *tried, remedy])
