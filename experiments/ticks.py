"""The progress of a call that reports through a callback, on the display that passes loops through."""

from collections.abc import Callable

from experiments import progress


def reporting(track: progress.Track, phase: str, num_ticks: int = 20) -> Callable[[int, int], None]:
    """Returns `(done, total)` that moves a loop of `num_ticks` steps of `track` along, such as `vi.sweep` calls.

    Args:
      track: of the run.
      phase: the name of the loop.
      num_ticks: steps of the loop; the last one is taken when done = total.
    """
    steps = iter(track(range(num_ticks), phase, label=lambda i: f"{100 * (i + 1) // num_ticks} %"))
    taken = 0
    next(steps)

    def report(done: int, total: int) -> None:
        nonlocal taken
        while taken < num_ticks * done // total:
            taken += 1
            next(steps, None)

    return report
