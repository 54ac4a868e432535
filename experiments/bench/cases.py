"""What is timed: the library's programs, each group beside one reference that is written by hand."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import vi_jax as vi
from experiments.bench import references, sweeps
from experiments.bench.programs import Case, Program
from vi_jax.models.bernoulli import bernoulli_log_prob

LATENT_DIM, HIDDEN, DATA_DIM = 50, (200, 200), 784
OPTIMIZER = optax.adam(1e-3)
REFERENCE = "hand-written"


@dataclasses.dataclass(frozen=True)
class Config:
    """What is measured, and how often.

    Attributes:
      seed: of parameters, data, draws and the order of the timed runs.
      num_steps: training steps in one call of a regression case.
      regression_samples: S, draws per step of the regression.
      image_samples: K, draws per image of an autoencoder's gradient.
      chunk_size: where K is larger, the pathwise gradient is also computed in chunks of so many draws.
      batch_size: B, images.
      evidence_samples: K of the log-evidence.
      evidence_batch_size: B of the log-evidence.
      sweep_samples: K of a whole sweep.
      sweep_replicates: R of it.
      num_looped: of these, how many one run of the loop does that stands beside it.
      num_runs: timed runs of each program.
      num_evidence_runs: timed runs of the log-evidence.
      num_loops: timed runs of the loop.
    """

    seed: int = 0
    num_steps: int = 100
    regression_samples: tuple[int, ...] = (1, 10, 100)
    image_samples: tuple[int, ...] = (1, 5, 50)
    chunk_size: int = 10
    batch_size: int = 100
    evidence_samples: int = 5000
    evidence_batch_size: int = 100
    sweep_samples: tuple[int, ...] = tuple(2**i for i in range(11))
    sweep_replicates: int = 1000
    num_looped: int = 10
    num_runs: int = 40
    num_evidence_runs: int = 30
    num_loops: int = 10


def cases(config: Config) -> list[Case]:
    """Returns what a configuration asks for, in the order of the table."""
    return [
        *(regression(config, num_samples) for num_samples in config.regression_samples),
        *(autoencoder(config, num_samples) for num_samples in config.image_samples),
        evidence(config),
        sweeps.sweep(config.seed, config.sweep_samples, config.sweep_replicates, config.num_looped, config.num_loops),
    ]


def regression(config: Config, num_samples: int) -> Case:
    """W1: fitting a mean-field guide to a Bayesian logistic regression, 569 × 31, one scan over steps."""
    model, (features, labels) = logistic_regression(), tumours()
    guide = vi.guides.mean_field(features.shape[1], initial_scale=0.1)
    key = jax.random.key(config.seed)
    arguments = (key, vi.Params((), guide.init(key)), (features[None], labels[None]))
    sizes = {"num_samples": num_samples, "num_steps": config.num_steps}
    programs = [
        Program(REFERENCE, functools.partial(references.fit_regression, optimizer=OPTIMIZER, **sizes), arguments)
    ]
    for name, estimator in (("pathwise", vi.estimators.pathwise), ("STL", vi.estimators.sticking_the_landing)):
        objective = vi.value_and_grad(model, guide, vi.bounds.elbo, estimator, num_samples=num_samples)
        programs.append(Program(name, fitting(objective, config.num_steps), arguments))
    return Case("W1 fit step", num_samples, 1, config.num_steps, tuple(programs))


def fitting(objective: vi.Objective, num_steps: int) -> Callable[..., Any]:
    """Returns (key, params, x) -> what `vi.fit` returns."""
    return lambda key, params, x: vi.fit(key, objective, OPTIMIZER, params, x, num_steps=num_steps)


def logistic_regression() -> vi.Model:
    """Makes z ~ N(0, I), y_n ~ Bernoulli(sigmoid(aₙ · z)), the whole data set (a, y) as one datum."""

    def log_joint(theta: tuple[()], x: tuple[jax.Array, jax.Array], z: jax.Array) -> jax.Array:
        features, labels = x
        log_prior = -jnp.sum(z**2) / 2 - z.size * math.log(2 * math.pi) / 2
        # Mapped over draws, z @ features.T is [S, N], the layout of the reference; features @ z would be [N, S].
        return log_prior + jnp.sum(bernoulli_log_prob(z @ features.T, labels))

    return vi.Model(lambda key: (), log_joint)


def tumours() -> tuple[jax.Array, jax.Array]:
    """Returns the features `[569, 31]` of scikit-learn's breast cancer data, standardised, then 1; labels `[569]`."""
    from sklearn.datasets import load_breast_cancer

    features, labels = load_breast_cancer(return_X_y=True)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    features = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    return jnp.asarray(features, jnp.float32), jnp.asarray(labels, jnp.float32)


ESTIMATORS = {
    "pathwise": vi.estimators.pathwise,
    "DReG": vi.estimators.doubly_reparameterized,
    "wake-φ": vi.estimators.wake_phi,
}


def autoencoder(config: Config, num_samples: int) -> Case:
    """W2: one IWAE gradient of an autoencoder 784-200-200-50 on random binary images."""
    model, guide = networks()
    arguments = network_arguments(config.seed, model, guide, config.batch_size)
    make = functools.partial(vi.value_and_grad, model, guide, vi.bounds.iwae, num_samples=num_samples)
    reference = functools.partial(references.iwae_value_and_grad, num_samples=num_samples)
    programs = [Program(REFERENCE, reference, arguments)]
    programs += [Program(name, make(estimator), arguments) for name, estimator in ESTIMATORS.items()]
    if num_samples > config.chunk_size:
        chunked = make(vi.estimators.pathwise, chunk_size=config.chunk_size)
        programs.append(Program(f"chunk {config.chunk_size}", chunked, arguments, math.nan))
    return Case("W2 gradient", num_samples, config.batch_size, 1, tuple(programs))


def evidence(config: Config) -> Case:
    """W3: log p(x) by many draws, beside the memory of drawing them all at once."""
    model, guide = networks()
    arguments = network_arguments(config.seed, model, guide, config.evidence_batch_size)
    num_samples = config.evidence_samples

    def streamed(key: jax.Array, params: vi.Params, x: jax.Array) -> vi.Evidence:
        return vi.log_evidence(key, model, guide, params, x, num_samples=num_samples)

    naive = functools.partial(references.iwae, num_samples=num_samples)
    programs = (
        Program(REFERENCE, naive, arguments, max_runs=0),
        Program("log_evidence", streamed, arguments, math.nan, config.num_evidence_runs),
    )
    return Case("W3 evidence", num_samples, config.evidence_batch_size, 1, programs)


def networks() -> tuple[vi.Model, vi.Guide]:
    """Returns the decoder and the encoder."""
    model = vi.models.bernoulli_decoder(LATENT_DIM, DATA_DIM, hidden=HIDDEN)
    return model, vi.guides.gaussian_encoder(DATA_DIM, LATENT_DIM, hidden=HIDDEN)


def network_arguments(
    seed: int, model: vi.Model, guide: vi.Guide, batch_size: int
) -> tuple[jax.Array, vi.Params, jax.Array]:
    """Returns a key, initial parameters and random binary images `[B, 784]`."""
    key, theta_key, phi_key, x_key = jax.random.split(jax.random.key(seed), 4)
    x = jax.random.bernoulli(x_key, 0.5, (batch_size, DATA_DIM)).astype(jnp.float32)
    return key, vi.Params(model.init(theta_key), guide.init(phi_key)), x
