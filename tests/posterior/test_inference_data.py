"""The ArviZ object: resampled draws that need no weights, and the draws as they were with theirs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.posterior import known
from vi_jax.posterior import to_arviz
from vi_jax.posterior.inference_data import resample


def test_the_posterior_group_is_resampled_and_the_guide_group_is_not():
    pytest.importorskip("arviz")
    d = known.diagnosis(0.25, 0.9)
    data = to_arviz(d)
    posterior, guide = data["posterior"], data["guide"]
    assert posterior["a.mu"].dims == ("chain", "draw")
    assert posterior["theta"].shape == (1, known.NUM_DRAWS, 2)
    np.testing.assert_array_equal(guide["theta"].values[0], d.draws["theta"])
    np.testing.assert_array_equal(guide["log_weight"].values[0], d.log_weights)
    places = data["sample_stats"]["draw_index"].values[0]
    np.testing.assert_array_equal(posterior["a.mu"].values[0], d.draws["a"]["mu"][places])
    np.testing.assert_array_equal(data["sample_stats"]["lp"].values[0], d.log_joint[places])
    # No random number: the mean is the corrected one but for the rounding of counts.
    sd = float(d.moments.corrected.sd[1])
    np.testing.assert_allclose(
        posterior["theta"].values[0, :, 0].mean(), float(d.moments.corrected.mean[1]), atol=0.02 * sd
    )
    assert posterior.attrs["pareto_k"] == float(d.pareto_k)
    assert to_arviz(d, num_draws=50)["posterior"].sizes["draw"] == 50


def test_a_draw_is_copied_as_often_as_its_weight_says():
    log_w = jnp.asarray(np.random.default_rng(0).normal(size=200))
    counts = np.bincount(resample(log_w, 1000), minlength=200)
    assert np.max(np.abs(counts - 1000 * jax.nn.softmax(log_w))) < 1 + 1e-3
    for wrong in (log_w.at[3].set(jnp.nan), jnp.full(4, -jnp.inf)):
        with pytest.raises(ValueError, match="nothing can be resampled"):
            resample(wrong, 10)
