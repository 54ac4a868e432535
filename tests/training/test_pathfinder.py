"""Pathfinder beside BlackJAX's, and on targets whose best Gaussian is known."""

import functools

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import vi_jax as vi
from vi_jax import training
from vi_jax.training.pathfinder import log_weights

NUM_DRAWS = 1000


def density(data, z):
    """A Gaussian of the given precision times a logistic likelihood; without data, a normalised Gaussian."""
    precision, features, targets = data
    logits = (2 * targets - 1) * (features @ z)
    log_normalizer = jnp.linalg.slogdet(precision)[1] / 2 - 2.5 * jnp.log(2 * jnp.pi)
    return (
        log_normalizer
        - z @ precision @ z / 2
        + jnp.sum(jax.nn.log_sigmoid(logits) + jnp.log(2) * (features[:, 0] == 0))
    )


def correlated():
    """A normalised Gaussian, the condition number some hundreds."""
    mixing = jnp.diag(jnp.geomspace(1, 10, 5)) @ (jnp.eye(5) + 0.3)
    return mixing.T @ mixing, jnp.zeros((100, 5)), jnp.zeros(100)


def logistic():
    features_key, target_key = jax.random.split(jax.random.key(3))
    features = jax.random.normal(features_key, (100, 5))
    targets = jax.random.bernoulli(target_key, jax.nn.sigmoid(features @ jnp.arange(5.0) / 3)).astype(float)
    return jnp.eye(5), features, targets


@jax.jit
@functools.partial(jax.vmap, in_axes=(None, 0, 0))
def blackjax_elbo(data, key, start):
    target = functools.partial(density, data)
    state, _ = blackjax.vi.pathfinder.approximate(key, target, start, num_samples=50, maxiter=30, maxcor=6)
    draws, log_q = blackjax.vi.pathfinder.sample(key, state, NUM_DRAWS)
    log_w = jax.vmap(target)(draws) - log_q
    return jnp.mean(log_w), jnp.std(log_w) / NUM_DRAWS**0.5


@jax.jit
def laplace_elbo(data, start, noise):
    """Of the best Gaussian, nearly: that of the curvature at the mode."""
    target = functools.partial(density, data)
    newton = start
    for _ in range(8):
        newton = newton - jnp.linalg.solve(jax.hessian(target)(newton), jax.grad(target)(newton))
    return jnp.mean(log_weights(target, training.laplace(target, newton).gaussian, noise))


@pytest.fixture(scope="module", params=[correlated, logistic], ids=["correlated", "logistic"])
def both(request):
    """(data, ours, the ELBOs and standard errors of BlackJAX's from the same starts)."""
    data = request.param()
    starts = jax.random.uniform(jax.random.key(0), (4, 5), minval=-2, maxval=2)
    found = training.pathfinder(jax.random.key(1), Partial(density, data), starts, num_final_draws=NUM_DRAWS)
    return data, found, blackjax_elbo(data, jax.random.split(jax.random.key(2), 4), starts)


def test_the_elbo_is_not_below_that_of_blackjax(both):
    _, found, (elbo, error) = both
    best = jnp.argmax(elbo)
    assert found.elbo[found.best] > elbo[best] - 4 * jnp.hypot(error[best], found.standard_error[found.best]) - 0.05


def test_the_elbo_is_that_of_the_gaussian_that_is_returned(both):
    data, found, _ = both
    noise = jax.random.normal(jax.random.key(5), (NUM_DRAWS, 5))
    log_w = jax.vmap(lambda gaussian: log_weights(Partial(density, data), gaussian, noise))(found.gaussian)
    error = np.hypot(np.std(log_w, axis=1) / NUM_DRAWS**0.5, found.standard_error)
    assert np.all(np.abs(np.mean(log_w, axis=1) - found.elbo) < 4 * error + 1e-3)


def test_the_best_path_is_near_the_gaussian_of_the_mode(both):
    data, found, _ = both
    best = laplace_elbo(data, found.gaussian.loc[found.best], jax.random.normal(jax.random.key(6), (NUM_DRAWS, 5)))
    assert found.elbo[found.best] > best - 0.5
    assert np.all(found.chosen <= found.num_steps)


def test_a_funnel_is_approximated_on_the_way_to_its_useless_mode():
    model = vi.models.funnel(10).model
    starts = jax.random.uniform(jax.random.key(0), (4, 10), minval=-2, maxval=2)
    found = training.pathfinder(jax.random.key(1), lambda z: model.log_joint((), None, z), starts)
    assert found.elbo[found.best] > -6
    assert found.chosen[found.best] < found.num_steps[found.best] / 2


def test_a_path_that_starts_in_nan_is_never_the_best_and_one_that_ends_beside_it_is_cut_off_there():
    """N(0, 1)² without its left half: the best Gaussian is itself, cut off, and worth log π."""

    def half(z):
        return jnp.where(z[0] > 0, -z @ z / 2, jnp.nan)

    starts = jnp.array([[-4.0, 0.0], [1.0, 2.0]])
    found = training.pathfinder(jax.random.key(1), half, starts, num_final_draws=NUM_DRAWS)
    assert found.best == 1
    assert np.isneginf(found.elbo[0])
    assert np.log(np.pi) - 0.5 < found.elbo[1] < np.log(np.pi) + 4 * found.standard_error[1] + 0.1


def test_one_final_draw_is_refused():
    with pytest.raises(ValueError, match="num_final_draws must be at least 2"):
        training.pathfinder(jax.random.key(0), jnp.sum, jnp.zeros((1, 5)), num_final_draws=1)
