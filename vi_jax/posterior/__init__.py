"""Trust: an approximate posterior diagnosed, summarised and handed to other tools."""

from vi_jax.posterior.approximate import Approximation as Approximation
from vi_jax.posterior.approximate import approximate as approximate
from vi_jax.posterior.approximate import approximate_target as approximate_target
from vi_jax.posterior.calibration import Calibration as Calibration
from vi_jax.posterior.calibration import calibration as calibration
from vi_jax.posterior.calibration import simulation_based_calibration as simulation_based_calibration
from vi_jax.posterior.climb import Attempt as Attempt
from vi_jax.posterior.diagnosis import Diagnosis as Diagnosis
from vi_jax.posterior.diagnosis import diagnose as diagnose
from vi_jax.posterior.findings import Finding as Finding
from vi_jax.posterior.inference_data import to_arviz as to_arviz
from vi_jax.posterior.ladder import Rung as Rung
from vi_jax.posterior.ladder import default_ladder as default_ladder
from vi_jax.posterior.ladder import flow as flow
from vi_jax.posterior.ladder import full_rank as full_rank
from vi_jax.posterior.ladder import mean_field as mean_field
from vi_jax.posterior.summary import Summary as Summary
from vi_jax.posterior.summary import summary as summary
from vi_jax.posterior.verdict import Verdict as Verdict
