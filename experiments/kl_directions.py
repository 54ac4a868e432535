"""Which way round? KL(q ‖ p), KL(p ‖ q) and their relatives choose different q where q cannot be p.

    reverse KL   KL(q ‖ p) = E_q[log q − log p]     the ELBO, pathwise or sticking the landing
    α = ½        2 log E_q[w^½], maximised          Rényi bound, doubly reparameterized
    forward KL   KL(p ‖ q) = E_p[log p − log q]     draws from p itself
    CUBO₂        ½ log E_q[w²], minimised           χ² upper bound

(a) Two correlated unit Gaussians under a diagonal q. Variances: reverse KL 1/Λ_ii = 1 − ρ², α = ½ √(1 − ρ²), forward
KL Σ_ii = 1, CUBO₂ more still. Once by gradients from draws, once by gradients of the exact bound. Of α = ½ and CUBO₂
the draws have the optimum of the K-draw bound, which is another one at finite K.
(b) ½ N(−d, 1) + ½ N(d, 1) under one Gaussian. Reverse KL, from many starts, takes one mode at d = 4, and there is a
third optimum between them; at d = 2 there is one answer. Forward KL matches mean and variance: it covers both. Its
self-normalised gradient from few draws of q (wake-φ) does not: it ends below the variance that it started at and is
meant to keep.
(c) A skewed target (Gumbel) and one with heavy tails (Student's t, ν = 5).

Minka, "Divergence measures and message passing" (2005); Li and Turner (arXiv:1602.02311); Dieng et al.
(arXiv:1611.00328).

    python -m experiments.kl_directions

Seed 0, two shared CPU cores, 55 s. Variances, fits from draws in float32, exact ones in float64:

    ρ = 0.9    reverse KL 0.1897 (exact 0.19), α = ½ 0.4352 (0.43589), forward KL 0.9996 (1), CUBO₂ 1.429 (1.43374);
               exact gradients agree with the closed forms to 1e-12 at every ρ, draws to 1 %
    ±4         of 400 starts 49 % end at −4 and 46 % at +4 (N(±4.00, 1.0016), KL .693053), 4 % between: variance
               12.31 ± 0.13, still on its way to N(0, 12.06), KL 1.871; forward KL 16.988 ± 0.032 (exact 17); with
               weights .3/.7 the modes have KL 1.20383 and .35661
    ±2         every start ends at N(0, 4.190), KL .22651
    wake-φ     on ±4, started at the exact 17: K = 2 ends at 14.1, K = 8 at 16.7, K = 32 at 16.97
    shapes     Gumbel: reverse N(½, 1), KL .08106; forward variance 1.654 ± 0.009 (π²/6 = 1.645). Student t: 1.365 and
               1.66 ± 0.03 (1.363 and 5/3)

`--quick` (fewer steps, samples and restarts) takes about half a minute.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

import vi_jax as vi
from experiments import cli, intervals, progress
from experiments.kl_fits import (
    DEGREES,
    MIXTURES,
    adam,
    compared,
    exactly,
    fit,
    from_seeds,
    kl_on_line,
    log_normal,
    mixture,
    of_a_function,
    on_scalars,
    plain_steps,
    reverse_kl,
    single,
)
from experiments.kl_panels import figure
from experiments.kl_verdict import verdict
from vi_jax import models

ORDERS = {"reverse KL": 1.0, "α = ½": 0.5, "forward KL": 0.0, "CUBO₂": -1.0}


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
      seed: of everything random.
      correlations: ρ of part (a).
      num_steps: steps of every fit from draws.
      num_samples: K, draws per gradient of reverse and forward KL.
      num_samples_power: K of α = ½ and CUBO₂, whose optimum depends on it.
      num_seeds: fits per cell, from which the intervals come.
      num_restarts: starts of reverse KL on each mixture.
      num_samples_restart: K of each of them.
      num_samples_wake: the values of K of wake-φ.
    """

    seed: int = 0
    correlations: tuple[float, ...] = (0.5, 0.9, 0.99)
    num_steps: int = 2000
    num_samples: int = 512
    num_samples_power: int = 4096
    num_seeds: int = 4
    num_restarts: int = 400
    num_samples_restart: int = 32
    num_samples_wake: tuple[int, ...] = (2, 8, 32, 128, 512)


