"""The Python blocks of the pages run, and the experiments and make targets that they name exist."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("experiments/**/*.md")])
# A block that is not run says why in a comment on the line above it, and on the fence that it is not.
FENCE = re.compile(r"(?ms)^(?P<above>[^\n]*)\n```python(?P<marks>[^\n]*)\n(?P<code>.*?)^```[ ]*$")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(text: str) -> list[str]:
    """The blocks that are run, each preceded by as many empty lines as put it where it stands on its page."""
    found = []
    for match in FENCE.finditer("\n" + text):
        marks = match["marks"].split()
        if marks not in ([], ["notest"]):
            raise ValueError(f"a fence says python {' '.join(marks)!r}: only `notest` is known.")
        if marks and not re.fullmatch(r"<!-- .{10,} -->", match["above"].strip()):
            raise ValueError("a block marked `notest` needs a line above it that says why: <!-- It needs … -->")
        if not marks:
            found.append("\n" * text[: match.start("code") - 1].count("\n") + match["code"])
    return found


# tests/test_readme.py runs the blocks of the README, once, and asks what they have found.
RUN_HERE = [path for path in PAGES if path.name != "README.md" or path.parent != ROOT]


@pytest.mark.parametrize("path", [path for path in RUN_HERE if "```python" in path.read_text()], ids=name)
def test_the_blocks_of_a_page_run_in_order(path):
    """Their assertions are the test: estimators of a bound agree, a posterior is the same by every way to it."""
    namespace: dict[str, object] = {"__name__": "page"}
    for block in blocks(path.read_text()):
        exec(compile(block, name(path), "exec"), namespace)


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_the_commands_on_a_page_exist(path):
    text = FENCE.sub("", "\n" + path.read_text())  # a program may name itself
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    assert {match for match in re.findall(r"(?:`|^ {4}|\$ )make ([a-z][a-z-]*)", text, re.MULTILINE)} <= targets
    for module in set(re.findall(r"python -m (experiments(?:\.[a-z_]+)+)", text)):
        assert importlib.util.find_spec(module) is not None, f"{name(path)} names {module}"


def test_a_block_that_is_not_run_says_why():
    text = "<!-- It needs eight devices. -->\n```python notest\n1 / 0\n```\n\n```python\nx = 1\n```\n"
    assert blocks(text) == ["\n" * 6 + "x = 1\n"]
    with pytest.raises(ValueError, match="says why"):
        blocks(text.replace("<!--", "<--"))
    with pytest.raises(ValueError, match="'notset'"):
        blocks(text.replace("notest", "notset"))
