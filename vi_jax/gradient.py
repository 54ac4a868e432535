"""Objectives: a bound and an estimator, joined to a model and a guide.

Whole, all K draws go through one forward and one backward pass. In chunks over K, a first pass keeps the log-weights
alone, the coefficients are computed from all of them, and a second pass redraws each chunk and pulls it back.
"""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from vi_jax import checks, sharded, zero_weights
from vi_jax.estimators.definition import zero_where_impossible
from vi_jax.legality import check_pair, check_scale
from vi_jax.log_weights import batch_draws, check_problem, checked
from vi_jax.names import name_of
from vi_jax.pullback import Form, forward_pass
from vi_jax.sharding import DATA, completed
from vi_jax.streaming import streamed_log_weights, streamed_pullback
from vi_jax.types import BoundFn, CoefficientFn, Coefficients, Estimator, Guide, Model, Objective, Params, PyTree


def value_and_grad(
    model: Model,
    guide: Guide,
    bound: BoundFn,
    estimator: Estimator,
    *,
    num_samples: int,
    chunk_size: int | None = None,
    mesh: Mesh | None = None,
) -> Objective:
    """Makes the jitted function (key, params, x) -> (bound per datum, gradient of its mean).

        values_b = L(log w_1b, …, log w_Kb),   gradient = (1/B) Σ_b (θ̄_b, φ̄_b), an ascent direction

    What the gradient is unbiased for is the estimator's claim. Price: one forward and one backward pass over K draws
    per datum; the second backward pass over the model that an estimator without a `ratio` needs adds about a third.
    With `chunk_size`, one more forward pass, and memory that grows with K by the log-weights and coefficients alone, at
    most 16 bytes per (datum, draw); the result is the same for every chunk size up to the order of summation.

    A weight of zero (log w = −∞) is legal. A datum whose bound is −∞ has value −∞ and contributes a zero gradient.

    Args:
      model: log p_θ(x, z) for one datum and one draw.
      guide: q_φ(z | x) for one datum.
      bound: a bound, such as `vi_jax.bounds.iwae`.
      estimator: an estimator, such as `vi_jax.estimators.doubly_reparameterized`.
      num_samples: K ≥ 1 draws per datum.
      chunk_size: draws per datum held in memory at once; it need not divide K. None holds all K.
      mesh: devices that share the work, as of `vi.sharding.make_mesh`: m along `data` the B data, a multiple of m; n
        along `sample` the K draws, any number. The result is that of one device up to the order of summation. Each
        device receives the log-weights of its data, K B/m numbers, and takes part in one sum over all of the gradient.
        An axis `replicate` is for runs mapped over it (`vi.sharding.shard_replicates`); here it would repeat the work.

    Returns:
      A pure function of a typed key (consumed), `Params` and data whose leaves have a leading batch axis B, which
      returns values `[B]` in nats, divided over `data` of a mesh, and the gradient as `Params`. Jitted; vmap and scan
      it freely.

    Raises:
      ValueError: K or the chunk size is below 1, or bound and estimator are no legal pair for this guide and K: the
        error names both, and what is legal. When called: parameters, data, model and guide do not fit together, the
        data holds NaN (where it is concrete), B is no multiple of m, or the model scales the likelihood of a minibatch
        and the pair does not survive that.
      TypeError: K is not an integer; when called, the key is not typed or `params` is not `Params`.
    """
    num_samples = checks.check_positive_int("num_samples", num_samples)
    if chunk_size is None:
        together = shared_gradients(model, guide, {"": (bound, estimator)}, num_samples=num_samples, mesh=mesh)
        values = bound if mesh is None else sharded.per_datum(mesh, bound)

        @jax.jit
        def whole(key: jax.Array, params: Params, x: PyTree) -> tuple[jax.Array, Params]:
            log_w, gradients = together(key, params, x)
            return values(log_w), gradients[""]

        return checked(whole)
    chunk_size = min(checks.check_positive_int("chunk_size", chunk_size), num_samples)
    part = _part(guide, bound, estimator, num_samples, mesh)
    forward = functools.partial(forward_pass([part.form]), model, guide)

    def alone(key: jax.Array, params: Params, x: PyTree) -> tuple[jax.Array, Params]:
        draws = batch_draws(key, x, jnp.arange(chunk_size))
        log_w = streamed_log_weights(model, guide, params, draws, num_samples, chunk_size)
        c = part.coefficients(log_w)
        return bound(log_w), streamed_pullback(forward, part.form, chunk_size, params, draws, log_w, c)

    if mesh is None:
        stream = alone
    else:
        stream = sharded.streamed(mesh, model, guide, bound, forward, part, num_samples, chunk_size)

    @jax.jit
    def compute(key: jax.Array, params: Params, x: PyTree) -> tuple[jax.Array, Params]:
        check_problem(model, guide, params, x)
        check_scale(model, guide, x, bound, estimator, num_samples)
        return stream(key, params, x)

    return checked(compute)


