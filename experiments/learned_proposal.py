"""Can q be learned?

Probabilistic PCA of real digits (61 pixels that vary): log p(x), p(z | x) and maximum likelihood are closed forms.

    z ~ N(0, I),   x | z ~ N(μ + W z, s² I),   q(z | x) = N(A (x − x̄) + b, diag(exp(2 log_scale)))

Turning W by an orthogonal R leaves p(x) as it is, and correlates the coordinates of p(z | x): q, whose coordinates are
independent, matches it at no turn only. At each of several turns q is learned three ways from one start, with the same
number of steps and draws, θ at maximum likelihood:

    ELBO         descends KL(q ‖ p(z | x)), whose optimum has variances 1/M_ii      (sticking the landing)
    IWAE         ascends E log (1/K) Σ w_k                                          (doubly reparameterized)
    forward KL   descends KL(p(z | x) ‖ q), optimum (M⁻¹)_ii, self-normalised       (wake-φ, doubly reparameterized)

What each buys is the relative variance of the weights, Var_q(w) / p(x)², which is K times that of p̂(x) = (1/K) Σ w_k,
and exp(2 CUBO₂ − 2 log p(x)) − 1 exactly: infinite where M − ½ diag(1/v) is not positive definite, v the variances of
q. Then θ is learned too, through each bound, and by the exact gradient of log p(x), against the closed form of maximum
likelihood. A mean-field q costs nothing there, as W may turn itself until the coordinates of p(z | x) are independent:
Lucas et al. 2019 (arXiv:1911.02469). IWAE: Burda et al. (arXiv:1509.00519); wake-φ: Bornschein and Bengio
(arXiv:1406.2751).

    python -m experiments.learned_proposal

Seed 0, θ and φ learned in float32 and judged in float64, two shared CPU cores, 2 min 30 s:

    least KL of an independent q       0      0.026   0.147   0.313   0.674 nats
    KL(q ‖ p) learned by the ELBO      7e-7   0.026   0.147   0.313   0.675
    Var(w) / p², ELBO                  1e-6   0.057   0.50    3.6     infinite (measured: 16, which means nothing)
    Var(w) / p², IWAE, K = 16          0.047  0.098   0.36    0.87    2.26     (least possible at the last turn: 2.07)
    Var(w) / p², forward KL            3e-9   0.056   0.39    1.28    10.6     (exact optimum there: 3.4)

With 16 self-normalised draws wake-φ under-covers where the weights vary. IWAE is slow where q can match, and best where
it cannot. log p̂ of 4000 draws is within 2.2 standard errors of log p(x) everywhere. θ ends below maximum likelihood
(6.725075 nats per digit, 5 latents) by 0.0008 nats through the ELBO, 0.0002 through IWAE and through wake-φ, means of
three seeds (worst 0.0016), and by rounding through the exact gradient. `--quick` (fewer turns, seeds and steps) takes
half a minute.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from jax.scipy.linalg import expm
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import vi_jax as vi
from experiments import cli, intervals, progress, style
from experiments.proposal_verdict import verdict
from vi_jax.data import digits
from vi_jax.training import init_state

BOUNDS = {
    "elbo": (vi.bounds.elbo, vi.estimators.sticking_the_landing),
    "iwae": (vi.bounds.iwae, vi.estimators.doubly_reparameterized),
    "forward_kl": (vi.bounds.iwae, vi.estimators.wake_phi_doubly_reparameterized),
}
OPTIMA = {"elbo": 1.0, "forward_kl": 0.0, "least variance": -1.0}
"""The orders α of the Rényi bound that each is the best mean-field Gaussian of: reverse KL, forward KL, CUBO₂."""


@dataclasses.dataclass(frozen=True)
class Config:
    """What the rows depend on.

    Attributes:
      seed: of everything random but the plane in which W is turned.
      num_seeds: runs of each training, side by side.
      num_samples: K, draws per datum in training.
      turns: angles by which W is turned away from its principal axes, in a fixed random plane of each pair.
      proposal_dim: q, latents where θ is known.
      proposal_steps: steps of Adam on φ.
      proposal_batch: digits per step.
      model_dim: q, latents where θ is learned.
      model_steps: steps of Adam on θ and φ, on all 1797 digits.
      model_rate: its learning rate, which falls to zero along a cosine.
      model_samples: K there.
      num_data: digits on which the learned q is judged.
      num_draws: K of the estimate of log p(x) there.
    """

    seed: int = 0
    num_seeds: int = 3
    num_samples: int = 16
    turns: tuple[float, ...] = (0.0, 0.1, 0.25, 0.4, 1.0)
    proposal_dim: int = 10
    proposal_steps: int = 1500
    proposal_batch: int = 64
    model_dim: int = 5
    model_steps: int = 3000
    model_rate: float = 0.01
    model_samples: int = 4
    num_data: int = 64
    num_draws: int = 4000


QUICK = Config(
    num_seeds=2,
    turns=(0.0, 0.2, 1.0),
    proposal_steps=600,
    proposal_batch=32,
    model_steps=300,
    model_rate=0.03,
    model_samples=2,
    num_data=32,
    num_draws=1000,
)


class Affine(NamedTuple):
    """φ: `A` `[q, D]`, `b` `[q]`, `log_scale` `[q]`."""

    A: jax.Array
    b: jax.Array
    log_scale: jax.Array


def affine_guide(latent_dim: int, center: jax.Array) -> vi.Guide:
    """Makes q(z | x) = N(A (x − center) + b, diag(exp(2 log_scale))), which holds the best independent q for PPCA."""

    def init(key: jax.Array) -> Affine:
        del key
        return Affine(jnp.zeros((latent_dim, len(center))), jnp.zeros(latent_dim), jnp.zeros(latent_dim))

    def distribution(phi: Affine, x: jax.Array) -> distrax.MultivariateNormalDiag:
        centred = x.astype(phi.A.dtype) - center.astype(phi.A.dtype)
        return distrax.MultivariateNormalDiag(phi.A @ centred + phi.b, jnp.exp(phi.log_scale))

    return vi.Guide(init, distribution)


class Problem(NamedTuple):
    """PPCA, the guide that learns its posterior, and the digits; made once, as programs are compiled per function."""

    exact: vi.models.ExactModel
    guide: vi.Guide
    images: jax.Array


def run(config: Config, track: progress.Track) -> Iterator[list[dict[str, Any]]]:
    """Yields the closed-form optima at all turns, then the learned q of each bound, then θ learned through each."""
    proposal_key, judge_key, model_key = jax.random.split(jax.random.key(config.seed), 3)
    images = varying_pixels()
    posed = problem(config.proposal_dim, images)
    yield optimum_rows(posed, np.union1d(config.turns, np.linspace(0, max(config.turns), 41)))
    judge = jax.jit(jax.vmap(lambda params, x: judged(posed, params, x), in_axes=(None, 0)))
    for name in track(BOUNDS, "learning q"):
        params = learn_proposals(proposal_key, config, posed, name)
        yield list(proposal_rows(judge_key, config, posed, name, params, judge))
    posed = problem(config.model_dim, images)
    likelihood = mean_log_likelihood(posed)
    for name in track([*BOUNDS, "maximum_likelihood"], "learning θ"):
        yield list(model_rows(model_key, config, posed, name, likelihood))


def problem(latent_dim: int, images: jax.Array) -> Problem:
    """Returns PPCA with `latent_dim` latents, and its guide."""
    data_dim = images.shape[1]
    return Problem(vi.models.ppca(latent_dim, data_dim), affine_guide(latent_dim, images.mean(axis=0)), images)


def varying_pixels() -> jax.Array:
    """Returns the digits without the three pixels that are always 0, `[1797, 61]`."""
    images = np.asarray(digits())
    return jnp.asarray(images[:, images.std(axis=0) > 0])


def best_theta(posed: Problem) -> vi.models.FactorAnalysis:
    """Returns maximum likelihood."""
    latent_dim = jax.eval_shape(posed.guide.init, jax.random.key(0)).b.size
    return vi.models.ppca_maximum_likelihood(posed.images, latent_dim)


def turned(theta: vi.models.FactorAnalysis, angle: jax.Array) -> vi.models.FactorAnalysis:
    """Returns θ with W R, R = exp(angle S / √q), S skew-symmetric and fixed: the same p(x), another p(z | x)."""
    latent_dim = theta.loadings.shape[1]
    noise = np.random.default_rng(0).normal(size=(latent_dim, latent_dim))
    skew = jnp.asarray((noise - noise.T) / np.sqrt(latent_dim), theta.mean.dtype)
    return theta._replace(loadings=theta.loadings @ expm(angle * skew))


def learn_proposals(key: jax.Array, config: Config, posed: Problem, name: str) -> vi.Params:
    """Returns (θ, φ) `[turns, seeds, ...]`, φ learned by one bound and θ fixed: all turns and seeds in one program."""
    exact, guide, images = posed
    objective = vi.value_and_grad(exact.model, guide, *BOUNDS[name], num_samples=config.num_samples)
    adam = optax.adam(optax.cosine_decay_schedule(0.02, config.proposal_steps))
    optimizer = optax.partition({"θ": optax.set_to_zero(), "φ": adam}, vi.Params("θ", "φ"))
    best = best_theta(posed)

    def learn(turn: jax.Array, key: jax.Array) -> vi.Params:
        start = vi.Params(turned(best, turn), guide.init(key))
        steps, batch = config.proposal_steps, config.proposal_batch
        return vi.fit(key, objective, optimizer, start, images, num_steps=steps, batch_size=batch)[0].params

    every = jax.vmap(jax.vmap(learn, in_axes=(None, 0)), in_axes=(0, None))
    return jax.jit(every)(jnp.asarray(config.turns), jax.random.split(key, config.num_seeds))


def proposal_rows(
    key: jax.Array, config: Config, posed: Problem, name: str, params: vi.Params, judge: Callable
) -> Iterator[dict[str, Any]]:
    """Yields what each q buys: its divergences and variance exactly, and what importance sampling sees of them."""
    exact, guide, images = posed
    spacing = len(images) // config.num_data
    with jax.enable_x64(True):
        params, x = double((params, images[::spacing][: config.num_data]))
        for turn, seed in np.ndindex(len(config.turns), config.num_seeds):
            here = jax.tree.map(lambda leaf, cell=(turn, seed): leaf[cell], params)
            draw_key = jax.random.fold_in(jax.random.fold_in(key, turn), seed)
            found = vi.log_evidence(draw_key, exact.model, guide, here, x, num_samples=config.num_draws)
            exactly = judge(here, x)
            ends = {column: float(jnp.mean(value)) for column, value in exactly.items() if column in COLUMNS}
            ends |= measured(found, exactly, config.num_draws)
            yield row("proposal", name, seed=seed, turn=config.turns[turn], **ends)


def judged(posed: Problem, params: vi.Params, x: jax.Array) -> dict[str, jax.Array]:
    """Returns what is exact about q for one digit: E_q[(p(z | x)/q)²] = exp(2 CUBO₂), the Rényi bound of order −1."""
    exact, guide, _ = posed
    q, p = guide.distribution(params.phi, x), exact.posterior(params.theta, x)
    pair = q.mean(), q.covariance(), p.mean(), p.covariance()
    return {
        "best_gap": vi.models.optimal_mean_field(params.theta, x).gap,
        "reverse_kl": vi.exact.reverse_kl(exact, guide, params, x),
        "forward_kl": vi.exact.forward_kl(exact, guide, params, x),
        "relative_variance": jnp.expm1(2 * vi.models.gaussian_renyi_bound(*pair, alpha=-1.0)),
        "log_evidence": exact.log_evidence(params.theta, x),
        # E_q[w⁴] is finite or it is not: where it is not, a measured variance has no standard error.
        "fourth_moment": vi.models.gaussian_renyi_bound(*pair, alpha=-3.0),
    }


def measured(found: vi.Evidence, exact: dict[str, jax.Array], num_draws: int) -> dict[str, float]:
    """Returns the estimates, averaged over digits, with 95 % intervals and z-scores."""
    error = found.log_evidence - exact["log_evidence"]
    of_error = jnp.sqrt(jnp.sum(found.standard_error**2)) / error.size
    variance = num_draws * found.standard_error**2
    # The digits differ in their exact variance too: that is no error of the estimate.
    deviation = variance - exact["relative_variance"]
    spread = jnp.where(jnp.isfinite(exact["relative_variance"]), deviation, variance)
    of_variance = jnp.std(spread, ddof=1) / np.sqrt(error.size)
    z = float(jnp.mean(deviation) / of_variance)
    return {
        **intervals.around("log_evidence_error", jnp.mean(error), of_error),
        "log_evidence_z": float(jnp.mean(error) / of_error),
        **intervals.around("measured_variance", jnp.mean(variance), of_variance),
        "measured_variance_z": z if np.all(np.isfinite(exact["fourth_moment"])) else np.nan,
        "ess_share": float(jnp.mean(found.effective_sample_size) / num_draws),
    }


def optimum_rows(posed: Problem, turns: np.ndarray) -> list[dict[str, Any]]:
    """Returns the closed-form best mean-field Gaussians at every turn: what learning is to reach."""
    with jax.enable_x64(True):
        posed = posed._replace(images=double(posed.images))
        found = jax.jit(jax.vmap(lambda theta, turn: best_mean_fields(posed, theta, turn), in_axes=(None, 0)))(
            best_theta(posed), jnp.asarray(turns)
        )
    return [
        row("optimum", name, turn=float(turn), **{column: float(value[i]) for column, value in columns.items()})
        for i, turn in enumerate(turns)
        for name, columns in found.items()
    ]


def best_mean_fields(posed: Problem, theta: vi.models.FactorAnalysis, turn: jax.Array) -> dict[str, dict[str, Any]]:
    """Returns the divergences and the variance of the mean-field Gaussian that is best for each order α."""
    theta = turned(theta, turn)
    p = posed.exact.posterior(theta, theta.mean)
    gap = vi.models.optimal_mean_field(theta, theta.mean).gap
    target = p.mean(), p.covariance()

    def of_order(alpha: float) -> dict[str, jax.Array]:
        q = p.mean(), jnp.diag(vi.models.mean_field_optimum(p.covariance(), alpha=alpha))
        return {
            "best_gap": gap,
            "reverse_kl": vi.models.gaussian_kl(*q, *target),
            "forward_kl": vi.models.gaussian_kl(*target, *q),
            "relative_variance": jnp.expm1(2 * vi.models.gaussian_renyi_bound(*q, *target, alpha=-1.0)),
        }

    return {name: of_order(alpha) for name, alpha in OPTIMA.items()}


def model_rows(
    key: jax.Array, config: Config, posed: Problem, name: str, likelihood: Callable
) -> Iterator[dict[str, Any]]:
    """Yields the exact mean log-likelihood of θ against the number of steps, for every seed."""
    exact, guide, images = posed
    if name in BOUNDS:
        objective = vi.value_and_grad(exact.model, guide, *BOUNDS[name], num_samples=config.model_samples)
    else:
        objective = vi.objectives.maximum_likelihood(exact)
    optimizer = optax.adam(optax.cosine_decay_schedule(config.model_rate, config.model_steps))
    block = max(1, config.model_steps // 10)

    def start(key: jax.Array) -> Any:
        theta, spread = exact.model.init(key), jnp.mean(jnp.var(images, axis=0))
        # Where the pixels are: at their mean, with loadings and noise of the size of their spread.
        theta = vi.models.FactorAnalysis(images.mean(axis=0), theta.loadings * jnp.sqrt(spread), jnp.log(spread))
        return init_state(key, optimizer, vi.Params(theta, guide.init(key)))

    advance = jax.jit(jax.vmap(lambda state: vi.fit(None, objective, optimizer, state, images, num_steps=block)[0]))
    state = jax.vmap(start)(jax.random.split(key, config.num_seeds))
    best = likelihood(best_theta(posed))
    for step in range(0, config.model_steps + 1, block):
        for seed in range(config.num_seeds):
            found = likelihood(jax.tree.map(lambda leaf, seed=seed: leaf[seed], state.params.theta))
            ends = {"log_likelihood": found, "best_log_likelihood": best, "shortfall": best - found}
            yield row("model", name, seed=seed, step=step, **ends)
        state = advance(state) if step < config.model_steps else state


def mean_log_likelihood(posed: Problem) -> Callable[[vi.models.FactorAnalysis], float]:
    """Returns θ -> the exact mean of log p(x) over all digits, in float64: in float32 it would be the noise in it."""
    mean = jax.jit(lambda theta, x: jnp.mean(jax.vmap(posed.exact.log_evidence, in_axes=(None, 0))(theta, x)))

    def evaluate(theta: vi.models.FactorAnalysis) -> float:
        with jax.enable_x64(True):
            return float(mean(*double((theta, posed.images))))

    return evaluate


def double(tree: Any) -> Any:
    """Returns the tree in float64; to be called where that is enabled."""
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), float), tree)


COLUMNS = (
    *("turn", "best_gap", "step", "reverse_kl", "forward_kl", "relative_variance"),
    *("measured_variance", "measured_variance_low", "measured_variance_high", "measured_variance_z", "ess_share"),
    *("log_evidence", "log_evidence_error", "log_evidence_error_low", "log_evidence_error_high", "log_evidence_z"),
    *("log_likelihood", "best_log_likelihood", "shortfall"),
)


def row(part: str, objective: str, *, seed: float = -1, **values: float) -> dict[str, Any]:
    """Returns one row; what a part does not measure is NaN, so that every row has the same columns."""
    return {"part": part, "objective": objective, "seed": seed, **dict.fromkeys(COLUMNS, np.nan), **values}


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns every estimate, averaged over seeds, beside its exact value; z is that of the seed furthest away."""
    cells = rows.query("part == 'proposal'").groupby(["objective", "turn"], sort=False)
    q = pd.DataFrame(cells.mean(numeric_only=True)).reset_index()
    z = pd.DataFrame(cells[["measured_variance_z", "log_evidence_z"]].agg(largest)).reset_index()
    forward = rows.query("part == 'optimum' and objective == 'forward_kl'")
    best = dict(zip(forward["turn"], forward["forward_kl"], strict=True))
    last = rows.query("part == 'model' and step == step.max()").groupby("objective", sort=False)
    theta = pd.DataFrame(last.mean(numeric_only=True)).reset_index()
    reverse_kl, forward_kl = (q.query(f"objective == '{name}'") for name in ("elbo", "forward_kl"))
    found = q["log_evidence"] + q["log_evidence_error"]
    kept = [
        lines("KL(q ‖ p)", reverse_kl, reverse_kl["reverse_kl"], reverse_kl["best_gap"]),
        lines("KL(p ‖ q)", forward_kl, forward_kl["forward_kl"], forward_kl["turn"].replace(best)),
        lines("Var(w) / p²", q, q["measured_variance"], q["relative_variance"], z["measured_variance_z"]),
        lines("log p̂(x)", q, found, q["log_evidence"], z["log_evidence_z"]),
        lines("log p(x) at θ", theta, theta["log_likelihood"], theta["best_log_likelihood"]),
    ]
    return pd.concat(kept, ignore_index=True)


