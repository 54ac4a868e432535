"""What does Jensen cost? Every bound on log p(x) from K draws, exactly, and the library's estimates of it.

    ELBO = E log w  ≤  IWAE_K = E log (1/K) Σ w_k  ≤  log p(x)  ≤  EUBO = E_{p(z|x)} log w,  CUBO₂ = ½ log E w²

on problems where the law of one weight w is known, so that each bound is a sum or a one-dimensional integral:

    toy, D     linear-Gaussian model at its optimum, log w − log p(x) = (D/2) log(4/3) − χ²_D / 6   (arXiv:1802.04537)
    3 states   discrete oracle: three values of z, every K-tuple can be enumerated
    lognormal  log w ~ N(−s²/2, s²), log p(x) = 0: the weights of a Gaussian q in many dimensions

K (log p(x) − IWAE_K) tends to Var(w) / 2 p(x)² (Burda et al., arXiv:1509.00519; Nowozin 2018), unless the variance is
so large that no K in reach is large: s = 3. The K-sample CUBO, ½ log (1/K) Σ w_k² (arXiv:1611.00328), starts as the
ELBO, crosses log p(x) and ends at CUBO₂, so it is a bound in neither direction. At K = 1 the gap is KL(q ‖ p(z | x)).

    python -m experiments.bound_tightness

Seed 0, float64, two shared CPU cores, 40 s. All estimates are within 3.2 standard errors of their exact values.

    toy, D = 20   ELBO −.456513, IWAE_1024 −.000443, EUBO +.376821, CUBO₂ +.322693 relative to log p(x); the K-sample
                  CUBO goes from −.456513 to +.321543 at K = 1024
    3 states      ELBO −1.665742, IWAE_16 −1.293201, log p(x) −1.272966, CUBO₂ −1.032346, EUBO −.952850
    rate          K · gap at K = 1024 against Var(w)/2p²: toy .0164/.0164, .0876/.0876, .4534/.4534; lognormal s = 1
                  .857/.859, s = 2 19.5/26.8, s = 3 222/4051

`--quick` (three values of K, fewer replicates and laws) takes under half a minute.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import vi_jax as vi
from experiments import cli, intervals, progress, style
from experiments.bound_verdict import verdict
from vi_jax import exact as enumerated
from vi_jax import models

CUBO = vi.bounds.cubo(2)
# The order α of the Rényi bound that each of them is.
BOUNDS: dict[str, tuple[vi.BoundFn, float]] = {
    "ELBO": (vi.bounds.elbo, 1.0),
    "IWAE": (vi.bounds.iwae, 0.0),
    "CUBO_K": (CUBO, -1.0),
}
ETA = (0.1, -0.4, 0.3)
LOOKS = {
    "ELBO": style.line("elbo"),
    "IWAE": style.line("iwae"),
    "CUBO_K": style.line("cubo") | {"label": "K-sample CUBO₂"},
    "CUBO": style.line("cubo") | {"label": "CUBO₂", "linestyle": style.DASHES[1], "marker": ""},
    "EUBO": style.line("eubo") | {"marker": "", "linestyle": style.DASHES[2]},
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
      seed: of every draw; the exact values have none.
      num_samples: the values of K.
      num_replicates: R, independent estimates of each K-sample bound, all K on the same draws.
      dims: D of the toy.
      scales: s of the lognormal weights.
    """

    seed: int = 0
    num_samples: tuple[int, ...] = (1, 2, 4, 8, 16, 64, 256, 1024)
    num_replicates: int = 4000
    dims: tuple[int, ...] = (1, 5, 20)
    scales: tuple[float, ...] = (0.5, 1.0, 2.0, 3.0)


QUICK = Config(num_samples=(1, 4, 64), num_replicates=300, dims=(1, 20), scales=(0.5, 3.0))


class Problem(NamedTuple):
    """A problem whose weights have a known law.

    Attributes:
      law: of log w.
      log_evidence: log p(x), nats, from the model and not from the law.
      reverse_kl: KL(q ‖ p(z | x)), by another route than the law.
      forward_kl: KL(p(z | x) ‖ q), likewise.
      cubo: CUBO₂, likewise.
      draw: `(key, K) -> log w [K]`, independent draws by the library.
      draw_posterior: `(key, K) -> log w [K]` at draws from the posterior.
    """

    law: models.WeightLaw
    log_evidence: float
    reverse_kl: float
    forward_kl: float
    cubo: float
    draw: Callable[[jax.Array, int], jax.Array]
    draw_posterior: Callable[[jax.Array, int], jax.Array]


