"""Three ways to write one number: do they differ?

    ELBO = E_q[log p(x, z) − log q(z | x)]
         = E_q[log p(x | z)] − KL(q(z | x) ‖ p(z))       reconstruction − KL
         = E_q[log p(x, z)] + H(q(z | x))                energy + entropy
         = log p(x) − KL(q(z | x) ‖ p(z | x))

The first takes both terms from the draws (pathwise; sticking the landing, Roeder et al. 2017, arXiv:1703.09194), the
next two take one term in closed form (Kingma and Welling 2014, arXiv:1312.6114). Value and expected gradient are the
same; the variance is not, and no form has the least everywhere. On three problems, each at the start of training and at
its optimum, K draws per datum:

    toy      z ~ N(μ, I), x | z ~ N(z, I), q = N(Ax + b, 2/3 I): exact by closed forms
    table    eye colour and nationality, q categorical, leave-one-out: exact by summation over z
    VAE      a variational autoencoder of real 8×8 digits: no exact answer, so the reference is a run of ten times as
             many replicates, with its own error

    python -m experiments.elbo_decompositions

Seed 0, float64, K = 2, two shared CPU cores, 55 s. Every value within 1.7 standard errors of the exact one, every
coordinate of every gradient within 2.6 (VAE: 4.1, of 4812 coordinates), log p(x) = ELBO + KL to 4e-16. Variance of φ̄:

                       log p/q    STL    recon. − KL    energy + H
    toy                   9.64    0.60          2.41          9.64     in the ratio 16 : 1 : 4 : 16, exactly
    table, start / end   0.250, 0.080   0.134, 0.100   0.250, 0.148
    VAE, start        1387 ± 180  1249 ± 180    5.05 ± 0.09  1387 ± 180
    VAE, trained          63.9   12.5          43.3          63.9

So the closed-form KL wins while q is far from the posterior, and the form that takes nothing in closed form, with its
score term dropped, wins near it: there log p and log q cancel draw by draw. Energy + entropy has the same φ̄ as log p/q
for a Gaussian q, whose log q is, draw by draw, its entropy plus noise without φ. θ̄ gains only where the prior has
parameters: in the toy it loses all its noise. `--quick` (fewer replicates and steps) takes as long: it is compilation.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from jax.flatten_util import ravel_pytree
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import vi_jax as vi
from experiments import cli, intervals, progress, style
from experiments.decomposition_verdict import verdict
from vi_jax.data import binarize, digits_split
from vi_jax.measurement import moments, snr

SAMPLED, DIVERGENCE, ENTROPY = "log p/q", "recon. − KL", "energy + H"
# A coordinate without noise is compared to this: what rounding leaves of a gradient of order one in float64.
ROUNDING = 1e-10
REFERENCE_FACTOR = 10
ENDS = ("", "_low", "_high")


@dataclasses.dataclass(frozen=True)
class Config:
    """What the rows depend on.

    Attributes:
      seed: of everything random.
      num_replicates: R, gradients per form.
      num_samples: K draws per datum, at least 2, which leave-one-out needs.
      num_steps: of Adam on the ELBO, which bring the table's guide and the VAE to their optimum.
      toy_dim: D of the toy.
    """

    seed: int = 0
    num_replicates: int = 4000
    num_samples: int = 2
    num_steps: int = 5000
    toy_dim: int = 4


QUICK = Config(num_replicates=400, num_steps=500)


class Exact(NamedTuple):
    """What the estimates are compared with, for one batch: the ELBO, its gradient, and their standard errors."""

    elbo: Any
    gradient: Any
    elbo_error: Any = 0.0
    gradient_error: Any = 0.0


class Problem(NamedTuple):
    """One model, guide and batch.

    Attributes:
      model: the model.
      guide: the guide.
      x: the batch.
      points: parameters by name.
      forms: objectives by (form, estimator).
      exact: `params -> (mean ELBO, mean log p(x), mean KL(q ‖ p(z | x)))`, each computed without the others, or None.
    """

    model: vi.Model
    guide: vi.Guide
    x: jax.Array
    points: dict[str, vi.Params]
    forms: dict[tuple[str, str], vi.Objective]
    exact: Callable[[vi.Params], tuple[jax.Array, jax.Array, jax.Array]] | None


def run(config: Config, track: progress.Track) -> Iterator[list[dict[str, Any]]]:
    """Yields the rows of one problem at a time."""
    makers = {"toy": toy, "table": discrete, "VAE": autoencoder}
    for name in track(makers, "problems", label=str):
        with jax.enable_x64(True):
            key = jax.random.fold_in(jax.random.key(config.seed), list(makers).index(name))
            rows = [row | {"problem": name} for row in measure(key, config, makers[name](key, config))]
        yield rows


def toy(key: jax.Array, config: Config) -> Problem:
    """Returns the linear-Gaussian toy, with eight data, at zero and at its optimum."""
    dim = config.toy_dim
    exact, guide = vi.models.linear_gaussian(dim), vi.guides.affine(dim, dim, variance=2 / 3)
    x = jax.random.normal(key, (8, dim)) * 2**0.5 + 1
    mu, A, b = vi.models.linear_gaussian_optimum(x)
    start = vi.Params(jnp.zeros(dim), guide.init(key))
    points = {"start": start, "end": vi.Params(mu, vi.guides.Affine(A, b))}

    def answers(params: vi.Params) -> tuple[jax.Array, jax.Array, jax.Array]:
        elbo = jax.vmap(lambda x: vi.models.linear_gaussian_elbo(params.theta, params.phi.A, params.phi.b, x))(x)
        return means(exact, guide, params, x, elbo)

    return Problem(exact.model, guide, x, points, reparameterized_forms(exact.model, guide, config), answers)


def discrete(key: jax.Array, config: Config) -> Problem:
    """Returns the table with its blue and green eyes, at a uniform q and at the best q for both data."""
    exact, guide = vi.models.normalized_table(vi.models.EYE_COLOURS.cells), vi.guides.categorical(8)
    # Nobody Spanish has brown eyes in this table: there log p is −∞ and every form says so.
    x = jnp.array([1, 2])

    def answers(params: vi.Params) -> tuple[jax.Array, jax.Array, jax.Array]:
        def one(x: jax.Array) -> jax.Array:
            log_p, log_q = vi.exact.score_support(exact.model, guide, params, x)
            return jnp.sum(jnp.exp(log_q) * (log_p - log_q))

        return means(exact, guide, params, x, jax.vmap(one)(x))

    start = vi.Params(exact.model.init(key), guide.init(key))
    # E_q[mean_b log p(x_b, z) − log q] is largest at q ∝ the geometric mean of p(x_b, z).
    points = {"start": start, "end": start._replace(phi=start.theta[x].mean(axis=0))}
    rule = vi.estimators.leave_one_out
    forms = {
        (SAMPLED, "leave_one_out"): objective_of(exact.model, guide, rule, config),
        (DIVERGENCE, "leave_one_out"): vi.objectives.analytic_kl(
            exact.model, guide, rule, num_samples=config.num_samples
        ),
        (ENTROPY, "leave_one_out"): vi.objectives.analytic_entropy(
            exact.model, guide, rule, num_samples=config.num_samples
        ),
    }
    return Problem(exact.model, guide, x, points, forms, answers)


def means(
    exact: vi.models.ExactModel, guide: vi.Guide, params: vi.Params, x: jax.Array, elbo: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the means over the batch of ELBO, log p(x) and KL(q ‖ p(z | x)), the last by distrax's closed form."""
    of_distrax = guide._replace(support=None)
    divergence = jax.vmap(lambda x: vi.exact.reverse_kl(exact, of_distrax, params, x))(x)
    log_evidence = jax.vmap(exact.log_evidence, in_axes=(None, 0))(params.theta, x)
    return jnp.mean(elbo), jnp.mean(log_evidence), jnp.mean(divergence)