QUICK = Config(
    num_steps=600,
    num_samples=128,
    num_samples_power=512,
    num_restarts=60,
    num_samples_restart=16,
    num_samples_wake=(2, 32),
)


def run(config: Config, track: progress.Track) -> Iterator[list[dict[str, Any]]]:
    """Yields the rows of the three parts, one after the other."""
    parts = {"correlated": correlated, "two modes": two_modes, "wake-φ": undercovered, "shapes": shapes}
    keys = jax.random.split(jax.random.key(config.seed), len(parts))
    for key, (name, part) in zip(keys, track(parts.items(), "part", label=lambda item: item[0]), strict=True):
        # Inside, so that the caller's precision is as it was whenever rows are handed over.
        with jax.enable_x64(True):
            rows = part(key, config)
        yield [BLANK | {"part": name} | row for row in rows]


BLANK = {
    "part": "",
    "target": "",
    "objective": "",
    "method": "",
    "num_samples": 0,
    "mean": np.nan,
    "variance": np.nan,
    "variance_low": np.nan,
    "variance_high": np.nan,
    "exact": np.nan,
    "relative_error": np.nan,
    "kl": np.nan,
    "kl_exact": np.nan,
    "share": np.nan,
    "share_low": np.nan,
    "share_high": np.nan,
    "z": np.nan,
    "start_mean": np.nan,
    "start_scale": np.nan,
}


# (a) Correlated Gaussians.


def correlated(key: jax.Array, config: Config) -> list[dict[str, Any]]:
    """Returns one row per objective, method and correlation."""
    guide = vi.guides.mean_field(2)
    # Wide enough for CUBO₂ to be finite at every ρ: it is infinite where 2Λ − Λ_q is not positive definite.
    phi = vi.guides.MeanField(jnp.zeros(2), jnp.full(2, np.log(1.5)))
    covariances = jnp.array([[[1, rho], [rho, 1]] for rho in config.correlations])
    rows = []
    for name, alpha in ORDERS.items():
        exact = [float(models.mean_field_optimum(covariance, alpha=alpha)[0]) for covariance in covariances]
        optimizer = plain_steps(config.num_steps) if name == "forward KL" else adam(config.num_steps)

        def drawn(covariance: jax.Array, name: str = name) -> vi.Objective:
            return drawn_objective(name, covariance, guide, config)

        def known(covariance: jax.Array, name: str = name) -> vi.Objective:
            return exact_objective(name, covariance)

        by_draws = from_seeds(key, drawn, covariances, phi, optimizer, **seeds(config)).log_scale
        by_exact_gradient = exactly(known, covariances, phi).log_scale
        num_samples = config.num_samples_power if name in ("α = ½", "CUBO₂") else config.num_samples
        for i, rho in enumerate(config.correlations):
            cell = {"target": f"ρ = {rho}", "objective": name}
            draws = cell | {"method": "draws", "num_samples": num_samples}
            rows.append(draws | compared(np.exp(2 * by_draws[i]).mean(-1), exact[i]))
            learned = float(np.exp(2 * by_exact_gradient[i]).mean())
            error = {"exact": exact[i], "relative_error": learned / exact[i] - 1}
            rows.append(cell | {"method": "exact gradient", "variance": learned} | error)
    return rows


def seeds(config: Config) -> dict[str, int]:
    """Returns how long each fit is, and how many there are of it."""
    return {"num_steps": config.num_steps, "num_seeds": config.num_seeds}


def drawn_objective(name: str, covariance: jax.Array, guide: vi.Guide, config: Config) -> vi.Objective:
    """Returns the objective of this name on N(0, covariance), its gradients from draws."""
    exact = models.gaussian_target(np.zeros(2), covariance)
    many = config.num_samples_power
    dreg = vi.estimators.doubly_reparameterized
    makers = {
        "reverse KL": lambda: reverse_kl(exact, guide, config.num_samples),
        "α = ½": lambda: vi.value_and_grad(exact.model, guide, vi.bounds.renyi(0.5), dreg, num_samples=many),
        "forward KL": lambda: vi.objectives.exact_draws(exact, guide, num_samples=config.num_samples),
        "CUBO₂": lambda: vi.value_and_grad(
            exact.model, guide, vi.bounds.cubo(2), vi.estimators.minimized(dreg), num_samples=many
        ),
    }
    return makers[name]()


