"""The interactive view of the sweeps: its data, its controls, and what stands there without any sweep."""

import functools
from collections.abc import Callable
from typing import Any

from experiments import sweep
from experiments.report import chart, sweeps
from experiments.report.markup import heading, tag, text
from experiments.report.runs import Run
from experiments.report.sections import Section, attempt

TITLE = "The sweeps: choose bound, estimators and quantity"
CONTROLS = (("view-set", "sweep"), ("view-bound", "bound"), ("view-quantity", "quantity"))

Maker = tuple[Run, Callable[[], dict[str, Any]]]
"""A run, and what makes a set of it."""


def datasets(sections: dict[str, Section]) -> list[dict[str, Any]]:
    """Returns the sets that can be chosen: the best run of each model's sweep, then the points of `sample_sweep`.

    A run whose rows cannot be read this way is a trouble of its section.
    """
    found = []
    for name, chosen in (("sweep", of_models), ("sample_sweep", of_points)):
        section = sections.get(name)
        if section is not None and section.run is not None:
            for run, make in chosen([section.run, *section.others]):
                found.append(attempt(f"the interactive view of {run.folder.name}", make, section.troubles))
    return [each for each in found if each is not None and each["quantities"]]


def of_models(runs: list[Run]) -> list[Maker]:
    """Returns the first run of each model of the zoo."""
    first: dict[str, Run] = {}
    for run in runs:
        first.setdefault(str(run.record["config"].get("model")), run)
    return [(run, functools.partial(of_model, run)) for run in first.values()]


def of_model(run: Run) -> dict[str, Any]:
    """Returns the set of one sweep."""
    rows = sweep.defined(run.rows)
    return sweeps.of_sweep(rows, sweep.looks(rows), note(run))


def of_points(runs: list[Run]) -> list[Maker]:
    """Returns each parameter point of the first run."""
    run = runs[0]
    points = run.rows["parameters"].unique() if "parameters" in run.rows else ["trained"]
    return [(run, functools.partial(sweeps.of_samples, run.rows, point, note(run))) for point in points]


def note(run: Run) -> str:
    """Returns where the numbers come from and what their intervals are."""
    count = run.rows["num_replicates"].max() if "num_replicates" in run.rows else "–"
    return (
        f"Run {run.folder.name} of {run.record['experiment']}, {run.kind} configuration: "
        f"95 % intervals over {count} replicates."
    )


def view(sets: list[dict[str, Any]]) -> str:
    """Returns the section; with nothing to choose, it names the command."""
    title = tag("h2", text(TITLE), id="interactive-title")
    if not sets:
        command = tag("code", "python -m experiments.sweep")
        return section(title, tag("p", f"There is no sweep to choose from yet: {command} makes one."))
    labels = (tag("label", text(label), tag("select", id=key), for_=key) for key, label in CONTROLS)
    body = (
        tag("p", "Every pair was measured on the same draws. A line is a pair, its band a 95 % interval."),
        tag("noscript", tag("p", "This view needs JavaScript; the figures and tables below do not.")),
        tag("div", interior("".join(labels)), id="view", hidden=""),
    )
    return section(title, *body)


def section(*content: str) -> str:
    """Returns the section around its content."""
    return tag("section", *content, id="interactive", aria_labelledby="interactive-title")


def interior(labels: str) -> str:
    """Returns controls, chart and table, in the order in which they are reached by keyboard."""
    series = tag("legend", "series") + tag("div", id="view-series", class_="series")
    rows = heading("The same values, ± half of the interval") + tag("thead", id="view-head")
    table = tag("table", rows, tag("tbody", id="view-body"), class_="values")
    return "".join(
        (
            tag("div", labels, class_="controls"),
            tag("fieldset", series),
            tag("h3", id="view-title"),
            tag("div", tag("div", id="view-plot"), id="view-chart", role="group", aria_label="Chart"),
            tag("p", id="view-point", class_="readout"),
            tag("p", id="view-status", role="status", class_="meta"),
            tag("div", table, class_="box", role="region", aria_label="Values of the chart", tabindex="0"),
            tag("p", id="view-note", class_="meta"),
        )
    )


def scripts(sets: list[dict[str, Any]], program: str) -> str:
    """Returns the data and the programs, if there is something to draw."""
    if not sets:
        return ""
    data = (("view-data", sets), ("view-specs", chart.specs()))
    written = [tag("script", chart.as_json(value), type="application/json", id=key) for key, value in data]
    return "".join((*written, tag("script", chart.script()), tag("script", program)))
