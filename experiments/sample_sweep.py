"""What do more samples K buy, and what do they cost?

A variational autoencoder 64-100-100-10 is trained on real 8×8 digits by the ELBO. At the trained parameters, and at
perturbed ones, K runs from 1 to 1024 for

    ELBO         (1/K) Σ log w_k               pathwise; sticking the landing
    IWAE         log (1/K) Σ w_k               pathwise; doubly reparameterized; VIMCO
    forward KL   KL(p(z | x) ‖ q), θ by IWAE   wake-φ; its doubly reparameterized form

on the same draws, and for each: the bound and its gap to log p(x), the variance and the signal-to-noise ratio of θ̄ and
φ̄, the effective sample size, and the time of one gradient. Rainforth et al. 2018 (arXiv:1802.04537): under IWAE the
signal-to-noise ratio of the pathwise φ̄ falls like 1/√K while that of θ̄ rises like √K. Tucker et al. 2018
(arXiv:1810.04152): that of the doubly reparameterized φ̄ rises like √K, where the weights have a small variance. Here
they do not, and it falls, from a higher level than the pathwise one.

    python -m experiments.sample_sweep

Seed 0, float32, two shared CPU cores, 4 min 30 s, at the trained parameters (± half of a 95 % interval):

    K = 1     ELBO = IWAE_1 is 0.369 ± 0.045 nats below log p(x); SNR of φ̄ 0.136 ± 0.018 pathwise, 0.369 ± 0.024 STL
    K = 16    IWAE is 0.041 ± 0.016 below; SNR of φ̄ under it 0.083 ± 0.030 pathwise, 0.396 ± 0.067 DReG
    K = 1024  IWAE is 0.003 ± 0.006 below; SNR of φ̄ under it 0.05 ± 0.05 pathwise (not resolved), 0.191 ± 0.031 DReG;
              under the ELBO 4.5 pathwise, 11.5 STL; under forward KL 1.6 wake-φ, 3.8 doubly reparameterized

`--quick` (fewer steps, replicates and values of K, no timings) takes under a minute.
"""

import concurrent.futures
import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pandas as pd
from jax.flatten_util import ravel_pytree
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import vi_jax as vi
from experiments import cli, intervals, progress, style
from vi_jax.data.digits import binarize, digits_split
from vi_jax.measurement import moments, snr
from vi_jax.training import init_state

