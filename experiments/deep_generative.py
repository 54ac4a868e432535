"""Do more samples, or another gradient, train a better deep generative model?

A decoder p(x, z) and an encoder q(z | x) are trained on binarized images with k draws per datum by

    VAE     θ and φ by the ELBO
    IWAE    θ and φ by log (1/k) Σ w_k, pathwise                       Burda et al. 2016 (arXiv:1509.00519)
    DReG    the same, doubly reparameterized                           Tucker et al. 2018 (arXiv:1810.04152)
    RWS     θ by IWAE, φ by wake-φ                                     Bornschein and Bengio 2015 (arXiv:1406.2751)
    PIWAE   θ by IWAE, φ by IWAE in groups of at most √k draws         Rainforth et al. 2018 (arXiv:1802.04537)
            (at k = 5 groups of one draw: the ELBO; at k = 50 of five)

and judged on test images: NLL by L_5000, −ELBO, active units (Var_x(E_q[z]) > 0.01) and the effective sample size of
the 5000 weights, beside reference numbers. All seeds of a method are one program and begin with the same parameters;
gains are paired, image by image.

    python -m experiments.deep_generative

Preset `digits`, seed 0, float32, two shared CPU cores, 2 min 25 s (7 min where other work had most of them), means of
two seeds on 297 test images, ± half of a 95 % interval over images; reference numbers in brackets:

                NLL              −ELBO            gain over IWAE, k = 1
    IWAE   1    22.47 (22.48)    22.89 (22.90)
    IWAE   5    22.12 (22.08)    23.33 (23.28)    0.35 ± 0.06
    IWAE  50    21.89 (21.90)    25.42 (25.41)    0.58 ± 0.09
    VAE    5    22.35            22.76            0.12 ± 0.04
    DReG   5    22.03            23.07            0.44 ± 0.07
    RWS    5    22.09            23.06            0.39 ± 0.07
    PIWAE  5    22.07            22.91            0.41 ± 0.08

The NLL of one model is known to ± 0.4 over images; its draws add less than 0.004, and two seeds are 0.04 apart at most.
A tighter bound trains a better model and a guide further from its posterior: KL(q ‖ p(z | x)), which is −ELBO − NLL,
grows from 0.4 to 3.5 nats. At k = 5 DReG, PIWAE and RWS, each with another φ̄ than IWAE's pathwise one, keep their guide
closer and end 0.09, 0.05 and 0.03 nats lower. All 10 units are active in every model.

    python -m experiments.deep_generative --preset mnist-1-layer

and the other full-size presets follow the IWAE paper, for the `--methods` and `--num-samples` that are named. Their
data must be there (docs/data.md). MNIST takes 9.84 million steps. A step is 1.2 GFLOP at k = 50, a tenth of that at
k = 5: a GPU spends it launching a hundred or two small kernels, 0.3 to 1 ms. That makes one to three hours for each
method and k, and about twice that with two layers: an estimate by counting, not a measurement. The CPU of the table
took 70 steps a second at k = 5, a day and a half. The history of every step and three checkpoints take 3 GB of disk.

`--quick` (two values of k, 600 steps) takes 20 s.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import optax
import pandas as pd
import tyro
from matplotlib.figure import Figure

from experiments import cli, deep_figure, deep_presets, deep_rows, deep_scores, progress, spelling
from experiments.deep_training import (
    METHODS,
    Learned,
    Plan,
    Problem,
    initial,
    learn,
    make_plan,
    objective,
    problem,
    some,
)
from experiments.deep_verdict import verdict
from experiments.sweep import named
from experiments.training_files import Files

METHOD_NAMES = ", ".join(METHODS)
PresetName = Annotated[str, named(deep_presets.preset, "PRESET"), tyro.conf.arg(help=f"One of {deep_presets.NAMES}.")]
MethodName = Annotated[str, named(lambda name: spelling.chosen("method", METHODS, name, METHOD_NAMES), "METHOD")]
PICTURED = 8
"""Images to a line of samples; reconstructions."""
SAMPLES, UNITS = 48, 4


@dataclasses.dataclass(frozen=True)
class Config:
    """What the rows depend on.

    Attributes:
      seed: of everything random.
      preset: data, networks, learning rates, batch size and length of training.
      methods: trained at every k of num_samples.
      num_samples: values of k.
      more_methods: trained at every k of more_num_samples.
      more_num_samples: values of k.
      num_seeds: S, runs of each method side by side.
      num_steps: of training; None takes the preset's. Its learning rates stretch to it.
      batch_size: data per step; None takes the preset's.
      num_evaluations: points of a learning curve, unless they were more than 50,000 steps apart.
      num_draws: K of the test NLL.
      num_test: test images to score, a choice without replacement; None takes all.
    """

    seed: int = 0
    preset: PresetName = "digits"
    methods: Annotated[tuple[MethodName, ...], tyro.conf.arg(help=f"Of {METHOD_NAMES}.")] = ("iwae",)
    num_samples: tuple[int, ...] = (1, 5, 50)
    more_methods: Annotated[tuple[MethodName, ...], tyro.conf.arg(help=f"Of {METHOD_NAMES}.")] = (
        "vae",
        "dreg",
        "rws",
        "piwae",
    )
    more_num_samples: tuple[int, ...] = (5,)
    num_seeds: int = 2
    num_steps: int | None = None
    batch_size: int | None = None
    num_evaluations: int = 24
    num_draws: int = 5000
    num_test: int | None = None


QUICK = Config(num_samples=(1, 5), more_methods=(), num_steps=600, num_evaluations=6, num_draws=500, num_test=100)


def run(config: Config, track: progress.Track, folder: Path) -> Iterator[list[dict[str, Any]]]:
    """Trains one method at one k after the other, and yields the rows of each."""
    posed = problem(config.preset)
    train_key, score_key = jax.random.split(jax.random.key(config.seed))
    plan = plan_of(config, posed)
    optimizer = optax.adam(posed.preset.rates(plan.num_steps), eps=posed.preset.epsilon)
    start = initial(posed, optimizer, train_key, config.num_seeds)
    x, baseline = some(posed.data.test, config.num_test), []
    for method, k in cells(config):
        files = Files(folder / "training" / f"{method}-{k}", dataclasses.asdict(config))
        phase = f"{METHODS[method].label}, k = {k}"
        learned = learn(
            posed, objective(posed, method, k), optimizer, start, plan, files=files, track=track, phase=phase
        )
        yield list(deep_rows.curve_rows(method, k, learned))
        found = deep_scores.scores_of_seeds(
            score_key, posed.model, posed.guide, learned.state.params, x, num_draws=config.num_draws
        )
        baseline = baseline or found
        shared = {
            "num_nonfinite": learned.num_nonfinite,
            "seconds": learned.seconds,
            "steps_per_second": learned.steps_per_second,
            "num_steps": plan.num_steps,
            "num_draws": config.num_draws,
            "protocol": posed.data.protocol,
        }
        yield list(
            deep_rows.result_rows(method, k, found, baseline, reference(config, posed.preset, method, k), **shared)
        )
        yield list(picture_rows(score_key, posed, learned, method, k, found[0]))


def cells(config: Config) -> list[tuple[str, int]]:
    """Returns every method with every k, once."""
    first = [(method, k) for method in config.methods for k in config.num_samples]
    more = [(method, k) for method in config.more_methods for k in config.more_num_samples]
    return list(dict.fromkeys(first + more))


def plan_of(config: Config, posed: Problem) -> Plan:
    """Returns the length of training: the configuration's, or the preset's where it says nothing."""
    preset, num_steps, batch_size = posed.preset, config.num_steps, config.batch_size
    return make_plan(
        deep_presets.default_steps(preset, len(posed.data.train)) if num_steps is None else num_steps,
        preset.batch_size if batch_size is None else batch_size,
        config.num_evaluations,
    )


def reference(config: Config, preset: deep_presets.Preset, method: str, k: int) -> deep_presets.Reference | None:
    """Returns what is known of the protocol; None for a run that is shorter or scored on fewer images."""
    as_preset = config.num_steps is None and config.batch_size is None and config.num_test is None
    return preset.references.get((method, k)) if as_preset else None


def picture_rows(
    key: jax.Array, posed: Problem, learned: Learned, method: str, k: int, scores: deep_scores.Scores
) -> Iterator[dict[str, Any]]:
    """Yields the images that the first seed draws."""
    params, x = deep_scores.of_seed(learned.state.params, 0), some(posed.data.test, PICTURED)
    drawn = deep_scores.pictures(
        key, posed.model, posed.guide, params, x, scores.variances, num_samples=SAMPLES, num_units=UNITS
    )
    yield from deep_rows.picture_rows(method, k, 0, drawn, PICTURED)


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the mean over seeds of every method, beside the reference."""
    kept = rows.query("part == 'result' and seed == @deep_rows.MEAN")
    columns: dict[str, Any] = {"method": [METHODS[name].label for name in kept["method"]], "k": kept["K"].astype(int)}
    columns |= {f"NLL{end}": kept[f"nll{end}"] for end in ("", "_low", "_high")}
    columns |= {"ref.": kept["reference_nll"], "−ELBO": [f"{nats:.2f}" for nats in kept["minus_elbo"]]}
    columns |= {"ref. ": kept["reference_minus_elbo"]}
    columns |= {f"gain{end}": kept[f"gain{end}"] for end in ("", "_low", "_high")}
    layers = np.stack([kept[f"active_{layer}"] for layer in (1, 2)], axis=1)
    columns["active"] = ["+".join(f"{units:g}" for units in line[~np.isnan(line)]) for line in layers]
    columns |= {"ESS/K": [f"{share:.2g}" for share in kept["ess_share"]]}
    columns |= {"± seeds": [f"{spread:.2f}" for spread in kept["spread"]]}
    columns |= {"s": kept["seconds"].round(), "steps/s": kept["steps_per_second"].round()}
    return pd.DataFrame(columns)


def figure(rows: pd.DataFrame) -> Figure:
    """Draws learning curves, results, and the images of the method with the least NLL."""
    return deep_figure.figure(rows)


if __name__ == "__main__":
    cli.main(run, figure, Config(), quick=QUICK, table=table, verdict=verdict, call=cli.with_folder)
