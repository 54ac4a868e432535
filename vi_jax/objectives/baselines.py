"""A learned prediction of log w, from x alone: the baseline that `nvil` takes from its learning signal."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from vi_jax import checks
from vi_jax.lazy import optax
from vi_jax.shapes import check_shape
from vi_jax.types import PyTree

# Mnih and Gregor's: what a step adds to the running mean and variance is a fifth, a memory of about five steps.
_DECAY = 0.8


class Predictor(NamedTuple):
    """C_ψ(x), written for ONE datum.

    Attributes:
      init: `key -> psi`, floating.
      predict: `(psi, x) -> scalar`, in nats.
    """

    init: Callable[[jax.Array], PyTree]
    predict: Callable[[PyTree, PyTree], jax.Array]


class Baseline(NamedTuple):
    """What a predictor has learned so far: the state of `nvil` from step to step.

    Attributes:
      psi: parameters of the predictor.
      opt_state: of its optimizer.
      mean: c, running mean of log w − C_ψ(x), in nats.
      variance: v, its running variance, in nats squared.
    """

    psi: PyTree
    opt_state: Any
    mean: jax.Array
    variance: jax.Array


def dense_predictor(data_dim: int, *, hidden: int = 100, mean: ArrayLike | None = None) -> Predictor:
    """Makes C_ψ(x) = v · tanh(U(x − mean) + b), one hidden layer, zero before it has learned.

    The network of Mnih and Gregor (arXiv:1402.0030); Glorot-uniform U, b = v = 0.

    Args:
      data_dim: D ≥ 1, length of x.
      hidden: number of hidden units.
      mean: `[D]` that is taken from x, as the mean of the training data; None means zero.

    Returns:
      The predictor; x is `[D]`, floating, integer or boolean.

    Raises:
      TypeError, ValueError: a size is not a positive integer; `mean` is not `[D]` finite numbers. When called: x is not
        of shape `[D]`.
    """
    data_dim, hidden = (
        checks.check_positive_int(name, size) for name, size in (("data_dim", data_dim), ("hidden", hidden))
    )
    offset = checks.check_mean(mean, data_dim)

    def init(key: jax.Array) -> dict[str, jax.Array]:
        U = jax.nn.initializers.glorot_uniform()(key, (hidden, data_dim), jnp.result_type(float))
        return {"U": U, "b": jnp.zeros(hidden), "v": jnp.zeros(hidden)}

    def predict(psi: dict[str, jax.Array], x: jax.Array) -> jax.Array:
        x = check_shape("x", x, (data_dim,)).astype(psi["U"].dtype)
        return psi["v"] @ jnp.tanh(psi["U"] @ (x - offset.astype(x.dtype)) + psi["b"])

    return Predictor(init, predict)


def no_prediction() -> Predictor:
    """Makes C(x) = 0, which leaves the running mean c as the whole baseline."""

    def predict(psi: tuple[()], x: PyTree) -> jax.Array:
        del psi, x
        return jnp.zeros(())

    return Predictor(lambda key: (), predict)


def start_baseline(key: jax.Array, predictor: Predictor, optimizer: "optax.GradientTransformation") -> Baseline:
    """Returns the baseline before the first step: c = v = 0.

    Args:
      key: a typed key, consumed.
      predictor: as it goes into `nvil`.
      optimizer: as it goes into `nvil`.

    Raises:
      TypeError, ValueError: the key is not one typed key.
    """
    checks.check_key(key)
    psi = predictor.init(key)
    return Baseline(psi, optimizer.init(psi), jnp.zeros(()), jnp.zeros(()))


def advance(
    predictor: Predictor, optimizer: "optax.GradientTransformation", baseline: Baseline, x: PyTree, signal: jax.Array
) -> tuple[jax.Array, Baseline]:
    """Returns the signal less its baseline, `[B, K]`, and the baseline after one step of least squares.

        left_bk = signal_bk − C_ψ(x_b) − c
        ψ descends ½ mean left²;   c ← 0.8 c + 0.2 mean(signal − C_ψ);   v ← 0.8 v + 0.2 var(signal − C_ψ)

    Args:
      predictor: C.
      optimizer: of ψ.
      baseline: before the step; it alone makes `left`, so that no draw sees itself in its baseline.
      x: a batch.
      signal: `[B, K]` nats; what is not finite teaches nothing, and is not finite in `left`.

    Raises:
      ValueError: the prediction is not a scalar per datum, which would broadcast.
    """
    predicted, pull = jax.vjp(lambda psi: jax.vmap(predictor.predict, (None, 0))(psi, x), baseline.psi)
    if predicted.ndim != 1:
        raise ValueError(
            f"predict must return a scalar per datum, got shape {predicted.shape[1:]}: index or squeeze its result."
        )
    beyond = signal - predicted[:, None]
    left = beyond - baseline.mean
    known = jnp.isfinite(beyond)
    count = jnp.maximum(jnp.sum(known), 1)
    (slope,) = pull(-jnp.sum(jnp.where(known, left, 0), axis=1) / count)
    updates, opt_state = optimizer.update(slope, baseline.opt_state, baseline.psi)
    mean = jnp.sum(jnp.where(known, beyond, 0)) / count
    variance = jnp.sum(jnp.where(known, jnp.square(beyond - mean), 0)) / count
    after = Baseline(
        optax.apply_updates(baseline.psi, updates),
        opt_state,
        _DECAY * baseline.mean + (1 - _DECAY) * mean,
        _DECAY * baseline.variance + (1 - _DECAY) * variance,
    )
    return left, after