def exact_objective(name: str, covariance: jax.Array) -> vi.Objective:
    """Returns the objective of this name on N(0, covariance) in closed form."""

    def value(phi: vi.guides.MeanField) -> jax.Array:
        q, p = (phi.loc, jnp.diag(jnp.exp(2 * phi.log_scale))), (jnp.zeros(2), covariance)
        if name == "forward KL":
            return -models.gaussian_kl(*p, *q)
        bound = models.gaussian_renyi_bound(*q, *p, alpha=ORDERS[name])
        return -bound if name == "CUBO₂" else bound

    return of_a_function(value)


# (b) Two modes.


def two_modes(key: jax.Array, config: Config) -> list[dict[str, Any]]:
    """Returns the shares of restarts per optimum, the fits of forward KL, and one row per restart."""
    problems = tuple(jnp.array(column) for column in zip(*MIXTURES.values(), strict=True))
    start_key, restart_key, forward_key = jax.random.split(key, 3)
    optima = reverse_optima(problems)
    starts = random_starts(start_key, config.num_restarts)
    keys = jax.random.split(restart_key, config.num_restarts)
    guide = vi.guides.mean_field(1)

    @jax.jit
    def restart(problems: Any, starts: vi.guides.MeanField) -> tuple[Any, jax.Array]:
        def one(key: jax.Array, start: vi.guides.MeanField, problem: Any) -> tuple[Any, jax.Array]:
            objective = reverse_kl(mixture(problem), guide, config.num_samples_restart)
            # Large steps, as there is a plateau to cross between the modes.
            end = fit(key, objective, start, config.num_steps, adam(config.num_steps, largest=0.2))
            return end, kl_on_line(end, mixture(problem))

        return jax.vmap(jax.vmap(one, (0, 0, None)), (None, None, 0))(keys, starts, problems)

    with jax.enable_x64(False):
        ends, divergences = jax.device_get(restart(*single((problems, starts))))

    def forward_kl(problem: Any) -> vi.Objective:
        return vi.objectives.exact_draws(mixture(problem), guide, num_samples=config.num_samples)

    # From as wide as the modes are apart: a first step of gradient ascent from N(0, 1) would be a long one.
    wide = vi.guides.MeanField(jnp.zeros(1), jnp.full(1, np.log(5)))
    forward = from_seeds(forward_key, forward_kl, problems, wide, plain_steps(config.num_steps), **seeds(config))
    rows = []
    for i, (name, (distance, weight)) in enumerate(MIXTURES.items()):
        here = jax.tree.map(lambda leaf, i=i: leaf[i], ends)
        rows += shares(name, optima[name], here, divergences[i])
        moments = (1 - 2 * weight) * distance, 1 + 4 * weight * (1 - weight) * distance**2
        rows.append(
            forward_row(name, jax.tree.map(lambda leaf, i=i: leaf[i], forward), mixture((distance, weight)), *moments)
        )
        rows += [
            {
                "target": name,
                "objective": "reverse KL",
                "method": "restart",
                "start_mean": float(starts.loc[r, 0]),
                "start_scale": float(np.exp(starts.log_scale[r, 0])),
                "mean": here.loc[r, 0],
                "variance": np.exp(2 * here.log_scale[r, 0]),
                "kl": divergences[i][r],
            }
            for r in range(config.num_restarts)
        ]
    return rows


def random_starts(key: jax.Array, num: int) -> vi.guides.MeanField:
    """Draws means uniformly from −8 to 8 and standard deviations log-uniformly from ½ to 4."""
    mean_key, scale_key = jax.random.split(key)
    low, high = np.log(0.5), np.log(4)
    means = jax.random.uniform(mean_key, (num, 1), minval=-8.0, maxval=8.0)
    return vi.guides.MeanField(means, jax.random.uniform(scale_key, (num, 1), minval=low, maxval=high))


