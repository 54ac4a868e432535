"""Do more samples drown the gradient?

The linear-Gaussian toy with D = 20 and N = 16 data, at parameters N(0, 0.01²) away from the optimum. `vi.sweep` takes
every gradient at K = 1, 4, …, 1024 from the same draws; the signal ∇E L_K is known exactly, by quadrature. With
SNR = ‖E g‖ / √tr Cov g of one gradient over the batch, theory says for K → ∞

    SNR ∝ √K     θ of every bound; φ of ELBO, CIWAE, DReG, OVIS, wake-φ and its doubly reparameterized form
    SNR ∝ 1/√K   φ of IWAE by the path or by VIMCO; φ of MIWAE and PIWAE at a fixed number of groups M
    SNR ∝ √M     θ and φ of MIWAE at a fixed size K/M of its groups

The slope s of log SNR against log K is fitted twice: a line for K ≥ 64, as a plot shows it, which is not yet that of
theory; and its limit, by log SNR = a + s log K + b/K + c/K² where a group has four draws or more. All cells share draws
and groups of replicates, so a slope has a paired interval: the jackknife that leaves one group out of every point.

Where the mean of n gradients stands for the signal, as it must where no exact answer is known, a point that is not
resolved from zero is left out of the fit (weighted by the points' errors) and drawn as an upper limit. |mean|/sd of a
coordinate reads √(2/(π n)) where there is no signal at all: that floor is drawn, and is no signal.

Rainforth et al. 2018 (arXiv:1802.04537); Tucker et al. 2018 (arXiv:1810.04152); Liévin et al. 2020 (arXiv:2008.01998).

    python -m experiments.gradient_snr

Seed 0, float32, two shared CPU cores of a busy machine, 1 min 20 s; limits with the exact signal, ± half of a 95 %
interval, and the slope of the line:

    φ   −½   IWAE −0.500 ± 0.002 (−0.498), VIMCO −0.501 ± 0.002 (−0.493), MIWAE and PIWAE −0.502 ± 0.003 (−0.493)
        +½   ELBO 0.500 ± 0.002 (0.500), CIWAE 0.500 ± 0.002 (0.493), DReG 0.498 ± 0.003 (0.483),
             OVIS 0.500 ± 0.005 (0.503), wake-φ 0.500 ± 0.002 (0.506), wake-φ DReG 0.499 ± 0.002 (0.491)
    θ   +½   ELBO 0.499 ± 0.006 (0.499), IWAE 0.503 ± 0.006 (0.488), CIWAE 0.499 ± 0.006 (0.495),
             MIWAE 0.505 ± 0.011 (0.445)
    √M  +½   MIWAE in groups of 16: θ 0.496 ± 0.012 (0.499), φ 0.498 ± 0.003 (0.500)

Every limit has theory in its interval, and every line is within 0.07 of it. From the measured signal, weighted by its
errors, lines are the same within 1½ half-widths, except that 2000 pathwise gradients of IWAE at K = 256 and at 1024 see
no φ̄ at all: no slope. Of the mean gradients, 440 coordinates in each of 59 cells, the furthest from its exact value is
4.2 standard errors away.
`--quick` (K ≤ 64, where slopes are not yet those of theory) takes half a minute.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
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
from experiments.snr_verdict import verdict
from vi_jax.measurement import Reference, snr

B, E = vi.bounds, vi.estimators


@dataclasses.dataclass(frozen=True)
class Config:
    """What the rows depend on.

    Attributes:
      seed: of data, parameters and draws.
      dim: D.
      num_data: N, which every gradient averages over.
      offset: standard deviation of the parameters around the optimum.
      num_samples: K.
      num_replicates: R, pools of the largest K.
      smallest_fitted: lines are fitted for K from here on.
    """

    seed: int = 0
    dim: int = 20
    num_data: int = 16
    offset: float = 0.01
    num_samples: tuple[int, ...] = (1, 4, 16, 64, 256, 1024)
    num_replicates: int = 2000
    smallest_fitted: int = 64


QUICK = Config(num_samples=(4, 16, 64), num_replicates=600, smallest_fitted=4)
GROUPS, GROUP_SIZE, BETA = 4, 16, 0.5
SMALLEST_GROUP, CORRECTIONS = 4, 2


class Case(NamedTuple):
    """An objective, what it is called, the slopes that theory gives it in θ and in φ, and how many groups it makes."""

    label: str
    pair: tuple[vi.BoundFn, vi.Estimator]
    theta: float
    phi: float
    groups: int = 1


def groups_of(size: int) -> tuple[vi.BoundFn, vi.Estimator]:
    """Returns MIWAE with as many groups of `size` draws as there are, and its pathwise gradient."""

    def bound(log_w: jax.Array) -> jax.Array:
        return B.miwae(log_w.shape[0] // size)(log_w)

    def estimator(_: vi.BoundFn) -> vi.CoefficientFn:
        return lambda log_w: E.pathwise(B.miwae(log_w.shape[0] // size))(log_w)

    return bound, estimator


CASES = {
    "elbo/pathwise": Case("ELBO", (B.elbo, E.pathwise), 0.5, 0.5),
    "iwae/pathwise": Case("IWAE", (B.iwae, E.pathwise), 0.5, -0.5),
    "iwae/vimco": Case("VIMCO", (B.iwae, E.vimco), 0.5, -0.5),
    "miwae/pathwise": Case("MIWAE, M = 4", (B.miwae(GROUPS), E.pathwise), 0.5, -0.5, GROUPS),
    "piwae/pathwise": Case("PIWAE, M = 4", (B.iwae, E.piwae(GROUPS)), 0.5, -0.5, GROUPS),
    "ciwae/pathwise": Case("CIWAE, β = ½", (B.ciwae(BETA), E.pathwise), 0.5, 0.5),
    "iwae/doubly_reparameterized": Case("DReG", (B.iwae, E.doubly_reparameterized), 0.5, 0.5),
    "iwae/ovis": Case("OVIS", (B.iwae, E.ovis), 0.5, 0.5),
    "forward_kl/wake_phi": Case("wake-φ", (B.iwae, E.wake_phi), 0.5, 0.5),
    "forward_kl/wake_phi_doubly_reparameterized": Case(
        "wake-φ DReG", (B.iwae, E.wake_phi_doubly_reparameterized), 0.5, 0.5
    ),
    "miwae/groups_of_16": Case("MIWAE, K/M = 16", groups_of(GROUP_SIZE), 0.5, 0.5),
}


class Toy(NamedTuple):
    """The problem, in float64; everything is measured there."""

    model: vi.Model
    guide: vi.Guide
    params: vi.Params
    x: jax.Array


def toy(config: Config) -> Toy:
    """Draws data and sets the parameters a little away from the optimum."""
    exact, guide = vi.models.linear_gaussian(config.dim), vi.guides.affine(config.dim, config.dim, variance=2 / 3)
    data_key, noise_key = jax.random.split(jax.random.key(config.seed))
    sample = exact.model.sample
    assert sample is not None, "the toy can be sampled"
    keys = jax.random.split(data_key, config.num_data)
    x = jax.vmap(lambda key: sample(key, jnp.zeros(config.dim))[0])(keys)
    mu, A, b = vi.models.linear_gaussian_optimum(x)
    flat, unravel = ravel_pytree(vi.Params(mu, vi.guides.Affine(A, b)))
    return Toy(exact.model, guide, unravel(flat + config.offset * jax.random.normal(noise_key, flat.shape)), x)


def exact_cells(posed: Toy, num_samples: tuple[int, ...]) -> dict[tuple[str, int], Reference]:
    """Returns the expected value and gradient of every objective at every K, by quadrature in float64."""
    with jax.enable_x64(True):
        params, x = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), float), (posed.params, posed.x))

        def mean_over_data(one: Callable, params: vi.Params) -> Any:
            each = jax.lax.map(lambda x: one(params, x), x)
            return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), each)

        def value_and_grad(size: jax.Array, alpha: float) -> tuple[jax.Array, vi.Params]:
            one = functools.partial(exact_toy.renyi, num_samples=size, alpha=alpha)
            return jax.value_and_grad(functools.partial(mean_over_data, one))(params)

        def at_every(measure: Callable, sizes: list[int]) -> dict[int, Any]:
            stacked = jax.jit(lambda sizes: jax.lax.map(measure, sizes))(jnp.asarray(sizes))
            return {size: jax.tree.map(lambda leaf, i=i: leaf[i], stacked) for i, size in enumerate(sizes)}

        # The gradient for groups of K/M draws is that of IWAE at K/M.
        sizes = sorted({s for k in num_samples for s in (k, k // GROUPS, GROUP_SIZE) if s})
        iwae = at_every(lambda size: value_and_grad(size, 0.0), sizes)
        elbo = at_every(lambda size: value_and_grad(size, 1.0), [1])[1]
        wake = at_every(
            lambda size: mean_over_data(functools.partial(exact_toy.wake_phi, num_samples=size), params),
            list(num_samples),
        )
        found = {}
        for size in num_samples:
            value, gradient = iwae[size]
            for name in ("iwae/pathwise", "iwae/vimco", "iwae/doubly_reparameterized", "iwae/ovis"):
                found[name, size] = Reference(value, gradient)
            for name in ("forward_kl/wake_phi", "forward_kl/wake_phi_doubly_reparameterized"):
                found[name, size] = Reference(value, vi.Params(gradient.theta, wake[size]))
            found["elbo/pathwise", size] = Reference(*elbo)
            both = jax.tree.map(lambda a, b: BETA * a + (1 - BETA) * b, elbo, (value, gradient))
            found["ciwae/pathwise", size] = Reference(*both)
            found["miwae/groups_of_16", size] = Reference(*iwae[GROUP_SIZE])
            if size >= GROUPS:
                grouped = iwae[size // GROUPS]
                found["miwae/pathwise", size] = Reference(*grouped)
                found["piwae/pathwise", size] = Reference(value, vi.Params(gradient.theta, grouped[1].phi))
        return jax.tree.map(np.asarray, found)


def run(config: Config, track: progress.Track) -> Iterator[list[dict[str, Any]]]:
    """Yields a row per cell and block of parameters, then a row per slope."""
    posed = toy(config)
    truth = exact_cells(posed, config.num_samples)
    result = vi.sweep(
        jax.random.key(config.seed + 1),
        *posed,
        objectives={name: case.pair for name, case in CASES.items()},
        num_samples=config.num_samples,
        num_replicates=config.num_replicates,
        reference=lambda name, size: truth.get((name, size)),
        progress=progress.callback(track, "sweep"),
    )
    for name in CASES:
        yield [row for block in result.blocks for row in cell_rows(result, truth, name, block)]
    yield [slope_row(config, result, truth, name, block) for name in CASES for block in result.blocks]


def norms(truth: dict[tuple[str, int], Reference], name: str, block: str) -> dict[int, float]:
    """Returns ‖∇E L_K‖ of a block, by K; NaN where it is zero to rounding, as that of wake-φ is at K = 1."""
    found = {
        size: float(np.linalg.norm(ravel_pytree(getattr(reference.gradient, block))[0]))
        for (other, size), reference in truth.items()
        if other == name
    }
    return {size: norm if norm > 1e-12 else np.nan for size, norm in found.items()}


def cell_rows(result: vi.SweepResult, truth: dict, name: str, block: str) -> Iterator[dict[str, Any]]:
    """Yields what the sweep says of one objective and block at every K where it is defined."""
    o, b, q = result.objectives.index(name), result.blocks.index(block), result.quantities
    for size, norm in norms(truth, name, block).items():
        k = result.num_samples.index(size)
        if (name, size) in result.undefined or not q.variance.value[o, k, 0, b] > 0:
            continue
        measured, sd = ([float(end[o, k, 0, b]) for end in estimate] for estimate in (q.snr, q.standard_deviation))
        yield row(
            "cell",
            name,
            block,
            K=size,
            **intervals.columns("snr", (norm / sd[0], norm / sd[2], norm / sd[1])),
            **intervals.columns("measured", measured),
            coordinate_snr=float(q.coordinate_snr.value[o, k, 0, b]),
            floor=snr.coordinate_snr_floor(result.num_replicates[k]),
            largest_z=float(q.largest_z.value[o, k, 0, b]),
        )


def slope_row(config: Config, result: vi.SweepResult, truth: dict, name: str, block: str) -> dict[str, Any]:
    """Returns the slopes of an objective and block: their limit and their line, and the line of the measured signal."""
    exact = slopes.exact_signal(result, name, block, norms(truth, name, block))
    fitted = exact.num_samples >= config.smallest_fitted
    expanded = exact.where(exact.num_samples >= SMALLEST_GROUP * CASES[name].groups)
    measured = slopes.measured_signal(result, name, block).where(fitted)
    count = np.asarray(result.grouped[result.num_samples[-1]].count)
    return row(
        "slope",
        name,
        block,
        theory=getattr(CASES[name], block),
        **intervals.columns("limit", slopes.slope(expanded, count, slopes.equally, CORRECTIONS)),
        **intervals.columns("slope", slopes.slope(exact.where(fitted), count, slopes.equally)),
        **intervals.columns("slope_measured", slopes.slope(measured, count)),
        left_out=int(np.isnan(measured.log_value).sum()),
    )


COLUMNS = (
    *("K", "snr", "snr_low", "snr_high", "measured", "measured_low", "measured_high", "coordinate_snr", "floor"),
    *("largest_z", "theory", "limit", "limit_low", "limit_high", "slope", "slope_low", "slope_high"),
    *("slope_measured", "slope_measured_low", "slope_measured_high", "left_out"),
)


def row(part: str, objective: str, block: str, **values: float) -> dict[str, Any]:
    """Returns one row; what a part does not have is NaN, so that every row has the same columns."""
    return {"part": part, "objective": objective, "block": block, **dict.fromkeys(COLUMNS, np.nan), **values}


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the slopes beside those of theory.

    z is the largest of any coordinate's mean against the exact one; `out` counts the points that are not resolved.
    """
    found = rows.query("part == 'slope' and (block == 'phi' or objective in @OWN_THETA)")
    names = [CASES[name].label for name in found["objective"]]
    columns: dict[str, Any] = {"": names, "of": [GREEK[block] for block in found["block"]]}
    columns |= {"theory": found["theory"].map("{:+.1f}".format)}
    z = dict(pd.Series(rows.groupby(["objective", "block"])["largest_z"].max()).items())
    for column, title in (("limit", "K → ∞"), ("slope", "line")):
        columns |= {title + end: found[column + end] for end in ("", "_low", "_high")}
    columns["z"] = [f"{z[pair]:.1f}" for pair in zip(found["objective"], found["block"], strict=True)]
    columns |= {f"measured{end}": found[f"slope_measured{end}"] for end in ("", "_low", "_high")}
    columns["out"] = found["left_out"].astype(int)
    return pd.DataFrame(columns)


