"""Training: one pure step, and a scan of them."""

from vi_jax.training.fit import fit as fit
from vi_jax.training.step import History as History
from vi_jax.training.step import TrainState as TrainState
from vi_jax.training.step import init_state as init_state
from vi_jax.training.step import make_step as make_step
from vi_jax.training.subsample import subsample as subsample
