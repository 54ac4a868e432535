"""The table of cases: objective × model × K × arithmetic, each built when its turn comes, and how to choose from it."""

import fnmatch
from collections.abc import Callable, Iterator
from typing import NamedTuple

from experiments.bench import arithmetic, images, regression, sweeps
from experiments.bench.arithmetic import Arithmetic
from experiments.bench.config import Config
from experiments.bench.programs import Case


class Entry(NamedTuple):
    """One case, not built yet: its parameters and data need memory only while it is measured.

    Attributes:
      name: as the table calls it.
      num_samples: K or S.
      arithmetic: what it is to be done in.
      build: makes its programs, the reference first.
    """

    name: str
    num_samples: int
    arithmetic: Arithmetic
    build: Callable[[Config, str, int, Arithmetic], Case]


def table(config: Config) -> Iterator[Entry]:
    """Yields all that a configuration asks for, in the order of the printed table.

    The networks alone are done in arithmetic that rounds: elsewhere matrix products are no part of the time.
    """
    full = arithmetic.full()
    kinds = arithmetic.chosen(config.arithmetic)
    if full in kinds:
        for s in config.regression_samples:
            yield Entry(f"W1 elbo S={s}", s, full, regression.fit)
        middle = config.regression_samples[len(config.regression_samples) // 2 :][:1]
        for s in middle:
            yield Entry(f"W1 {config.num_fits} fits S={s}", s, full, regression.many_fits)
    for kind in kinds:
        for bound, sizes in (("elbo", config.elbo_samples), ("iwae", config.iwae_samples)):
            for k in sizes:
                yield Entry(f"W2 {bound} K={k}", k, kind, images.GRADIENTS[bound])
    for kind in kinds:
        yield Entry(f"W3 evidence K={config.evidence_samples}", config.evidence_samples, kind, images.evidence)
    if full in kinds:
        if config.sweep_samples:
            yield Entry(f"W4 sweep K={config.sweep_samples[-1]}", config.sweep_samples[-1], full, sweeps.sweep)
        for k in config.long_samples:
            yield Entry(f"W5 long K={k}", k, full, images.long)


def chosen(config: Config) -> list[Entry]:
    """Returns the entries that the filters leave.

    Raises:
      SystemExit: they leave none.
    """
    everything = list(table(config))
    kept = [entry for entry in everything if matches(entry.name, config.cases)]
    kept = [entry for entry in kept if not config.samples or entry.num_samples in config.samples]
    if not kept:
        names = "', '".join(dict.fromkeys(entry.name for entry in everything))
        sizes = f" with K or S among {list(config.samples)}" if config.samples else ""
        raise SystemExit(f"error: no case matches {' or '.join(config.cases)}{sizes}: choose from '{names}'.")
    return kept


def build(entry: Entry, config: Config) -> Case:
    """Returns the case, with its reference and the programs that the filter leaves."""
    case = entry.build(config, entry.name, entry.num_samples, entry.arithmetic)
    reference, *others = case.programs
    return case._replace(programs=(reference, *(p for p in others if matches(p.name, config.programs))))


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Returns whether one of the patterns, of `*` and `?`, fits the whole name."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
