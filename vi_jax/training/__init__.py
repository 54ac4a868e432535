"""Training: one pure step, a scan of them, rules to stop by, and checkpoints."""

from vi_jax.training import checkpoint as checkpoint
from vi_jax.training import stopping as stopping
from vi_jax.training.finite import check_finite as check_finite
from vi_jax.training.finite import num_nonfinite_gradients as num_nonfinite_gradients
from vi_jax.training.fit import fit as fit
from vi_jax.training.laplace import Gaussian as Gaussian
from vi_jax.training.laplace import Laplace as Laplace
from vi_jax.training.laplace import laplace as laplace
from vi_jax.training.mode import Modes as Modes
from vi_jax.training.mode import find_modes as find_modes
from vi_jax.training.optimizers import separate as separate
from vi_jax.training.pathfinder import Pathfinder as Pathfinder
from vi_jax.training.pathfinder import pathfinder as pathfinder
from vi_jax.training.score import Score as Score
from vi_jax.training.score import log_weight_score as log_weight_score
from vi_jax.training.settle import SettledFit as SettledFit
from vi_jax.training.settle import Stage as Stage
from vi_jax.training.settle import fit_until_settled as fit_until_settled
from vi_jax.training.step import Evaluations as Evaluations
from vi_jax.training.step import History as History
from vi_jax.training.step import TrainState as TrainState
from vi_jax.training.step import init_state as init_state
from vi_jax.training.step import make_step as make_step
from vi_jax.training.subsample import subsample as subsample