OWN_THETA = ("elbo/pathwise", "iwae/pathwise", "miwae/pathwise", "ciwae/pathwise", "miwae/groups_of_16")
"""The others have the θ̄ of IWAE, on the same draws."""

GREEK = {"theta": "θ", "phi": "φ"}

LOOKS: dict[str, dict[str, Any]] = {
    "elbo/pathwise": style.line("elbo/pathwise"),
    "iwae/pathwise": style.line("iwae/pathwise"),
    "iwae/vimco": style.line("iwae/vimco"),
    "miwae/pathwise": {"color": style.ORANGE, "marker": "P", "linestyle": style.DASHES[1]},
    "piwae/pathwise": {"color": style.SKY, "marker": "v", "linestyle": style.DASHES[2]},
    "ciwae/pathwise": {"color": style.SKY, "marker": "X", "linestyle": "-"},
    "iwae/doubly_reparameterized": style.line("iwae/doubly_reparameterized"),
    "iwae/ovis": {"color": style.PURPLE, "marker": "v", "linestyle": style.DASHES[2]},
    "forward_kl/wake_phi": style.line("forward_kl/wake_phi"),
    "forward_kl/wake_phi_doubly_reparameterized": style.line("forward_kl/wake_phi_doubly_reparameterized"),
    "miwae/groups_of_16": {"color": style.GREY, "marker": "D", "linestyle": style.DASHES[3]},
}
for _name, _look in LOOKS.items():
    _look["label"] = CASES[_name].label

