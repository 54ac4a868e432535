"""What is p(x)?

The marginal likelihood is a sum over everything that could have produced x, and the posterior its parts:

    p(x) = Σ_z p(x, z) = Σ_z p(z) p(x | z),   p(z | x) = p(x, z) / p(x)

Twice: for a table, where z is one of eight nationalities and x one of three eye colours; and for images, where z is one
of ten components of a mixture of Bernoulli images (Bishop 2006, section 9.3.3) learned from real 8×8 digits by climbing
log p(x) itself. Sums are checked against the generative process: draw z ~ p(z), then x ~ p(x | z), and count. For
images nothing can be counted twice, but over such draws the posterior must average to the prior,

    E_{p(x)} p(z | x) = p(z)

The source of the table prints marginals .19, .37, .44 and a total of 1.00. Its cells are rounded: they sum to .19, .37,
.43 and .99, and that is what is reported; the draws come from the cells divided by their sum.

    python -m experiments.marginal_likelihood

Seed 0, float32, two shared CPU cores, 20 s: Italian 0.368, Dutch and Chinese 0.105 each given brown eyes, no Spaniard;
all 37 frequencies and averages within 2.7 standard errors of the sums; log p(x) of ten real digits between −36 and −20
nats. `--quick` (fewer draws and steps) takes as long: it is compilation.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import vi_jax as vi
from experiments import cli, intervals, progress, style
from experiments.marginal_verdict import verdict
from vi_jax.data import binarize, digits_split

TABLE = vi.models.EYE_COLOURS
PRINTED = {"brown": 0.19, "blue": 0.37, "green": 0.44}
PRINTED_TOTAL = 1.00
PIXELS = 8
EYES = {"brown": style.ORANGE, "blue": style.BLUE, "green": style.GREEN}


@dataclasses.dataclass(frozen=True)
class Config:
    """What the rows depend on.

    Attributes:
      seed: of everything random.
      num_draws: ancestral draws of each generative process.
      num_components: C, values of z in the mixture of images.
      num_steps: of Adam on log p(x), minibatches of 100.
      num_shown: draws and real digits to show.
    """

    seed: int = 0
    num_draws: int = 100_000
    num_components: int = 10
    num_steps: int = 3000
    num_shown: int = 10


QUICK = Config(num_draws=20_000, num_steps=500)


def run(config: Config, track: progress.Track) -> Iterator[list[dict[str, Any]]]:
    """Yields the marginals and posteriors of the table, then the mixture's prior, components, draws and posteriors."""
    table_key, fit_key, draw_key = jax.random.split(jax.random.key(config.seed), 3)
    yield list(printed_rows())
    yield list(table_rows(table_key, config.num_draws))
    images = digits_split()
    mixture = vi.models.bernoulli_mixture(config.num_components, PIXELS**2, mean=images.train.mean(axis=0))
    theta = learn(fit_key, mixture, images.train, config.num_steps, track)
    yield list(prior_rows(draw_key, mixture, theta, config.num_draws))
    yield list(image_rows(draw_key, mixture, theta, images.test[: config.num_shown]))


def row(part: str, x: str, z: str, exact: float = np.nan, **others: float) -> dict[str, Any]:
    """Returns one row; what it has no value for is NaN."""
    columns = ("estimate", "estimate_low", "estimate_high", "z_score", "printed", "pixel", "value")
    return {"part": part, "x": x, "z": z, "exact": exact} | dict.fromkeys(columns, np.nan) | others


def printed_rows() -> Iterator[dict[str, Any]]:
    """Yields each marginal as the sum of its cells, beside what the source prints."""
    exact = vi.models.table(TABLE.cells)
    theta = exact.model.init(jax.random.key(0))
    marginals = np.exp(jax.vmap(exact.log_evidence, in_axes=(None, 0))(theta, jnp.arange(len(TABLE.x))))
    for x, marginal in zip(TABLE.x, marginals, strict=True):
        yield row("Σ cells", x, "", marginal, printed=PRINTED[x])
    yield row("Σ cells", "any", "", marginals.sum(), printed=PRINTED_TOTAL)