def reverse_optima(problems: Sequence[jax.Array]) -> dict[str, list[tuple[float, float, float]]]:
    """Returns the distinct (mean, variance, KL) that exact gradients reach from left, centre and right."""

    @jax.jit
    @jax.vmap
    def climb(*problem: jax.Array) -> Any:
        exact, key = mixture(problem), jax.random.key(0)
        starts = vi.guides.MeanField(
            jnp.array([[-1.0], [0], [1]]) * problem[0], jnp.log(jnp.array([[1.0], [3.5], [1]]))
        )
        objective = of_a_function(lambda phi: -kl_on_line(phi, exact))
        ends = jax.vmap(lambda phi: fit(key, objective, phi, 1500, adam(1500)))(starts)
        return ends, jax.vmap(lambda phi: kl_on_line(phi, exact))(ends)

    ends, divergences = jax.device_get(climb(*problems))
    found: dict[str, list[tuple[float, float, float]]] = {}
    for i, name in enumerate(MIXTURES):
        candidates = zip(ends.loc[i, :, 0], np.exp(2 * ends.log_scale[i, :, 0]), divergences[i], strict=True)
        found[name] = []
        for mean, variance, kl in candidates:
            if all(abs(mean - other[0]) > 0.1 for other in found[name]):
                found[name].append((float(mean), float(variance), float(kl)))
    return found


def shares(
    name: str, optima: list[tuple[float, float, float]], ends: vi.guides.MeanField, divergences: np.ndarray
) -> list[dict[str, Any]]:
    """Returns one row per optimum: how many restarts end there, and how near."""
    means, variances = ends.loc[:, 0], np.exp(2 * ends.log_scale[:, 0])
    distances = [(means - m) ** 2 + (np.log(variances) - np.log(v)) ** 2 for m, v, _ in optima]
    nearest = np.argmin(distances, axis=0)
    # A start on the plateau between unequal modes may need more steps than it was given: it is counted apart.
    arrived = divergences < np.array([kl for _, _, kl in optima])[nearest] + 0.05
    cell = {"target": name, "objective": "reverse KL"}
    rows = []
    for i, (mean, variance, kl) in enumerate(optima):
        here = (nearest == i) & arrived
        row = cell | {"method": f"mode at {round(mean, 2) + 0.0:+.2f}", "kl_exact": kl, "exact": variance, "mean": mean}
        row |= intervals.share("share", here.sum(), len(means))
        if here.any():
            row |= compared(variances[here], variance) | {"mean": means[here].mean(), "kl": divergences[here].mean()}
        if name == "±4" and abs(mean) > 1:
            row["z"] = split_z(int(here.sum()), int((arrived & (np.abs(means) > 1)).sum()))
        rows.append(row)
    if not arrived.all():
        rows.append(cell | {"method": "still moving"} | intervals.share("share", (~arrived).sum(), len(means)))
    return rows


def split_z(count: int, total: int) -> float:
    """Returns the z-score of a split that is even by symmetry: target and starts are, so half go to either mode."""
    return (count - total / 2) / np.sqrt(total / 4)


def forward_row(
    name: str, fits: vi.guides.MeanField, exact: models.ExactModel, mean: float, variance: float
) -> dict[str, Any]:
    """Returns the row of forward KL: learned against the moments, with KL(p ‖ q) at both."""
    grid = jnp.linspace(-60, 60, 2401)

    @jax.jit
    @jax.vmap
    def forward_kl(mean: jax.Array, variance: jax.Array) -> jax.Array:
        phi = vi.guides.MeanField(mean[None], jnp.log(variance)[None] / 2)
        return models.quadrature_kl(on_scalars(exact), log_normal(phi), grid)

    variances = np.exp(2 * fits.log_scale)
    learned = float(fits.loc.mean()), float(variances.mean())
    kl, kl_exact = np.asarray(forward_kl(*np.transpose([learned, (mean, variance)])))
    row = {"target": name, "objective": "forward KL", "method": "draws", "mean": learned[0]}
    return row | compared(variances, variance) | {"kl": kl, "kl_exact": kl_exact}