def lines(what: str, cells: pd.DataFrame, estimate: Any, exact: Any, z: Any = np.nan) -> pd.DataFrame:
    """Returns one line of the table per cell."""
    names = [SHORT[name] for name in cells["objective"]]
    error = estimate - exact
    columns = {"what": what, "by": names, "turn": cells["turn"], "estimate": estimate, "exact": exact}
    return pd.DataFrame(columns | {"error": error.where(np.isfinite(error)), "z": z})


def largest(z: pd.Series) -> float:
    """Returns the z-score furthest from zero, NaN where there is none."""
    return z.loc[z.abs().idxmax()] if z.notna().any() else np.nan


SHORT = {"elbo": "ELBO", "iwae": "IWAE", "forward_kl": "fwd KL", "maximum_likelihood": "exact ML"}
LOOKS: dict[str, dict[str, Any]] = {name: style.line(name) | {"linestyle": ""} for name in BOUNDS}
CURVES: dict[str, dict[str, Any]] = {
    "elbo": {"label": "best for KL(q ‖ p)", "color": style.BLUE},
    "forward_kl": {"label": "best for KL(p ‖ q)", "color": style.GREEN},
    "least variance": {"label": "least variance", "color": style.GREY},
}


def figure(rows: pd.DataFrame) -> Figure:
    """Draws what each learned q is worth, beside the closed-form optima, and how near to maximum likelihood θ comes."""
    panels = style.panels(2, 3)
    first, second = panels.axes
    learned, best = rows.query("part == 'proposal'"), rows.query("part == 'optimum'")
    for axes, column in ((first[0], "reverse_kl"), (first[1], "forward_kl"), (first[2], "relative_variance")):
        against_the_gap(axes, learned, best, column)
    against_the_gap(second[0], learned, best.assign(ess_share=1 / (1 + best["relative_variance"])), "ess_share")
    infinite(first[2], learned)
    errors(second[1], learned)
    shortfalls(second[2], rows.query("part == 'model'"))
    first[0].set(title="KL(q ‖ p(z | x)), nats", ylim=(0, None))
    first[1].set(title="KL(p(z | x) ‖ q), nats", ylim=(0, None))
    first[2].set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
    first[2].set(title="Var(w) / p(x)², per draw", ylim=(0, 16))
    first[2].set_yticks(ticks := (0, 0.5, 1, 2, 4, 8, 12), map("{:g}".format, ticks))
    second[0].set(title="effective sample size / K", ylim=(0, 1.03))
    for axes in (*first, *second[:2]):
        axes.set_xlabel("least KL of an independent q, nats")
    style.legend(panels.figure, columns=4)
    return panels.figure


