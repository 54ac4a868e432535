"""Imports in vi_jax run one way, and third-party packages stay where they belong. Sources are parsed, never run."""

import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "vi_jax").rglob("*.py"))

# A module may import from earlier rows and from itself; the modules of one row do not see each other.
ORDER = (
    {"types", "lazy", "version"},
    {"checks", "names", "shapes", "chains", "flattening", "mapped"},
    {"sharding"},
    {"models", "guides"},
    {"log_weights", "exact"},
    {"bounds"},
    {"estimators"},
    {"pullback"},
    {"streaming", "legality"},
    {"zero_weights"},
    {"sharded"},
    {"gradient", "objectives"},
    {"training"},
    {"measurement"},
    {"posterior"},
)
RANK = {name: rank for rank, row in enumerate(ORDER) for name in row}
# Arrays in, arrays out: exceptions to the order.
BLIND = {("bounds", "models"), ("bounds", "guides"), ("estimators", "models"), ("estimators", "guides")}
# These import nothing of the package and nothing of the package imports them.
APART = {"data"}

ANYWHERE = {"jax", "chex", "numpy"} | set(sys.stdlib_module_names)
# Where the others may be imported, by the beginning of the module's name; LAZY ones only inside a function.
ONLY_IN = {
    "distrax": (
        "vi_jax.guides.diagonal",
        "vi_jax.guides.diagonal_mixture",
        "vi_jax.guides.low_rank_normal",
        "vi_jax.guides.spline",
    ),
    "flax": ("vi_jax.models.networks", "vi_jax.guides.networks"),
}
# What `vi_jax.lazy` hands out, and where.
HANDED = {
    "distrax": ("vi_jax.models", "vi_jax.guides"),
    "optax": ("vi_jax.training", "vi_jax.objectives"),
    "tfp": ("vi_jax.models.supports",),
}
LAZY_ONLY_IN = {
    "arviz": ("vi_jax.posterior.inference_data",),
    "mlxtend": ("vi_jax.data",),
    "numpyro": ("vi_jax.models.from_numpyro",),
    "orbax": ("vi_jax.training.checkpoint",),
    "pandas": ("vi_jax.measurement", "vi_jax.posterior.summary"),
    "pooch": ("vi_jax.data",),
    "scipy": ("vi_jax.data", "vi_jax.guides.dependent"),
    "sklearn": ("vi_jax.data",),
}


class Import(NamedTuple):
    line: int
    name: str
    lazy: bool


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path) for path in FILES}


