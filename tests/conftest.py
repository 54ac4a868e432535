"""Settings and fixtures for every test.

Nothing global is changed: tests run in float32 with JAX's own defaults, as a user's code does. Two stricter settings
would be welcome but break distrax itself: under `jax_numpy_dtype_promotion="strict"` its Bernoulli and
OneHotCategorical cannot score their own integer draws, and under `jax_legacy_prng_key="error"` its Categorical cannot
tell its shape. The first is a fixture here, for the code that is ours alone.
"""

import gc
import os
import pathlib
from collections.abc import Iterator

import hypothesis
import jax
import pytest

from experiments import cli  # Sets the optimisation level at which XLA compiles, before JAX starts it.

# Compiling is most of the work. A folder that is named keeps what was compiled, for another run of the tests and for
# the experiments alike; without one, tests leave nothing behind.
if os.environ.get("VI_JAX_CACHE"):
    cli.enable_compilation_cache(os.environ)

# The first example pays for the compilation, so no deadline; the same examples on every machine, so no flakes.
hypothesis.settings.register_profile("vi_jax", deadline=None, derandomize=True)
hypothesis.settings.load_profile("vi_jax")


# A file is one worker's; the longest go first, so that none is left alone at the end.
_LONGEST = (
    "test_chunks_of_every_row.py",
    "experiments/test_certify.py",
    "test_pullback.py",
    "measurement/test_sweep.py",
    "bounds/test_beyond_power_means.py",
    "/test_sharding.py",
    "experiments/test_posteriors.py",
    "posterior/test_approximate.py",
    "training/test_settle.py",
    "experiments/test_distributed.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first; the order is otherwise that of collection."""
    items.sort(key=lambda item: next((n for n, name in enumerate(_LONGEST) if str(item.path).endswith(name)), 99))


# Every compiled program holds pieces of memory, which Linux counts: 65530 at most in a process by default. Beyond, LLVM
# ends the process, and a worker that runs half of all tests comes to 45,000.
_MOST_MAPS = 30_000
_MAPS = pathlib.Path("/proc/self/maps")


@pytest.fixture(autouse=True, scope="module")
def _few_programs() -> Iterator[None]:
    """Lets go of what was compiled, between two files, where it has become much."""
    yield
    if _MAPS.exists() and _MAPS.read_bytes().count(b"\n") > _MOST_MAPS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def x64() -> Iterator[None]:
    """Float64 for the length of one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def strict_promotion() -> Iterator[None]:
    """No implicit mixing of dtypes for the length of one test."""
    with jax.numpy_dtype_promotion("strict"):
        yield
