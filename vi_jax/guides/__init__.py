"""Approximate posteriors q(z | x; φ), each a function that returns a `Guide`."""

from vi_jax.guides.amortized import bernoulli_encoder as bernoulli_encoder
from vi_jax.guides.amortized import categorical_encoder as categorical_encoder
from vi_jax.guides.amortized import gaussian_encoder as gaussian_encoder
from vi_jax.guides.chain import chain as chain
from vi_jax.guides.concrete import BinaryConcrete as BinaryConcrete
from vi_jax.guides.concrete import Concrete as Concrete
from vi_jax.guides.convolutional import convolutional_encoder as convolutional_encoder
from vi_jax.guides.dependent import antithetic as antithetic
from vi_jax.guides.dependent import quasi_monte_carlo as quasi_monte_carlo
from vi_jax.guides.discrete import bernoulli as bernoulli
from vi_jax.guides.discrete import categorical as categorical
from vi_jax.guides.fixed import fixed as fixed
from vi_jax.guides.flow import FlowParams as FlowParams
from vi_jax.guides.flow import flow as flow
from vi_jax.guides.flow import flow_encoder as flow_encoder
from vi_jax.guides.gaussian import Affine as Affine
from vi_jax.guides.gaussian import FullRank as FullRank
from vi_jax.guides.gaussian import MeanField as MeanField
from vi_jax.guides.gaussian import affine as affine
from vi_jax.guides.gaussian import full_rank as full_rank
from vi_jax.guides.gaussian import mean_field as mean_field
from vi_jax.guides.relaxed import relaxed as relaxed
from vi_jax.guides.relaxed import straight_through as straight_through
