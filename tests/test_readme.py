"""The README runs: its Python blocks in order, and every name and file it mentions."""

import contextlib
import io
import pathlib
import re

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def executed():
    namespace, printed = {}, io.StringIO()
    with contextlib.redirect_stdout(printed):
        for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
            exec(compile(block, "README.md", "exec"), namespace)
    return namespace, printed.getvalue()


def test_the_blocks_run_and_training_closes_the_gap_to_the_evidence(executed):
    namespace, printed = executed
    first, last = namespace["history"].value[0], namespace["history"].value[-1]
    log_p = float(np.mean(namespace["evidence"].log_evidence))
    assert first < last
    assert abs(log_p - last) < 0.1
    assert f"log p(x) = {log_p:.3f} nats" in printed


def test_the_first_example_fits_on_a_screen():
    block = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL).group(1)
    assert len([line for line in block.splitlines() if line.strip()]) <= 26


def section(title: str) -> str:
    return TEXT.split(f"## {title}")[1].split("\n## ")[0]


def test_the_story_is_every_experiment_once_and_each_has_its_row_and_its_figure():
    files = {path.stem for path in (ROOT / "experiments").glob("*.py") if "\ndef run(" in path.read_text()}
    story = re.findall(r"\| `([a-z_]+)` \|", section("The story"))
    assert sorted(story) == sorted(files)
    rows = (ROOT / "experiments" / "README.md").read_text()
    told = re.findall(
        r"(?m)^    (?:python -m experiments\.(\w+)|make (certify))$", (ROOT / "docs" / "story.md").read_text()
    )
    assert [a or b for a, b in told] == story == re.findall(r"`python -m experiments\.(\w+)` \|", rows)[: len(story)]
    for name in files:
        assert f"`python -m experiments.{name}`" in rows
        assert f"(../docs/figures/{name}.png)" in rows
        assert (ROOT / "docs" / "figures" / f"{name}.png").exists()


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", TEXT))
def test_every_link_leads_to_a_file(target):
    assert (ROOT / target).exists()
