"""A page of the reference: signatures as the source writes them, every name once, and warnings that name what fails."""

import inspect
import types

import pytest

from docs.extensions import public, reference
from docs.extensions.annotations import full_name
from docs.extensions.signatures import constant, signature
from vi_jax import bounds, measurement
from vi_jax.bounds import grouped


@pytest.mark.parametrize(
    ("module", "name", "written"),
    [
        ("vi_jax.bounds", "renyi", "(alpha: float) -> BoundFn"),
        ("vi_jax.estimators", "pathwise", "(bound: BoundFn) -> CoefficientFn"),
        ("vi_jax", "Params", "(theta: PyTree, phi: PyTree)"),
        ("vi_jax", "Estimator", "(bound: BoundFn, /) -> CoefficientFn"),
        ("vi_jax.guides", "Concrete", "(logits: jax.Array, temperature: jax.Array | float)"),
        ("vi_jax.models", "THREE_STATES", ""),
        (
            "vi_jax",
            "TrainState",
            "(params: Params, opt_state: optax.OptState, step: jax.Array, key: jax.Array, extra: PyTree = ())",
        ),
    ],
)
def test_a_signature(module, name, written):
    assert signature(module, name) == written


def test_a_constant_has_its_type_and_a_value_that_can_be_read():
    assert constant("vi_jax.bounds.csiszar", "LogSpace") == {"value": "Callable[[jax.Array], jax.Array]"}
    assert constant("vi_jax.models.supports", "real") == {"type": "Support"}
    assert ":value: ((0.2, 0.05, 0.03),)\n" in reference.symbol("vi_jax.models", "THREE_STATES")


def test_a_page_has_every_name_of_its_module_in_the_table_and_below():
    text = reference.page("vi_jax.bounds")
    for name in public.public_names("vi_jax.bounds"):
        assert text.count(f"| `{name}` |") == 1
        assert text.count(f"}} {name}(") == 1
    assert "``````{py:function} iwae(log_w: jax.Array) -> jax.Array\n:module: vi_jax.bounds\n" in text
    assert "    L_K = E_{z_1..z_K ~ q}" in text


def test_a_page_is_out_of_date_when_a_module_behind_it_is_newer():
    files = reference.sources("vi_jax.bounds")
    assert {bounds.__file__, grouped.__file__} < files


def test_fields_and_methods_are_those_of_the_docstrings():
    text = reference.symbol("vi_jax", "SweepResult")
    assert "{py:method} to_pandas(" in text
    assert "  - `quantities` — " in text
    assert "Alias for field" not in text


def test_an_annotation_means_what_its_module_calls_so():
    assert full_name("vi_jax.models", "unconstrained", "Support") == "vi_jax.models.supports.Support"
    assert full_name("vi_jax.bounds", "renyi", "BoundFn") == "vi_jax.BoundFn"
    assert full_name("vi_jax.bounds", "renyi", "jax.Array") is None
    assert full_name("vi_jax.posterior", "Diagnosis", "findings.Finding") == "vi_jax.posterior.Finding"
    assert full_name("vi_jax.estimators", "vimco", "CoefficientFn") == "vi_jax.CoefficientFn"


def test_a_default_with_a_private_name_shows_its_value():
    assert "_LEVELS" in inspect.getsource(measurement.posterior_moments)
    levels = inspect.signature(measurement.posterior_moments).parameters["levels"].default
    assert f"levels: Sequence[float]={levels}" in signature("vi_jax.measurement", "posterior_moments")


@pytest.fixture
def warned(monkeypatch):
    said: list[str] = []
    logger = types.SimpleNamespace(warning=lambda text, *values, **_: said.append(text % values))
    monkeypatch.setattr(reference, "_LOGGER", logger)
    return said


def pages_with(names: list[str]) -> types.SimpleNamespace:
    domain = types.SimpleNamespace(get_objects=lambda: [(name, name, "function", "api", name, 1) for name in names])
    return types.SimpleNamespace(domains={"py": domain})


def test_a_public_name_on_no_page_and_one_without_a_docstring_are_named(warned, monkeypatch):
    monkeypatch.setattr(public, "MODULES", ("vi_jax.exact",))
    names = [f"vi_jax.exact.{name}" for name in public.public_names("vi_jax.exact")]
    reference.check(None, pages_with(names))
    assert warned == []
    monkeypatch.setattr(public, "documentation", lambda module, name: "" if name == "elbo" else "Text.")
    reference.check(None, pages_with([name for name in names if not name.endswith("eubo")]))
    assert warned == [
        "vi_jax.exact.elbo is public and has no docstring: write one, or take its name out of the module.",
        "vi_jax.exact.eubo is public and on no page: add docs/api/vi_jax.exact.md.",
    ]


def test_a_malformed_docstring_is_named(warned, monkeypatch):
    monkeypatch.setattr(public, "documentation", lambda module, name: "Text.\n\nArgs:\n  nothing\n")
    reference.page("vi_jax.exact")
    assert warned[0].startswith("vi_jax.exact.elbo: an entry of 'Args'")
