from pathlib import Path

import pandas as pd
import pytest

from experiments.report import markup, missing, runs, sections, story
from tests import reports
from tests.reports import Config, experiment, gaps, leave, module

ROOT = Path(__file__).parents[2]
FULL = Config()
SVG = '<svg xmlns="http://www.w3.org/2000/svg"><path id="p"/></svg>'


def shown(results, name="a"):
    return runs.found(results, name, FULL)[0][0].folder.name[:8]


def test_the_story_is_every_experiment_that_make_runs_in_the_order_of_the_table():
    told = story.experiments()
    files = {path.stem for path in (ROOT / "experiments").glob("*.py") if "\ndef run(" in path.read_text()}
    assert {each.name for each in told} == files
    assert len(told) == len(files)
    text = (ROOT / "experiments" / "README.md").read_text()
    places = [text.index(f"`python -m experiments.{each.name}`") for each in told]
    assert places == sorted(places)
    assert all(each.question.endswith("?") and each.shows and each.time for each in told)


def test_an_experiment_without_a_row_comes_last(tmp_path):
    (tmp_path / "README.md").write_text(
        "| q | command | s | t |\n|---|---|---|---|\n| B\\|? | `python -m experiments.b` | s | 1 |"
    )
    for name in "ab":
        (tmp_path / f"{name}.py").write_text("def run(config, track): ...\n")
    (tmp_path / "helper.py").write_text("    def run(): ...\n")
    assert [(each.name, each.question) for each in story.experiments(tmp_path)] == [("b", "B|?"), ("a", "a")]


def test_finished_before_interrupted_full_before_quick_then_the_newest(tmp_path):
    leave(tmp_path, "a", 1, rows=gaps(), status="interrupted")
    assert shown(tmp_path) == "20261101"
    leave(tmp_path, "a", 2, rows=gaps(), argv=["--quick"], config={"num_steps": 1})
    assert shown(tmp_path) == "20261102"
    leave(tmp_path, "a", 3, rows=gaps(), config={"num_steps": 50})
    leave(tmp_path, "a", 4, rows=gaps(), argv=["--quick"])
    assert shown(tmp_path) == "20261103"
    leave(tmp_path, "a", 5, rows=gaps())
    leave(tmp_path, "a", 6, rows=gaps())
    leave(tmp_path, "a", 7, rows=gaps(), status="failed")
    assert shown(tmp_path) == "20261106"
    found, _ = runs.found(tmp_path, "a", FULL)
    assert [run.kind for run in found[:5]] == ["full", "full", "custom", "quick", "quick"]
    assert found[2].changed == ("num_steps = 50",)


def test_of_runs_of_one_second_the_last_is_the_newest(tmp_path):
    for suffix in ("", "-2", "-10"):
        folder = leave(tmp_path, "a", 1, rows=gaps())
        folder.rename(f"{folder}-last" if not suffix else f"{folder}{suffix}")
    last = tmp_path / "a" / f"20261101T120000Z-{reports.HASH}"
    Path(f"{last}-last").rename(last)
    assert [run.folder.name[25:] for run in runs.found(tmp_path, "a", FULL)[0]] == ["-10", "-2", ""]


def test_a_figure_that_is_none_is_drawn_anew(tmp_path):
    leave(tmp_path, "a", 1, rows=gaps(), svg="half a")
    drawn = sections.build(experiment("a"), module(), tmp_path).figure
    assert drawn is not None
    assert b"<svg" in drawn