def shared_gradients(
    model: Model,
    guide: Guide,
    objectives: Mapping[str, tuple[BoundFn, Estimator]],
    *,
    num_samples: int,
    mesh: Mesh | None = None,
) -> Callable[[jax.Array, Params, PyTree], tuple[jax.Array, dict[str, Params]]]:
    """Makes the jitted function (key, params, x) -> (log-weights, {name: gradient}), everything from the same draws.

    Each gradient equals that of `value_and_grad` for its (bound, estimator) at the same key, so that differences
    between estimators are paired; every bound, and the effective sample size, is a function of the log-weights.
    Price: one forward pass for all, and a backward pass for each.

    Args:
      model: log p_θ(x, z) for one datum and one draw.
      guide: q_φ(z | x) for one datum.
      objectives: (bound, estimator) by name.
      num_samples: K ≥ 1 draws per datum.
      mesh: devices that share the work, as in `value_and_grad`; the log-weights are exchanged once for all.

    Returns:
      A pure function to log-weights `[K, B]` in nats, the data divided over `data` of a mesh, and `Params` by name,
      ascent directions.

    Raises:
      TypeError, ValueError: as `value_and_grad`.
    """
    num_samples = checks.check_positive_int("num_samples", num_samples)
    parts = {name: _part(guide, *pair, num_samples, mesh) for name, pair in objectives.items()}
    forward = functools.partial(forward_pass([part.form for part in parts.values()]), model, guide)

    def alone(key: jax.Array, params: Params, x: PyTree) -> tuple[jax.Array, dict[str, Params]]:
        return zero_weights.whole(forward, parts, params, batch_draws(key, x, jnp.arange(num_samples)))

    together = alone if mesh is None else sharded.whole(mesh, forward, parts, num_samples)

    @jax.jit
    def compute(key: jax.Array, params: Params, x: PyTree) -> tuple[jax.Array, dict[str, Params]]:
        check_problem(model, guide, params, x)
        for pair in objectives.values():
            check_scale(model, guide, x, *pair, num_samples)
        return together(key, params, x)

    return checked(compute)


class _Part(NamedTuple):
    """One estimator of one bound: its coefficients of the batch mean, and the form of pullback they need."""

    coefficients: CoefficientFn
    form: Form


def _part(guide: Guide, bound: BoundFn, estimator: Estimator, num_samples: int, mesh: Mesh | None = None) -> _Part:
    _check_functions(bound, estimator)
    _check_bound(bound, num_samples)
    coefficients = zero_where_impossible(bound, estimator(bound))
    shares = 1 if mesh is None else completed(mesh).shape[DATA]

    def averaged(log_w: jax.Array) -> Coefficients:
        """The coefficients of the mean over the batch. What the form knows is not kept: 4 bytes a draw each."""
        model, path, score, ratio = coefficients(log_w)
        model, path, score = (c / (shares * log_w.shape[1]) for c in (model, path, score))
        return Coefficients(model, path if ratio is None else model, score, None if type(ratio) is float else ratio)

    return _Part(averaged, check_pair(guide, bound, estimator, num_samples, coefficients))


