"""The work that every framework is given: data, starting parameters, config, and one judge of a fit, all in NumPy.

    W1   z ~ N(0, I) `[31]`, y_n ~ Bernoulli(sigmoid(aₙ · z)), 569 tumours; q(z) = N(loc, diag(exp(log_scale))²);
         T steps of Adam up the ELBO from loc = 0 and scale = 0.1
    W2   784-200-200-50 autoencoder with tanh layers, B random binary images; steps of Adam up the IWAE bound

Every framework has the same parametrization, the same start and the same learning rate, in float32, so that two fits
differ by their draws alone.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np

INITIAL_SCALE = 0.1
LEARNING_RATE = 0.01
LATENT_DIM, HIDDEN, DATA_DIM = 50, (200, 200), 784
NETWORK_LEARNING_RATE = 1e-3


@dataclasses.dataclass(frozen=True)
class Config:
    """How much work, and how often it is timed.

    Attributes:
      seed: of data, draws and the order of the timed runs.
      num_steps: T, steps of a regression's fit.
      num_loop_steps: of these, how many one timed run of a slow Python loop does.
      regression_samples: S, draws per step.
      num_fits: fits at once.
      fits_samples: S of those.
      num_seeds: fits by which the spread of the reached ELBO is known.
      image_samples: K, draws per image.
      batch_size: B, images.
      num_values: steps by whose losses two IWAE bounds are compared.
      loop_samples: K of the variance of a gradient.
      num_replicates: R of it.
      grid_samples: K of the whole grid of eight pairs; no grid where empty.
      num_looped: replicates of the grid that one timed run of the loop does.
      evidence_samples: K of log p(x).
      evidence_batch_size: B of it.
      long_samples: the largest K of a gradient in chunks; no such gradient where 0.
      chunk_size: draws in a chunk.
      num_runs: timed rounds.
      optimization_level: at which JAX compiles for a CPU, its own default.
      peers: which frameworks; all where none is named.
      page: a Markdown file whose tables become those of this run; none where empty.
    """

    seed: int = 0
    num_steps: int = 1000
    num_loop_steps: int = 200
    regression_samples: tuple[int, ...] = (1, 10, 100)
    num_fits: int = 32
    fits_samples: tuple[int, ...] = (1, 10)
    num_seeds: int = 16
    image_samples: tuple[int, ...] = (1, 5, 50, 500)
    batch_size: int = 100
    num_values: int = 60
    loop_samples: tuple[int, ...] = (1, 64, 256, 1024)
    num_replicates: int = 1000
    grid_samples: tuple[int, ...] = tuple(2**i for i in range(11))
    num_looped: int = 5
    evidence_samples: int = 5000
    evidence_batch_size: int = 100
    long_samples: int = 32_768
    chunk_size: int = 512
    num_runs: int = 11
    optimization_level: int = 3
    peers: tuple[str, ...] = ()
    page: str = ""


class Regression(NamedTuple):
    """The features `[N, D]` and labels `[N]` of the regression, float32."""

    features: np.ndarray
    labels: np.ndarray


@functools.cache
def regression() -> Regression:
    """Returns scikit-learn's breast cancer data, 569 × 30 standardised features and a constant."""
    from sklearn.datasets import load_breast_cancer

    features, labels = map(np.asarray, load_breast_cancer(return_X_y=True))
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    features = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    return Regression(features.astype(np.float32), labels.astype(np.float32))


def start(dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the loc and log_scale, `[D]` float32, from which every fit begins."""
    return np.zeros(dim, np.float32), np.full(dim, np.log(INITIAL_SCALE), np.float32)


def elbo(loc: Any, log_scale: Any, data: Regression) -> float:
    """Returns the ELBO of a mean-field guide, in nats, without a draw.

        Σ_n E[log Bernoulli(y_n; sigmoid(l_n))] − KL(q ‖ N(0, I)),   l_n = aₙ · z ~ N(aₙ · loc, Σ_d aₙ_d² scale_d²)

    Each expectation is an integral over one normal variable, by 40 points of Gauss–Hermite quadrature in float64. Every
    framework's fit is judged by this one function.
    """
    loc, log_scale = np.asarray(loc, np.float64), np.asarray(log_scale, np.float64)
    features = data.features.astype(np.float64)
    points, weights = np.polynomial.hermite_e.hermegauss(40)
    spread = np.sqrt(features**2 @ np.exp(2 * log_scale))
    logits = (features @ loc)[:, None] + spread[:, None] * points
    log_likelihood = data.labels[:, None] * logits - np.logaddexp(0, logits)
    divergence = np.sum(np.exp(2 * log_scale) + loc**2 - 1 - 2 * log_scale) / 2
    return float(np.sum(log_likelihood @ (weights / weights.sum())) - divergence)


def images(seed: int, batch_size: int) -> np.ndarray:
    """Returns random binary images `[B, 784]`, float32."""
    return np.random.default_rng(seed).integers(0, 2, (batch_size, DATA_DIM)).astype(np.float32)


def steps_at_once(num_samples: int) -> int:
    """Returns how many steps of W2 one run does: so many that a run is long beside its call."""
    return max(1, min(20, 50 // num_samples))


def values_at(num_values: int, num_samples: int) -> int:
    """Returns by how many losses a bound is judged: fewer where each is an average of many draws already."""
    return min(num_values, max(6, 600 // num_samples))