def table_rows(key: jax.Array, num_draws: int) -> Iterator[dict[str, Any]]:
    """Yields p(x) and p(z | x) of the normalised table, each beside its frequency among ancestral draws."""
    exact = vi.models.normalized_table(TABLE.cells)
    theta = exact.model.init(key)
    x, z = ancestral(key, exact, theta, num_draws)
    counts = np.zeros((len(TABLE.x), len(TABLE.z)), int)
    np.add.at(counts, (np.asarray(x), np.asarray(z)), 1)
    for i, colour in enumerate(TABLE.x):
        marginal = float(jnp.exp(exact.log_evidence(theta, jnp.array(i))))
        yield row("p(x)", colour, "", marginal, **frequency(counts[i].sum(), num_draws, marginal))
        posterior = np.asarray(exact.posterior(theta, jnp.array(i)).probs)
        for name, probability, count in zip(TABLE.z, posterior, counts[i], strict=True):
            yield row("p(z | x)", colour, name, probability, **frequency(count, counts[i].sum(), probability))


def ancestral(key: jax.Array, exact: vi.models.ExactModel, theta: Any, num_draws: int) -> tuple[jax.Array, jax.Array]:
    """Returns draws (x, z): z from the prior, then x from the likelihood of that z."""
    sample = exact.model.sample
    assert sample is not None, "this model has no sampler"
    return jax.vmap(lambda key: sample(key, theta))(jax.random.split(key, num_draws))


def frequency(count: int, total: int, exact: float) -> dict[str, float]:
    """Returns a frequency with its interval, and its distance from the exact probability.

    The z-score is in standard errors of the exact probability; where that is 0 or 1, 0 for a frequency that is equal.
    """
    if total == 0:
        return intervals.share("estimate", 0, 0) | {"z_score": np.nan}
    share, error = count / total, (exact * (1 - exact) / total) ** 0.5
    z_score = 0.0 if share == exact else (share - exact) / max(error, np.finfo(float).tiny)
    return intervals.share("estimate", count, total) | {"z_score": z_score}


def learn(
    key: jax.Array, mixture: vi.models.ExactModel, images: jax.Array, num_steps: int, track: progress.Track
) -> vi.models.BernoulliMixture:
    """Climbs the mean of log p(x) over the training digits, binarized anew at every step."""
    objective = vi.objectives.maximum_likelihood(mixture)
    optimizer = optax.adam(optax.cosine_decay_schedule(0.05, num_steps))
    init_key, fit_key = jax.random.split(key)
    params = vi.Params(mixture.model.init(init_key), ())
    for _ in track([num_steps], "learning", label=lambda n: f"{n} steps"):
        state, _ = vi.fit(
            fit_key, objective, optimizer, params, images, num_steps=num_steps, batch_size=100, prepare=binarize
        )
    return state.params.theta


def prior_rows(
    key: jax.Array, mixture: vi.models.ExactModel, theta: vi.models.BernoulliMixture, num_draws: int
) -> Iterator[dict[str, Any]]:
    """Yields p(z), beside the mean of p(z | x) over x drawn from the model, and the mean image of each component."""

    @jax.jit
    def posteriors_of_draws(key: jax.Array) -> jax.Array:
        x, _ = ancestral(key, mixture, theta, num_draws)
        return jax.vmap(lambda x: mixture.posterior(theta, x).probs)(x)

    posteriors = np.asarray(posteriors_of_draws(key), np.float64)
    prior = np.asarray(jax.nn.softmax(theta.logits), np.float64)
    means, errors = posteriors.mean(axis=0), posteriors.std(axis=0, ddof=1) / num_draws**0.5
    for z, (exact, mean, error) in enumerate(zip(prior, means, errors, strict=True)):
        estimate = intervals.around("estimate", mean, error)
        yield row("E p(z | x)", "", str(z), exact, **estimate, z_score=(mean - exact) / error)
    yield from pixel_rows("component", jax.nn.sigmoid(theta.pixel_logits))


def image_rows(
    key: jax.Array, mixture: vi.models.ExactModel, theta: vi.models.BernoulliMixture, digits: jax.Array
) -> Iterator[dict[str, Any]]:
    """Yields ancestral draws, real digits, and for each digit log p(x) as a sum and the posterior of its component."""
    drawn, z = ancestral(key, mixture, theta, digits.shape[0])
    yield from pixel_rows("draw", drawn, z)
    yield from pixel_rows("digit", digits)
    log_evidence = jax.vmap(mixture.log_evidence, in_axes=(None, 0))(theta, digits)
    posterior = jax.vmap(lambda x: mixture.posterior(theta, x).probs)(digits)
    for i, (value, probabilities) in enumerate(zip(log_evidence, posterior, strict=True)):
        yield row("log p(x)", str(i), "", float(value))
        yield from (row("p(z | x) of a digit", str(i), str(z), float(p)) for z, p in enumerate(probabilities))


