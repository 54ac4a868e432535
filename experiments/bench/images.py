"""W2, W3 and W5: gradients and the evidence of an autoencoder 784-200-200-50, on random binary images.

In every arithmetic the reference is the program written by hand in full precision, so that a ratio says what rounding
buys.
"""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax

import vi_jax as vi
from experiments.bench import elbo, references
from experiments.bench.arithmetic import Arithmetic, full
from experiments.bench.config import Config
from experiments.bench.networks import MODEL, arguments, networks
from experiments.bench.programs import Case, Fewer, Program

REFERENCE = "hand-written"
# Of the log-evidence, whose chunks have 64.
FEW_DRAWS = 128
B, E = vi.bounds, vi.estimators
ESTIMATORS = {
    "elbo": {"pathwise": E.pathwise, "STL": E.sticking_the_landing},
    "iwae": {
        "pathwise": E.pathwise,
        "STL": E.sticking_the_landing,
        "DReG": E.doubly_reparameterized,
        "wake-φ": E.wake_phi,
        "VIMCO": E.vimco,
    },
}
BOUNDS = {"elbo": B.elbo, "iwae": B.iwae}
CHUNKED = {"elbo": ("pathwise",), "iwae": ("pathwise", "DReG")}
SMALLEST = {"VIMCO": 2}


BY_HAND: dict[str, Callable[..., Any]] = {"elbo": elbo.value_and_grad, "iwae": references.iwae_value_and_grad}


def gradient(config: Config, name: str, num_samples: int, kind: Arithmetic, *, bound: str) -> Case:
    """W2: one gradient of one bound by every estimator, beside `jax.grad` of the bound written by hand."""
    model, guide = networks(kind.dtype)
    shared = arguments(config.seed, model, guide, config.batch_size)
    programs = (
        by_hand(BY_HAND[bound], num_samples, shared, gradient=second),
        *whole(config, model, guide, bound, num_samples, shared),
        *in_chunks(model, guide, bound, num_samples, config.chunk_size, shared),
    )
    return Case(name, MODEL, num_samples, config.batch_size, 1, 1, kind, programs)


GRADIENTS = {bound: functools.partial(gradient, bound=bound) for bound in BOUNDS}


def by_hand(call: Callable[..., Any], num_samples: int, shared: tuple[vi.Params, jax.Array], **how: Any) -> Program:
    """The reference, in full precision whatever the rest of its case is done in."""
    return Program(REFERENCE, functools.partial(call, num_samples=num_samples), shared, arithmetic=full(), **how)


def second(results: tuple[Any, vi.Params]) -> vi.Params:
    """Returns the gradient of (value, gradient)."""
    return results[1]


def whole(
    config: Config, model: vi.Model, guide: vi.Guide, bound: str, num_samples: int, shared: tuple[vi.Params, jax.Array]
) -> Iterator[Program]:
    """Yields the library's gradients, all draws at once, by each estimator that this K allows."""
    for name, estimator in ESTIMATORS[bound].items():
        if SMALLEST.get(name, 1) <= num_samples <= config.largest_whole:
            call = vi.value_and_grad(model, guide, BOUNDS[bound], estimator, num_samples=num_samples)
            yield Program(name, call, shared, second)


def in_chunks(
    model: vi.Model,
    guide: vi.Guide,
    bound: str,
    num_samples: int,
    chunk_size: int,
    shared: tuple[vi.Params, jax.Array],
) -> Iterator[Program]:
    """Yields the library's gradients in chunks of draws, where they fill one; memory beside two chunks."""
    for name in CHUNKED[bound]:

        def call(num_samples: int, name: str = name) -> vi.Objective:
            pair = BOUNDS[bound], ESTIMATORS[bound][name]
            return vi.value_and_grad(model, guide, *pair, num_samples=num_samples, chunk_size=chunk_size)

        if num_samples >= chunk_size:
            fewer = Fewer(call(2 * chunk_size), 2 * chunk_size)
            title = f"{name}/{chunk_size}"
            yield Program(title, call(num_samples), shared, second, math.nan, fewer)


def long(config: Config, name: str, num_samples: int, kind: Arithmetic) -> Case:
    """W5: one IWAE gradient of one image by very many draws, in chunks."""
    model, guide = networks(kind.dtype)
    shared = arguments(config.seed, model, guide, 1)
    programs = (
        by_hand(BY_HAND["iwae"], num_samples, shared, gradient=second),
        *in_chunks(model, guide, "iwae", num_samples, config.long_chunk_size, shared),
    )
    return Case(name, MODEL, num_samples, 1, 1, 1, kind, programs)


def evidence(config: Config, name: str, num_samples: int, kind: Arithmetic) -> Case:
    """W3: log p(x) by many draws, beside drawing them all at once."""
    model, guide = networks(kind.dtype)
    shared = arguments(config.seed, model, guide, config.evidence_batch_size)

    def streamed(num_samples: int) -> Callable[..., vi.Evidence]:
        return lambda key, params, x: vi.log_evidence(key, model, guide, params, x, num_samples=num_samples)

    fewer = Fewer(streamed(FEW_DRAWS), FEW_DRAWS)
    programs = (
        by_hand(references.iwae, num_samples, shared),
        Program("log_evidence", streamed(num_samples), shared, None, math.nan, fewer),
    )
    return Case(name, MODEL, num_samples, config.evidence_batch_size, 1, 1, kind, programs)
