"""q(z | x) beyond Gaussians: coupling layers between standard normal noise and an affine map (flax linen, distrax).

    z = m + L f_1(f_2(… f_L(ε))),   ε ~ N(0, I)
    f(u) = (u_a, g(u_b; r)),   r = NET(u_a, context)   the halves a and b change places from layer to layer
    log q(z) = log N(ε; 0, I) − log det L − Σ_l Σ_j log g′_lj

with g elementwise: affine, u exp(s) + t, or that of a monotone spline of u. A coupling is inverted in one pass, so that
the density of ANY z is exact, which sticking the landing and the doubly reparameterized gradient need: they
differentiate log q(z) in z. The networks end in zeros, so that a flow starts as its base N(m, L Lᵀ), exactly.

Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP" (arXiv:1605.08803); Durkan, Bekasov, Murray and
Papamakarios, "Neural Spline Flows" (arXiv:1906.04032); Rezende and Mohamed, "Variational Inference with Normalizing
Flows" (arXiv:1505.05770).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from vi_jax.guides.couplings import Couplings, affine, couplings, spline
from vi_jax.guides.encoder import encoder
from vi_jax.guides.gaussian import mean_field
from vi_jax.lazy import distrax
from vi_jax.shapes import check_noise
from vi_jax.types import Guide, PyTree


class FlowParams(NamedTuple):
    """φ of `flow`, `spline_flow` and `flow_encoder`.

    Attributes:
      base: φ of the Gaussian outside: `MeanField` or `FullRank`, or the linen parameter tree of the encoder.
      couplings: linen parameter trees, in the order in which noise passes through them.
    """

    base: PyTree
    couplings: tuple[PyTree, ...]


def flow(
    latent_dim: int,
    *,
    base: Callable[[int], Guide] = mean_field,
    num_layers: int = 4,
    coupling_hidden: Sequence[int] = (32, 32),
    activation: Callable[[jax.Array], jax.Array] = jnp.tanh,
) -> Guide:
    """Makes the law of z = m + L f_1(… f_L(ε)), affine couplings on ε ~ N(0, I), the same for every x.

    It starts as `base` does, N(0, I) unless told otherwise. Two layers move every coordinate. Price: L networks per
    draw, and L more per density; with a `full_rank` base O(D²) besides.

    Args:
      latent_dim: D ≥ 2; a coupling needs one coordinate to keep and one to move.
      base: D -> the Gaussian guide outside, `guides.mean_field` or `guides.full_rank`.
      num_layers: L ≥ 1.
      coupling_hidden: widths of the hidden layers of each coupling's network, at least one.
      activation: elementwise non-linearity; a smooth one, since gradients of log q are differentiated again.

    Returns:
      The guide; φ is `FlowParams` with the φ of `base`. z is `[D]`, and `from_noise` takes noise `[D]`. Its
      distribution has neither mean nor entropy in closed form.

    Raises:
      TypeError, ValueError: a size is not a positive integer; D is 1; `coupling_hidden` is empty. When called: the
        base is no affine map of D numbers.
    """
    return _on_base(latent_dim, base, couplings(latent_dim, 0, num_layers, coupling_hidden, activation, affine()))


def spline_flow(
    latent_dim: int,
    *,
    base: Callable[[int], Guide] = mean_field,
    num_layers: int = 4,
    num_bins: int = 8,
    bound: float = 5.0,
    coupling_hidden: Sequence[int] = (32, 32),
    activation: Callable[[jax.Array], jax.Array] = jnp.tanh,
) -> Guide:
    """Makes `flow` with a monotone rational-quadratic spline before each affine coupling.

    A spline can bend one mode into several; it acts within ±bound and is the identity beyond, where what is left is an
    affine coupling. Price: as `flow`, with 3 num_bins + 1 outputs per coordinate that is moved in place of two, and
    num_bins + 1 knots to search: several times the time of `flow` for a gradient, and for its compilation. What either
    buys on a posterior: `python -m experiments.posteriors --methods flow/reverse-kl spline-flow/reverse-kl`.

    Args:
      latent_dim: D ≥ 2.
      base: as of `flow`.
      num_layers: L ≥ 1.
      num_bins: of each spline, ≥ 1.
      bound: half the width of what a spline bends, positive; 5 covers all but 6·10⁻⁷ of standard normal noise.
      coupling_hidden: as of `flow`.
      activation: as of `flow`.

    Returns:
      The guide, as of `flow`.

    Raises:
      TypeError, ValueError: as `flow`; `bound` is not positive and finite.
    """
    transform = spline(num_bins, bound)
    return _on_base(latent_dim, base, couplings(latent_dim, 0, num_layers, coupling_hidden, activation, transform))


def flow_encoder(
    data_dim: int,
    latent_dim: int,
    *,
    hidden: Sequence[int] = (100, 100),
    num_layers: int = 4,
    coupling_hidden: Sequence[int] = (32, 32),
    activation: Callable[[jax.Array], jax.Array] = jnp.tanh,
    mean: ArrayLike | None = None,
) -> Guide:
    """Makes `flow` with (loc, log_scale, context) = MLP_φ(x), the context seen by every coupling.

    The context is the last hidden layer of the encoder, x itself if there is none. It starts as the `gaussian_encoder`
    of the same sizes, parameter for parameter. Price: the encoder once per datum, L small networks per draw and L more
    per density.

    Args:
      data_dim: length of x, ≥ 1.
      latent_dim: D ≥ 2.
      hidden: widths of the encoder's hidden layers.
      num_layers: as of `flow`.
      coupling_hidden: as of `flow`.
      activation: as of `flow`; the encoder's too.
      mean: as of `gaussian_encoder`.

    Returns:
      The guide; φ is `FlowParams` with the encoder's linen parameter tree as base. x is `[data_dim]`, floating, integer
      or boolean; z is `[D]`, and `from_noise` takes noise `[D]`.

    Raises:
      TypeError, ValueError: as `flow` and `gaussian_encoder`.
    """
    hidden = tuple(hidden)
    network = encoder(data_dim, latent_dim, ("loc", "log_scale"), hidden=hidden, activation=activation, mean=mean)
    context_dim = hidden[-1] if hidden else data_dim
    stack = couplings(latent_dim, context_dim, num_layers, coupling_hidden, activation, affine())

    def init(key: jax.Array) -> FlowParams:
        # The encoder takes the key itself, so that it starts as a `gaussian_encoder` would.
        return FlowParams(network.init(key), stack.init(jax.random.fold_in(key, 1)))

    def distribution(phi: FlowParams, x: jax.Array) -> distrax.Transformed:
        heads, trunk = network.encode(phi.base, x)
        outer = distrax.Block(distrax.ScalarAffine(heads["loc"], log_scale=heads["log_scale"]), 1)
        return stack.distribution(phi.couplings, outer, trunk)

    return _guide(latent_dim, init, distribution)


def _on_base(dim: int, base: Callable[[int], Guide], stack: Couplings) -> Guide:
    gaussian = base(dim)

    def init(key: jax.Array) -> FlowParams:
        return FlowParams(gaussian.init(jax.random.fold_in(key, 1)), stack.init(key))

    def distribution(phi: FlowParams, x: PyTree) -> distrax.Transformed:
        outside: Any = gaussian.distribution(phi.base, x)
        if not isinstance(outside, distrax.MultivariateNormalFromBijector):
            raise ValueError(
                f"base must be a Gaussian that is an affine map of {dim} numbers, guides.mean_field or "
                f"guides.full_rank, got {type(outside).__name__}: move other guides by guides.preconditioned."
            )
        return stack.distribution(phi.couplings, outside.bijector, jnp.zeros(0))

    return _guide(dim, init, distribution)


def _guide(
    dim: int, init: Callable[[jax.Array], FlowParams], distribution: Callable[..., "distrax.Transformed"]
) -> Guide:
    def from_noise(phi: FlowParams, x: PyTree, noise: jax.Array) -> jax.Array:
        bijector: Any = distribution(phi, x).bijector
        return bijector.forward(check_noise(noise, dim))

    return Guide(init, distribution, from_noise=from_noise)
