"""Gradient estimators: bound -> (log-weights `[K, ...]` -> `Coefficients`)."""

from vi_jax.estimators.definition import Tolerance as Tolerance
from vi_jax.estimators.definition import estimator as estimator
from vi_jax.estimators.definition import tolerance as tolerance
from vi_jax.estimators.definition import with_tolerance as with_tolerance
from vi_jax.estimators.forward_kl import wake_phi as wake_phi
from vi_jax.estimators.forward_kl import wake_phi_doubly_reparameterized as wake_phi_doubly_reparameterized
from vi_jax.estimators.operators import minimized as minimized
from vi_jax.estimators.operators import piwae as piwae
from vi_jax.estimators.operators import split as split
from vi_jax.estimators.reparameterized import doubly_reparameterized as doubly_reparameterized
from vi_jax.estimators.reparameterized import pathwise as pathwise
from vi_jax.estimators.reparameterized import reparameterize_score as reparameterize_score
from vi_jax.estimators.reparameterized import sticking_the_landing as sticking_the_landing
from vi_jax.estimators.score_function import leave_one_out as leave_one_out
from vi_jax.estimators.score_function import ovis as ovis
from vi_jax.estimators.score_function import score_function as score_function
from vi_jax.estimators.score_function import vimco as vimco
from vi_jax.estimators.score_function import vimco_arithmetic as vimco_arithmetic
