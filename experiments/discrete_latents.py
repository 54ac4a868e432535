"""How well can a model with discrete latents be trained, where no draw has a derivative?"""

import dataclasses
import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd

import vi_jax as vi
from experiments import belief_net_methods, cli, mixture_methods, progress
from experiments.belief_net_methods import Method
from experiments.discrete_panels import figure
from experiments.discrete_rows import difference, evaluations, rows_of, timed
from experiments.training import train
from experiments.training_files import Files
from vi_jax.data import binarize, digits_split

PAIRS = (
    ("VIMCO(50)", "VIMCO(5)"),
    ("VIMCO(5)", "NVIL(1)"),
    ("VIMCO(50)", "RWS(50)"),
    ("VIMCO(5)", "RWS(5)"),
    ("DisARM(1)", "NVIL(1)"),
    ("NVIL(1)", "REINFORCE(1)"),
    ("DisARM(1)", "exact ELBO"),
    ("VIMCO(50)", "exact likelihood"),
)
"""Differences of exact NLL to report, paired by seed: the same initial parameters and the same minibatches."""


@dataclasses.dataclass(frozen=True)
class Config:
    """What the rows depend on.

    Attributes:
      seed: of everything random.
      num_seeds: S, runs of each method, in one program.
      latent_dim: d bits of the belief net; everything is summed over 2^d codes.
      hidden: units of the one hidden layer of its guide, and of NVIL's baseline.
      net_steps: T of the belief net.
      net_rate: of Adam, falling to a fiftieth along a cosine.
      net_methods: by name; the default is all.
      mixture_steps: T of the mixture.
      mixture_rate: of Adam, constant.
      mixture_samples: K of the mixture's methods.
      mixture_names: of its methods; the default is all.
      batch_size: data per step, of both.
      num_evaluations: in each run, equally spaced; even. A run is two blocks, each on disk when it is done.
    """

    seed: int = 0
    num_seeds: int = 5
    latent_dim: int = 10
    hidden: int = 100
    net_steps: int = 6000
    net_rate: float = 3e-3
    net_methods: tuple[str, ...] = (
        "REINFORCE(1)",
        "NVIL(1)",
        "DisARM(1)",
        "Concrete(1)",
        "VIMCO(5)",
        "RWS(5)",
        "VIMCO(50)",
        "RWS(50)",
        "exact ELBO",
        "exact likelihood",
    )
    mixture_steps: int = 3000
    mixture_rate: float = 7e-3
    mixture_samples: tuple[int, ...] = (2, 20)
    mixture_names: tuple[str, ...] = (
        "REINFORCE",
        "VIMCO",
        "Concrete",
        "wake-sleep",
        "RWS",
        "defensive RWS",
        "exact gradients",
    )
    batch_size: int = 50
    num_evaluations: int = 10


QUICK = Config(
    num_seeds=2,
    latent_dim=6,
    hidden=20,
    net_steps=300,
    net_methods=("NVIL(1)", "VIMCO(5)"),
    mixture_steps=200,
    mixture_samples=(2,),
    mixture_names=("RWS", "exact gradients"),
    num_evaluations=2,
)


def run(config: Config, track: progress.Track, folder: Path) -> Iterator[list[dict[str, Any]]]:
    """Trains every method from every seed, first of the belief net, then of the mixture; yields rows after each."""
    yield from train_belief_nets(config, track, folder)
    yield from train_mixtures(config, track, folder)


