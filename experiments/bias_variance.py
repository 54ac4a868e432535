"""What does a finite K cost: bias or variance?

One datum of the linear-Gaussian toy with D = 2, q off the posterior (|δ|² = ½, Var(w)/p² = 0.94). Each estimate has a
limit for K → ∞, known exactly, and at every K an expected value and gradient, known by quadrature:

    IWAE, jackknife of order 1 and 2      log p(x),  ∇_θ log p(x)        bias K^−1, K^−2, K^−3
    Rényi α = ½, CUBO₂ (α = −1)           L_α, ∇_φ L_α                   bias K^−1
    thermodynamic, left sum of 9 nodes    Σ Δβ E_β log w, and its ∇_φ    bias K^−1
    wake-φ, self-normalised               −∇_φ KL(p(z | x) ‖ q)          bias K^−1

`vi.sweep` measures all of them on the same draws. Most of the noise of (1/s) log mean w^s is that of mean w^s, whose
expectation is known and whose gradient is ∇L_α: it is swept along and taken off, pair by pair. Orders are fitted to the
measured biases, weighted, with paired intervals; what is not resolved from zero is left out, and not drawn.

Burda et al. (arXiv:1509.00519); Nowozin (ICLR 2018); Li and Turner (arXiv:1602.02311); Masrani et al.
(arXiv:1907.00031); Bornschein and Bengio (arXiv:1406.2751).

    python -m experiments.bias_variance

Seed 0, float64, two shared CPU cores of a busy machine, 3 min. All 76 measured biases are within 2.1 standard errors
of the exact ones. Orders from K ≥ 4 (± half of a 95 % interval), and those of the exact biases at the same K:

    values      IWAE 1.032 ± 0.003 (1.03), jackknife 1.82 ± 0.15 (1.75) and 3.3 ± 0.7 (3.1), Rényi 1.022 ± 0.003 (1.02),
                CUBO₂ 1.006 ± 0.003 (1.01), thermodynamic 1.05 ± 0.02 (1.04)
    gradients   IWAE 0.997 ± 0.003 (1.00), Rényi 1.018 ± 0.004 (1.02), CUBO₂ 0.856 ± 0.005 (0.86), thermodynamic
                1.005 ± 0.012 (1.00), wake-φ 0.998 ± 0.011 (0.99)

The jackknife's θ-gradient has less bias too, but not yet an order: with m = 1 its sign changes near K = 8. The variance
hardly differs: at K = 8 the jackknives have the standard deviation of IWAE, 0.36 nats, and 1/25 and 1/136 of its bias.
`--quick` (K ≤ 8, fewer replicates) takes half a minute.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.flatten_util import ravel_pytree
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import vi_jax as vi
from experiments import cli, exact_toy, intervals, progress, slopes, style
from experiments.bias_verdict import verdict
from vi_jax.measurement import jackknife

B, E = vi.bounds, vi.estimators


@dataclasses.dataclass(frozen=True)
class Config:
    """What the rows depend on.

    Attributes:
      seed: of the draws.
      num_samples: K.
      num_replicates: R, pools of the largest K, whose groups are replicates of the smaller ones.
      smallest_fitted: orders are fitted for K from here on.
    """

    seed: int = 0
    num_samples: tuple[int, ...] = (2, 4, 6, 8, 16, 32)
    num_replicates: int = 150_000
    smallest_fitted: int = 4


QUICK = Config(num_samples=(2, 4, 8), num_replicates=40_000)
BETAS = tuple(float(beta) for beta in np.linspace(0, 1, 9))


class Case(NamedTuple):
    """An estimate and what is known of it.

    Attributes:
      label: its name.
      pair: bound and estimator.
      block: the parameters whose gradient is judged.
      order: n, of a bias K^−n.
      power: s, where the noise is that of mean w^s to first order; 0 where it is not.
    """

    label: str
    pair: tuple[vi.BoundFn, vi.Estimator]
    block: str
    order: int
    power: float


CASES = {
    "iwae": Case("IWAE", (B.iwae, E.pathwise), "theta", 1, 1.0),
    "jackknife1": Case("jackknife 1", (B.jackknife(1), E.pathwise), "theta", 2, 1.0),
    "jackknife2": Case("jackknife 2", (B.jackknife(2), E.pathwise), "theta", 3, 1.0),
    "renyi": Case("Rényi ½", (B.renyi(0.5), E.pathwise), "phi", 1, 0.5),
    "cubo": Case("CUBO₂", (B.renyi(-1.0), E.pathwise), "phi", 1, 2.0),
    "thermodynamic": Case("thermodynamic", (B.thermodynamic(BETAS), E.pathwise), "phi", 1, 0.0),
    "wake_phi": Case("wake-φ", (B.iwae, E.wake_phi), "phi", 1, 0.0),
}


def relative_biases(square: jax.Array, sizes: tuple[int, ...]) -> dict[str, jax.Array]:
    """Returns E L_K less its limit, nats `[number of K]`: all depend on the parameters through |δ|² alone."""
    weights = exact_toy.law(2, square)
    counts = jnp.asarray(sizes)
    every = sorted({size - j for size in sizes for j in range(3) if size > j})
    iwae = dict(zip(every, vi.models.expected_renyi(weights, jnp.asarray(every), alpha=0.0), strict=True))

    def jackknifed(order: int) -> jax.Array:
        return jnp.stack([jackknife_of(iwae, order, size) if size > order else jnp.nan * square for size in sizes])

    def of_power(power: float) -> jax.Array:
        found = vi.models.expected_renyi(weights, counts, alpha=1 - power)
        return found - vi.models.log_moment(weights, power) / power

    sums = jax.lax.map(lambda size: exact_toy.thermodynamic(weights, size, BETAS), counts)
    return {
        "iwae": jackknifed(0),
        "jackknife1": jackknifed(1),
        "jackknife2": jackknifed(2),
        "renyi": of_power(0.5),
        "cubo": of_power(2.0),
        "thermodynamic": sums - exact_toy.thermodynamic_limit(weights, BETAS),
        "wake_phi": jackknifed(0),
    }


def jackknife_of(iwae: dict[int, jax.Array], order: int, size: int) -> jax.Array:
    """Returns the expected jackknife at K: its combination of the expected IWAE_{K−j}."""
    weights = ((-1) ** j * (size - j) ** order for j in range(order + 1))
    ways = (math.factorial(order - j) * math.factorial(j) for j in range(order + 1))
    parts = (w / n * iwae[size - j] for j, (w, n) in enumerate(zip(weights, ways, strict=True)))
    return sum(parts, start=jnp.zeros(()))


def problem() -> tuple[vi.Params, jax.Array]:
    """Returns parameters and the one datum, `[1, 2]`, such that |δ|² = ½."""
    x = jnp.array([[0.8, -0.5]])
    return vi.Params(jnp.array([0.2, 0.1]), vi.guides.Affine(0.2 * jnp.eye(2), jnp.array([0.84, 0.4]))), x


class Exact(NamedTuple):
    """What is known of one estimate at one K: its bias, and that of its gradient in its block, flat."""

    value: float
    gradient: np.ndarray


def exact_biases(config: Config) -> dict[tuple[str, int], Exact]:
    """Returns every bias by quadrature, in float64."""
    params, x = problem()
    sizes = config.num_samples
    square, offset = jax.value_and_grad(exact_toy.squared_offset)(params, x[0])
    along = jax.jit(lambda square: jax.jvp(lambda s: relative_biases(s, sizes), (square,), (jnp.ones(()),)))
    values, slopes_ = along(square)
    wake = jax.jit(lambda k: jax.lax.map(lambda k: exact_toy.wake_phi(params, x[0], num_samples=k), k))(
        jnp.asarray(sizes)
    )
    off_wake = jax.tree.map(jnp.subtract, wake, exact_toy.forward_kl_ascent(params, x[0]))
    found = {}
    for (name, case), (i, size) in itertools.product(CASES.items(), enumerate(sizes)):
        gradient = slopes_[name][i] * ravel_pytree(getattr(offset, case.block))[0]
        if name == "wake_phi":
            gradient = ravel_pytree(jax.tree.map(lambda leaf, i=i: leaf[i], off_wake))[0]
        found[name, size] = Exact(float(values[name][i]), np.asarray(gradient))
    return found


def control(power: float) -> tuple[vi.BoundFn, vi.Estimator]:
    """Returns mean w^s / (s E w^s): its expectation is 1/s, and the gradient of that is ∇L_α, α = 1 − s."""
    params, x = problem()
    weights = exact_toy.law(2, exact_toy.squared_offset(params, x[0]))
    shift = float(power * exact_toy.log_evidence(params, x[0]) + vi.models.log_moment(weights, power))
    return lambda log_w: jnp.mean(jnp.exp(power * log_w - shift), axis=0) / power, E.pathwise


def run(config: Config, track: progress.Track) -> Iterator[list[dict[str, Any]]]:
    """Yields a row per estimate, K and what is judged of it, and a row per order; all in float64."""
    with jax.enable_x64(True):
        exact = exact_biases(config)
        params, x = problem()
        toy, guide = vi.models.linear_gaussian(2), vi.guides.affine(2, 2, variance=exact_toy.VARIANCE)
        controls = {f"control {case.power}": control(case.power) for case in CASES.values() if case.power}
        result = vi.sweep(
            jax.random.key(config.seed),
            toy.model,
            guide,
            params,
            x,
            objectives={name: case.pair for name, case in CASES.items()} | controls,
            num_samples=config.num_samples,
            num_replicates=config.num_replicates,
            groups_per_pool=config.num_samples[-1] // config.num_samples[0],
            progress=progress.callback(track, "sweep"),
        )
        for name, case in CASES.items():
            for of in ("value", case.block) if name != "wake_phi" else (case.block,):
                yield list(rows_of(config, result, exact, name, of))


def limit_of(name: str, of: str) -> np.ndarray:
    """Returns the limit of a value or of a gradient, flat `[P]`."""
    params, x = problem()

    def limit(params: vi.Params) -> jax.Array:
        weights, power = exact_toy.law(2, exact_toy.squared_offset(params, x[0])), CASES[name].power
        above = vi.models.log_moment(weights, power) / power if power else exact_toy.thermodynamic_limit(weights, BETAS)
        return exact_toy.log_evidence(params, x[0]) + above

    if of == "value":
        return np.asarray(limit(params))[None]
    gradient = exact_toy.forward_kl_ascent(params, x[0]) if name == "wake_phi" else getattr(jax.grad(limit)(params), of)
    return np.asarray(ravel_pytree(gradient)[0])


def group_means(result: vi.SweepResult, name: str, size: int, of: str) -> np.ndarray:
    """Returns the means of a value, or of a block of the gradient, in each group of replicates, `[G, P]`."""
    place = [other for other in result.objectives if (other, size) not in result.undefined].index(name)
    mean = result.grouped[size].mean
    part = mean.value if of == "value" else getattr(mean.gradient, of)
    return np.asarray(jax.vmap(lambda tree: ravel_pytree(tree)[0])(jax.tree.map(lambda leaf: leaf[:, 0, place], part)))


def biases(result: vi.SweepResult, name: str, size: int, of: str, limit: np.ndarray) -> np.ndarray:
    """Returns mean − limit in each group of replicates `[G, P]`, less the noise of the control, whose mean is known."""
    off, power = group_means(result, name, size, of) - limit, CASES[name].power
    if not power:
        return off
    known = np.full(1, 1 / power) if of == "value" else limit
    return off - (group_means(result, f"control {power}", size, of) - known)


def rows_of(config: Config, result: vi.SweepResult, exact: dict, name: str, of: str) -> Iterator[dict[str, Any]]:
    """Yields the measured bias of an estimate at each K beside the exact one, then its order in 1/K.

    A gradient's bias is measured along the exact one: signed, linear in the gradients, and without a floor.
    """
    limit, found = limit_of(name, of), []
    for size in config.num_samples:
        if (name, size) in result.undefined:
            continue
        known = np.atleast_1d(exact[name, size].value) if of == "value" else exact[name, size].gradient
        length = float(np.linalg.norm(known))
        along = biases(result, name, size, of, limit) @ known / length
        error = float(np.std(along, ddof=1)) / len(along) ** 0.5
        whole, reach = float(along.mean()), jackknife.student_t_quantile(0.975, len(along) - 1) * error
        found.append((size, along, abs(whole) > reach, length))
        yield row(
            "cell",
            name,
            of,
            K=size,
            **intervals.columns("bias", (whole, whole - reach, whole + reach)),
            exact=length,
            z=(whole - length) / error,
            **intervals.columns("sd", deviation(result, name, size, of)),
        )
    yield order_row(name, of, [part for part in found if part[0] >= config.smallest_fitted])


def deviation(result: vi.SweepResult, name: str, size: int, of: str) -> list[float]:
    """Returns the standard deviation of one estimate, and the ends of its interval."""
    o, k = result.objectives.index(name), result.num_samples.index(size)
    if of == "value":
        return [float(end[o, k, 0]) ** 0.5 for end in result.quantities.value_variance]
    return [float(end[o, k, 0, result.blocks.index(of)]) for end in result.quantities.standard_deviation]


def order_row(name: str, of: str, found: list[tuple[int, np.ndarray, bool, float]]) -> dict[str, Any]:
    """Returns the order n of a bias K^−n: as measured, and that of the exact biases with the same weights."""
    sizes, resolved, exact = (np.array([part[i] for part in found]) for i in (0, 2, 3))
    groups = np.array([along for _, along, _, _ in found])
    whole, count = groups.mean(axis=1), np.ones(groups.shape[1])
    without = (count.size * whole[:, None] - groups) / (count.size - 1)
    with np.errstate(invalid="ignore"):
        points = slopes.Points(sizes, np.where(resolved, np.log(np.abs(whole)), np.nan), np.log(without))
    shift = np.log(exact) - points.log_value
    known = slopes.Points(sizes, points.log_value + shift, points.log_without + shift[:, None])
    measured, known = slopes.slope(points, count), slopes.slope(known, count)
    return row(
        "order",
        name,
        of,
        theory=float(CASES[name].order),
        **intervals.columns("order", (-measured.value, -measured.high, -measured.low)),
        exact_order=-float(known.value),
        left_out=int(np.sum(~resolved)),
    )


COLUMNS = (
    *("K", "bias", "bias_low", "bias_high", "exact", "z", "sd", "sd_low", "sd_high"),
    *("theory", "order", "order_low", "order_high", "exact_order", "left_out"),
)


def row(part: str, objective: str, of: str, **values: float) -> dict[str, Any]:
    """Returns one row; what a part does not have is NaN, so that every row has the same columns."""
    return {"part": part, "objective": objective, "of": of, **dict.fromkeys(COLUMNS, np.nan), **values}


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the orders in 1/K, those of the exact biases at these K, and those of theory; z is the largest over K."""
    orders = rows.query("part == 'order'").set_index(["objective", "of"])
    cells = rows.query("part == 'cell'")
    z = dict(pd.Series(cells.assign(z=cells["z"].abs()).groupby(["objective", "of"])["z"].max()).items())
    columns: dict[str, Any] = {
        "estimate": [CASES[name].label for name, _ in orders.index],
        "": [OF[of] for _, of in orders.index],
        "theory": [f"{order:.0f}" for order in orders["theory"]],
        "exact": [f"{order:.2f}" for order in orders["exact_order"]],
    }
    columns |= {"order" + end: orders["order" + end].to_numpy() for end in ("", "_low", "_high")}
    columns["out"] = [int(out) for out in orders["left_out"]]
    columns["z"] = [f"{z[pair]:.1f}" for pair in orders.index]
    return pd.DataFrame(columns)


