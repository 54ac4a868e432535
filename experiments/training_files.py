"""The folder of a training run: what is on disk after each block, and what a resumed run reads.

<folder>/checkpoints/       parameters, optimizer, key, step and the whole history, the newest three
<folder>/history.csv        a row per step, of each seed, to read; made again from the checkpoint on resumption
<folder>/environment.json   versions, device and flags that the bits depend on
"""

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

import vi_jax as vi
from experiments import histories, states, store
from vi_jax.training import checkpoint

Block = Callable[[vi.TrainState, int], tuple[vi.TrainState, vi.History]]


def no_events(history: vi.History, first_step: int) -> None:
    """Writes no event files; `histories.tensorboard(folder)` does."""


@dataclasses.dataclass(frozen=True)
class Files:
    """Where a run is kept.

    Attributes:
      folder: of this run alone; made if it is not there.
      about: what its numbers depend on, as JSON, such as its configuration: a folder of another run is refused.
      keep: how many checkpoints.
      write_events: `(history of a block, its first step)`, for event files.
    """

    folder: Path
    about: Mapping[str, Any]
    keep: int = 3
    write_events: Callable[[vi.History, int], None] = no_events


def resumed(
    files: Files | None, run: Block, state: vi.TrainState, length: int, every: int | None
) -> tuple[vi.TrainState, vi.History | None]:
    """Returns the state to go on from and the history up to there, None at the start; makes the files agree with it."""
    if files is None:
        return state, None

    def like(step: int) -> tuple[Any, Any]:
        shapes, history = jax.eval_shape(lambda state: run(state, length), state)
        return shapes, histories.resized(history, step, 0 if every is None else step // every)

    try:
        found = checkpoint.restore(files.folder / "checkpoints", like, about=files.about)
    except ValueError as error:
        raise SystemExit(f"error: {error}") from error
    rows = files.folder / "history.csv"
    if found is None:
        with store.writing(rows):
            rows.unlink(missing_ok=True)
        note_environment(files.folder)
        return state, None
    for line in found.damaged:
        say(line)
    say(f"training goes on from {found.path}, {found.step} steps done")
    note_environment(files.folder)
    state, history = found.tree
    history = jax.device_get(history)
    store.replace(rows, as_csv(history, 0))
    return state, history


def save(files: Files | None, state: vi.TrainState, history: vi.History, part: vi.History, first_step: int) -> None:
    """Puts a block on disk: its rows, its events, and a checkpoint of all there is."""
    if files is None:
        return
    rows = files.folder / "history.csv"
    with store.writing(rows):
        rows.parent.mkdir(parents=True, exist_ok=True)
        store.append_durably(rows, as_csv(part, first_step), rows.stat().st_size if first_step else 0)
        files.write_events(part, first_step)
    try:
        folder = files.folder / "checkpoints"
        checkpoint.save(folder, history.value.shape[-1], (state, history), about=files.about, keep=files.keep)
    except OSError as error:
        raise SystemExit(f"error: {error}") from error


def as_csv(history: vi.History, first_step: int) -> bytes:
    """Returns the rows as text, with a header at the start; floats read back as the same numbers."""
    return (
        histories.to_rows(history, first_step).to_csv(index=False, header=not first_step, lineterminator="\n").encode()
    )


def note_environment(folder: Path) -> None:
    """Records what the bits depend on beside the configuration, and says what is not as it was."""
    path, now = folder / "environment.json", states.context({})
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = now
    if differing := [name for name in now if before.get(name) != now[name]]:
        say(f"{', '.join(differing)} differ from before: the numbers agree to rounding, no longer bit for bit")
    store.replace(path, json.dumps(now, indent=1).encode())


def say(text: str) -> None:
    """Tells whoever watches, beside the rows."""
    print(text, file=sys.stderr, flush=True)
