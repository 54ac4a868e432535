"""Approximate posteriors q(z | x; φ), each a function that returns a `Guide`."""

from vi_jax.guides.amortized import bernoulli_encoder as bernoulli_encoder
from vi_jax.guides.amortized import gaussian_encoder as gaussian_encoder
from vi_jax.guides.chain import chain as chain
from vi_jax.guides.discrete import bernoulli as bernoulli
from vi_jax.guides.discrete import categorical as categorical
from vi_jax.guides.fixed import fixed as fixed
from vi_jax.guides.gaussian import Affine as Affine
from vi_jax.guides.gaussian import FullRank as FullRank
from vi_jax.guides.gaussian import MeanField as MeanField
from vi_jax.guides.gaussian import affine as affine
from vi_jax.guides.gaussian import full_rank as full_rank
from vi_jax.guides.gaussian import mean_field as mean_field
