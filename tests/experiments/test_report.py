import json
import re
import sys
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from experiments import store, style, sweep
from experiments.report import __main__ as report
from experiments.report import chart, missing, sweeps
from tests import reports
from tests.reports import Verdict, experiment, gaps, leave, module

SVG = '<svg xmlns="http://www.w3.org/2000/svg"><path id="p"/></svg>'


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.loads, self.ids, self.targets, self.tags = [], [], [], []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.loads += [attributes[key] for key in ("src", "data", "srcset") if key in attributes]
        self.loads += [attributes["href"]] if tag == "link" else []
        self.targets += [attributes["href"]] if tag == "a" else []


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    leave(results, "a", 1, rows=gaps(), svg=SVG, argv=["--note", "<script>alert(1)</script>"])
    leave(results, "a", 2, rows=gaps(), status="interrupted", message="<b>SIGINT</b>")
    leave(results, "sweep", 1, rows=reports.sweep_rows(), svg=SVG, config={"model": "toy"}, status="interrupted")
    (results / "bench" / f"20261101T120000Z-{reports.HASH}").mkdir(parents=True)
    verdicts = [Verdict("0 < <i>1</i>", "1 & 2", True), Verdict("no", "2", False), Verdict("open", "3", None)]
    modules = {"a": module(verdict=lambda rows: verdicts), "never": module(), "sweep": module()}
    steps = [experiment(name) for name in modules]
    told = report.write(results, None, steps, modules.__getitem__, lambda names, _: {"never": "It failed."})
    text = told[0].read_text()
    parsed = Links()
    parsed.feed(text)
    return text, parsed, told


def test_the_page_loads_nothing_and_every_link_of_it_leads_to_a_place_on_it(written):
    text, parsed, _ = written
    assert parsed.loads
    assert all(source.startswith("data:") for source in parsed.loads)
    assert parsed.targets
    assert {target.removeprefix("#") for target in parsed.targets} <= set(parsed.ids)
    assert len(parsed.ids) == len(set(parsed.ids))
    style_sheet = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    assert "url(" not in style_sheet
    assert "@import" not in style_sheet


def test_what_runs_and_verdicts_say_is_text(written):
    text, _, _ = written
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "0 &lt; &lt;i&gt;1&lt;/i&gt;" in text
    assert "1 &amp; 2" in text
    assert "Is 1 &lt; 2 &amp; 3 &gt; 2?" in text
    assert "that <code>a</code> &lt; all" in text


def test_the_page_says_what_is_missing_and_what_is_unfinished(written):
    text, parsed, (path, failed) = written
    assert (path.name, failed) == ("report.html", {"never": "It failed."})
    assert "<code>never</code>: It failed." in text
    assert "No run that can be shown. <code>python -m experiments.never</code> runs it" in text
    assert "The full run takes 9 min." in text
    assert "did not finish: interrupted" in text
    assert "not on this page: bench." in text
    assert "2 of 3 experiments have a run" in text
    assert parsed.tags.count("h1") == 1
    assert 'alt="Figure for the question: What is a? A line &amp; no more."' in text
    assert re.findall(r"</span> ([^<]*)</span>", text)[:3] == ["1 fails", "1 not resolved", "1 holds"]


def test_a_sweep_becomes_the_series_of_its_own_figure(written):
    text, _, _ = written
    (data,) = json.loads(re.search(r'id="view-data">(.*?)</script>', text, re.DOTALL)[1])
    looks = sweep.looks(reports.sweep_rows())
    assert [series["color"] for series in data["series"]] == [look.color for look in looks.values()]
    assert [series["dash"] for series in data["series"]] == [[1, 0], [1, 0], [8, 3], [8, 3]]
    points = {each["name"]: each["points"] for each in data["quantities"]}
    snr = points[f"{sweeps.PHI}/signal-to-noise ratio"]
    assert [(p["series"], p["k"]) for p in snr] == [(s, k) for s in range(4) for k in (1, 16)]
    np.testing.assert_allclose([p["value"] for p in snr], [0.1, 1.6, 0.2, 3.2, 0.2, 3.2, 0.4, 6.4])
    assert snr[1]["text"] == "1.600 ± 0.050"
    assert all(not point["shown"] for point in points[f"{sweeps.PHI}/bias ÷ length of the true gradient"])
    assert f"{sweeps.PHI}/cosine with the true gradient" not in points


