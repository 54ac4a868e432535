"""What CONTRIBUTING.md names exists, and its program runs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
PLACES = r"(?:vi_jax|tests|experiments|docs|\.github|\.ci)/[\w./*-]*"


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", TEXT))))
def test_every_link_leads_to_a_file(target):
    assert (ROOT / target).exists()


@pytest.mark.parametrize(
    "place", sorted(set(re.findall(rf"`({PLACES}|[\w.]+\.(?:cff|md|py))`", TEXT)) - {"__init__.py"})
)
def test_every_path_is_there(place):
    assert "NAME" in place or list(ROOT.glob(place))


def test_every_target_is_one_of_the_makefile():
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)(?=[` ]|$)", TEXT, re.MULTILINE))
    assert len(named) > 8
    assert named <= known


def test_every_table_that_takes_a_row_is_in_the_file_that_is_named():
    rows = re.findall(r"`(?P<table>[A-Z]+)` of (`[\w/.]+`(?: and of `[\w/.]+`)?)", TEXT)
    assert len(rows) >= 4
    for table, files in rows:
        for file in re.findall(r"`([^`]+)`", files):
            assert re.search(rf"^{table}\b.*=", (ROOT / file).read_text(), re.MULTILINE), (table, file)


def test_the_program_that_profiles_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    exec(compile(block, "CONTRIBUTING.md", "exec"), {})
    num_bytes, operations = re.fullmatch(r"(\d+) bytes, ([\d.]+) operations\n", capsys.readouterr().out).groups()
    draws = 8 * 64 * 20 * 4  # z alone, in float32
    assert draws < float(num_bytes) < 20 * draws
    assert float(operations) > 8 * 64 * 20**2
    assert list((tmp_path / "results" / "trace").rglob("*.trace.json.gz"))
