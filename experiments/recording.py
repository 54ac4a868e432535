"""A run leaves word of how it ended: finished, failed, or stopped by a signal."""

import contextlib
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments import provenance, resuming, store


@contextlib.contextmanager
def stop_signals() -> Iterator[None]:
    """Makes Ctrl-C and a request to terminate raise `KeyboardInterrupt(signal number)`, unless they are ignored."""

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt(number)

    numbers = [s for s in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(s) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def recorded(folder: Path, record: dict[str, Any]) -> Iterator[None]:
    """Writes the provenance before the run, and how it ended after it."""
    store.write_provenance(folder, record)
    try:
        with stop_signals():
            yield
    except KeyboardInterrupt as stop:
        number = signal.Signals(stop.args[0] if stop.args else signal.SIGINT)
        end_early(folder, provenance.ended(record, "interrupted", number.name))
        raise SystemExit(128 + number) from None
    except BaseException as error:
        end_early(folder, provenance.ended(record, "failed", f"{type(error).__name__}: {error}"))
        raise
    store.write_provenance(folder, provenance.ended(record, "finished"))


def end_early(folder: Path, record: dict[str, Any]) -> None:
    """Records how the run ended, if the disk lets it, and says where to look."""
    with contextlib.suppress(SystemExit):
        store.write_provenance(folder, record)
    print(f"{record['status']}: see {folder}", file=sys.stderr)
    if (folder / "rows.csv").exists():
        redraw = f"python -m experiments.{record['experiment']} --from {shlex.quote(str(folder))}"
        print(f"the rows reported so far are kept; to draw them: {redraw}", file=sys.stderr)
    if resuming.has_checkpoints(folder):
        go_on = f"python -m experiments.{record['experiment']} --resume {shlex.quote(str(folder))}"
        print(f"what was trained so far is kept; to go on: {go_on}", file=sys.stderr)
