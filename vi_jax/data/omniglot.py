"""OMNIGLOT, handwritten characters of fifty alphabets, under two splits whose numbers do not compare."""

import os

import numpy as np

from vi_jax.data.find import find, sha256_of
from vi_jax.data.images import TEST_SEED, ImageSplit, bytes_split, dynamic_split
from vi_jax.data.sources import NUM_PIXELS, OMNIGLOT, OMNIGLOT_IWAE

IWAE_TRAIN, IWAE_TEST = 24_345, 8_070


def omniglot(path: str | os.PathLike[str] | None = None) -> ImageSplit:
    """Returns OMNIGLOT by Lake's split: train on the background alphabets, test on the evaluation alphabets.

    Lake, Salakhutdinov and Tenenbaum, "Human-level concept learning through probabilistic program induction" (Science
    350, 2015). No alphabet is in both parts. p = x/255 of the ink, reduced from 105×105 pixels by a box filter; the
    test images are binarized once by the rule of `mnist`.

    Args:
      path: a folder with `omniglot_28x28.npz`, or that file: `x_background` and `x_evaluation`, uint8. None searches as
        `data.find` says; no download is offered, since the reduced images have no published file.

    Returns:
      19,280 and 13,180 rows of 784 pixels.

    Raises:
      FileNotFoundError: the file is nowhere; the error lists where.
      ValueError: it is damaged, or other data.
    """
    parts = find(OMNIGLOT, path)
    return bytes_split("OMNIGLOT, Lake's split (background, evaluation)", parts["train"], parts["test"])


def omniglot_iwae(path: str | os.PathLike[str] | None = None) -> ImageSplit:
    """Returns OMNIGLOT by the split of the IWAE paper, from its authors' `chardata.mat`.

    Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders" (arXiv:1509.00519): 24,345 training and 8,070
    test images, another split than Lake's. Their code sets aside, for validation, the last 1,345 of the training images
    after `numpy.random.RandomState(123).permutation`; here all 24,345 are returned, in the order of the file. The test
    images are binarized once by `numpy.random.default_rng(0).random((8070, 784)) < p`.

    No checksum of this file could be verified, so it is not downloaded, only its shapes and range are checked, and the
    protocol names the SHA-256 of the data that were read: compare it with that of another result.

    Args:
      path: a folder with `chardata.mat`, or that file: `data` and `testdata`, a column an image, each image column by
        column. None searches as `data.find` says.

    Returns:
      24,345 and 8,070 rows of 784 pixels, each image row by row.

    Raises:
      FileNotFoundError: the file is nowhere; the error says where to get it.
      ValueError: it is damaged, or has other shapes or numbers outside [0, 1].
    """
    parts = find(OMNIGLOT_IWAE, path)
    train = _rows("data", parts["train"], IWAE_TRAIN)
    test = _rows("testdata", parts["test"], IWAE_TEST)
    digest = sha256_of(np.concatenate([train, test]))[:16]
    name = f"OMNIGLOT 28x28, IWAE paper's split (chardata.mat, unverified, SHA-256 of the data {digest})"
    return dynamic_split(name, train, test, np.random.default_rng(TEST_SEED))


def _rows(variable: str, images: np.ndarray, number: int) -> np.ndarray:
    if images.shape != (number, NUM_PIXELS):
        raise ValueError(
            f"`{variable}` of chardata.mat has shape {images.shape[::-1]}, the IWAE paper's has {(NUM_PIXELS, number)}:"
            f" this is another file. Get {OMNIGLOT_IWAE.home}"
        )
    if not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(
            f"`{variable}` of chardata.mat spans [{images.min()}, {images.max()}], the IWAE paper's [0, 1]: this is "
            f"another file. Get {OMNIGLOT_IWAE.home}"
        )
    return images.astype(np.float32).reshape(-1, 28, 28).swapaxes(1, 2).reshape(-1, NUM_PIXELS)
