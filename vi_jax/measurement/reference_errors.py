"""Errors of an approximation against a reference posterior, in the units in which they matter: posterior sd."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vi_jax.measurement.corrected import PosteriorMoments, WeightedMoments


class MomentErrors(NamedTuple):
    """Errors of P means and standard deviations.

    Attributes:
      mean: `[P]`, (mean − reference mean) / reference sd.
      sd_ratio: `[P]`, sd / reference sd.
      largest_mean: the largest |mean| of all parameters.
      rms_mean: the root of the mean square.
      largest_sd: the largest |sd_ratio − 1|.
      rms_sd: the root of the mean square.
    """

    mean: jax.Array
    sd_ratio: jax.Array
    largest_mean: jax.Array
    rms_mean: jax.Array
    largest_sd: jax.Array
    rms_sd: jax.Array


class ReferenceErrors(NamedTuple):
    """`MomentErrors` of the guide itself and after importance correction."""

    raw: MomentErrors
    corrected: MomentErrors


def moment_errors(moments: WeightedMoments, mean: jax.Array, sd: jax.Array) -> MomentErrors:
    """Compares means and standard deviations with reference ones, `[P]` each.

        e_j = (m_j − m*_j) / sd*_j,   r_j = sd_j / sd*_j

    The error of the reference itself is not taken off: R independent draws know e to 1/√R and r to 1/√(2R), the latter
    for a Gaussian. A parameter that the reference holds constant has the error 0 and the ratio 1 where the guide holds
    it at the same number, to rounding, and ∞ where it does not.

    Raises:
      ValueError: the reference is not one mean and one sd per parameter, or has a negative or NaN number.
    """
    for name, value in (("mean", mean), ("sd", sd)):
        if jnp.shape(value) != moments.mean.shape:
            raise ValueError(
                f"the reference {name} must have shape {moments.mean.shape}, one per parameter, got {jnp.shape(value)}."
            )
    mean, sd = jnp.asarray(mean), jnp.asarray(sd)
    if bool(jnp.any(jnp.isnan(mean) | ~(sd >= 0))):
        raise ValueError(f"the reference has NaN or a negative sd, mean {mean} and sd {sd}: drop those draws.")
    agrees = (sd == 0) & (moments.sd == 0) & jnp.isclose(moments.mean, mean)
    error = jnp.where(agrees, 0, (moments.mean - mean) / sd)
    ratio = jnp.where(agrees, 1, moments.sd / sd)
    rms = lambda values: jnp.sqrt(jnp.mean(values**2))  # noqa: E731
    worst = lambda values: jnp.max(jnp.abs(values))  # noqa: E731
    return MomentErrors(error, ratio, worst(error), rms(error), worst(ratio - 1), rms(ratio - 1))


def reference_errors(moments: PosteriorMoments, mean: jax.Array, sd: jax.Array) -> ReferenceErrors:
    """Returns `moment_errors` of the raw and of the corrected moments."""
    return ReferenceErrors(moment_errors(moments.raw, mean, sd), moment_errors(moments.corrected, mean, sd))
