"""Approximate posteriors q(z | x; φ), each a function that returns a `Guide`."""

from typing import TYPE_CHECKING

from vi_jax.guides.amortized import bernoulli_encoder as bernoulli_encoder
from vi_jax.guides.amortized import categorical_encoder as categorical_encoder
from vi_jax.guides.amortized import gaussian_encoder as gaussian_encoder
from vi_jax.guides.chain import chain as chain
from vi_jax.guides.concrete import BinaryConcrete as BinaryConcrete
from vi_jax.guides.concrete import Concrete as Concrete
from vi_jax.guides.conversion import flow_from_full_rank as flow_from_full_rank
from vi_jax.guides.conversion import full_rank_from_gaussian as full_rank_from_gaussian
from vi_jax.guides.conversion import full_rank_from_mean_field as full_rank_from_mean_field
from vi_jax.guides.conversion import gaussian_mixture_from_gaussian as gaussian_mixture_from_gaussian
from vi_jax.guides.conversion import low_rank_from_gaussian as low_rank_from_gaussian
from vi_jax.guides.conversion import low_rank_from_mean_field as low_rank_from_mean_field
from vi_jax.guides.conversion import mean_field_from_full_rank as mean_field_from_full_rank
from vi_jax.guides.conversion import mean_field_from_gaussian as mean_field_from_gaussian
from vi_jax.guides.convolutional import convolutional_encoder as convolutional_encoder
from vi_jax.guides.dependent import antithetic as antithetic
from vi_jax.guides.dependent import quasi_monte_carlo as quasi_monte_carlo
from vi_jax.guides.discrete import bernoulli as bernoulli
from vi_jax.guides.discrete import categorical as categorical
from vi_jax.guides.fixed import fixed as fixed
from vi_jax.guides.flow import FlowParams as FlowParams
from vi_jax.guides.flow import flow as flow
from vi_jax.guides.flow import flow_encoder as flow_encoder
from vi_jax.guides.flow import spline_flow as spline_flow
from vi_jax.guides.gaussian import Affine as Affine
from vi_jax.guides.gaussian import FullRank as FullRank
from vi_jax.guides.gaussian import MeanField as MeanField
from vi_jax.guides.gaussian import affine as affine
from vi_jax.guides.gaussian import full_rank as full_rank
from vi_jax.guides.gaussian import mean_field as mean_field
from vi_jax.guides.gaussian import scale_tril as scale_tril
from vi_jax.guides.low_rank import LowRank as LowRank
from vi_jax.guides.low_rank import low_rank as low_rank
from vi_jax.guides.mixture import GaussianMixture as GaussianMixture
from vi_jax.guides.mixture import gaussian_mixture as gaussian_mixture
from vi_jax.guides.preconditioned import preconditioned as preconditioned
from vi_jax.guides.relaxed import relaxed as relaxed
from vi_jax.guides.relaxed import straight_through as straight_through

if TYPE_CHECKING:
    from vi_jax.guides.diagonal_mixture import DiagonalMixture as DiagonalMixture
    from vi_jax.guides.low_rank_normal import LowRankNormal as LowRankNormal


def __getattr__(name: str) -> type:
    """Returns a class that derives from one of distrax, which `import vi_jax` does not load."""
    if name == "DiagonalMixture":
        from vi_jax.guides.diagonal_mixture import DiagonalMixture

        return DiagonalMixture
    if name == "LowRankNormal":
        from vi_jax.guides.low_rank_normal import LowRankNormal

        return LowRankNormal
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