def test_the_sets_of_sample_sweep_are_its_parameter_points():
    names = {
        "parameters": "trained",
        "objective": "iwae",
        "estimator": "vimco",
        "num_samples": 4,
        "milliseconds": np.nan,
    }
    row = names | reports.around("bound", -3.0) | reports.around("snr_phi", 0.04) | reports.around("gap", 0.5)
    data = sweeps.of_samples(pd.DataFrame([row, row | {"parameters": "it's", "bound": -9.0}]), "it's", "")
    assert [(each["name"], each["points"][0]["value"]) for each in data["quantities"]] == [
        (f"{sweeps.BOUND}/value, nats per digit", -9.0),
        (f"{sweeps.BOUND}/gap to log p(x), nats per digit", 0.5),
        (f"{sweeps.PHI}/signal-to-noise ratio", 0.04),
    ]
    assert not data["quantities"][2]["points"][0]["shown"]
    assert data["series"][0]["label"] == style.SERIES["iwae/vimco"].label


def test_infinite_values_are_written_and_not_drawn():
    quantity = sweeps.Quantity("variance", "variance", log=True)
    finite = sweeps.drawn(quantity, 2.0, 1.0, np.inf)
    assert (finite["high"], finite["text"], finite["shown"]) == (2.0, "2 ± inf", True)
    infinite = sweeps.drawn(quantity, -np.inf, -np.inf, 1.0)
    assert (infinite["value"], infinite["shown"]) == (None, False)
    assert infinite["text"].startswith("-inf")
    assert chart.as_json([finite, infinite])


def test_data_cannot_end_the_script_and_every_marker_has_a_path():
    assert "</script" not in chart.as_json(["</script>"])
    assert json.loads(chart.as_json(["</script>"])) == ["</script>"]
    assert {series.marker for series in style.SERIES.values() if series.marker} | set(style.MARKERS) <= set(
        sweeps.MARKS
    )


def test_only_experiments_without_a_run_that_can_be_shown_are_missing(tmp_path):
    leave(tmp_path, "a", 1, rows=gaps(), svg=SVG)
    leave(tmp_path, "b", 1, rows=None, status="failed")
    asked = []
    report.write(
        tmp_path,
        tmp_path / "x" / "p.html",
        [experiment("a"), experiment("b")],
        lambda name: module(),
        lambda names, _: asked.extend(names) or {},
    )
    assert asked == ["b"]
    assert (tmp_path / "x" / "p.html").exists()


def test_an_experiment_that_is_not_one_is_a_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "experiments.mine", SimpleNamespace(figure=None))
    with pytest.raises(SystemExit, match=r"experiments/mine.py defines run\(\) and no Config: see"):
        report.load("mine")


def test_the_page_says_which_commits_the_runs_are_of_where_they_are_not_its_own(tmp_path, monkeypatch):
    leave(tmp_path, "a", 1, rows=gaps(), svg=SVG)
    for commit, told in (("0123456789abcdef", False), ("fedcba9876543210", True), (None, True)):
        monkeypatch.setattr(report.provenance, "commit", lambda _, commit=commit: {"commit": commit, "dirty": False})
        path, _ = report.write(tmp_path, None, [experiment("a")], lambda _: module(), missing.leave)
        text = path.read_text()
        assert ("they are of: 0123456789 (1)" in text) is told
        assert "2026-11-01, 0123456789, 1 min 15 s" in text


def test_a_page_that_is_not_written_leaves_nothing_behind(tmp_path, monkeypatch):
    (tmp_path / "page.html").mkdir()
    with pytest.raises(SystemExit, match=r"page.html: Is a directory. Free some space, or choose another file"):
        report.write(tmp_path, tmp_path / "page.html", [], module, missing.leave)
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(store.os, "fsync", stop)
        with pytest.raises(KeyboardInterrupt):
            store.replace(tmp_path / "other.html", b"page")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    monkeypatch.setattr(report, "write", stop)
    with pytest.raises(SystemExit, match="stopped: no page was written"):
        report.main([str(tmp_path)])


def test_an_unknown_folder_and_a_page_that_cannot_be_written_are_one_line(tmp_path):
    with pytest.raises(SystemExit, match="no folder: give the one that the experiments wrote to"):
        report.main([str(tmp_path / "none")])
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match="error: cannot write .*page.html: File exists"):
        report.write(tmp_path, tmp_path / "file" / "page.html", [], module, missing.leave)
