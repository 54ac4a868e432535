"""The digits are the ones the numbers of this repository refer to."""

import hashlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.datasets

from vi_jax import data
from vi_jax.data.digits import SHA256


def sha256(array):
    return hashlib.sha256(np.asarray(array).astype(np.uint8).tobytes()).hexdigest()


def test_intensities_are_the_known_ones_in_sixteenths():
    x = data.digits()
    assert x.shape == (1797, 64)
    assert x.dtype == jnp.float32
    assert np.asarray(x, np.float64).sum() == 561718 / 16
    assert sha256(16 * x) == SHA256
    assert set(np.unique(16 * x)) == set(range(17))


def test_three_pixels_are_constant():
    assert np.sum(np.ptp(data.digits(), axis=0) == 0) == 3


def test_split_follows_the_protocol():
    split = data.digits_split()
    permutation = np.random.default_rng(0).permutation(1797)
    np.testing.assert_array_equal(split.train, data.digits()[permutation[:1500]])
    assert np.asarray(split.train, np.float64).sum() == 29346.5625
    assert split.test.shape == (297, 64)
    assert set(np.unique(split.test)) == {0.0, 1.0}
    assert split.test.sum() == 5777
    assert sha256(split.test) == "db3e8aef2c48e9ac9abaa1e5817a3dacc60a031b47ad71747b52afdd6224a0e5"
    for fact in ("1500 train", "297 test", "default_rng(0)", "per minibatch", "once"):
        assert fact in split.protocol


def test_test_pixels_are_draws_of_the_held_out_intensities():
    # The same generator, one call later: a pixel that is 0 or 16 cannot change.
    split = data.digits_split()
    p = np.asarray(data.digits())[np.random.default_rng(0).permutation(1797)[1500:]]
    assert not np.any(split.test[p == 0])
    assert np.all(split.test[p == 1])


def test_binarize_draws_each_pixel_with_its_probability():
    p, num_draws = jnp.array([0.0, 0.1, 0.5, 1.0]), 20_000
    x = jax.jit(jax.vmap(data.binarize, in_axes=(0, None)))(jax.random.split(jax.random.key(0), num_draws), p)
    assert x.dtype == p.dtype
    assert set(np.unique(x)) == {0.0, 1.0}
    assert np.all(np.abs(x.mean(0) - p) <= 4 * np.sqrt(p * (1 - p) / num_draws))


def test_binarize_takes_probabilities_only():
    with pytest.raises(TypeError, match=r"floating, got dtype int32; scale"):
        data.binarize(jax.random.key(0), jnp.array([0, 255], jnp.int32))


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'vi-jax\[experiments\]'"):
        data.digits()


def test_other_data_are_refused(monkeypatch):
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda return_X_y: (np.zeros((1797, 64)), None))
    with pytest.raises(ValueError, match=r"SHA-256 .*constraints.txt"):
        data.digits_split()
