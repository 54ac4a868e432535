"""--resume goes on with a run in its folder, under its own configuration, or says in one line why not."""

import dataclasses
import json

import pandas as pd
import pytest

from experiments import cli, resuming, style


@dataclasses.dataclass(frozen=True)
class Config:
    seed: int = 0
    sizes: tuple[int, ...] = (1, 2, 3)


TRAINED = []
STOP_AT = {3}


def run(config, track, folder):
    """Trains each size once, which a folder remembers, and is interrupted at some."""
    for size in track(config.sizes, "sizes"):
        done = folder / "training" / str(size) / "checkpoints"
        if size in STOP_AT:
            raise KeyboardInterrupt
        if not done.exists():
            (done / "0000000001").mkdir(parents=True)
            TRAINED.append((config.seed, size))
        yield [{"size": size, "seed": config.seed}]


def figure(rows):
    return style.panels()[0]


def launch(*argv, config=Config(), **options):
    return cli.main(run, figure, config, quick=Config(sizes=(1,)), call=cli.with_folder, argv=list(argv), **options)


@pytest.fixture
def stopped(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VI_JAX_CACHE", "off")
    TRAINED.clear()
    with pytest.raises(SystemExit):
        launch("--out", str(tmp_path), "--seed", "7")
    STOP_AT.clear()
    yield next((tmp_path / "test_resuming").iterdir())
    STOP_AT.add(3)


def test_a_stopped_run_says_how_to_go_on_and_goes_on_in_its_folder(stopped, capsys, tmp_path):
    assert TRAINED == [(7, 1), (7, 2)]
    assert launch("--resume", str(stopped)) == stopped
    assert TRAINED == [(7, 1), (7, 2), (7, 3)]
    assert list(pd.read_csv(stopped / "rows.csv")["size"]) == [1, 2, 3]
    assert list(pd.read_csv(stopped / "rows-1.csv")["size"]) == [1, 2]
    record = json.loads((stopped / "provenance.json").read_text())
    assert record["status"] == "finished"
    assert record["config"]["seed"] == 7
    assert [run["status"] for run in record["earlier"]] == ["interrupted"]
    assert len(list((tmp_path / "test_resuming").iterdir())) == 1
    # A finished run may be opened again: nothing is trained, and its history grows.
    launch("--resume", str(stopped))
    assert len(TRAINED) == 3
    assert len(json.loads((stopped / "provenance.json").read_text())["earlier"]) == 2


def test_rows_that_were_set_aside_are_never_written_over(stopped):
    (stopped / "rows-2.csv").write_text("mine")
    launch("--resume", str(stopped))
    launch("--resume", str(stopped))
    assert (stopped / "rows-2.csv").read_text() == "mine"
    assert (stopped / "rows-1.csv").exists()
    assert (stopped / "rows-3.csv").exists()


def test_the_way_on_is_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VI_JAX_CACHE", "off")
    with pytest.raises(SystemExit):
        launch("--out", str(tmp_path))
    folder = next((tmp_path / "test_resuming").iterdir())
    assert f"python -m experiments.test_resuming --resume {folder}" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [("--seed", "8"), ("--quick",)])
def test_flags_that_would_be_lost_are_refused(stopped, flags):
    with pytest.raises(SystemExit, match="leave out the other flags"):
        launch("--resume", str(stopped), *flags)
    assert (stopped / "rows.csv").exists()


def test_arguments_that_mean_something_else_now_are_refused(stopped):
    with pytest.raises(SystemExit, match=r"sizes was \[1, 2, 3\] and is \[1, 2\]"):
        launch("--resume", str(stopped), config=Config(sizes=(1, 2)))
    assert (stopped / "rows.csv").exists()


def test_a_checkpoint_that_was_never_finished_is_none(tmp_path):
    (tmp_path / "training" / "checkpoints" / "writing-0000000001").mkdir(parents=True)
    assert not resuming.has_checkpoints(tmp_path)


def test_a_run_without_checkpoints_is_refused(stopped):
    (stopped / "training").rename(stopped / "elsewhere")
    for path in (stopped / "elsewhere").rglob("checkpoints"):
        path.rename(path.with_name("none"))
    with pytest.raises(SystemExit, match="no checkpoints in .*Run it anew"):
        launch("--resume", str(stopped))
