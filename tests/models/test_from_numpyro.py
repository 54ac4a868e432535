"""A NumPyro model has the same log-density here as there, and what has none is refused by name."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax.flatten_util import ravel_pytree
from numpyro.infer.util import log_density

import vi_jax as vi

KEY = jax.random.key(0)
# Copies: JAX remembers a NumPy constant by its identity and, where another test saw it in single precision, as single.
SCHOOLS = jax.tree.map(np.copy, vi.models.EIGHT_SCHOOLS)


def eight_schools(y, errors):
    mu, tau = numpyro.sample("mu", dist.Normal(0, 5)), numpyro.sample("tau", dist.HalfCauchy(5))
    with numpyro.plate("schools", len(y)):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("y", dist.Normal(theta, errors), obs=y)


def every_support(y):
    share = numpyro.sample("share", dist.Dirichlet(jnp.array([2.0, 3.0, 4.0])))
    steps = dist.Normal(0, 1).expand([3]).to_event(1)
    cuts = numpyro.sample("cuts", dist.TransformedDistribution(steps, dist.transforms.OrderedTransform()))
    factor: Any = numpyro.sample("factor", dist.LKJCholesky(3, 2.0))
    low = numpyro.sample("low", dist.Uniform(-1.0, 3.0))
    top = numpyro.sample("top", dist.Uniform(low, numpyro.deterministic("end", low + 2)))
    chance = numpyro.sample("chance", dist.Beta(2, 3))
    mean, scale = share @ cuts + top + factor[2, 0], numpyro.sample("scale", dist.HalfNormal(chance))
    numpyro.sample("y", dist.Normal(mean, scale), obs=y)


def free(site, value):
    """The numbers in which a density is stated: of a simplex all but one, of a factor those below the diagonal."""
    return {"share": lambda v: v[:-1], "factor": lambda v: v[jnp.tril_indices(3, -1)]}.get(site, jnp.ravel)(value)


@pytest.mark.parametrize(
    ("model", "args"),
    [(eight_schools, (SCHOOLS.effects, SCHOOLS.errors)), (every_support, (np.array([0.5, -1.0]),))],
    ids=["eight_schools", "every_support"],
)
def test_log_joint_is_numpyros_density_times_the_jacobian(x64, model, args):
    target = vi.models.from_numpyro(model, *args, key=KEY)
    z = jax.random.normal(jax.random.key(1), (target.dim,))

    def flat(z):
        return jnp.concatenate([free(site, value).ravel() for site, value in sorted(target.constrain(z).items())])

    @jax.jit
    def both(z):
        parameters = target.constrain(z)
        right = log_density(model, args, {}, parameters)[0] + jnp.linalg.slogdet(jax.jacobian(flat)(z))[1]
        return vi.models.log_density(target)(z), right, target.unconstrain(parameters)

    left, right, back = both(z)
    assert float(left) == pytest.approx(float(right), rel=1e-9)
    np.testing.assert_allclose(back, z, atol=1e-8)
    assert len(target.names) == ravel_pytree(target.constrain(z))[0].size
    sites = [name.partition("[")[0] for name in target.names]
    assert sites == sorted(sites)
    assert np.isfinite(both(jnp.asarray(target.start))[0])


def test_eight_schools_is_ours_in_another_order(x64):
    """Absolute, not up to a constant: the evidence is the same."""
    target = vi.models.from_numpyro(eight_schools, SCHOOLS.effects, SCHOOLS.errors, key=KEY)
    assert target.names == ("mu", "tau", *(f"theta[{j}]" for j in range(8)))
    z = jax.random.normal(jax.random.key(1), (10,))
    ours = vi.models.eight_schools(vi.models.CENTRED).log_joint(
        (), jnp.asarray(SCHOOLS.effects), jnp.concatenate([z[2:], z[:2]])
    )
    assert float(vi.models.log_density(target)(z)) == pytest.approx(float(ours), rel=1e-12)


def discrete():
    numpyro.sample("label", dist.Bernoulli(0.5))


def subsampled():
    with numpyro.plate("rows", 10, subsample_size=2):
        numpyro.sample("z", dist.Normal())


def with_param():
    numpyro.sample("z", dist.Normal(numpyro.param("loc", 0.0)))


def point_mass():
    numpyro.sample("z", dist.Delta(0.0))


def observed():
    numpyro.sample("z", dist.Normal(), obs=1.0)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (discrete, "site 'label' is discrete"),
        (subsampled, "plate 'rows' takes 2 of 10 data.*unconstrained_with_data"),
        (with_param, "site 'loc' is a param"),
        (point_mass, "site 'z' is a point mass"),
        (observed, "no latent site"),
    ],
)
def test_what_has_no_density_over_unconstrained_numbers_is_refused(model, message):
    with pytest.raises(ValueError, match=message):
        vi.models.from_numpyro(model, key=KEY)


def test_the_key_must_be_typed():
    with pytest.raises(TypeError, match="typed key"):
        vi.models.from_numpyro(observed, key=0)