def run(config: Config, track: progress.Track) -> Iterator[list[dict[str, Any]]]:
    """Yields the rows of one problem at a time."""
    makers: dict[str, Callable[[], Problem]] = {f"toy, D = {dim}": functools.partial(toy, dim) for dim in config.dims}
    makers["3 states"] = three_states
    makers |= {f"lognormal, s = {scale:g}": functools.partial(lognormal, scale) for scale in config.scales}
    keys = jax.random.split(jax.random.key(config.seed), len(makers))
    for key, (name, make) in zip(keys, track(makers.items(), "problem", label=lambda item: item[0]), strict=True):
        # Inside, so that the caller's precision is as it was whenever rows are handed over.
        with jax.enable_x64(True):
            rows = rows_of(key, name, make(), config)
        yield rows


# Problems.


def toy(dim: int) -> Problem:
    """Returns the linear-Gaussian toy at its optimum, where q = N(m, 2I/3) and p(z | x) = N(m, I/2)."""
    exact, guide = models.linear_gaussian(dim), vi.guides.affine(dim, dim, variance=2 / 3)
    x = jnp.asarray(np.linspace(-1, 1, dim) if dim > 1 else np.array([0.7]))
    # Of one datum the optimum in A and b is a family; this member has A = I/2, as for many data.
    mu = jnp.zeros(dim)
    phi = vi.guides.Affine(jnp.eye(dim) / 2, mu / 2)
    centre, q, p = jnp.zeros(dim), 2 / 3 * jnp.eye(dim), jnp.eye(dim) / 2
    log_p = exact.log_evidence(mu, x)
    law = models.linear_gaussian_weights(dim)
    return Problem(
        law._replace(log_w=law.log_w + log_p),
        float(log_p),
        float(log_p - models.linear_gaussian_elbo(mu, phi.A, phi.b, x)),
        float(models.gaussian_kl(centre, p, centre, q)),
        float(log_p + models.gaussian_renyi_bound(centre, q, centre, p, alpha=-1.0)),
        *drawers(exact, guide, vi.Params(mu, phi), x),
    )


def three_states() -> Problem:
    """Returns the discrete oracle: every value is a sum over z."""
    exact, guide = models.table(models.THREE_STATES), vi.guides.categorical(3)
    params, x = vi.Params(jnp.log(jnp.asarray(models.THREE_STATES)), jnp.array(ETA)), jnp.array(0)
    support = enumerated.score_support(exact.model, guide, params, x)
    log_w = support.log_joint - support.log_q
    return Problem(
        models.WeightLaw(log_w, support.log_q),
        float(exact.log_evidence(params.theta, x)),
        float(enumerated.reverse_kl(exact, guide, params, x)),
        float(enumerated.forward_kl(exact, guide, params, x)),
        float(jnp.log(jnp.sum(jnp.exp(2 * support.log_joint - support.log_q))) / 2),
        *drawers(exact, guide, params, x),
    )


def lognormal(scale: float) -> Problem:
    """Returns weights that are no model's in particular: log w ~ N(−s²/2, s²), under the posterior N(s²/2, s²)."""

    def draw(sign: int, key: jax.Array, num_samples: int) -> jax.Array:
        return scale * jax.random.normal(key, (num_samples,)) + sign * scale**2 / 2

    half = scale**2 / 2
    draws = functools.partial(draw, -1), functools.partial(draw, 1)
    return Problem(models.lognormal_weights(scale), 0.0, half, half, half, *draws)


def drawers(
    exact: models.ExactModel, guide: vi.Guide, params: vi.Params, x: jax.Array
) -> tuple[Callable[[jax.Array, int], jax.Array], Callable[[jax.Array, int], jax.Array]]:
    """Returns the two ways to draw log w of one datum: z from the guide, and z from the posterior."""

    def draw(key: jax.Array, num_samples: int) -> jax.Array:
        return vi.log_weights(key, exact.model, guide, params, x[None], num_samples=num_samples)[:, 0]

    def draw_posterior(key: jax.Array, num_samples: int) -> jax.Array:
        posterior, q = exact.posterior(params.theta, x), guide.distribution(params.phi, x)

        def log_weight(key: jax.Array) -> jax.Array:
            z = posterior.sample(seed=key)
            return exact.model.log_joint(params.theta, x, z) - q.log_prob(z)

        return jax.vmap(log_weight)(jax.random.split(key, num_samples))

    return draw, draw_posterior


