"""Models log p(x, z; θ), each a function that returns a `Model`, or an `ExactModel` where the evidence is known."""

from vi_jax.models.conjugate import linear_gaussian as linear_gaussian
from vi_jax.models.conjugate import linear_gaussian_elbo as linear_gaussian_elbo
from vi_jax.models.conjugate import linear_gaussian_optimum as linear_gaussian_optimum
from vi_jax.models.deep import bernoulli_decoder as bernoulli_decoder
from vi_jax.models.deep import bernoulli_log_prob as bernoulli_log_prob
from vi_jax.models.exact import ExactModel as ExactModel
from vi_jax.models.table import EYE_COLOURS as EYE_COLOURS
from vi_jax.models.table import THREE_STATES as THREE_STATES
from vi_jax.models.table import LabelledTable as LabelledTable
from vi_jax.models.table import normalized_table as normalized_table
from vi_jax.models.table import table as table
