"""Checkpoints: what was saved, bit for bit, or one line that says why not; a failed write costs nothing."""

import errno
import gc
import os
import resource
import shutil
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vi_jax.training import checkpoint, manifest
from vi_jax.training.optimizers import separate
from vi_jax.training.step import init_state
from vi_jax.types import Params

ABOUT = {"seed": 0, "hidden": (50, 20)}
OPTIMIZER = separate(
    theta=optax.inject_hyperparams(optax.adam)(learning_rate=0.1),
    phi=optax.apply_if_finite(optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1)), 3),
)
PARAMS = Params((), {"w": jnp.array([[1 / 3, -0.0], [jnp.inf, jnp.nan]]), "half": jnp.ones(2, jnp.bfloat16)})
EXTRA = {"keys": jax.random.split(jax.random.key(1), 3), "none": jnp.zeros((0, 4)), "flag": jnp.array(True)}
STATE = init_state(jax.random.key(5, impl="rbg"), OPTIMIZER, PARAMS, extra=EXTRA)


def bits(leaf):
    leaf = jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
    return np.asarray(leaf).tobytes()


def restored(folder, like=STATE, about=ABOUT):
    return checkpoint.restore(folder, lambda step: like, about=about)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints") / "made"
    for step in (10, 20, 30, 40):
        checkpoint.save(folder, step, STATE._replace(step=jnp.int32(step)), about=ABOUT)
    return folder


@pytest.fixture
def folder(three, tmp_path):
    return shutil.copytree(three, tmp_path / "copy")


def test_every_bit_type_and_key_comes_back(three):
    found = restored(three, jax.eval_shape(lambda: STATE))
    assert found.step == found.tree.step == 40
    assert found.path == three / "0000000040"
    assert found.damaged == ()
    expected = STATE._replace(step=jnp.int32(40))
    assert jax.tree.structure(found.tree) == jax.tree.structure(expected)
    for leaf, read in zip(jax.tree.leaves(expected), jax.tree.leaves(found.tree), strict=True):
        assert (leaf.dtype, leaf.shape, bits(leaf)) == (read.dtype, read.shape, bits(read))


def test_the_newest_are_kept_and_nothing_else_is_left(three):
    assert names(three) == ["0000000020", "0000000030", "0000000040"]
    assert checkpoint.restore(three / "none", lambda step: STATE, about=ABOUT) is None