def autoencoder(key: jax.Array, config: Config) -> Problem:
    """Returns a VAE 64-32-6-32-64 of eight test digits, as initialised and as trained by the ELBO."""
    split = digits_split()
    model = vi.models.bernoulli_decoder(6, 64, hidden=(32,), mean=split.train.mean(axis=0))
    guide = vi.guides.gaussian_encoder(64, 6, hidden=(32,))
    keys = jax.random.split(key, 3)
    start = vi.Params(model.init(keys[0]), guide.init(keys[1]))
    objective = vi.value_and_grad(model, guide, vi.bounds.elbo, vi.estimators.pathwise, num_samples=1)
    state, _ = vi.fit(
        keys[2], objective, optax.adam(3e-3), start, split.train, num_steps=config.num_steps, batch_size=50,
        prepare=binarize,
    )  # fmt: skip
    points = {"start": start, "end": state.params}
    return Problem(model, guide, split.test[:8], points, reparameterized_forms(model, guide, config), None)


def reparameterized_forms(model: vi.Model, guide: vi.Guide, config: Config) -> dict[tuple[str, str], vi.Objective]:
    """Returns the four objectives of a guide whose draws carry a derivative."""
    # With a term in closed form, the plain derivative through the draws has no score term to add.
    plain = vi.estimators.sticking_the_landing
    return {
        (SAMPLED, "pathwise"): objective_of(model, guide, vi.estimators.pathwise, config),
        (SAMPLED, "STL"): objective_of(model, guide, vi.estimators.sticking_the_landing, config),
        (DIVERGENCE, "pathwise"): vi.objectives.analytic_kl(model, guide, plain, num_samples=config.num_samples),
        (ENTROPY, "pathwise"): vi.objectives.analytic_entropy(model, guide, plain, num_samples=config.num_samples),
    }


