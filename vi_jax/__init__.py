"""Gradient-based variational inference: every bound with every gradient estimator, from one small algebra."""

from vi_jax import bounds as bounds
from vi_jax import data as data
from vi_jax import estimators as estimators
from vi_jax import exact as exact
from vi_jax import guides as guides
from vi_jax import measurement as measurement
from vi_jax import models as models
from vi_jax import objectives as objectives
from vi_jax.gradient import loss as loss
from vi_jax.gradient import shared_gradients as shared_gradients
from vi_jax.gradient import value_and_grad as value_and_grad
from vi_jax.log_weights import log_weights as log_weights
from vi_jax.measurement.evidence import Evidence as Evidence
from vi_jax.measurement.evidence import log_evidence as log_evidence
from vi_jax.training.fit import fit as fit
from vi_jax.training.step import History as History
from vi_jax.training.step import TrainState as TrainState
from vi_jax.training.step import init_state as init_state
from vi_jax.types import BoundFn as BoundFn
from vi_jax.types import CoefficientFn as CoefficientFn
from vi_jax.types import Coefficients as Coefficients
from vi_jax.types import Estimator as Estimator
from vi_jax.types import Guide as Guide
from vi_jax.types import Model as Model
from vi_jax.types import Objective as Objective
from vi_jax.types import Params as Params
