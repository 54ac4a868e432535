"""The search keeps its order, the first place decides, and whatever goes wrong is one error that lists it all."""

import numpy as np
import pytest

from vi_jax.data.download import Remote
from vi_jax.data.find import Container, Source, find, sha256_of
from vi_jax.data.formats import read_npz

RIGHT = np.arange(6, dtype=np.uint8).reshape(2, 3)
MIRRORS = ("https://one.invalid/toy.npz", "https://two.invalid/toy.npz")


def write(folder, array=RIGHT):
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "toy.npz", x=array)
    return folder


def unreachable(url, sha256, target):
    raise ConnectionError("no route")


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The three folders of the search, and a source that looks for one file in them."""
    monkeypatch.setenv("VI_JAX_DATA", str(tmp_path / "env"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    source = Source(
        name="Toy",
        folders=("toy", ""),
        containers=(
            Container(("left.bin", "right.bin"), lambda *paths: {"x": RIGHT}),
            Container(("toy.npz",), lambda path: read_npz(path, ("x",))),
        ),
        sha256={"x": sha256_of(RIGHT)},
        home="https://toy.invalid",
        system=(str(tmp_path / "system"),),
        downloads=(Remote("toy.npz", "f00d", MIRRORS),),
    )
    return source, tmp_path / "env", tmp_path / "xdg" / "vi_jax" / "data" / "toy", tmp_path / "system"


def test_places_are_searched_in_order_and_the_network_last(places):
    source, environment, cache, system = places
    unverified = source._replace(sha256={})
    folders = [environment / "toy", environment, cache, cache.parent, system]
    for number, folder in enumerate(folders):
        write(folder, np.full((1, 1), number, np.uint8))
    for number, folder in enumerate(folders):
        assert find(unverified, download=unreachable)["x"].item() == number
        (folder / "toy.npz").unlink()
    fetched = []

    def download(url, sha256, target):
        fetched.append((url, sha256, target))
        write(target.parent)

    np.testing.assert_array_equal(find(source, download=download)["x"], RIGHT)
    assert fetched == [(MIRRORS[0], "f00d", cache / "toy.npz")]
    find(source, download=unreachable)  # from the cache


def test_an_explicit_path_is_the_only_place(places, tmp_path):
    source, environment, *_ = places
    write(environment)
    with pytest.raises(FileNotFoundError, match="(?s)Toy was not found.*path .*elsewhere: no such folder.*Remedy"):
        find(source, tmp_path / "elsewhere", download=unreachable)
    np.testing.assert_array_equal(find(source, write(tmp_path / "elsewhere"))["x"], RIGHT)


def test_an_explicit_file_may_have_any_name_with_the_suffix(places, tmp_path):
    source, *_ = places
    file = (write(tmp_path / "a") / "toy.npz").rename(tmp_path / "mine.npz")
    np.testing.assert_array_equal(find(source, str(file))["x"], RIGHT)
    with pytest.raises(FileNotFoundError, match="mine.bin: one file, and no form of Toy is a single .bin file"):
        find(source, file.rename(tmp_path / "mine.bin"))


@pytest.mark.parametrize("damage", [lambda file: file.write_bytes(b""), lambda file: write(file.parent, RIGHT + 1)])
def test_the_first_place_decides_even_if_damaged(places, damage):
    source, environment, cache, _ = places
    write(cache)
    damage(write(environment) / "toy.npz")
    with pytest.raises(ValueError, match="(?s)damaged.*env/toy.npz.*Remedy: .*toy.npz, from https://toy.invalid"):
        find(source, download=unreachable)


def test_other_data_are_named_by_both_checksums(places, tmp_path):
    source, *_ = places
    with pytest.raises(ValueError, match=f"the x data have SHA-256 {sha256_of(RIGHT + 1)}, not {sha256_of(RIGHT)}"):
        find(source, write(tmp_path / "other", RIGHT + 1))


def test_nowhere_is_one_error_with_all_that_was_tried(places, monkeypatch):
    source, environment, cache, system = places
    environment.mkdir()
    (environment / "left.bin").touch()
    with pytest.raises(FileNotFoundError) as caught:
        find(source, download=unreachable)
    assert str(caught.value).splitlines() == [
        "Toy was not found. Tried:",
        f"  VI_JAX_DATA {environment / 'toy'}: no such folder",
        f"  VI_JAX_DATA {environment}: incomplete, without right.bin",
        f"  cache {cache}: no such folder",
        f"  cache {cache.parent}: no such folder",
        f"  system package {system}: no such folder",
        *(f"  download {url} into {cache}: ConnectionError: no route" for url in MIRRORS),
        "  Remedy: get left.bin and right.bin, or toy.npz, from https://toy.invalid, into DIR/toy and set "
        "VI_JAX_DATA=DIR in the environment; or name the folder by the argument path=.",
    ]
    monkeypatch.delenv("VI_JAX_DATA")
    with pytest.raises(FileNotFoundError, match="Tried:\n  VI_JAX_DATA: not set\n  cache"):
        find(source, download=unreachable)


def test_without_a_checksum_there_is_no_download(places):
    source, *_ = places
    with pytest.raises(FileNotFoundError, match="download: not offered, since no checksum"):
        find(source._replace(downloads=()), download=unreachable)


def test_a_download_of_other_data_is_refused(places):
    source, *_ = places
    with pytest.raises(ValueError, match="the x data have SHA-256"):
        find(source, download=lambda url, sha256, target: write(target.parent, RIGHT + 1))
