"""One run over several processes, each with devices of its own: how they find each other, and what happens if one dies.

Every process is started with the same command, and the environment says which one it is:

    VI_JAX_COORDINATOR     host:port of process 0, any free port; or `auto` under Slurm, on Cloud TPU and in MPI, where
                           JAX finds everything by itself and the other two are not needed
    VI_JAX_NUM_PROCESSES   how many there are
    VI_JAX_PROCESS_ID      0, 1, …

All compute; process 0 alone reads and writes files, prints the table and draws the figure. `docs/devices.md` has the
launch lines. A process that is lost ends all others. Each says so in one line, `lost`; where the runtime of JAX ends a
process by itself, which no Python code can hinder, a watcher outside says it.
"""

import contextlib
import os
import pickle
import platform
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

import vi_jax as vi

T = TypeVar("T")

COORDINATOR, NUM_PROCESSES, PROCESS_ID = "VI_JAX_COORDINATOR", "VI_JAX_NUM_PROCESSES", "VI_JAX_PROCESS_ID"

# How the text of an error of the runtime begins; where a program is started, not awaited, it comes as a ValueError.
STATUSES = ("ABORTED: ", "CANCELLED: ", "DEADLINE_EXCEEDED: ", "INTERNAL: ", "UNAVAILABLE: ", "UNKNOWN: ")

# Waits for the end of its parent, which sends a byte if all is well.
WATCH = "import sys; sys.stdin.buffer.read(1) or sys.stderr.write(sys.argv[1] + '\\n')"

# --- before the start, and after the end ------------------------------------------------------------------------------


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """The context of an experiment that runs in one process.

    Raises:
      SystemExit: the environment asks for several.
    """
    if COORDINATOR in os.environ:
        raise SystemExit(
            f"error: this experiment runs in one process, and {COORDINATOR} asks for several: unset it. "
            "sweep and sample_sweep run in several."
        )
    yield


@contextlib.contextmanager
def together() -> Iterator[None]:
    """The context of an experiment that runs in all processes that the environment tells of; in one, if it is silent.

    Before it, nothing may have started a device. An error ends the process at once, without waiting for the others, who
    could not go on without it.

    Raises:
      SystemExit: the environment is not complete or makes no sense.
    """
    arguments = settings(os.environ)
    if arguments is None:
        yield
        return
    # It would take the signal to terminate for itself, and do nothing with it.
    jax.config.update("jax_enable_preemption_service", False)
    watcher = watch(lost("the runtime of JAX ended it, or a signal did"))
    try:
        jax.distributed.initialize(**arguments)
        yield
        jax.distributed.shutdown()
    except BaseException as error:
        leave(error, watcher)
    told(watcher)


def settings(environ: Mapping[str, str]) -> dict[str, Any] | None:
    """Returns the arguments of `jax.distributed.initialize`; None for one process.

    Raises:
      SystemExit: a part is missing, or is no number in its range.
    """
    coordinator = environ.get(COORDINATOR)
    if coordinator is None:
        return None
    if coordinator == "auto":
        return {}
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal():
        raise SystemExit(f"error: {COORDINATOR} must be host:port of process 0, or auto, got {coordinator!r}.")
    count, number = (_number(environ, name) for name in (NUM_PROCESSES, PROCESS_ID))
    if not number < count:
        raise SystemExit(f"error: {PROCESS_ID}={number} must be below {NUM_PROCESSES}={count}: the first process is 0.")
    return {"coordinator_address": coordinator, "num_processes": count, "process_id": number}


def _number(environ: Mapping[str, str], name: str) -> int:
    value = environ.get(name, "")
    if not value.isdecimal():
        raise SystemExit(f"error: {COORDINATOR} is set, so {name} must be a number, got {value!r}.")
    return int(value)


def lost(reason: str) -> str:
    """Returns what a process says that cannot go on because another one is gone."""
    which = os.environ.get(PROCESS_ID)
    name = f"the process on {platform.node()}"
    if which is not None:
        name = f"process {which} of {os.environ.get(NUM_PROCESSES)}"
    return (
        f"error: {name} cannot go on: {reason}. Most likely another process died: see what that one says. "
        "What was saved is kept: start all processes again with the same command, and a sweep goes on from its last "
        "stop."
    )


def watch(message: str) -> subprocess.Popen:
    """Starts a process that prints a message if this one ends before `told`."""
    command = [sys.executable, "-I", "-S", "-c", WATCH, message]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


def told(watcher: subprocess.Popen) -> None:
    """Sends the watcher home."""
    watcher.communicate(b".")


def is_of_runtime(error: BaseException) -> bool:
    """Returns whether the runtime raised it, as when a message to another process fails, and not Python code.

    Memory that does not suffice is no sign of another process, and is not among the `STATUSES`.
    """
    return isinstance(error, jax.errors.JaxRuntimeError | ValueError) and str(error).startswith(STATUSES)


def leave(error: BaseException, watcher: subprocess.Popen) -> NoReturn:
    """Says why and ends the process at once: leaving in peace would wait for processes that may be gone."""
    code = 1
    if str(error).startswith("INTERNAL: "):
        # A message that failed, or a fault of this process: both are shown.
        traceback.print_exception(error)
    if is_of_runtime(error):
        print(lost(" ".join(str(error).split())[:200]), file=sys.stderr)
    elif isinstance(error, SystemExit) and isinstance(error.code, int):
        code = error.code
    elif isinstance(error, SystemExit) and error.code is None:
        code = 0
    elif isinstance(error, SystemExit):
        print(error.code, file=sys.stderr)
    else:
        traceback.print_exception(error)
    sys.stdout.flush()
    sys.stderr.flush()
    told(watcher)
    os._exit(code)


# --- in between -------------------------------------------------------------------------------------------------------


def is_first() -> bool:
    """Returns whether this is the process that writes: the only one, or number 0."""
    return jax.process_index() == 0


def from_first(make: Callable[[], T]) -> T:
    """Returns, in every process, what process 0 makes; what it raises is raised in all.

    All processes must come here. What is sent must be picklable.
    """
    if jax.process_count() == 1:
        return make()
    sent = np.frombuffer(pickle.dumps(_tried(make) if is_first() else None), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.asarray(sent.size)))
    received = multihost_utils.broadcast_one_to_all(np.resize(sent, length))
    value, error = pickle.loads(np.asarray(received, np.uint8).tobytes())
    if error is not None:
        raise error
    return value


def _tried(make: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    try:
        return make(), None
    except (Exception, SystemExit) as error:
        return None, error


def mesh() -> Mesh | None:
    """Returns the mesh of all devices of all processes, for replicates; None where there is one device."""
    return None if jax.device_count() == 1 else vi.sharding.make_mesh(replicate=jax.device_count())
