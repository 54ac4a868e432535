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

Seed 0, float32, two shared cores of a busy machine, 3 min 20 s, at the trained parameters (± half of a 95 % interval):

    K = 1     ELBO = IWAE_1 is 0.369 ± 0.045 nats below log p(x); SNR of φ̄ 0.136 ± 0.018 pathwise, 0.369 ± 0.024 STL
    K = 16    IWAE is 0.041 ± 0.016 below; SNR of φ̄ under it 0.083 ± 0.030 pathwise, 0.396 ± 0.067 DReG
    K = 1024  IWAE is 0.003 ± 0.006 below; SNR of φ̄ under it 0.05 ± 0.05 pathwise (not resolved), 0.191 ± 0.031 DReG;
              under the ELBO 4.5 pathwise, 11.5 STL; under forward KL 1.6 wake-φ, 3.8 doubly reparameterized

`--quick` (fewer steps, replicates and values of K, one of them timed) takes a minute or two.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import vi_jax as vi
from experiments import cli, distributed, intervals, progress, style
from experiments.sample_verdict import verdict
from vi_jax.data.digits import binarize, digits_split
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


QUICK = Config(num_steps=1000, num_samples=(1, 16), num_replicates=60, num_reference=10_000, num_timed=1)


def run(config: Config, track: progress.Track) -> Iterator[list[dict[str, Any]]]:
    """Trains, times, then yields the rows of one parameter point at a time."""
    keys = dict(
        zip(("train", "perturb", "reference", "sweep"), jax.random.split(jax.random.key(config.seed), 4), strict=True)
    )
    split = digits_split()
    model, guide = autoencoder(split.train)
    trained = train(keys["train"], config, model, guide, split.train, track)
    # Where processes run on different machines, the last bits may differ.
    points = {"trained": distributed.from_first(lambda: trained)}
    points["perturbed"] = perturbed(keys["perturb"], points["trained"], config.perturbation)
    x = split.test[: config.num_data]
    seconds = timings(config, model, guide, keys["sweep"], points["trained"], x, track)
    for point, params in points.items():
        evidence = vi.log_evidence(keys["reference"], model, guide, params, x, num_samples=config.num_reference)
        result = vi.sweep(
            keys["sweep"],
            model,
            guide,
            params,
            x,
            objectives=OBJECTIVES,
            num_samples=sorted(config.num_samples),
            num_replicates=config.num_replicates,
            mesh=distributed.mesh(),
            progress=progress.callback(track, f"sweep, {point}"),
        )
        yield [
            row(config, point, result, name, num_samples, evidence, seconds.get((name, num_samples), math.nan))
            for num_samples, name in itertools.product(result.num_samples, OBJECTIVES)
            if (name, num_samples) not in result.undefined
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


def timings(
    config: Config,
    model: vi.Model,
    guide: vi.Guide,
    key: jax.Array,
    params: vi.Params,
    x: jax.Array,
    track: progress.Track,
) -> dict[tuple[str, int], float]:
    """Returns the median seconds of one finished gradient, by objective and K, at a few K only: each is a program."""
    ks = sorted(config.num_samples)
    timed = sorted(dict.fromkeys((ks[-1], ks[0], ks[len(ks) // 2])[: config.num_timed]))
    if not timed:
        return {}
    costs = vi.measurement.cell_costs(
        key,
        model,
        guide,
        params,
        x,
        objectives=OBJECTIVES,
        num_samples=timed,
        num_timings=config.num_timings,
        progress=progress.callback(track, "timing"),
    )
    return dict(zip(itertools.product(OBJECTIVES, timed), costs.seconds.ravel().tolist(), strict=True))


def row(
    config: Config,
    point: str,
    result: vi.SweepResult,
    name: str,
    num_samples: int,
    evidence: vi.Evidence,
    seconds: float,
) -> dict[str, Any]:
    """Returns one row: everything measured of one objective at one K and one parameter point."""
    objective, estimator = name.split("/")
    at = result.objectives.index(name), result.num_samples.index(num_samples), 0
    q, theta, phi = result.quantities, result.blocks.index("theta"), result.blocks.index("phi")
    log_p = float(jnp.mean(evidence.log_evidence))
    log_p_error = float(jnp.sqrt(jnp.sum(evidence.standard_error**2)) / evidence.standard_error.size)
    bound, low, high = (float(end[at]) for end in q.value)
    # The two errors are independent: their half-widths add in squares.
    gap_error = ((high - low) ** 2 / 4 + (intervals.QUANTILE * log_p_error) ** 2) ** 0.5
    gap = log_p - bound
    return {
        "parameters": point,
        "objective": objective,
        "estimator": estimator,
        "num_samples": num_samples,
        **intervals.columns("bound", (bound, low, high)),
        **intervals.around("log_evidence", log_p, log_p_error),
        **intervals.columns("gap", (gap, gap - gap_error, gap + gap_error)),
        **intervals.columns("variance_theta", (end[*at, theta] for end in q.variance)),
        **intervals.columns("variance_phi", (end[*at, phi] for end in q.variance)),
        **intervals.columns("snr_theta", (end[*at, theta] for end in q.snr)),
        **intervals.columns("snr_phi", (end[*at, phi] for end in q.snr)),
        **intervals.columns("ess", (end[at] for end in q.effective_sample_size)),
        "milliseconds": 1000 * seconds,
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
    cli.main(run, figure, Config(), quick=QUICK, table=table, verdict=verdict, processes=distributed.together)
