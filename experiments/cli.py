"""The one command line of all experiments.

An experiment is a module with a docstring (its question), a frozen dataclass `Config` with a field `seed`, and

    run(config, track) -> iterator of blocks of rows      computes; no plotting, no files
    figure(rows) -> Figure                                reads rows; no computing
    table(rows) -> DataFrame                              optional: the few rows and columns to print at the end
    verdict(rows) -> list of `verdicts.Verdict`           the answer to the question, against exact answers

    if __name__ == "__main__":
        cli.main(run, figure, Config(), quick=Config(num_replicates=50), table=table, verdict=verdict)

`run` yields a block (a DataFrame, or a list of dicts) whenever one is finished; the block is on disk before the next is
begun, so that a run that is killed loses nothing it had reported. `figure`, `table` and `verdict` are given the rows as
read back from the file, in a run and in a later `--from` alike. Intervals are columns `x`, `x_low`, `x_high`.
"""

import contextlib
import dataclasses
import functools
import inspect
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import jax
import pandas as pd
import tyro
from matplotlib.figure import Figure
from rich.console import Console

from experiments import distributed, progress, provenance, recording, resuming, store, style, tables, verdicts

ConfigT = TypeVar("ConfigT")

CACHE_FLAG = "jax_compilation_cache_dir"
EPILOG = """
Compiled programs are kept between runs under $XDG_CACHE_HOME/vi_jax/xla (~/.cache if unset).
VI_JAX_CACHE=DIR keeps them in DIR; VI_JAX_CACHE=off compiles afresh.
"""


Run = Callable[[ConfigT, progress.Track], Iterator[store.Block]]


@dataclasses.dataclass(frozen=True)
class Options:
    """What every experiment takes.

    Attributes:
      quick: the reduced configuration, to see the whole path work. Other flags still override it.
      out: the folder that receives `<experiment>/<run>/`. Nothing in it is overwritten.
      redraw: draw the figure of this earlier run again from its rows, and compute nothing.
      resume: go on with this earlier run, in its folder and with its configuration, from its last checkpoint.
      keep: also leave the figure here, as PNG. An earlier one is replaced.
    """

    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    out: Path = Path("results")
    redraw: Annotated[Path | None, tyro.conf.arg(name="from", metavar="RUN_DIR")] = None
    resume: Annotated[Path | None, tyro.conf.arg(metavar="RUN_DIR")] = None
    keep: Annotated[Path | None, tyro.conf.arg(name="keep-figure", metavar="PNG")] = None


def without_folder(run: Run[ConfigT], config: ConfigT, track: progress.Track, folder: Path) -> Iterator[store.Block]:
    """Calls the `run(config, track)` of an experiment that writes nothing but its rows."""
    return run(config, track)


def with_folder(
    run: Callable[[ConfigT, progress.Track, Path], Iterator[store.Block]],
    config: ConfigT,
    track: progress.Track,
    folder: Path,
) -> Iterator[store.Block]:
    """Calls the `run(config, track, folder)` of an experiment that trains in its folder, as `training.train` does."""
    return run(config, track, folder)


def main(
    run: Callable[..., Iterator[store.Block]],
    figure: Callable[[pd.DataFrame], Figure],
    config: ConfigT,
    *,
    quick: ConfigT,
    table: Callable[[pd.DataFrame], pd.DataFrame] = lambda rows: rows,
    verdict: verdicts.Judge = lambda rows: [],
    call: Callable[..., Iterator[store.Block]] = without_folder,
    processes: Callable[[], contextlib.AbstractContextManager[None]] = distributed.alone,
    argv: Sequence[str] | None = None,
) -> Path:
    """Runs an experiment from the command line and returns the folder of its results.

    Args:
      run: `(config, track) -> iterator of blocks of rows`; what else it takes, `call` gives it.
      figure: `rows -> Figure`.
      config: the defaults. Every field is a flag.
      quick: the defaults under `--quick`.
      table: `rows -> DataFrame`, what to print at the end.
      verdict: `rows -> list of Verdict`, a line each below the table. One that fails does not change the exit status.
      call: `(run, config, track, folder) -> blocks`; `with_folder` for a run that keeps checkpoints, so that
        `--resume` can go on with it: all rows are reported anew, and what was trained is not trained again.
      processes: the context of the run; `distributed.together` for a run that several processes can share.
      argv: the arguments, without the program; those of the process if None.

    Raises:
      SystemExit: bad arguments (2), a file that cannot be written (1, with one line), or a signal: 130 after Ctrl-C,
        143 after a request to terminate. The rows reported so far are kept, and `provenance.json` says how it ended.
      TypeError: `config` is not a dataclass with a field `seed`, or `quick` is of another type.
    """
    module = sys.modules[run.__module__]
    name = experiment_name(module)
    argv = sys.argv[1:] if argv is None else argv
    check_configs(config, quick)

    def parsed(argv: Sequence[str]) -> tuple[Options, ConfigT]:
        return parse(name, module.__doc__ or "", quick if "--quick" in argv else config, argv)

    show = functools.partial(present, figure, table, verdict)
    options, chosen = parsed(argv)
    if options.redraw is not None:
        folder = options.redraw
        check_experiment(name, folder)
        shown = redrawn(show, folder)
    else:
        enable_compilation_cache(os.environ)
        with processes():
            earlier = {}
            if options.resume is not None:
                check_experiment(name, options.resume)
                resuming.check_alone(chosen, config)
                argv = resuming.arguments(options.resume)
                chosen = parsed(argv)[1]
                earlier = resuming.reopen(options.resume, chosen)
            folder = options.resume or distributed.from_first(
                lambda: store.create(options.out, name, provenance.stem(chosen))
            )
            if not distributed.is_first():
                follow(call(run, chosen, progress.silent, folder))
                return folder
            record = provenance.record(name, Path(inspect.getfile(run)), chosen, argv) | earlier
            with recording.recorded(folder, record), progress.display(sys.stderr) as track:
                for block in call(run, chosen, track, folder):
                    store.append(folder, store.as_frame(block))
                shown = show(folder)
    if options.keep is not None:
        store.copy(shown.paths[1], options.keep)
    close(shown)
    return folder


