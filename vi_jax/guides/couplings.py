"""Coupling layers with a context: what the flows of `guides.flow` are stacks of (flax linen, distrax)."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vi_jax import checks
from vi_jax.guides.gaussian import check_positive
from vi_jax.lazy import distrax
from vi_jax.types import PyTree

# A layer stretches by e^{±2} at most, so that nothing overflows in a stack; log_scale outside has no such limit.
_MAX_LOG_SCALE = 2.0


class Couplings(NamedTuple):
    """`init: key -> tuple of φ`; `distribution: (tuple of φ, outer bijector [D], context) -> law of z`."""

    init: Callable[[jax.Array], tuple[PyTree, ...]]
    distribution: Callable[[tuple[PyTree, ...], Any, jax.Array], "distrax.Transformed"]


class Transform(NamedTuple):
    """What a coupling does to each coordinate that it moves.

    Attributes:
      num_parameters: P per coordinate.
      bijector: raw parameters `[P, moved]` -> elementwise bijector; zeros -> the identity.
    """

    num_parameters: int
    bijector: Callable[[jax.Array], "distrax.Bijector"]


def affine() -> Transform:
    """u ↦ u exp(s) + t."""

    def bijector(raw: jax.Array) -> distrax.Bijector:
        return distrax.ScalarAffine(raw[0], log_scale=_MAX_LOG_SCALE * jnp.tanh(raw[1] / _MAX_LOG_SCALE))

    return Transform(2, bijector)


def spline(num_bins: int, bound: float) -> Transform:
    """A monotone rational-quadratic spline, and `affine` after it; after the checks of its sizes.

    A spline alone maps ±bound to itself: it can bend what stays inside, and shift nothing beyond.
    """
    from vi_jax.guides.spline import RationalQuadratic

    num_bins = checks.check_positive_int("num_bins", num_bins)
    bound, outer = check_positive("bound", bound), affine()

    def bijector(raw: jax.Array) -> distrax.Bijector:
        return distrax.Chain([outer.bijector(raw[:2]), RationalQuadratic(raw[2:], bound)])

    return Transform(outer.num_parameters + 3 * num_bins - 1, bijector)


def couplings(
    dim: int,
    context_dim: int,
    num_layers: int,
    hidden: Sequence[int],
    activation: Callable[[jax.Array], jax.Array],
    transform: Transform,
) -> Couplings:
    """Makes the stack of couplings, after the checks of every flow."""
    from vi_jax.guides.networks import Conditioner

    if checks.check_positive_int("latent_dim", dim) < 2:
        raise ValueError("latent_dim must be at least 2 for a coupling, got 1: take gaussian_encoder or mean_field.")
    num_layers = checks.check_positive_int("num_layers", num_layers)
    widths = tuple(checks.check_positive_int("coupling_hidden", width) for width in hidden)
    if not widths:
        raise ValueError("coupling_hidden must name one hidden layer at least, got (): (32, 32).")
    lower = dim // 2
    # Layers in the order in which noise passes: even ones keep the lower coordinates and move the upper.
    kept = [lower if layer % 2 == 0 else dim - lower for layer in range(num_layers)]
    networks = [Conditioner(widths, (transform.num_parameters, dim - size), activation) for size in kept]

    def init(key: jax.Array) -> tuple[PyTree, ...]:
        keys = jax.random.split(key, num_layers)
        layers = zip(networks, keys, kept, strict=True)
        return tuple(net.init(key, jnp.zeros(size), jnp.zeros(context_dim))["params"] for net, key, size in layers)

    def distribution(phi: tuple[PyTree, ...], outer: Any, context: jax.Array) -> distrax.Transformed:
        layers = [
            distrax.SplitCoupling(
                split_index=lower,
                event_ndims=1,
                conditioner=functools.partial(_condition, network, part, context),
                bijector=transform.bijector,
                swap=bool(layer % 2),
            )
            for layer, (network, part) in enumerate(zip(networks, phi, strict=True))
        ]
        dtype = jax.tree.leaves(phi)[0].dtype
        noise = distrax.MultivariateNormalDiag(jnp.zeros(dim, dtype), jnp.ones(dim, dtype))
        return distrax.Transformed(noise, distrax.Chain([outer, *layers[::-1]]))

    return Couplings(init, distribution)


def _condition(network: Any, phi: PyTree, context: jax.Array, kept: Any) -> Any:
    return network.apply({"params": phi}, kept, context)
