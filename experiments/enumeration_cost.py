"""Why not just sum?

A belief net with d binary latents, z_j ~ Bernoulli(sigmoid(b_j)) and x_i | z ~ Bernoulli(sigmoid(Wz + c)_i), has the
exact evidence

    log p(x) = log Σ_{z ∈ {0,1}^d} p(x, z)

of a real binarized 8×8 digit as a sum of 2^d terms. Streamed, it needs no memory to speak of; but each bit doubles the
time. Up to `trained_dim` bits the net is trained by exact maximum likelihood; a larger one is the largest trained net
and further units with random weights, which costs the same and says nothing of how well more units would do. Measured
for each d: time and memory of one image, and the slope of log2(time) per bit over the upper half of the d so far.

Two exact answers check the sum. A restricted Boltzmann machine with d latents has the closed form Σ_z e^{−E(x,z)} =
e^{−F(x)} (Smolensky 1986; Hinton 2002), with every unit at work. And units without weights drop out of a belief net:
its evidence with d bits is that of the trained ones, which NumPy sums in one go.

    python -m experiments.enumeration_cost

Seed 0, float64, two shared CPU cores, 1 min 30 s (± half of a 95 % interval):

    d = 22    4,194,304 terms: 0.807 ± 0.004 s per image; 5.4 MB, its gradient 7.5 MB, all codes at once 770 MB
    d = 12    4,096 terms, the first full chunk: 1.3 ms; 4.6 MB and 6.7 MB
    d = 50    at that rate 7 years per image
    slope     0.94 ± 0.04 doublings per bit over d = 12, …, 22, on a machine with other work to do; the terms say 1
    error     at most 1.7e-15 of log p(x), at every d, against both exact answers
    log p(x)  mean over the 297 test digits: −26.42 with 1 bit, −24.13 with 5, −23.38 with 10

`--quick` (four values of d, up to 16) takes half a minute.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

import vi_jax as vi
from experiments import cli, progress, style
from experiments.enumeration_verdict import verdict
from vi_jax.data.digits import binarize, digits_split

LEARNING_RATE = 0.01
BATCH_SIZE = 100
EXTRAPOLATED_DIM = 50
SECONDS_PER_YEAR = 365.25 * 24 * 3600
MEGABYTE = 1e6


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the measurement.

    Attributes:
      seed: of everything random.
      dims: the values of d, in rising order.
      trained_dim: the largest d that is trained by exact maximum likelihood.
      num_steps: training steps of Adam on minibatches of 100.
      num_images: test digits whose evidence is computed.
      num_timings: timed evaluations per image.
    """

    seed: int = 0
    dims: tuple[int, ...] = tuple(range(1, 23))
    trained_dim: int = 10
    num_steps: int = 1500
    num_images: int = 4
    num_timings: int = 4


QUICK = Config(dims=(1, 5, 13, 16), trained_dim=5, num_steps=300, num_images=2, num_timings=1)


class Programs(NamedTuple):
    """The compiled evidence of one image, and the megabytes that it, its gradient and a table of all codes take."""

    evidence: Callable[[vi.models.BeliefNet, jax.Array], jax.Array]
    megabytes: float
    gradient_megabytes: float
    table_megabytes: float


def run(config: Config, track: progress.Track) -> Iterator[list[dict[str, Any]]]:
    """Yields one row per d, in double precision."""
    with jax.enable_x64(True):
        split = digits_split()
        images = split.test[: config.num_images].astype(float)
        train_images = split.train.astype(float)
        trained: vi.models.BeliefNet | None = None
        points: list[tuple[int, float]] = []
        for dim in track(config.dims, "d", label=lambda d: f"d = {d}", cost=lambda d: 100_000 + 2**d):
            exact = vi.models.sigmoid_belief_net(dim, images.shape[1], mean=split.train.mean(axis=0))
            if dim <= config.trained_dim or trained is None:
                trained = theta = train(config, exact, train_images)
            else:
                theta = grown(jax.random.key(config.seed + dim), trained, dim)
            programs = compile_programs(exact, theta, images[0])
            seconds = timings(programs.evidence, theta, images, config.num_timings)
            points.append((dim, seconds[0]))
            yield [
                {
                    "d": dim,
                    "codes": 2**dim,
                    "trained_units": trained.b.size,
                    "log_p": float(np.mean([programs.evidence(theta, x) for x in images])),
                    "test_log_p": test_log_p(exact, theta, split.test) if theta is trained else math.nan,
                    **interval("seconds", seconds),
                    "megabytes": programs.megabytes,
                    "gradient_megabytes": programs.gradient_megabytes,
                    "table_megabytes": programs.table_megabytes,
                    **free_energy_check(config.seed, dim, images),
                    **idle_unit_check(programs.evidence, trained, dim, images),
                    **exponent(points),
                    **interval("years_at_50", tuple(years_at_50(dim, s) for s in seconds)),
                }
            ]


