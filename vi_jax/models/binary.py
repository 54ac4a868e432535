"""Models with binary latents, whose evidence is a sum that can be carried out, or even has a closed form."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from vi_jax import checks
from vi_jax.lazy import distrax
from vi_jax.models.bernoulli import bernoulli_log_prob, mean_logit
from vi_jax.models.enumeration import CodeDistribution, codes, log_sum_over_codes
from vi_jax.models.exact import ExactModel
from vi_jax.models.partial import Partial, split, sum_visible
from vi_jax.shapes import check_shape
from vi_jax.types import Model

# Hinton, "A practical guide to training restricted Boltzmann machines" (2010): small enough to leave no unit saturated.
_BOLTZMANN_SCALE = 0.01


class BeliefNet(NamedTuple):
    """θ of `sigmoid_belief_net`: `b` `[d]` logits of the prior, `W` `[D, d]`, and `c` `[D]`."""

    b: jax.Array
    W: jax.Array
    c: jax.Array


class BoltzmannMachine(NamedTuple):
    """θ of `restricted_boltzmann_machine`: `a` `[d]` of the latents, `W` `[D, d]`, and `c` `[D]` of the data."""

    a: jax.Array
    W: jax.Array
    c: jax.Array


def sigmoid_belief_net(latent_dim: int, data_dim: int, *, mean: ArrayLike | None = None) -> ExactModel:
    """Makes z_j ~ Bernoulli(sigmoid(b_j)), x_i | z ~ Bernoulli(sigmoid(Wz + c)_i), with exact answers by enumeration.

        log p(x, z) = Σ_j [z_j b_j − log(1 + e^{b_j})] + Σ_i [x_i l_i − log(1 + e^{l_i})],   l = W z + c
        log p(x) = log Σ_{z ∈ {0,1}^d} p(x, z)

    Neal, "Connectionist learning of belief networks" (1992), with one layer of latents. Initial b = 0,
    Glorot-uniform W, and c = logit(mean) clipped to [0.001, 0.999] as for `bernoulli_decoder`.

    Price: log p(x) and its gradient take 2^d evaluations of the network in memory that does not grow with 2^d
    (`log_sum_over_codes`); under `vmap` over data the network runs once for all. The posterior is a table of 2^d
    numbers and holds 2^d × D of them while it is made.

    Args:
      latent_dim: d ≥ 1.
      data_dim: D ≥ 1 pixels.
      mean: `[D]` mean of the training data, in [0, 1]. None means ½ everywhere, a bias of zero.

    Returns:
      The exact model; θ is `BeliefNet`. x is `[D]` of 0 and 1 in any dtype, or a `Partial`, of which hidden pixels drop
      out of evidence and posterior; z is `[d]` of 0 and 1, floating. The posterior is a `CodeDistribution`.

    Raises:
      TypeError, ValueError: a dimension is not a positive integer; `mean` has another shape or leaves [0, 1]. When
        called: x or z has another shape, or a posterior is asked for with d > 20.
    """
    latent_dim = checks.check_positive_int("latent_dim", latent_dim)
    data_dim = checks.check_positive_int("data_dim", data_dim)
    initial_c = mean_logit(mean, data_dim)

    def init(key: jax.Array) -> BeliefNet:
        dtype = jnp.result_type(float)
        W = jax.nn.initializers.glorot_uniform()(key, (data_dim, latent_dim), dtype)
        return BeliefNet(jnp.zeros(latent_dim, dtype), W, jnp.asarray(initial_c, dtype))

    def prior(theta: BeliefNet) -> distrax.Independent:
        return _bernoulli(theta.b)

    def likelihood(theta: BeliefNet, z: jax.Array) -> distrax.Independent:
        return _bernoulli(theta.W @ check_shape("z", z, (latent_dim,)).astype(theta.c.dtype) + theta.c)

    def sample(key: jax.Array, theta: BeliefNet) -> tuple[jax.Array, jax.Array]:
        z_key, x_key = jax.random.split(key)
        z = prior(theta).sample(seed=z_key)
        return likelihood(theta, z).sample(seed=x_key), z

    def log_joint(theta: BeliefNet, x: jax.Array | Partial, z: jax.Array) -> jax.Array:
        values, visible = split(x, data_dim, theta.c.dtype)
        z = check_shape("z", z, (latent_dim,)).astype(theta.b.dtype)
        log_prior = jnp.sum(bernoulli_log_prob(theta.b, z))
        return log_prior + sum_visible(bernoulli_log_prob(theta.W @ z + theta.c, values), visible)

    def log_evidence(theta: BeliefNet, x: jax.Array | Partial) -> jax.Array:
        values, visible = split(x, data_dim, theta.c.dtype)
        return log_sum_over_codes(lambda z: _log_joint_of_code(theta, values, visible, z), latent_dim)

    def posterior(theta: BeliefNet, x: jax.Array | Partial) -> CodeDistribution:
        values, visible = split(x, data_dim, theta.c.dtype)
        of_code = jax.vmap(lambda z: _log_joint_of_code(theta, values, visible, z))
        return CodeDistribution(of_code(codes(latent_dim)))

    return ExactModel(Model(init, log_joint, sample, prior, likelihood), log_evidence, posterior)


def restricted_boltzmann_machine(latent_dim: int, data_dim: int) -> ExactModel:
    """Makes the unnormalised log p̃(x, z) = a·z + c·x + x·Wz of binary x and z, whose sum over z is a closed form.

        log Σ_z p̃(x, z) = −F(x) = c·x + Σ_j log(1 + e^{(a + Wᵀx)_j})
        p(z_j = 1 | x) = sigmoid(a + Wᵀx)_j

    Smolensky (1986); Hinton (2002). The posterior factorises, and the free energy F judges any sum over 2^d codes. θ
    changes the normalising constant too, so maximise log p(x) = −F(x) − log Z, with `boltzmann_log_partition`, not
    −F(x), which has no maximum.

    Args:
      latent_dim: d ≥ 1.
      data_dim: D ≥ 1.

    Returns:
      The exact model; θ is `BoltzmannMachine`: initial W ~ N(0, 0.01²), the rest zero. `log_evidence` is −F(x), which
      is log p(x) + log Z. x is `[D]` of 0 and 1 in any dtype, z is `[d]` floating. There is neither prior nor sampler:
      both would need Z.

    Raises:
      TypeError, ValueError: a dimension is not a positive integer. When called: x or z has another shape.
    """
    latent_dim = checks.check_positive_int("latent_dim", latent_dim)
    data_dim = checks.check_positive_int("data_dim", data_dim)

    def init(key: jax.Array) -> BoltzmannMachine:
        W = _BOLTZMANN_SCALE * jax.random.normal(key, (data_dim, latent_dim))
        return BoltzmannMachine(jnp.zeros(latent_dim), W, jnp.zeros(data_dim))

    def fields(theta: BoltzmannMachine, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = check_shape("x", x, (data_dim,)).astype(theta.c.dtype)
        return theta.c @ x, theta.a + x @ theta.W

    def log_joint(theta: BoltzmannMachine, x: jax.Array, z: jax.Array) -> jax.Array:
        of_x, of_z = fields(theta, x)
        return of_x + of_z @ check_shape("z", z, (latent_dim,)).astype(of_z.dtype)

    def log_evidence(theta: BoltzmannMachine, x: jax.Array) -> jax.Array:
        of_x, of_z = fields(theta, x)
        return of_x + _log_one_plus_exp(of_z)

    def posterior(theta: BoltzmannMachine, x: jax.Array) -> distrax.Independent:
        return _bernoulli(fields(theta, x)[1])

    return ExactModel(Model(init, log_joint), log_evidence, posterior)


def boltzmann_log_partition(theta: BoltzmannMachine) -> jax.Array:
    """Returns log Z = log Σ_x Σ_z e^{a·z + c·x + x·Wz}, so that log p(x) = −F(x) − log Z. Differentiable.

    One layer is summed in closed form and the other, the smaller one, code by code: 2^{min(d, D)} evaluations, in
    memory that does not grow.

    Args:
      theta: of a machine with d latents and D pixels.

    Returns:
      Scalar, in nats.
    """
    data_dim, latent_dim = theta.W.shape
    if latent_dim > data_dim:
        return boltzmann_log_partition(BoltzmannMachine(theta.c, theta.W.T, theta.a))

    def summed_over_x(z: jax.Array) -> jax.Array:
        z = z.astype(theta.a.dtype)
        return theta.a @ z + _log_one_plus_exp(theta.W @ z + theta.c)

    return log_sum_over_codes(summed_over_x, latent_dim)


def _log_joint_of_code(theta: BeliefNet, values: jax.Array, visible: jax.Array | None, z: jax.Array) -> jax.Array:
    """Returns log p(x, z) as x·l − Σ_i log(1 + e^{l_i}), of which only the product depends on the datum.

    Under `vmap` over data and codes the logarithms are then those of one datum, and the rest is one matrix product. The
    price is a rounding of |l| in a saturated pixel, where `log_joint` has none.
    """
    z = z.astype(theta.b.dtype)
    logits = theta.W @ z + theta.c
    log_prior = jnp.sum(bernoulli_log_prob(theta.b, z))
    if visible is None:
        return log_prior + values @ logits - _log_one_plus_exp(logits)
    seen = visible.astype(logits.dtype)
    return log_prior + (seen * values) @ logits + seen @ bernoulli_log_prob(logits, jnp.zeros_like(logits))


def _log_one_plus_exp(logits: jax.Array) -> jax.Array:
    return -jnp.sum(bernoulli_log_prob(logits, jnp.zeros_like(logits)))


def _bernoulli(logits: jax.Array) -> "distrax.Independent":
    return distrax.Independent(distrax.Bernoulli(logits=logits, dtype=logits.dtype), 1)
