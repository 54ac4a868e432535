"""How good is Monte Carlo?

A belief net with d binary latents is trained on real binarized 8×8 digits by exact maximum likelihood. Of a few test
digits p(x) is then estimated from K draws of three proposals q, on the same model,

    p̂ = (1/K) Σ_k w_k,   w_k = p(x, z_k) / q(z_k),   q uniform (the naive estimate), the prior, or an encoder q(z | x)

learned by wake-φ (Bornschein and Bengio, arXiv:1406.2751), and p̂ and log p̂ are compared over many replicates with what
they must do. With S = p̂/p(x), v = w/p(x) and all 2^d codes at hand, everything is known without a draw
(`importance_laws`):

    E S = 1,   Var S = (E_q v² − 1)/K,   E log S = ∫ [exp(−e^u) − φ(e^u/K)^K] du < 0,   φ(t) = E_q e^{−tv}

and the variance of log S by a like integral. E log p̂ < log p(x) is Jensen's inequality.

Also measured: the smallest share of the draws that carries 99 % of Σ w_k, beside its limit for K → ∞ and the share of
the codes that carries 99 % of p(x); and how often log p̂ ± 1.96 of the standard error that `vi.log_evidence` reports
covers log p(x). The three-state table p(x, z) = (.20, .05, .03) under a uniform proposal is a fourth problem: there
Var p̂ = .0518/K, and E log p̂ = −1.605297, −1.308092, −1.276290 at K = 1, 10, 100.

    python -m experiments.evidence_estimators

Seed 0, float64, two shared CPU cores, 1 min 55 s, mean over four test digits, exact values in brackets:

    uniform   Var p̂ / p² = 3.21 ± 0.39 at K = 64 (3.09 = 198/K); E log p̂ − log p = −1.397 ± 0.060 (−1.416) there and
              −0.0236 ± 0.0071 (−0.0250) at K = 4096, where 5.1 % of the draws carry 99 % of p̂, as 5.1 % of the codes do
    prior     hardly better: Var p̂ / p² = 2.05 ± 0.23 (2.09 = 134/K) at K = 64, −1.023 ± 0.050 (−1.033) nats
    learned   −0.0175 ± 0.0062 (−0.0217) nats at K = 64; 83 % of the draws carry 99 %. Its variance is 4.4/K, two thirds
              of it from codes of one digit that q draws once in 800 times or less: 1000 single draws per digit see 1.3
    coverage  by ±1.96 standard errors at K = 16, 64, 4096: uniform 30 %, 49 %, 94 %; learned 88 %, 91 %, 95 %

Of 140 z-scores the largest is 3.2. `--quick` (fewer bits, steps, replicates and values of K) takes half a minute.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import vi_jax as vi
from experiments import cli, importance_laws, progress, style
from experiments.evidence_verdict import verdict
from vi_jax.data.digits import binarize, digits_split

MODEL_RATE, ENCODER_RATE = 0.01, 0.003
BATCH_SIZE = 100
WAKE_SAMPLES = 32
DRAWS_AT_ONCE = 16_384


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the comparison.

    Attributes:
      seed: of everything random.
      latent_dim: d, at most 12.
      num_steps: training steps of the model, by exact maximum likelihood.
      num_encoder_steps: training steps of the encoder, by wake-φ with 32 draws.
      num_data: test digits.
      num_samples: the values of K.
      num_replicates: R, estimates per digit and value of K.
      num_shares: replicates of which the draws are ranked by weight.
    """

    seed: int = 0
    latent_dim: int = 10
    num_steps: int = 1500
    num_encoder_steps: int = 3000
    num_data: int = 4
    num_samples: tuple[int, ...] = (1, 4, 16, 64, 256, 1024, 4096)
    num_replicates: int = 1000
    num_shares: int = 100


QUICK = Config(
    latent_dim=6,
    num_steps=200,
    num_encoder_steps=300,
    num_data=2,
    num_samples=(1, 16, 256),
    num_replicates=400,
    num_shares=40,
)