OBJECTIVES = {
    "elbo/pathwise": (vi.bounds.elbo, vi.estimators.pathwise),
    "elbo/sticking_the_landing": (vi.bounds.elbo, vi.estimators.sticking_the_landing),
    "iwae/pathwise": (vi.bounds.iwae, vi.estimators.pathwise),
    "iwae/doubly_reparameterized": (vi.bounds.iwae, vi.estimators.doubly_reparameterized),
    "iwae/vimco": (vi.bounds.iwae, vi.estimators.vimco),
    "forward_kl/wake_phi": (vi.bounds.iwae, vi.estimators.wake_phi),
    "forward_kl/wake_phi_doubly_reparameterized": (
        vi.bounds.iwae,
        vi.estimators.wake_phi_doubly_reparameterized,
    ),
}
NEEDS_TWO = {"iwae/vimco"}
# Identically zero in φ at K = 1: no signal, no noise, and nothing to draw on a logarithmic axis.
LATENT_DIM = 10
HIDDEN = (100, 100)


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the sweep.

    Attributes:
      seed: of everything random.
      num_steps: training steps of Adam on minibatches of 50.
      perturbation: standard deviation of the noise added to every trained parameter.
      num_data: B, test digits that each gradient averages over.
      num_samples: the values of K.
      num_replicates: R, gradients per value of K.
      num_reference: draws per datum for log p(x).
      num_timed: of how many values of K the gradients are timed, the largest first and the smallest second.
      num_timings: timed gradients per estimator and value of K.
    """

    seed: int = 0
    num_steps: int = 12_000
    perturbation: float = 0.05
    num_data: int = 8
    num_samples: tuple[int, ...] = (1, 2, 4, 16, 64, 256, 1024)
    num_replicates: int = 200
    num_reference: int = 100_000
    num_timed: int = 3
    num_timings: int = 15


QUICK = Config(num_steps=1000, num_samples=(1, 32), num_replicates=60, num_reference=10_000, num_timed=0)


def run(config: Config, track: progress.Track) -> Iterator[list[dict[str, Any]]]:
    """Trains, then yields the rows of one K at a time, for both parameter points."""
    keys = dict(
        zip(("train", "perturb", "reference", "sweep"), jax.random.split(jax.random.key(config.seed), 4), strict=True)
    )
    split = digits_split()
    model, guide = autoencoder(split.train)
    points = {"trained": train(keys["train"], config, model, guide, split.train, track)}
    points["perturbed"] = perturbed(keys["perturb"], points["trained"], config.perturbation)
    x = split.test[: config.num_data]
    evidence = {
        name: vi.log_evidence(keys["reference"], model, guide, params, x, num_samples=config.num_reference)
        for name, params in points.items()
    }
    # Each timing is a program of its own to compile, so not at every K.
    ks = sorted(config.num_samples)
    timed = [ks[-1], ks[0], ks[len(ks) // 2]][: config.num_timed]
    sweep = track(config.num_samples, "sweep", label=lambda k: f"K = {k}", cost=lambda k: k + 400)
    for num_samples in sweep:
        objectives = {name: pair for name, pair in OBJECTIVES.items() if num_samples > 1 or name not in NEEDS_TWO}
        measure = measurement(config, model, guide, objectives, num_samples)
        milliseconds = dict.fromkeys(objectives, math.nan)
        if num_samples in timed:
            alone = {
                name: vi.value_and_grad(model, guide, *pair, num_samples=num_samples)
                for name, pair in objectives.items()
            }
            milliseconds = timings(config, alone, keys["sweep"], points["trained"], x)
        for point, params in points.items():
            measured = jax.device_get(measure(keys["sweep"], params, x))
            yield [
                row(config, point, name, num_samples, measured, evidence[point], milliseconds[name])
                for name in objectives
            ]


def autoencoder(train_images: jax.Array) -> tuple[vi.Model, vi.Guide]:
    """Returns the Bernoulli decoder and the Gaussian encoder, 64-100-100-10 and back."""
    data_dim = train_images.shape[1]
    model = vi.models.bernoulli_decoder(LATENT_DIM, data_dim, hidden=HIDDEN, mean=train_images.mean(axis=0))
    return model, vi.guides.gaussian_encoder(data_dim, LATENT_DIM, hidden=HIDDEN)


def train(
    key: jax.Array, config: Config, model: vi.Model, guide: vi.Guide, images: jax.Array, track: progress.Track
) -> vi.Params:
    """Maximises the ELBO with Adam, 1e-3 halved at one third and cut to 0.4 of that at two thirds of the steps."""
    model_key, guide_key, fit_key = jax.random.split(key, 3)
    num_blocks = 20
    block = max(1, config.num_steps // num_blocks)
    schedule = optax.piecewise_constant_schedule(1e-3, {config.num_steps // 3: 0.5, 2 * config.num_steps // 3: 0.4})
    objective = vi.value_and_grad(model, guide, vi.bounds.elbo, vi.estimators.pathwise, num_samples=1)
    optimizer = optax.adam(schedule)
    params = vi.Params(model.init(model_key), guide.init(guide_key))
    state = init_state(fit_key, optimizer, params)
    for _ in track(range(-(-config.num_steps // block)), "training", label=lambda i: f"step {i * block}"):
        state, _ = vi.fit(None, objective, optimizer, state, images, num_steps=block, batch_size=50, prepare=binarize)
    return state.params


def perturbed(key: jax.Array, params: vi.Params, scale: float) -> vi.Params:
    """Adds N(0, scale²) noise to every parameter."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    noisy = [leaf + scale * jax.random.normal(k, leaf.shape, leaf.dtype) for leaf, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(structure, noisy)


