"""A release has one version: what is installed, cited and told to users is that of the code."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import yaml

import vi_jax as vi

ROOT = Path(__file__).parents[1]


def test_the_version_is_a_semantic_one():
    assert re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", vi.__version__)


def test_what_is_built_has_the_version_of_the_code_and_no_second_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "vi_jax.version.__version__"}
    assert importlib.metadata.version("vi-jax") == vi.__version__


def test_the_newest_heading_of_the_changelog_is_of_this_version():
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert re.fullmatch(r"\[Unreleased\]: ([\d.]+)|\[([\d.]+)\] - \d{4}-\d\d-\d\d", headings[0])
    assert vi.__version__ in headings[0]


def test_the_citation_is_of_this_version_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["version"] == vi.__version__
    assert citation["license"] == project["license"]
    assert set(citation["keywords"]) == set(project["keywords"])
