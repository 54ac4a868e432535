"""A mixture of Bernoulli images: one latent with C values, so that the marginal likelihood is a sum of C terms."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from vi_jax import checks
from vi_jax.lazy import distrax
from vi_jax.models.bernoulli import bernoulli_log_prob, mean_logit
from vi_jax.models.exact import ExactModel
from vi_jax.models.partial import Partial, split, sum_visible
from vi_jax.types import Model


class BernoulliMixture(NamedTuple):
    """θ of `bernoulli_mixture`.

    Attributes:
      logits: `[C]`, p(z) = softmax(logits).
      pixel_logits: `[C, D]`, p(x_i = 1 | z) = sigmoid(pixel_logits[z, i]).
    """

    logits: jax.Array
    pixel_logits: jax.Array


def bernoulli_mixture(num_components: int, data_dim: int, *, mean: ArrayLike | None = None) -> ExactModel:
    """Makes z ~ Categorical(softmax(logits)), x_i | z ~ Bernoulli(sigmoid(pixel_logits[z, i])).

        p(x) = Σ_z p(z) Π_i p(x_i | z),   p(z | x) = p(z) p(x | z) / p(x)

    Bishop, "Pattern Recognition and Machine Learning" (2006), section 9.3.3. Evidence and posterior cost C D.

    Args:
      num_components: C ≥ 1.
      data_dim: D ≥ 1, number of pixels.
      mean: `[D]` mean of the training data, in [0, 1]; components start around it. None means ½ everywhere.

    Returns:
      The exact model; θ is `BernoulliMixture`, which `init` sets to equal weights and to the mean's logit plus
      N(0, 1) noise. x is `[D]`, of 0 and 1 in any dtype, or a `Partial`; z is an integer scalar.

    Raises:
      TypeError, ValueError: a count is not a positive integer; `mean` has another shape or leaves [0, 1]. When called:
        x has another shape. A z outside the components has probability zero.
    """
    num_components = checks.check_positive_int("num_components", num_components)
    data_dim = checks.check_positive_int("data_dim", data_dim)
    centre = mean_logit(mean, data_dim)

    def init(key: jax.Array) -> BernoulliMixture:
        noise = jax.random.normal(key, (num_components, data_dim))
        return BernoulliMixture(jnp.zeros(num_components), noise + jnp.asarray(centre, noise.dtype))

    def log_joint(theta: BernoulliMixture, x: jax.Array | Partial, z: jax.Array) -> jax.Array:
        values, visible = split(x, data_dim, theta.pixel_logits.dtype)
        log_likelihood = sum_visible(bernoulli_log_prob(theta.pixel_logits[z], values), visible)
        inside = (z >= 0) & (z < num_components)
        return jnp.where(inside, jax.nn.log_softmax(theta.logits)[z] + log_likelihood, -jnp.inf)

    def log_joint_of_all(theta: BernoulliMixture, x: jax.Array | Partial) -> jax.Array:
        return jax.vmap(lambda z: log_joint(theta, x, z))(jnp.arange(num_components))

    def log_evidence(theta: BernoulliMixture, x: jax.Array | Partial) -> jax.Array:
        return jax.nn.logsumexp(log_joint_of_all(theta, x))

    def posterior(theta: BernoulliMixture, x: jax.Array | Partial) -> distrax.Categorical:
        return distrax.Categorical(logits=log_joint_of_all(theta, x))

    def prior(theta: BernoulliMixture) -> distrax.Categorical:
        return distrax.Categorical(logits=theta.logits)

    def likelihood(theta: BernoulliMixture, z: jax.Array) -> distrax.Independent:
        pixel_logits = theta.pixel_logits[z]
        return distrax.Independent(distrax.Bernoulli(logits=pixel_logits, dtype=pixel_logits.dtype), 1)

    def sample(key: jax.Array, theta: BernoulliMixture) -> tuple[jax.Array, jax.Array]:
        z_key, x_key = jax.random.split(key)
        z = prior(theta).sample(seed=z_key)
        return likelihood(theta, z).sample(seed=x_key), z

    return ExactModel(Model(init, log_joint, sample, prior, likelihood), log_evidence, posterior)
