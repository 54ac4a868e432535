"""A run in blocks is the whole run; killed, damaged or refused by the disk, it loses nothing and says what happened.

python tests/experiments/test_training.py FOLDER     trains in FOLDER: the process that is killed
"""

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest

import vi_jax as vi
from experiments import histories, training
from experiments.training import Files, train

ROOT = Path(__file__).parent.parent.parent
DATA = jnp.array([0.5, -1.2, 2.0, 0.3, 4.4])
ADAM = optax.inject_hyperparams(optax.adam)(learning_rate=0.1)
STEPS, BLOCK, EVERY = 240, 6, 3
PATHS = {"batch_size": 2, "prepare": lambda key, x: x + jax.random.normal(key, x.shape), "evaluate_every": EVERY}


def noisy(key, params, x):
    noise = jax.random.normal(key)
    gradient = vi.Params(x.mean() - params.theta + noise, {"loc": noise - params.phi["loc"]})
    return -0.5 * (x - params.theta) ** 2 / params.phi["loc"] ** 2, gradient


def look(key, params):
    return {"theta": params.theta + jax.random.normal(key), "loc": params.phi["loc"][None]}


def start(key, rate):
    state = vi.init_state(key, ADAM, vi.Params(jnp.array(2.0), {"loc": jnp.array(-1.0)}))
    return state._replace(opt_state=optax.tree_utils.tree_set(state.opt_state, learning_rate=rate))


STACKED = jax.vmap(start)(jax.random.split(jax.random.key(3), 2), jnp.array([0.1, 0.2]))


def run(folder, about=None, num_steps=STEPS, state=STACKED, data=DATA, **options):
    files = None if folder is None else Files(folder, about or {"seed": 3})
    options = {"evaluate": look} | PATHS | options
    return train(noisy, ADAM, state, data, num_steps=num_steps, block=BLOCK, files=files, **options)


def identical(one, two):
    """States and histories of two runs, bit for bit."""
    assert (one.num_nonfinite, one.why) == (two.num_nonfinite, two.why)
    numbers = [(jax.random.key_data(run.state.key), run.state._replace(key=()), run.history) for run in (one, two)]
    jax.tree.map(np.testing.assert_array_equal, *numbers)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "whole"
    return folder, run(folder)


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """Three blocks and a part of a fourth."""
    folder = tmp_path_factory.mktemp("run") / "short"
    return folder, run(folder, num_steps=20)


def test_blocks_are_the_whole_run_and_files_change_nothing(short):
    _, trained = short
    state, history = jax.vmap(
        lambda state: vi.fit(None, noisy, ADAM, state, DATA, num_steps=20, evaluate=look, **PATHS)
    )(STACKED)
    jax.tree.map(np.testing.assert_array_equal, state.params, trained.state.params)
    np.testing.assert_allclose(history.value, trained.history.value, rtol=1e-6)
    np.testing.assert_array_equal(trained.history.evaluations.step, [[3, 6, 9, 12, 15, 18]] * 2)
    identical(trained, run(None, num_steps=20))
    assert training.summary(trained) == "40 steps; no gradients not finite"


def test_the_rows_are_the_history_number_for_number(short):
    folder, trained = short
    rows = pd.read_csv(folder / "history.csv")
    assert list(rows["step"].unique()) == list(range(1, 21))
    second = rows[rows["run"] == 1]
    np.testing.assert_array_equal(second["value"].to_numpy(np.float32), trained.history.value[1])
    np.testing.assert_array_equal(
        second["gradient_norm_phi"].to_numpy(np.float32), trained.history.gradient_norm.phi[1]
    )
    evaluated = second[second["evaluation['theta']"].notna()]
    np.testing.assert_array_equal(evaluated["step"], trained.history.evaluations.step[1])
    np.testing.assert_array_equal(
        evaluated["evaluation['theta']"].to_numpy(np.float32), trained.history.evaluations.value["theta"][1]
    )
    np.testing.assert_array_equal(
        evaluated["evaluation['loc'][0]"].to_numpy(np.float32), trained.history.evaluations.value["loc"][1, :, 0]
    )


def test_a_grid_of_runs_has_a_row_for_each_and_is_resumed(tmp_path):
    keys, rates = jax.random.split(jax.random.key(3), 3), jnp.array([0.1, 0.2])
    grid = jax.vmap(lambda rate: jax.vmap(lambda key: start(key, rate))(keys))(rates)
    trained = run(tmp_path / "run", num_steps=12, state=grid)
    rows = pd.read_csv(tmp_path / "run" / "history.csv")
    assert list(rows["run"].unique()) == list(range(6))
    last = rows[rows["run"] == 5]
    np.testing.assert_array_equal(last["value"].to_numpy(np.float32), trained.history.value[1, 2])
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "0000000012")
    identical(run(tmp_path / "run", num_steps=12, state=grid), trained)


