"""One framework's contests in a process of its own: `python -m experiments.bench.peers.worker NAME`, config on stdin.

Frameworks that share a process share allocators and threads, and one that was imported can slow the next; so each pair,
the library and one peer, has its own. What it writes to stdout is one JSON list of rows per contest, and nothing else:
whatever a framework prints goes to stderr.
"""

import importlib
import json
import os
import sys
from typing import Any, TextIO

import numpy as np

from experiments.bench.peers import work
from experiments.bench.peers.contest import compete

MODULES = {
    "plain JAX": "by_hand",
    "NumPyro": "in_numpyro",
    "TFP": "in_tfp",
    "BlackJAX": "in_blackjax",
    "PyTorch": "in_torch",
    "Pyro": "in_pyro",
}


def run(name: str, config: work.Config, stream: TextIO) -> None:
    """Writes the rows of each contest as soon as it is over."""
    rng = np.random.default_rng(config.seed)
    module = importlib.import_module(f"experiments.bench.peers.{MODULES[name]}")
    for contest in module.contests(config):
        rows = [{"peer": name} | row for row in compete(contest, config.num_runs, rng)]
        stream.write(json.dumps(rows, ensure_ascii=False) + "\n")
        stream.flush()


def with_tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields with tuples for the lists that JSON has in their place."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def main() -> None:
    """Reads the config, keeps stdout for the rows, and runs."""
    fields: dict[str, Any] = json.load(sys.stdin, object_hook=with_tuples)
    config = work.Config(**fields)
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    run(sys.argv[1], config, stream)


if __name__ == "__main__":
    main()