def measurement(
    config: Config,
    model: vi.Model,
    guide: vi.Guide,
    objectives: dict[str, tuple[vi.BoundFn, vi.Estimator]],
    num_samples: int,
) -> Callable:
    """Returns (key, params, x) -> estimates per objective, all objectives on the same draws."""
    together = vi.shared_gradients(model, guide, objectives, num_samples=num_samples)

    @jax.jit
    def grouped_moments(key: jax.Array, params: vi.Params, x: jax.Array) -> moments.Moments:
        def replicate(key: jax.Array) -> dict[str, Any]:
            log_w, gradients = together(key, params, x)
            weights = jax.nn.softmax(log_w, axis=0)
            return {
                "bound": {name: jnp.mean(bound(log_w)) for name, (bound, _) in objectives.items()},
                "ess": jnp.mean(1 / jnp.sum(weights**2, axis=0)),
                # As one vector each: the program compiles in a third of the time, and no statistic is changed.
                "gradient": {
                    name: vi.Params(ravel_pytree(gradient.theta)[0], ravel_pytree(gradient.phi)[0])
                    for name, gradient in gradients.items()
                },
            }

        # About 16,000 draws at a time keep two cores busy and a few tens of megabytes in use.
        chunk_size = max(1, 16_384 // (num_samples * config.num_data))
        return moments.replicate_moments(key, replicate, num_replicates=config.num_replicates, chunk_size=chunk_size)

    def measure(key: jax.Array, params: vi.Params, x: jax.Array) -> dict[str, dict[str, Any]]:
        grouped = grouped_moments(key, params, x)
        ess = moments.select(grouped, lambda draw: draw["ess"])
        return {
            name: statistics_of(
                moments.select(grouped, lambda draw, name=name: draw["bound"][name]),
                ess,
                moments.select(grouped, lambda draw, name=name: draw["gradient"][name]),
            )
            for name in objectives
        }

    return measure


@jax.jit
def statistics_of(bound: moments.Moments, ess: moments.Moments, gradient: moments.Moments) -> dict[str, Any]:
    """Returns the estimates of one objective, each with its interval."""
    return {
        "bound": snr.mean_value(bound),
        "ess": snr.mean_value(ess),
        "variance": snr.gradient_variance(gradient),
        "snr": snr.gradient_snr(gradient),
    }


def timings(
    config: Config, objectives: dict[str, vi.Objective], key: jax.Array, params: vi.Params, x: jax.Array
) -> dict[str, float]:
    """Returns the median milliseconds of one finished gradient, objectives taking turns."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        # Compiles two at a time; nothing is timed yet.
        list(pool.map(lambda objective: jax.block_until_ready(objective(key, params, x)), objectives.values()))
    seconds: dict[str, list[float]] = {name: [] for name in objectives}
    for _ in range(config.num_timings):
        for name, objective in objectives.items():
            start = time.perf_counter()
            jax.block_until_ready(objective(key, params, x))
            seconds[name].append(time.perf_counter() - start)
    return {name: 1000 * statistics.median(times) for name, times in seconds.items()}


def row(
    config: Config,
    point: str,
    name: str,
    num_samples: int,
    measured: dict[str, Any],
    evidence: vi.Evidence,
    milliseconds: float,
) -> dict[str, Any]:
    """Returns one row: everything measured of one objective at one K and one parameter point."""
    cell = measured[name]
    objective, estimator = name.split("/")
    log_p = float(jnp.mean(evidence.log_evidence))
    log_p_error = float(jnp.sqrt(jnp.sum(evidence.standard_error**2)) / evidence.standard_error.size)
    bound, low, high = (float(end) for end in cell["bound"])
    # The two errors are independent: their half-widths add in squares.
    gap_error = ((high - low) ** 2 / 4 + (intervals.QUANTILE * log_p_error) ** 2) ** 0.5
    gap = log_p - bound
    return {
        "parameters": point,
        "objective": objective,
        "estimator": estimator,
        "num_samples": num_samples,
        **intervals.columns("bound", cell["bound"]),
        **intervals.around("log_evidence", log_p, log_p_error),
        **intervals.columns("gap", (gap, gap - gap_error, gap + gap_error)),
        **intervals.columns("variance_theta", cell["variance"].theta),
        **intervals.columns("variance_phi", cell["variance"].phi),
        **intervals.columns("snr_theta", cell["snr"].theta),
        **intervals.columns("snr_phi", cell["snr"].phi),
        **intervals.columns("ess", cell["ess"]),
        "milliseconds": milliseconds,
        "num_data": config.num_data,
        "num_replicates": config.num_replicates,
    }


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the trained parameters at the smallest, a middle and the largest K, in six columns."""
    ks = sorted({int(k) for k in rows["num_samples"]})
    shown = [ks[0], ks[len(ks) // 2], ks[-1]]
    chosen = rows.query(f"parameters == 'trained' and num_samples in {shown}")
    names = [f"{BOUNDS[o]} {SHORT[e]}" for o, e in zip(chosen["objective"], chosen["estimator"], strict=True)]
    columns: dict[str, Any] = {"objective": names, "K": chosen["num_samples"]}
    for column, title in (("gap", "log p − bound"), ("snr_theta", "SNR θ"), ("snr_phi", "SNR φ")):
        columns |= {title + end: chosen[column + end] for end in ("", "_low", "_high")}
    return pd.DataFrame(columns | {"ms": [float(f"{ms:.2g}") for ms in chosen["milliseconds"]]})


BOUNDS = {"elbo": "ELBO", "iwae": "IWAE", "forward_kl": "fwd KL"}
SHORT = {
    "pathwise": "pathwise",
    "sticking_the_landing": "STL",
    "doubly_reparameterized": "DReG",
    "vimco": "VIMCO",
    "wake_phi": "wake-φ",
    "wake_phi_doubly_reparameterized": "wake DReG",
}


def figure(rows: pd.DataFrame) -> Figure:
    """Draws bound, signal-to-noise ratios, variance, effective sample size and time against K."""
    panels = style.panels(3, 3)
    for line, point in zip(panels.axes, ("trained", "perturbed"), strict=False):
        here = rows.query(f"parameters == '{point}'")
        bounds(line[0], here)
        line[0].set_title(f"bound, {point}")
        curves(line[1], here, "snr_theta", f"SNR of θ̄, {point}")
        curves(line[2], here, "snr_phi", f"SNR of φ̄, {point}")
    trained = rows.query("parameters == 'trained'")
    curves(panels.axes[2, 0], trained, "variance_phi", "variance of φ̄, trained")
    effective(panels.axes[2, 1], rows)
    curves(panels.axes[2, 2], trained, "milliseconds", "milliseconds per gradient")
    for axes in panels.axes.flat:
        style.log2_axis(axes, rows["num_samples"])
    for axes in panels.axes[-1]:
        axes.set_xlabel("samples K")
    style.legend(panels.figure)
    return panels.figure


def bounds(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws ELBO and IWAE below log p(x)."""
    for name in ("elbo/pathwise", "iwae/pathwise"):
        style.band(axes, of(rows, name), "num_samples", "bound", **style.line(name))
    style.band(axes, rows.drop_duplicates("num_samples"), "num_samples", "log_evidence", **style.line("evidence"))
    axes.set_ylabel("nats per digit")


def curves(axes: Axes, rows: pd.DataFrame, column: str, title: str) -> None:
    """Draws a column against K for every objective; what is not resolved from 0, or was not measured, is left out."""
    for name in OBJECTIVES:
        here = of(rows, name).dropna(subset=[column])
        if f"{column}_low" in rows:
            style.band(axes, here.query(f"{column}_low > 0"), "num_samples", column, **style.line(name))
        else:
            axes.plot(here["num_samples"], here[column], **style.line(name))
    style.log_axis(axes)
    axes.set_title(title)


def effective(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws the effective sample size at both parameter points, named at the curves."""
    for point in ("trained", "perturbed"):
        here = rows.query(f"parameters == '{point}'").drop_duplicates("num_samples").sort_values("num_samples")
        style.band(axes, here, "num_samples", "ess", color=style.GREY, marker=".")
        end = here.iloc[-1]
        axes.annotate(point, (end["num_samples"], end["ess"]), xytext=(-4, 2), textcoords="offset points", ha="right")
    style.log_axis(axes)
    axes.set_title("effective sample size")


def of(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Returns the rows of one objective."""
    objective, estimator = name.split("/")
    return rows.query(f"objective == '{objective}' and estimator == '{estimator}'")


if __name__ == "__main__":
    cli.main(run, figure, Config(), quick=QUICK, table=table)