# Rows.


def rows_of(key: jax.Array, name: str, problem: Problem, config: Config) -> list[dict[str, Any]]:
    """Returns one row per bound and K, and one for each of the two closed-form upper bounds."""
    counts = np.array(config.num_samples)
    estimates, eubo = jax.device_get(estimate(key, problem, tuple(config.num_samples), config.num_replicates))
    law, log_p = problem.law, problem.log_evidence
    variance = float(models.relative_variance(law))
    shared = {"problem": name, "log_evidence": log_p, "half_variance": variance / 2, "kl": problem.reverse_kl}
    rows = []
    for bound, (_, alpha) in BOUNDS.items():
        exact = np.asarray(models.expected_renyi(law, counts, alpha=alpha))
        for i, num_samples in enumerate(config.num_samples):
            gap = log_p - exact[i]
            row = shared | {"bound": bound, "num_samples": num_samples, "exact": exact[i], "gap": gap}
            rows.append(row | judged(estimates[bound][i], exact[i]) | {"rate": num_samples * gap})
    upper = {"EUBO": (log_p + problem.forward_kl, judged(eubo, log_p + problem.forward_kl)), "CUBO": (problem.cubo, {})}
    for bound, (exact_value, measured) in upper.items():
        row = shared | {"bound": bound, "num_samples": 1, "exact": exact_value, "gap": log_p - exact_value}
        rows.append(
            row
            | {"estimate": np.nan, "estimate_low": np.nan, "estimate_high": np.nan, "z": np.nan}
            | measured
            | {"rate": np.nan}
        )
    return rows


def estimate(
    key: jax.Array, problem: Problem, counts: tuple[int, ...], num_replicates: int
) -> tuple[dict[str, list[jax.Array]], jax.Array]:
    """Returns `[R]` estimates per bound and K, on shared draws, and `[R]` log-weights under the posterior."""
    draw_key, posterior_key = jax.random.split(key)

    @jax.jit
    def replicates(keys: jax.Array) -> dict[str, list[jax.Array]]:
        def one(key: jax.Array) -> dict[str, list[jax.Array]]:
            log_w = problem.draw(key, max(counts))
            return {name: [bound(log_w[:k]) for k in counts] for name, (bound, _) in BOUNDS.items()}

        return jax.lax.map(one, keys, batch_size=50)

    keys = jax.random.split(draw_key, num_replicates)
    posterior = jax.jit(problem.draw_posterior, static_argnums=1)
    return replicates(keys), posterior(posterior_key, num_replicates)


def judged(draws: np.ndarray, exact: float) -> dict[str, float]:
    """Returns the mean of independent draws, its 95 % interval, and its distance from `exact` in standard errors."""
    mean, error = float(draws.mean()), float(draws.std(ddof=1) / math.sqrt(draws.size))
    return intervals.around("estimate", mean, error) | {"z": (mean - exact) / error}


