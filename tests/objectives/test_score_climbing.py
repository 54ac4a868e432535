"""Score climbing: the posterior is invariant and the gradient unbiased there, both exactly, by summing over tuples."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from tests import problems
from tests.populations import LOG_JOINT, LOGITS, z_scores
from vi_jax import bounds, estimators, guides, models, objectives
from vi_jax.objectives import PerDatum

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)
THREE = vi.Model(lambda key: jnp.asarray(LOG_JOINT), lambda theta, x, z: theta[z])
PARAMS = vi.Params(LOG_JOINT, LOGITS)
Q, POSTERIOR = np.exp(LOGITS) / np.exp(LOGITS).sum(), np.exp(LOG_JOINT) / np.exp(LOG_JOINT).sum()


class Scripted(NamedTuple):
    """q = softmax(logits), whose draw is written in the datum."""

    logits: jax.Array
    script: jax.Array

    def sample(self, *, seed):
        del seed
        return self.script

    def log_prob(self, z):
        return jax.nn.log_softmax(self.logits)[z]


SCRIPTED = vi.Guide(lambda key: jnp.zeros(3), Scripted, reparameterized=False)


class Enumerated(NamedTuple):
    """At K = 2, for every state s and draw z: the value, θ̄ and φ̄, `[3, 3, ...]`."""

    values: np.ndarray
    theta: np.ndarray
    phi: np.ndarray


def enumerate_two(objective) -> Enumerated:
    def one(state, draw):
        values, gradient, _ = objective(KEY, PARAMS, draw[None], PerDatum(state[None]))
        return Enumerated(values[0], gradient.theta, gradient.phi)

    over = jnp.arange(3)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))(over, over))


def transition(objective) -> np.ndarray:
    """P(next state | state), `[3, 3]`: of a draw z the two candidates' weights are φ̄ + q, as ∂ log q(z) = 1[z] − q."""
    return np.einsum("z,szc->sc", Q, enumerate_two(objective).phi + Q)


def assert_invariant(scripted):
    """The posterior is the stationary law, and every state is reached; none of it by chance."""
    matrix = transition(scripted)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-12)
    assert np.all(matrix > 0.01)
    np.testing.assert_allclose(POSTERIOR @ matrix, POSTERIOR, rtol=1e-12)


def assert_moves_as_its_weights_say(real):
    """Steps from every state, with draws of the objective's own, follow the transition matrix."""
    chain = PerDatum(jnp.arange(3))
    step = jax.jit(jax.vmap(lambda key: real(key, PARAMS, jnp.zeros(3), chain)[2].rows))
    visits = np.asarray(step(jax.random.split(KEY, 20_000)))[:, :, None] == np.arange(3)
    assert z_scores(visits.astype(float), transition(SCRIPTED_STEP)).max() < 4


# The same objective twice: with draws that are written in the data, and with draws of its own.
SCRIPTED_STEP = objectives.score_climbing(THREE, SCRIPTED, num_samples=2)
REAL_STEP = objectives.score_climbing(THREE, guides.categorical(3), num_samples=2)


def test_posterior_is_invariant_and_every_step_follows_the_kernel():
    assert_invariant(SCRIPTED_STEP)
    assert_moves_as_its_weights_say(REAL_STEP)


def test_gradient_from_a_stationary_start_is_exactly_unbiased_in_both_blocks():
    found = enumerate_two(SCRIPTED_STEP)
    joint = POSTERIOR[:, None] * Q
    np.testing.assert_allclose(np.einsum("sz,szc->c", joint, found.phi), POSTERIOR - Q, rtol=1e-12)
    np.testing.assert_allclose(np.einsum("sz,szc->c", joint, found.theta), POSTERIOR, rtol=1e-12)
    # Two draws of q alone do not do that.
    _, biased = jax.vmap(jax.vmap(lambda s, z: wake(s, z), (None, 0)), (0, None))(jnp.arange(3), jnp.arange(3))
    assert np.abs(np.einsum("s,z,szc->c", Q, Q, biased) - (POSTERIOR - Q)).max() > 0.1


