"""The command line is tested on a tiny experiment: this file is its module."""

import dataclasses
import datetime
import errno
import importlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

from experiments import cli, provenance, style, verdicts

NAME = "test_cli"


@dataclasses.dataclass(frozen=True)
class Config:
    seed: int = 0
    num_samples: tuple[int, ...] = (1, 2, 4, 8)
    scale: float = 1.0


FULL, QUICK = Config(), Config(num_samples=(1, 2))


def run(config, track):
    rng = np.random.default_rng(config.seed)
    for k in track(config.num_samples, "sweep", label=lambda k: f"K={k}"):
        gap = -config.scale * rng.random() / k
        yield [{"K": k, "bound": "iwae", "gap": gap, "gap_low": gap - 0.1, "gap_high": gap + 0.1}]


def figure(rows):
    drawn, axes = style.panels()
    style.band(axes[0, 0], rows, "K", "gap", **style.line("iwae"))
    return drawn


def never(config, track):
    pytest.fail("computed")
    yield


@pytest.fixture(autouse=True)
def no_compilation_cache(monkeypatch):
    """The cache of the process that runs the tests stays as it is."""
    monkeypatch.setenv("VI_JAX_CACHE", "off")
    names = ("jax_compilation_cache_dir", "jax_enable_compilation_cache", "jax_persistent_cache_min_compile_time_secs")
    before = {name: provenance.jax_flag(name) for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def launch(out, *flags, run=run, figure=figure, **options):
    return cli.main(run, figure, FULL, quick=QUICK, argv=["--out", str(out), *flags], **options)


def record_of(folder):
    return json.loads((folder / "provenance.json").read_text())


def only_run(out):
    (folder,) = (out / NAME).iterdir()
    return folder


def test_a_run_leaves_rows_provenance_and_both_figures(tmp_path, capsys):
    folder = launch(tmp_path)
    assert folder.parent == tmp_path / NAME
    assert sorted(path.name for path in folder.iterdir()) == [
        "figure.png",
        "figure.svg",
        "provenance.json",
        "rows.csv",
    ]
    printed = capsys.readouterr().out.splitlines()
    assert printed[-4:] == [str(folder / name) for name in ("rows.csv", "figure.png", "figure.svg", "provenance.json")]


def test_the_figure_is_kept_where_it_is_asked_for(tmp_path):
    kept = tmp_path / "docs" / "kept.png"
    for seed in ("1", "2"):
        folder = launch(tmp_path / seed, "--seed", seed, "--keep-figure", str(kept))
        assert kept.read_bytes() == (folder / "figure.png").read_bytes()
    assert [path.name for path in kept.parent.iterdir()] == ["kept.png"]


def test_a_figure_that_cannot_be_kept_costs_one_line_and_no_rows(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match="error: cannot write .*kept.png"):
        launch(tmp_path / "out", "--keep-figure", str(tmp_path / "file" / "kept.png"))
    assert (only_run(tmp_path / "out") / "rows.csv").exists()


def test_the_rows_on_disk_are_the_rows_computed(tmp_path):
    folder = launch(tmp_path)
    saved = pd.read_csv(folder / "rows.csv")
    pd.testing.assert_frame_equal(saved, cli.collect(run, FULL), check_exact=True, check_dtype=False)


@pytest.mark.parametrize(
    ("flags", "config"),
    [
        ([], FULL),
        (["--quick"], QUICK),
        (["--quick", "--num-samples", "16", "32"], Config(num_samples=(16, 32))),
        (["--scale", "2", "--quick", "--seed", "7"], Config(seed=7, num_samples=(1, 2), scale=2.0)),
    ],
)
def test_flags_override_the_configuration_that_quick_selects(tmp_path, flags, config):
    record = record_of(launch(tmp_path, *flags))
    assert record["config"] == json.loads(json.dumps(dataclasses.asdict(config)))
    assert record["seed"] == config.seed
    assert record["argv"] == ["--out", str(tmp_path), *flags]


def test_provenance_is_written_before_the_first_row_and_completed_after_the_last(tmp_path):
    seen = []

    def looking(config, track):
        seen.append(record_of(only_run(tmp_path)))
        yield from run(config, track)

    after = record_of(launch(tmp_path, run=looking))
    (before,) = seen
    assert before["status"] == "running"
    assert after["status"] == "finished"
    assert {name: after[name] for name in before if name != "status"} == {
        name: before[name] for name in before if name != "status"
    }
    assert after["finished"] >= after["started"]
    assert before["experiment"] == NAME
    assert before["packages"]["jax"] == jax.__version__
    assert before["device"]["count"] == len(jax.devices())
    assert before["jax"]["jax_enable_x64"] == provenance.jax_flag("jax_enable_x64")


def test_two_runs_in_the_same_second_share_nothing(tmp_path, monkeypatch):
    second = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    monkeypatch.setattr(provenance, "now", lambda: second)
    first = launch(tmp_path)
    before = (first / "rows.csv").read_bytes()
    assert launch(tmp_path).name == f"{first.name}-2"
    assert launch(tmp_path).name == f"{first.name}-3"
    assert (first / "rows.csv").read_bytes() == before


@pytest.fixture
def not_ignored():
    """Both signals as a program in the foreground has them: a shell starts those in the background without Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before[0])
    signal.signal(signal.SIGTERM, before[1])


@pytest.mark.usefixtures("not_ignored")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_keeps_the_rows_it_reported(tmp_path, capsys, number, status):
    def stopped(config, track):
        for count, block in enumerate(run(config, track)):
            yield block
            if count == 1:
                os.kill(os.getpid(), number)

    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stop:
        launch(tmp_path, run=stopped)
    assert stop.value.code == status
    folder = only_run(tmp_path)
    assert record_of(folder)["status"] == "interrupted"
    assert record_of(folder)["message"] == number.name
    assert pd.read_csv(folder / "rows.csv")["K"].tolist() == [1, 2]
    assert f"--from {folder}" in capsys.readouterr().err
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


def test_rows_are_on_disk_before_the_next_block_is_begun(tmp_path):
    lengths = []

    def counting(config, track):
        for block in run(config, track):
            yield block
            lengths.append(len(pd.read_csv(only_run(tmp_path) / "rows.csv")))

    launch(tmp_path, run=counting)
    assert lengths == [1, 2, 3, 4]


def test_a_failure_is_recorded_and_shown(tmp_path):
    def failing(config, track):
        yield [{"K": 1, "gap": 0.0}]
        raise ZeroDivisionError("no weights")

    with pytest.raises(ZeroDivisionError, match="no weights"):
        launch(tmp_path, run=failing)
    record = record_of(only_run(tmp_path))
    assert record["status"] == "failed"
    assert record["message"] == "ZeroDivisionError: no weights"
    assert len(pd.read_csv(only_run(tmp_path) / "rows.csv")) == 1


def test_a_failure_of_the_figure_or_the_table_is_recorded_too(tmp_path):
    def wrong(rows):
        raise KeyError("no such column")

    for out, options in ((tmp_path / "a", {"figure": wrong}), (tmp_path / "b", {"table": wrong})):
        with pytest.raises(KeyError):
            launch(out, **options)
        assert record_of(only_run(out))["status"] == "failed"
        assert len(pd.read_csv(only_run(out) / "rows.csv")) == 4


def test_a_run_without_rows_says_so(tmp_path):
    with pytest.raises(SystemExit, match=r"no rows in .*rows\.csv"):
        launch(tmp_path, run=lambda config, track: iter([]))
    assert record_of(only_run(tmp_path))["status"] == "failed"


@pytest.mark.parametrize("below", ["", "below"])
def test_an_out_that_is_a_file_is_one_line(tmp_path, below):
    (tmp_path / "results").write_text("mine")
    with pytest.raises(SystemExit) as stop:
        launch(tmp_path / "results" / below)
    assert str(stop.value.code) == (
        f"error: {tmp_path / 'results'} is a file, not a folder. Choose another folder with --out DIR."
    )
    assert (tmp_path / "results").read_text() == "mine"


def test_a_disk_that_fills_up_is_one_line_and_keeps_whole_rows(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def filling(config, track):
        for count, block in enumerate(run(config, track)):
            if count == 2:
                monkeypatch.setattr(os, "fsync", full)
            yield block

    with pytest.raises(SystemExit) as stop:
        launch(tmp_path, run=filling)
    path = only_run(tmp_path) / "rows.csv"
    assert str(stop.value.code) == (
        f"error: cannot write {path}: No space left on device. "
        "Free some space, or choose another folder with --out DIR."
    )
    assert pd.read_csv(path)["K"].tolist() == [1, 2]


def test_from_draws_the_same_figure_again_and_computes_nothing(tmp_path, capsys):
    folder = launch(tmp_path)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert launch(tmp_path, "--from", str(folder), run=never) == folder
    for name, content in before.items():
        assert (folder / name).read_bytes() == content
    assert (folder / "figure-2.svg").read_bytes() == before["figure.svg"]
    assert (folder / "figure-2.png").read_bytes() == before["figure.png"]
    assert str(folder / "figure-2.svg") in capsys.readouterr().out
    assert only_run(tmp_path) == folder


def test_rows_of_an_unfinished_run_that_are_too_few_are_one_line(tmp_path):
    def judge(rows):
        return [verdicts.Verdict("c", str(rows.set_index("K").loc[99, "gap"]), True)]

    folder = launch(tmp_path)
    with pytest.raises(KeyError):
        launch(tmp_path, "--from", str(folder), verdict=judge)
    path = folder / "provenance.json"
    path.write_text(json.dumps(record_of(folder) | {"status": "interrupted"}))
    with pytest.raises(
        SystemExit, match=r"did not finish \(interrupted\).* too few .*KeyError: 99.*\. Run it anew: python"
    ):
        launch(tmp_path, "--from", str(folder), verdict=judge)


def test_from_refuses_what_is_not_a_run_of_this_experiment(tmp_path):
    with pytest.raises(SystemExit, match=r"cannot read .*provenance\.json"):
        launch(tmp_path, "--from", str(tmp_path))
    (tmp_path / "provenance.json").write_text('{"experiment": "gradient_snr"}')
    with pytest.raises(SystemExit, match=r"holds a run of gradient_snr"):
        launch(tmp_path, "--from", str(tmp_path))


def test_the_table_is_the_one_the_experiment_gives(tmp_path, capsys):
    launch(tmp_path, table=lambda rows: rows.loc[rows["K"] == 8, ["K", "gap", "gap_low", "gap_high"]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["K", "gap"]
    assert re.fullmatch(r"8 +-\d\.\d\d ± 0\.10", lines[2].strip())


def test_verdicts_stand_below_the_table_and_do_not_change_the_exit(tmp_path, capsys):
    def judge(rows):
        return [verdicts.Verdict("K is even", f"{len(rows)} rows", bool((rows["K"] % 2 == 0).all()))]

    folder = launch(tmp_path, verdict=judge)
    expected = ["fails: K is even — 4 rows", str(folder / "rows.csv")]
    assert capsys.readouterr().out.splitlines()[-5:-3] == expected
    launch(tmp_path, "--from", str(folder), verdict=judge)
    assert expected[0] in capsys.readouterr().out.splitlines()


@dataclasses.dataclass(frozen=True)
class Unseeded:
    scale: float = 1.0


@dataclasses.dataclass(frozen=True)
class Clashing:
    seed: int = 0
    out: str = ""


@pytest.mark.parametrize(
    ("config", "quick", "message"),
    [
        (Config, QUICK, "instances of one dataclass"),
        (FULL, Unseeded(), "instances of one dataclass"),
        (Unseeded(), Unseeded(), "needs a field `seed"),
        (Clashing(), Clashing(), r"must not have fields \['out'\]"),
    ],
)
def test_a_configuration_out_of_contract_is_named(config, quick, message):
    with pytest.raises(TypeError, match=message):
        cli.main(run, figure, config, quick=quick, argv=[])


def test_help_shows_the_question_every_field_and_the_cache(capsys):
    with pytest.raises(SystemExit) as stop:
        launch("results", "--help")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "The command line is tested on a tiny experiment" in text
    for flag in ("--quick", "--out", "--from", "--resume", "--seed", "--num-samples", "--scale", "VI_JAX_CACHE=off"):
        assert flag in text


def test_an_unknown_flag_exits_with_2(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        launch(tmp_path, "--quik")
    assert stop.value.code == 2
    assert "--quik" in capsys.readouterr().err


def test_the_compilation_cache_is_where_the_environment_says(tmp_path, monkeypatch):
    jax.config.update("jax_compilation_cache_dir", None)
    assert cli.enable_compilation_cache({"VI_JAX_CACHE": "off"}) is None
    assert not provenance.jax_flag("jax_enable_compilation_cache")
    assert cli.enable_compilation_cache({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "vi_jax" / "xla"
    # JAX has a folder by now, and only an explicit choice moves it.
    assert cli.enable_compilation_cache({"XDG_CACHE_HOME": "/elsewhere"}) == tmp_path / "vi_jax" / "xla"
    assert cli.enable_compilation_cache({"VI_JAX_CACHE": str(tmp_path / "mine")}) == tmp_path / "mine"
    jax.config.update("jax_compilation_cache_dir", None)
    assert cli.enable_compilation_cache({"HOME": "/"}) == Path.home() / ".cache" / "vi_jax" / "xla"


SCRIPT = '''"""Does it run?"""

import dataclasses

import jax

from experiments import cli, style


@dataclasses.dataclass(frozen=True)
class Config:
    seed: int = 0


def run(config, track):
    for k in track(range(1, 40), "sweep"):
        value = jax.jit(lambda x: jax.lax.fori_loop(0, 3, lambda i, y: y @ y.T, x).sum())(jax.numpy.ones((2, 2)))
        yield [{name: float(value) for name in ("snr", "snr_low", "snr_high", *map("a_long_name_{}".format, range(8)))}]
        if k == 3:
            break


def figure(rows):
    return style.panels()[0]


if __name__ == "__main__":
    cli.main(run, figure, Config(), quick=Config())
'''


def test_the_experiment_in_the_readme_runs(tmp_path, monkeypatch):
    readme = (Path(cli.__file__).parent / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    (tmp_path / "gap_rate.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("gap_rate")
    config = module.Config()
    argv = ["--out", str(tmp_path)]
    folder = cli.main(module.run, module.figure, config, quick=config, verdict=module.verdict, argv=argv)
    assert folder.parent == tmp_path / "gap_rate"
    assert pd.read_csv(folder / "rows.csv")["K"].tolist() == list(config.num_samples)


def test_as_a_process_without_a_terminal(tmp_path):
    (tmp_path / "gradient_question.py").write_text(SCRIPT)
    root = Path(cli.__file__).parents[1]
    environment = {name: value for name, value in os.environ.items() if name not in ("VI_JAX_CACHE", "COLUMNS")} | {
        "PYTHONPATH": os.pathsep.join((str(tmp_path), str(root))),
        "VI_JAX_CACHE": str(tmp_path / "cache"),
        "PYTHONIOENCODING": "ascii",
    }
    done = subprocess.run(
        [sys.executable, "-m", "gradient_question", "--quick"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    (folder,) = (tmp_path / "results" / "gradient_question").iterdir()
    assert len(pd.read_csv(folder / "rows.csv")) == 3
    assert list((tmp_path / "cache").iterdir())
    assert "\x1b" not in done.stdout + done.stderr
    assert "\r" not in done.stdout + done.stderr
    table = done.stdout[: done.stdout.index("columns not shown")]
    assert max(map(len, table.splitlines())) <= 80
    assert "512 ? 0 " in table
