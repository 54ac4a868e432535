"""The default call on posteriors of real data, against reference draws: right, or not to be trusted."""

import os

import jax
import numpy as np
import pytest

import vi_jax as vi
from vi_jax.models.posteriordb import posterior

NAMES = [
    "arK-arK",
    "diamonds-diamonds",
    "garch-garch11",
    "kidiq-kidscore_interaction",
    "low_dim_gauss_mix-low_dim_gauss_mix",
    "nes1980-nes",
]


def approximated(name):
    found = vi.data.posteriordb(name)
    return vi.approximate_target(jax.random.key(0), posterior(name, found.data), reference=found.reference).diagnosis


@pytest.mark.slow
@pytest.mark.skipif("VI_JAX_DATA" not in os.environ, reason="VI_JAX_DATA names no folder of real data")
@pytest.mark.parametrize("name", NAMES)
def test_the_default_call_is_right_or_not_trusted(name):
    found = approximated(name)
    assert found.errors.corrected.largest_mean < 0.1
    assert found.errors.corrected.largest_sd < 0.05
    assert found.pareto_k < 0.7 or not found.verdict.trusted


@pytest.mark.slow
@pytest.mark.skipif("VI_JAX_DATA" not in os.environ, reason="VI_JAX_DATA names no folder of real data")
def test_a_gaussian_process_in_float64(x64):
    found = approximated("gp_pois_regr-gp_pois_regr")
    assert found.log_weights.dtype == np.float64
    assert found.errors.corrected.largest_mean < 0.1
    assert found.errors.corrected.largest_sd < 0.05 or not found.verdict.trusted
