"""Bounds on log p(x), and divergences of q from the posterior: functions of K log-weights and of nothing else.

    log w_k = log p_θ(x, z_k) − log q_φ(z_k | x),   z_1..z_K ~ q_φ(z | x) independently

Every bound here but the jackknife carries its derivatives, and its values with one draw replaced or left out, in closed
form. A bound of your own is any function `[K, ...] -> [...]` that treats the trailing axes one by one; automatic
differentiation then takes the place of the closed forms, at the price that each estimator states.
"""

from vi_jax.bounds import csiszar as csiszar
from vi_jax.bounds.combined import ciwae as ciwae
from vi_jax.bounds.derivatives import ClosedForm as ClosedForm
from vi_jax.bounds.derivatives import closed_form as closed_form
from vi_jax.bounds.derivatives import gradient as gradient
from vi_jax.bounds.derivatives import is_linear as is_linear
from vi_jax.bounds.derivatives import omit as omit
from vi_jax.bounds.derivatives import substitute as substitute
from vi_jax.bounds.derivatives import with_closed_form as with_closed_form
from vi_jax.bounds.derivatives import with_shift as with_shift
from vi_jax.bounds.evidence_upper import eubo as eubo
from vi_jax.bounds.f_divergence import f_divergence as f_divergence
from vi_jax.bounds.grouped import miwae as miwae
from vi_jax.bounds.jackknife import jackknife as jackknife
from vi_jax.bounds.log_variance import log_variance as log_variance
from vi_jax.bounds.others import log_sum_of_others as log_sum_of_others
from vi_jax.bounds.others import mean_of_others as mean_of_others
from vi_jax.bounds.power_means import cubo as cubo
from vi_jax.bounds.power_means import elbo as elbo
from vi_jax.bounds.power_means import iwae as iwae
from vi_jax.bounds.power_means import normalized_weights as normalized_weights
from vi_jax.bounds.power_means import power_mean as power_mean
from vi_jax.bounds.power_means import renyi as renyi
from vi_jax.bounds.thermodynamic import thermodynamic as thermodynamic
from vi_jax.bounds.thermodynamic import thermodynamic_upper as thermodynamic_upper
from vi_jax.names import name_of as name_of
from vi_jax.names import named as named
