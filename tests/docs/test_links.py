"""Links: code to public names, files of the repository to pages, papers to arXiv, and nothing loaded by network."""

import types
from pathlib import PurePosixPath

import pytest
from docutils import nodes

from docs.extensions import links, offline, repository

PUBLIC = """fit bounds bounds.elbo bounds.renyi exact.elbo models.target models.log_density Model estimators.pathwise"""
NAMES = {f"vi_jax.{name}": "page#anchor" for name in PUBLIC.split()}


@pytest.mark.parametrize(
    ("code", "module", "full"),
    [
        ("vi.fit", None, "vi_jax.fit"),
        ("vi_jax.bounds", None, "vi_jax.bounds"),
        ("bounds.renyi(-inf)", None, "vi_jax.bounds.renyi"),
        ("elbo", None, None),
        ("elbo", "vi_jax.exact", "vi_jax.exact.elbo"),
        ("target", None, None),
        ("log_density", None, "vi_jax.models.log_density"),
        ("Model", "vi_jax.bounds", "vi_jax.Model"),
        ("pathwise", None, "vi_jax.estimators.pathwise"),
        ("renyi = 2", "vi_jax.bounds", None),
        ("[K, ...]", "vi_jax.bounds", None),
        ("vi.missing", None, None),
    ],
)
def test_code_leads_to_the_one_name_it_can_mean(code, module, full):
    assert links.target(code, NAMES, module) == full


def test_papers_are_linked_and_the_text_around_them_stays():
    found = links._with_papers("Burda et al. (arXiv:1509.00519, 1611.01144), who")
    assert [node.astext() for node in found] == ["Burda et al. (", "arXiv:1509.00519", ", ", "1611.01144", "), who"]
    addresses = [node["refuri"] for node in found if isinstance(node, nodes.reference)]
    assert addresses == ["https://arxiv.org/abs/1509.00519", "https://arxiv.org/abs/1611.01144"]


PAGES = {"index", "devices", "changelog", "experiments", "decisions/index", "decisions/0009-the-limit"}
APP = types.SimpleNamespace(
    config=types.SimpleNamespace(repository_pages={"README.md": "index"}),
    env=types.SimpleNamespace(found_docs=PAGES, doc2path=lambda name: repository.ROOT / "docs" / f"{name}.md"),
)


@pytest.mark.parametrize(
    ("page", "folder", "written", "turned"),
    [
        ("changelog", ".", "docs/devices.md#saved", "devices.md#saved"),
        ("decisions/0009-the-limit", "docs/decisions", "../devices.md", "../devices.md"),
        ("decisions/0009-the-limit", "docs/decisions", "../../README.md", "../index.md"),
        ("index", "docs", "../experiments/README.md", "experiments.md"),
        ("index", "docs", "../experiments/zoo.py", "repository:experiments/zoo.py"),
        ("experiments", "experiments", "zoo.py", "repository:experiments/zoo.py"),
        ("experiments", "experiments", "../docs/figures/sweep.png", "figures/sweep.png"),
        ("index", ".", "docs/decisions", "decisions/index.md"),
        ("index", "docs", "https://arxiv.org/abs/1", "https://arxiv.org/abs/1"),
        ("index", "docs", "#here", "#here"),
    ],
)
def test_a_link_of_the_repository_becomes_one_of_the_site(page, folder, written, turned):
    text = f"[it]({written})\n\n```python\nf[it]({written})\n```\n"
    assert repository.relinked(APP, page, text, PurePosixPath(folder)) == text.replace(written, turned, 1)


def test_a_page_takes_in_a_file_or_a_section_or_says_what_is_missing():
    assert repository.section("CHANGELOG.md", None).startswith("# Changelog")
    taken = repository.section("README.md", "Your own model and guide")
    assert taken.startswith("```python\n")
    assert "## " not in taken
    with pytest.raises(ValueError, match=r"'Nowhere' of README.md"):
        repository.section("README.md", "Nowhere")
    with pytest.raises(ValueError, match=r"'NONE.md'.*no such file"):
        repository.section("NONE.md", None)


@pytest.mark.parametrize(
    "text",
    [
        '<script async src="https://cdn.example/x.js"></script>',
        "<link rel='stylesheet' type='text/css' href='//fonts.example/a.css'>",
        '<link href="https://fonts.example" rel="preconnect"/>',
        '<img alt="b" src="http://img.example/badge.svg"/>',
        "@import url('https://fonts.example/a.css');",
        "src: url(https://fonts.example/a.woff2)",
    ],
)
def test_what_a_page_loads_by_network_is_found(text, tmp_path):
    (tmp_path / "page.html").write_text(text)
    ((path, address),) = offline.found_in(tmp_path)
    assert path.name == "page.html"
    assert "example" in address


def test_links_to_follow_and_files_of_the_site_are_not_loaded_by_network():
    text = '<a href="https://arxiv.org"></a><link rel="stylesheet" href="_static/a.css?v=1"><link rel="canonical" '
    assert offline.loaded_from_elsewhere(text + 'href="https://x.example/"><script src="../_static/a.js">') == []
