"""MNIST under its two protocols, and Fashion-MNIST: images of 28×28 pixels, as rows of 784."""

import os
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vi_jax.data.find import find
from vi_jax.data.images import ImageSplit, bytes_split
from vi_jax.data.sources import FASHION_MNIST, MNIST, STATIC_MNIST, STATIC_PARTS


class StaticSplit(NamedTuple):
    """Images whose pixels were drawn once and for all. They take four bytes a pixel: 220 MB for static MNIST.

    Attributes:
      train: `[N, D]` float32 of 0 and 1, fixed: train on them without `binarize`.
      valid: `[V, D]` of 0 and 1.
      test: `[M, D]` of 0 and 1.
      protocol: what was done, in words, to print beside a result.
    """

    train: jax.Array
    valid: jax.Array
    test: jax.Array
    protocol: str


def mnist(path: str | os.PathLike[str] | None = None) -> ImageSplit:
    """Returns MNIST for dynamic binarization: p = x/255, and the test images binarized once.

    LeCun and Cortes, "The MNIST database of handwritten digits". The test pixels are
    `numpy.random.default_rng(0).random((10000, 784)) < x / 255`. That is a rule of this library: the code of the IWAE
    paper, for one, draws them anew at every evaluation.

    Args:
      path: a folder with the two image files in idx, compressed or not, or with `mnist.npz` of Keras, which holds
        `x_train` and `x_test`; or such an npz file itself. None searches as `data.find` says.

    Returns:
      60,000 and 10,000 rows of 784 pixels, in the official order.

    Raises:
      FileNotFoundError: the files are nowhere; the error lists where.
      ValueError: they are damaged, or other data.
    """
    parts = find(MNIST, path)
    return bytes_split("MNIST", parts["train"], parts["test"])


def fashion_mnist(path: str | os.PathLike[str] | None = None) -> ImageSplit:
    """Returns Fashion-MNIST for dynamic binarization: p = x/255, the test images binarized once by the rule of `mnist`.

    Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms"
    (arXiv:1708.07747). Its files are named as MNIST's are, so it is looked for in folders of its own only, one of them
    that of Debian's package dataset-fashion-mnist.

    Args:
      path: a folder with the two image files in idx, compressed or not. None searches as `data.find` says.

    Returns:
      60,000 and 10,000 rows of 784 pixels, in the official order.

    Raises:
      FileNotFoundError, ValueError: as `mnist`.
    """
    parts = find(FASHION_MNIST, path)
    return bytes_split("Fashion-MNIST", parts["train"], parts["test"])


def static_mnist(path: str | os.PathLike[str] | None = None) -> StaticSplit:
    """Returns the static binarization of MNIST: each pixel was drawn once, and everyone has the same draws.

    Larochelle and Murray, "The Neural Autoregressive Distribution Estimator" (AISTATS 2011), after Salakhutdinov and
    Murray, "On the Quantitative Analysis of Deep Belief Networks" (ICML 2008). A model can learn these very pixels:
    numbers do not compare with those under dynamic binarization.

    Args:
      path: a folder with the three amat files or with `binarized_mnist_static.npz`, or that file, whose arrays `train`,
        `valid` and `test` hold eight pixels a byte. None searches as `data.find` says.

    Returns:
      50,000, 10,000 and 10,000 rows of 784 pixels. The test images are sorted by class: never score a prefix of them.

    Raises:
      FileNotFoundError, ValueError: as `mnist`.
    """
    parts = find(STATIC_MNIST, path)
    train, valid, test = (jnp.asarray(parts[part], jnp.float32) for part in STATIC_PARTS)
    protocol = (
        f"MNIST 28x28, static binarization (Larochelle): {len(train)} train, {len(valid)} valid, {len(test)} test, "
        "fixed pixels; test is sorted by class, so no prefix of it is scored"
    )
    return StaticSplit(train, valid, test, protocol)
