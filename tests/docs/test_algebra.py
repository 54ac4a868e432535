"""The tables of docs/algebra.md name every bound, estimator and objective of the library, and nothing else."""

import re
from pathlib import Path

import pytest

import vi_jax as vi
from tests.test_public_api import PUBLIC

TEXT = (Path(__file__).parents[2] / "docs" / "algebra.md").read_text()
# Classes, and functions that make or take apart a bound, an estimator or the state of an objective.
TOOLS = {
    "vi_jax.bounds": """closed_form gradient is_linear log_sum_of_others mean_of_others name_of named normalized_weights
        omit power_mean substitute with_closed_form with_shift""",
    "vi_jax.estimators": "estimator tolerance with_tolerance",
    "vi_jax.objectives": "dense_predictor no_prediction start_baseline start_chain start_control stratified",
}


def section(title: str) -> str:
    return TEXT.split(f"## {title}\n")[1].split("\n## ")[0]


def named(title: str) -> set[str]:
    return set(re.findall(r"`([a-z_]+)(?:\([^`]*\))?`", section(title)))


def functions(module: str) -> set[str]:
    return {name for name in PUBLIC[module].split() if name.islower()} - set(TOOLS[module].split())


@pytest.mark.parametrize(
    ("module", "title"),
    [
        ("vi_jax.bounds", "The bounds"),
        ("vi_jax.estimators", "Each estimator in a line"),
        ("vi_jax.objectives", "Objectives that are no function of log-weights"),
    ],
)
def test_every_name_is_in_its_table(module, title):
    assert functions(module) <= named(title)
    homes = (vi, vi.bounds, vi.estimators, vi.objectives)
    assert {name for name in named(title) if not any(hasattr(home, name) for home in homes)} <= {"bound", "e"}