def undercovered(key: jax.Array, config: Config) -> list[dict[str, Any]]:
    """Returns where wake-φ ends from the exact answer of forward KL on the mixture at ±4, per K."""
    guide = vi.guides.mean_field(1)
    problems = tuple(jnp.array([value]) for value in MIXTURES["±4"])
    answer = vi.guides.MeanField(jnp.zeros(1), jnp.full(1, np.log(17) / 2))
    rows = []
    for num_samples in config.num_samples_wake:

        def objective(problem: Any, num_samples: int = num_samples) -> vi.Objective:
            model, estimator = mixture(problem).model, vi.estimators.wake_phi
            return vi.value_and_grad(model, guide, vi.bounds.iwae, estimator, num_samples=num_samples)

        many = seeds(config) | {"num_seeds": 32}
        fits = from_seeds(key, objective, problems, answer, plain_steps(config.num_steps), **many)
        row = {"target": "±4", "objective": "forward KL", "method": f"wake-φ, K = {num_samples}"}
        variances = np.exp(2 * fits.log_scale)
        rows.append(row | {"num_samples": num_samples, "mean": float(fits.loc.mean())} | compared(variances, 17.0))
    return rows


# (c) Skewed and heavy-tailed.


def shapes(key: jax.Array, config: Config) -> list[dict[str, Any]]:
    """Returns reverse and forward fits of a Gumbel and a Student-t target."""
    guide = vi.guides.mean_field(1)
    start = vi.guides.MeanField(jnp.zeros(1), jnp.zeros(1))
    euler = 0.5772156649015329
    student = models.student_t_target(DEGREES)
    best_on_student = exactly(lambda _: of_a_function(lambda phi: -kl_on_line(phi, student)), jnp.zeros(1), start)
    targets = {
        "Gumbel": (models.gumbel_target(), (euler, np.pi**2 / 6), vi.guides.MeanField(jnp.array([0.5]), jnp.zeros(1))),
        "Student t": (student, (0.0, DEGREES / (DEGREES - 2)), jax.tree.map(lambda leaf: leaf[0], best_on_student)),
    }
    rows = []
    for name, (exact, moments, best) in targets.items():

        def reverse(_: Any, exact: models.ExactModel = exact) -> vi.Objective:
            return reverse_kl(exact, guide, config.num_samples)

        def forward(_: Any, exact: models.ExactModel = exact) -> vi.Objective:
            return vi.objectives.exact_draws(exact, guide, num_samples=config.num_samples)

        unused = jnp.zeros(1)
        fitted = from_seeds(key, reverse, unused, start, adam(config.num_steps), **seeds(config))
        average = vi.guides.MeanField(fitted.loc.mean((0, 1)), fitted.log_scale.mean((0, 1)))
        row = {"target": name, "objective": "reverse KL", "method": "draws", "mean": float(average.loc[0])}
        row |= compared(np.exp(2 * fitted.log_scale), float(np.exp(2 * best.log_scale[0])))
        reverse_kl_of = jax.jit(lambda phi, exact=exact: kl_on_line(phi, exact))
        rows.append(row | {"kl": float(reverse_kl_of(average)), "kl_exact": float(reverse_kl_of(best))})
        matched = from_seeds(key, forward, unused, start, plain_steps(config.num_steps), **seeds(config))
        rows.append(forward_row(name, matched, exact, *moments))
    return rows


# What is shown.


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns every fit but the single restarts."""
    shown = rows.query("method != 'restart'")
    methods = [
        method.replace("exact gradient", "exact grad.")
        if np.isnan(share)
        else f"{100 * share:.0f} % {method.removeprefix('mode ')}"
        for method, share in zip(shown["method"], shown["share"], strict=True)
    ]
    columns = {"target": shown["target"], "by": shown["objective"].str.removesuffix(" KL"), "method": methods}
    columns |= {name: shown[name] for name in ("variance", "variance_low", "variance_high", "exact")}
    columns |= {"error %": [float(f"{100 * error:.1g}") for error in shown["relative_error"]]}
    return pd.DataFrame(columns | {"KL": shown["kl"], "exact KL": shown["kl_exact"]})


if __name__ == "__main__":
    cli.main(run, figure, Config(), quick=QUICK, table=table, verdict=verdict)
