"""Names of unconstrained coordinates."""

import jax.numpy as jnp
import numpy as np

import vi_jax as vi
from vi_jax.models import supports
from vi_jax.posterior.parameters import coordinate_names


def test_a_coordinate_goes_by_what_it_alone_moves():
    like = {"scale": 2.0, "share": np.full(3, 1 / 3)}
    target = vi.models.unconstrained(
        lambda p: jnp.sum(p["share"]), like, {"scale": supports.positive, "share": supports.simplex}
    )
    assert coordinate_names(target, jnp.zeros(3)) == ("scale", "share", "share")
    # theta = scale · noise, as in a non-centred hierarchy: the scale moves all of them.
    constrain = lambda z: {"noise": jnp.exp(z[2]) * z[:2], "scale": jnp.exp(z[2])}  # noqa: E731
    scaled = target._replace(constrain=constrain, names=("theta[0]", "theta[1]", "scale"))
    assert coordinate_names(scaled, jnp.ones(3)) == ("theta[0]", "theta[1]", "scale")
