"""How a framework's process is started, in what environment, and what is said of one that is missing or fails."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from experiments.bench.peers import work
from experiments.bench.peers.contest import FAILED, MISSING, Contest, Row, row


class Peer(NamedTuple):
    """A framework.

    Attributes:
      name: what the table calls it.
      module: what it is imported as; "jax" for none besides.
      package: what to install where it is missing.
    """

    name: str
    module: str
    package: str


PEERS = (
    Peer("plain JAX", "jax", "jax"),
    Peer("NumPyro", "numpyro", "numpyro"),
    Peer("TFP", "tensorflow_probability", "tfp-nightly"),
    Peer("BlackJAX", "blackjax", "blackjax"),
    Peer("PyTorch", "torch", "torch"),
    Peer("Pyro", "pyro", "pyro-ppl"),
)


def num_threads() -> int:
    """Returns the number of cores that this process may use: XLA takes all, and PyTorch is told to."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment(present: Mapping[str, str], level: int) -> dict[str, str]:
    """Returns the environment of a framework's process.

    JAX at the given level of optimisation: by default its own, at which the users of its peers compile, and not the
    lower one of the other experiments (docs/decisions/0003). No persistent cache, which is JAX's default too; as many
    threads for PyTorch as XLA takes; and no share of an accelerator's memory that is taken beforehand.
    """
    threads = str(num_threads())
    flags = [flag for flag in present.get("XLA_FLAGS", "").split() if "backend_optimization_level" not in flag]
    return {
        **{name: value for name, value in present.items() if name != "JAX_COMPILATION_CACHE_DIR"},
        "XLA_FLAGS": " ".join([*flags, f"--xla_backend_optimization_level={level}"]),
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }


def blocks(peer: Peer, config: work.Config) -> Iterator[list[Row]]:
    """Yields the rows of one contest after another; one row that says why where there are none, or no more."""
    if importlib.util.find_spec(peer.module) is None:
        yield [no_rows(peer, f"{MISSING}: pip install {peer.package}")]
        return
    command = [sys.executable, "-m", "experiments.bench.peers.worker", peer.name]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(os.environ, config.optimization_level),
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            with process.stdin as stdin:
                json.dump(dataclasses.asdict(config), stdin)
            for line in process.stdout:
                yield json.loads(line)
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        yield [no_rows(peer, f"{FAILED}: its process ended with status {process.returncode}; its message is above")]


def no_rows(peer: Peer, status: str) -> Row:
    """Returns the one row of a peer of which nothing more is known."""
    return {"peer": peer.name} | row(Contest("all", 0, 0, 0, ()), "–", "–", status)
