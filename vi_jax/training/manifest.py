"""What a checkpoint's files must be, written beside them: read only if every byte is as it was written.

line 1   SHA-256 of everything after it
rest     format, what the run is, the kinds of the leaves, the SHA-256 of every file, as JSON
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FORMAT = 1
FILE = "manifest"


def write(folder: Path, files: Path, about: Mapping[str, Any], leaves: Mapping[str, str]) -> None:
    """Writes the manifest of `files` into `folder`, and waits until all of it is on disk."""
    found = {"format": FORMAT, "about": plain(about), "leaves": dict(leaves), "sha256": digests(files)}
    body = json.dumps(found, indent=1, sort_keys=True).encode()
    (folder / FILE).write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    for path in (*folder.rglob("*"), folder):
        sync(path)


def read(folder: Path, files: Path) -> tuple[dict[str, Any], str]:
    """Returns the manifest and "", or {} and why the files are not whole."""
    try:
        digest, _, body = (folder / FILE).read_bytes().partition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() != digest:
            return {}, f"its {FILE} is not as it was written"
        manifest = json.loads(body)
        # What another format means by its entries is not known here; `check_same_run` says so.
        written, found = manifest["sha256"], digests(files)
    except OSError as error:
        return {}, f"it cannot be read ({error.strerror})"
    changed = sorted(name for name in {*written, *found} if written.get(name) != found.get(name))
    return ({}, f"{', '.join(changed)} not as written") if changed else (manifest, "")


def check_same_run(path: Path, manifest: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Raises `ValueError` unless the checkpoint has this format and is of a run that is `about` the same."""
    if manifest["format"] != FORMAT:
        raise ValueError(f"{path} has format {manifest['format']}, this version reads {FORMAT}: use another folder.")
    saved, wanted = manifest["about"], plain(about)
    differing = [name for name in sorted({*saved, *wanted}) if saved.get(name) != wanted.get(name)]
    if differing:
        which = "; ".join(f"{name} was {saved.get(name)!r} and is {wanted.get(name)!r}" for name in differing)
        raise ValueError(f"{path} is of another run ({which}): resume with that configuration, or use another folder.")


def check_same_leaves(path: Path, manifest: Mapping[str, Any], leaves: Mapping[str, str]) -> None:
    """Raises `ValueError` unless the checkpoint has leaves of these names, types and shapes."""
    saved = manifest["leaves"]
    for name in sorted({*saved, *leaves}):
        if saved.get(name) != leaves.get(name):
            raise ValueError(
                f"{path} holds {name} as {saved.get(name, 'nothing')}, and the run that is to go on has "
                f"{leaves.get(name, 'nothing')} there: make model and optimizer as they were, or use another folder."
            )


def plain(about: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what is read back of it: tuples are lists in JSON, and paths are text."""
    return json.loads(json.dumps(dict(about), default=str, sort_keys=True))


def digests(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of every file below a folder, by its path there."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with open(path, "rb") as file:
            found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
