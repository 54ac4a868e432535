import errno
import os
import threading
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from experiments import store


def test_every_scalar_comes_back_as_it_was_reported(tmp_path):
    block = [
        {
            "K": 4,
            "name": "NA",
            "value": 0.1 + 0.2,
            "tiny": 5e-324,
            "single": np.float32(1 / 3),
            "device": jnp.float32(-2 / 3),
            "infinite": -np.inf,
            "missing": np.nan,
            "usable": True,
        },
        {
            "K": 2**40,
            "name": 'a, "quoted"\nφ',
            "value": -1e300,
            "tiny": 0.0,
            "single": np.float32(0.1),
            "device": jnp.float32(1e30),
            "infinite": np.inf,
            "missing": 1.0,
            "usable": False,
        },
    ]
    store.append(tmp_path, store.as_frame(block))
    rows = store.read(tmp_path)
    for reported, read in zip(block, rows.to_dict("records"), strict=True):
        for name in ("K", "name", "value", "tiny", "infinite", "usable"):
            assert read[name] == reported[name]
        for name in ("single", "device"):
            assert np.float32(read[name]) == np.float32(reported[name])
        assert np.isnan(read["missing"]) == np.isnan(reported["missing"])


def test_the_order_of_columns_is_that_of_the_first_block(tmp_path):
    store.append(tmp_path, pd.DataFrame({"a": [1], "b": [2]}))
    store.append(tmp_path, pd.DataFrame({"b": [4], "a": [3]}))
    assert (tmp_path / "rows.csv").read_text() == "a,b\n1,2\n3,4\n"


def test_columns_that_change_are_named(tmp_path):
    store.append(tmp_path, pd.DataFrame({"a": [1], "b": [2]}))
    with pytest.raises(ValueError, match=r"\['a', 'c'\], the first block had \['a', 'b'\]"):
        store.append(tmp_path, pd.DataFrame({"a": [1], "c": [2]}))
    assert (tmp_path / "rows.csv").read_text() == "a,b\n1,2\n"


def test_an_empty_block_reports_nothing(tmp_path):
    store.append(tmp_path, store.as_frame([]))
    assert not (tmp_path / "rows.csv").exists()


def test_a_bare_row_is_refused():
    with pytest.raises(ValueError, match=r"yield \[row\]"):
        store.as_frame({"K": 1})  # pyright: ignore[reportArgumentType]


def test_an_array_in_a_cell_is_refused():
    with pytest.raises(ValueError, match=r"array of shape \(3,\)"):
        store.as_frame([{"K": 1, "gap": jnp.zeros(3)}])


def test_folders_made_at_once_are_distinct(tmp_path):
    made = []
    threads = [threading.Thread(target=lambda: made.append(store.create(tmp_path, "x", "stem"))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 16
    assert all(path.is_dir() for path in made)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, monkeypatch):
    def refuse(self, *arguments, **keywords):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(SystemExit) as stop:
        store.create(tmp_path, "x", "stem")
    assert stop.value.code == (
        f"error: cannot write {tmp_path / 'x'}: Permission denied. "
        "Free some space, or choose another folder with --out DIR."
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_device_that_is_full_is_one_line(tmp_path):
    (tmp_path / "rows.csv").symlink_to("/dev/full")
    with pytest.raises(SystemExit, match="No space left on device"):
        store.append(tmp_path, pd.DataFrame({"a": [1]}))


def test_provenance_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    store.write_provenance(tmp_path, {"status": "running"})

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SystemExit, match="No space left on device"):
        store.write_provenance(tmp_path, {"status": "finished"})
    assert store.read_provenance(tmp_path) == {"status": "running"}
