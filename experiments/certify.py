"""Does every estimator do what it claims?

Each pair of bound and estimator of `experiments/claims.py`, in θ and in φ, against the exact gradient of its expected
bound:

    Gaussian guide   ∇E[L_K] by quadrature over the law of log w (`models.weight_laws`), differentiated in θ, m, log s;
                     the estimator by Monte Carlo, R replicates shared by all pairs: z-scores of each coordinate.
                     A divergence has no such law: each estimator less pathwise, draw by draw, against zero
    discrete guide   ∇E[L_K] and the estimator's mean and variance by summing over all 3^K tuples: no Monte Carlo at all

and each objective that is no such pair, of `experiments/certified_others.py`, by Monte Carlo against enumeration,
quadrature or a closed form: dependent draws, binary and relaxed latents, draws of a reference, two stochastic layers,
Markov chains.

Claims: "unbiased" for ∇E[L_K]; "as pathwise", the same where only the difference from pathwise is measured, with
pathwise judged by a quadrature over two draws (tests/bounds/test_divergences.py); "biased", as sticking the landing is
under a bound whose gradient a is not constant (Roeder et al. 2017); "forward KL" for wake-φ, whose φ̄ follows
−∇KL(p(z | x) ‖ q) with a self-normalisation bias of order 1/K. θ̄ is unbiased for ∇E[L_K] in every row. With about a
thousand z-scores, the line is at 5 standard errors.

    make certify

runs the default form, prints the matrix of pairs at the largest K, and writes docs/estimators.md, unless a row
is red.

Seed 0, float64, two busy CPU cores, 4 min: 817 rows, none red. `--quick`: one K for each guide of
the pairs, and of the other families one, with fewer replicates.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import pandas as pd

from experiments import certified_others as others
from experiments import certified_problems as problems
from experiments import cli, progress
from experiments.certified_others import LINE
from experiments.certified_views import PAIRS, figure, table, verdict
from experiments.claims import (
    BIASED,
    BOUNDS,
    DISCRETE,
    ESTIMATORS,
    FORWARD_KL,
    GAUSSIAN,
    PAIRED,
    UNBIASED,
    Claim,
    is_defined,
    kind_at,
)

ROUNDING = 1e-9
NOTHING = dict.fromkeys(
    ("z_theta", "error", "relative_variance", "relative_error", "variance_error", "claimed_order", "zero_variance"),
    np.nan,
)
"""What not every kind of row has."""
ORDER = (0.6, 1.5)
"""Where the order of wake-φ's bias in 1/K must lie, as measured between two K."""


@dataclasses.dataclass(frozen=True)
class Config:
    """What the rows depend on.

    Attributes:
      seed: of the draws.
      num_samples: K of the Gaussian guide.
      num_samples_discrete: K of the discrete one, 3^K tuples each.
      num_draws: of the Gaussian guide at every K, K R in all.
      subjects: of `certified_others.ROWS`, each at every K of its own.
      num_replicates: R of those.
    """

    seed: int = 0
    num_samples: tuple[int, ...] = (1, 8, 64)
    num_samples_discrete: tuple[int, ...] = (2, 4, 8)
    num_draws: int = 800_000
    subjects: tuple[str, ...] = tuple(others.ROWS)
    num_replicates: int = 100_000


QUICK = Config(
    num_samples=(8,), num_samples_discrete=(4,), num_draws=160_000, num_replicates=20_000, subjects=("relaxed",)
)


