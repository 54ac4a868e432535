"""The table of sources is consistent in itself and with the page that describes it."""

import inspect
import pathlib
import re
from typing import get_type_hints

import pytest

from vi_jax import data
from vi_jax.data import sources
from vi_jax.data.find import Source

SOURCES = [value for value in vars(sources).values() if isinstance(value, Source)]
SPLITS = (data.ImageSplit, data.StaticSplit, data.GermanCredit, data.ReferencePosterior)
PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "data.md").read_text()


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_downloads_are_the_files_of_the_first_container(source):
    files = [remote.file for remote in source.downloads]
    assert files in ([], list(source.containers[0].files))
    for remote in source.downloads:
        assert all(url.endswith("/" + remote.file) for url in remote.urls)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_checksums_are_sha256_and_whoever_downloads_has_them_of_the_data_too(source):
    checksums = [*source.sha256.values(), *(remote.sha256 for remote in source.downloads)]
    assert all(re.fullmatch("[0-9a-f]{64}", checksum) for checksum in checksums)
    assert len(set(checksums)) == len(checksums)
    assert source.sha256 or not source.downloads


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_the_page_names_each_folder_that_a_download_goes_to(source):
    assert f"`{source.folders[0]}`" in PAGE


def test_the_page_names_every_loader():
    functions = {name: value for name, value in vars(data).items() if inspect.isfunction(value)}
    loaders = {name for name, value in functions.items() if get_type_hints(value).get("return") in SPLITS}
    assert loaders == set(re.findall(r"\| `(\w+)\(\)`", PAGE))