def pixel_rows(part: str, images: jax.Array, z: Sequence[Any] | jax.Array | None = None) -> Iterator[dict[str, Any]]:
    """Yields one row per pixel; x numbers the image, z is the component that it was drawn from."""
    for number, image in enumerate(np.asarray(images)):
        component = str(number) if z is None else str(int(z[number]))
        for pixel, value in enumerate(image):
            yield row(part, str(number), component, pixel=pixel, value=value)


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the sums and their checks, without pixels; `rounding` is what is printed minus what the cells say."""
    kept = rows.query("part in ['Σ cells', 'p(x)', 'p(z | x)', 'E p(z | x)']")
    columns = ["part", "x", "z", "exact", "estimate", "estimate_low", "estimate_high", "z_score"]
    return pd.DataFrame(kept[columns]).assign(rounding=(kept["printed"] - kept["exact"]).round(6))


def figure(rows: pd.DataFrame) -> Figure:
    """Draws the table's sums and posteriors above; components, ancestral draws and real digits below."""
    drawn = Figure(figsize=(style.TEXT_WIDTH, 6.0), layout="constrained")
    above, below = drawn.subfigures(2, 1, height_ratios=(1, 1.3), squeeze=False)[:, 0]
    left, right = above.subplots(1, 2, width_ratios=(1, 2.6))
    marginals(left, rows.query("part == 'Σ cells'"))
    posteriors(right, rows.query("part == 'p(z | x)'"))
    prior = rows.query("part == 'E p(z | x)'").set_index("z")["exact"]
    evidence = rows.query("part == 'log p(x)'").set_index("x")["exact"]
    lines = below.subplots(3, len(prior), squeeze=False)
    pictures(lines[0], rows.query("part == 'component'"), lambda x, z: f"z = {z}\np(z) = {prior[z]:.2f}")
    pictures(lines[1], rows.query("part == 'draw'"), lambda x, z: f"z = {z}")
    pictures(lines[2], rows.query("part == 'digit'"), lambda x, z: f"log p(x)\n= {evidence[x]:.1f}")
    for axes, name in zip(lines[:, 0], ("E[x | z]", "drawn from\np(z) p(x | z)", "real x"), strict=True):
        axes.set_ylabel(name, rotation="horizontal", ha="right", va="center")
    return drawn


def marginals(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws each sum of cells as a bar and the printed total as a mark."""
    axes.bar(rows["x"], rows["exact"], width=0.6, color=[*EYES.values(), style.GREY])
    axes.plot(
        rows["x"], rows["printed"], "_", color=style.BLACK, markersize=16, markeredgewidth=1.2, label="as printed"
    )
    for x, exact in zip(rows["x"], rows["exact"], strict=True):
        axes.annotate(f"{exact:.2f}", (x, exact), xytext=(0, 3), textcoords="offset points", ha="center")
    axes.set(ylim=(0, 1.25), ylabel="p(x)", title="p(x) = Σ_z p(x, z)")
    axes.grid(axis="x", visible=False)
    axes.legend(loc="upper left")


def posteriors(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws p(z | x) for each x as bars, and the frequency among ancestral draws with its interval."""
    for place, (colour, look) in enumerate(EYES.items()):
        here = rows.query(f"x == '{colour}'")
        at = np.arange(len(here)) + 0.27 * (place - 1)
        axes.bar(at, here["exact"], width=0.25, color=look, label=f"{colour} eyes")
        axes.vlines(at, here["estimate_low"], here["estimate_high"], color=style.BLACK, linewidth=0.8)
        axes.plot(at, here["estimate"], ".", color=style.BLACK, markersize=3, label="frequency among draws")
    names = rows["z"].unique()
    axes.set_xticks(range(len(names)), names)
    axes.set(ylabel="p(z | x)", title="p(z | x) = p(x, z) / p(x)")
    axes.grid(axis="x", visible=False)
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    axes.legend(unique.values(), unique.keys())


def pictures(line: Sequence[Axes], rows: pd.DataFrame, title: Callable[[str, str], str]) -> None:
    """Draws one image on each axes, as many as there are of both."""
    images = list(rows.groupby(rows["x"].astype(int)))
    for axes, (_, pixels) in zip(line, images, strict=False):
        picture = pixels.sort_values("pixel")["value"].to_numpy().reshape(PIXELS, PIXELS)
        style.picture(axes, picture)
        axes.set_title(title(pixels["x"].iloc[0], pixels["z"].iloc[0]), fontsize=6, loc="center")
    for axes in line[len(images) :]:
        axes.set_axis_off()


if __name__ == "__main__":
    cli.main(run, figure, Config(), quick=QUICK, table=table, verdict=verdict)