def imports(tree: ast.AST, package: str, *, lazy: bool = False) -> Iterator[Import]:
    """Every import with its absolute name; `from vi_jax import bounds` counts as one of vi_jax.bounds."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            names = (f"{source}.{alias.name}" for alias in node.names)
            whole = MODULES | {f"vi_jax.lazy.{name}" for name in HANDED}
            yield from (Import(node.lineno, name if name in whole else source, lazy) for name in names)
        else:
            yield from imports(node, package, lazy=lazy or _runs_later(node))


def _runs_later(node: ast.AST) -> bool:
    is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    return is_function or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))


def violations(source: str, module: str, package: str | None = None) -> list[str]:
    """What is wrong with the imports of one module, a line each."""
    found = imports(ast.parse(source), package or module.rpartition(".")[0])
    wrong = ((item, _fault(item, module)) for item in found)
    return [f"line {item.line}: {module} {fault} {item.name}" for item, fault in wrong if fault]


def _fault(item: Import, module: str) -> str | None:
    top, _, rest = item.name.partition(".")
    layer, _, inner = rest.partition(".")
    if top == "vi_jax":
        return _place_fault(HANDED[inner], module) if layer == "lazy" and inner else _order_fault(module, layer)
    homes = ONLY_IN | LAZY_ONLY_IN
    if module == "vi_jax.lazy":
        return None
    if top not in homes:
        return None if top in ANYWHERE else "must not import"
    if fault := _place_fault(homes[top], module):
        return fault
    return "must import inside a function only:" if top in LAZY_ONLY_IN and not item.lazy else None


def _place_fault(homes: tuple[str, ...], module: str) -> str | None:
    if any(module == home or module.startswith(home + ".") for home in homes):
        return None
    return f"is not one of {', '.join(homes)}, so it must not import"


def _order_fault(module: str, target: str) -> str | None:
    layer = module.partition(".")[2].partition(".")[0]
    if not layer or layer == target:
        return None
    if not target:
        return "must name the module it needs instead of the whole package"
    if layer in APART or target in APART:
        return "stands apart from"
    if (layer, target) in BLIND or RANK[target] >= RANK[layer]:
        return "comes before or beside, so it must not import"
    return None


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_follow_the_order(path: Path):
    module = module_name(path)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    assert violations(path.read_text(encoding="utf-8"), module, package) == []


def test_every_module_has_a_place_in_the_order():
    layers = {name.split(".")[1] for name in MODULES if "." in name}
    assert layers == RANK.keys() | APART


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("vi_jax.types", "from vi_jax.bounds import iwae"),
        ("vi_jax.models.table", "from vi_jax.guides import categorical"),
        ("vi_jax.guides.gaussian", "from vi_jax.models.table import table"),
        ("vi_jax.guides.gaussian", "from ..models import table"),
        ("vi_jax.guides.gaussian", "from .. import models"),
        ("vi_jax.bounds", "from vi_jax import models"),
        ("vi_jax.bounds", "from . import gradient"),
        ("vi_jax.estimators.forward_kl", "import vi_jax.guides"),
        ("vi_jax.estimators.forward_kl", "def f():\n    from vi_jax.gradient import loss"),
        ("vi_jax.gradient", "import vi_jax as vi"),
        ("vi_jax.gradient", "from vi_jax import value_and_grad"),
        ("vi_jax.training.fit", "from vi_jax.measurement import moments"),
        ("vi_jax.training.fit", "from vi_jax import data"),
        ("vi_jax.data.digits", "from vi_jax.types import Params"),
        ("vi_jax.log_weights", "import distrax"),
        ("vi_jax.log_weights", "def f():\n    from distrax import Normal"),
        ("vi_jax.log_weights", "from vi_jax.lazy import distrax"),
        ("vi_jax.guides.gaussian", "import distrax"),
        ("vi_jax.measurement.sweep", "from vi_jax.lazy import optax"),
        ("vi_jax.models.table", "import flax.linen as nn"),
        ("vi_jax.models.deeper", "import flax.linen as nn"),
        ("vi_jax.data.digits", "from sklearn.datasets import load_digits"),
        ("vi_jax.data.digits", "try:\n    import pooch\nexcept ImportError:\n    pass"),
        ("vi_jax.training.checkpoint", "import orbax.checkpoint"),
        ("vi_jax.training.fit", "def f():\n    import orbax.checkpoint"),
        ("vi_jax.measurement.sweep", "import pandas as pd"),
        ("vi_jax.measurement.sweep", "class A:\n    import pandas"),
        ("vi_jax.measurement.sweep", "def f():\n    import matplotlib.pyplot"),
        ("vi_jax.measurement.sweep", "def f():\n    from experiments import cli"),
        ("vi_jax.bounds", "import scipy.special"),
        ("vi_jax.bounds", "import jaxlib"),
    ],
)
def test_a_wrong_import_is_seen(module: str, source: str):
    assert len(violations(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("vi_jax", "from vi_jax import data as data"),
        ("vi_jax.bounds", "import math\nimport chex\nimport jax.numpy as jnp\nimport numpy as np"),
        ("vi_jax.estimators.forward_kl", "from vi_jax import bounds\nfrom vi_jax.estimators import definition"),
        ("vi_jax.estimators.forward_kl", "from . import definition\nfrom .definition import estimator"),
        ("vi_jax.guides.gaussian", "from vi_jax.lazy import distrax\nfrom ..types import Guide"),
        ("vi_jax.models.networks", "import flax.linen as nn"),
        ("vi_jax.data.digits", "def digits():\n    from sklearn.datasets import load_digits"),
        ("vi_jax.measurement.sweep", "if TYPE_CHECKING:\n    import pandas as pd"),
    ],
)
def test_a_right_import_is_not(module: str, source: str):
    assert violations(source, module) == []
