"""Three ways to form Σ_k c_k ∂_k, for many vectors of coefficients c on the same draws.

    per_draw     ∂_k once for every draw, and every sum is a product of matrices
    pulled       the forward pass is shared, and every sum is a backward pass of its own
    projected    ⟨v, ∂_k⟩ along a few fixed directions v, and every sum is a product of matrices

In φ, ∂_k is taken in the arrays that a draw reads (`cut.py`), loc and scale, and not in the network behind them: what
has been summed is pulled through the encoder once.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from vi_jax import checks
from vi_jax.measurement.cut import Arrays, Cut
from vi_jax.streaming import exchange_for, without_unseen
from vi_jax.types import Model, Params, PyTree


class Problem(NamedTuple):
    """All that draws have in common. For features it holds one datum; for totals x and `arrays` lead with B."""

    model: Model
    cut: Cut
    params: Params
    x: PyTree
    arrays: Arrays


class Drawn(NamedTuple):
    """Draws: leaves `[B, K, ...]`, or one draw of one datum.

    Attributes:
      source: what each draw was made of, its key or its noise.
      z: the draw.
    """

    source: PyTree
    z: PyTree


class Sum(NamedTuple):
    """A way to form sums over draws.

    Attributes:
      features: `(problem, draw) -> arrays`, what is kept of one draw of one datum.
      total: `(problem, draws, features, log_w [K, B], *coefficients [O, K, B]) -> gradient`, leaves `[O, ...]`, summed
        over draws and data. θ has one kind of coefficients, φ has two: path and score.
    """

    features: Callable[[Problem, Drawn], PyTree]
    total: Callable[..., PyTree]


class Sums(NamedTuple):
    """A way to form sums over draws, in every place where one is needed.

    Attributes:
      name: what a result says of itself.
      measure: a gradient -> what is measured of it: itself, or its projections.
      theta: Σ_k model_k ∂_θ log p.
      phi: Σ_k path_k ∂_z log w ∂_φ z + Σ_k score_k ∂_φ log q.
      score: the second half of it alone, for draws that have no derivative or need none.
    """

    name: str
    measure: Callable[[PyTree], PyTree]
    theta: Sum
    phi: Sum
    score: Sum


class Kept(NamedTuple):
    """Numbers of draws, `[..., P]`, and which draws have one that is not finite: those hold zeros."""

    numbers: jax.Array
    bad: jax.Array


def kept(numbers: jax.Array) -> Kept:
    """Sorts out, once for all sums, the draws whose numbers cannot be summed."""
    bad = ~jnp.all(jnp.isfinite(numbers), axis=-1)
    return Kept(jnp.where(bad[..., None], 0, numbers), bad)


def contract(c: jax.Array, features: Kept) -> jax.Array:
    """Returns Σ_k c_k f_k, `[O, B, P]`, of coefficients `[O, K, B]` and features `[B, K, P]`.

    A draw to which c gives no weight may hold anything, NaN included: its density need not have a derivative.
    """
    total = jnp.einsum("okb,bkp->obp", c.astype(features.numbers.dtype), features.numbers, precision="highest")
    return jnp.where(jnp.any((c != 0) & features.bad.T, axis=1)[..., None], jnp.nan, total)


def path_cotangent(problem: Problem, draw: Drawn) -> PyTree:
    """Returns ∂_z log w of one draw, φ inside log q held fixed."""

    def log_w(z: PyTree) -> jax.Array:
        log_q = problem.cut.log_prob(problem.arrays, z)
        return problem.model.log_joint(problem.params.theta, problem.x, z) - log_q

    return jax.grad(log_w)(draw.z)


# --- per_draw ---------------------------------------------------------------------------------------------------------


def _model_features(problem: Problem, draw: Drawn) -> Kept:
    return kept(ravel_pytree(jax.grad(problem.model.log_joint)(problem.params.theta, problem.x, draw.z))[0])


def _model_total(problem: Problem, draws: Drawn, features: Kept, log_w: jax.Array, c: jax.Array) -> PyTree:
    del draws, log_w
    return jax.vmap(ravel_pytree(problem.params.theta)[1])(contract(c, features).sum(axis=1))


def _path_features(problem: Problem, draw: Drawn) -> Kept:
    arrays = problem.arrays
    _, pull = jax.vjp(lambda read: problem.cut.sample(arrays._replace(sample=read), draw.source), arrays.sample)
    return kept(ravel_pytree(pull(path_cotangent(problem, draw))[0])[0])


def _score_features(problem: Problem, draw: Drawn) -> Kept:
    arrays = problem.arrays
    score = jax.grad(lambda read: problem.cut.log_prob(arrays._replace(score=read), draw.z))(arrays.score)
    return kept(ravel_pytree(score)[0])


def _read_sample(problem: Problem, phi: PyTree) -> list[jax.Array]:
    return jax.vmap(problem.cut.encode, in_axes=(None, 0))(phi, problem.x).sample


def _read_score(problem: Problem, phi: PyTree) -> list[jax.Array]:
    return jax.vmap(problem.cut.encode, in_axes=(None, 0))(phi, problem.x).score


def _shaped(flat: jax.Array, like: list[jax.Array]) -> list[jax.Array]:
    """`[O, B, P]` -> arrays `[O, B, ...]` like those that lead with B."""
    return jax.vmap(jax.vmap(ravel_pytree(jax.tree.map(lambda leaf: leaf[0], like))[1]))(flat)


def _phi_total(problem: Problem, draws: Drawn, features: tuple[Kept, Kept], log_w, path, score) -> PyTree:
    del draws, log_w
    read, pull = jax.vjp(lambda phi: (_read_sample(problem, phi), _read_score(problem, phi)), problem.params.phi)
    sums = contract(path, features[0]), contract(score, features[1])
    return jax.vmap(pull)(tuple(_shaped(flat, like) for flat, like in zip(sums, read, strict=True)))[0]


def _score_total(problem: Problem, draws: Drawn, features: Kept, log_w, path, score) -> PyTree:
    del draws, log_w, path
    read, pull = jax.vjp(functools.partial(_read_score, problem), problem.params.phi)
    return jax.vmap(pull)(_shaped(contract(score, features), read))[0]


per_draw: Sums = Sums(
    name="per draw",
    measure=lambda gradient: gradient,
    theta=Sum(_model_features, _model_total),
    phi=Sum(lambda problem, draw: (_path_features(problem, draw), _score_features(problem, draw)), _phi_total),
    score=Sum(_score_features, _score_total),
)
"""Every draw's own derivative. Price: K P numbers per datum, and a product of matrices per K."""


