"""Errors in posterior standard deviations."""

import jax.numpy as jnp
import numpy as np
import pytest

from vi_jax.measurement import WeightedMoments, moment_errors


def moments(mean, sd):
    nothing = jnp.full(2, jnp.nan)
    return WeightedMoments(jnp.asarray(mean), nothing, jnp.asarray(sd), nothing, nothing[None], nothing)


def test_errors_are_in_units_of_the_reference():
    found = moment_errors(moments([1.0, 5.0], [1.0, 3.0]), jnp.array([0.0, 8.0]), jnp.array([2.0, 2.0]))
    np.testing.assert_allclose(found.mean, [0.5, -1.5])
    np.testing.assert_allclose(found.sd_ratio, [0.5, 1.5])
    np.testing.assert_allclose([found.largest_mean, found.rms_mean], [1.5, np.sqrt(1.25)], rtol=1e-6)
    np.testing.assert_allclose([found.largest_sd, found.rms_sd], [0.5, 0.5])


def test_a_constant_is_right_or_wrong():
    found = moment_errors(moments([1.0, 5.0], [0.0, 2.0]), jnp.array([1.0, 5.0]), jnp.array([0.0, 2.0]))
    np.testing.assert_array_equal([*found.mean, *found.sd_ratio], [0, 0, 1, 1])
    found = moment_errors(moments([2.0, 5.0], [0.0, 2.0]), jnp.array([1.0, 5.0]), jnp.array([0.0, 2.0]))
    assert found.largest_mean == np.inf


@pytest.mark.parametrize(
    ("mean", "sd", "message"),
    [
        (jnp.zeros(3), jnp.ones(2), r"shape \(2,\), one per parameter, got \(3,\)"),
        (jnp.zeros(2), jnp.array([1.0, -1.0]), "negative sd"),
        (jnp.array([0.0, jnp.nan]), jnp.ones(2), "NaN"),
    ],
    ids=["shape", "sd", "nan"],
)
def test_a_reference_that_is_none_is_refused(mean, sd, message):
    with pytest.raises(ValueError, match=message):
        moment_errors(moments([0.0, 0.0], [1.0, 1.0]), mean, sd)
