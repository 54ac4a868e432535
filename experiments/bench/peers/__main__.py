"""How long does the same work take in other frameworks?

    W1 fit        mean-field ELBO of a Bayesian logistic regression, 569 × 31, S draws, 1000 steps of Adam; 32 at once
    W2 IWAE step  autoencoder 784-200-200-50, 100 random binary images, K draws: gradient and Adam
    W3            log p(x) from 5000 draws
    W4            variance of a gradient over 1000 replicates, and a whole grid of them
    W5            gradient of one image from 32,768 draws, in chunks

    make bench-peers
    make bench-peers ARGS=--quick
    make bench-peers ARGS='--peers NumPyro TFP'
    make bench-peers ARGS='--page docs/benchmarks-peers.md'

Beside the library stand plain JAX, NumPyro, TFP, BlackJAX, PyTorch and Pyro, each as its documentation recommends and
in its best form. Every pair has a process of its own, in which its programs run in turns, in an order drawn anew each
round, on the same threads, in float32. A program is timed only if it reaches what the library reaches: the ELBO after
fitting, by one quadrature for all, or the IWAE bound at the same parameters, by many draws. One that does not is a row
that says so. What is not installed is one too.

    peer / ours   median over rounds of peer's time / library's time, with an interval for it of about 95 %
    what it is    what the difference consists of. "recompiles every call" and "Python dispatch per step" are costs of
                  how a framework is called; "arithmetic" is two compiled programs side by side

The library's advantage is an interface that batches and is compiled once; where a peer is called in one compiled
program too, the arithmetic is the same. JAX runs at its own optimisation level, 3, without a persistent cache. On two
cores that others use, ratios below 1.3 are noise. Time: a quarter of an hour; --quick two minutes.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments import cli, progress, spelling, store, tables
from experiments.bench.peers import page, processes, report, targets
from experiments.bench.peers.work import Config

QUICK = Config(
    num_steps=50,
    num_loop_steps=10,
    regression_samples=(1,),
    num_fits=4,
    fits_samples=(),
    num_seeds=8,
    image_samples=(5,),
    batch_size=20,
    num_values=10,
    loop_samples=(),
    grid_samples=(),
    evidence_samples=200,
    evidence_batch_size=10,
    long_samples=0,
    num_runs=2,
    optimization_level=0,
)
PROVENANCE = ("experiment", "started", "git", "python", "packages", "device", "jax", "environment")


def run(config: Config, track: progress.Track) -> Iterator[list[dict[str, Any]]]:
    """Yields the rows of one contest at a time.

    Raises:
      ValueError: a peer of the configuration is not known.
      SystemExit: a page is to be renewed from some of the peers, and would lose the others.
    """
    if config.page and config.peers:
        raise SystemExit(
            f"error: --page {config.page} with --peers {' '.join(config.peers)} would drop all others from the page: "
            "run without --page, and then experiments.bench.peers.page with the folders of all runs."
        )
    known = {peer.name: peer for peer in processes.PEERS}
    names = config.peers or tuple(known)
    peers = [spelling.chosen("peer", known, name, ", ".join(known)) for name in names]
    for peer in track(peers, "peers", label=lambda peer: peer.name):
        yield from processes.blocks(peer, config)


def write_lines(folder: Path) -> Path:
    """Writes `rows.jsonl`, each row with the provenance that a comparison needs. One that exists stays."""
    path = folder / "rows.jsonl"
    if path.exists():
        return path
    record = store.read_provenance(folder)
    shared = {"run": folder.name} | {name: record[name] for name in PROVENANCE}
    rows = json.loads(str(store.read(folder).to_json(orient="records", double_precision=15)))
    with store.writing(path), open(path, "x", encoding="utf-8") as file:
        file.writelines(json.dumps(shared | row, ensure_ascii=False) + "\n" for row in rows)
    return path


def main() -> None:
    """Runs, prints what was to be reached, and renews the page that was named."""
    folder = cli.main(run, report.figure, Config(), quick=QUICK, table=report.table)
    tables.show(targets.judged(store.read(folder)), Console())
    print(write_lines(folder))
    if named := store.read_provenance(folder)["config"]["page"]:
        page.write(Path(named), [folder])


if __name__ == "__main__":
    main()