FALLING = ("iwae/pathwise", "iwae/vimco", "miwae/pathwise")
RISING = tuple(
    name for name, case in CASES.items() if case.phi > 0 and name not in ("miwae/groups_of_16", "ciwae/pathwise")
)


def figure(rows: pd.DataFrame) -> Figure:
    """Draws the ratios of φ̄ that fall and that rise, what n gradients see of one that falls, and all slopes."""
    panels = style.panels(2, 2, height=2.6)
    cells = rows.query("part == 'cell'")
    curves(panels.axes[0, 0], cells, (*FALLING, "iwae/doubly_reparameterized"), "SNR of φ̄: what drowns")
    curves(panels.axes[0, 1], cells, (*RISING, "ciwae/pathwise", "miwae/groups_of_16"), "SNR of φ̄: what does not")
    naive(panels.axes[1, 0], cells)
    all_slopes(panels.axes[1, 1], rows.query("part == 'slope'"))
    for axes in panels.axes.flat[:3]:
        style.log2_axis(axes, cells["K"])
        axes.set_xlabel("samples K")
    style.legend(panels.figure, columns=4)
    return panels.figure


def curves(axes: Axes, cells: pd.DataFrame, names: tuple[str, ...], title: str) -> None:
    """Draws the ratio of the exact signal to the measured noise."""
    for name in names:
        here = cells.query(f"objective == '{name}' and block == 'phi'").dropna(subset=["snr"])
        style.band(axes, here, "K", "snr", **LOOKS[name])
    style.log_axis(axes)
    axes.set_title(title)


