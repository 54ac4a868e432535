"""q(z | x) whose parameters a network computes from x (flax linen)."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from vi_jax import checks
from vi_jax.guides.discrete import code_support
from vi_jax.guides.encoder import encoder, gaussian_of
from vi_jax.lazy import distrax
from vi_jax.types import Guide, PyTree


def gaussian_encoder(
    data_dim: int,
    latent_dim: int,
    *,
    hidden: Sequence[int] = (100, 100),
    activation: Callable[[jax.Array], jax.Array] = jnp.tanh,
    mean: ArrayLike | None = None,
) -> Guide:
    """Makes q(z | x) = N(loc, diag(exp(log_scale))²) with (loc, log_scale) = MLP_φ(x), two linear heads on one trunk.

    Kingma and Welling (arXiv:1312.6114); Glorot-uniform weights and zero biases, as Burda et al. (arXiv:1509.00519).
    The network runs once per datum however many draws are taken.

    Args:
      data_dim: length of x, ≥ 1.
      latent_dim: D ≥ 1.
      hidden: widths of the hidden layers, from the data to the latent; empty for a linear encoder.
      activation: elementwise non-linearity.
      mean: `[data_dim]` that is taken from x before the network sees it, as the mean of the training data (Mnih and
        Gregor, arXiv:1402.0030, appendix); None means zero.

    Returns:
      The guide; φ is the linen parameter tree. x is `[data_dim]`, floating, integer or boolean; z is `[D]`.

    Raises:
      TypeError, ValueError: a dimension is not a positive integer; `mean` is not `[data_dim]` finite numbers. When
        called: x is not of shape `[data_dim]`.
    """
    latent_dim = checks.check_positive_int("latent_dim", latent_dim)
    network = encoder(data_dim, latent_dim, ("loc", "log_scale"), hidden=hidden, activation=activation, mean=mean)
    return gaussian_of(network, latent_dim)


def bernoulli_encoder(
    data_dim: int,
    latent_dim: int,
    *,
    hidden: Sequence[int] = (100, 100),
    activation: Callable[[jax.Array], jax.Array] = jnp.tanh,
    mean: ArrayLike | None = None,
) -> Guide:
    """Makes q(z | x) = Π_j Bernoulli(z_j; sigmoid(l_j)) with l = MLP_φ(x), for binary latents.

        log q(z | x) = Σ_j [z_j l_j − log(1 + e^{l_j})]

    Mnih and Gregor, "Neural Variational Inference and Learning in Belief Networks" (arXiv:1402.0030); initialised as
    `gaussian_encoder`. The bits are independent given x, so a posterior in which they explain each other away is out of
    reach. Draws have no derivative: use score-function or wake-φ gradients, or `guides.relaxed`.

    Args:
      data_dim: length of x, ≥ 1.
      latent_dim: d ≥ 1.
      hidden: widths of the hidden layers, from the data to the latent; empty for a logistic-linear encoder.
      activation: elementwise non-linearity.
      mean: as of `gaussian_encoder`.

    Returns:
      The guide; φ is the linen parameter tree. x is `[data_dim]`, floating, integer or boolean; z is `[d]` of 0 and 1,
      floating, `support` is that of `bernoulli`, and `reparameterized` is False.

    Raises:
      TypeError, ValueError: as `gaussian_encoder`.
    """
    latent_dim = checks.check_positive_int("latent_dim", latent_dim)
    init, encode = encoder(data_dim, latent_dim, ("logits",), hidden=hidden, activation=activation, mean=mean)

    def distribution(phi: PyTree, x: jax.Array) -> distrax.Independent:
        logits = encode(phi, x).heads["logits"]
        return distrax.Independent(distrax.Bernoulli(logits=logits, dtype=logits.dtype), 1)

    return Guide(init, distribution, reparameterized=False, support=code_support(latent_dim))


def categorical_encoder(
    data_dim: int,
    num_categories: int,
    *,
    hidden: Sequence[int] = (100, 100),
    activation: Callable[[jax.Array], jax.Array] = jnp.tanh,
    mean: ArrayLike | None = None,
) -> Guide:
    """Makes q(z = c | x) = softmax(l)_c with l = MLP_φ(x), for one latent with C values.

    Initialised as `gaussian_encoder`. The guide of the mixture in Le et al., "Revisiting Reweighted Wake-Sleep"
    (arXiv:1805.10469), is `categorical_encoder(1, 20, hidden=(16, 16))`. Draws have no derivative: use score-function
    or wake-φ gradients, `objectives.enumerated`, or `guides.relaxed`.

    Args:
      data_dim: length of x, ≥ 1.
      num_categories: C ≥ 1.
      hidden: widths of the hidden layers; empty for a softmax-linear encoder.
      activation: elementwise non-linearity.
      mean: as of `gaussian_encoder`.

    Returns:
      The guide; φ is the linen parameter tree. x is `[data_dim]`, floating, integer or boolean; z is an integer scalar,
      `support` is 0, …, C − 1, and `reparameterized` is False.

    Raises:
      TypeError, ValueError: as `gaussian_encoder`.
    """
    num_categories = checks.check_positive_int("num_categories", num_categories)
    init, encode = encoder(data_dim, num_categories, ("logits",), hidden=hidden, activation=activation, mean=mean)

    def distribution(phi: PyTree, x: jax.Array) -> distrax.Categorical:
        return distrax.Categorical(logits=encode(phi, x).heads["logits"])

    return Guide(init, distribution, reparameterized=False, support=jnp.arange(num_categories))