def against_the_gap(axes: Axes, learned: pd.DataFrame, best: pd.DataFrame, column: str) -> None:
    """Draws a column against the mean-field gap: closed-form optima as curves, what was learned as points."""
    for name, look in CURVES.items():
        here = best.query(f"objective == '{name}'").sort_values("best_gap")
        axes.plot(here["best_gap"], here[column], linestyle=style.DASHES[1], **look)
    for name, look in LOOKS.items():
        here = learned.query(f"objective == '{name}'")
        axes.plot(here["best_gap"], here[column], alpha=0.8, **look)


def infinite(axes: Axes, learned: pd.DataFrame) -> None:
    """Draws what is infinite at the upper edge, and says so."""
    here = learned.query("relative_variance == inf")
    for name, gap in zip(here["objective"], here["best_gap"], strict=True):
        look: dict[str, Any] = LOOKS[name] | {"label": None}
        axes.plot([gap], [16.0], clip_on=False, **look)
        axes.annotate("∞", (gap, 16.0), xytext=(-11, -6), textcoords="offset points")


def errors(axes: Axes, learned: pd.DataFrame) -> None:
    """Draws log p̂ − log p(x), averaged over digits, with 95 % intervals, the bounds side by side."""
    width = learned["best_gap"].max() / 60
    axes.axhline(0, color=style.BLACK, linewidth=0.8)
    for place, (name, look) in enumerate(LOOKS.items()):
        here = learned.query(f"objective == '{name}'")
        here = here.assign(best_gap=here["best_gap"] + width * (place - 1) + width / 4 * (here["seed"] - 1))
        style.bars(axes, here, "best_gap", "log_evidence_error", **look | {"markersize": 2.5})
    axes.set_title("log p̂(x) − log p(x), nats")


def shortfalls(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws how far the exact log-likelihood of θ is below its maximum, against steps: the mean of seeds, and all."""
    exact: dict[str, Any] = {
        "label": "exact gradient of log p(x)",
        "color": style.BLACK,
        "marker": ".",
        "linestyle": style.DASHES[2],
    }
    looks: dict[str, dict[str, Any]] = {name: style.line(name) | {"label": None} for name in BOUNDS} | {
        "maximum_likelihood": exact
    }
    for name, look in looks.items():
        here = rows.query(f"objective == '{name}'")
        ends = here.groupby("step")["shortfall"].agg(["mean", "min", "max"]).clip(lower=FLOOR)
        axes.fill_between(ends.index, ends["min"], ends["max"], color=look["color"], alpha=0.18, linewidth=0)
        axes.plot(ends.index, ends["mean"], **look)
    axes.set_yscale("log", subs=())
    axes.set(ylim=(FLOOR, None), xlabel="gradient steps", ylabel="nats per digit", title="log p(x) below its maximum")


FLOOR = 1e-5
"""Nats that no panel resolves: the exact gradient ends at rounding."""


if __name__ == "__main__":
    cli.main(run, figure, Config(), quick=QUICK, table=table, verdict=verdict)
