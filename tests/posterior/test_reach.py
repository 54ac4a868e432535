"""The mass beyond all draws, where it is known."""

import jax.numpy as jnp
import numpy as np

from tests.posterior.test_findings import drawn, normal
from vi_jax.posterior import reach


def test_mass_beyond_all_draws_is_measured():
    """mu ~ Cauchy, and draws of N(0, 1): P(mu < low) = ½ + arctan(low)/π."""
    target, log_joint, found = drawn(lambda p: -jnp.log1p(p["mu"] ** 2) - p["sigma"] ** 2 / 2)
    (finding,) = reach.unreached(target, log_joint, found)
    low, high = np.min(found.z[:, 0]), np.max(found.z[:, 0])
    exact = 1 + (np.arctan(low) - np.arctan(high)) / np.pi
    share = float(finding.text.partition("reach: ")[2].partition(" of the posterior")[0])
    np.testing.assert_allclose(share, exact, rtol=0.1)
    assert "beyond every draw of the guide along mu," in finding.text
    assert finding.text.count("sigma") == 0
    assert finding.is_fatal


def test_one_side_is_named_and_a_posterior_that_is_reached_is_not():
    # Above 0 it falls like mu^{−2}, below like N(0, 1).
    one_sided = lambda p: jnp.where(p["mu"] > 0, -jnp.log1p(p["mu"] ** 2), -(p["mu"] ** 2) / 2) - p["sigma"] ** 2  # noqa: E731
    (finding,) = reach.unreached(*drawn(one_sided))
    assert "lies above every draw of the guide along mu" in finding.text
    assert reach.unreached(*drawn(normal)) == []
    # A ridge of width 0.01 across the axes: no line meets anything but the draw that it goes through.
    target, log_joint, found = drawn(lambda p: -(((p["mu"] - p["sigma"]) / 0.01) ** 2) / 2 - p["mu"] ** 2 / 2)
    z = found.z.at[:, 1].set(found.z[:, 0] + 0.01 * found.z[:, 1])
    assert reach.unreached(target, log_joint, found._replace(z=z, log_joint=jnp.zeros(256))) == []