def objective_of(model: vi.Model, guide: vi.Guide, estimator: vi.Estimator, config: Config) -> vi.Objective:
    """Returns the ELBO with both terms from the draws."""
    return vi.value_and_grad(model, guide, vi.bounds.elbo, estimator, num_samples=config.num_samples)


def measure(key: jax.Array, config: Config, problem: Problem) -> Iterator[dict[str, Any]]:
    """Yields one row per point and form; all forms share their draws."""
    key, reference_key = jax.random.split(key)
    together = replicated(problem, config.num_replicates)
    for point, params in problem.points.items():
        grouped = together(key, params)
        exact, identity = compared_with(reference_key, config, problem, params)
        for form, cell in grouped.items():
            yield {"problem": "", "point": point, "form": form[0], "estimator": form[1]} | row(cell, exact, identity)


def replicated(problem: Problem, num_replicates: int) -> Callable[[jax.Array, vi.Params], dict]:
    """Returns (key, params) -> grouped moments of value and gradient, by form."""

    @jax.jit
    def grouped_moments(key: jax.Array, params: vi.Params) -> moments.Moments:
        def replicate(key: jax.Array) -> dict[tuple[str, str], dict[str, Any]]:
            return {form: one_gradient(objective(key, params, problem.x)) for form, objective in problem.forms.items()}

        return moments.replicate_moments(key, replicate, num_replicates=num_replicates, chunk_size=100)

    def by_form(key: jax.Array, params: vi.Params) -> dict:
        grouped = grouped_moments(key, params)
        return {form: moments.select(grouped, lambda draw, form=form: draw[form]) for form in problem.forms}

    return by_form


def one_gradient(result: tuple[jax.Array, vi.Params]) -> dict[str, Any]:
    """Returns the mean value, and θ̄ and φ̄ as one vector each."""
    values, gradient = result
    return {"value": jnp.mean(values), "gradient": vi.Params(*(ravel_pytree(part)[0] for part in gradient))}


def compared_with(
    key: jax.Array, config: Config, problem: Problem, params: vi.Params
) -> tuple[Exact, dict[str, float]]:
    """Returns the exact ELBO and gradient (or a long run's), and log p(x) = ELBO + KL where all three are known."""
    if problem.exact is None:
        of_reference = problem._replace(forms={(DIVERGENCE, ""): problem.forms[DIVERGENCE, "pathwise"]})
        cell = replicated(of_reference, REFERENCE_FACTOR * config.num_replicates)(key, params)[DIVERGENCE, ""]
        whole = moments.pool(cell)
        errors = jax.tree.map(lambda v: np.sqrt(v / whole.count), moments.variance(whole))
        exact = Exact(whole.mean["value"], whole.mean["gradient"], errors["value"], errors["gradient"])
        return exact, dict.fromkeys(("log_evidence", "kl", "residual"), np.nan)
    answers = problem.exact
    elbo, log_evidence, kl = (float(answer) for answer in answers(params))
    gradient = jax.grad(lambda params: answers(params)[0])(params)
    flat = vi.Params(*(ravel_pytree(part)[0] for part in gradient))
    identity = {"log_evidence": log_evidence, "kl": kl, "residual": log_evidence - elbo - kl}
    return Exact(elbo, flat, 0.0, vi.Params(0.0, 0.0)), identity


