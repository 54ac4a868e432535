"""A sigmoid belief net on digits: the ways to train it that `discrete_latents` compares, and their exact judge.

    log p(x, z) = Σ_j log Bernoulli(z_j; sigmoid(b_j)) + Σ_i log Bernoulli(x_i; sigmoid(Wz + c)_i),   z ∈ {0, 1}^d

Everything is judged by sums over all 2^d codes, the Concrete's relaxed training too: by the discrete net with its θ.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import ArrayLike

import vi_jax as vi
from vi_jax import guides, models, objectives
from vi_jax.models.bernoulli import bernoulli_log_prob

B, E = vi.bounds, vi.estimators
GUIDE_TEMPERATURE, PRIOR_TEMPERATURE = 2 / 3, 1 / 2
"""Of the binary Concrete: of those that Maddison et al. tried, q's and p's."""
BASELINE_OPTIMIZER = optax.adam(3e-3)


class Problem(NamedTuple):
    """The net, its guide, the bits relaxed, and the baseline of NVIL."""

    exact: models.ExactModel
    guide: vi.Guide
    relaxed: tuple[vi.Model, vi.Guide]
    predictor: objectives.Predictor


class Method(NamedTuple):
    """What is climbed, and where it starts.

    Attributes:
      objective: of `vi.fit`.
      extra: `key -> ` the state that the objective carries; () for most.
    """

    objective: Any
    extra: Callable[[jax.Array], Any] = lambda key: ()


def belief_net(latent_dim: int, mean: ArrayLike, hidden: int) -> Problem:
    """Returns the problem: `latent_dim` bits, pixels with this mean, one hidden layer in guide and baseline."""
    data_dim = np.shape(mean)[0]
    exact = models.sigmoid_belief_net(latent_dim, data_dim, mean=mean)
    guide = guides.bernoulli_encoder(data_dim, latent_dim, hidden=(hidden,), mean=mean)
    relaxed = relaxed_net(exact.model), guides.relaxed(guide, temperature=GUIDE_TEMPERATURE)
    return Problem(exact, guide, relaxed, objectives.dense_predictor(data_dim, hidden=hidden, mean=mean))


def relaxed_net(model: vi.Model) -> vi.Model:
    """Returns the net with its bits relaxed, prior included: z_j is a binary Concrete, x | z as before."""

    def log_joint(theta: Any, x: jax.Array, z: jax.Array) -> jax.Array:
        prior = guides.BinaryConcrete(theta.b, PRIOR_TEMPERATURE)
        return prior.log_prob(z) + jnp.sum(bernoulli_log_prob(theta.W @ z + theta.c, x))

    return vi.Model(model.init, log_joint)


def exact_elbo(problem: Problem) -> vi.Objective:
    """Makes the ELBO and its gradient without a draw, as `objectives.enumerated`, at the price of two matrix products.

    That function asks the model for every pair of datum and code. Here the table of log p(x, z) is the posterior's,
    whose logarithms are shared among the data.
    """

    def one(params: vi.Params, x: jax.Array) -> jax.Array:
        log_joint = problem.exact.posterior(params.theta, x).logits
        log_q = log_q_of_codes(problem.guide, params.phi, x)
        return jnp.sum(jnp.exp(log_q) * (log_joint - log_q))

    def objective(key: jax.Array, params: vi.Params, x: jax.Array) -> tuple[jax.Array, vi.Params]:
        del key

        def mean(params: vi.Params) -> tuple[jax.Array, jax.Array]:
            values = jax.vmap(one, (None, 0))(params, x)
            return jnp.mean(values), values

        gradient, values = jax.grad(mean, has_aux=True)(params)
        return values, gradient

    return objective


def log_q_of_codes(guide: vi.Guide, phi: Any, x: jax.Array) -> jax.Array:
    """Returns log q(z | x) of all codes, `[2^d]`, as one product: Σ_j z_j l_j − log(1 + e^{l_j})."""
    logits = guide.distribution(phi, x).distribution.logits
    return models.codes(logits.shape[-1]) @ logits - jnp.sum(jax.nn.softplus(logits))


def judge(problem: Problem, test: jax.Array, key: jax.Array, params: vi.Params) -> dict[str, jax.Array]:
    """Returns the exact mean of −log p(x) and of KL(q ‖ p(z | x)) over test data `[N, D]`, in nats."""
    del key

    def one(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        log_joint = problem.exact.posterior(params.theta, x).logits
        log_q, log_p = log_q_of_codes(problem.guide, params.phi, x), jax.nn.logsumexp(log_joint)
        return -log_p, log_p - jnp.sum(jnp.exp(log_q) * (log_joint - log_q))

    nll, gap = jax.vmap(one)(test)
    return {"nll": jnp.mean(nll), "gap": jnp.mean(gap)}


def methods(problem: Problem) -> dict[str, Method]:
    """Returns all that is compared, by name; in brackets the draws per datum and step, a pair for DisARM.

    `exact ELBO` and `exact likelihood` have no noise: what is left to gain for who climbs the ELBO, and for anyone.
    The guide of the latter follows wake-φ.
    """
    exact, guide, relaxed, predictor = problem

    def of(bound: vi.BoundFn, estimator: vi.Estimator, num_samples: int) -> Method:
        return Method(vi.value_and_grad(exact.model, guide, bound, estimator, num_samples=num_samples))

    wake = of(B.iwae, E.wake_phi, 5)
    return {
        "REINFORCE(1)": of(B.elbo, E.score_function, 1),
        "NVIL(1)": Method(
            objectives.nvil(exact.model, guide, predictor, BASELINE_OPTIMIZER, num_samples=1),
            lambda key: objectives.start_baseline(key, predictor, BASELINE_OPTIMIZER),
        ),
        "DisARM(1)": Method(objectives.disarm(exact.model, guide, num_pairs=1)),
        "Concrete(1)": Method(vi.value_and_grad(*relaxed, B.elbo, E.pathwise, num_samples=1)),
        "VIMCO(5)": of(B.iwae, E.vimco, 5),
        "RWS(5)": wake,
        "VIMCO(50)": of(B.iwae, E.vimco, 50),
        "RWS(50)": of(B.iwae, E.wake_phi, 50),
        "exact ELBO": Method(exact_elbo(problem)),
        "exact likelihood": Method(
            objectives.joined(theta=objectives.maximum_likelihood(exact), phi=wake.objective),
        ),
    }
