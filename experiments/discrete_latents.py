"""How well can a model with discrete latents be trained, where no draw has a derivative?

(a) A sigmoid belief net, 10 bits under 64 pixels, on digits binarized anew for each minibatch. log p(x) and the ELBO
are sums over 1024 codes, so every method is judged exactly, on test digits that were binarized once:

    one draw     REINFORCE; NVIL, which adds a learned baseline; DisARM, an antithetic pair; the Concrete, trained on
                 relaxed bits and judged as the discrete net with its parameters
    K draws      VIMCO(5, 50), and reweighted wake-sleep, RWS(5, 50): θ by IWAE, φ by wake-φ
    no draws     the exact gradients of the ELBO and of log p(x): what is left to gain

Seeds are paired: the same initial parameters and minibatches for every method.
(b) The mixture of 20 Gaussians of Le et al., whose weights are learned, from a start that puts e^{−z} on component z,
against a truth that rises with z. Errors are L2 distances between probabilities: of p(z) to the truth, and of q(z | x)
to the true posterior, as a mean over test data.

Mnih and Gregor (arXiv:1402.0030); Mnih and Rezende (arXiv:1602.06725); Bornschein and Bengio (arXiv:1406.2751); Dong,
Mnih and Tucker (arXiv:2006.10680); Maddison et al. (arXiv:1611.00712); Le et al. (arXiv:1805.10469).

    python -m experiments.discrete_latents

Seed 0, 5 seeds of each method, float32, 3 min 15 s on two shared CPU cores (± half of a 95 % interval over seeds; ms
per step of all 5 seeds, without saving):

    belief net          −log p(x)        KL(q ‖ p)        ms
    REINFORCE(1)        24.33 ± 0.09     0.58 ± 0.04      0.5
    NVIL(1)             23.71 ± 0.05     0.22 ± 0.02      0.4
    DisARM(1)           23.64 ± 0.06     0.20 ± 0.02      0.4
    Concrete(1)         23.76 ± 0.06     1.47 ± 0.02      0.6
    VIMCO(5)            23.54 ± 0.07     0.55 ± 0.04      0.7
    RWS(5)              23.52 ± 0.08     0.42 ± 0.03      0.6
    VIMCO(50)           23.48 ± 0.05     1.00 ± 0.04      2.9
    RWS(50)             23.48 ± 0.05     0.60 ± 0.04      2.4
    exact ELBO          23.60 ± 0.02     0.16 ± 0.03      2.1
    exact likelihood    23.48 ± 0.06     0.70 ± 0.06      2.5

VIMCO(50) ≤ VIMCO(5) ≤ NVIL(1), both resolved: paired differences −0.059 ± 0.026 and −0.172 ± 0.091. VIMCO(50) is not
resolved from maximum likelihood (0.002 ± 0.014). NVIL pays 0.110 ± 0.039 for its noise, against the exact gradient of
its own bound; that VIMCO(5) ends below the exact ELBO (−0.062 ± 0.078) is not resolved. The baseline is worth 0.61 ±
0.12 to REINFORCE. DisARM is not resolved from NVIL (−0.071 ± 0.082), nor VIMCO(50) from RWS(50) (−0.002 ± 0.014); at
five draws RWS is ahead of VIMCO by 0.026 ± 0.009. A tighter bound asks less of q, whose gap is larger. The Concrete's
model is 0.156 ± 0.076 above the exact ELBO, its guide far from any posterior of bits.

    mixture, K = 2      p(z)             q(z | x)         components lost (weight < truth/100)
    REINFORCE           0.27 ± 0.05      0.67 ± 0.06      3.4 ± 1.1
    VIMCO               0.27 ± 0.03      0.66 ± 0.04      3.2 ± 1.6
    Concrete            0.51 ± 0.07      0.92 ± 0.06      8.2 ± 1.4
    wake-sleep          0.74 ± 0.01      0.88 ± 0.03      9.6 ± 0.7
    RWS                 0.31 ± 0.09      0.77 ± 0.13      6.4 ± 2.9
    defensive RWS       0.17 ± 0.02      0.39 ± 0.03      0.6 ± 0.7
    mixture, K = 20
    REINFORCE           0.18 ± 0.03      0.71 ± 0.03      1.2 ± 1.0
    VIMCO               0.07 ± 0.06      0.30 ± 0.05      0.2 ± 0.6
    Concrete            0.53 ± 0.03      0.86 ± 0.02      7.0 ± 0.0
    wake-sleep          0.65 ± 0.03      0.82 ± 0.01      8.0 ± 0.9
    RWS                 0.05 ± 0.06      0.12 ± 0.07      0.2 ± 0.6
    defensive RWS       0.04 ± 0.05      0.11 ± 0.06      0
    exact gradients     0.014 ± 0.002    0.05 ± 0.01      0

Of the paper this repeats: with few draws RWS gives up components that q stopped drawing, and defensive draws keep them;
with many RWS learns p and q; VIMCO learns p, and q slower; REINFORCE's q does not get better with K, nor does the
Concrete's. It does not repeat its length (3000 steps at a rate of 7e-3 for 100,000), the annealed temperature, RELAX,
or wake-sleep's later progress, if there is any; K = 20 does not resolve RWS from its defensive form, nor K = 2 RWS from
VIMCO. `--quick` (4 methods, fewer bits and steps) takes under half a minute.
"""

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
from experiments.discrete_rows import difference, evaluations, rows_of
from experiments.discrete_verdict import verdict
from experiments.training import train
from experiments.training_files import Files
from vi_jax.checks import check_positive_int
from vi_jax.data import binarize, digits_split

