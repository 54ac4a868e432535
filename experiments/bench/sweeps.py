"""W4: what a whole sweep costs, beside one of its cells, and beside the loop that is written without it."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

import vi_jax as vi
from experiments import zoo
from experiments.bench.arithmetic import Arithmetic
from experiments.bench.config import Config
from experiments.bench.programs import Case, Program, called
from vi_jax.measurement import replicate_moments

B, E = vi.bounds, vi.estimators

OBJECTIVES = {
    "elbo/pathwise": (B.elbo, E.pathwise),
    "elbo/sticking_the_landing": (B.elbo, E.sticking_the_landing),
    "iwae/pathwise": (B.iwae, E.pathwise),
    "iwae/doubly_reparameterized": (B.iwae, E.doubly_reparameterized),
    "iwae/vimco": (B.iwae, E.vimco),
    "iwae/wake_phi": (B.iwae, E.wake_phi),
    "iwae/wake_phi_doubly_reparameterized": (B.iwae, E.wake_phi_doubly_reparameterized),
    "ciwae/doubly_reparameterized": (B.ciwae(0.5), E.doubly_reparameterized),
}
REFERENCE_NAME = "iwae/doubly_reparameterized"
MODEL = "linear-Gaussian toy, D = 20"

# The chunk with which one pair at K = 1024 runs fastest on two idle cores, of 1, 4, 8, 20 and 40: 307, 287, 284, 221
# and 232 ms for 1000 replicates.
CHUNK_SIZE = 20


def sweep(config: Config, name: str, num_samples: int, arithmetic: Arithmetic) -> Case:
    """Returns the case of the linear-Gaussian toy, D = 20 and one datum.

    The reference is one pair at the largest K: its moments over all replicates, in one program. Against it stand
    `vi.sweep` of eight pairs at every K, and a jitted gradient per pair and K, called in a Python loop with a key made
    outside it, whose results are fetched and accumulated in NumPy; the loop does a part of the replicates, and its time
    is scaled up.
    """
    model, guide, params, x = toy()
    sizes, num_replicates = config.sweep_samples, config.sweep_replicates
    largest = gradient(model, guide, REFERENCE_NAME, num_samples)

    def one_pair(key: jax.Array, params: vi.Params, x: jax.Array) -> Any:
        def replicate(key: jax.Array) -> Any:
            return largest(key, params, x)

        return replicate_moments(key, replicate, num_replicates=num_replicates, chunk_size=CHUNK_SIZE)

    def swept(key: jax.Array, params: vi.Params, x: jax.Array) -> Any:
        result = vi.sweep(
            key,
            model,
            guide,
            params,
            x,
            objectives=OBJECTIVES,
            num_samples=sizes,
            num_replicates=num_replicates,
        )
        return result.quantities

    cells = [gradient(model, guide, *cell) for cell in itertools.product(OBJECTIVES, sizes) if cell != UNDEFINED]
    grid = f"{len(OBJECTIVES)}×{len(sizes)}"
    share = config.num_looped / num_replicates
    programs = (
        Program("one pair", one_pair, (params, x), counted=np.nan),
        Program(f"vi.sweep {grid}", swept, (params, x), prepare=called),
        Program(f"loop {grid}", looped(cells, config.num_looped), (params, x), share=share, prepare=called),
    )
    return Case(name, MODEL, num_samples, 1, num_replicates, 1, arithmetic, programs)


def toy() -> tuple[vi.Model, vi.Guide, vi.Params, jax.Array]:
    """Returns model, guide, parameters and one datum `[1, 20]`."""
    posed = zoo.problem("toy")
    return posed.model, posed.guide, posed.params, posed.x[:1]


UNDEFINED = ("iwae/vimco", 1)


def gradient(model: vi.Model, guide: vi.Guide, name: str, num_samples: int) -> Callable[..., Any]:
    """Returns the jitted gradient of one pair at one K."""
    return jax.jit(vi.value_and_grad(model, guide, *OBJECTIVES[name], num_samples=num_samples))


def looped(cells: list[Callable[..., Any]], num_replicates: int) -> Callable[..., Any]:
    """Returns a loop over cells and replicates that keeps means and sums of squares in NumPy."""

    def loop(key: jax.Array, params: vi.Params, x: jax.Array) -> list[tuple[np.ndarray, np.ndarray]]:
        return [moments(cell, key, params, x, num_replicates) for cell in cells]

    return loop


def moments(
    cell: Callable[..., Any], key: jax.Array, params: vi.Params, x: jax.Array, num_replicates: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns means and sums of squared deviations of value and gradient, as Welford does."""
    size = 1 + ravel_pytree(params)[0].size
    mean, m2 = np.zeros(size), np.zeros(size)
    for r in range(num_replicates):
        fetched = jax.device_get(cell(jax.random.fold_in(key, r), params, x))
        draw = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(fetched)])
        delta = draw - mean
        mean += delta / (r + 1)
        m2 += delta * (draw - mean)
    return mean, m2
