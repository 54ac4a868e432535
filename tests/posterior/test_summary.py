"""The table says what the diagnosis found, and prints as one."""

import numpy as np

import vi_jax as vi
from tests.posterior import known


def test_the_table_holds_the_corrected_moments_by_name():
    d = known.diagnosis(0.25, 0.9)
    table = vi.summary(d).to_pandas()
    assert tuple(table.index) == d.names
    assert tuple(table.columns) == ("mean", "mcse", "sd", "5%", "50%", "95%", "k", "ess", "q_mean", "q_sd")
    np.testing.assert_array_equal(table["mean"], d.moments.corrected.mean)
    np.testing.assert_array_equal(table["q_sd"], d.moments.raw.sd)
    mean, sd = known.moments()
    assert np.all(np.abs(table["mean"] - mean) < 4 * table["mcse"])
    # mu is Gaussian.
    np.testing.assert_allclose(table["95%"].iloc[0], mean[0] + 1.645 * sd[0], atol=0.15 * sd[0])


def test_it_prints_one_aligned_line_per_parameter_and_the_verdict():
    d = known.diagnosis(0.25, 0.9)
    head, *rows, last = str(vi.summary(d)).splitlines()
    assert [row.split()[0] for row in rows] == list(d.names)
    assert {len(row) for row in (head, *rows)} == {len(head)}
    assert last.endswith("trusted after importance correction.")
    assert str(d).startswith("Trusted after importance correction.\nk̂ = ")
