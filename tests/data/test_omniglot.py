"""OMNIGLOT's two splits: Lake's, and that of the IWAE paper in a file of its format."""

import os

import numpy as np
import pytest
from scipy.io import savemat

from vi_jax import data
from vi_jax.data.find import find, sha256_of
from vi_jax.data.sources import OMNIGLOT


@pytest.fixture(scope="module")
def chardata(tmp_path_factory):
    """The format of the IWAE paper's file: a column an image, of which each is stored column by column."""
    images, tests = np.zeros((784, 24_345), np.uint8), np.zeros((784, 8_070), np.uint8)
    images[28 * 3 + 5, 7] = 1
    tests[28 * 2 + 1] = 1
    file = tmp_path_factory.mktemp("iwae") / "chardata.mat"
    targets = {"target": np.zeros((50, 1)), "testtarget": np.zeros((50, 1))}
    savemat(file, {"data": images, "testdata": tests, **targets}, do_compression=True)
    return file


def test_the_split_of_the_iwae_paper(chardata):
    split = data.omniglot_iwae(chardata.parent)
    assert split.train.shape == (24_345, 784)
    assert split.test.shape == (8_070, 784)
    assert np.argwhere(split.train).tolist() == [[7, 28 * 5 + 3]]  # transposed: row by row
    assert np.all(split.test[:, 28 + 2] == 1)
    assert split.test.sum() == 8_070
    rows = np.concatenate([split.train, split.test])
    assert (
        f"IWAE paper's split (chardata.mat, unverified, SHA-256 of the data {sha256_of(rows)[:16]})" in split.protocol
    )
    assert "24345 train, binarized anew per minibatch; 8070 test, binarized once" in split.protocol


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"data": (784, 10), "testdata": (784, 8_070)}, r"`data` .* has shape \(784, 10\), .* \(784, 24345\)"),
        ({"data": (784, 10)}, "lacks testdata"),
    ],
)
def test_another_file_of_the_format_is_refused(tmp_path, variables, reason):
    arrays = {name: np.zeros(shape, np.uint8) for name, shape in variables.items()}
    savemat(tmp_path / "chardata.mat", arrays, do_compression=True)
    with pytest.raises(ValueError, match=f"(?s){reason}.*https://github.com/yburda/iwae"):
        data.omniglot_iwae(tmp_path)


def test_intensities_outside_the_unit_interval_are_refused(tmp_path):
    arrays = {"data": np.full((784, 24_345), 255, np.uint8), "testdata": np.zeros((784, 1), np.uint8)}
    savemat(tmp_path / "chardata.mat", arrays, do_compression=True)
    with pytest.raises(ValueError, match=r"`data` .* spans \[255, 255\], the IWAE paper's \[0, 1\]"):
        data.omniglot_iwae(tmp_path)


def test_lakes_split_takes_the_background_for_training(tmp_path):
    images = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)
    np.savez(tmp_path / "omniglot_28x28.npz", x_background=images, x_evaluation=255 - images)
    tiny = OMNIGLOT._replace(sha256={"train": sha256_of(images), "test": sha256_of(255 - images)})
    np.testing.assert_array_equal(find(tiny, tmp_path)["train"], images)
    with pytest.raises(ValueError, match="the train data have SHA-256"):
        data.omniglot(tmp_path)


@pytest.mark.skipif("VI_JAX_DATA" not in os.environ, reason="VI_JAX_DATA names no folder of real data")
def test_real_omniglot():
    split = data.omniglot()
    assert split.train.shape == (19_280, 784)
    assert split.test.shape == (13_180, 784)
    assert set(np.unique(split.test)) == {0.0, 1.0}
    assert "Lake's split" in split.protocol
