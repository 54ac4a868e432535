"""Objectives: a bound and an estimator, joined to a model and a guide.

Whole, all K draws go through one forward and one backward pass. In chunks over K, a first pass keeps the log-weights
alone, the coefficients are computed from all of them, and a second pass redraws each chunk and pulls it back.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap

from vi_jax import checks
from vi_jax.estimators.definition import zero_where_impossible
from vi_jax.log_weights import Draws, batch_draws, check_inputs, check_problem
from vi_jax.pullback import linearization
from vi_jax.streaming import draw_by_draw_pullback, streamed_log_weights, streamed_pullback
from vi_jax.types import BoundFn, Coefficients, Estimator, Guide, Model, Objective, Params, PyTree


def value_and_grad(
    model: Model,
    guide: Guide,
    bound: BoundFn,
    estimator: Estimator,
    *,
    num_samples: int,
    chunk_size: int | None = None,
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

    Returns:
      A pure function of a typed key (consumed), `Params` and data whose leaves have a leading batch axis B, which
      returns values `[B]` in nats and the gradient as `Params`. Jitted; vmap and scan it freely.

    Raises:
      ValueError: K or the chunk size is below 1, the estimator is undefined at this K, or it needs a pathwise
        derivative that the guide does not have. When called: parameters, data, model and guide do not fit together, or
        the data holds NaN (where it is concrete).
      TypeError: K is not an integer; when called, the key is not typed or `params` is not `Params`.
    """
    num_samples = checks.check_positive_int("num_samples", num_samples)
    coefficients = zero_where_impossible(bound, estimator(bound))
    form = linearization(guide, estimator, coefficients, num_samples)
    linearize = functools.partial(form, model, guide)
    if chunk_size is not None:
        chunk_size = min(checks.check_positive_int("chunk_size", chunk_size), num_samples)

    def averaged(log_w: jax.Array) -> Coefficients:
        """The coefficients of the mean over the batch, without what `linearize` knows: 4 bytes a draw each."""
        model, path, score, ratio = coefficients(log_w)
        model, path, score = (c / log_w.shape[1] for c in (model, path, score))
        return Coefficients(model, path if ratio is None else None, score, None if type(ratio) is float else ratio)

    def whole(draws: Draws, params: Params) -> tuple[jax.Array, Params]:
        log_w, pull = linearize(params, draws)
        c = averaged(log_w)
        return log_w, _without_zero_weights(linearize, pull(c), params, draws, log_w, c)

    def chunked(draws: Draws, params: Params) -> tuple[jax.Array, Params]:
        log_w = streamed_log_weights(model, guide, params, draws, num_samples, chunk_size)
        return log_w, streamed_pullback(linearize, chunk_size, params, draws, log_w, averaged(log_w))

    @jax.jit
    def compute(key: jax.Array, params: Params, x: PyTree) -> tuple[jax.Array, Params]:
        check_problem(model, guide, params, x)
        draws = batch_draws(key, x, jnp.arange(chunk_size or num_samples))
        log_w, gradient = (chunked if chunk_size else whole)(draws, params)
        return bound(log_w), gradient

    def objective(key: jax.Array, params: Params, x: PyTree) -> tuple[jax.Array, Params]:
        check_inputs(key, params, x)
        return compute(key, params, x)

    return objective


def loss(
    model: Model,
    guide: Guide,
    bound: BoundFn,
    estimator: Estimator,
    *,
    num_samples: int,
    chunk_size: int | None = None,
):
    """Makes the differentiable scalar (key, params, x) -> −(1/B) Σ_b L_b, for optimisation loops of your own.

    Its derivative in `params` is minus the gradient of `value_and_grad`, by a custom rule over the same code:
    `jax.grad(loss, argnums=1)`, `jax.jit`, `jax.vmap` and `jax.lax.scan` compose with it. The derivative in x is not
    this library's to give, and is NaN rather than a silent zero. Without a derivative, only the bound is computed.

    Args and errors are those of `value_and_grad`.

    Returns:
      A pure function to a scalar in nats, to be minimised.
    """
    objective = value_and_grad(model, guide, bound, estimator, num_samples=num_samples, chunk_size=chunk_size)
    chunk_size = min(chunk_size or num_samples, num_samples)

    @jax.custom_vjp
    def negative_bound(key: jax.Array, params: Params, x: PyTree) -> jax.Array:
        check_inputs(key, params, x)
        check_problem(model, guide, params, x)
        draws = batch_draws(key, x, jnp.arange(chunk_size))
        return -jnp.mean(bound(streamed_log_weights(model, guide, params, draws, num_samples, chunk_size)))

    def forward(key: jax.Array, params: Params, x: PyTree):
        values, gradient = objective(key, params, x)
        return -jnp.mean(values), (gradient, x)

    def backward(residuals, cotangent: jax.Array):
        gradient, x = residuals
        return None, jax.tree.map(lambda leaf: -cotangent.astype(leaf.dtype) * leaf, gradient), _unknown(x)

    negative_bound.defvjp(forward, backward)
    return negative_bound


def _unknown(x: PyTree) -> PyTree:
    """The cotangent NaN of each floating leaf; integers have none."""

    def leaf_cotangent(leaf):
        if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            return jnp.full_like(leaf, jnp.nan)
        return np.zeros(jnp.shape(leaf), jax.dtypes.float0)

    return jax.tree.map(leaf_cotangent, x)


def _without_zero_weights(
    linearize, gradient: Params, params: Params, draws: Draws, log_w: jax.Array, c: Coefficients
) -> Params:
    """Returns `gradient`, or, where draws of zero weight have poisoned it, the same sum without them.

    The usual case pays for a test. The rare one is summed again draw by draw; a problem that meets it often is better
    served by `chunk_size=num_samples`, which exchanges such draws as it goes.
    """

    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(gradient)]))
    poisoned = jnp.any(jnp.isneginf(log_w)) & ~finite
    return jax.lax.cond(
        _in_any_run(poisoned),
        lambda: draw_by_draw_pullback(linearize, params, draws, log_w, c),
        lambda: gradient,
    )


@custom_vmap
def _in_any_run(flag: jax.Array) -> jax.Array:
    """Returns `flag`; under vmap, whether it is set in any of the runs.

    A cond whose predicate is batched becomes a select, which would pay for the rare branch in every run.
    """
    return flag


@_in_any_run.def_vmap
def _in_any_run_vmapped(axis_size: int, in_batched: list[bool], flag: jax.Array) -> tuple[jax.Array, bool]:
    return jnp.any(flag), False