def train(config: Config, exact: vi.models.ExactModel, images: jax.Array) -> vi.models.BeliefNet:
    """Maximises the exact log p(x) with Adam, cut to a tenth of the rate after two thirds of the steps."""
    init_key, fit_key = jax.random.split(jax.random.key(config.seed))
    schedule = optax.piecewise_constant_schedule(LEARNING_RATE, {2 * config.num_steps // 3: 0.1})
    state, _ = vi.fit(
        fit_key,
        vi.objectives.maximum_likelihood(exact),
        optax.adam(schedule),
        vi.Params(exact.model.init(init_key), ()),
        images,
        num_steps=config.num_steps,
        batch_size=BATCH_SIZE,
        prepare=binarize,
    )
    return state.params.theta


def test_log_p(exact: vi.models.ExactModel, theta: vi.models.BeliefNet, images: jax.Array) -> float:
    """Returns the mean exact log p(x) of all test digits, in nats."""
    return float(jnp.mean(jax.jit(jax.vmap(exact.log_evidence, in_axes=(None, 0)))(theta, images)))


def grown(key: jax.Array, theta: vi.models.BeliefNet, dim: int, *, scale: float = 0.1) -> vi.models.BeliefNet:
    """Adds units up to `dim`, on half of the time, with weights N(0, scale²)."""
    more = dim - theta.b.size
    W = jnp.concatenate([theta.W, scale * jax.random.normal(key, (theta.c.size, more))], axis=1)
    return vi.models.BeliefNet(jnp.concatenate([theta.b, jnp.zeros(more)]), W, theta.c)


def compile_programs(exact: vi.models.ExactModel, theta: vi.models.BeliefNet, x: jax.Array) -> Programs:
    """Compiles the evidence of one image, and for their memory alone its gradient and the sum over a table of codes.

    The table is never run: from d = 20 on it would not be wise to.
    """
    dim = theta.b.size

    def over_a_table(theta: vi.models.BeliefNet, x: jax.Array, codes: jax.Array) -> jax.Array:
        return jax.nn.logsumexp(jax.vmap(lambda z: exact.model.log_joint(theta, x, z))(codes))

    def compiled(f: Callable, *args: Any) -> Any:
        return jax.jit(f).lower(*args).compile()

    evidence = compiled(exact.log_evidence, theta, x)
    gradient = compiled(jax.grad(exact.log_evidence), theta, x)
    codes = jax.ShapeDtypeStruct((2**dim, dim), x.dtype)
    table = compiled(over_a_table, theta, x, codes)
    codes_megabytes = 2**dim * dim * x.dtype.itemsize / MEGABYTE
    return Programs(evidence, temporary(evidence), temporary(gradient), temporary(table) + codes_megabytes)


def temporary(compiled: Any) -> float:
    """Returns the megabytes that a compiled program takes beyond its arguments and results."""
    return compiled.memory_analysis().temp_size_in_bytes / MEGABYTE


def timings(
    evidence: Callable, theta: vi.models.BeliefNet, images: jax.Array, num_timings: int
) -> tuple[float, float, float]:
    """Returns the median seconds of one finished image, and the order statistics that hold the median with 95 %."""
    jax.block_until_ready(evidence(theta, images[0]))
    seconds = []
    for x in list(images) * num_timings:
        start = time.perf_counter()
        jax.block_until_ready(evidence(theta, x))
        seconds.append(time.perf_counter() - start)
    seconds.sort()
    rank = max(0, int(stats.binom.ppf(0.025, len(seconds), 0.5)) - 1)
    return float(np.median(seconds)), seconds[rank], seconds[-1 - rank]


def free_energy_check(seed: int, dim: int, images: jax.Array) -> dict[str, float]:
    """Enumerates a random Boltzmann machine and compares with its free energy: mean over images, worst error."""
    machine = vi.models.restricted_boltzmann_machine(dim, images.shape[1])
    keys = jax.random.split(jax.random.key(seed), 3)
    shapes = jax.eval_shape(machine.model.init, keys[0])
    theta = type(shapes)(*(0.5 * jax.random.normal(k, s.shape) for k, s in zip(keys, shapes, strict=True)))

    @jax.jit
    @jax.vmap
    def both(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        summed = vi.models.log_sum_over_codes(lambda z: machine.model.log_joint(theta, x, z), dim)
        return summed, machine.log_evidence(theta, x)

    return compared("free_energy", *jax.device_get(both(images)))


def idle_unit_check(evidence: Callable, theta: vi.models.BeliefNet, dim: int, images: jax.Array) -> dict[str, float]:
    """Compares the streamed sum, units beyond those of θ made idle, with a single NumPy sum over the units of θ."""
    idle = grown(jax.random.key(0), theta, dim, scale=0.0)
    summed = np.array([evidence(idle, x) for x in images])
    return compared("idle", summed, np.array([one_sum(theta, np.asarray(x)) for x in images]))


def one_sum(theta: vi.models.BeliefNet, x: np.ndarray) -> float:
    """Returns log p(x) from all 2^d codes at once, in NumPy and written out anew."""
    b, W, c = (np.asarray(leaf) for leaf in theta)
    codes = (np.arange(2**b.size)[:, None] >> np.arange(b.size)) & 1
    log_prior = codes @ b - np.logaddexp(0, b).sum()
    logits = codes @ W.T + c
    log_joint = log_prior + logits @ x - np.logaddexp(0, logits).sum(axis=1)
    return float(np.logaddexp.reduce(log_joint))


def compared(name: str, found: np.ndarray, exact: np.ndarray) -> dict[str, float]:
    """Returns the columns of a check: both means over images, in nats, and the largest relative error of one image."""
    return {
        name: float(found.mean()),
        f"{name}_exact": float(exact.mean()),
        f"{name}_relative_error": float(np.max(np.abs(found / exact - 1))),
    }


def exponent(points: Sequence[tuple[int, float]]) -> dict[str, float]:
    """Fits log2(seconds) = slope · d + constant over the upper half of the d so far; NaN below four points.

    The interval is Student's, from the residuals. The exact slope of the number of terms is one.
    """
    upper = np.array([(dim, math.log2(seconds)) for dim, seconds in points if dim > points[-1][0] / 2])
    if len(upper) < 4:
        return interval("exponent", (math.nan, math.nan, math.nan))
    x, y = (upper - upper.mean(axis=0)).T
    slope = x @ y / (x @ x)
    error = math.sqrt(np.sum((y - slope * x) ** 2) / (len(upper) - 2) / (x @ x))
    half = stats.t.ppf(0.975, len(upper) - 2) * error
    return interval("exponent", (slope, slope - half, slope + half))


def years_at_50(dim: int, seconds: float) -> float:
    """Returns the years of one image with 50 bits at the time per code of this d."""
    return seconds * 2.0 ** (EXTRAPOLATED_DIM - dim) / SECONDS_PER_YEAR


def interval(name: str, values: Sequence[float]) -> dict[str, float]:
    """Returns the columns `name`, `name_low`, `name_high`."""
    return dict(zip((name, f"{name}_low", f"{name}_high"), map(float, values), strict=True))


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns cost and check of each d, at most twelve of them."""
    shown = rows.iloc[:: -(-len(rows) // 12)] if len(rows) > 12 else rows
    shown = pd.concat([shown, rows.iloc[[-1]]]).drop_duplicates("d")
    columns: dict[str, Any] = {"d": shown["d"], "log p(x)": shown["log_p"].round(2)}
    errors = shown[["free_energy_relative_error", "idle_relative_error"]].max(axis=1)
    columns |= {"−F": shown["free_energy"], "exact": shown["free_energy_exact"]}
    columns |= {"error": [digits(error) for error in errors]}
    columns |= {"ms/image" + end: 1000 * shown["seconds" + end] for end in ("", "_low", "_high")}
    columns |= {"slope" + end: shown["exponent" + end] for end in ("", "_low", "_high")}
    columns["years, 50"] = [digits(years) for years in shown["years_at_50"]]
    columns["MB"] = [digits(megabytes) for megabytes in shown["megabytes"]]
    return pd.DataFrame(columns)


def digits(value: float) -> float:
    """Returns the value in two significant digits."""
    return float(f"{value:.2g}")


def figure(rows: pd.DataFrame) -> Figure:
    """Draws time, memory, error and evidence against d."""
    panels = style.panels(2, 2)
    draw_time(panels.axes[0, 0], rows)
    draw_memory(panels.axes[0, 1], rows)
    draw_error(panels.axes[1, 0], rows)
    draw_evidence(panels.axes[1, 1], rows)
    for axes in panels.axes.flat:
        axes.set_xlabel("latent bits d")
    return panels.figure


def draw_time(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws the seconds per image, and where doubling with every bit leads."""
    last = rows.iloc[-1]
    ahead = np.array([last["d"], EXTRAPOLATED_DIM])
    axes.plot(
        ahead,
        last["seconds"] * 2.0 ** (ahead - last["d"]),
        color=style.GREY,
        linestyle=style.DASHES[1],
        label="doubling with each bit",
    )
    style.bars(axes, rows, "d", "seconds", color=style.BLUE, marker="o", label="measured")
    for seconds, name in ((1, "1 second"), (86_400, "1 day"), (SECONDS_PER_YEAR, "1 year")):
        axes.axhline(seconds, color=style.GREY, linewidth=0.4)
        axes.annotate(name, (1, seconds), xytext=(0, 1.5), textcoords="offset points", color=style.GREY)
    axes.annotate(
        f"{last['years_at_50']:.0f} years",
        (EXTRAPOLATED_DIM, last["years_at_50"] * SECONDS_PER_YEAR),
        xytext=(-4, -1),
        textcoords="offset points",
        ha="right",
    )
    axes.set_yscale("log")
    half = (last["exponent_high"] - last["exponent_low"]) / 2
    slope = f": {last['exponent']:.2f} ± {half:.2f} doublings per bit" if math.isfinite(half) else ""
    axes.set(title=f"time{slope}", ylabel="seconds per image")
    axes.legend(loc="lower right")


def draw_memory(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws what the streamed sum and its gradient take, beside a table of all codes."""
    axes.plot(
        rows["d"], rows["table_megabytes"], color=style.GREY, linestyle=style.DASHES[1], label="all codes at once"
    )
    axes.plot(rows["d"], rows["gradient_megabytes"], color=style.VERMILLION, marker="s", label="streamed, gradient")
    axes.plot(rows["d"], rows["megabytes"], color=style.BLUE, marker="o", label="streamed, value")
    axes.set_yscale("log")
    axes.set(title="memory", ylabel="temporary memory, megabytes")
    axes.legend()


def draw_error(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws the relative error against each exact answer; one rounding is the floor."""
    rounding = np.finfo(np.float64).eps / 2
    for name, label, color, marker in (
        ("free_energy", "Boltzmann machine: free energy", style.GREEN, "D"),
        ("idle", "belief net: one NumPy sum", style.PURPLE, "^"),
    ):
        error = np.maximum(rows[f"{name}_relative_error"], rounding)
        axes.plot(rows["d"], error, color=color, marker=marker, label=label)
    axes.axhline(rounding, color=style.GREY, linewidth=0.6, linestyle=style.DASHES[2], label="one rounding")
    axes.set_yscale("log")
    axes.set_ylim(rounding / 3, 1e-12)
    axes.set(title="error of the sum", ylabel="largest relative error")
    axes.legend(loc="upper left")


def draw_evidence(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws log p(x) as far as every unit is trained."""
    trained = rows.dropna(subset=["test_log_p"])
    axes.plot(trained["d"], trained["test_log_p"], color=style.BLUE, marker="o")
    axes.set(title="exact log p(x) of the test digits, trained nets", ylabel="nats per digit")


if __name__ == "__main__":
    cli.main(run, figure, Config(), quick=QUICK, table=table, verdict=verdict)
