"""ARM and DisARM: unbiased for any bound against the sum over all codes, and with the noise in the stated order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import vi_jax as vi
from tests.populations import z_scores
from vi_jax import bounds, estimators, guides, models, objectives

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)
NET, GUIDE = models.sigmoid_belief_net(3, 4), guides.bernoulli_encoder(4, 3, hidden=())
X = jnp.array([[0.0, 1, 1, 0], [1, 1, 0, 1]])


def point() -> vi.Params:
    theta = NET.model.init(KEY)
    return vi.Params(theta._replace(W=3 * theta.W, b=jnp.array([0.5, -1.0, 0.2])), GUIDE.init(jax.random.key(1)))


def objective_of(bound, rule, size):
    """A pair of draws per draw of the bound, or two independent draws more."""
    if rule in (objectives.arm, objectives.disarm):
        return rule(NET.model, GUIDE, bound, num_pairs=size)
    return vi.value_and_grad(NET.model, GUIDE, bound, rule, num_samples=size)


CASES = {
    "ARM": (bounds.elbo, objectives.arm, 1),
    "DisARM": (bounds.elbo, objectives.disarm, 1),
    "two draws": (bounds.elbo, estimators.leave_one_out, 2),
    "ARM, IWAE": (bounds.iwae, objectives.arm, 3),
    "DisARM, IWAE": (bounds.iwae, objectives.disarm, 3),
    "VIMCO": (bounds.iwae, estimators.vimco, 3),
    "DisARM, plain function": (lambda log_w: jnp.tanh(0.3 * bounds.iwae(log_w)), objectives.disarm, 2),
}


@pytest.fixture(scope="module")
def population():
    """Values `[R, B]` and gradients `[R, P]` of every case, on the same keys, in one program."""
    with jax.enable_x64(True):
        params, keys = point(), jax.random.split(KEY, 20_000)

        def one(key):
            results = {name: objective_of(*case)(key, params, X) for name, case in CASES.items()}
            return {name: (values, ravel_pytree(g)[0], g.phi) for name, (values, g) in results.items()}

        return jax.device_get(jax.jit(jax.vmap(one))(keys))


def test_values_and_gradients_have_the_exact_mean_under_every_bound(population):
    params = point()

    def expected(bound, size, params):
        per_datum = jax.vmap(lambda x: vi.exact.expected_bound(bound, NET.model, GUIDE, params, x, num_samples=size))(X)
        return jnp.mean(per_datum), per_datum

    for name, (bound, rule, size) in CASES.items():
        if rule not in (objectives.arm, objectives.disarm):
            continue
        gradient, per_datum = jax.jit(jax.grad(lambda p, b=bound, k=size: expected(b, k, p), has_aux=True))(params)
        values, found, _ = population[name]
        wanted = np.asarray(ravel_pytree(gradient)[0])
        moves = found.std(axis=0) > 1e-12
        assert z_scores(values, np.asarray(per_datum)).max() < 4, name
        assert z_scores(found[:, moves], wanted[moves]).max() < 4, name
        np.testing.assert_allclose(found[0][~moves], wanted[~moves], atol=1e-12)


def test_disarm_has_less_noise_than_arm_and_than_as_many_independent_draws(population):
    noise = {
        name: sum(np.var(leaf, axis=0).sum() for leaf in jax.tree.leaves(g)) for name, (_, _, g) in population.items()
    }
    assert noise["DisARM"] < 0.95 * noise["ARM"]
    assert noise["DisARM, IWAE"] < 0.95 * noise["ARM, IWAE"]
    assert noise["DisARM"] < 0.8 * noise["two draws"]
    assert noise["DisARM, IWAE"] < 0.8 * noise["VIMCO"]


def test_disarm_is_the_mean_of_arm_over_the_noise_of_a_pair():
    """∫ (½ − u) du over the u that give a pair, divided by their length, is the factor of DisARM."""
    logit = 0.8
    u = (np.arange(100_000) + 0.5) / 100_000
    on = 1 / (1 + np.exp(-logit))
    z, mirrored = u < on, 1 - u < on
    for bits in ((True, False), (False, True), (True, True)):
        here = (z == bits[0]) & (mirrored == bits[1])
        factor = (0.5 - bits[1]) * on if bits[0] != bits[1] else 0
        assert np.mean(0.5 - u[here]) == pytest.approx(factor, abs=1e-4)


def test_a_weight_of_zero_leaves_the_gradients_finite():
    def log_joint(theta, x, z):
        return jnp.where(z[0] == 1, theta + x, -jnp.inf)

    model, guide = vi.Model(lambda key: jnp.ones(()), log_joint), guides.bernoulli(2)
    params, x = vi.Params(jnp.ones(()), jnp.zeros(2)), jnp.zeros(5)
    for bound in (bounds.elbo, bounds.iwae):
        values, gradient = objectives.disarm(model, guide, bound, num_pairs=2)(KEY, params, x)
        assert np.all(np.isfinite(ravel_pytree(gradient)[0]))
        assert np.isneginf(values).any() or bound is bounds.iwae
    divergence = bounds.f_divergence(bounds.csiszar.kl_reverse)
    values, gradient = objectives.disarm(model, guide, divergence, num_pairs=2)(KEY, params, x)
    assert np.isposinf(values).any()
    assert np.all(np.isfinite(ravel_pytree(gradient)[0]))


def test_other_guides_are_refused():
    objective = objectives.disarm(models.linear_gaussian(2).model, guides.mean_field(2), num_pairs=1)
    params = vi.Params(jnp.zeros(2), guides.mean_field(2).init(KEY))
    with pytest.raises(ValueError, match=r"independent Bernoulli bits.*DiagonalGaussian.*leave_one_out"):
        objective(KEY, params, jnp.zeros((1, 2)))