def loss(
    model: Model,
    guide: Guide,
    bound: BoundFn,
    estimator: Estimator,
    *,
    num_samples: int,
    chunk_size: int | None = None,
    mesh: Mesh | None = None,
) -> Callable[[jax.Array, Params, PyTree], jax.Array]:
    """Makes the differentiable scalar (key, params, x) -> −(1/B) Σ_b L_b, for optimisation loops of your own.

    Its derivative in `params` is minus the gradient of `value_and_grad`, by a custom rule over the same code:
    `jax.grad(loss, argnums=1)`, `jax.jit`, `jax.vmap` and `jax.lax.scan` compose with it. The derivative in x is not
    this library's to give, and is NaN rather than a silent zero. Without a derivative, only the bound is computed.

    Args and errors are those of `value_and_grad`.

    Returns:
      A pure function to a scalar in nats, to be minimised.
    """
    objective = value_and_grad(
        model, guide, bound, estimator, num_samples=num_samples, chunk_size=chunk_size, mesh=mesh
    )
    chunk_size = min(chunk_size or num_samples, num_samples)

    def alone(key: jax.Array, params: Params, x: PyTree) -> jax.Array:
        draws = batch_draws(key, x, jnp.arange(chunk_size))
        return bound(streamed_log_weights(model, guide, params, draws, num_samples, chunk_size))

    values = alone if mesh is None else sharded.values(mesh, model, guide, bound, num_samples, chunk_size)

    @jax.custom_vjp
    def negative_bound(key: jax.Array, params: Params, x: PyTree) -> jax.Array:
        check_problem(model, guide, params, x)
        check_scale(model, guide, x, bound, estimator, num_samples)
        return -jnp.mean(values(key, params, x))

    def forward(key: jax.Array, params: Params, x: PyTree):
        values, gradient = objective(key, params, x)
        return -jnp.mean(values), (gradient, x)

    def backward(residuals, cotangent: jax.Array):
        gradient, x = residuals
        return None, jax.tree.map(lambda leaf: -cotangent.astype(leaf.dtype) * leaf, gradient), _unknown(x)

    negative_bound.defvjp(forward, backward)
    return checked(negative_bound)


def _check_functions(bound: BoundFn, estimator: Estimator) -> None:
    """Raises `TypeError` for a bound or an estimator that is no function: its name, most likely."""
    for what, given, example in (("bound", bound, "bounds.iwae"), ("estimator", estimator, "estimators.pathwise")):
        if not callable(given):
            raise TypeError(f"{what} must be a function, such as vi.{example}, got {checks.describe(given)}.")


def _check_bound(bound: BoundFn, num_samples: int) -> None:
    """Raises `ValueError` for a bound that fails, or mixes the data of a batch. Traces; computes nothing."""
    log_w = jax.ShapeDtypeStruct((num_samples, 2), jnp.result_type(float))

    def probe(log_w: jax.Array) -> None:
        try:
            values = bound(log_w)
        except Exception as error:
            error.add_note(
                f"This came from the bound {name_of(bound)}, for log-weights of shape {log_w.shape}. What makes a "
                "bound, as bounds.renyi(0.5) does, is to be called first."
            )
            raise
        if callable(values):
            raise ValueError(
                f"bound {name_of(bound)} returns a function: bound and estimator may be exchanged, or it makes a "
                "bound, as bounds.renyi(0.5) does, and is still to be called."
            )
        if getattr(values, "shape", None) != (2,):
            raise ValueError(
                f"bound must map log-weights [K, B] to values [B], got {getattr(values, 'shape', values)} for "
                f"log-weights of shape {log_w.shape}: reduce over axis 0 alone."
            )

    jax.eval_shape(probe, log_w)


def _unknown(x: PyTree) -> PyTree:
    """The cotangent NaN of each floating leaf; integers have none."""

    def leaf_cotangent(leaf):
        if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            return jnp.full_like(leaf, jnp.nan)
        return np.zeros(jnp.shape(leaf), jax.dtypes.float0)

    return jax.tree.map(leaf_cotangent, x)