def naive(axes: Axes, cells: pd.DataFrame) -> None:
    """Draws the pathwise φ̄ of IWAE: its exact signal, what n gradients see of it, and |mean|/sd over its floor."""
    here = cells.query("objective == 'iwae/pathwise' and block == 'phi'").sort_values("K")
    axes.plot(here["K"], here["snr"], **LOOKS["iwae/pathwise"] | {"label": None, "marker": ""})
    seen, unseen = here.query("measured_low > 0"), here.query("measured_low == 0")
    look: dict[str, Any] = {"color": style.BLACK, "linestyle": "", "markersize": 3}
    style.bars(axes, seen, "K", "measured", marker="o", **look)
    axes.plot(unseen["K"], unseen["measured_high"], marker="v", fillstyle="none", markeredgewidth=0.8, **look)
    axes.plot(here["K"], here["coordinate_snr"], color=style.GREY, marker=".")
    axes.plot(here["K"], here["floor"], color=style.GREY, linestyle=style.DASHES[2])
    style.log_axis(axes)
    axes.set_title("φ̄ of IWAE, pathwise, as n gradients see it")
    first, last = here.iloc[0], here.iloc[-1]
    note = functools.partial(axes.annotate, textcoords="offset points", ha="right", fontsize=6.5)
    note("|mean|/sd", (last["K"], last["coordinate_snr"]), xytext=(0, 6), color=style.GREY)
    note("its floor √(2/πn)", (first["K"], first["floor"]), xytext=(64, -9), color=style.GREY)
    note("exact", (last["K"], last["snr"]), xytext=(-14, -2), color=style.VERMILLION)
    if len(unseen):
        note("not resolved", (last["K"], last["measured_high"]), xytext=(2, -10))


