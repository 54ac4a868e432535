"""Does a VAE that goes on with the IWAE objective become an IWAE, and an IWAE that goes on with the ELBO a VAE?

Two autoencoders are trained to the end, one by the ELBO with one draw, one by IWAE with k. Each then goes on from where
it is, Adam's moments included and at the last learning rate, once by its own objective and once by the other's. The one
that keeps its objective is the control: what it gains, more steps bought. If the objective is what matters, and not
where it begins, the swapped ones end where the other began; units that the ELBO has switched off would have to come
back.

Burda, Grosse and Salakhutdinov (arXiv:1509.00519), section 5.2 and table 2. Their numbers as recalled, not read, for
MNIST with one layer and k = 50: VAE 86.76 nats with 19 active units, then IWAE 84.88 with 22; IWAE 84.78 with 25, then
VAE 86.02 with 23.

    python -m experiments.swap_objectives

Preset `digits`, k = 16, 12,000 steps and 6000 more, seed 0, float32, two shared CPU cores of a busy machine, 3 min 20 s
(2 min of one core), means of two seeds on 297 test images, gains ± half of a 95 % interval over images:

                       NLL      gain since the swap    −ELBO
    VAE                22.48                           22.88
      then VAE         22.42     0.06 ± 0.02           22.84
      then IWAE        22.18     0.29 ± 0.05           23.42
    IWAE               21.98                           24.10
      then IWAE        21.92     0.07 ± 0.02           24.09
      then VAE         22.19    −0.21 ± 0.05           22.89

The objective decides, not the beginning. Half as many steps, at the last rate, carry each about halfway from its
control to the other's: the VAE gains five times what more steps of its own bring, and the IWAE ends 0.27 nats above its
own. The ELBO gets its guide back at once: −ELBO ends 0.05 above that of the VAE that went on. The VAE that became an
IWAE is still rising. All 10 units stay active throughout, so that nothing is seen here of units switched off.

`--quick` takes half a minute.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import vi_jax as vi
from experiments import cli, deep_presets, deep_rows, deep_scores, progress, style
from experiments.deep_figure import mean_curve
from experiments.deep_generative import PresetName
from experiments.deep_training import (
    METHODS,
    Learned,
    Plan,
    Problem,
    initial,
    learn,
    make_plan,
    objective,
    problem,
    some,
)
from experiments.swap_verdict import verdict
from experiments.training_files import Files

THEN = " then "
ORDER = ("vae", "vae then vae", "vae then iwae", "iwae", "iwae then iwae", "iwae then vae")
"""Every run: two beginnings, each followed by the two ways on."""


@dataclasses.dataclass(frozen=True)
class Config:
    """What the rows depend on.

    Attributes:
      seed: of everything random.
      preset: data, networks, learning rates, batch size and length of training.
      num_samples: k of the IWAE objective.
      num_seeds: S, runs side by side.
      num_steps: before the swap; None takes the preset's.
      more_steps: after it; None takes half as many.
      num_evaluations: points of a learning curve before the swap, at most; half as many after it.
      num_draws: K of the test NLL.
      num_test: test images to score, a choice without replacement; None takes all.
    """

    seed: int = 0
    preset: PresetName = "digits"
    num_samples: int = 16
    num_seeds: int = 2
    num_steps: int | None = None
    more_steps: int | None = None
    num_evaluations: int = 24
    num_draws: int = 5000
    num_test: int | None = None


QUICK = Config(num_samples=5, num_steps=400, num_evaluations=4, num_draws=500, num_test=100)


class Stage(NamedTuple):
    """A run that is done: what it is called, what came of it, and what it is worth."""

    name: str
    learned: Learned
    found: list[deep_scores.Scores]


def run(config: Config, track: progress.Track, folder: Path) -> Iterator[list[dict[str, Any]]]:
    """Trains each beginning and its two ways on, and yields the rows of each of the six."""
    posed = problem(config.preset)
    train_key, more_key, score_key = jax.random.split(jax.random.key(config.seed), 3)
    plan, more = plans(config, posed)
    optimizer = optax.adam(posed.preset.rates(plan.num_steps), eps=posed.preset.epsilon)
    objectives = {method: objective(posed, method, size(config, method)) for method in ("vae", "iwae")}
    x = some(posed.data.test, config.num_test)

    def stage(name: str, state: vi.TrainState, plan: Plan) -> Stage:
        files = Files(folder / "training" / name.replace(" ", "-"), dataclasses.asdict(config))
        climbed = objectives[name.rpartition(THEN)[2]]
        learned = learn(posed, climbed, optimizer, state, plan, files=files, track=track, phase=title(name))
        found = deep_scores.scores_of_seeds(
            score_key, posed.model, posed.guide, learned.state.params, x, num_draws=config.num_draws
        )
        return Stage(name, learned, found)

    for first, second in (("vae", "iwae"), ("iwae", "vae")):
        begun = stage(first, initial(posed, optimizer, train_key, config.num_seeds), plan)
        yield list(rows_of(config, posed, begun, begun, 0))
        for then in (first, second):
            done = stage(first + THEN + then, anew(begun.learned.state, more_key), more)
            yield list(rows_of(config, posed, done, begun, plan.num_steps))


def plans(config: Config, posed: Problem) -> tuple[Plan, Plan]:
    """Returns the length of training before and after the swap.

    Evaluations after it are as far apart as before it: blocks of one length are one program.
    """
    num_steps, more_steps = config.num_steps, config.more_steps
    if num_steps is None:
        num_steps = deep_presets.default_steps(posed.preset, len(posed.data.train))
    plan = make_plan(num_steps, posed.preset.batch_size, config.num_evaluations)
    more_steps = max(1, num_steps // 2) if more_steps is None else more_steps
    return plan, make_plan(more_steps, plan.batch_size, max(1, more_steps // plan.every))


def anew(state: vi.TrainState, key: jax.Array) -> vi.TrainState:
    """Returns the states at step 0 of another run, with new keys; the optimizer's state stays, its rate with it."""
    return state._replace(step=jnp.zeros_like(state.step), key=jax.random.split(key, len(state.step)))


