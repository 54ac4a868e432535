"""DisARM: antithetic pairs of binary draws, for guides whose bits are independent."""

from typing import Any

import jax
import jax.numpy as jnp

from vi_jax import checks
from vi_jax.log_weights import check_problem, checked
from vi_jax.types import Guide, Model, Objective, Params, PyTree


def disarm(model: Model, guide: Guide, *, num_pairs: int) -> Objective:
    """Makes the ELBO with the DisARM gradient of φ, from pairs of draws that use u and 1 − u.

        z_j = 1[u_j < sigmoid(l_j)],  z̃_j = 1[1 − u_j < sigmoid(l_j)],   f = log p_θ(x, z) − log q_φ(z | x)
        ∂ELBO/∂l_j = E ½ (f(z) − f(z̃)) (−1)^{z̃_j} 1[z_j ≠ z̃_j] sigmoid(|l_j|)

    A value is the mean of f over both of each pair. Unbiased for the gradient of the ELBO, and of no other bound.
    Where a bit is nearly sure its two draws agree and add no noise. Price: two evaluations of the model per pair, one
    backward pass through θ, and one through the encoder.

    Dong, Mnih and Tucker, "DisARM: An Antithetic Gradient Estimator for Binary Latent Variables" (arXiv:2006.10680).

    Args:
      model: log p_θ(x, z) for z `[d]` of 0 and 1, floating.
      guide: its distribution is a distrax `Independent` of `Bernoulli`, as of `guides.bernoulli` and
        `guides.bernoulli_encoder`.
      num_pairs: ≥ 1 pairs per datum.

    Returns:
      (key, params, x) -> (values `[B]` in nats, ascent direction).

    Raises:
      TypeError, ValueError: `num_pairs` is not a positive integer. When called: the distribution is of another kind;
        and as `value_and_grad` for key, parameters and data.
    """
    num_pairs = checks.check_positive_int("num_pairs", num_pairs)

    def one_datum(params: Params, key: jax.Array, x: PyTree) -> tuple[jax.Array, jax.Array]:
        """Returns the value, and a scalar whose gradient is the estimate."""
        logits = _logits(guide.distribution(params.phi, x))
        fixed = jax.lax.stop_gradient(logits)
        u = jax.random.uniform(key, (num_pairs, *logits.shape), logits.dtype)
        pair = jnp.stack([u < jax.nn.sigmoid(fixed), 1 - u < jax.nn.sigmoid(fixed)]).astype(logits.dtype)
        joint = jax.vmap(jax.vmap(lambda z: model.log_joint(params.theta, x, z)))(pair)
        log_q = jnp.sum(pair * fixed - jax.nn.softplus(fixed), axis=-1)
        f = jax.lax.stop_gradient(joint) - log_q
        sign = jnp.where(pair[0] == pair[1], 0, 1 - 2 * pair[1])
        slope = jnp.mean((f[0] - f[1])[:, None] / 2 * sign, axis=0) * jax.nn.sigmoid(jnp.abs(fixed))
        return jnp.mean(f), jnp.mean(joint) + jnp.sum(jax.lax.stop_gradient(slope) * logits)

    @jax.jit
    def compute(key: jax.Array, params: Params, x: PyTree) -> tuple[jax.Array, Params]:
        check_problem(model, guide, params, x)
        keys = jax.random.split(key, checks.check_batch("x", x))

        def mean(params: Params) -> tuple[jax.Array, jax.Array]:
            values, surrogates = jax.vmap(one_datum, (None, 0, 0))(params, keys, x)
            return jnp.mean(surrogates), values

        gradient, values = jax.grad(mean, has_aux=True)(params)
        return values, gradient

    return checked(compute)


def _logits(distribution: Any) -> jax.Array:
    bits = getattr(distribution, "distribution", distribution)
    if type(bits).__name__ != "Bernoulli":
        raise ValueError(
            f"disarm needs independent Bernoulli bits, guides.bernoulli or bernoulli_encoder, and the guide's "
            f"distribution is {type(distribution).__name__}: use leave_one_out or vimco."
        )
    return bits.logits