def run(config: Config, track: progress.Track) -> Iterator[list[dict[str, Any]]]:
    """Yields the rows of one guide, or one subject, and one K at a time."""
    cells = [("discrete", k) for k in config.num_samples_discrete] + [("Gaussian", k) for k in config.num_samples]
    cells += [(subject, k) for subject in config.subjects for k in others.values_of_k(subject)]
    before: dict[tuple[str, str, str], dict[str, Any]] = {}
    for family, num_samples in track(cells, "certify", label=lambda cell: f"{cell[0]}, K = {cell[1]}", cost=cost):
        with jax.enable_x64(True):
            key = jax.random.fold_in(jax.random.key(config.seed), num_samples)
            if family == "discrete":
                rows = discrete_rows(num_samples)
            elif family == "Gaussian":
                rows = gaussian_rows(key, num_samples, config.num_draws // num_samples)
            else:
                rows = others.measure(key, family, num_samples, config.num_replicates)
        judge = (with_order, is_green) if family in PAIRS else (others.with_order, others.is_green)
        yield list(judged(rows, before, *judge))


def judged(rows: list[dict[str, Any]], before: dict, with_order, is_green) -> Iterator[dict[str, Any]]:
    """Adds to each row the order of its bias since its last K, and whether it is green."""
    for row in rows:
        name = row["family"], row["bound"], row["estimator"]
        row = with_order(before.get(name), row)
        before[name] = row
        yield NOTHING | row | {"green": is_green(row)}


def cost(cell: tuple[str, int]) -> float:
    """Returns how long a cell takes, roughly, in seconds."""
    return {"discrete": 10.0, "Gaussian": 40.0 + cell[1]}.get(cell[0], 15.0)


def gaussian_rows(
    key: jax.Array, num_samples: int, num_replicates: int, claims: tuple[Claim, ...] = GAUSSIAN, estimators=ESTIMATORS
) -> list[dict[str, Any]]:
    """Returns one row per pair that is defined at this K: z-scores against the exact gradient, and the variance."""
    claims = tuple(claim for claim in claims if is_defined(claim, num_samples))
    measured = problems.measure_gaussian(key, claims, num_samples, num_replicates, estimators)
    gradients, rows = problems.exact_gaussian(bounds_of(claims), num_samples), []
    for claim, mean, variance, difference, noise in zip(claims, *measured[:4], strict=True):
        # Zero in the coordinates that are paired: there the difference from pathwise is what is measured.
        exact = gradients.get(claim.bound, np.zeros(3)) * signs(claim, estimators)
        if claim.kind == FORWARD_KL:
            exact[1:] = problems.exact_forward_kl()
        z = (difference - exact) / np.maximum(np.sqrt(noise / measured.num_replicates), ROUNDING)
        target = exact + mean - difference
        rows.append(
            of_claim("Gaussian", claim, num_samples)
            | {"z_theta": z[0], "z_phi": z[1:][np.argmax(np.abs(z[1:]))], "error": np.nan}
            | {"bias_phi": float(np.linalg.norm(mean[1:] - target[1:])), "exact": float(np.linalg.norm(target[1:]))}
            | {"bias_error": float(np.sqrt(noise[1:].sum() / measured.num_replicates))}
            | {"variance_phi": variance[1:].sum(), "num_replicates": measured.num_replicates}
        )
    return [
        row | {"relative_error": e} for row, e in zip(relative(rows, "pathwise"), errors(rows, measured), strict=True)
    ]


def errors(rows: list[dict[str, Any]], measured: problems.Measured) -> Iterator[float]:
    """Returns the standard error of each variance relative to pathwise's, from chunks that both share."""
    place = {row["bound"]: i for i, row in enumerate(rows) if row["estimator"] == "pathwise"}
    for row, noise in zip(rows, measured.noise.T, strict=True):
        unit = measured.noise[:, place[row["bound"]]] if row["bound"] in place else np.full_like(noise, np.nan)
        residual = (noise - noise.mean() / unit.mean() * unit) / unit.mean()
        yield float(residual.std(ddof=1) / np.sqrt(len(residual)))


def discrete_rows(
    num_samples: int, claims: tuple[Claim, ...] = DISCRETE, estimators=ESTIMATORS
) -> list[dict[str, Any]]:
    """Returns one row per pair that is defined at this K, all of it exact."""
    claims = tuple(claim for claim in claims if is_defined(claim, num_samples))
    gradients, rows = problems.exact_discrete(bounds_of(claims), num_samples), []
    for claim, found in zip(claims, problems.enumerate_discrete(claims, num_samples, estimators), strict=True):
        exact = gradients[claim.bound] * np.repeat(signs(claim, estimators)[:2], 3)
        if claim.kind == FORWARD_KL:
            exact[3:] = problems.exact_discrete_forward_kl()
        deviation = np.abs(found.mean - exact)
        # θ̄ is unbiased in every row; of φ̄ the deviation is the bias.
        error = deviation[:3].max() if claim.kind == FORWARD_KL else deviation.max()
        rows.append(
            of_claim("discrete", claim, num_samples)
            | {"z_theta": np.nan, "z_phi": np.nan, "error": error}
            | {"bias_phi": float(np.linalg.norm(deviation[3:])), "exact": float(np.linalg.norm(exact[3:]))}
            | {"bias_error": 0.0}
            | {"variance_phi": found.variance, "num_replicates": 3**num_samples}
        )
    return relative(rows, "score_function")


def signs(claim: Claim, estimators=ESTIMATORS) -> np.ndarray:
    """Returns what the gradient of the bound in θ, m and log s is multiplied by in the claim."""
    return np.array([1, estimators[claim.estimator].sign, estimators[claim.estimator].sign])


def bounds_of(claims: tuple[Claim, ...]) -> tuple[str, ...]:
    """Returns the name of each bound, once."""
    return tuple(dict.fromkeys(claim.bound for claim in claims))


def of_claim(family: str, claim: Claim, num_samples: int) -> dict[str, Any]:
    """Returns the columns that name a row."""
    names = {"family": family, "bound": claim.bound, "estimator": claim.estimator}
    kind = kind_at(claim, num_samples)
    if family == "Gaussian" and kind == UNBIASED and BOUNDS[claim.bound].expected is None:
        kind = PAIRED
    return names | {"num_samples": num_samples, "claim": kind}


def relative(rows: list[dict[str, Any]], to: str) -> list[dict[str, Any]]:
    """Adds the variance of φ̄ relative to that of one estimator of the same bound."""
    unit = {row["bound"]: row["variance_phi"] for row in rows if row["estimator"] == to}
    return [row | {"relative_variance": row["variance_phi"] / unit.get(row["bound"], np.nan)} for row in rows]


def with_order(before: Mapping[str, Any] | None, row: dict[str, Any]) -> dict[str, Any]:
    """Adds the order of wake-φ's bias in 1/K between the last K and this one, and the interval it may lie in.

    The interval is ± LINE standard errors of the two biases; NaN where there is no K of 2 or more to compare with.
    """
    if row["claim"] != FORWARD_KL or before is None or before["num_samples"] < 2:
        return row | {"order": np.nan, "order_low": np.nan, "order_high": np.nan}
    steps = np.log(row["num_samples"] / before["num_samples"])
    reach = LINE * np.hypot(*(each["bias_error"] / each["bias_phi"] for each in (before, row))) / steps
    order = np.log(before["bias_phi"] / row["bias_phi"]) / steps
    return row | {"order": order, "order_low": order - reach, "order_high": order + reach}


def is_green(row: Mapping[str, Any]) -> bool:
    """Whether a row is what it claims to be."""
    exact_sum = row["family"] == "discrete"
    theta = row["error"] < ROUNDING if exact_sum else abs(row["z_theta"]) < LINE
    agrees = row["error"] < ROUNDING if exact_sum else abs(row["z_phi"]) < LINE
    resolved = row["bias_phi"] > max(ROUNDING, LINE * row["bias_error"])
    # Of order one in 1/K, as far as the draws tell.
    in_order = row["order_low"] < ORDER[1] and row["order_high"] > ORDER[0]
    phi = {
        UNBIASED: agrees,
        PAIRED: agrees,
        BIASED: resolved,
        FORWARD_KL: in_order or (resolved and np.isnan(row["order"])),
    }
    return bool(theta and phi[row["claim"]])


def main() -> None:
    """Runs, and ends with status 1 if a row is red."""
    folder = cli.main(run, figure, Config(), quick=QUICK, table=table, verdict=verdict)
    rows = pd.read_csv(folder / "rows.csv")
    red = rows[~rows["green"]]
    print(f"{len(rows)} rows, {len(red)} red")
    if len(red):
        raise SystemExit(f"error: a claim fails: {red.iloc[0]['bound']} × {red.iloc[0]['estimator']}: see {folder}")


if __name__ == "__main__":
    main()
