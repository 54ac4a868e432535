"""Checkpoints: any pytree of arrays on disk by orbax, whole or not at all, read only if it is what was written.

    <folder>/<step>/arrays/    the leaves, named by their paths, as orbax keeps them
    <folder>/<step>/manifest   what they must be

A checkpoint is written under another name, waited for until it is on disk, and renamed: a process killed at any moment
leaves the checkpoints before it as they were.
"""

import contextlib
import errno
import math
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vi_jax.training import manifest
from vi_jax.training.one_error import one_error
from vi_jax.types import PyTree

WRITING = "writing-"


class Restored(NamedTuple):
    """A checkpoint, read back.

    Attributes:
      tree: what was saved, bit for bit, on the default device; typed keys are typed keys.
      step: its number.
      path: its folder.
      damaged: a line for each newer checkpoint, which could not be used.
    """

    tree: PyTree
    step: int
    path: Path
    damaged: tuple[str, ...]


def save(folder: Path, step: int, tree: PyTree, *, about: Mapping[str, Any], keep: int = 3) -> Path:
    """Writes a checkpoint and waits for the disk; then removes all but the newest n up to it, and all beyond it.

    Beyond it are only those that `restore` found damaged. Price: a copy of the tree on the host, and 60 ms or more for
    the files. One process at a time may write to a folder.

    Args:
      folder: of the checkpoints of one run; made if it is not there.
      step: the number of the checkpoint, at least 0.
      tree: leaves of any shape and type, typed keys included: a `TrainState`, alone or with its history.
      about: what the run is, as JSON: `restore` refuses a run that differs in any of it.
      keep: n ≥ 2, so that there is one before the newest.

    Returns:
      The folder of the checkpoint.

    Raises:
      OSError: what could not be written, why, and the remedy. The checkpoints that were there are as they were.
      ValueError: a step below 0, or fewer than 2 to keep.
      ModuleNotFoundError: orbax is not installed.
    """
    if step < 0 or keep < 2:
        raise ValueError(f"step must be at least 0 and keep at least 2, got {step} and {keep}.")
    _orbax()
    target, temporary = folder / f"{step:010d}", folder / f"{WRITING}{step:010d}"
    replaced = folder / f"{WRITING}replaced"
    leaves = _named(tree)
    arrays = {name: _as_numpy(leaf) for name, leaf in leaves.items()}
    try:
        _remove(folder.glob(f"{WRITING}*"))
        temporary.mkdir(parents=True)
        _check_space(folder, arrays)
        _write(temporary / "arrays", arrays)
        manifest.write(temporary, temporary / "arrays", about, {name: _kind(leaf) for name, leaf in leaves.items()})
        if target.exists():
            os.rename(target, replaced)
        os.rename(temporary, target)
        manifest.sync(folder)
    except OSError as error:
        _remove([temporary])
        if not target.exists():
            with contextlib.suppress(OSError):
                os.rename(replaced, target)  # One of this step that was there is as it was, too.
        remedy = "Free some space or choose another folder; the checkpoints before it are whole."
        raise OSError(f"cannot write the checkpoint {target}: {_reason(error)}. {remedy}") from error
    paths = _checkpoints(folder)
    here = paths.index(target)
    _remove((*paths[: max(here + 1 - keep, 0)], *paths[here + 1 :], *folder.glob(f"{WRITING}*")))
    return target


def restore(folder: Path, like: Callable[[int], PyTree], *, about: Mapping[str, Any]) -> Restored | None:
    """Returns the newest checkpoint that is whole; None if there is none at all.

    Args:
      folder: of the checkpoints of one run.
      like: `step -> tree` with the structure, shapes and dtypes of what was saved at that step; `jax.eval_shape` gives
        one without computing it.
      about: what the run is; what was saved must have the same.

    Raises:
      ValueError: the checkpoint is of another run, of another format, or not like `like`; or all are damaged. Each
        names the folder, the difference and the remedy.
    """
    damaged = []
    for path in reversed(_checkpoints(folder)):
        found, why = manifest.read(path, path / "arrays")
        if why:
            damaged.append(f"{path} is damaged: {why}")
            continue
        manifest.check_same_run(path, found, about)
        step = int(path.name)
        return Restored(_read(path, found, like(step)), step, path, tuple(damaged))
    if damaged:
        raise ValueError(f"no checkpoint can be used: {'; '.join(damaged)}. Remove {folder} to start anew.")
    return None


def _checkpoints(folder: Path) -> list[Path]:
    """Those that were written to their end, oldest first."""
    return sorted((path for path in folder.glob("*") if path.name.isdecimal()), key=lambda path: int(path.name))


def _remove(folders: Any) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _check_space(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Raises at a full disk before anything is written, which is quicker and clearer than in the middle."""
    if shutil.disk_usage(folder).free < sum(array.nbytes for array in arrays.values()):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _reason(error: Exception) -> str:
    """What the operating system said, in its words, through whatever raised it."""
    code = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(code[1])) if code else getattr(error, "strerror", None) or str(error).partition("\n")[0]


def _orbax() -> Any:
    """Orbax, imported where it is needed: `vi_jax` does without."""
    try:
        import orbax.checkpoint as ocp
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "checkpoints are written by orbax, which is not installed: pip install 'vi-jax[experiments]'"
        ) from error
    return ocp


def _write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    # Orbax keeps no array without numbers, and no tree without arrays; `_read` makes those anew.
    kept = {name: array for name, array in arrays.items() if array.size}

    def write() -> None:
        with _orbax().PyTreeCheckpointer() as checkpointer:
            checkpointer.save(path.resolve(), kept)

    if kept:
        one_error(write, path.parent, _reason)
    else:
        path.mkdir()


def _read(path: Path, found: Mapping[str, Any], like: PyTree) -> PyTree:
    leaves, arrays = _named(like), {}
    manifest.check_same_leaves(path, found, {name: _kind(leaf) for name, leaf in leaves.items()})
    if any(math.prod(jnp.shape(leaf)) for leaf in leaves.values()):
        with _orbax().PyTreeCheckpointer() as checkpointer:
            arrays = checkpointer.restore((path / "arrays").resolve())
    return jax.tree.unflatten(
        jax.tree.structure(like), [_as_leaf(arrays.get(name), leaf) for name, leaf in leaves.items()]
    )


def _named(tree: PyTree) -> dict[str, Any]:
    """The leaves by their paths, in order."""
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _kind(leaf: Any) -> str:
    """The type and shape of a leaf; of keys, the type names the generator."""
    return f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}"


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key)


def _as_numpy(leaf: Any) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _as_leaf(array: np.ndarray | None, like: Any) -> jax.Array:
    if array is None:
        return jnp.zeros(jnp.shape(like), jnp.result_type(like))
    if _is_key(like):
        return jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(jnp.empty(0, like.dtype)))
    return jnp.asarray(array, jnp.result_type(like))