# --- pulled -----------------------------------------------------------------------------------------------------------


def _nothing(problem: Problem, draw: Drawn) -> tuple[()]:
    del problem, draw
    return ()


def _model_pulled(problem: Problem, draws: Drawn, features: tuple[()], log_w: jax.Array, c: jax.Array) -> PyTree:
    del features
    exchange = exchange_for(log_w)
    x, z = without_unseen(exchange, problem.x, draws.z, jnp.all(c == 0, axis=0).T)

    def log_p(theta: PyTree) -> jax.Array:
        return jax.vmap(jax.vmap(functools.partial(problem.model.log_joint, theta), in_axes=(None, 0)))(x, z)

    values, pull = jax.vjp(log_p, problem.params.theta)
    gradients = jax.vmap(lambda c: pull(c.T.astype(values.dtype))[0])(c)
    return jax.tree.map(lambda leaf: jnp.where(exchange.found, leaf, 0), gradients)


def _draws_of(problem: Problem, draws: Drawn, phi: PyTree) -> tuple[PyTree, jax.Array]:
    """Returns z and log q, both `[B, K, ...]`, as functions of φ; z is held fixed inside log q."""

    def one_datum(x: PyTree, key: jax.Array, z: PyTree) -> tuple[PyTree, jax.Array]:
        arrays = problem.cut.encode(phi, x)
        drawn = jax.vmap(functools.partial(problem.cut.sample, arrays))(key)
        return drawn, jax.vmap(functools.partial(problem.cut.log_prob, arrays))(z)

    return jax.vmap(one_datum)(problem.x, draws.source, draws.z)


def _phi_pulled(problem: Problem, draws: Drawn, features: PyTree, log_w, path, score) -> PyTree:
    del log_w
    (_, log_q), pull = jax.vjp(functools.partial(_draws_of, problem, draws), problem.params.phi)

    def total(path: jax.Array, score: jax.Array) -> PyTree:
        def weighed(leaf: jax.Array) -> jax.Array:
            c = path.T.astype(leaf.dtype).reshape(*leaf.shape[:2], *(1,) * (leaf.ndim - 2))
            return jnp.where(c == 0, 0, c * leaf)

        return pull((jax.tree.map(weighed, features), score.T.astype(log_q.dtype)))[0]

    return jax.vmap(total)(path, score)


def _score_pulled(problem: Problem, draws: Drawn, features: tuple[()], log_w, path, score) -> PyTree:
    del features, log_w, path
    log_q, pull = jax.vjp(lambda phi: _draws_of(problem, draws, phi)[1], problem.params.phi)
    return jax.vmap(lambda c: pull(c.T.astype(log_q.dtype))[0])(score)