def test_what_cannot_be_read_is_named_with_its_reason(tmp_path):
    leave(tmp_path, "a", 1, rows=None, status="failed", message="ValueError: no")
    (leave(tmp_path, "a", 2, rows=gaps()) / "provenance.json").write_text("{")
    (leave(tmp_path, "a", 3, rows=gaps()) / "provenance.json").write_text("[]")
    (leave(tmp_path, "a", 4) / "rows.csv").write_text('K,gap\n1,"2\n3,4,5\n')
    leave(tmp_path, "a", 5, rows=gaps(), experiment="b")
    leave(tmp_path, "a", 6, rows=gaps(), status="dreaming")
    leave(tmp_path, "a", 9, rows=gaps(), git="0123", device=["cpu"])
    leave(tmp_path, "a", 10, rows=gaps(), seconds=float("nan"))
    leave(tmp_path, "a", 11, rows=gaps().head(0))
    with open(leave(tmp_path, "a", 12, rows=gaps()) / "rows.csv", "a") as file:
        file.write("64,0.1,0.0")
    (tmp_path / "a" / f"20261108T120000Z-{reports.HASH}").mkdir()
    (tmp_path / "a" / "states").mkdir()
    found, broken = runs.found(tmp_path, "a", FULL)
    assert found == []
    reasons = [each.reason for each in broken]
    expected = [
        "failed: ValueError: no",
        "no provenance",
        "list",
        "rows.csv cannot be read",
        "'b'",
        "'dreaming'",
        "empty",
        "nothing that can be read of git, device",
        "seconds = nan",
        "no rows",
        "middle of a line",
    ]
    assert len(reasons) == len(expected)
    assert all(part in reason for part, reason in zip(expected, reasons, strict=True)), reasons


def test_a_run_without_a_figure_is_drawn_from_its_rows_and_one_with_several_shows_the_newest(tmp_path):
    folder = leave(tmp_path, "a", 1, rows=gaps())
    drawn = sections.build(experiment("a"), module(), tmp_path).figure
    assert drawn is not None
    assert b"<svg" in drawn
    assert sorted(path.name for path in folder.iterdir()) == ["provenance.json", "rows.csv"]
    for name, text in (("figure", "1"), ("figure-2", "2"), ("figure-10", "10")):
        (folder / f"{name}.svg").write_text(f"<svg>{text}")
    assert sections.build(experiment("a"), module(), tmp_path).figure == b"<svg>10"


def test_code_that_does_not_fit_the_rows_is_a_trouble_and_the_rest_is_shown(tmp_path):
    leave(tmp_path, "a", 1, rows=gaps(), svg=SVG)
    section = sections.build(experiment("a"), module(verdict=lambda rows: rows["gone"], table=gaps), tmp_path)
    first, second, remedy = section.troubles
    assert "the table could not be made of these rows: ValueError" in first
    assert "the verdicts could not be made of these rows: KeyError: 'gone'" in second
    assert "older than this code: python -m experiments.a makes new" in remedy
    assert section.figure == SVG.encode()
    assert section.verdicts == ()


def test_the_table_is_the_experiments_own_with_intervals_and_a_word_on_rows_left_out(tmp_path):
    table = pd.concat([gaps()] * 31)
    leave(tmp_path, "a", 1, rows=table, svg=SVG)
    section = sections.build(experiment("a"), module(table=lambda rows: rows.assign(K=rows["K"] + 1)), tmp_path)
    assert section.table is not None
    shown, numeric, left_out = section.table
    assert (len(shown), left_out) == (60, 2)
    assert list(shown.columns) == ["K", "gap"]
    assert list(shown.iloc[0]) == ["2", "1.00 ± 0.10"]
    text = markup.table(shown, numeric, "caption")
    assert text.count('scope="row"') == 60
    assert text.count('scope="col"') == 2


def test_missing_experiments_are_run_in_their_quick_form_and_failures_are_told(tmp_path, capsys):
    commands = []
    call = lambda command: commands.append(command) or int(command[2] == "experiments.b")  # noqa: E731
    failed = missing.run_quick(["a", "b"], tmp_path, call)
    assert [command[1:] for command in commands] == [
        ["-m", f"experiments.{name}", "--quick", "--out", str(tmp_path)] for name in "ab"
    ]
    assert list(failed) == ["b"]
    assert "exit status 1" in failed["b"]
    assert "2 experiments have no run" in capsys.readouterr().err


def test_ctrl_c_during_a_quick_run_ends_with_a_line(tmp_path):
    def stopped(command):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit, match="what has run is kept"):
        missing.run_quick(["a"], tmp_path, stopped)
