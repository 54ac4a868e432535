"""How does the signal in a gradient change while a model learns?

A variational autoencoder 64-50-5 on real 8×8 digits is trained by IWAE with K = 16, doubly reparameterized. At a few
steps the parameters are frozen, and `vi.sweep` measures there, on one batch of test digits and from the same keys at
every stop,

    φ̄    IWAE by the path;  IWAE doubly reparameterized;  KL(p(z | x) ‖ q) by wake-φ and its doubly reparameterized form
    θ̄    IWAE

at K = 1, 16 and 256: the signal-to-noise ratio ‖E g‖ / √tr Cov g, and the variance in units of that of the pathwise
gradient, whose interval is paired, as both come from the same draws. A ratio that is not resolved from zero is drawn as
an upper limit.

Rainforth et al. 2018 (arXiv:1802.04537); Tucker et al. 2018 (arXiv:1810.04152), who follow the ratio during training.

    python -m experiments.training_gradients

Seed 0, float32, two shared CPU cores of a busy machine, 1 min 50 s; SNR at K = 16 (± half of a 95 % interval):

    step                  0               300              10,000
    φ̄   IWAE, path       0.66 ± 0.04     0.08 ± 0.03      0.09 ± 0.02
         IWAE, DReG       1.19 ± 0.05     0.57 ± 0.05      0.39 ± 0.05     1/14 of the variance at the end
         wake-φ           1.04 ± 0.04     0.87 ± 0.04      0.77 ± 0.04     0.55 of it
         wake-φ DReG      2.64 ± 0.07     2.01 ± 0.03      1.23 ± 0.04     0.22 of it
    θ̄   IWAE             1.10 ± 0.01     3.53 ± 0.04      3.48 ± 0.05

What is lost is lost in φ̄, in the first few hundred steps, and most of it by the pathwise gradient. At K = 256 that one
is not resolved at three of seven stops, while wake-φ never falls below 1. θ̄ gains: q approaches the posterior, and the
mean over 16 test digits does not vanish where training ends. `--quick` (three stops, K ≤ 16) takes half a minute.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import optax
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import vi_jax as vi
from experiments import cli, intervals, progress, style
from experiments.verdicts import Verdict, above, below, difference, ends, every, text
from vi_jax.data.digits import binarize, digits_split
from vi_jax.measurement import paired_variance_ratio
from vi_jax.training import init_state

B, E = vi.bounds, vi.estimators
OBJECTIVES = {
    "iwae/pathwise": (B.iwae, E.pathwise),
    "iwae/doubly_reparameterized": (B.iwae, E.doubly_reparameterized),
    "forward_kl/wake_phi": (B.iwae, E.wake_phi),
    "forward_kl/wake_phi_doubly_reparameterized": (B.iwae, E.wake_phi_doubly_reparameterized),
}
BASELINE = "iwae/pathwise"


@dataclasses.dataclass(frozen=True)
class Config:
    """What the rows depend on.

    Attributes:
      seed: of everything random.
      latent_dim: D.
      hidden: width of the one hidden layer on either side.
      steps: of training, at which parameters are frozen; 0 is before the first.
      train_samples: K of training.
      learning_rate: of Adam, on minibatches of 50.
      num_samples: K of what is measured.
      num_data: test digits that each measured gradient averages over.
      num_replicates: R, pools of the largest K.
    """

    seed: int = 0
    latent_dim: int = 5
    hidden: int = 50
    steps: tuple[int, ...] = (0, 30, 100, 300, 1000, 3000, 10_000)
    train_samples: int = 16
    learning_rate: float = 1e-3
    num_samples: tuple[int, ...] = (1, 16, 256)
    num_data: int = 16
    num_replicates: int = 400


QUICK = Config(steps=(0, 100, 600), num_samples=(1, 16), num_replicates=100)


def run(config: Config, track: progress.Track) -> Iterator[list[dict[str, Any]]]:
    """Trains from one stop to the next, and yields the rows of each."""
    keys = jax.random.split(jax.random.key(config.seed), 4)
    split = digits_split()
    data_dim, hidden = split.train.shape[1], (config.hidden,)
    model = vi.models.bernoulli_decoder(config.latent_dim, data_dim, hidden=hidden, mean=split.train.mean(axis=0))
    guide = vi.guides.gaussian_encoder(data_dim, config.latent_dim, hidden=hidden)
    objective = vi.value_and_grad(
        model, guide, *OBJECTIVES["iwae/doubly_reparameterized"], num_samples=config.train_samples
    )
    optimizer = optax.adam(config.learning_rate)
    state = init_state(keys[0], optimizer, vi.Params(model.init(keys[1]), guide.init(keys[2])))
    x, done = split.test[: config.num_data], 0
    for step in track(config.steps, "training and sweeps", label=lambda step: f"step {step}"):
        if step > done:
            state, _ = vi.fit(
                None, objective, optimizer, state, split.train, num_steps=step - done, batch_size=50, prepare=binarize
            )
            done = step
        result = vi.sweep(
            keys[3],
            model,
            guide,
            state.params,
            x,
            objectives=OBJECTIVES,
            num_samples=config.num_samples,
            num_replicates=config.num_replicates,
        )
        yield list(rows_of(step, result))


def rows_of(step: int, result: vi.SweepResult) -> Iterator[dict[str, Any]]:
    """Yields what a sweep says of every objective, K and block."""
    ratio, q = paired_variance_ratio(result, BASELINE), result.quantities
    for (o, name), (k, size), (b, block) in (
        (o, k, b)
        for o in enumerate(result.objectives)
        for k in enumerate(result.num_samples)
        for b in enumerate(result.blocks)
    ):
        if block == "theta" and name != BASELINE:
            continue  # One θ̄ for all: they share its bound.
        yield {
            "step": step,
            "objective": name,
            "block": block,
            "K": size,
            **intervals.columns("snr", (end[o, k, 0, b] for end in q.snr)),
            **intervals.columns("variance_ratio", (end[o, k, 0, b] for end in ratio)),
            **intervals.columns("bound", (end[o, k, 0] for end in q.value)),
            **intervals.columns("ess", (end[o, k, 0] for end in q.effective_sample_size)),
        }


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the ratios of all gradients at K = 16, or the largest below, at the first, a middle and the last stop."""
    steps, sizes = sorted({int(step) for step in rows["step"]}), sorted({int(size) for size in rows["K"]})
    shown = [steps[0], steps[len(steps) // 2], steps[-1]]
    here = rows.query(f"step in {shown} and K == {max(size for size in sizes if size <= 16)}")
    names = [LABELS[name, block] for name, block in zip(here["objective"], here["block"], strict=True)]
    columns: dict[str, Any] = {"step": here["step"], "K": here["K"], "gradient": names}
    columns |= {f"SNR{end}": here[f"snr{end}"] for end in ("", "_low", "_high")}
    # The pathwise gradient is the unit.
    others = here["objective"].ne(BASELINE)
    columns |= {f"variance / path{end}": here[f"variance_ratio{end}"].where(others) for end in ("", "_low", "_high")}
    columns["ESS"] = [f"{ess:.1f}" for ess in here["ess"]]
    return pd.DataFrame(columns)


def verdict(rows: pd.DataFrame) -> list[Verdict]:
    """Judges signals at the last stop by those at the first, and variances there by that of the pathwise gradient."""
    sizes = {int(size) for size in rows["K"]}
    at = rows[rows["K"].eq(max(size for size in sizes if size <= 16))].set_index(["step", "objective", "block"])
    first, last = rows["step"].min(), rows["step"].max()
    found = []
    for claim, block, side in (
        ("Training takes signal from the pathwise φ̄ of IWAE", "phi", below),
        ("Training gives signal to θ̄", "theta", above),
    ):
        before, after = (ends(at.loc[(step, BASELINE, block)], "snr") for step in (first, last))
        words = f"SNR {text(before)} at step {first}, {text(after)} at {last}"
        found.append(Verdict(claim, words, side(difference(after, before))))
    others = [name for name in OBJECTIVES if name != BASELINE]
    ratio = {name: ends(at.loc[(last, name, "phi")], "variance_ratio") for name in others}
    words = ", ".join(f"{LABELS[name, 'phi'].removeprefix('φ, ')} {text(value)}" for name, value in ratio.items())
    claim = "At the end every other φ̄ has less variance than the pathwise one, on the same draws"
    return [*found, Verdict(claim, f"in its units {words}", every(below(value, 1.0) for value in ratio.values()))]


LABELS = {
    ("iwae/pathwise", "theta"): "θ, IWAE",
    ("iwae/pathwise", "phi"): "φ, IWAE path",
    ("iwae/doubly_reparameterized", "phi"): "φ, IWAE DReG",
    ("forward_kl/wake_phi", "phi"): "φ, wake-φ",
    ("forward_kl/wake_phi_doubly_reparameterized", "phi"): "φ, wake-φ DReG",
}
LOOKS: dict[tuple[str, str], dict[str, Any]] = {
    pair: style.line(pair[0]) | {"label": label} for pair, label in LABELS.items()
} | {("iwae/pathwise", "theta"): {"label": "θ, IWAE", "color": style.BLUE, "marker": "v", "linestyle": style.DASHES[1]}}


def figure(rows: pd.DataFrame) -> Figure:
    """Draws signal-to-noise ratios against training steps, a panel per K, with upper limits where nothing is seen."""
    sizes = sorted({int(size) for size in rows["K"]})
    panels = style.panels(1, len(sizes), height=2.8)
    for axes, size in zip(panels.axes[0], sizes, strict=True):
        for (name, block), look in LOOKS.items():
            line(axes, rows.query(f"K == {size} and objective == '{name}' and block == '{block}'"), look)
        style.log_axis(axes)
        axes.set_xscale("symlog", linthresh=30, linscale=0.4)
        axes.set_xlim(-2, 1.25 * rows["step"].max())
        axes.set_xticks(ticks := (0, 100, 1000, 10_000), map(str, ticks))
        axes.set_xticks([], minor=True)
        axes.set(title=f"SNR, K = {size}", xlabel="training steps")
    limits = [end for axes in panels.axes[0] for end in axes.get_ylim()]
    for axes in panels.axes[0]:
        axes.set_ylim(min(limits), max(limits))
    style.legend(panels.figure, columns=5)
    return panels.figure


def line(axes: Axes, rows: pd.DataFrame, look: dict[str, Any]) -> None:
    """Draws what is resolved with its interval, and the rest as upper limits."""
    rows = rows.sort_values("step")
    seen = rows["snr_low"] > 0
    columns = ["snr", "snr_low", "snr_high"]
    # NaN, not left out: a line does not run on past what it does not know.
    style.bars(axes, rows.assign(**{name: rows[name].where(seen) for name in columns}), "step", "snr", **look)
    axes.plot(
        rows["step"],
        rows["snr_high"].where(rows["snr_low"].eq(0)),
        color=look["color"],
        linestyle="",
        marker="v",
        fillstyle="none",
        markeredgewidth=0.8,
    )


if __name__ == "__main__":
    cli.main(run, figure, Config(), quick=QUICK, table=table, verdict=verdict)
