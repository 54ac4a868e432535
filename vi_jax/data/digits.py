"""Handwritten digits of 8×8 pixels, as scikit-learn ships them: real data without a download."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np

from vi_jax.data.images import ImageSplit

NUM_TRAIN = 1500
SPLIT_SEED = 0
SHA256 = "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3"
"""Of the 1797 × 64 intensities 0, …, 16 as unsigned bytes, row by row."""


def digits() -> jax.Array:
    """Returns all pixel intensities, x/16, in the order scikit-learn keeps them.

    Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits" (UCI, 1998): the 1797 test images.

    Returns:
      `[1797, 64]` float32 in [0, 1], exact multiples of 1/16.

    Raises:
      ModuleNotFoundError: scikit-learn is not installed.
      ValueError: it ships other data than the checksum names.
    """
    return jnp.asarray(_intensities() / 16, jnp.float32)


def digits_split() -> ImageSplit:
    """Returns the digits split and binarized by the protocol that the numbers of this repository refer to.

    `rng = numpy.random.default_rng(0)` permutes the 1797 images; the first 1500 are the training set, as probabilities,
    and the last 297 the test set, binarized once by the same generator's next `random((297, 64)) < p`.

    Returns:
      The split, in float32.

    Raises:
      ModuleNotFoundError, ValueError: as `digits`.
    """
    rng = np.random.default_rng(SPLIT_SEED)
    probabilities = (_intensities() / 16)[rng.permutation(1797)]
    train, test = probabilities[:NUM_TRAIN], probabilities[NUM_TRAIN:]
    test = rng.random(test.shape) < test
    protocol = (
        "digits 8x8 (scikit-learn, x/16 as probabilities): 1500 train, binarized anew per minibatch; "
        f"297 test, binarized once; split and test pixels by numpy default_rng({SPLIT_SEED})"
    )
    return ImageSplit(jnp.asarray(train, jnp.float32), jnp.asarray(test, jnp.float32), protocol)


def binarize(key: jax.Array, probabilities: jax.Array) -> jax.Array:
    """Draws each pixel from Bernoulli(p): dynamic binarization, to be repeated with a new key for every minibatch.

    Args:
      key: a typed key, consumed.
      probabilities: any shape, floating, in [0, 1].

    Returns:
      0 and 1 in the same shape and dtype.

    Raises:
      TypeError: the probabilities are not floating: intensities 0, …, 16 or 255 have to be scaled first.
    """
    if not jnp.issubdtype(probabilities.dtype, jnp.floating):
        raise TypeError(f"probabilities must be floating, got dtype {probabilities.dtype}; scale them to [0, 1] first.")
    return jax.random.bernoulli(key, probabilities).astype(probabilities.dtype)


def _intensities() -> np.ndarray:
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "The digits come with scikit-learn, which is not installed: pip install 'vi-jax[experiments]'"
        ) from error
    pixels, _ = load_digits(return_X_y=True)
    pixels = np.asarray(pixels)
    found = hashlib.sha256(pixels.astype(np.uint8).tobytes()).hexdigest()
    if found != SHA256:
        raise ValueError(
            f"scikit-learn's digits have SHA-256 {found}, not {SHA256}: results would not compare. "
            "Install scikit-learn at the version in constraints.txt."
        )
    return pixels
