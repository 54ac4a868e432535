"""A log-density over parameters with supports, as a model over one vector."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy import stats

import vi_jax as vi
from vi_jax.models import supports


class Pair(NamedTuple):
    scale: jax.Array
    share: jax.Array


def gamma_and_beta(pair: Pair) -> jax.Array:
    return stats.gamma.logpdf(pair.scale, 3.0) + stats.beta.logpdf(pair.share, 2.0, 5.0)


TARGET = vi.models.unconstrained(gamma_and_beta, Pair(1.0, 0.5), Pair(supports.positive, supports.unit_interval))


def test_the_density_is_still_one_after_the_change_of_variables():
    """By a Riemann sum over the plane, which is exact to many digits for a smooth density."""
    grid = jnp.linspace(-16.0, 16.0, 401)
    log_p = jax.vmap(lambda a: jax.vmap(lambda b: vi.models.log_density(TARGET)(jnp.stack([a, b])))(grid))(grid)
    assert float(jnp.exp(jax.nn.logsumexp(log_p)) * (grid[1] - grid[0]) ** 2) == pytest.approx(1.0, abs=1e-5)


def test_there_and_back():
    z = jnp.array([0.3, -1.2])
    pair = TARGET.constrain(z)
    assert isinstance(pair, Pair)
    np.testing.assert_allclose(pair, (jnp.exp(0.3), jax.nn.sigmoid(-1.2)), rtol=1e-6)
    np.testing.assert_allclose(TARGET.unconstrain(pair), z, rtol=1e-5)


def test_it_starts_from_the_example():
    np.testing.assert_allclose(TARGET.constrain(TARGET.start), (1.0, 0.5), rtol=1e-6)


def test_any_bound_and_estimator_takes_it():
    guide = vi.guides.mean_field(2)
    objective = vi.value_and_grad(
        TARGET.model, guide, vi.bounds.iwae, vi.estimators.doubly_reparameterized, num_samples=8
    )
    values, gradient = objective(jax.random.key(0), vi.Params((), guide.init(jax.random.key(0))), TARGET.x)
    assert values.shape == (1,)
    assert float(values[0]) < 0.5
    assert gradient.phi.loc.shape == (2,)


def test_names_follow_the_raveled_parameters():
    like = {"b": np.zeros(2), "a": {"L": np.eye(2), "s": 1}}
    target = vi.models.unconstrained(
        lambda p: -jnp.sum(p["b"] ** 2) - p["a"]["s"], like, {"a": {"L": supports.correlation_cholesky}}
    )
    assert target.names == ("a.L[0,0]", "a.L[0,1]", "a.L[1,0]", "a.L[1,1]", "a.s", "b[0]", "b[1]")
    assert target.dim == 4
    flat = jax.flatten_util.ravel_pytree(target.constrain(jnp.array([0.5, 2.0, 3.0, 4.0])))[0]
    np.testing.assert_allclose(flat[4:], [2.0, 3.0, 4.0])
    assert vi.models.unconstrained(lambda z: -(z**2), 0.0).names == ("z",)


def test_minibatches_estimate_the_log_joint_and_nothing_else():
    data = jnp.arange(6.0)
    target = vi.models.unconstrained_with_data(
        lambda p: -p["scale"],
        lambda y, p: stats.norm.logpdf(y, p["mu"], p["scale"]),
        data,
        {"mu": 0.0, "scale": 1.0},
        {"scale": supports.positive},
    )
    z = jnp.array([0.3, 0.2])
    scale = jnp.exp(0.2)
    whole = stats.norm.logpdf(data, 0.3, scale).sum() - scale + 0.2
    assert float(vi.models.log_density(target)(z)) == pytest.approx(float(whole), rel=1e-5)
    # The prior and the Jacobian count once, whatever the batch.
    halves = [target.model.log_joint((), half, z) for half in (data[:3], data[3:])]
    assert float(np.mean(halves)) == pytest.approx(float(whole), rel=1e-5)
    guide = vi.guides.mean_field(2)
    objective = vi.value_and_grad(target.model, guide, vi.bounds.iwae, vi.estimators.pathwise, num_samples=4)
    with pytest.raises(ValueError, match="likelihood"):
        objective(jax.random.key(0), vi.Params((), guide.init(jax.random.key(0))), data[None, :3])


@pytest.mark.parametrize(
    ("density", "like", "declared", "message"),
    [
        (lambda p: p["s"], {"s": -1.0}, {"s": supports.positive}, "like has s = -1.0.*positive"),
        (lambda p: p["s"], {"s": 1.0}, {"t": supports.positive}, r"names \['t'\].*\['s'\]"),
        (lambda p: p["s"]["a"], {"s": {"a": 1.0}}, {"s": {"b": supports.real}}, r"supports\['s'\] names \['b'\]"),
        (lambda p: p[0], (1.0, 2.0), (supports.real,), "must begin as like does"),
        (lambda p: p["s"], {"s": np.ones(2)}, None, r"one floating-point number.*float32\[2\]"),
        (lambda p: jnp.int32(1), {"s": 1.0}, None, "one floating-point number.*int32"),
        (lambda p: 0.0, {}, None, "like has no parameters"),
        (lambda p: 0.0, {"s": 1.0, "t": {"a": 1j}}, None, "like has t.a = 1j, which is no real number"),
        (lambda p: 0.0, {"s": "one"}, None, "like has s = 'one', which is no real number"),
        (lambda p: 0.0, {"s": np.zeros((0, 2))}, None, r"like has s = array\(\[\].*no array of some"),
    ],
)
def test_a_mismatch_is_one_error_that_names_the_parameter(density, like, declared, message):
    with pytest.raises(ValueError, match=message):
        vi.models.unconstrained(density, like, declared)


def test_what_is_no_support_is_refused():
    with pytest.raises(TypeError, match="must hold supports"):
        vi.models.unconstrained(lambda p: p["s"], {"s": 1.0}, {"s": "positive"})


def test_data_are_looked_at():
    arguments = (lambda p: -p, lambda y, p: -y * p)
    with pytest.raises(ValueError, match="NaN"):
        vi.models.unconstrained_with_data(*arguments, jnp.array([1.0, jnp.nan]), 1.0)
    with pytest.raises(ValueError, match="batch axis"):
        vi.models.unconstrained_with_data(*arguments, jnp.array(1.0), 1.0)
