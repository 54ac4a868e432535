"""A download is verified before it is there, and a mirror that fails is reported."""

import functools
import hashlib
import http.server
import sys
import threading

import pytest

from vi_jax.data.download import Remote, fetch, retrieve

CONTENT = b"real data"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
DEAD = "http://127.0.0.1:1/file"
"""Nothing listens on this port, so the refusal comes at once."""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    (folder / "file").write_bytes(CONTENT)
    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/file"
        server.shutdown()


def test_a_file_comes_from_the_first_mirror_that_has_it(url, tmp_path):
    assert fetch((Remote("mine", SHA256, (DEAD, url + "-not", url)),), tmp_path / "new", retrieve) == []
    assert (tmp_path / "new" / "mine").read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing(url, tmp_path):
    (failure,) = fetch((Remote("mine", "0" * 64, (url,)),), tmp_path, retrieve)
    assert failure.startswith(f"download {url} into {tmp_path}: ValueError: SHA256 hash of downloaded file (mine)")
    assert list(tmp_path.iterdir()) == []


def test_a_dead_mirror_is_reported_and_no_other_file_is_tried(tmp_path):
    asked = []

    def watched(url, *rest):
        asked.append(url)
        retrieve(url, *rest)

    failures = fetch((Remote("a", SHA256, (DEAD,)), Remote("b", SHA256, (DEAD + "2",))), tmp_path, watched)
    assert asked == [DEAD]
    assert len(failures) == 1
    assert "ConnectionError" in failures[0]
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_folder_is_reported(url, tmp_path):
    (tmp_path / "taken").write_bytes(b"a file where the folder should be")
    (failure,) = fetch((Remote("mine", SHA256, (url,)),), tmp_path / "taken", retrieve)
    assert "Error" in failure


def test_without_pooch_the_failure_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pooch", None)
    (failure,) = fetch((Remote("mine", SHA256, (DEAD,)),), tmp_path, retrieve)
    assert "pip install 'vi-jax[experiments]'" in failure
