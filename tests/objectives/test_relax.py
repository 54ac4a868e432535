"""RELAX: unbiased whatever its control, less noise than without one, and a control that descends the noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import vi_jax as vi
from tests.populations import z_scores
from vi_jax import guides, models, objectives
from vi_jax.guides import BinaryConcrete

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)
NET, GUIDE = models.sigmoid_belief_net(3, 4), guides.bernoulli_encoder(4, 3, hidden=())
X = jnp.array([[0.0, 1, 1, 0], [1, 1, 0, 1]])
NUM_PHI = 15
KEYS = jax.random.split(KEY, 20_000)
CONTROLS = ((0.5, 1.0), (0.1, 0.5), (2.0, -1.0), (0.5, 0.0))
"""(τ, η): the initial one, two bad ones, and none."""


def point() -> vi.Params:
    theta = NET.model.init(KEY)
    return vi.Params(theta._replace(W=3 * theta.W, b=jnp.array([0.5, -1.0, 0.2])), GUIDE.init(jax.random.key(1)))


def controls() -> objectives.Control:
    each = [objectives.start_control(temperature=t, scale=s) for t, s in CONTROLS]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)


def gradients_of(objective, params, x):
    """Returns a jitted function: stacked controls `[C]` -> gradients `[C, R, P]`, on the same draws for each."""

    def one(key, control):
        return ravel_pytree(objective(key, params, x, control)[1])[0]

    return jax.jit(jax.vmap(lambda c: jax.lax.map(lambda key: one(key, c), KEYS, batch_size=5000)))


def exact_gradient(model, guide, params, x):
    return np.asarray(ravel_pytree(objectives.enumerated(model, guide)(KEY, params, x)[1])[0])


def squares(gradients):
    return np.square(np.asarray(gradients)[:, -NUM_PHI:]).sum(axis=1)


@pytest.fixture(scope="module")
def gradients():
    with jax.enable_x64(True):
        return gradients_of(objectives.relax(NET.model, GUIDE, num_samples=1), point(), X)


@pytest.fixture(scope="module")
def population(gradients):
    with jax.enable_x64(True):
        return np.asarray(gradients(controls()))


def test_unbiased_at_every_control(population):
    exact = exact_gradient(NET.model, GUIDE, point(), X)
    for samples in population:
        assert z_scores(samples, exact).max() < 4.5
    # θ's gradient is the plain one: no control touches it.
    assert np.array_equal(population[0][:, :-NUM_PHI], population[1][:, :-NUM_PHI])


def test_less_noise_with_a_good_control_than_with_none_and_more_with_a_bad_one(population):
    start, _, bad, none = (squares(samples) for samples in population)
    assert (none - start).mean() > 10 * (none - start).std() / np.sqrt(len(start))
    assert start.mean() < 0.2 * none.mean() < none.mean() < bad.mean()


def test_without_a_control_it_is_the_score_function(population):
    """All 64 values that f(z) ∂_φ log q(z) can take on two data, and no others."""
    params, codes = point(), models.codes(3)

    def advantage(x, z):
        return NET.model.log_joint(params.theta, x, z) - GUIDE.distribution(params.phi, x).log_prob(z)

    def score(first, second):
        def mean(phi):
            terms = [
                advantage(x, z) * GUIDE.distribution(phi, x).log_prob(z)
                for x, z in zip(X, (first, second), strict=True)
            ]
            return jnp.mean(jnp.stack(terms))

        return ravel_pytree(jax.grad(mean)(params.phi))[0]

    possible = jax.jit(jax.vmap(jax.vmap(score, (None, 0)), (0, None)))(codes, codes).reshape(64, NUM_PHI)
    found = population[3][:500, None, -NUM_PHI:]
    assert np.abs(found - possible).max(axis=2).min(axis=1).max() < 1e-10


def test_learning_lowers_the_noise(gradients, population):
    objective = objectives.relax(NET.model, GUIDE, num_samples=1, learning_rate=0.02)
    params = point()

    @jax.jit
    def learn(control):
        return jax.lax.scan(
            lambda c, key: (objective(key, params, X, c)[2], None), control, jax.random.split(jax.random.key(7), 1500)
        )[0]

    learned = learn(objectives.start_control())
    after = squares(gradients(jax.tree.map(lambda leaf: jnp.stack([leaf] * len(CONTROLS)), learned))[0])
    gain = squares(population[0]) - after
    assert gain.mean() > 4 * gain.std() / np.sqrt(len(gain))


def test_the_slope_of_the_control_is_the_derivative_of_the_squared_gradient_draw_by_draw():
    rate, params, key = 0.1, point(), jax.random.key(3)
    objective = objectives.relax(NET.model, GUIDE, num_samples=2, learning_rate=rate)
    control = objectives.start_control(temperature=0.7, scale=0.6)
    _, _, after = objective(key, params, X, control)
    moved = np.array([after.log_temperature - control.log_temperature, after.scale - control.scale])
    # A step is −rate · slope / √square, and from zero square = slope² / 100.
    np.testing.assert_allclose(np.abs(moved), 10 * rate, rtol=1e-9)
    slope = -np.sign(moved) * np.sqrt(100 * np.asarray(after.square))

    def noise(t, s):
        _, gradient, _ = objective(key, params, X, control._replace(log_temperature=t, scale=s))
        return float(jnp.sum(ravel_pytree(gradient.phi)[0] ** 2))

    t, s, h = float(control.log_temperature), float(control.scale), 1e-5
    numerical = [noise(t + h, s) - noise(t - h, s), noise(t, s + h) - noise(t, s - h)]
    np.testing.assert_allclose(slope, np.array(numerical) / (2 * h), rtol=1e-6)


def test_mutants_are_seen(monkeypatch, population):
    """A second draw whose derivative is lost is a bias; one that is not tied to the bits is none, and of less use."""
    right = BinaryConcrete.perturb_given

    def mutated(mutant):
        monkeypatch.setattr(BinaryConcrete, "perturb_given", mutant)
        found = gradients_of(objectives.relax(NET.model, GUIDE, num_samples=1), point(), X)
        return np.asarray(found(jax.tree.map(lambda leaf: leaf[None], objectives.start_control())))[0]

    exact = exact_gradient(NET.model, GUIDE, point(), X)
    stopped = mutated(lambda q, z, key: right(jax.lax.stop_gradient(q), z, key))
    assert z_scores(stopped, exact).max() > 10
    untied = mutated(lambda q, z, key: q.perturb(key))
    assert z_scores(untied, exact).max() < 4.5
    assert squares(untied).mean() > 3 * squares(population[0]).mean()


def test_a_categorical_is_relaxed_too_as_a_one_hot_vector():
    def log_joint(theta, x, z):
        return theta @ z + x * jnp.sin(2 * z[0] + 3 * z[1]) + 2 * z[1] * z[2] + jnp.square(z @ jnp.arange(3.0))

    vectors = vi.Model(lambda key: jnp.zeros(3), log_joint)
    indices = vectors._replace(log_joint=lambda theta, x, z: log_joint(theta, x, jax.nn.one_hot(z, 3)))
    guide = guides.categorical(3)
    params, x = vi.Params(jnp.array([-1.0, 0.3, -2.0]), jnp.array([0.1, -0.4, 0.3])), jnp.array([0.9])
    exact = exact_gradient(indices, guide, params, x)
    samples = gradients_of(objectives.relax(vectors, guide, num_samples=1), params, x)(controls())
    for gradients in np.asarray(samples):
        assert z_scores(gradients, exact).max() < 4.5
    noise = np.var(np.asarray(samples)[:, :, 3:], axis=1).sum(axis=1)
    assert noise[0] < noise[3]


def test_what_it_cannot_take_is_refused_and_a_rate_of_zero_leaves_the_control():
    still = objectives.relax(NET.model, GUIDE, num_samples=1, learning_rate=0.0)
    control = objectives.start_control()
    values, gradient, after = still(KEY, point(), X, control)
    assert values.shape == (2,)
    assert (after.log_temperature, after.scale) == (control.log_temperature, control.scale)
    assert jax.tree.structure(gradient) == jax.tree.structure(point())
    table, category = models.table(models.THREE_STATES), guides.categorical(3)
    with pytest.raises(ValueError, match="log_joint fails"):
        objectives.relax(table.model, category, num_samples=1)(
            KEY, vi.Params(table.model.init(KEY), category.init(KEY)), jnp.array([0]), control
        )
    toy, gaussian = models.linear_gaussian(2).model, guides.mean_field(2)
    with pytest.raises(ValueError, match="only a guide of bits or categories is relaxed"):
        objectives.relax(toy, gaussian, num_samples=1)(
            KEY, vi.Params(jnp.zeros(2), gaussian.init(KEY)), jnp.zeros((1, 2)), control
        )
    with pytest.raises(ValueError, match=r"learning_rate.*got -1"):
        objectives.relax(NET.model, GUIDE, num_samples=1, learning_rate=-1.0)
    with pytest.raises(ValueError, match=r"temperature.*0\.0 and 1"):
        objectives.start_control(temperature=0.0)
