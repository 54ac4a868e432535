"""The linear-Gaussian toy, D = 20, one datum: what the variance of gradients is measured on."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

import vi_jax as vi
from experiments import zoo

B, E = vi.bounds, vi.estimators

GRID = {
    "elbo/pathwise": (B.elbo, E.pathwise),
    "elbo/sticking_the_landing": (B.elbo, E.sticking_the_landing),
    "iwae/pathwise": (B.iwae, E.pathwise),
    "iwae/doubly_reparameterized": (B.iwae, E.doubly_reparameterized),
    "iwae/vimco": (B.iwae, E.vimco),
    "iwae/wake_phi": (B.iwae, E.wake_phi),
    "iwae/wake_phi_doubly_reparameterized": (B.iwae, E.wake_phi_doubly_reparameterized),
    "ciwae/doubly_reparameterized": (B.ciwae(0.5), E.doubly_reparameterized),
}


class Toy(NamedTuple):
    """What `vi.sweep` takes, in its order."""

    model: vi.Model
    guide: vi.Guide
    params: vi.Params
    x: Any


def toy() -> Toy:
    """Returns the toy with parameters near its optimum."""
    posed = zoo.problem("toy")
    return Toy(posed.model, posed.guide, posed.params, posed.x[:1])


def gradient(problem: Toy, name: str, num_samples: int) -> Callable[[jax.Array], Any]:
    """Returns `key -> (value, gradient)` of one pair of the grid."""
    objective = vi.value_and_grad(problem.model, problem.guide, *GRID[name], num_samples=num_samples)
    return lambda key: objective(key, problem.params, problem.x)