def train_belief_nets(config: Config, track: progress.Track, folder: Path) -> Iterator[list[dict[str, Any]]]:
    """Yields the rows of each method, and at the end the paired differences."""
    init_key, *_ = jax.random.split(jax.random.key(config.seed))
    split = digits_split()
    problem = belief_net_methods.belief_net(config.latent_dim, np.asarray(split.train.mean(axis=0)), config.hidden)
    optimizer = optax.adam(optax.cosine_decay_schedule(config.net_rate, config.net_steps, alpha=0.02))
    known, last = belief_net_methods.methods(problem), {}

    def start(method: Method, key: jax.Array) -> vi.TrainState:
        theta, phi, extra, key = jax.random.split(key, 4)
        params = vi.Params(problem.exact.model.init(theta), problem.guide.init(phi))
        return vi.init_state(key, optimizer, params, extra=method.extra(extra))

    for name in chosen(config.net_methods, known):
        method, laps = known[name], []
        trained = train(
            method.objective,
            optimizer,
            jax.vmap(functools.partial(start, method))(jax.random.split(init_key, config.num_seeds)),
            split.train,
            num_steps=config.net_steps,
            block=config.net_steps // 2,
            files=Files(folder / "training" / name, dataclasses.asdict(config)),
            track=timed(track, laps),
            phase=f"belief net, {name}",
            batch_size=config.batch_size,
            prepare=binarize,
            evaluate=jax.tree_util.Partial(functools.partial(belief_net_methods.judge, problem), split.test),
            evaluate_every=every_of(config.net_steps, config.num_evaluations),
        )
        measured = evaluations(trained)
        measured["negative_elbo"] = measured["nll"] + measured["gap"]
        last[name] = measured["nll"][:, -1]
        yield rows_of("belief net", name, 0, trained, measured, laps)
    if pairs := [pair for pair in PAIRS if set(pair) <= set(last)]:
        yield [difference(*pair, last) for pair in pairs]


def train_mixtures(config: Config, track: progress.Track, folder: Path) -> Iterator[list[dict[str, Any]]]:
    """Yields the rows of each method at each K, of which exact gradients take no notice."""
    _, init_key, test_key = jax.random.split(jax.random.key(config.seed), 3)
    test = mixture_methods.observe(test_key, jnp.zeros((200, 1)))
    optimizer = optax.adam(config.mixture_rate)

    def start(key: jax.Array) -> vi.TrainState:
        theta, phi, key = jax.random.split(key, 3)
        params = vi.Params(mixture_methods.EXACT.model.init(theta), mixture_methods.GUIDE.init(phi))
        return vi.init_state(key, optimizer, params)

    state = jax.vmap(start)(jax.random.split(init_key, config.num_seeds))
    for num_samples in config.mixture_samples:
        known = mixture_methods.mixture_objectives(num_samples)
        for name in chosen(config.mixture_names, known):
            laps = []
            trained = train(
                known[name],
                optimizer,
                state,
                jnp.zeros((config.batch_size, 1)),
                num_steps=config.mixture_steps,
                block=config.mixture_steps // 2,
                files=Files(folder / "training" / f"{name}, K={num_samples}", dataclasses.asdict(config)),
                track=timed(track, laps),
                phase=f"mixture, {name}({num_samples})",
                prepare=mixture_methods.observe,
                evaluate=jax.tree_util.Partial(mixture_methods.distances, test),
                evaluate_every=every_of(config.mixture_steps, config.num_evaluations),
            )
            yield rows_of("mixture", name, num_samples, trained, evaluations(trained), laps)


def chosen(names: Iterable[str], known: dict[str, Any]) -> list[str]:
    """Returns the names as a list.

    Raises:
      SystemExit: one of them is unknown.
    """
    names = list(names)
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"error: no method {', '.join(unknown)}: take of {', '.join(known)}.")
    return names


def every_of(num_steps: int, num_evaluations: int) -> int:
    """Returns the steps from one evaluation to the next.

    Raises:
      SystemExit: they are not the same between all, and each length of a block is a program of its own.
    """
    if num_evaluations < 2 or num_evaluations % 2 or num_steps % num_evaluations:
        raise SystemExit(
            f"error: {num_steps} steps cannot be measured {num_evaluations} times in two equal blocks: take an even "
            "num_evaluations that divides net_steps and mixture_steps."
        )
    return num_steps // num_evaluations


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns what every run ended with, and the differences."""
    final = rows[rows["step"].eq(rows.groupby(["part", "method", "K"])["step"].transform("max"))]
    columns: dict[str, Any] = {"part": final["part"], "method": final["method"]}
    columns["K"] = [f"{k:.0f}" if k else "" for k in final["K"]]
    for name in ("nll", "gap", "weights_error", "guide_error", "lost"):
        columns |= {f"{name}{end}": final[f"{name}{end}"] for end in ("", "_low", "_high")}
    columns["ms/step"] = [f"{ms:.2g}" if np.isfinite(ms) else "" for ms in final["ms_per_step"]]
    return pd.DataFrame(columns)


if __name__ == "__main__":
    cli.main(run, figure, Config(), quick=QUICK, table=table, call=cli.with_folder)
