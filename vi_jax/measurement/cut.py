"""The guide, cut at the arrays that a draw reads: few numbers, however large the network that computes them.

    φ, x  →  encode  →  arrays (loc, scale, …)  →  sample(ε), log_prob(z)

Per draw, derivatives are needed in the arrays alone; what has been averaged over draws is then pulled through `encode`
once. The cut is made where tracing finds it, not where the distribution says: whatever `q.sample` and `q.log_prob`
close over is an input of theirs, be it a leaf of a pytree, a flow's conditioner or φ itself.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun

from vi_jax.log_weights import draw_from, sources
from vi_jax.types import Guide, PyTree


class Arrays(NamedTuple):
    """What `sample` and `log_prob` of one distribution read.

    Attributes:
      sample: list of the arrays that depend on φ and that `sample` reads.
      score: the same of `log_prob`.
      fixed: all others of both, which have no derivative in φ.
    """

    sample: list[jax.Array]
    score: list[jax.Array]
    fixed: tuple[list[jax.Array], list[jax.Array]]


class Cut(NamedTuple):
    """A guide in three parts, each for one datum and one draw.

    Attributes:
      encode: `(phi, x) -> Arrays`.
      sample: `(Arrays, source) -> z`, differentiable in `Arrays.sample`; the source is the draw's key, or its noise
        for a guide whose draws depend on each other.
      log_prob: `(Arrays, z) -> scalar` nats, differentiable in `Arrays.score` and z.
      size: how many numbers `Arrays.sample` and `Arrays.score` hold together.
    """

    encode: Callable[[PyTree, PyTree], Arrays]
    sample: Callable[[Arrays, jax.Array], PyTree]
    log_prob: Callable[[Arrays, PyTree], jax.Array]
    size: int


class _Traced(NamedTuple):
    sample: Jaxpr
    log_prob: Jaxpr
    z: PyTree


def cut(guide: Guide, phi: PyTree, x: PyTree, key: jax.Array) -> Cut:
    """Cuts the guide for parameters, one datum and a key of these shapes. Traces; computes nothing."""
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)), (phi, x))
    source = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), _sources_shape(guide, key))
    traced: list[_Traced] = []

    def read(phi: PyTree, x: PyTree) -> tuple[list[Any], list[Any]]:
        q = guide.distribution(phi, x)
        sample, z = jax.make_jaxpr(functools.partial(draw_from, guide, q, phi, x), return_shape=True)(source)
        score = jax.make_jaxpr(q.log_prob)(z)
        traced.append(_Traced(sample.jaxpr, score.jaxpr, z))
        return list(sample.consts), list(score.consts)

    reading = jax.make_jaxpr(read)(*shapes)
    (of_sample, of_score, z), num_sample = traced[0], len(traced[0].sample.constvars)
    depends = _depends_on(reading.jaxpr, len(jax.tree.leaves(phi)))
    varies = depends[:num_sample], depends[num_sample:]

    def encode(phi: PyTree, x: PyTree) -> Arrays:
        outputs = jaxpr_as_fun(reading)(*jax.tree.leaves((phi, x)))
        sample, score = outputs[:num_sample], outputs[num_sample:]
        return Arrays(
            [a for a, varied in zip(sample, varies[0], strict=True) if varied],
            [a for a, varied in zip(score, varies[1], strict=True) if varied],
            (
                [a for a, varied in zip(sample, varies[0], strict=True) if not varied],
                [a for a, varied in zip(score, varies[1], strict=True) if not varied],
            ),
        )

    def sample(arrays: Arrays, source: PyTree) -> PyTree:
        consts = _woven(varies[0], arrays.sample, arrays.fixed[0])
        drawn = jaxpr_as_fun(ClosedJaxpr(of_sample, consts))(*jax.tree.leaves(source))
        return jax.tree.unflatten(jax.tree.structure(z), drawn)

    def log_prob(arrays: Arrays, z: PyTree) -> jax.Array:
        consts = _woven(varies[1], arrays.score, arrays.fixed[1])
        return jaxpr_as_fun(ClosedJaxpr(of_score, consts))(*jax.tree.leaves(z))[0]

    size = sum(aval.size for aval, varied in zip(reading.out_avals, depends, strict=True) if varied)
    return Cut(encode, sample, log_prob, size)


def _sources_shape(guide: Guide, key: jax.Array) -> PyTree:
    one_key = jax.ShapeDtypeStruct((), key.dtype)
    return jax.eval_shape(lambda key: sources(guide, key, jnp.arange(1)), one_key)


def _woven(varies: list[bool], varied: list[jax.Array], fixed: list[jax.Array]) -> list[jax.Array]:
    """The arrays in the order in which they were read."""
    ones, others = iter(varied), iter(fixed)
    return [next(ones if varies_ else others) for varies_ in varies]


def _depends_on(jaxpr: Jaxpr, num_inputs: int) -> list[bool]:
    """Which outputs are floating and depend on any of the first inputs: on the safe side within an equation."""
    reached = {id(v) for v in jaxpr.invars[:num_inputs]}
    for equation in jaxpr.eqns:
        if any(id(v) in reached for v in equation.invars):
            reached.update(id(v) for v in equation.outvars)
    # A literal is no variable, and depends on nothing.
    return [id(v) in reached and jnp.issubdtype(getattr(v.aval, "dtype"), jnp.floating) for v in jaxpr.outvars]  # noqa: B009