def test_large_evaluations_get_no_columns_in_a_block_that_is_too_short_for_one(tmp_path):
    trained = run(tmp_path / "run", num_steps=8, evaluate=lambda key, params: jnp.full(101, params.theta))
    assert trained.history.evaluations.value.shape == (2, 2, 101)
    assert not [name for name in pd.read_csv(tmp_path / "run" / "history.csv") if name.startswith("evaluation")]


def test_a_finished_run_computes_nothing_again(short):
    folder, trained = short
    before = (folder / "history.csv").read_bytes()
    lengths = []

    def track(items, phase, **options):
        lengths.extend(items)
        return iter(items)

    identical(run(folder, num_steps=20, track=track), trained)
    assert lengths == []
    assert (folder / "history.csv").read_bytes() == before


@pytest.mark.slow
def test_killed_at_five_random_moments_it_ends_with_the_same_bits(whole, tmp_path):
    folder, trained = whole
    moments, killed = random.Random(0), []
    command = [sys.executable, str(Path(__file__)), str(tmp_path / "killed")]
    cache = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | cache
    for _ in range(5):
        before = newest(tmp_path / "killed")
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        while newest(tmp_path / "killed") == before and process.poll() is None:
            time.sleep(0.005)
        time.sleep(moments.uniform(0.0, 0.2))  # about a block; short, for a machine on which all take a second
        process.kill()
        killed.append(process.wait())
    assert killed == [-9] * 5
    assert 0 < newest(tmp_path / "killed") < STEPS
    identical(run(tmp_path / "killed"), trained)
    assert (tmp_path / "killed" / "history.csv").read_bytes() == (folder / "history.csv").read_bytes()


def newest(folder):
    return max((int(p.name) for p in (folder / "checkpoints").glob("*") if p.name.isdecimal()), default=0)


def test_a_truncated_newest_checkpoint_is_reported_and_the_end_is_the_same(short, tmp_path, capsys):
    folder, trained = short
    copy = shutil.copytree(folder, tmp_path / "copy")
    path = next(
        path for path in (copy / "checkpoints" / "0000000020" / "arrays").rglob("*") if path.stat().st_size > 99
    )
    path.write_bytes(path.read_bytes()[:-1])
    identical(run(copy, num_steps=20), trained)
    said = capsys.readouterr().err
    assert "0000000020 is damaged" in said
    assert "goes on from" in said
    assert "18 steps done" in said
    assert (copy / "history.csv").read_bytes() == (folder / "history.csv").read_bytes()


def test_rows_of_a_block_that_was_not_saved_are_made_again(short, tmp_path):
    folder, trained = short
    copy = shutil.copytree(folder, tmp_path / "copy")
    shutil.rmtree(copy / "checkpoints" / "0000000020")
    identical(run(copy, num_steps=20), trained)
    assert (copy / "history.csv").read_bytes() == (folder / "history.csv").read_bytes()
    shutil.rmtree(copy / "checkpoints")
    identical(run(copy, num_steps=20), trained)
    assert (copy / "history.csv").read_bytes() == (folder / "history.csv").read_bytes()


def test_laps_are_the_blocks_of_this_process(whole, short):
    assert [lap.num_steps for lap in whole[1].laps] == [min(BLOCK, STEPS - first) for first in range(0, STEPS, BLOCK)]
    assert all(lap.seconds > 0 for lap in whole[1].laps)
    assert run(short[0], num_steps=20).laps == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"about": {"seed": 4}, "num_steps": 20}, r"another run \(seed was 3 and is 4\)"),
        ({"num_steps": 30}, r"another run \(num_steps was 20 and is 30\)"),
        ({"num_steps": 20, "batch_size": 3}, r"batch_size was 2 and is 3"),
        ({"num_steps": 20, "state": jax.tree.map(lambda leaf: leaf[0], STACKED)}, r"runs was \[2\] and is \[\]"),
        ({"num_steps": 20, "data": DATA + 1}, r"data was \d+ and is \d+"),
    ],
)
def test_a_folder_of_another_run_is_one_line(short, options, message):
    with pytest.raises(SystemExit, match=message):
        run(short[0], **options)


