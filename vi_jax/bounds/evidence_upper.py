"""The evidence upper bound, from draws of the guide."""

import jax

from vi_jax.bounds.derivatives import closed_form, with_closed_form, with_shift
from vi_jax.bounds.thermodynamic import thermodynamic_upper

_sum = thermodynamic_upper((0.0, 1.0))


def eubo(log_w: jax.Array) -> jax.Array:
    """Returns the self-normalised estimate of the evidence upper bound.

        L = Σ_k w̃_k log w_k,   w̃ = softmax(log w);   EUBO = E_{p(z | x)}[log w] = log p(x) + KL(p(z | x) ‖ q)

    Every draw has L ≥ IWAE_K, but E[L] rises to the EUBO from the ELBO at K = 1: at finite K it is no bound.

    Ji and Shen, "Stochastic Variational Inference via Upper Bound" (arXiv:1912.00650).

    Args:
      log_w: `[K, ...]` log-weights in nats.

    Returns:
      `[...]` nats. Minus infinity where every weight is zero.

    Raises:
      TypeError, ValueError: as `elbo`.
    """
    return _sum(log_w)


_form = closed_form(_sum)
assert _form is not None, "a Riemann sum has closed forms"
with_shift(with_closed_form(eubo, _form))
