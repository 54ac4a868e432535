"""Objectives that are no function of log-weights alone. Each is `(key, params, x) -> (values [B], Params)`.

One that carries something from step to step, as `score_climbing` its chains and `relax` what it has learned, takes and
returns a state: `(key, params, x, state) -> (values [B], Params, state)`.
"""

from vi_jax.objectives.antithetic import arm as arm
from vi_jax.objectives.antithetic import disarm as disarm
from vi_jax.objectives.baselines import Baseline as Baseline
from vi_jax.objectives.baselines import Predictor as Predictor
from vi_jax.objectives.baselines import dense_predictor as dense_predictor
from vi_jax.objectives.baselines import no_prediction as no_prediction
from vi_jax.objectives.baselines import start_baseline as start_baseline
from vi_jax.objectives.decompositions import analytic_entropy as analytic_entropy
from vi_jax.objectives.decompositions import analytic_kl as analytic_kl
from vi_jax.objectives.enumerated import enumerated as enumerated
from vi_jax.objectives.enumerated import enumerated_forward_kl as enumerated_forward_kl
from vi_jax.objectives.forward_kl import exact_draws as exact_draws
from vi_jax.objectives.generalized import generalized_doubly_reparameterized as generalized_doubly_reparameterized
from vi_jax.objectives.likelihood import maximum_likelihood as maximum_likelihood
from vi_jax.objectives.nvil import nvil as nvil
from vi_jax.objectives.reference import defensive_wake_phi as defensive_wake_phi
from vi_jax.objectives.reference import log_variance as log_variance
from vi_jax.objectives.relax import Control as Control
from vi_jax.objectives.relax import relax as relax
from vi_jax.objectives.relax import start_control as start_control
from vi_jax.objectives.score_climbing import score_climbing as score_climbing
from vi_jax.objectives.score_climbing import start_chain as start_chain
from vi_jax.objectives.sleep import joined as joined
from vi_jax.objectives.sleep import sleep as sleep
from vi_jax.objectives.state import PerDatum as PerDatum
from vi_jax.objectives.state import StatefulObjective as StatefulObjective
from vi_jax.objectives.stratified import stratified as stratified
