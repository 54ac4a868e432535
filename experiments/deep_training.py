"""Methods of training a deep generative model, and one run of one of them: all seeds in one program, resumable."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np
import optax

import vi_jax as vi
from experiments import deep_presets, progress, training
from experiments.deep_presets import Images, Preset
from experiments.training_files import Files
from vi_jax import checks

CURVE_DATA = 500
"""Test images of a learning curve, at most: a choice without replacement, the same at every step."""
CURVE_SAMPLES = 50
"""K of the bound in a learning curve."""
LONGEST = 50_000
"""Steps between two evaluations, at most: a run that is killed loses twice as many, a minute or two on a GPU."""


class Method(NamedTuple):
    """A bound and an estimator of its gradient.

    Attributes:
      label: for figures and tables.
      bound: what θ climbs, and φ too unless the estimator says otherwise.
      estimator: `k -> estimator`.
    """

    label: str
    bound: vi.BoundFn
    estimator: Callable[[int], vi.Estimator]


def num_groups(k: int) -> int:
    """Returns M for PIWAE, the smallest divisor of k that is at least √k: 1, 5, 10 of 1, 5, 50."""
    return next(m for m in range(1, k + 1) if k % m == 0 and m * m >= k)


METHODS: Mapping[str, Method] = {
    "vae": Method("VAE", vi.bounds.elbo, lambda k: vi.estimators.pathwise),
    "iwae": Method("IWAE", vi.bounds.iwae, lambda k: vi.estimators.pathwise),
    "dreg": Method("IWAE, DReG", vi.bounds.iwae, lambda k: vi.estimators.doubly_reparameterized),
    "rws": Method("RWS", vi.bounds.iwae, lambda k: vi.estimators.wake_phi),
    "piwae": Method("PIWAE", vi.bounds.iwae, lambda k: vi.estimators.piwae(num_groups(k))),
}
"""VAE: arXiv:1312.6114. IWAE: arXiv:1509.00519. DReG: arXiv:1810.04152. RWS, θ by IWAE and φ by wake-φ:
arXiv:1406.2751. PIWAE, θ by IWAE and φ by the mean of M bounds of k/M draws: arXiv:1802.04537."""


class Problem(NamedTuple):
    """A protocol with its data and networks, made once: programs are compiled for these very functions.

    Attributes:
      preset: the protocol.
      data: the images.
      model: p(x, z).
      guide: q(z | x).
      evaluate: `(key, params) -> {"iwae", "elbo"}`, means over test images, in nats, from the same draws.
    """

    preset: Preset
    data: Images
    model: vi.Model
    guide: vi.Guide
    evaluate: Callable[[jax.Array, vi.Params], dict[str, jax.Array]]


@functools.cache
def problem(name: str) -> Problem:
    """Returns the problem of a preset, the same one for the same name.

    Raises:
      ValueError: there is no such preset.
      SystemExit: its data are not there, with the loader's one error.
    """
    preset = deep_presets.preset(name)
    data = deep_presets.images(preset)
    model, guide = preset.networks(data.train)

    def bounds(x: jax.Array, key: jax.Array, params: vi.Params) -> dict[str, jax.Array]:
        log_w = vi.log_weights(key, model, guide, params, x, num_samples=CURVE_SAMPLES)
        return {"iwae": vi.bounds.iwae(log_w).mean(), "elbo": vi.bounds.elbo(log_w).mean()}

    return Problem(preset, data, model, guide, jax.tree_util.Partial(bounds, some(data.test, CURVE_DATA)))


def objective(problem: Problem, method: str, k: int) -> vi.Objective:
    """Returns the objective of a method with k draws."""
    chosen = METHODS[method]
    return vi.value_and_grad(problem.model, problem.guide, chosen.bound, chosen.estimator(k), num_samples=k)


def initial(problem: Problem, optimizer: optax.GradientTransformation, key: jax.Array, num_seeds: int) -> vi.TrainState:
    """Returns the states before the first step, every leaf with S in front.

    Every method begins with the same parameters and sees the same minibatches.

    Raises:
      TypeError, ValueError: the number of seeds is not a positive integer.
    """
    num_seeds = checks.check_positive_int("num_seeds", num_seeds)

    def one(key: jax.Array) -> vi.TrainState:
        model_key, guide_key, run_key = jax.random.split(key, 3)
        params = vi.Params(problem.model.init(model_key), problem.guide.init(guide_key))
        return vi.init_state(run_key, optimizer, params)

    return jax.jit(jax.vmap(one))(jax.random.split(key, num_seeds))


class Plan(NamedTuple):
    """How long a run is.

    Attributes:
      num_steps: T.
      batch_size: data per step.
      num_evaluations: points of the learning curve, unless they were more than 50,000 steps apart.
    """

    num_steps: int
    batch_size: int
    num_evaluations: int

    @property
    def every(self) -> int:
        """Steps from one evaluation to the next."""
        return min(math.ceil(self.num_steps / self.num_evaluations), LONGEST)


def make_plan(num_steps: int, batch_size: int, num_evaluations: int) -> Plan:
    """Returns the plan, with no more evaluations than steps.

    Raises:
      TypeError, ValueError: a number is not a positive integer.
    """
    numbers = {"num_steps": num_steps, "batch_size": batch_size, "num_evaluations": num_evaluations}
    steps, batch, evaluations = (checks.check_positive_int(name, value) for name, value in numbers.items())
    return Plan(steps, batch, min(evaluations, steps))


class Learned(NamedTuple):
    """What came of a run of S seeds.

    Attributes:
      state: at its end, every leaf with S in front.
      curve: `{"step": [M], "iwae": [S, M], "elbo": [S, M]}`, means over test images, in nats.
      num_nonfinite: gradients that were not finite, of all seeds.
      seconds: that training took in this process, compilation included, saving not; NaN if an earlier one did it all.
      steps_per_second: median over the blocks after the first, of S steps side by side; NaN if there is none.
    """

    state: vi.TrainState
    curve: dict[str, np.ndarray]
    num_nonfinite: int
    seconds: float
    steps_per_second: float


def learn(
    problem: Problem,
    objective: vi.Objective,
    optimizer: optax.GradientTransformation,
    state: vi.TrainState,
    plan: Plan,
    *,
    files: Files | None,
    track: progress.Track,
    phase: str,
) -> Learned:
    """Trains S seeds side by side, in blocks that are on disk when they are done.

    Raises:
      FloatingPointError: a gradient is not finite.
      SystemExit: as `training.train`.
    """
    block = 2 * plan.every
    trained = training.train(
        objective,
        optimizer,
        state,
        problem.data.train,
        num_steps=plan.num_steps,
        block=block,
        files=files,
        track=track,
        phase=phase,
        batch_size=plan.batch_size,
        prepare=problem.data.prepare,
        evaluate=problem.evaluate,
        evaluate_every=plan.every,
    )
    evaluations = trained.history.evaluations
    assert isinstance(evaluations, vi.training.Evaluations), "a learning curve was asked for"
    # The first block compiles, and so does one of another length, the last.
    rates = [block / lap.seconds for lap in trained.laps[1:] if lap.num_steps == block]
    return Learned(
        trained.state,
        {"step": np.asarray(evaluations.step[0]), **evaluations.value},
        trained.num_nonfinite,
        sum(lap.seconds for lap in trained.laps) if trained.laps else math.nan,
        float(np.median(rates)) if rates else math.nan,
    )


def some(images: jax.Array, number: int | None) -> jax.Array:
    """Returns `number` of the images, a choice without replacement by `default_rng(0)`; all, in order, if None.

    Never the first ones: test images may be sorted by class.

    Raises:
      TypeError, ValueError: the number is not a positive integer.
    """
    if number is None or checks.check_positive_int("num_test", number) >= len(images):
        return images
    return images[np.random.default_rng(0).choice(len(images), number, replace=False)]