class Problem(NamedTuple):
    """A model, a guide and B data, with every latent value scored.

    Attributes:
      model: the model.
      guide: the proposal's family.
      params: its parameters.
      x: B data.
      log_p: `[B]` exact log p(x).
      log_v: `[B, C]` log w − log p(x) of each of the C values of z.
      log_q: `[B, C]` log q(z | x).
    """

    model: vi.Model
    guide: vi.Guide
    params: vi.Params
    x: jax.Array
    log_p: np.ndarray
    log_v: np.ndarray
    log_q: np.ndarray


class Replicates(NamedTuple):
    """R estimates for B data, `[R, B]`: log p̂ − log p(x) and its reported standard error."""

    log_ratio: np.ndarray
    standard_error: np.ndarray


def run(config: Config, track: progress.Track) -> Iterator[list[dict[str, Any]]]:
    """Yields the rows of one K at a time, in double precision."""
    with jax.enable_x64(True):
        model_key, encoder_key, draw_key = jax.random.split(jax.random.key(config.seed), 3)
        split = digits_split()
        train, test = split.train.astype(float), split.test[: config.num_data].astype(float)
        exact = vi.models.sigmoid_belief_net(config.latent_dim, train.shape[1], mean=train.mean(axis=0))
        for _ in track(["belief net"], "training", label=str):
            theta = train_model(model_key, config, exact, train)
        for _ in track(["encoder"], "training", label=str):
            problems = proposals(encoder_key, config, exact, theta, train, test)
        problems["three_states"] = three_states()
        codes = {"model": "belief_net", "proposal": "codes", "num_samples": 0}
        yield [codes | estimated("share", math.nan, math.nan, limit_of_share(problems["uniform"]))]
        for num_samples in track(config.num_samples, "draws", label=lambda k: f"K = {k}", cost=lambda k: k + 200):
            simulate = functools.cache(lambda name, k=num_samples: simulation(problems[name], config, k))
            for name, problem in problems.items():
                # Uniform and prior are one family: one program, two parameters.
                program = simulate("uniform" if name == "prior" else name)
                replicates = Replicates(*jax.device_get(program(draw_key, problem.params, problem.log_p)))
                shares = shares_of_draws(config, problem, num_samples)
                place = {"model": "three_states" if name == "three_states" else "belief_net", "proposal": name}
                rows = [*compare(problem, replicates, num_samples), limited("share", shares, limit_of_share(problem))]
                yield [place | {"num_samples": num_samples} | row for row in rows]


