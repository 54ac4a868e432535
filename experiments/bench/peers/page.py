"""Puts the tables of runs on a page: `python -m experiments.bench.peers.page PAGE RUN_DIR [RUN_DIR ...]`.

Nothing but what stands between the two marks of the page is replaced, and nothing there is typed in. Several runs, each
of other frameworks, make one table; of a program that two runs have, the later's row counts.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from experiments import store
from experiments.bench.peers import report, targets

BEGIN, END = "<!-- begin: make bench-peers -->", "<!-- end: make bench-peers -->"
PACKAGES = ("jax", "numpyro", "tfp-nightly", "blackjax", "torch", "pyro-ppl")


def write(page: Path, folders: Sequence[Path]) -> None:
    """Replaces the tables of the page.

    Raises:
      SystemExit: the page cannot be read, has not one pair of marks, or cannot be written; a folder holds no run of
        this experiment.
    """
    try:
        text = page.read_text(encoding="utf-8")
    except OSError as error:
        raise SystemExit(f"error: cannot read {page}: {error.strerror}. Name docs/benchmarks-peers.md.") from error
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise SystemExit(f"error: {page} must hold the line {BEGIN} once, and after it {END} once.")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    with store.writing(page):
        page.write_text(f"{before}{BEGIN}\n\n{body(folders)}\n\n{END}{after}", encoding="utf-8")


def body(folders: Sequence[Path]) -> str:
    """Returns what stands between the marks: where it ran, what was to be reached, and every ratio."""
    records = [store.read_provenance(folder) for folder in folders]
    for folder, record in zip(folders, records, strict=True):
        if record["experiment"] != "peers":
            raise SystemExit(f"error: {folder} holds a run of {record['experiment']}, not of peers.")
    rows = pd.concat([store.read(folder) for folder in folders], ignore_index=True)
    rows = rows.drop_duplicates(["peer", "workload", "program", "num_samples"], keep="last")
    return "\n\n".join(
        (
            *dict.fromkeys(where(record) for record in records),
            "### What to reach",
            markdown(targets.judged(rows)),
            "### Every ratio",
            markdown(report.table(rows)),
        )
    )


def where(record: dict) -> str:
    """Returns the device and the versions of a run, in a line."""
    device, packages = record["device"], record["packages"]
    named = ", ".join(f"{name} {packages[name]}" for name in PACKAGES if name in packages)
    config, commit = record["config"], record["git"]["commit"] or "unknown"
    peers = ", ".join(config["peers"]) or "all peers"
    return (
        f"{peers}: {device['cpu_count']} cores, {device['kind']}, `--num-runs {config['num_runs']} --num-loop-steps "
        f"{config['num_loop_steps']}`; commit {commit[:7]}, Python {record['python']}, {named}."
    )


def markdown(table: pd.DataFrame) -> str:
    """Returns a table of text in Markdown."""
    lines = [list(table.columns), ["---"] * table.shape[1], *table.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit("usage: python -m experiments.bench.peers.page PAGE RUN_DIR [RUN_DIR ...]")
    write(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
