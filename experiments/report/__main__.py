"""Writes one page with every experiment's figure, table and verdicts, and an interactive view of the sweeps.

    make report
    python -m experiments.report
    python -m experiments.report /scratch/results --out report.html --missing leave

Of each experiment the page shows one run: a finished one before others, the full configuration before the quick one,
then the newest. An experiment without a run is first run in its quick form. The page loads nothing: one file, to be
opened or sent.
"""

import dataclasses
import datetime
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from experiments import provenance, store
from experiments.report import missing, runs, sections, story
from experiments.report.page import page

RESULTS = Path("results")
REMEDY = "Free some space, or choose another file with --out FILE."
MISSING = {"run": missing.run_quick, "leave": missing.leave}


@dataclasses.dataclass(frozen=True)
class Options:
    """What the report is made of.

    Attributes:
      results: the folder that the experiments wrote to, their `--out`.
      out: the page; `report.html` in the folder of results if not given. An earlier one is replaced.
      missing: what to do about experiments without a run: run their quick forms, ten to twenty minutes for all of them
        on two cores, or leave them, with their commands on the page.
    """

    results: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RESULTS_DIR")] = RESULTS
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    missing: Literal["run", "leave"] = "run"


def main(argv: Sequence[str] | None = None) -> Path:
    """Writes the page and returns where.

    Raises:
      SystemExit: bad arguments (2); no such folder, a page that cannot be written, or Ctrl-C (1, with one line); a
        quick run that failed (1, after the page is written, which says so).
    """
    options = tyro.cli(Options, prog="python -m experiments.report", description=__doc__, args=argv)
    if not options.results.is_dir() and (options.results != RESULTS or options.results.exists()):
        raise SystemExit(f"error: {options.results} is no folder: give the one that the experiments wrote to (--out).")
    try:
        written, failed = write(options.results, options.out, story.experiments(), load, MISSING[options.missing])
    except KeyboardInterrupt:
        raise SystemExit("stopped: no page was written; an earlier one is as it was") from None
    print(f"{written} ({written.stat().st_size / 1e6:.1f} MB)")
    if failed:
        raise SystemExit(f"error: {', '.join(failed)} failed; the page says how.")
    return written


def load(name: str) -> Any:
    """Imports the module of an experiment.

    Raises:
      SystemExit: it has no `Config` or no `figure`.
    """
    module = importlib.import_module(f"experiments.{name}")
    if lacking := [part for part in ("Config", "figure") if not hasattr(module, part)]:
        raise SystemExit(f"error: experiments/{name}.py defines run() and no {lacking[0]}: see experiments/README.md.")
    return module


def write(
    results: Path,
    out: Path | None,
    experiments: Sequence[story.Experiment],
    load: Callable[[str], Any],
    fill: Callable[[Sequence[str], Path], dict[str, str]],
) -> tuple[Path, dict[str, str]]:
    """Writes the page whole or not at all; returns where, and the experiments whose quick run failed.

    Args:
      results: the folder of all results.
      out: the page, or None.
      experiments: in order.
      load: `name -> module`.
      fill: what to do about experiments without a run: `(names, results) -> {name: sentence}` of those that failed.
    """
    modules = {each.name: load(each.name) for each in experiments}
    absent = [name for name, module in modules.items() if not runs.found(results, name, module.Config())[0]]
    failed = fill(absent, results)
    built = [sections.build(each, modules[each.name], results) for each in experiments]
    for section in built:
        section.troubles.extend([failed[section.experiment.name]] if section.experiment.name in failed else [])
    commit = provenance.commit(Path(__file__))
    made = commit | {"time": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"}
    target = out or results / "report.html"
    text = page(built, results, made, runs.unknown(results, list(modules)))
    store.replace(target, text.encode(), REMEDY)
    return target, failed


if __name__ == "__main__":
    main(sys.argv[1:])
