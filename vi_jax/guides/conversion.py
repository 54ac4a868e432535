"""Where a guide starts: φ of each family from a Gaussian that is known, and from the φ of a smaller family.

A Gaussian is its mean `loc` `[D]` and the factor `scale_tril` L `[D, D]` of its covariance L Lᵀ, as an approximation at
the mode or along a path to it returns them. `FullRank` holds any Gaussian exactly, and a flow with a `full_rank` base
starts as one exactly. The others are projections, and each says which:

    guide._replace(init=lambda key: full_rank_from_gaussian(loc, scale_tril))

starts a fit there. Without any of this `init` is the start at random, or at N(0, initial_scale² I).
"""

import jax
import jax.numpy as jnp
from jax.scipy import linalg
from jax.typing import ArrayLike

from vi_jax import checks
from vi_jax.guides.flow import FlowParams
from vi_jax.guides.gaussian import FullRank, MeanField, check_gaussian, check_positive
from vi_jax.guides.gaussian import scale_tril as scale_tril_of
from vi_jax.guides.low_rank import LowRank
from vi_jax.guides.mixture import GaussianMixture
from vi_jax.types import Guide

_FACTOR_ITERATIONS = 200
_JITTER = 1e-3


def mean_field_from_gaussian(loc: ArrayLike, scale_tril: ArrayLike) -> MeanField:
    """Returns the diagonal Gaussian q of the smallest KL(q ‖ N(loc, L Lᵀ)): the same mean, variances 1 / Λ_jj.

    Λ = (L Lᵀ)⁻¹, so that Λ_jj is the squared norm of column j of L⁻¹. It is the best ELBO that mean field has on this
    Gaussian, ½ log det Λ − ½ Σ_j log Λ_jj below log Z; its variances are those of z_j given the others.
    """
    loc, scale_tril = check_gaussian(loc, scale_tril)
    whitener = linalg.solve_triangular(scale_tril, jnp.eye(loc.size, dtype=loc.dtype), lower=True)
    return MeanField(loc, -jnp.log(jnp.linalg.norm(whitener, axis=0)))


def full_rank_from_gaussian(loc: ArrayLike, scale_tril: ArrayLike) -> FullRank:
    """Returns N(loc, L Lᵀ), exactly."""
    loc, scale_tril = check_gaussian(loc, scale_tril)
    return FullRank(loc, jnp.log(jnp.diagonal(scale_tril)), scale_tril[jnp.tril_indices(loc.size, -1)])


