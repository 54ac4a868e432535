"""Each fault of a density is found by its own check, and none in a density without fault."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from vi_jax.posterior import findings, shape
from vi_jax.posterior.evaluate import Evaluations, density

PARAMS = vi.Params((), ())


def normal(p):
    return -(p["mu"] ** 2 + p["sigma"] ** 2) / 2


def drawn(log_density, loc=(0.0, 0.0), scale=1.0):
    """A target over mu and sigma, its density, and 256 draws of N(loc, scale² I) of it."""
    target = vi.models.unconstrained(log_density, {"mu": 0.3, "sigma": 0.5})
    z = scale * jax.random.normal(jax.random.key(0), (256, 2)) + jnp.array(loc)
    log_joint = density(target, PARAMS)
    value, gradient = jax.jit(jax.vmap(jax.value_and_grad(log_joint)))(z)
    return target, log_joint, Evaluations(z, value, gradient, jnp.zeros(256))


def texts(found):
    return [finding.text for finding in found]


def test_nothing_is_found_in_a_density_without_fault():
    target, log_joint, found = drawn(lambda p: normal(p) + jnp.abs(p["mu"]))
    assert findings.nan_densities(target, log_joint, found) == []
    assert findings.support_mismatch(target, log_joint, found) == []
    assert findings.infinite_densities(target, log_joint, found) == []
    assert findings.nonfinite_gradients(target, found) == []
    assert findings.rounding(log_joint, found) == []
    # A kink is no step.
    assert shape.steps(log_joint, found) == []
    assert shape.tails(target, log_joint, found) == []


@pytest.mark.parametrize(
    ("check", "outside", "kind"),
    [
        (findings.nan_densities, jnp.nan, "nan"),
        (findings.support_mismatch, -jnp.inf, "support"),
        (findings.infinite_densities, jnp.inf, "infinite"),
    ],
)
def test_what_is_no_number_is_counted_and_the_parameter_named(check, outside, kind):
    target, log_joint, found = drawn(lambda p: jnp.where(p["sigma"] > -1, normal(p), outside))
    (finding,) = check(target, log_joint, found)
    count = int(np.sum(found.z[:, 1] <= -1))
    assert finding.kind == kind
    assert finding.is_fatal
    assert f"({count} of 256), because of sigma (in [" in finding.text
    assert "because of mu" not in finding.text


def test_a_constraint_that_ties_two_parameters_is_blamed_on_neither():
    target, log_joint, found = drawn(
        lambda p: jnp.where((p["mu"] - p["sigma"]) ** 2 < 1, normal(p), -jnp.inf), scale=0.01, loc=(3.0, 3.0)
    )
    # All but one draw move along the diagonal, far beyond what either may move alone.
    line = jnp.linspace(-3, 3, 256)[:, None] * jnp.array([1.0, 1.0])
    moved = found._replace(z=line.at[:, 0].add(jnp.where(jnp.arange(256) % 16 == 3, 1.5, 0.0)))
    values = jax.vmap(log_joint)(moved.z)
    (finding,) = findings.support_mismatch(target, log_joint, moved._replace(log_joint=values))
    assert "(16 of 256)" in finding.text
    nothing = found._replace(log_joint=jnp.full(256, -jnp.inf))
    (finding,) = findings.support_mismatch(target, log_joint, nothing)
    assert "finite at none" in finding.text


def test_a_gradient_that_is_no_number_is_named():
    # √0 in the branch that is not taken.
    target, _, found = drawn(
        lambda p: normal(p) + jnp.where(p["mu"] > 0, jnp.sqrt(jnp.where(p["mu"] > 0, 1.0, 0.0) * p["mu"] ** 2), 0.0)
    )
    (finding,) = findings.nonfinite_gradients(target, found)
    assert "for mu. One of them: mu = -" in finding.text


def test_a_step_is_found_with_its_height_and_one_that_no_draw_crosses_is_not():
    _, log_joint, found = drawn(lambda p: normal(p) + jnp.where(p["mu"] + p["sigma"] > 0.2, 0.7, 0.0))
    (finding,) = shape.steps(log_joint, found)
    assert "of 0.7 nats at most" in finding.text
    _, log_joint, found = drawn(lambda p: normal(p) + jnp.where(p["mu"] > 50, 0.7, 0.0))
    assert shape.steps(log_joint, found) == []


def test_a_bent_valley_is_no_step():
    """Its gradients are of hundreds of nats, so that rounding decides which half of a segment is looked at."""
    _, log_joint, found = drawn(lambda p: -((14 * p["sigma"] - 0.1 * (144 * p["mu"] ** 2 - 100)) ** 2) / 2)
    assert shape.steps(log_joint, found) == []


def test_the_neck_of_a_funnel_is_no_step():
    """Draws of N(0, e^{2 mu}) by mu of e^{−14} and more, whose peaks no segment resolves."""
    _, log_joint, found = drawn(lambda p: -(p["mu"] ** 2) / 50 - (p["sigma"] * jnp.exp(-p["mu"])) ** 2 / 2 - p["mu"])
    scale = jnp.linspace(-14, 0, 256)
    z = jnp.stack([scale, jnp.exp(scale) * found.z[:, 1]], axis=1)[jax.random.permutation(jax.random.key(1), 256)]
    value, gradient = jax.vmap(jax.value_and_grad(log_joint))(z)
    assert shape.steps(log_joint, found._replace(z=z, log_joint=value, gradient=gradient)) == []


def test_a_steep_slope_is_no_step():
    _, log_joint, found = drawn(lambda p: 1e4 * normal(p))
    assert shape.steps(log_joint, found) == []


@pytest.mark.parametrize(
    ("log_density", "text"),
    [
        (lambda p: -(p["mu"] ** 2), "sigma → −∞ (unconstrained), sigma → +∞"),
        (lambda p: normal(p) + p["sigma"] ** 2 / 2 + jnp.minimum(p["sigma"], 0), "does not fall as sigma → +∞"),
        (lambda p: -(p["mu"] ** 2) + p["sigma"], "rises as sigma → +∞"),
        (lambda p: -(p["mu"] ** 2) - 0.5 * jnp.log1p(p["sigma"] ** 2), "improper"),
        (lambda p: -(p["mu"] ** 2) - jnp.log1p(p["sigma"] ** 2), None),
        (lambda p: -(p["mu"] ** 2) - jnp.exp(jnp.abs(p["sigma"])), None),
    ],
    ids=["flat", "flat on one side", "rising", "1/z", "Cauchy", "overflow"],
)
def test_tails_that_have_no_integral_are_found_and_others_are_not(log_density, text):
    target, log_joint, found = drawn(log_density)
    said = texts(shape.tails(target, log_joint, found))
    assert said == [] if text is None else text in said[0]


def test_rounding_is_measured():
    _, log_joint, found = drawn(lambda p: normal(p) + 3e7)
    (finding,) = findings.rounding(log_joint, found)
    assert not finding.is_fatal
    noise = float(finding.text.partition(" by ")[2].partition(" nats")[0])
    # Numbers near 3·10⁷ are 2 apart in float32: rounding to the nearest has the error 2/√12.
    assert 0.2 < noise < 2


def test_a_guide_narrower_than_rounding_is_found():
    target, _, found = drawn(normal, loc=(1e6, 0.0), scale=0.001)
    (finding,) = findings.collapsed(target, found)
    assert "one number, 1e+06 unconstrained, for mu:" in finding.text
    assert findings.collapsed(target, drawn(normal)[2]) == []


def test_a_fit_that_still_rises_is_found():
    noise = np.random.default_rng(0).normal(size=1000)
    assert shape.growth(jnp.asarray(-10 + noise)) == []
    assert shape.growth(jnp.asarray(-100 * np.exp(-np.arange(1000) / 50) + noise)) == []
    (finding,) = shape.growth(jnp.asarray(0.05 * np.arange(1000) + noise))
    # 0.05 a step, over 375 steps from the middle of the first of four parts to that of the last.
    assert "by 18." in finding.text