def test_another_environment_is_one_line_and_no_obstacle(short, tmp_path, capsys):
    copy = shutil.copytree(short[0], tmp_path / "copy")
    path = copy / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"packages": {"jax": "0.0.1"}}))
    run(copy, num_steps=20)
    assert "packages differ from before" in capsys.readouterr().err


@pytest.mark.parametrize("failing", [1, 12, 30])
def test_a_full_disk_is_one_line_and_what_was_saved_goes_on(short, tmp_path, monkeypatch, failing):
    folder, trained = short
    calls, real = [0], os.fsync

    def full(descriptor):
        calls[0] += 1
        if calls[0] >= failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SystemExit, match=r"error: cannot write .*No space left"):
        run(tmp_path / "full", num_steps=20)
    monkeypatch.undo()
    identical(run(tmp_path / "full", num_steps=20), trained)
    assert (tmp_path / "full" / "history.csv").read_bytes() == (folder / "history.csv").read_bytes()


def test_a_gradient_that_is_not_finite_stops_before_it_is_saved_or_is_skipped_by_choice(tmp_path):
    def breaking(key, params, x):
        values, gradient = noisy(key, params, x)
        return values, gradient._replace(theta=jnp.where(params.theta > 3.5, jnp.nan, 1.0))

    def climb(optimizer, **options):
        state = vi.init_state(jax.random.key(0), optimizer, vi.Params(jnp.array(0.0), {"loc": jnp.array(-1.0)}))
        return train(breaking, optimizer, state, DATA, num_steps=12, block=4, **options)

    files = Files(tmp_path / "run", {})
    with pytest.raises(FloatingPointError, match=r"not finite at step 9 .*last good state is that of step 8 in"):
        climb(optax.sgd(0.5), files=files)
    assert newest(tmp_path / "run") == 8
    skipped = climb(optax.apply_if_finite(optax.sgd(0.5), 99), guard=training.tolerate)
    assert skipped.num_nonfinite == 4
    assert skipped.state.params.theta == 4.0
    assert training.summary(skipped) == "12 steps; 4 gradients not finite"


def test_a_rule_stops_it_and_stops_it_again_when_resumed(tmp_path):
    def enough(history):
        return "enough" if history.value.shape[-1] >= 12 else ""

    first = run(tmp_path / "run", num_steps=20, stop=enough)
    assert first.history.value.shape == (2, 12)
    assert training.summary(first) == "24 steps, stopped: enough; no gradients not finite"
    identical(run(tmp_path / "run", num_steps=20, stop=enough), first)


def test_the_track_tells_speed_and_bound():
    labels = []

    def track(items, phase, *, label, cost):
        for item in items:
            yield item
            labels.append(f"{phase} {label(item)} {cost(item)}")

    trained = run(None, num_steps=20, track=track)
    assert len(labels) == 4
    assert labels[-1].startswith("training ")
    assert labels[-1].endswith(f" steps/s, {trained.history.value[:, 18:].mean():.2f} 2.0")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"evaluate_every": 4}, "block = 6 must be a multiple of evaluate_every = 4: make it 8"),
        ({"num_steps": 0}, "num_steps = 0 and block = 6 must be at least 1"),
        (
            {"state": STACKED._replace(step=jnp.array([3, 3]))},
            r"the state has taken \[3 3\] steps: begin with init_state",
        ),
        ({"state": jax.tree.map(lambda leaf: leaf[:0], STACKED)}, r"holds no run, its axes are \(0,\)"),
    ],
)
def test_what_cannot_be_run_in_blocks_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        run(None, **options)


def test_event_files_hold_every_number(short, tmp_path):
    events = pytest.importorskip("tensorboardX.proto.event_pb2")
    write = histories.tensorboard(tmp_path)
    write(short[1].history, 0)
    found = {}
    for path in tmp_path.iterdir():
        data = path.read_bytes()
        while data:  # A record: 8 bytes of length, 4 of checksum, the event, 4 of checksum.
            length = int.from_bytes(data[:8], "little")
            event = events.Event.FromString(data[12 : 12 + length])
            found |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
            data = data[16 + length :]
    assert found["value/1", 7] == short[1].history.value[1, 6]
    assert len([1 for name, _ in found if name.startswith("evaluation")]) == 2 * 2 * 6


def test_event_files_without_their_package_are_one_line(tmp_path, monkeypatch):
    # Not by None in sys.modules, which would also reach the thread of a writer that an earlier test has closed.
    def absent(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(histories.importlib, "import_module", absent)
    with pytest.raises(SystemExit, match=r"pip install 'vi-jax\[tensorboard\]'"):
        histories.tensorboard(tmp_path)


if __name__ == "__main__":
    run(Path(sys.argv[1]))
