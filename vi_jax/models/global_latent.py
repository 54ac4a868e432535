"""A latent shared by a whole data set, seen through minibatches."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from vi_jax import checks
from vi_jax.types import Model, PyTree


def global_latent(
    init: Callable[[jax.Array], PyTree],
    log_prior: Callable[[PyTree, PyTree], jax.Array],
    log_likelihood: Callable[[PyTree, PyTree, PyTree], jax.Array],
    *,
    num_data: int,
) -> Model:
    """Makes log p(x, z) = log p(z) + Σ_i log p(x_i | z), with the likelihood of n data scaled by N/n.

        log_joint(θ, x, z) = log_prior(θ, z) + (N/n) Σ_{i ≤ n} log_likelihood(θ, x_i, z)

    The library's datum is here the whole set: x has leaves `[1, n, ...]`, B = 1. A minibatch drawn uniformly gives an
    unbiased estimate of the log joint, and so of the ELBO and its gradients, which are linear in it. Of nothing else:
    N/n inside a log-mean-exp, a self-normalised weight or an evidence is no bound and no estimate, and is refused with
    an error. At n = N the scale is one and everything is legal, so that the same model is trained on minibatches
    (`training.subsample`) and judged on all data.

    Hoffman, Blei, Wang and Paisley, "Stochastic Variational Inference" (arXiv:1206.7051).

    Args:
      init: `key -> theta`; `lambda key: ()` where nothing is to be learned.
      log_prior: `(theta, z) -> scalar` nats.
      log_likelihood: `(theta, datum, z) -> scalar` nats, for ONE of the N data.
      num_data: N ≥ 1.

    Returns:
      The model. More rows than N in one x are a `ValueError`.

    Raises:
      TypeError, ValueError: `num_data` is not a positive integer.
    """
    num_data = checks.check_positive_int("num_data", num_data)

    def scale(x: PyTree) -> float:
        size = checks.check_batch("one datum of x, the data of this model,", x)
        if size > num_data:
            raise ValueError(f"x holds {size} data, but the model says num_data = {num_data}.")
        return num_data / size

    def log_joint(theta: PyTree, x: PyTree, z: PyTree) -> jax.Array:
        each = jax.vmap(lambda datum: log_likelihood(theta, datum, z))(x)
        return log_prior(theta, z) + scale(x) * jnp.sum(each)

    return Model(init, log_joint, likelihood_scale=scale)
