"""How far a run has come: a live bar on a terminal, plain lines in a log, nothing in a test or a notebook."""

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TextIO, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column

T = TypeVar("T")

LABEL_WIDTH = 30
BAR_WIDTH = 16
SECONDS_BETWEEN_LINES = 10.0


def one(item: Any) -> float:
    """The cost of an item when all cost the same."""
    return 1.0


class Track(Protocol):
    """Passes the items of a loop through, and shows how far it has come.

        for cell in track(cells, "sweep", label=lambda cell: f"K={cell.k}", cost=lambda cell: cell.k):
            yield measure(cell)

    Args:
      items: what the loop is over. Read once, before the first step, so that the total is known.
      phase: the name of the loop: "training", "sweep".
      label: `item -> str`, what is being worked on now.
      cost: `item -> float`, the item's share of the work in any unit. The remaining time is read off it.
    """

    def __call__(
        self, items: Iterable[T], phase: str, *, label: Callable[[T], str] = str, cost: Callable[[T], float] = one
    ) -> Iterator[T]:
        """Yields every item, in order."""
        ...


def silent(
    items: Iterable[T], phase: str, *, label: Callable[[T], str] = str, cost: Callable[[T], float] = one
) -> Iterator[T]:
    """The `Track` that shows nothing: for tests and notebooks, `run(config, silent)`."""
    yield from items


def callback(track: Track, phase: str, *, done: float = 0.0, steps: int = 20) -> Callable[[int, int], None]:
    """Returns `(done, total) -> None` that moves a track along, for work that reports instead of being looped over.

    Args:
      track: shows it.
      phase: the name of the work.
      done: the share that an earlier run has done already; it takes no time now.
      steps: how many a whole run has.
    """
    first = math.floor(steps * done)
    items = iter(track(range(first, steps), phase, label=lambda step: f"{100 * (step + 1) // steps} %"))
    reached = first
    next(items, None)

    def advance(count: int, total: int) -> None:
        nonlocal reached
        while reached < math.floor(steps * count / total):
            reached += 1
            next(items, None)

    return advance


def clock_time(seconds: float) -> str:
    """Returns `h:mm:ss`, or `m:ss` below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def plain(stream: TextIO, now: Callable[[], float] = time.monotonic) -> Track:
    """A `Track` that prints a line every ten seconds and one at the end of each phase. No control characters."""

    def track(
        items: Iterable[T], phase: str, *, label: Callable[[T], str] = str, cost: Callable[[T], float] = one
    ) -> Iterator[T]:
        items = tuple(items)
        total = sum(map(cost, items))
        start = last = now()
        done = 0.0
        for count, item in enumerate(items, 1):
            yield item
            done += cost(item)
            elapsed = now() - start
            if count == len(items) or now() - last >= SECONDS_BETWEEN_LINES:
                last = now()
                remaining = clock_time(elapsed * (total - done) / done) if done else "?"
                times = f"{clock_time(elapsed)} elapsed, {remaining} left"
                print(f"{phase}: {count}/{len(items)}, {times} ({label(item)})", file=stream, flush=True)

    return track


def bars(progress: Progress) -> Track:
    """A `Track` that adds one bar per phase to a live display."""

    def track(
        items: Iterable[T], phase: str, *, label: Callable[[T], str] = str, cost: Callable[[T], float] = one
    ) -> Iterator[T]:
        items = tuple(items)
        task = progress.add_task(phase, total=sum(map(cost, items)), count=f"0/{len(items)}")
        for count, item in enumerate(items, 1):
            progress.update(task, description=f"{phase} {label(item)}")
            yield item
            progress.update(task, advance=cost(item), count=f"{count}/{len(items)}")
        progress.update(task, description=phase)

    return track


def bar_display(console: Console) -> Progress:
    """Returns the display of the bars: label, bar, steps done, time elapsed, time remaining. Fits 80 columns."""
    label = TextColumn(
        "{task.description}",
        markup=False,
        table_column=Column(width=LABEL_WIDTH, no_wrap=True, overflow="ellipsis"),
    )
    count = TextColumn("{task.fields[count]}", table_column=Column(no_wrap=True, justify="right"))
    columns = (label, BarColumn(BAR_WIDTH), count, TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


@contextlib.contextmanager
def live(console: Console) -> Iterator[Track]:
    """Yields a `Track` whose bars are drawn on `console` while the context is open."""
    with bar_display(console) as progress:
        yield bars(progress)


def display(stream: TextIO) -> contextlib.AbstractContextManager[Track]:
    """Returns the context of a run's `Track`: live bars if `stream` is a terminal, plain lines if it is not."""
    console = Console(file=stream)
    if stream.isatty() and not console.is_dumb_terminal:
        return live(console)
    return contextlib.nullcontext(plain(stream))