@pytest.mark.parametrize("how", ["truncated", "changed", "missing", "added", "manifest"])
def test_a_newest_that_is_damaged_is_reported_and_the_one_before_is_used(folder, how):
    newest = folder / "0000000040"
    largest = max((path for path in (newest / "arrays").rglob("*") if path.is_file()), key=lambda p: p.stat().st_size)
    data = largest.read_bytes()
    {
        "truncated": lambda: largest.write_bytes(data[: len(data) // 2]),
        "changed": lambda: largest.write_bytes(bytes([data[0] ^ 1]) + data[1:]),
        "missing": largest.unlink,
        "added": lambda: (newest / "arrays" / "more").write_bytes(b""),
        "manifest": lambda: (newest / manifest.FILE).write_bytes((newest / manifest.FILE).read_bytes()[:-9]),
    }[how]()
    found = restored(folder)
    assert found.step == found.tree.step == 30
    assert len(found.damaged) == 1
    assert str(newest) in found.damaged[0]
    # The run goes on from 30, and what it saves at 40 takes the place of the damaged one.
    checkpoint.save(folder, 35, STATE, about=ABOUT, keep=2)
    assert names(folder) == ["0000000030", "0000000035"]


def test_all_damaged_is_one_error(folder):
    for path in folder.iterdir():
        (path / manifest.FILE).unlink()
    with pytest.raises(ValueError, match=r"no checkpoint can be used: .*40 is damaged.*20 is damaged.*to start anew"):
        restored(folder)


@pytest.mark.parametrize(
    ("about", "like", "message"),
    [
        (ABOUT | {"seed": 1}, STATE, r"another run \(seed was 0 and is 1\)"),
        ({"seed": 0}, STATE, r"hidden was \[50, 20\] and is None"),
        (ABOUT, STATE._replace(extra=()), r"holds .extra\['flag'\] as bool\[\].* has nothing there"),
        (ABOUT, STATE._replace(step=jnp.zeros(2, jnp.int32)), r"holds .step as int32\[\].* has int32\[2\] there"),
        (ABOUT, STATE._replace(key=jax.random.key(0)), r"holds .key as key<rbg>\[\].* has key<fry>\[\] there"),
    ],
)
def test_a_folder_of_another_run_is_refused_by_name(three, about, like, message):
    with pytest.raises(ValueError, match=message):
        restored(three, like, about)


def test_another_format_is_refused(three, monkeypatch):
    monkeypatch.setattr(manifest, "FORMAT", 2)
    with pytest.raises(ValueError, match="has format 1, this version reads 2"):
        restored(three)


def assert_intact(folder):
    assert [name for name in names(folder) if name.isdecimal()] == ["0000000020", "0000000030", "0000000040"]
    assert restored(folder).step == 40


def test_a_disk_without_room_is_one_line_before_anything_is_written(folder, monkeypatch):
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(OSError, match="0000000050: No space left on device. Free some space"):
        checkpoint.save(folder, 50, STATE, about=ABOUT)
    assert_intact(folder)


def test_a_disk_that_fills_in_the_middle_of_the_arrays_is_one_line_and_costs_nothing(folder, monkeypatch, caplog):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for _ in range(3):
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
        try:
            with pytest.raises(OSError, match="0000000050: File too large. Free some space or choose another"):
                checkpoint.save(folder, 50, STATE, about=ABOUT)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        # The other arrays fail as well: nothing is told of them, now or when they are collected, and nothing is left.
        assert names(folder) == ["0000000020", "0000000030", "0000000040"]
    gc.collect()
    assert (told, caplog.text) == ([], "")
    assert_intact(folder)


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_disk_that_refuses_at_the_end_costs_nothing(folder, call, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    real = os.rename
    monkeypatch.setattr(
        os, call, refuse if call == "fsync" else lambda a, b: refuse() if manifest.FILE in names_at(a) else real(a, b)
    )
    with pytest.raises(OSError, match="0000000050: No space left on device"):
        checkpoint.save(folder, 50, STATE, about=ABOUT)
    monkeypatch.undo()
    assert_intact(folder)


@pytest.mark.parametrize("tree", [{}, {"none": jnp.zeros((0, 3))}])
def test_a_tree_without_numbers_is_a_checkpoint_too(tmp_path, tree):
    checkpoint.save(tmp_path, 1, tree, about=ABOUT)
    found = restored(tmp_path, tree).tree
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, tree)


def test_without_orbax_it_is_one_line_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'vi-jax\[experiments\]'"):
        checkpoint.save(tmp_path / "run", 1, STATE, about=ABOUT)
    assert not (tmp_path / "run").exists()


def names_at(path):
    return os.listdir(path) if os.path.isdir(path) else []


def test_one_of_the_same_step_is_kept_if_the_new_one_cannot_take_its_place(folder, monkeypatch):
    real, newest = os.rename, folder / "0000000040"

    def refuse(source, target):
        if source == folder / f"{checkpoint.WRITING}0000000040":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(OSError, match="0000000040: Input/output error"):
        checkpoint.save(folder, 40, STATE._replace(step=jnp.int32(7)), about=ABOUT)
    assert restored(folder).path == newest
    assert restored(folder).tree.step == 40
    assert names(folder) == ["0000000020", "0000000030", "0000000040"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write the checkpoint .*file.*: Not a directory"):
        checkpoint.save(tmp_path / "file" / "deeper", 1, STATE, about=ABOUT)


@pytest.mark.skipif(os.getuid() == 0, reason="nothing is read-only for the superuser")
def test_a_folder_that_is_read_only_is_one_line(folder):
    folder.chmod(0o500)
    with pytest.raises(OSError, match="Permission denied"):
        checkpoint.save(folder, 50, STATE, about=ABOUT)
    folder.chmod(0o700)
    assert_intact(folder)


def test_what_a_killed_write_left_behind_is_no_checkpoint_and_is_removed(folder):
    shutil.copytree(folder / "0000000040", folder / f"{checkpoint.WRITING}0000000050")
    assert restored(folder).step == 40
    checkpoint.save(folder, 50, STATE, about=ABOUT)
    assert names(folder) == ["0000000030", "0000000040", "0000000050"]


def test_the_same_step_may_be_saved_again(folder):
    checkpoint.save(folder, 40, STATE._replace(step=jnp.int32(7)), about=ABOUT)
    assert restored(folder).tree.step == 7


@pytest.mark.parametrize(("step", "keep"), [(-1, 3), (1, 1)])
def test_numbers_that_are_none_are_refused(tmp_path, step, keep):
    with pytest.raises(ValueError, match=f"at least 0 and keep at least 2, got {step} and {keep}"):
        checkpoint.save(tmp_path, step, STATE, about=ABOUT, keep=keep)
