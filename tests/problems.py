"""Small models and guides, written as a user writes them: for one datum and one draw, with plain arithmetic."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

import vi_jax as vi


def log_normal(y, loc, scale):
    return -jnp.sum(jnp.square((y - loc) / scale) / 2 + jnp.log(scale)) - y.size * math.log(2 * math.pi) / 2


class Normal(NamedTuple):
    """All that a guide's distribution needs: `sample` with one key, and `log_prob`."""

    loc: jax.Array
    scale: jax.Array

    def sample(self, *, seed: jax.Array) -> jax.Array:
        return self.loc + self.scale * jax.random.normal(seed, self.loc.shape, self.loc.dtype)

    def log_prob(self, z: jax.Array) -> jax.Array:
        return log_normal(z, self.loc, self.scale)


# --- a curved likelihood; every leaf of θ and φ has a gradient --------------------------------------------------------


def _curved_log_joint(theta, x, z):
    mean = z + 0.5 * jnp.sin(z[::-1])
    return log_normal(z, theta["mu"], jnp.exp(theta["log_scale"])) + log_normal(x, mean, jnp.ones(()))


def _amortized(phi, x):
    return Normal(phi["A"] @ x + phi["b"], jnp.exp(phi["log_scale"]))


def _curved_theta(key):
    return {"mu": jax.random.normal(key, (2,)), "log_scale": jnp.asarray(-0.1)}


def _amortized_phi(key):
    return {"A": 0.4 * jnp.eye(2) + 0.1 * jax.random.normal(key, (2, 2)), "b": jnp.zeros(2), "log_scale": jnp.zeros(2)}


CURVED = vi.Model(_curved_theta, _curved_log_joint)
AMORTIZED = vi.Guide(_amortized_phi, _amortized)


def curved_params() -> vi.Params:
    return vi.Params(CURVED.init(jax.random.key(1)), AMORTIZED.init(jax.random.key(2)))


def curved_data(batch_size: int = 2) -> jax.Array:
    return jax.random.normal(jax.random.key(3), (batch_size, 2))


# --- a density that is zero below an edge, with a derivative there that is NaN ----------------------------------------


def _edged_log_joint(theta, x, z):
    # 0 · d log(0) = NaN, in θ and in z, wherever z lies below the edge.
    height = jnp.log(jnp.maximum(z[0] - x["edge"] - theta, 0.0))
    return height + log_normal(z, 0.3, jnp.ones(())) + log_normal(x["y"], z, jnp.ones(()))


EDGED = vi.Model(lambda key: jnp.zeros(()), _edged_log_joint)
FREE = vi.Guide(
    lambda key: {"loc": jnp.zeros(2), "log_scale": jnp.zeros(2)},
    lambda phi, x: Normal(phi["loc"], jnp.exp(phi["log_scale"])),
)


def edged_params() -> vi.Params:
    return vi.Params(jnp.asarray(0.1), {"loc": jnp.array([0.2, -0.3]), "log_scale": jnp.array([0.1, -0.2])})


def edged_data(*edges: float):
    """An edge of 100 makes a datum impossible, one of −100 always possible, one of 0 possible for half of the draws."""
    y = jax.random.normal(jax.random.key(4), (8, 2))[: len(edges)]
    return {"edge": jnp.array(edges), "y": y}


# --- a latent that is a dictionary ------------------------------------------------------------------------------------


class Pair(NamedTuple):
    """z = {"global": scalar, "local": [2]}, the local part around the global one."""

    loc: jax.Array
    scale: jax.Array

    def sample(self, *, seed: jax.Array):
        first, second = jax.random.split(seed)
        top = Normal(self.loc[0], self.scale).sample(seed=first)
        return {"global": top, "local": Normal(self.loc[1:] + top, self.scale).sample(seed=second)}

    def log_prob(self, z):
        top = Normal(self.loc[0], self.scale).log_prob(z["global"])
        return top + Normal(self.loc[1:] + z["global"], self.scale).log_prob(z["local"])


def _tree_log_joint(theta, x, z):
    top = log_normal(z["global"], theta, jnp.ones(()))
    return top + log_normal(z["local"], z["global"], jnp.ones(())) + log_normal(x["y"], z["local"], jnp.exp(x["noise"]))


TREE = vi.Model(lambda key: jnp.zeros(()), _tree_log_joint)
PAIRED = vi.Guide(lambda key: (jnp.zeros(3), jnp.zeros(())), lambda phi, x: Pair(phi[0] + x["y"][0], jnp.exp(phi[1])))


def tree_params() -> vi.Params:
    return vi.Params(jnp.asarray(0.2), (jnp.array([0.1, -0.2, 0.3]), jnp.asarray(0.1)))


def tree_data():
    return {"y": jax.random.normal(jax.random.key(5), (2, 2)), "noise": jnp.array([0.1, -0.1])}


# --- a density that is never zero, with a derivative that is NaN below an edge where its weight underflows ------------


def _cliff_log_joint(theta, x, z):
    above = z[0] > x["edge"] + theta
    # d √u = NaN at u < 0, although `where` does not select it.
    height = jnp.where(above, jnp.sqrt(z[0] - x["edge"] - theta), -2000.0)
    return height + log_normal(z, 0.3, jnp.ones(())) + log_normal(x["y"], z, jnp.ones(()))


CLIFF = EDGED._replace(log_joint=_cliff_log_joint)