def size(config: Config, method: str) -> int:
    """Returns how many draws an objective takes."""
    return 1 if method == "vae" else config.num_samples


def rows_of(config: Config, posed: Problem, done: Stage, begun: Stage, before: int) -> Iterator[dict[str, Any]]:
    """Yields the results of a run, its gain over where it began, and its learning curve after `before` steps."""
    k = size(config, done.name.rpartition(THEN)[2])
    learned = done.learned
    steps = before + learned.curve["step"]
    yield from deep_rows.curve_rows(done.name, k, learned._replace(curve={**learned.curve, "step": steps}))
    yield from deep_rows.result_rows(
        done.name,
        k,
        done.found,
        begun.found,
        None,
        num_nonfinite=learned.num_nonfinite,
        seconds=learned.seconds,
        steps_per_second=learned.steps_per_second,
        num_steps=int(steps[-1]),
        num_draws=config.num_draws,
        protocol=posed.data.protocol,
    )


def title(name: str) -> str:
    """Returns what a run is called in the table and the figure."""
    return ", then ".join(METHODS[method].label for method in name.split(THEN))


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the mean over seeds of each of the six runs."""
    kept = rows.query("part == 'result' and seed == @deep_rows.MEAN")
    columns: dict[str, Any] = {"objective": [title(name) for name in kept["method"]], "k": kept["K"].astype(int)}
    columns |= {f"NLL{end}": kept[f"nll{end}"] for end in ("", "_low", "_high")}
    columns |= {f"gain{end}": kept[f"gain{end}"] for end in ("", "_low", "_high")}
    columns |= {"−ELBO": [f"{nats:.2f}" for nats in kept["minus_elbo"]], "active": kept["active_1"]}
    columns |= {"± seeds": [f"{spread:.2f}" for spread in kept["spread"]], "s": kept["seconds"].round()}
    return pd.DataFrame(columns)


COLOURS = {"vae": style.BLUE, "iwae": style.VERMILLION}


def look(name: str) -> dict[str, Any]:
    """Returns the keywords of a run: the colour is the present objective's, a dash tells that it was swapped."""
    first, _, then = name.rpartition(THEN)
    swapped = first not in ("", then)
    dash = style.DASHES[1] if swapped else style.DASHES[0]
    # A control goes on in the look of its beginning, and needs no name of its own.
    label = "_" if first == then else title(name)
    return {"label": label, "color": COLOURS[then], "linestyle": dash}


def figure(rows: pd.DataFrame) -> Figure:
    """Draws both bounds on test images through the swap, and what each way on gained."""
    drawn, axes = style.panels(1, 3, height=2.6)
    curves(axes[0, 0], rows.query("part == 'curve'"), "iwae", "IWAE bound of 50 draws, test")
    curves(axes[0, 1], rows.query("part == 'curve'"), "elbo", "ELBO, test")
    gains(axes[0, 2], rows.query("part == 'result' and seed == @deep_rows.MEAN"))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=4, handlelength=3)
    return drawn


def curves(axes: Axes, rows: pd.DataFrame, column: str, title: str) -> None:
    """Draws a bound against steps; what comes after the swap begins where the first stage ended."""
    ends, settled = {}, []
    for name in ORDER:
        steps, values = mean_curve(rows.query(f"method == '{name}'"), column)
        if THEN in name:
            begin = ends[name.partition(THEN)[0]]
            steps, values = np.append(begin[0], steps), np.append(begin[1], values)
        else:
            ends[name] = steps[-1], values[-1]
        axes.plot(steps, values, **look(name))
        settled.extend(values[steps >= ends[name.partition(THEN)[0]][0] / 4])
    axes.axvline(max(step for step, _ in ends.values()), color=style.GREY, linewidth=0.8)
    margin = 0.1 * (max(settled) - min(settled))
    axes.set_ylim(min(settled) - margin, max(settled) + margin)
    axes.set(title=title, xlabel="steps; grey: the swap", ylabel="nats")


def gains(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws how much less the NLL is at the end than at the swap, paired, with intervals over images."""
    kept = [row for row in rows.to_dict("records") if THEN in row["method"]]
    for place, row in zip(range(len(kept))[::-1], kept, strict=True):
        style_of = look(row["method"])
        axes.plot([row["gain_low"], row["gain_high"]], [place, place], color=style_of["color"], linewidth=1.1)
        axes.plot(row["gain"], place, color=style_of["color"], marker="o", zorder=3)
    axes.axvline(0, color=style.BLACK, linewidth=0.8)
    axes.set_yticks(range(len(kept))[::-1], [title(row["method"]) for row in kept])
    axes.set_ylim(-0.5, len(kept) - 0.5)
    axes.set(title="NLL: gain since the swap", xlabel="nats")


if __name__ == "__main__":
    cli.main(run, figure, Config(), quick=QUICK, table=table, verdict=verdict, call=cli.with_folder)
