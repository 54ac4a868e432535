"""What to do about experiments that have no run to show: run their quick forms, or leave them."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path


def run_quick(
    names: Sequence[str], results: Path, call: Callable[[Sequence[str]], int] = subprocess.call
) -> dict[str, str]:
    """Runs the quick form of each experiment, one after the other, and returns those that failed, with a sentence.

    Args:
      names: of the experiments.
      results: where their runs go.
      call: runs a command and returns its exit status.
    """
    if names:
        say(f"{len(names)} experiments have no run in {results}: {', '.join(names)}")
        say("Each is run in its quick form now, seconds to three minutes each; --missing leave goes without.")
    failed = {}
    for number, name in enumerate(names, 1):
        say(f"experiment {name} ({number} of {len(names)})")
        status = stoppable(call, [sys.executable, "-m", f"experiments.{name}", "--quick", "--out", str(results)])
        if status:
            failed[name] = f"Its quick form, run for this page, failed with exit status {status}."
    return failed


def stoppable(call: Callable[[Sequence[str]], int], command: Sequence[str]) -> int:
    """Calls `call(command)`; Ctrl-C, which stops the experiment too, ends the program with a line."""
    try:
        return call(command)
    except KeyboardInterrupt:
        raise SystemExit("stopped: what has run is kept, and the next report runs the rest") from None


def leave(names: Sequence[str], results: Path) -> dict[str, str]:
    """Runs nothing: the page has the commands."""
    return {}


def say(text: str) -> None:
    """Tells whoever waits."""
    print(text, file=sys.stderr, flush=True)
