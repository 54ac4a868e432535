"""The form in which images reach a model: float32 in [0, 1], a row each, with the protocol in words."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

TEST_SEED = 0


class ImageSplit(NamedTuple):
    """Images for density estimation. Numbers compare only under the same protocol.

    Probabilities instead of bytes, because `binarize` and `fit` take them as they are; the price is four bytes a pixel:
    188 MB on the device for 60,000 images of 784 pixels.

    Attributes:
      train: `[N, D]` float32 in [0, 1]; `binarize` each minibatch anew, as the argument `prepare` of `vi_jax.fit`.
      test: `[M, D]` float32 of 0 and 1, fixed.
      protocol: what was done, in words, to print beside a result.
    """

    train: jax.Array
    test: jax.Array
    protocol: str


def dynamic_split(name: str, train: np.ndarray, test: np.ndarray, rng: np.random.Generator) -> ImageSplit:
    """Returns images as rows, the test images binarized once: u < p, with u the next `random([M, D])` of `rng`.

    Args:
      name: what the protocol begins with: the data set, and how its numbers became probabilities.
      train: `[N, ...]` probabilities.
      test: `[M, ...]` probabilities, compared at their own precision.
      rng: draws the test pixels: `default_rng(TEST_SEED)`, fresh or after the draws that `name` tells of.
    """
    train, test = train.reshape(len(train), -1), test.reshape(len(test), -1)
    bits = rng.random(test.shape) < test
    protocol = (
        f"{name}: {len(train)} train, binarized anew per minibatch; {len(test)} test, binarized once by numpy "
        f"default_rng({TEST_SEED})"
    )
    return ImageSplit(jnp.asarray(train, jnp.float32), jnp.asarray(bits, jnp.float32), protocol)


def bytes_split(name: str, train: np.ndarray, test: np.ndarray) -> ImageSplit:
    """Returns the `dynamic_split` of intensities 0, …, 255: p = x/255, the test draws u from a fresh generator."""
    scaled = np.divide(train, 255, dtype=np.float32)
    return dynamic_split(f"{name} 28x28, p = x/255", scaled, test / 255, np.random.default_rng(TEST_SEED))
