"""One error of many writes at once: the first is raised, and nothing is told of the others or written by them later."""

import contextlib
import gc
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

QUIET = 0.2
"""Seconds without news after which the other writes count as ended; they fail within milliseconds of the first."""
LONGEST = 5.0
"""Seconds to wait for that at most."""


def one_error(write: Callable[[], None], folder: Path, reason: Callable[[Exception], str]) -> None:
    """Calls `write`, which writes many arrays at once into `folder` by orbax, and makes one error of what fails.

    Orbax logs what it then raises, with the whole of tensorstore's settings. It leaves the writes of the other arrays
    to themselves: their threads go on, put files into a folder that the caller has removed, and tell an event loop that
    is closed; and asyncio logs their errors whenever they are collected. So this waits for them, after a failure alone,
    collects them, and raises an error that holds none of them.

    Args:
      write: what is to be done.
      folder: where it writes.
      reason: `error -> one line`.

    Raises:
      OSError: the reason of the first error.
    """
    refused = ""
    with _silence() as reports:
        try:
            write()
        except (OSError, RuntimeError, ValueError) as error:  # Tensorstore has errors of its own for a full disk.
            refused = reason(error) or type(error).__name__
        if refused:
            _wait(lambda: (len(reports), len(list(folder.rglob("*")))))
            # Here and not under `except`, where the error's frames would keep the other writes alive.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # Of coroutines that were never begun.
                gc.collect()
    if refused:
        raise OSError(refused)


def _wait(news: Callable[[], Any]) -> None:
    """Waits until the news have been the same for a while."""
    end, last, since = time.monotonic() + LONGEST, news(), time.monotonic()
    while time.monotonic() < min(since + QUIET, end):
        time.sleep(QUIET / 10)
        if (now := news()) != last:
            last, since = now, time.monotonic()


@contextlib.contextmanager
def _silence() -> Iterator[list[Any]]:
    """Keeps orbax, asyncio and threads without an event loop from telling; yields what the last would have told."""
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    levels, hook, reports = [logger.level for logger in loggers], sys.unraisablehook, []

    def listen(unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, RuntimeError) and "loop is closed" in str(unraisable.exc_value):
            reports.append(unraisable.exc_type)
        else:
            hook(unraisable)

    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    sys.unraisablehook = listen
    try:
        yield reports
    finally:
        sys.unraisablehook = hook
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