def all_slopes(axes: Axes, found: pd.DataFrame) -> None:
    """Draws the limit of every slope with its interval, and hollow that of a line, beside what theory says."""
    names = list(CASES)
    for block, color, shift in (("theta", style.BLUE, 0.18), ("phi", style.VERMILLION, -0.18)):
        here = found.query(f"block == '{block}'").set_index("objective").loc[names]
        y = np.arange(len(names))[::-1] + shift
        look: dict[str, Any] = {"color": color, "marker": "o" if block == "theta" else "D", "linestyle": ""}
        axes.plot(here["slope"], y, **look, fillstyle="none", markeredgewidth=0.6)
        axes.hlines(y, here["limit_low"], here["limit_high"], color=color)
        axes.plot(here["limit"], y, **look, markersize=2)
    for theory in (-0.5, 0.5):
        axes.axvspan(theory - 0.07, theory + 0.07, color=style.GREY, alpha=0.2, linewidth=0)
    axes.set_yticks(np.arange(len(names))[::-1], [CASES[name].label for name in names])
    for text, color, y in (("θ̄", style.BLUE, 1.6), ("φ̄", style.VERMILLION, 0.6)):
        axes.text(0, y, text, color=color, ha="center")
    axes.set_xticks([-0.5, 0, 0.5], ["−½", "0", "+½"])
    axes.set_title("slope of log SNR against log K")


if __name__ == "__main__":
    cli.main(run, figure, Config(), quick=QUICK, table=table, verdict=verdict)