def low_rank_from_gaussian(loc: ArrayLike, scale_tril: ArrayLike, *, rank: int) -> LowRank:
    """Returns a factor analysis of N(loc, L Lᵀ): N(loc, S² + U Uᵀ) that keeps every mean and every variance.

        U = S V max(λ − 1, 0)^½ of the R largest eigenpairs (λ, V) of S⁻¹ Σ S⁻¹,   S² = diag(Σ − U Uᵀ)

    iterated 200 times: the conditions under which the forward KL(N(loc, Σ) ‖ q) is stationary. A Σ of this form is a
    solution, found to rounding where its factors are well determined (at D = 10, R = 2 by 200 rounds), to some 10⁻³
    where they hardly are (D = 5, R = 2). Factors that Σ has no use for are columns of zeros, which stay so until noise
    moves them. Price: 200 eigendecompositions `[D, D]`, once.

    Jöreskog, "Some contributions to maximum likelihood factor analysis" (1967).

    Args:
      loc: `[D]`.
      scale_tril: L `[D, D]`.
      rank: R, from 1 to D.
    """
    loc, scale_tril = check_gaussian(loc, scale_tril)
    if checks.check_positive_int("rank", rank) > loc.size:
        raise ValueError(f"rank must be at most D = {loc.size}, got {rank}.")
    covariance = scale_tril @ scale_tril.T
    variances = jnp.diagonal(covariance)

    def factors_of(unique: jax.Array) -> jax.Array:
        scale = jnp.sqrt(unique)
        eigenvalues, vectors = jnp.linalg.eigh(covariance / scale / scale[:, None])
        return scale[:, None] * vectors[:, -rank:] * jnp.sqrt(jnp.maximum(eigenvalues[-rank:] - 1, 0))

    def improve(_: int, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        factors = factors_of(state[0])
        left = variances - jnp.sum(factors**2, axis=1)
        return jnp.maximum(left, jnp.sqrt(jnp.finfo(left.dtype).eps) * variances), factors

    given_others = jnp.exp(2 * mean_field_from_gaussian(loc, scale_tril).log_scale)
    start = (given_others, jnp.zeros((loc.size, rank), loc.dtype))
    unique, factors = jax.lax.fori_loop(0, _FACTOR_ITERATIONS, improve, start)
    return LowRank(loc, jnp.log(unique) / 2, factors)


def gaussian_mixture_from_gaussian(
    key: jax.Array, loc: ArrayLike, scale_tril: ArrayLike, *, num_components: int, spread: float = 1.0
) -> GaussianMixture:
    """Returns M equal components about N(loc, L Lᵀ): means drawn from N(loc, spread² L Lᵀ), scales of its mean field.

    It is not that Gaussian, which only coincident components would be, and those have equal gradients for ever: a
    saddle that no optimizer leaves. Each component is as wide as `mean_field_from_gaussian`, so that correlations are
    followed by the means alone.

    Args:
      key: a typed key, consumed.
      loc: `[D]`.
      scale_tril: L `[D, D]`.
      num_components: M ≥ 1.
      spread: of the means, in standard deviations; small for a start near the mean field, large for modes far away.
    """
    checks.check_key(key)
    num_components = checks.check_positive_int("num_components", num_components)
    mean, log_scale = mean_field_from_gaussian(loc, scale_tril)
    noise = check_positive("spread", spread) * jax.random.normal(key, (num_components, mean.size), mean.dtype)
    means = mean + noise @ jnp.asarray(scale_tril, mean.dtype).T
    return GaussianMixture(jnp.zeros(num_components), means, jnp.tile(log_scale, (num_components, 1)))


def full_rank_from_mean_field(phi: MeanField) -> FullRank:
    """Returns the same density, L diagonal. Every entry of L has a gradient there."""
    dim = phi.loc.size
    return FullRank(phi.loc, phi.log_scale, jnp.zeros(dim * (dim - 1) // 2, phi.loc.dtype))


def low_rank_from_mean_field(key: jax.Array, phi: MeanField, *, rank: int) -> LowRank:
    """Returns the same means and variances, with factors of 10⁻³ of each scale: correlations of 10⁻⁶.

    Factors of zero would be the same density, and a stationary point (`low_rank`).

    Args:
      key: a typed key, consumed.
      phi: φ of the mean field.
      rank: R ≥ 1.
    """
    checks.check_key(key)
    rank = checks.check_positive_int("rank", rank)
    noise = jax.random.normal(key, (phi.loc.size, rank), phi.loc.dtype)
    relative = _JITTER * noise / jnp.linalg.norm(noise, axis=1, keepdims=True)
    own = jnp.log1p(-(_JITTER**2)) / 2
    return LowRank(phi.loc, phi.log_scale + own, jnp.exp(phi.log_scale)[:, None] * relative)


def mean_field_from_full_rank(phi: FullRank) -> MeanField:
    """Returns the reverse-KL projection, `mean_field_from_gaussian`: the variances are 1 / Λ_jj."""
    return mean_field_from_gaussian(phi.loc, scale_tril_of(phi))


def flow_from_full_rank(guide: Guide, key: jax.Array, phi: FullRank) -> FlowParams:
    """Returns φ of a flow that is the same Gaussian, exactly: couplings at the identity, inside of L.

    Args:
      guide: `flow` or `spline_flow` with `base=guides.full_rank`, over D as many numbers.
      key: a typed key, consumed, for the networks of the couplings.
      phi: φ of the Gaussian.

    Raises:
      ValueError: the base of the guide has another φ.
    """
    checks.check_key(key)
    start = guide.init(key)
    if jax.tree.map(jnp.shape, getattr(start, "base", None)) != jax.tree.map(jnp.shape, phi):
        raise ValueError(
            f"the guide must be a flow on guides.full_rank over {phi.loc.size} numbers, and its init makes "
            f"{jax.tree.map(jnp.shape, start)}: guides.flow({phi.loc.size}, base=guides.full_rank)."
        )
    return start._replace(base=phi)
