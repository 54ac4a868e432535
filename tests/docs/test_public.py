"""The public names that the reference shows are those of the code, and those that tests/test_public_api.py states."""

import sys
from pathlib import Path

import pytest

from docs.extensions import public
from tests.test_public_api import PUBLIC

API = Path(__file__).parents[2] / "docs" / "api"


@pytest.mark.parametrize("module", public.MODULES)
def test_the_code_binds_the_names_that_are_stated_and_no_others(module):
    submodules = {name.rpartition(".")[2] for name in public.submodules(module)}
    assert set(public.public_names(module)) == set(PUBLIC[module].split()) - submodules


def test_every_module_of_the_list_has_its_page_and_its_place_in_the_contents():
    assert {path.stem for path in API.glob("vi_jax*.md")} == set(public.MODULES) == PUBLIC.keys()
    for module in public.MODULES:
        assert f"{{public-module}} {module}\n" in (API / f"{module}.md").read_text()
        assert f"\n{module}\n" in (API / "index.md").read_text()


def test_a_public_module_inside_another_has_a_page_to_get(example):
    assert list(public.with_submodules(example)) == [example, f"{example}.inner"]


def test_every_public_name_is_documented():
    assert public.undocumented() == []


@pytest.fixture
def example(tmp_path, monkeypatch):
    """Modules a_package and a_package.inner, with every way to bind a name."""
    (tmp_path / "a_package").mkdir()
    (tmp_path / "a_package" / "__init__.py").write_text(
        '"""A package."""\n'
        "from typing import TYPE_CHECKING\n"
        "from a_package import inner as inner\n"
        "from a_package.inner import CONSTANT as CONSTANT\n"
        "from a_package.inner import Point as Point\n"
        "from a_package.inner import __version__ as __version__\n"
        "from a_package.inner import _private, helper\n"
        "from a_package.inner import bare as bare\n"
        "if TYPE_CHECKING:\n    from a_package.inner import lazy as lazy\n"
        "def __getattr__(name):\n    return getattr(inner, name)\n"
    )
    (tmp_path / "a_package" / "inner.py").write_text(
        '"""Inside."""\nfrom typing import NamedTuple\nCONSTANT = 1\n"""One."""\nOTHER = 2\n__version__ = "1"\n'
        "class Point(NamedTuple):\n    x: int\n"
        "def bare(x): ...\n"
        'def lazy():\n    """Late."""\n'
        "def _private(): ...\n"
        "def helper(): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "a_package"
    for name in ("a_package", "a_package.inner"):
        sys.modules.pop(name, None)


def test_what_is_public_is_read_from_the_source(example):
    assert public.public_names(example) == ("bare", "CONSTANT", "lazy", "Point")
    assert public.public_names("a_package.inner") == ("bare", "CONSTANT", "helper", "lazy", "Point")
    assert public.submodules(example) == ["a_package.inner"]
    assert public.home_of(example, "lazy") == "a_package.inner"


def test_a_constant_has_the_docstring_below_it_and_a_bare_name_has_none(example, monkeypatch):
    assert public.documentation(example, "CONSTANT") == "One."
    assert public.documentation(example, "lazy") == "Late."
    monkeypatch.setattr(public, "MODULES", (example,))
    assert public.undocumented() == ["a_package.bare", "a_package.Point"]