def follow(blocks: Iterator[store.Block]) -> None:
    """Computes what another process reports."""
    with recording.stop_signals():
        for _ in blocks:
            pass


def collect(run: Run[ConfigT], config: ConfigT) -> pd.DataFrame:
    """Returns all rows of a run, without files or progress: for tests and notebooks."""
    return pd.concat([store.as_frame(block) for block in run(config, progress.silent)], ignore_index=True)


def experiment_name(module: Any) -> str:
    """Returns the last name of the module, or of the package, that runs as `python -m experiments.<name>`."""
    spec = getattr(module, "__spec__", None)
    return spec.name.removesuffix(".__main__").rpartition(".")[2] if spec else Path(module.__file__).stem


def check_configs(config: Any, quick: Any) -> None:
    """Raises TypeError unless both are instances of one dataclass that has a seed and no flag of `Options`."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type) or type(config) is not type(quick):
        raise TypeError(
            f"config and quick must be instances of one dataclass: main(run, figure, Config(), "
            f"quick=Config(...)); got {config!r} and {quick!r}"
        )
    fields = {field.name for field in dataclasses.fields(config)}
    if "seed" not in fields:
        raise TypeError(f"{type(config).__name__} needs a field `seed: int = 0`; it has {sorted(fields)}")
    if taken := fields & {"quick", "out", "redraw", "from_", "resume", "keep", "keep_figure"}:
        raise TypeError(
            f"{type(config).__name__} must not have fields {sorted(taken)}: every experiment has such a flag"
        )


def parse(name: str, question: str, defaults: ConfigT, argv: Sequence[str]) -> tuple[Options, ConfigT]:
    """Reads the command line; every field of `defaults` is a flag."""
    arguments = dataclasses.make_dataclass(
        "Arguments", [("common", Options, Options()), ("experiment", type(defaults), defaults)]
    )
    parsed = tyro.cli(
        arguments,
        prog=f"python -m experiments.{name}",
        description=question + EPILOG,
        args=list(argv),
        config=(tyro.conf.OmitArgPrefixes,),
    )
    return parsed.common, parsed.experiment


def enable_compilation_cache(environ: Mapping[str, str]) -> Path | None:
    """Keeps compiled programs between processes and returns where; None if `VI_JAX_CACHE=off`.

    A folder that JAX was already given, by `JAX_COMPILATION_CACHE_DIR`, stays. A folder that cannot be written costs a
    warning from JAX and a compilation, never the run.
    """
    choice = environ.get("VI_JAX_CACHE", "")
    if choice == "off":
        jax.config.update("jax_enable_compilation_cache", False)
        return None
    if choice or provenance.jax_flag(CACHE_FLAG) is None:
        home = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update(CACHE_FLAG, str(choice or home / "vi_jax" / "xla"))
        # An experiment compiles many programs of a fraction of a second, which JAX would not keep by itself.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return Path(provenance.jax_flag(CACHE_FLAG))


def check_experiment(name: str, folder: Path) -> None:
    """Ends the program unless `folder` holds a run of this experiment."""
    found = store.read_provenance(folder)["experiment"]
    if found != name:
        raise SystemExit(f"error: {folder} holds a run of {found}: python -m experiments.{found} --from {folder}")


class Shown(NamedTuple):
    """What a run leaves: the table and the verdicts to print, and the files that the reader may want."""

    summary: pd.DataFrame
    judged: Sequence[verdicts.Verdict]
    paths: Sequence[Path]


def present(
    figure: Callable[[pd.DataFrame], Figure],
    table: Callable[[pd.DataFrame], pd.DataFrame],
    verdict: verdicts.Judge,
    folder: Path,
) -> Shown:
    """Draws, sums up and judges the rows of `folder`."""
    rows = store.read(folder)
    with style.context():
        drawn = figure(rows)
        with store.writing(folder / "figure.png"):
            drawings = style.save(drawn, folder)
    return Shown(table(rows), verdict(rows), [folder / "rows.csv", *drawings, folder / "provenance.json"])


def redrawn(show: Callable[[Path], Shown], folder: Path) -> Shown:
    """Presents an earlier run; rows of one that did not finish may be too few, which is one line.

    Raises:
      SystemExit: they are.
    """
    try:
        return show(folder)
    except Exception as error:
        record = store.read_provenance(folder)
        if record["status"] == "finished":
            raise
        again = f"python -m experiments.{record['experiment']}"
        raise SystemExit(
            f"error: {folder} did not finish ({record['status']}), and its rows are too few to be drawn and judged "
            f"({type(error).__name__}: {error}). Run it anew: {again}"
        ) from error


def close(shown: Shown) -> None:
    """Prints table, verdicts and the path of each file. A terminal without the letter ± shows a question mark."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    tables.show(shown.summary, Console())
    for judged in shown.judged:
        print(verdicts.line(judged))
    for path in shown.paths:
        print(path)
