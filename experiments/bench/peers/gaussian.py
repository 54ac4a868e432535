"""The linear-Gaussian toy, D = 20, one datum: what the variance of gradients is measured on."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

import vi_jax as vi
from experiments.bench import sweeps


class Toy(NamedTuple):
    """What `vi.sweep` takes, in its order."""

    model: vi.Model
    guide: vi.Guide
    params: vi.Params
    x: Any


def toy() -> Toy:
    """Returns the toy with parameters near its optimum."""
    return Toy(*sweeps.toy())


def gradient(problem: Toy, name: str, num_samples: int) -> Callable[[jax.Array], Any]:
    """Returns `key -> (value, gradient)` of one pair of the grid."""
    objective = vi.value_and_grad(problem.model, problem.guide, *sweeps.OBJECTIVES[name], num_samples=num_samples)
    return lambda key: objective(key, problem.params, problem.x)
