"""The one place where model meets guide: draws, and their log-weights.

    log w_k = log p_θ(x, z_k) − log q_φ(z_k | x),   z_k ~ q_φ(z | x)

Keys belong to draws: draw k of datum b uses `fold_in(fold_in(key, b), k)` with global indices, so it is the same draw
in every chunk, on every device and for every K.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vi_jax import checks
from vi_jax.flattening import may_repeat
from vi_jax.types import Guide, Model, Params, PyTree


class Exchanged(NamedTuple):
    """Draws that the model is not to see, and what it sees instead; `streaming.Exchange` says why.

    Attributes:
      masked: `[B, C]` whether a draw is exchanged.
      position: `[B]` where along the axis of draws the one stands that takes its place.
    """

    masked: jax.Array
    position: jax.Array


class Draws(NamedTuple):
    """Which draws of which data: everything that a pass over K needs besides the parameters.

    Attributes:
      x: a batch of data, leading axis B.
      keys: `[B]` one typed key per datum.
      indices: `[B, C]` global index k of each draw; with `exchanged` there may be more, which are only drawn.
      exchanged: None where the model sees every draw as it is.
    """

    x: PyTree
    keys: jax.Array
    indices: jax.Array
    exchanged: Exchanged | None = None


def log_weights(
    key: jax.Array, model: Model, guide: Guide, params: Params, x: PyTree, *, num_samples: int
) -> jax.Array:
    """Draws z_1..z_K ~ q_φ(z | x) for each datum and returns their log-weights.

        log w_kb = log p_θ(x_b, z_kb) − log q_φ(z_kb | x_b)

    Memory grows with K times what one draw needs; `value_and_grad` and `log_evidence` stream instead.

    Args:
      key: a typed key, consumed.
      model: the model.
      guide: the guide.
      params: θ and φ.
      x: data; every leaf has a leading batch axis B.
      num_samples: K ≥ 1.

    Returns:
      `[K, B]` nats.

    Raises:
      TypeError, ValueError: a bad key, K, parameters or data, as `value_and_grad` says.
    """
    num_samples = checks.check_positive_int("num_samples", num_samples)
    check_inputs(key, params, x)
    check_problem(model, guide, params, x)
    return log_weights_of(model, guide, params, batch_draws(key, x, jnp.arange(num_samples)))


def batch_draws(key: jax.Array, x: PyTree, indices: jax.Array, first_datum: jax.Array | int = 0) -> Draws:
    """Returns the draws with global `indices` `[C]` for every datum of a batch, or of a part that begins at a datum."""
    batch_size = checks.check_batch("x", x)
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, first_datum + jnp.arange(batch_size))
    return Draws(x, keys, jnp.broadcast_to(indices, (batch_size, *indices.shape)))


def sample_and_score(guide: Guide, phi: PyTree, draws: Draws) -> tuple[PyTree, jax.Array]:
    """Returns draws z `[B, C, ...]`, differentiable in φ where the guide is, and log q_φ(z) `[B, C]` with z held fixed.

    The distribution is built once per datum, so an encoder runs once however many draws there are. A draw that is
    exchanged for the model is still the one that is scored.
    """

    def one_datum(x: PyTree, key: jax.Array, indices: jax.Array, exchanged: Exchanged | None):
        q = guide.distribution(phi, x)
        z = jax.vmap(functools.partial(draw_from, guide, q, phi, x))(sources(guide, key, indices))
        seen, scored = (z, z) if exchanged is None else _exchange(exchanged, z)
        return seen, jax.vmap(q.log_prob)(jax.lax.stop_gradient(scored))

    return _over_data(one_datum, *draws)


def sources(guide: Guide, key: jax.Array, indices: jax.Array) -> PyTree:
    """Returns what the draws of one datum with these indices are made of: keys, or dependent noise, `[C, ...]`."""
    if guide.noise is None:
        return jax.vmap(lambda k: jax.random.fold_in(key, k))(indices)
    return guide.noise(key, indices)


def draw_from(guide: Guide, q: Any, phi: PyTree, x: PyTree, source: PyTree) -> PyTree:
    """Returns the draw of q = q_φ(z | x) that is made of this source."""
    if guide.noise is None:
        return q.sample(seed=source)
    if guide.from_noise is None:
        raise ValueError("Guide(noise=...) needs Guide(from_noise=...), the draw as a function of that noise.")
    return guide.from_noise(phi, x, source)


def _exchange(exchanged: Exchanged, z: PyTree) -> tuple[PyTree, PyTree]:
    """For draws z `[C or more, ...]` of one datum, what the model sees and what is scored, both `[C, ...]`."""
    masked, position = exchanged
    scored = jax.tree.map(lambda leaf: leaf[: masked.size], z)

    def exchange(leaf: jax.Array, kept: jax.Array) -> jax.Array:
        return jnp.where(masked.reshape(-1, *[1] * (leaf.ndim - 1)), jax.lax.stop_gradient(leaf[position]), kept)

    return jax.tree.map(exchange, z, scored), scored


def guide_log_prob(guide: Guide, phi: PyTree, x: PyTree, z: PyTree) -> jax.Array:
    """Returns log q_φ(z_bk | x_b), `[B, C]` nats, for z `[B, C, ...]`."""

    def one_datum(x: PyTree, z: PyTree) -> jax.Array:
        return jax.vmap(guide.distribution(phi, x).log_prob)(z)

    return _over_data(one_datum, x, z)


def _over_data(one_datum: Callable[..., PyTree], *batch: PyTree) -> PyTree:
    """Returns `one_datum` mapped over the leading axis of the batch."""
    if jax.tree.leaves(batch)[0].shape[0] > 1:
        return jax.vmap(one_datum)(*batch)
    # Mapped over seeds, sums over draws were 35 times slower with an axis of length one beside them (decision 0009).
    return jax.tree.map(lambda leaf: leaf[None], one_datum(*jax.tree.map(lambda leaf: leaf[0], batch)))


def model_log_joint(model: Model, theta: PyTree, x: PyTree, z: PyTree) -> jax.Array:
    """Returns log p_θ(x_b, z_bk), `[B, C]` nats, for z `[B, C, ...]`.

    Where it is free to repeat x, data and draws share one axis: `flattening` says why, and when.
    """
    log_joint = functools.partial(model.log_joint, theta)
    batch_size, num_draws = jax.tree.leaves(z)[0].shape[:2]
    if batch_size > 1 and num_draws > 1 and not may_repeat(model.log_joint, theta, x, z):
        return jax.vmap(jax.vmap(log_joint, in_axes=(None, 0)))(x, z)
    flat = jax.tree.map(lambda leaf: leaf.reshape(batch_size * num_draws, *leaf.shape[2:]), z)
    if batch_size == 1:
        per_draw = jax.vmap(log_joint, in_axes=(None, 0))(jax.tree.map(lambda leaf: leaf[0], x), flat)
    else:
        per_draw = jax.vmap(log_joint)(jax.tree.map(lambda leaf: jnp.repeat(leaf, num_draws, axis=0), x), flat)
    return per_draw.reshape(batch_size, num_draws)


def log_weights_of(model: Model, guide: Guide, params: Params, draws: Draws) -> jax.Array:
    """Returns the log-weights `[C, B]` of the given draws. One forward pass."""
    z, log_q = sample_and_score(guide, params.phi, draws)
    return (model_log_joint(model, params.theta, draws.x, z) - log_q).T


def check_inputs(key: jax.Array, params: Params, x: PyTree) -> None:
    """Raises for what can only be known of concrete arguments: a raw key, untyped parameters, NaN in the data."""
    checks.check_key(key)
    if not isinstance(params, Params):
        raise TypeError(f"params must be vi_jax.Params(theta, phi), got {type(params).__name__}.")
    checks.check_batch("x", x)
    checks.check_no_nan("x", x)


def checked(compute: Callable[[jax.Array, Params, PyTree], Any]) -> Callable[[jax.Array, Params, PyTree], Any]:
    """Returns (key, params, x) -> compute(key, params, x), after `check_inputs` while the arguments are concrete."""

    def objective(key: jax.Array, params: Params, x: PyTree) -> Any:
        check_inputs(key, params, x)
        return compute(key, params, x)

    return objective


def check_problem(model: Model, guide: Guide, params: Params, x: PyTree) -> None:
    """Raises `ValueError` where model, guide, parameters and data do not fit together. Traces; computes nothing."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    _check_structure("params.theta", params.theta, jax.eval_shape(model.init, key))
    _check_structure("params.phi", params.phi, jax.eval_shape(guide.init, key))
    datum = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf)[1:], jnp.result_type(leaf)), x)
    z = _trace(
        "guide.distribution(phi, x).sample",
        lambda phi, x, key: _distribution(guide, phi, x).sample(seed=key),
        params.phi,
        datum,
        key,
    )
    log_q = _trace(
        "guide.distribution(phi, x).log_prob",
        lambda phi, x, z: guide.distribution(phi, x).log_prob(z),
        params.phi,
        datum,
        z,
    )
    log_p = _trace("model.log_joint", model.log_joint, params.theta, datum, z)
    for name, value in (("model.log_joint", log_p), ("guide.distribution(phi, x).log_prob", log_q)):
        if getattr(value, "shape", None) != ():
            raise ValueError(
                f"{name} must return one scalar for one datum and one draw, got {_shapes(value)} for a datum of shape "
                f"{_shapes(datum)} and a draw of shape {_shapes(z)}. Sum over the event; batch axes are added for you."
            )