def wake(first, second):
    draws = jnp.stack([first, second])
    log_w = jnp.asarray(LOG_JOINT - np.log(Q))[draws]
    c = estimators.wake_phi(bounds.iwae)(log_w)
    return log_w, c.score @ (jax.nn.one_hot(draws, 3) - Q)


def test_values_lie_between_the_evidence_and_its_one_draw_upper_bound():
    mean = np.sum(POSTERIOR[:, None] * Q * enumerate_two(SCRIPTED_STEP).values)
    assert np.logaddexp.reduce(LOG_JOINT) < mean < POSTERIOR @ (LOG_JOINT - np.log(Q))


# --- mutants ----------------------------------------------------------------------------------------------------------


def test_a_chain_whose_state_is_left_out_is_seen():
    """In the state's place stands another draw of q: the mean over it, weighted by q."""

    def forgetful(key, params, x, chain):
        each = [SCRIPTED_STEP(key, params, x, PerDatum(jnp.full_like(chain.rows, s))) for s in range(3)]
        values, gradient = jax.tree.map(lambda *leaves: jnp.tensordot(Q, jnp.stack(leaves), 1), *(r[:2] for r in each))
        return values, gradient, chain

    np.testing.assert_allclose(transition(forgetful)[0], transition(forgetful)[1], rtol=1e-12)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_invariant(forgetful)


def never(old, new):
    """The chain stands still. The posterior is invariant under that too."""
    del new
    return old


def downwards(old, new):
    """The chain moves one way only."""
    return jnp.minimum(old, new)


@pytest.mark.parametrize("move", [never, downwards])
def test_a_chain_that_moves_otherwise_is_seen(move):
    def mutant(key, params, x, chain):
        values, gradient, moved = REAL_STEP(key, params, x, chain)
        return values, gradient, jax.tree.map(move, chain, moved)

    with pytest.raises(AssertionError):
        assert_moves_as_its_weights_say(mutant)


# --- zero weights -----------------------------------------------------------------------------------------------------


def test_a_state_of_zero_weight_is_left_at_once():
    """The state is impossible: all weight is with the draw, in the gradient and in the step."""
    params = PARAMS._replace(theta=jnp.asarray(LOG_JOINT).at[2].set(-jnp.inf))
    x = jnp.array([0, 1, 2])
    values, gradient, chain = SCRIPTED_STEP(KEY, params, x, PerDatum(jnp.array([2, 2, 2])))
    np.testing.assert_array_equal(chain.rows, [0, 1, 2])
    np.testing.assert_allclose(values[:2], (LOG_JOINT - np.log(Q))[:2] - np.log(2), rtol=1e-12)
    assert values[2] == -jnp.inf
    # The third datum has no weight at all and adds nothing to the mean over three.
    np.testing.assert_allclose(gradient.phi, (np.eye(3)[0] + np.eye(3)[1] - 2 * Q) / 3, rtol=1e-12)


def test_without_any_weight_the_chain_stays_and_the_gradient_is_zero_though_derivatives_are_nan():
    model, guide, params = problems.EDGED, problems.FREE, problems.edged_params()
    objective = objectives.score_climbing(model, guide, num_samples=3)
    chain = PerDatum(jnp.array([[0.5, 0.5], [0.3, -0.1]]))
    values, gradient, moved = objective(KEY, params, problems.edged_data(100.0, 100.0), chain)
    assert np.all(np.isneginf(values))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient))
    np.testing.assert_array_equal(moved.rows, chain.rows)
    # Beside a datum that is possible, an impossible one changes nothing; states below its edge have a NaN derivative.
    low = PerDatum(jnp.array([[-9.0, 0.0], [-9.0, 0.0]]))
    values, gradient, moved = objective(KEY, params, problems.edged_data(0.0, 100.0), low)
    value, alone, _ = objective(KEY, params, problems.edged_data(0.0), PerDatum(low.rows[:1]))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(alone))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b / 2, rtol=1e-12), gradient, alone)
    np.testing.assert_array_equal(values, jnp.array([value[0], -jnp.inf]))
    assert moved.rows[0, 0] > 0
    np.testing.assert_array_equal(moved.rows[1], low.rows[1])


