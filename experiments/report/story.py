"""Which experiments there are, and in what order they are told.

The order, and what a reader is told before any run, is the table of `experiments/README.md`; that an experiment exists
is what `make experiments` goes by: a file of `experiments/` that defines `run()`.
"""

import re
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parents[1]


class Experiment(NamedTuple):
    """One step of the story.

    Attributes:
      name: as in `python -m experiments.<name>`.
      question: what it asks.
      shows: what its full run shows, in Markdown; empty where the table has no row.
      time: what its full run takes, in words; empty where the table has no row.
    """

    name: str
    question: str
    shows: str
    time: str


def experiments(folder: Path = FOLDER) -> list[Experiment]:
    """Returns every experiment of `folder`: those of its README in that order, then the others by name."""
    found = sorted(path.stem for path in folder.glob("*.py") if defines_run(path))
    told = {row.name: row for row in rows((folder / "README.md").read_text(encoding="utf-8"))}
    order = list(told)
    others = [name for name in found if name not in told]
    return [told[name] for name in order if name in found] + [Experiment(name, name, "", "") for name in others]


def defines_run(path: Path) -> bool:
    """Returns whether a file is an experiment, as `make experiments` decides."""
    return re.search(r"^def run\(", path.read_text(encoding="utf-8"), re.MULTILINE) is not None


def rows(text: str) -> list[Experiment]:
    """Returns the lines of the table `| question | command | what it shows | time | … |` in Markdown."""
    found = []
    for line in text.splitlines():
        cells = [cell.replace(r"\|", "|").strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        command = re.fullmatch(r"`python -m experiments\.(\w+)`", cells[1]) if len(cells) >= 4 else None
        if command:
            found.append(Experiment(command[1], cells[0], cells[2], cells[3]))
    return found