# What is shown.


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns ELBO, IWAE and CUBO at three values of K, the first being 1, and the upper bounds."""
    ks = sorted({int(k) for k in rows["num_samples"]})
    shown = [ks[0], ks[len(ks) // 2], ks[-1]]
    of_k = rows["bound"].isin(("IWAE", "CUBO_K"))
    # At K = 1 both are the ELBO.
    chosen = rows[(of_k & rows["num_samples"].isin(shown[1:])) | (~of_k & (rows["num_samples"] == 1))]
    of_k = of_k[chosen.index]
    columns = {
        "problem": chosen["problem"],
        "bound": chosen["bound"],
        "K": np.where(of_k, chosen["num_samples"].astype(str), "–"),
        "estimate": chosen["estimate"],
        "estimate_low": chosen["estimate_low"],
        "estimate_high": chosen["estimate_high"],
        "exact": [f"{value:.6f}" for value in chosen["exact"]],
        "z": [round(z, 2) for z in chosen["z"]],
        "K·gap": np.where(chosen["bound"] == "IWAE", chosen["rate"], np.nan),
        "Var/2p²": chosen["half_variance"],
    }
    return pd.DataFrame(columns)


def figure(rows: pd.DataFrame) -> Figure:
    """Draws all bounds on three problems, the gap of IWAE, and its rate."""
    panels = style.panels(2, 3, height=2.5)
    names = list(rows["problem"].unique())
    toys = [name for name in names if name.startswith("toy")]
    hardest = [name for name in names if name.startswith("lognormal")][-1]
    ladder(panels.axes[0, 0], rows, toys[-1])
    ladder(panels.axes[0, 1], rows, "3 states")
    ladder(panels.axes[0, 2], rows, hardest)
    panels.axes[0, 0].set_ylabel("bound − log p(x), nats")
    laws = style.cycle([name for name in names if name.startswith("lognormal")])
    others = style.cycle([name for name in names if not name.startswith("lognormal")])
    gaps(panels.axes[1, 0], rows, laws)
    rates(panels.axes[1, 1], rows, laws)
    rates(panels.axes[1, 2], rows, others)
    style.log_axis(panels.axes[1, 1])
    panels.axes[1, 1].set_ylabel("K · gap ÷ (Var(w) / 2p²)")
    for axes in panels.axes.flat:
        axes.set_xlabel("samples K")
    for axes, place in zip(panels.axes[1], ("lower left", "lower right", "upper right"), strict=True):
        axes.legend(loc=place, fontsize=6)
    # There the two upper bounds are one number, s²/2.
    panels.axes[0, 2].annotate("EUBO = CUBO₂", (0.5, 0.88), xycoords="axes fraction", ha="center", va="top")
    handles, labels = panels.axes[0, 0].get_legend_handles_labels()
    panels.figure.legend(handles, labels, loc="outside lower center", ncols=6)
    return panels.figure


def restyled(look: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Returns the look with some keywords replaced."""
    return look | changes


def ladder(axes: Axes, rows: pd.DataFrame, problem: str) -> None:
    """Draws exact bounds as lines, estimates with intervals as marks, all as distances from log p(x)."""
    here = rows.query(f"problem == '{problem}'")
    for name in BOUNDS:
        curve = here.query(f"bound == '{name}'")
        look = LOOKS[name]
        log_p = curve["log_evidence"]
        axes.plot(curve["num_samples"], curve["exact"] - log_p, color=look["color"])
        axes.vlines(
            curve["num_samples"], curve["estimate_low"] - log_p, curve["estimate_high"] - log_p, color=look["color"]
        )
        axes.plot(curve["num_samples"], curve["estimate"] - log_p, **restyled(look, linestyle=""))
    axes.axhline(0, color=style.BLACK, linewidth=0.8, label="log p(x)")
    for name in ("EUBO", "CUBO"):
        level = float(here.query(f"bound == '{name}'")["exact"].iloc[0] - here["log_evidence"].iloc[0])
        axes.axhline(level, **{k: v for k, v in LOOKS[name].items() if k != "marker"})
    style.log2_axis(axes, here["num_samples"])
    axes.set_title(problem)


def gaps(axes: Axes, rows: pd.DataFrame, looks: dict[str, dict[str, Any]]) -> None:
    """Draws log p(x) − IWAE_K with the asymptote Var(w)/2Kp² of each law."""
    for name, look in looks.items():
        here = rows.query(f"problem == '{name}' and bound == 'IWAE'")
        axes.plot(
            here["num_samples"], here["gap"], **restyled(look, label=name.removeprefix("lognormal, "), linestyle="-")
        )
        asymptote = here["half_variance"] / here["num_samples"]
        axes.plot(here["num_samples"], asymptote, color=look["color"], linestyle=style.DASHES[2], linewidth=0.9)
    style.log2_axis(axes, rows["num_samples"])
    axes.set_yscale("log")
    axes.set(ylabel="log p(x) − IWAE, nats", ylim=(2e-7, None))
    axes.set_title("lognormal; dotted: Var(w)/2Kp²")


def rates(axes: Axes, rows: pd.DataFrame, looks: dict[str, dict[str, Any]]) -> None:
    """Draws the gap as a fraction of its asymptote."""
    for name, look in looks.items():
        here = rows.query(f"problem == '{name}' and bound == 'IWAE'")
        label = name.removeprefix("lognormal, ")
        axes.plot(
            here["num_samples"], here["rate"] / here["half_variance"], **restyled(look, label=label, linestyle="-")
        )
    axes.axhline(1, color=style.BLACK, linewidth=0.8, linestyle=style.DASHES[1])
    style.log2_axis(axes, rows["num_samples"])
    axes.set_title("gap ÷ asymptote")


if __name__ == "__main__":
    cli.main(run, figure, Config(), quick=QUICK, table=table, verdict=verdict)