OF = {"value": "L", "theta": "∇θ", "phi": "∇φ"}
LOOKS: dict[str, dict[str, Any]] = {
    "iwae": style.line("iwae/pathwise"),
    "jackknife1": {"color": style.ORANGE, "marker": "D", "linestyle": style.DASHES[1]},
    "jackknife2": {"color": style.BLACK, "marker": "v", "linestyle": style.DASHES[2]},
    "renyi": style.line("renyi"),
    "cubo": {"color": style.PURPLE, "marker": "^", "linestyle": style.DASHES[1]},
    "thermodynamic": {"color": style.GREY, "marker": "X", "linestyle": style.DASHES[3]},
    "wake_phi": style.line("forward_kl") | {"linestyle": style.DASHES[3]},
}
for _name, _look in LOOKS.items():
    _look["label"] = CASES[_name].label


def figure(rows: pd.DataFrame) -> Figure:
    """Draws bias, points measured and lines exact, and standard deviation, of values and of gradients, against K."""
    panels = style.panels(2, 2, height=2.5)
    cells = rows.query("part == 'cell'")
    for line, (title, of) in zip(
        panels.axes, (("the bound, nats", ["value"]), ("its gradient", ["theta", "phi"])), strict=True
    ):
        here = pd.DataFrame(cells[cells["of"].isin(of)])
        bias(line[0], here)
        line[0].set_title(f"|bias| of {title}")
        for name, look in LOOKS.items():
            style.band(line[1], here.query(f"objective == '{name}'"), "K", "sd", **look)
        line[1].set_title(f"standard deviation of {title}")
        line[0].set_yscale("log")
        style.log_axis(line[1])
    for axes in panels.axes.flat:
        style.log2_axis(axes, cells["K"])
    for axes in panels.axes[-1]:
        axes.set_xlabel("samples K")
    style.legend(panels.figure, columns=4)
    return panels.figure


def bias(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws exact biases as lines, and measured ones as points with intervals, where they are resolved from zero."""
    for name, look in LOOKS.items():
        here = rows.query(f"objective == '{name}'").sort_values("K")
        axes.plot(here["K"], here["exact"], **look | {"marker": "", "label": None})
        style.bars(axes, here.query("bias_low > 0"), "K", "bias", **look | {"linestyle": "", "label": None})
        # For the legend: what is drawn, line and point together.
        axes.plot([], [], **look)


if __name__ == "__main__":
    cli.main(run, figure, Config(), quick=QUICK, table=table, verdict=verdict)
