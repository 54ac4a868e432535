"""An experiment over several processes: who is who, and a process that dies ends the others and loses nothing."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import jax
import pytest

from experiments import distributed

TIMEOUT = 240
TOLD = {distributed.COORDINATOR: "10.0.0.1:1234", distributed.NUM_PROCESSES: "4", distributed.PROCESS_ID: "3"}


def test_the_environment_says_who_is_who():
    assert distributed.settings({}) is None
    assert distributed.settings({distributed.COORDINATOR: "auto"}) == {}
    assert distributed.settings(TOLD) == {
        "coordinator_address": "10.0.0.1:1234",
        "num_processes": 4,
        "process_id": 3,
    }


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (distributed.COORDINATOR, "10.0.0.1", "host:port of process 0, or auto, got '10.0.0.1'"),
        (distributed.COORDINATOR, "10.0.0.1:http", "host:port"),
        (distributed.NUM_PROCESSES, "", "VI_JAX_NUM_PROCESSES must be a number, got ''"),
        (distributed.PROCESS_ID, "-1", "VI_JAX_PROCESS_ID must be a number, got '-1'"),
        (distributed.PROCESS_ID, "4", "VI_JAX_PROCESS_ID=4 must be below VI_JAX_NUM_PROCESSES=4"),
    ],
)
def test_what_makes_no_sense_is_one_line(name, value, message):
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        distributed.settings(TOLD | {name: value})


def test_an_experiment_for_one_process_refuses_several(monkeypatch):
    with distributed.alone():
        pass
    monkeypatch.setenv(distributed.COORDINATOR, "auto")
    with pytest.raises(SystemExit, match="runs in one process"), distributed.alone():
        pass


def test_one_process_is_the_first_and_asks_nobody(monkeypatch):
    monkeypatch.delenv(distributed.COORDINATOR, raising=False)
    with distributed.together():
        assert distributed.is_first()
        assert distributed.from_first(lambda: "made here") == "made here"
        assert (distributed.mesh() is None) == (jax.device_count() == 1)


LEAVING = """
import os, sys, jax
from experiments import distributed

def leave(how):
    watcher = distributed.watch("error: it was ended")
    if how == "lost":
        distributed.leave(jax.errors.JaxRuntimeError("UNAVAILABLE: Connection closed by peer"), watcher)
    if how == "refused":
        distributed.leave(ValueError("UNKNOWN: Gloo AllGather failed"), watcher)
    if how == "full":
        distributed.leave(jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory"), watcher)
    if how == "done":
        distributed.leave(SystemExit(), watcher)
    if how == "said":
        distributed.leave(SystemExit("error: the disk is full"), watcher)
    os.abort()

# Importing takes longest, and is done once: each way to go is a child's.
for how in ("lost", "refused", "full", "done", "said", "aborted"):
    if (child := os.fork()) == 0:
        leave(how)
    print(how, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_a_process_that_cannot_go_on_says_so_once():
    told = os.environ | {distributed.NUM_PROCESSES: "2", distributed.PROCESS_ID: "1"}
    # The last to hold its streams is the watcher of the child that aborts.
    ended = subprocess.run([sys.executable, "-c", LEAVING], env=told, capture_output=True, text=True)
    codes = {"lost": 1, "refused": 1, "full": 1, "done": 0, "said": 1, "aborted": -signal.SIGABRT}
    assert ended.stdout.splitlines() == [f"{how} {int(code)}" for how, code in codes.items()]
    assert "RESOURCE_EXHAUSTED: Out of memory" in ended.stderr
    gone = "error: process 1 of 2 cannot go on:"
    lost, refused, *rest = (line for line in ended.stderr.splitlines() if line.startswith("error:"))
    assert lost.startswith(f"{gone} UNAVAILABLE: Connection closed by peer. Most likely another process died")
    assert refused.startswith(f"{gone} UNKNOWN: Gloo AllGather failed.")
    assert rest == ["error: the disk is full", "error: it was ended"]


# --- real processes ---------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


SWEEP = ["-m", "experiments.sweep"]
DYING = """
import os, runpy, signal
from vi_jax.measurement import stream
blocks_of = stream.blocks_of

def dying(*arguments):
    for number, state in enumerate(blocks_of(*arguments)):
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        yield state

stream.blocks_of = dying
runpy.run_module("experiments.sweep", run_name="__main__", alter_sys=True)
"""


def launched(folder: pathlib.Path, *programs: list[str]) -> list[subprocess.Popen]:
    """Starts a sweep with two devices in all, a process for each program; each says what it says in a file."""
    folder.mkdir(exist_ok=True)
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={2 // len(programs)}"
    arguments = ["--model", "table", "--bounds", "iwae", "--estimators", "leave_one_out", "--samples", "2"]
    arguments += ["--reference", "0", "--replicates", "10000", "--stops", "5"]
    arguments += ["--out", str(folder), "--states", str(folder / "states")]
    environment = {"VI_JAX_CACHE": str(folder.parent / "xla")} | os.environ | {"XLA_FLAGS": flags}
    if len(programs) > 1:
        address = {distributed.COORDINATOR: f"127.0.0.1:{free_port()}", distributed.NUM_PROCESSES: str(len(programs))}
        environment |= address
    running = []
    for number, program in enumerate(programs):
        told = environment | {distributed.PROCESS_ID: str(number)}
        command = [sys.executable, *program, *arguments]
        with open(folder / f"said-{number}", "w") as file:
            running.append(subprocess.Popen(command, env=told, stdout=subprocess.DEVNULL, stderr=file))
    return running


def codes(running: list[subprocess.Popen]) -> list[int]:
    """The exit codes of all, within the time."""
    end = time.monotonic() + TIMEOUT
    try:
        return [process.wait(timeout=max(1, end - time.monotonic())) for process in running]
    finally:
        for process in running:
            process.kill()


def said(folder: pathlib.Path) -> str:
    return "\n".join(f"{path.name}: {path.read_text()[-2000:]}" for path in sorted(folder.glob("said-*")))


def test_a_process_that_is_killed_ends_the_sweep_and_the_next_launch_goes_on(tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    # Two stops behind it, the second process kills itself: so the first has written one at least.
    assert codes(launched(killed, SWEEP, ["-c", DYING])) == [1, -signal.SIGKILL], said(killed)
    assert list(killed.glob("states/*.state"))
    line = "error: process 0 of 2 cannot go on:"
    assert (killed / "said-0").read_text().count(line) == 1, said(killed)
    assert "start all processes again with the same command" in said(killed)
    # Two processes again, beside one with as many devices that nobody disturbs.
    both = launched(killed, SWEEP, SWEEP), launched(whole, SWEEP)
    assert [codes(started) for started in both] == [[0, 0], [0]], said(killed) + said(whole)
    assert "the sweep goes on from" in (killed / "said-0").read_text()
    assert "goes on" not in (killed / "said-1").read_text() + (whole / "said-0").read_text()
    first, second = (list(folder.glob("sweep/*/rows.csv")) for folder in (killed, whole))
    assert len(first) == len(second) == 1
    assert first[0].read_bytes() == second[0].read_bytes()
    assert not list(killed.glob("states/*"))
