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
import sys, jax
from experiments import distributed
watcher = distributed.watch("error: it was ended")
if sys.argv[1] == "lost":
    distributed.leave(jax.errors.JaxRuntimeError("Connection closed by peer"), watcher)
if sys.argv[1] == "refused":
    distributed.leave(ValueError("UNKNOWN: Gloo AllGather failed"), watcher)
if sys.argv[1] == "said":
    distributed.leave(SystemExit("error: the disk is full"), watcher)
import os
os.abort()
"""


@pytest.mark.parametrize(
    ("how", "code", "line"),
    [
        ("lost", 1, "error: process 1 of 2 cannot go on: Connection closed by peer. Most likely another process died"),
        ("refused", 1, "error: process 1 of 2 cannot go on: UNKNOWN: Gloo AllGather failed."),
        ("said", 1, "error: the disk is full"),
        ("aborted", -signal.SIGABRT, "error: it was ended"),
    ],
)
def test_a_process_that_cannot_go_on_says_so_once(how, code, line):
    told = os.environ | {distributed.NUM_PROCESSES: "2", distributed.PROCESS_ID: "1"}
    ended = subprocess.run([sys.executable, "-c", LEAVING, how], env=told, capture_output=True, text=True)
    assert ended.returncode == code, ended.stderr
    assert next(said for said in ended.stderr.splitlines() if said.startswith("error:")).startswith(line)
    assert ended.stderr.count("error:") == 1


# --- real processes ---------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def launched(folder: pathlib.Path, processes: int) -> list[subprocess.Popen]:
    """Starts a sweep with two devices in all; each process says what it says in files."""
    folder.mkdir(exist_ok=True)
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={2 // processes}"
    command = [sys.executable, "-m", "experiments.sweep", "--model", "table", "--bounds", "iwae"]
    command += ["--estimators", "leave_one_out", "--samples", "2", "--reference", "0", "--replicates", "400000"]
    command += ["--stops", "200", "--out", str(folder), "--states", str(folder / "states")]
    environment = {"VI_JAX_CACHE": str(folder.parent / "xla")} | os.environ | {"XLA_FLAGS": flags}
    if processes > 1:
        address = {distributed.COORDINATOR: f"127.0.0.1:{free_port()}", distributed.NUM_PROCESSES: str(processes)}
        environment |= address
    running = []
    for number in range(processes):
        told = environment | {distributed.PROCESS_ID: str(number)}
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
    running = launched(killed, processes=2)
    end = time.monotonic() + TIMEOUT
    while not list(killed.glob("states/*.state")) and time.monotonic() < end and running[0].poll() is None:
        time.sleep(0.01)
    running[1].kill()
    assert codes(running) == [1, -signal.SIGKILL], said(killed)
    line = "error: process 0 of 2 cannot go on:"
    assert (killed / "said-0").read_text().count(line) == 1, said(killed)
    assert "start all processes again with the same command" in said(killed)
    # Two processes again, beside one with as many devices that nobody disturbs.
    both = launched(killed, processes=2), launched(whole, processes=1)
    assert [codes(started) for started in both] == [[0, 0], [0]], said(killed) + said(whole)
    assert "the sweep goes on from" in (killed / "said-0").read_text()
    assert "goes on" not in (killed / "said-1").read_text() + (whole / "said-0").read_text()
    first, second = (list(folder.glob("sweep/*/rows.csv")) for folder in (killed, whole))
    assert len(first) == len(second) == 1
    assert first[0].read_bytes() == second[0].read_bytes()
    assert not list(killed.glob("states/*"))