def train_model(key: jax.Array, config: Config, exact: vi.models.ExactModel, images: jax.Array) -> vi.models.BeliefNet:
    """Maximises the exact log p(x) with Adam, cut to a tenth of the rate after two thirds of the steps."""
    init_key, fit_key = jax.random.split(key)
    schedule = optax.piecewise_constant_schedule(MODEL_RATE, {2 * config.num_steps // 3: 0.1})
    objective = vi.objectives.maximum_likelihood(exact)
    params = vi.Params(exact.model.init(init_key), ())
    return fit(fit_key, objective, optax.adam(schedule), params, images, config.num_steps).theta


def proposals(
    key: jax.Array,
    config: Config,
    exact: vi.models.ExactModel,
    theta: vi.models.BeliefNet,
    images: jax.Array,
    x: jax.Array,
) -> dict[str, Problem]:
    """Returns the same model and data under each proposal; the encoder is trained here, θ held fixed."""
    independent = vi.guides.bernoulli(config.latent_dim)
    encoder = vi.guides.bernoulli_encoder(images.shape[1], config.latent_dim)
    init_key, fit_key = jax.random.split(key)
    objective = vi.value_and_grad(
        exact.model, encoder, vi.bounds.iwae, vi.estimators.wake_phi, num_samples=WAKE_SAMPLES
    )
    adam, held = optax.adam(ENCODER_RATE), optax.set_to_zero()
    optimizer = optax.partition({"learned": adam, "held": held}, vi.Params("held", "learned"))
    params = vi.Params(theta, encoder.init(init_key))
    learned = fit(fit_key, objective, optimizer, params, images, config.num_encoder_steps)
    uniform = jnp.zeros_like(theta.b)
    return {
        "uniform": scored(exact, independent, vi.Params(theta, uniform), x),
        "prior": scored(exact, independent, vi.Params(theta, theta.b), x),
        "learned": scored(exact, encoder, learned, x),
    }


def fit(
    key: jax.Array,
    objective: vi.Objective,
    optimizer: optax.GradientTransformation,
    params: vi.Params,
    images: jax.Array,
    num_steps: int,
) -> vi.Params:
    """Trains on minibatches, binarized anew each time."""
    state, _ = vi.fit(
        key, objective, optimizer, params, images, num_steps=num_steps, batch_size=BATCH_SIZE, prepare=binarize
    )
    return state.params


def three_states() -> Problem:
    """Returns the table p(x, z) = (.20, .05, .03) under a uniform proposal."""
    exact, guide = vi.models.table(vi.models.THREE_STATES), vi.guides.categorical(3)
    key = jax.random.key(0)
    return scored(exact, guide, vi.Params(exact.model.init(key), guide.init(key)), jnp.zeros(1, int))


def scored(exact: vi.models.ExactModel, guide: vi.Guide, params: vi.Params, x: jax.Array) -> Problem:
    """Scores every value of z, and sums."""

    @jax.jit
    @jax.vmap
    def score(x: jax.Array) -> tuple[jax.Array, vi.exact.Support]:
        return exact.log_evidence(params.theta, x), vi.exact.score_support(exact.model, guide, params, x)

    log_p, support = jax.device_get(score(x))
    return Problem(
        exact.model, guide, params, x, log_p, support.log_joint - support.log_q - log_p[:, None], support.log_q
    )


def simulation(problem: Problem, config: Config, num_samples: int) -> Callable[..., tuple[jax.Array, ...]]:
    """Returns the compiled (key, params, log_p) -> the fields of `Replicates` for one K."""
    model, guide, x = problem.model, problem.guide, problem.x
    at_once = min(config.num_replicates, max(1, DRAWS_AT_ONCE // (num_samples * problem.log_p.size)))
    # A batch size that leaves a remainder would compile everything twice.
    batch_size = next(size for size in range(at_once, 0, -1) if config.num_replicates % size == 0)

    @jax.jit
    def simulate(key: jax.Array, params: vi.Params, log_p: jax.Array) -> tuple[jax.Array, ...]:
        def estimate(key: jax.Array) -> tuple[jax.Array, jax.Array]:
            evidence = vi.log_evidence(key, model, guide, params, x, num_samples=num_samples)
            return evidence.log_evidence - log_p, evidence.standard_error

        keys = jax.random.split(jax.random.fold_in(key, num_samples), config.num_replicates)
        return jax.lax.map(estimate, keys, batch_size=batch_size)

    return simulate


def shares_of_draws(config: Config, problem: Problem, num_samples: int) -> np.ndarray:
    """Returns the share of K draws that carries 99 % of their sum, mean over data, for each replicate.

    With every value of z scored, a draw is an index into a table.
    """
    rng = np.random.default_rng((config.seed, num_samples))
    shape = (config.num_shares, num_samples)
    pairs = zip(problem.log_v, problem.log_q, strict=True)
    drawn = [log_v[rng.choice(log_v.size, size=shape, p=importance_laws.normalized(log_q))] for log_v, log_q in pairs]
    return np.mean([importance_laws.share_of_draws(log_v) for log_v in drawn], axis=0)


def limit_of_share(problem: Problem) -> float:
    """Returns the limit of the share of draws for K → ∞, mean over data; under a uniform q, the share of all codes."""
    pairs = zip(problem.log_v, problem.log_q, strict=True)
    return float(np.mean([importance_laws.share_in_the_limit(*pair) for pair in pairs]))


def compare(problem: Problem, found: Replicates, num_samples: int) -> list[dict[str, Any]]:
    """Returns one row per quantity, each the mean over data: what was measured, and what it must be.

    The standard errors behind `z` are those of the exact law, except of the error of log p̂, where it is
    measured: a few huge weights, not met yet, would make a measured one too small.
    """
    replicates, num_data = found.log_ratio.shape
    pairs = list(zip(problem.log_v, problem.log_q, strict=True))
    variance, fourth = np.array([importance_laws.ratio_moments(*pair, num_samples) for pair in pairs]).T
    log_mean, log_variance = np.array([importance_laws.log_moments(*pair, num_samples) for pair in pairs]).T
    ratio = np.exp(found.log_ratio)

    def error(variances: np.ndarray) -> float:
        return math.sqrt(np.sum(variances) / replicates) / num_data

    spread = error(fourth - variance**2 * (replicates - 3) / (replicates - 1))
    square, log_square = float(np.mean((ratio - 1) ** 2)), np.mean(found.log_ratio**2, axis=1)
    rows = [
        estimated("mean", np.mean(ratio), error(variance), 1.0),
        estimated("variance", np.mean(np.var(ratio, axis=0, ddof=1)), spread, np.mean(variance)),
        root("rmse", square, error(fourth - variance**2), float(np.mean(variance))),
        estimated("log_bias", np.mean(found.log_ratio), error(log_variance), np.mean(log_mean)),
        root(
            "log_rmse",
            float(np.mean(log_square)),
            standard_error(log_square),
            float(np.mean(log_variance + log_mean**2)),
        ),
    ]
    if num_samples == 1:
        return rows
    covered = np.abs(found.log_ratio) <= 1.96 * found.standard_error
    return [*rows, limited("coverage", covered.mean(axis=1), math.nan)]


def standard_error(values: np.ndarray) -> float:
    """Returns the standard error of the mean of independent replicates."""
    return float(np.std(values, ddof=1)) / math.sqrt(len(values))


def estimated(quantity: str, value: float | np.floating, error: float, exact: float | np.floating) -> dict[str, Any]:
    """Returns the columns of one quantity: estimate, 95 % interval, exact value and z-score."""
    value, exact = float(value), float(exact)
    z = (value - exact) / error if error > 0 else math.nan
    return columns(quantity, (value, value - 1.96 * error, value + 1.96 * error), exact, z)


def root(quantity: str, square: float, error: float, exact_square: float) -> dict[str, Any]:
    """As `estimated`, of the root of a mean square; the z-score is that of the square, which is nearer to normal."""
    ends = (math.sqrt(max(0.0, square + side * 1.96 * error)) for side in (0, -1, 1))
    z = (square - exact_square) / error if error > 0 else math.nan
    return columns(quantity, tuple(ends), math.sqrt(exact_square), z)


def limited(quantity: str, values: np.ndarray, exact: float) -> dict[str, Any]:
    """As `estimated`, where the exact value is that for K → ∞ only, or there is none: no z-score."""
    mean, half = float(np.mean(values)), 1.96 * standard_error(values)
    return columns(quantity, (mean, mean - half, mean + half), exact, math.nan)


def columns(quantity: str, ends: tuple[float, ...], exact: float, z: float) -> dict[str, Any]:
    """Returns the columns of one row behind those that say what was drawn."""
    named = zip(("estimate", "estimate_low", "estimate_high", "exact", "z"), (*ends, exact, z), strict=True)
    return {"quantity": quantity} | {name: float(value) for name, value in named}


TITLES = {
    "mean": "E p̂ / p",
    "variance": "Var p̂ / p²",
    "rmse": "RMSE p̂ / p",
    "log_bias": "E log p̂ − log p",
    "log_rmse": "RMSE log p̂",
    "share": "draws with 99 %",
    "coverage": "covered by ±1.96 SE",
}


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns every quantity of the belief net at the smallest, a middle and the largest K."""
    ks = sorted(set(rows.query("proposal == 'learned'")["num_samples"]))
    shown = rows[rows["num_samples"].isin([ks[0], ks[len(ks) // 2], ks[-1]]) & (rows["model"] == "belief_net")]
    shown = shown[shown["quantity"] != "rmse"]
    result = {
        "proposal": shown["proposal"],
        "K": shown["num_samples"],
        "quantity": [TITLES[name] for name in shown["quantity"]],
    }
    result |= {"measured" + end: shown["estimate" + end] for end in ("", "_low", "_high")}
    return pd.DataFrame(result | {"exact": shown["exact"], "z": shown["z"].round(2)})


NEAR_ONE = ("mean", "coverage")


class Look(NamedTuple):
    """How one proposal is drawn; `shift` keeps markers beside each other where all are near one value."""

    label: str
    color: str
    marker: str
    shift: float


LOOKS = {
    "uniform": Look("uniform (naive)", style.VERMILLION, "s", 0.85),
    "prior": Look("prior", style.ORANGE, "^", 1.0),
    "learned": Look("learned encoder", style.BLUE, "o", 1.18),
}


def figure(rows: pd.DataFrame) -> Figure:
    """Draws bias, error, shares and coverage against K: measured as points with bars, exact as lines."""
    net = rows.query("model == 'belief_net'")
    panels = style.panels(2, 3)
    mean, rmse, share, log_gap, log_rmse, coverage = panels.axes.flat
    curves(mean, net, "mean", "mean of p̂ / p(x)")
    curves(rmse, net, "rmse", "RMSE of p̂ / p(x)")
    curves(share, net, "share", "share of draws with 99 % of p̂")
    codes = net.query("proposal == 'codes'")["exact"].iloc[0]
    share.axhline(codes, color=style.GREY, linestyle=style.DASHES[2], label="share of all codes with 99 % of p(x)")
    curves(log_gap, negated(net), "log_bias", "log p(x) − E log p̂, nats")
    log_gap.set_ylim(bottom=-0.3 * net.query("quantity == 'log_bias'")["exact"].max())
    curves(log_rmse, net, "log_rmse", "RMSE of log p̂, nats")
    curves(coverage, net, "coverage", "coverage of log p̂ ± 1.96 SE")
    coverage.axhline(0.95, color=style.BLACK, linewidth=0.6)
    coverage.set_ylim(0, 1.03)
    ks = sorted(set(net["num_samples"]) - {0})
    for axes in panels.axes.flat:
        style.log2_axis(axes, ks)
        axes.set(xlabel="samples K", xlim=(0.7 * ks[0], 1.4 * ks[-1]))
    mean.plot([], [], color=style.BLACK, label="lines: exact (shares: K → ∞; coverage: 95 %)")
    style.legend(panels.figure)
    return panels.figure


def negated(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows with estimates, intervals and exact values of the other sign, for a logarithmic axis."""
    flipped = {"estimate": -rows["estimate"], "exact": -rows["exact"]}
    return rows.assign(**flipped, estimate_low=-rows["estimate_high"], estimate_high=-rows["estimate_low"])


def curves(axes: Axes, rows: pd.DataFrame, quantity: str, title: str) -> None:
    """Draws one quantity for each proposal, on a logarithmic axis unless it stays near one."""
    for name, look in LOOKS.items():
        here = rows.query(f"proposal == '{name}' and quantity == '{quantity}'").sort_values("num_samples")
        ks = here["num_samples"] * (look.shift if quantity in NEAR_ONE else 1)
        axes.plot(here["num_samples"], here["exact"], color=look.color, linewidth=0.8)
        axes.vlines(ks, here["estimate_low"], here["estimate_high"], color=look.color, linewidth=0.8)
        axes.plot(ks, here["estimate"], linestyle="", color=look.color, marker=look.marker, label=look.label)
    if quantity not in NEAR_ONE:
        style.log_axis(axes)
    axes.set_title(title)


if __name__ == "__main__":
    cli.main(run, figure, Config(), quick=QUICK, table=table, verdict=verdict)