NUM_PIXELS = 64

PAIRS = (
    ("VIMCO(50)", "VIMCO(5)"),
    ("VIMCO(5)", "NVIL(1)"),
    ("VIMCO(50)", "RWS(50)"),
    ("VIMCO(5)", "RWS(5)"),
    ("DisARM(1)", "NVIL(1)"),
    ("NVIL(1)", "REINFORCE(1)"),
    ("NVIL(1)", "exact ELBO"),
    ("Concrete(1)", "exact ELBO"),
    ("VIMCO(5)", "exact ELBO"),
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
    mixture_names=("RWS",),
    num_evaluations=2,
)


def run(config: Config, track: progress.Track, folder: Path) -> Iterator[list[dict[str, Any]]]:
    """Trains every method from every seed, first of the belief net, then of the mixture; yields rows after each.

    Raises:
      SystemExit: before anything is trained, for a configuration that cannot be run to its end.
    """
    check(config)
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
        method = known[name]
        trained = train(
            method.objective,
            optimizer,
            jax.vmap(functools.partial(start, method))(jax.random.split(init_key, config.num_seeds)),
            split.train,
            num_steps=config.net_steps,
            block=config.net_steps // 2,
            files=Files(folder / "training" / name, dataclasses.asdict(config)),
            track=track,
            phase=f"belief net, {name}",
            batch_size=config.batch_size,
            prepare=binarize,
            evaluate=jax.tree_util.Partial(functools.partial(belief_net_methods.judge, problem), split.test),
            evaluate_every=every_of(config.net_steps, config.num_evaluations),
        )
        measured = evaluations(trained)
        measured["negative_elbo"] = measured["nll"] + measured["gap"]
        last[name] = measured["nll"][:, -1]
        yield rows_of("belief net", name, 0, trained, measured)
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
            trained = train(
                known[name],
                optimizer,
                state,
                jnp.zeros((config.batch_size, 1)),
                num_steps=config.mixture_steps,
                block=config.mixture_steps // 2,
                files=Files(folder / "training" / f"{name}, K={num_samples}", dataclasses.asdict(config)),
                track=track,
                phase=f"mixture, {name}({num_samples})",
                prepare=mixture_methods.observe,
                evaluate=jax.tree_util.Partial(mixture_methods.distances, test),
                evaluate_every=every_of(config.mixture_steps, config.num_evaluations),
            )
            yield rows_of("mixture", name, num_samples, trained, evaluations(trained))


def check(config: Config) -> None:
    """Ends the program if there is nothing to train, a name is unknown, or a number is none: not minutes later."""
    lists = ("net_methods", "mixture_samples", "mixture_names")
    if empty := [name for name in lists if not getattr(config, name)]:
        raise SystemExit(f"error: {', '.join(empty)} must not be empty: the figure has both problems.")
    try:
        for name in ("num_seeds", "net_steps", "mixture_steps", "batch_size"):
            check_positive_int(name, getattr(config, name))
        problem = belief_net_methods.belief_net(config.latent_dim, np.full(NUM_PIXELS, 0.5), config.hidden)
        chosen(config.net_methods, belief_net_methods.methods(problem))
        for num_samples in config.mixture_samples:
            chosen(config.mixture_names, mixture_methods.mixture_objectives(num_samples))
    except ValueError as error:
        raise SystemExit(f"error: {error}") from error
    for steps in (config.net_steps, config.mixture_steps):
        every_of(steps, config.num_evaluations)


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
    cli.main(run, figure, Config(), quick=QUICK, table=table, verdict=verdict, call=cli.with_folder)