pulled: Sums = Sums(
    name="pulled",
    measure=lambda gradient: gradient,
    theta=Sum(_nothing, _model_pulled),
    phi=Sum(path_cotangent, _phi_pulled),
    score=Sum(_nothing, _score_pulled),
)
"""A backward pass for each objective and K, over one forward pass for each K. For networks, whose P is large."""


# --- projected --------------------------------------------------------------------------------------------------------


def projected(num_directions: int, *, seed: int = 0) -> Sums:
    """Makes the sums that are measured along r fixed random directions alone.

        V g,   V `[r, P]` of entries ± 1/√r with equal probabilities

    so that ‖V g‖² and tr Cov V g are, on average over V, what they are of g, within a relative error near √(2/r) at
    worst. The same directions for every cell, so that comparisons stay paired. A gradient is then a vector `[r]`.

    Price: r forward derivatives per draw.

    Args:
      num_directions: r ≥ 1.
      seed: of the directions.

    Raises:
      TypeError, ValueError: r is not a positive integer.
    """
    num_directions = checks.check_positive_int("num_directions", num_directions)
    along = functools.partial(directions, num_directions=num_directions, seed=seed)

    def model_features(problem: Problem, draw: Drawn) -> Kept:
        theta = problem.params.theta
        log_p = lambda theta: problem.model.log_joint(theta, problem.x, draw.z)  # noqa: E731
        return kept(jax.vmap(lambda v: jax.jvp(log_p, (theta,), (v,))[1])(along(theta)))

    def tangents(problem: Problem) -> Arrays:
        """Of the arrays of one datum, along every direction in φ."""
        phi = problem.params.phi
        read = lambda phi: problem.cut.encode(phi, problem.x)[:2]  # noqa: E731
        return jax.vmap(lambda v: jax.jvp(read, (phi,), (v,))[1])(along(phi))

    def path_features(problem: Problem, draw: Drawn) -> Kept:
        arrays, z_bar = problem.arrays, path_cotangent(problem, draw)

        def one(v: list[jax.Array]) -> jax.Array:
            sample = lambda read: problem.cut.sample(arrays._replace(sample=read), draw.source)  # noqa: E731
            moved = jax.jvp(sample, (arrays.sample,), (v,))[1]
            return sum(jax.tree.leaves(jax.tree.map(lambda a, b: jnp.sum(a * b), z_bar, moved)), start=jnp.zeros(()))

        return kept(jax.vmap(one)(tangents(problem)[0]))

    def score_features(problem: Problem, draw: Drawn) -> Kept:
        arrays = problem.arrays
        log_q = lambda read: problem.cut.log_prob(arrays._replace(score=read), draw.z)  # noqa: E731
        return kept(jax.vmap(lambda v: jax.jvp(log_q, (arrays.score,), (v,))[1])(tangents(problem)[1]))

    def measure(gradient: PyTree) -> jax.Array:
        flat = jax.vmap(lambda v: ravel_pytree(v)[0])(along(gradient))
        return jnp.matmul(flat, ravel_pytree(gradient)[0], precision="highest")

    return Sums(
        name=f"projected({num_directions})",
        measure=measure,
        theta=Sum(model_features, lambda problem, draws, f, log_w, c: contract(c, f).sum(axis=1)),
        phi=Sum(
            lambda problem, draw: (path_features(problem, draw), score_features(problem, draw)),
            lambda problem, draws, f, log_w, path, score: (contract(path, f[0]) + contract(score, f[1])).sum(axis=1),
        ),
        score=Sum(score_features, lambda problem, draws, f, log_w, path, score: contract(score, f).sum(axis=1)),
    )


def directions(tree: PyTree, *, num_directions: int, seed: int) -> PyTree:
    """Returns the directions of `projected`: leaves `[r, ...]` of ± 1/√r, for parameters like these."""
    flat, unravel = ravel_pytree(tree)
    signs = jax.random.rademacher(jax.random.key(seed), (num_directions, flat.size), flat.dtype)
    return jax.vmap(unravel)(signs / num_directions**0.5)


_MANY = 1024


def automatic(num_numbers: int) -> Sums:
    """Returns `per_draw` up to 1024 numbers per draw, and `pulled` above: the rule of `sweep` where it is not told.

    A product of matrices costs 2 K P operations per objective, a backward pass about as many again, in smaller pieces;
    but what is kept per draw is P numbers against the activations of one pass.
    """
    return per_draw if num_numbers <= _MANY else pulled