def test_a_state_outside_the_guide_shows_and_stays():
    params = PARAMS._replace(phi=jnp.array([0.1, -jnp.inf, 0.3]))
    values, _, chain = SCRIPTED_STEP(KEY, params, jnp.array([0]), PerDatum(jnp.array([1])))
    assert not np.isfinite(values[0])
    assert chain.rows[0] == 1


# --- chains of any latent ---------------------------------------------------------------------------------------------


def test_a_chain_of_two_layers_stays_in_the_posterior_and_starts_as_draws_of_the_guide():
    exact = models.linear_gaussian_chain((1, 1), 1)
    guide = guides.chain(guides.affine(1, 1, variance=0.8), guides.affine(1, 1, variance=1.0))
    params, x = vi.Params(exact.model.init(KEY), guide.init(KEY)), jnp.full((4000, 1), 0.7)
    objective = objectives.score_climbing(exact.model, guide, num_samples=4)

    def draws_of(law, seed):
        return PerDatum(jax.vmap(lambda key: law.sample(seed=key))(jax.random.split(jax.random.key(seed), 4000)))

    @jax.jit
    def chains():
        posterior, q = exact.posterior(params.theta, x[0]), guide.distribution(params.phi, x[0])
        begin = draws_of(posterior, 0)
        end, _ = jax.lax.scan(
            lambda chain, key: (objective(key, params, x, chain)[2], None), begin, jax.random.split(KEY, 10)
        )
        started = objectives.start_chain(KEY, guide, params, x)
        return begin, end, draws_of(posterior, 1), started, draws_of(q, 2)

    def statistics(chain):
        z1, z2 = (np.asarray(leaf)[:, 0] for leaf in chain.rows)
        return np.stack([z1, z2, z1**2, z1 * z2, z2**2], axis=1)

    begin, end, posterior, started, q = (statistics(chain) for chain in chains())
    assert z_scores(end - posterior).max() < 4
    assert z_scores(started - q).max() < 4
    assert z_scores(started - posterior).max() > 10
    # It has moved: almost no chain is where it began.
    assert np.mean(end == begin) < 0.2


def test_single_precision_stays_single_under_strict_promotion(strict_promotion):
    with jax.enable_x64(False):
        model, guide = models.bernoulli_decoder(2, 3, hidden=()), guides.gaussian_encoder(3, 2, hidden=())
        params, x = vi.Params(model.init(KEY), guide.init(KEY)), jnp.ones((4, 3))
        chain = objectives.start_chain(KEY, guide, params, x)
        values, gradient, moved = objectives.score_climbing(model, guide, num_samples=3)(KEY, params, x, chain)
        assert jax.tree.map(jnp.shape, moved) == PerDatum((4, 2))
        assert {leaf.dtype for leaf in jax.tree.leaves((values, gradient, chain, moved))} == {jnp.dtype(jnp.float32)}


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="must be at least 2, got 1"):
        objectives.score_climbing(THREE, guides.categorical(3), num_samples=1)
    for chain in (PerDatum(jnp.zeros(3, int)), PerDatum((jnp.zeros(2, int),)), PerDatum(jnp.zeros(2))):
        with pytest.raises(ValueError, match=r"chain has rows.*guide draws int64\[2\].*start_chain"):
            REAL_STEP(KEY, PARAMS, jnp.zeros(2), chain)
    with pytest.raises(TypeError, match=r"must be a PerDatum, got ArrayImpl.*start_chain"):
        REAL_STEP(KEY, PARAMS, jnp.zeros(2), jnp.zeros(2, int))
    with pytest.raises(TypeError, match="typed key"):
        objectives.start_chain(jax.random.PRNGKey(0), guides.categorical(3), PARAMS, jnp.zeros(2))