def row(cell: moments.Moments, exact: Exact, identity: dict[str, float]) -> dict[str, Any]:
    """Returns what was measured of one form, beside what it should be."""
    value = snr.mean_value(moments.select(cell, lambda draw: draw["value"]))
    gradient = moments.select(cell, lambda draw: draw["gradient"])
    variance = snr.gradient_variance(gradient)
    whole = moments.pool(cell)
    error = np.hypot(np.sqrt(moments.variance(whole)["value"] / whole.count), exact.elbo_error)
    z = np.concatenate(
        [*map(gradient_z, moments.pool(gradient).mean, errors_of(gradient), exact.gradient, exact.gradient_error)]
    )
    return {
        **intervals.columns("elbo", value),
        "exact": float(exact.elbo) if exact.elbo_error == 0 else np.nan,
        "reference": float(exact.elbo),
        "reference_error": float(exact.elbo_error),
        "z_score": float((value.value - exact.elbo) / max(error, ROUNDING)),
        **intervals.columns("variance_theta", variance.theta),
        **intervals.columns("variance_phi", variance.phi),
        "gradient_z_max": float(np.abs(z).max()),
        "gradient_z_rms": float(np.sqrt(np.mean(z**2))),
        "num_coordinates": z.size,
        **identity,
    }


def errors_of(gradient: moments.Moments) -> vi.Params:
    """Returns the standard error of every coordinate of the mean gradient."""
    whole = moments.pool(gradient)
    return jax.tree.map(lambda v: np.sqrt(v / whole.count), moments.variance(whole))


def gradient_z(mean: jax.Array, error: jax.Array, exact: jax.Array, exact_error: jax.Array) -> np.ndarray:
    """Returns the distance of each coordinate from the exact gradient, in standard errors of both."""
    return np.asarray(mean - exact) / np.maximum(np.hypot(error, exact_error), ROUNDING)


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns value, exact value and z-score, and the variance and the z-scores of the gradient."""
    estimator = rows["estimator"].replace({"pathwise": "", "leave_one_out": ""}).map(lambda name: name and f" ({name})")
    names = {"z_score": "z", "gradient_z_rms": "z of ∇", "variance_phi": "var φ̄"}
    labels = {"problem": rows["problem"] + ", " + rows["point"], "form": rows["form"] + estimator}
    kept = ["problem", "form", "elbo", "exact", *names]
    shown = pd.DataFrame(rows.assign(**labels)[kept]).rename(columns=names)
    rounded = {name: shown[name].round(2) for name in ("z", "z of ∇")}
    return shown.assign(**rounded, **{"var φ̄": [float(f"{value:.3g}") for value in shown["var φ̄"]]})


LOOKS = {"start": (style.VERMILLION, "s"), "end": (style.BLUE, "o")}


def figure(rows: pd.DataFrame) -> Figure:
    """Draws, for each problem, the distance of each form from the reference, and the variance of φ̄."""
    problems = list(rows["problem"].unique())
    panels = style.panels(2, len(problems), height=2.2)
    for column, problem in zip(panels.axes.T, problems, strict=True):
        here = rows.query(f"problem == '{problem}'")
        distances(column[0], here)
        column[0].set_title(problem)
        points(column[1], here, "variance_phi")
        style.log_axis(column[1])
        for axes in column:
            name_forms(axes, here)
    panels.axes[0, 0].set_ylabel("estimate − reference, nats")
    panels.axes[1, 0].set_ylabel("variance of φ̄")
    style.legend(panels.figure)
    return panels.figure


def points(axes: Axes, rows: pd.DataFrame, y: str) -> None:
    """Draws a column with its intervals, one mark per form, at both parameter points."""
    for side, (point, (color, marker)) in enumerate(LOOKS.items()):
        here = rows.query(f"point == '{point}'")
        at = np.arange(len(here)) + 0.24 * (side - 0.5)
        axes.vlines(at, here[f"{y}_low"], here[f"{y}_high"], color=color, linewidth=1.2)
        label = {"start": "at the start", "end": "at the optimum, or trained"}[point]
        axes.plot(at, here[y], linestyle="", color=color, marker=marker, label=label)


def distances(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws estimate minus reference, the exact value where there is one, with its interval."""
    shifted = {f"error{end}": rows[f"elbo{end}"] - rows["reference"] for end in ENDS}
    axes.axhline(0, color=style.BLACK, linewidth=0.8)
    points(axes, rows.assign(**shifted), "error")


def name_forms(axes: Axes, rows: pd.DataFrame) -> None:
    """Writes form and estimator under each mark."""
    start = rows.query("point == 'start'")
    short = {DIVERGENCE: "recon.\n− KL", ENTROPY: "energy\n+ H"}
    rules = ("LOO" if rule == "leave_one_out" else rule for rule in start["estimator"])
    names = [short.get(form, f"{form}\n{rule}") for form, rule in zip(start["form"], rules, strict=True)]
    axes.set_xticks(range(len(names)), names, fontsize=6.5)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.grid(axis="x", visible=False)


if __name__ == "__main__":
    cli.main(run, figure, Config(), quick=QUICK, table=table, verdict=verdict)