def _distribution(guide: Guide, phi: PyTree, x: PyTree) -> Any:
    q = guide.distribution(phi, x)
    if not (hasattr(q, "sample") and hasattr(q, "log_prob")):
        raise TypeError(f"guide.distribution must return a distrax distribution of one z, got {checks.describe(q)}")
    return q


def _trace(name, function, *args):
    try:
        return jax.eval_shape(function, *args)
    except Exception as error:
        shapes = ", ".join(_shapes(a) for a in args[1:])
        raise ValueError(
            f"{name} fails for one datum and one draw, of shapes {shapes}: {error}\n"
            "It is written without batch axes; x itself carries a leading batch axis B (a single datum is x[None])."
        ) from error


def _check_structure(name: str, given: PyTree, expected: PyTree) -> None:
    given_structure, expected_structure = jax.tree.structure(given), jax.tree.structure(expected)
    if given_structure != expected_structure:
        raise ValueError(f"{name} has structure {given_structure}, but init makes {expected_structure}.")
    for (path, leaf), want in zip(jax.tree_util.tree_leaves_with_path(given), jax.tree.leaves(expected), strict=True):
        if jnp.shape(leaf) != want.shape:
            where = name + jax.tree_util.keystr(path)
            raise ValueError(f"{where} has shape {jnp.shape(leaf)}, but init makes {want.shape}.")


def _shapes(tree: PyTree) -> str:
    return str(jax.tree.map(lambda leaf: getattr(leaf, "shape", leaf), tree))
