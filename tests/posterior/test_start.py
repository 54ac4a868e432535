"""A density that cannot be fitted is refused before the fit, by the name of the parameter."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy import stats

from vi_jax.models import supports, unconstrained
from vi_jax.posterior.start import check_start

Y = np.linspace(-1.0, 2.0, 20)
LIKE = {"mu": 0.0, "scale": 1.0}


def normal(p):
    return stats.norm.logpdf(Y, p["mu"], p["scale"]).sum() + stats.gamma.logpdf(p["scale"], 2.0)


def check(density, like, declared=None):
    target = unconstrained(density, like, declared)
    check_start(target, jnp.asarray(target.start, float))


@pytest.mark.parametrize(
    ("density", "like", "declared"),
    [
        (normal, LIKE, {"scale": supports.positive}),
        # Overflow is no end of a support: log p falls by itself before it is −∞.
        (lambda p: -jnp.exp(jnp.exp(p["mu"])) - p["mu"] ** 2, {"mu": 1.0}, None),
        (lambda p: stats.poisson.logpmf(np.array([3, 4]), jnp.exp(100 * p["mu"])).sum(), {"mu": 0.0}, None),
    ],
)
def test_a_density_with_its_supports_is_accepted(density, like, declared):
    check(density, like, declared)


@pytest.mark.parametrize(
    ("density", "like", "declared", "message"),
    [
        (normal, LIKE, None, "log_density is nan at scale = .*which its support allows.*positive"),
        (lambda p: stats.gamma.logpdf(p["a"]["b"], 2.0), {"a": {"b": 1.0}}, None, "is -inf at a.b = -.*of a.b in"),
        (lambda p: stats.beta.logpdf(p["p"], 2.0, 3.0), {"p": 0.5}, {"p": supports.positive}, "is -inf at p = 1"),
        (
            lambda p: jnp.where(jnp.all(p["w"] > -1), -jnp.sum(p["w"]), -jnp.inf) - p["mu"] ** 2,
            {"mu": 0.0, "w": np.zeros(3)},
            None,
            r"is -inf at w = \[",
        ),
        (lambda p: jnp.log(p["mu"]), {"mu": -1.0}, None, "is nan at the start, mu = -1"),
        (
            lambda p: -jnp.sqrt(jnp.sum(p["w"] ** 2)) - p["mu"],
            {"mu": 1.0, "w": np.zeros(2)},
            None,
            "respect to w is not",
        ),
    ],
)
def test_one_without_is_refused_by_name(density, like, declared, message):
    with pytest.raises(ValueError, match=message):
        check(density, like, declared)
