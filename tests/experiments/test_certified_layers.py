"""Rows of `experiments.certified_layers` are what they claim, mutants are not, all in one program; exact is exact."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import vi_jax as vi
from experiments import certified_layers as layers
from experiments import two_layers
from experiments.certified_rows import Problem
from experiments.claims import BIASED
from vi_jax import bounds, estimators, models, objectives
from vi_jax.models import weight_laws
from vi_jax.objectives import generalized

pytestmark = pytest.mark.usefixtures("x64")
LINE, NUM_REPLICATES = 5.0, 20_000


def cells():
    """Every row at its smallest K, and those that claim an order at all of theirs."""
    return [(row, k) for row in layers.ROWS for k in (row.num_samples if row.order else row.num_samples[:1])]


def measure(problems):
    """The estimates `[R, P]` of every problem, from one program."""
    keys = jax.random.split(jax.random.key(0), NUM_REPLICATES)

    @jax.jit
    def together(keys):
        return [jax.lax.map(problem.estimate, keys, batch_size=2000) for problem in problems]

    return [np.asarray(estimates) for estimates in together(keys)]


class Forgetful(NamedTuple):
    """The guide's distribution, where z_2 does not move with z_1: the indirect path is forgotten."""

    chain: models.ChainDistribution

    def sample(self, *, seed):
        first, second = jax.random.split(seed)
        z1 = self.chain.first.sample(seed=first)
        return z1, self.chain.steps[0](jax.lax.stop_gradient(z1)).sample(seed=second)

    def log_prob(self, z):
        return self.chain.log_prob(z)


def without_indirect_path():
    guide = two_layers.GUIDE._replace(distribution=lambda phi, x: Forgetful(two_layers.GUIDE.distribution(phi, x)))
    rule = estimators.doubly_reparameterized
    objective = vi.value_and_grad(two_layers.CHAIN.model, guide, bounds.iwae, rule, num_samples=2)
    return Problem(layers.gradient_of(objective, layers.PHI), two_layers.exact_bound(0.0, 2)[layers.PHI])


def without_derivative_of_the_weight():
    """Generalized doubly reparameterized without ∂_z g: the prior's half of it, with a in the place of a − h."""
    of_prior = slice(3, 6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generalized, "doubly_reparameterized", estimators.sticking_the_landing)
        objective = objectives.generalized_doubly_reparameterized(
            two_layers.CHAIN.model, two_layers.GUIDE, bounds.iwae, num_samples=2
        )
    return Problem(layers.gradient_of(objective, of_prior), two_layers.exact_bound(0.0, 2)[of_prior])


def chain_from_the_guide():
    """Score climbing that forgets its state and starts from q at every step."""
    objective = objectives.score_climbing(two_layers.CHAIN.model, two_layers.GUIDE, num_samples=2)
    params, x = two_layers.two_layers()

    def estimate(key):
        start, step = jax.random.split(key)
        return ravel_pytree(
            objective(step, params, x, objectives.start_chain(start, two_layers.GUIDE, params, x))[1].phi
        )[0]

    return Problem(estimate, two_layers.exact_forward_kl())


def mutants():
    return {
        "doubly reparameterized": without_indirect_path(),
        "generalized": without_derivative_of_the_weight(),
        "score climbing": chain_from_the_guide(),
    }


def z_of(problem, estimates):
    """A coordinate may be without noise, and then without error to rounding."""
    error = np.maximum(estimates.std(axis=0) / np.sqrt(NUM_REPLICATES), 1e-9)
    return np.abs(estimates.mean(axis=0) - problem.exact) / error


@pytest.fixture(scope="module")
def measured():
    with jax.enable_x64(True):
        problems = [row.build(k) for row, k in cells()] + list(mutants().values())
        assert {problem.exact.dtype for problem in problems} == {np.dtype(np.float64)}
        return [z_of(*pair) for pair in zip(problems, measure(problems), strict=True)]


def test_every_row_is_what_it_claims(measured):
    wrong = {}
    for (row, k), z in zip(cells(), measured, strict=False):
        if (z.max() > LINE) != (row.kind == BIASED):
            wrong[row.family, row.target, row.estimator, k] = z.round(1)
    assert wrong == {}
    assert len(cells()) >= 19


def test_every_mutant_turns_its_row_red(measured):
    z = {name: z.max() for name, z in zip(mutants(), measured[len(cells()) :], strict=True)}
    assert {name: value for name, value in z.items() if value < 2 * LINE} == {}


def joint_moments(theta, phi):
    """Mean and covariance of (z_1, z_2) under the posterior and under the guide, as one writes them on paper."""
    w0, b0, s0, w1, b1, s1 = (leaf.squeeze() for layer in theta for leaf in layer)
    v1 = w1**2 + jnp.exp(2 * s1)
    prior = jnp.array([[v1, w1], [w1, 1.0]])
    gain = prior @ jnp.array([w0, 0.0]) / (w0**2 * v1 + jnp.exp(2 * s0))
    posterior = jnp.array([b1, 0.0]) + gain * (two_layers.DATUM - w0 * b1 - b0), prior - jnp.outer(gain, prior[0]) * w0
    a1, c1, a2, c2 = (leaf.squeeze() for layer in phi for leaf in layer)
    first, second = two_layers.VARIANCES
    mean = a1 * two_layers.DATUM + c1
    covariance = jnp.array([[first, a2 * first], [a2 * first, a2**2 * first + second]])
    return *posterior, jnp.stack([mean, a2 * mean + c2]), covariance


def test_exact_gradients_are_those_of_the_evidence_and_of_divergences_between_gaussians():
    """log p(x) − ELBO = KL(q ‖ p): the quadrature of the left side against the closed form of the right."""
    params, x = two_layers.two_layers()

    @jax.jit
    def closed_forms(params):
        def elbo(params):
            posterior, guide = joint_moments(*params)[:2], joint_moments(*params)[2:]
            kl = models.gaussian_kl(*guide, *posterior)
            return two_layers.CHAIN.log_evidence(params.theta, x[0]) - kl

        def minus_forward(phi):
            return -models.gaussian_kl(*joint_moments(params.theta, phi))

        evidence = jax.grad(two_layers.CHAIN.log_evidence)(params.theta, x[0])
        return jax.grad(elbo)(params), evidence, jax.grad(minus_forward)(params.phi)

    found = [ravel_pytree(tree)[0] for tree in closed_forms(params)]
    expected = two_layers.exact_bound(1.0, 2), two_layers.exact_evidence(), two_layers.exact_forward_kl()
    for mine, theirs in zip(expected, found, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)


def test_the_quadrature_at_two_draws_is_the_sum_over_pairs():
    params, _ = two_layers.two_layers()

    @jax.jit
    def values():
        law = two_layers.law_of_weights(params, 25)
        pairs = jnp.logaddexp(law.log_w[:, None], law.log_w) - jnp.log(2)
        probability = jnp.exp(law.log_prob[:, None] + law.log_prob)
        return jnp.sum(probability * pairs), weight_laws.expected_renyi(two_layers.law_of_weights(params), 2, alpha=0.0)

    np.testing.assert_allclose(*values(), rtol=1e-8)
