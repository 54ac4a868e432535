"""MNIST and its relatives: any container of the real data is taken, and nothing else."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from vi_jax import data
from vi_jax.data.find import find, sha256_of
from vi_jax.data.images import bytes_split
from vi_jax.data.sources import FASHION_MNIST, MNIST, STATIC_MNIST, STATIC_PARTS, TEST_IMAGES, TRAIN_IMAGES

needs_data = pytest.mark.skipif("VI_JAX_DATA" not in os.environ, reason="VI_JAX_DATA names no folder of real data")
TRAIN = np.arange(32, dtype=np.uint8).reshape(4, 2, 4)
TEST = 8 * TRAIN[:2] + 60
TINY = {"train": sha256_of(TRAIN), "test": sha256_of(TEST)}


def unreachable(url, sha256, target):
    raise ConnectionError("no route")


def write_idx(folder, suffix, compress):
    for name, images in [(TRAIN_IMAGES, TRAIN), (TEST_IMAGES, TEST)]:
        content = struct.pack(">HBB3I", 0, 8, 3, *images.shape) + images.tobytes()
        (folder / (name + suffix)).write_bytes(compress(content))


CONTAINERS = {
    "idx.gz": lambda folder: write_idx(folder, ".gz", gzip.compress),
    "idx": lambda folder: write_idx(folder, "", bytes),
    "keras": lambda folder: np.savez(folder / "mnist.npz", x_train=TRAIN, x_test=TEST, y_train=0, y_test=0),
    "full": lambda folder: np.savez(folder / "mnist_full.npz", x_train=TRAIN, x_test=TEST),
}


@pytest.mark.parametrize("write", CONTAINERS.values(), ids=CONTAINERS)
def test_every_container_holds_the_same_images(tmp_path, write):
    write(tmp_path)
    found = find(MNIST._replace(sha256=TINY), tmp_path)
    np.testing.assert_array_equal(found["train"], TRAIN)
    np.testing.assert_array_equal(found["test"], TEST)


@pytest.mark.parametrize("load", [data.mnist, data.fashion_mnist])
def test_other_images_are_refused(tmp_path, load):
    write_idx(tmp_path, ".gz", gzip.compress)
    with pytest.raises(ValueError, match=f"the train data have SHA-256 {TINY['train']}"):
        load(tmp_path)


def test_fashion_is_not_looked_for_among_files_of_the_same_names(tmp_path, monkeypatch):
    write_idx(tmp_path, ".gz", gzip.compress)
    monkeypatch.setenv("VI_JAX_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    fashion = FASHION_MNIST._replace(sha256=TINY, system=())
    with pytest.raises(FileNotFoundError, match="(?s)fashion-mnist: no such folder.*download http"):
        find(fashion, download=unreachable)
    np.testing.assert_array_equal(find(fashion._replace(system=(str(tmp_path),)))["test"], TEST)


def test_bytes_become_probabilities_and_test_pixels_are_drawn_once():
    split = bytes_split("toy", TRAIN, TEST)
    assert split.train.dtype == split.test.dtype == np.float32
    np.testing.assert_array_equal(split.train, TRAIN.reshape(4, 8).astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(split.test, np.random.default_rng(0).random((2, 8)) < TEST.reshape(2, 8) / 255)
    assert split.protocol == (
        "toy 28x28, p = x/255: 4 train, binarized anew per minibatch; 2 test, binarized once by numpy default_rng(0)"
    )


def test_static_mnist_is_the_same_from_text_and_from_packed_bits(tmp_path):
    bits = np.random.default_rng(0).integers(0, 2, (3, 2, 784), np.uint8)
    for part, rows in zip(STATIC_PARTS, bits, strict=True):
        (tmp_path / f"binarized_mnist_{part}.amat").write_text("".join(" ".join(map(str, row)) + "\n" for row in rows))
    packed = {part: np.packbits(rows, axis=1) for part, rows in zip(STATIC_PARTS, bits, strict=True)}
    np.savez(tmp_path / "archive.npz", **packed)
    source = STATIC_MNIST._replace(
        sha256={part: sha256_of(rows) for part, rows in zip(STATIC_PARTS, bits, strict=True)}
    )
    for path in (tmp_path, tmp_path / "archive.npz"):
        np.testing.assert_array_equal(np.stack([find(source, path)[part] for part in STATIC_PARTS]), bits)
    with pytest.raises(ValueError, match="the train data have SHA-256"):
        data.static_mnist(tmp_path)


@needs_data
def test_real_mnist():
    split = data.mnist()
    assert split.train.shape == (60_000, 784)
    assert split.test.shape == (10_000, 784)
    assert 255 * np.asarray(split.train[0], np.float64).sum() == pytest.approx(27_525, rel=1e-6)
    assert set(np.unique(split.test)) == {0.0, 1.0}
    assert split.test.sum() == 1_038_787
    assert "60000 train, binarized anew per minibatch; 10000 test, binarized once" in split.protocol


@needs_data
def test_real_static_mnist():
    split = data.static_mnist()
    assert [part.shape for part in split[:3]] == [(50_000, 784), (10_000, 784), (10_000, 784)]
    assert "static" in split.protocol
    assert "sorted by class" in split.protocol
    rows = np.asarray(split.test)
    # Neighbours of one class are closer than strangers, which is how sorting by class shows without labels.
    neighbours, strangers = np.abs(rows[1:] - rows[:-1]).sum(1), np.abs(rows[5000:] - rows[:5000]).sum(1)
    assert neighbours.mean() < 0.9 * strangers.mean()


@pytest.mark.skipif(
    not any(
        Path(folder).is_dir()
        for folder in (os.environ.get("VI_JAX_DATA", "/") + "/fashion-mnist", *FASHION_MNIST.system)
    ),
    reason="no folder of Fashion-MNIST",
)
def test_real_fashion_mnist():
    split = data.fashion_mnist()
    assert split.train.shape == (60_000, 784)
    assert split.test.shape == (10_000, 784)
    assert split.protocol.startswith("Fashion-MNIST")
