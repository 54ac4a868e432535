"""A gradient over all draws at once, whole even where draws of zero weight would poison it."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vi_jax.log_weights import Draws, Exchanged
from vi_jax.mapped import anywhere
from vi_jax.pullback import Form, Forward
from vi_jax.streaming import exchange_for, unseen
from vi_jax.types import CoefficientFn, Params, PyTree

Parts = Mapping[str, tuple[CoefficientFn, Form]]
"""{name: (coefficients of the mean over the whole batch, form of pullback)}."""


class _Attempt(NamedTuple):
    """A pass over all draws, and what the next is not to see.

    Attributes:
      log_w: `[K, B]`, of the first pass.
      unseen: `[B, K]` the draws without weight in the model's gradient.
      gradients: by name.
      repeat: whether there is to be another pass; the same for all elements of a map.
      exchange: whether it exchanges those draws, or is the same pass again.
      hopeless: whether draws of zero weight have made a gradient not finite, and there are no others.
      first: whether there was no pass yet.
    """

    log_w: jax.Array
    unseen: jax.Array
    gradients: dict[str, Params]
    repeat: jax.Array
    exchange: jax.Array
    hopeless: jax.Array
    first: jax.Array


def whole(
    forward: Callable[[Params, Draws], Forward], parts: Parts, params: Params, draws: Draws
) -> tuple[jax.Array, dict[str, Params]]:
    """Returns log w `[K, B]` and the gradients, from one pass, or from two where zero weights have poisoned the first.

    The derivative of a density that is zero need not exist, and 0 · NaN is NaN. Such a draw is known only by its
    weight, after the forward pass; so the pass is a loop that usually runs once, and once more, with those draws
    exchanged for others, if there is such a draw and a gradient that is not finite. The loop body is compiled once.
    Under vmap all elements turn equally often: one that has nothing to exchange repeats its pass, and has the same
    numbers again. docs/decisions/0001-zero-weights.md has the alternatives.
    """
    no = jnp.zeros((), bool)

    def attempt(last: _Attempt) -> _Attempt:
        # Read again for a second pass alone: the loop would otherwise carry a copy of the data.
        seen = jax.lax.cond(last.first, lambda: as_drawn, lambda: _exchanged(draws, last))
        here = forward(params, seen)
        log_w = jnp.where(last.first, here.log_w, last.log_w)
        coefficients = {name: of(log_w) for name, (of, _) in parts.items()}
        gradients = {name: form(here, coefficients[name]) for name, (_, form) in parts.items()}
        without = unseen(coefficients.values())
        # Where every draw has a weight, the usual case, no gradient is read once more.
        poisoned, hopeless = jax.lax.cond(
            anywhere(jnp.any(without)), lambda: _poisoned(without, log_w, gradients), lambda: (no, no)
        )
        exchange = last.first & poisoned & ~hopeless
        return _Attempt(log_w, without, gradients, anywhere(exchange), exchange, hopeless, no)

    log_w = jax.eval_shape(lambda: forward(params, draws).log_w)
    none = jnp.zeros(draws.indices.shape, bool)
    as_drawn = draws._replace(exchanged=Exchanged(none, jnp.zeros(draws.keys.shape, int)))
    start = _Attempt(
        log_w=jnp.zeros(log_w.shape, log_w.dtype),
        unseen=none,
        gradients={name: jax.tree.map(jnp.zeros_like, params) for name in parts},
        repeat=~no,
        exchange=no,
        hopeless=no,
        first=~no,
    )
    end = jax.lax.while_loop(lambda last: last.repeat, attempt, start)
    return end.log_w, _zero_if(end.hopeless, end.gradients)


def _exchanged(draws: Draws, last: _Attempt) -> Draws:
    """Returns the draws with those exchanged that the last pass found without weight; or as they are."""
    exchange = exchange_for(last.log_w)
    datum = jnp.where(last.exchange, exchange.datum, jnp.arange(exchange.datum.size))
    x, keys = exchange._replace(datum=datum).data(draws)
    return Draws(x, keys, draws.indices, Exchanged(last.unseen & last.exchange, exchange.draw))


def _poisoned(without: jax.Array, log_w: jax.Array, gradients: dict[str, Params]) -> tuple[jax.Array, jax.Array]:
    """Returns whether draws without weight may have made a gradient not finite, and whether there are no others."""
    poisoned = jnp.any(without) & ~all_finite(gradients)
    return poisoned, poisoned & ~exchange_for(log_w).found


def _zero_if(hopeless: jax.Array, gradients: dict[str, Params]) -> dict[str, Params]:
    """Returns zeros in the place of hopeless gradients, and others as they are."""

    # A loop that does not turn leaves its arrays where they are, where `where` and `cond` read and write all of them.
    def zero(state: tuple[jax.Array, dict[str, Params]]) -> tuple[jax.Array, dict[str, Params]]:
        return jnp.zeros((), bool), jax.tree.map(lambda leaf: jnp.where(hopeless, 0, leaf), state[1])

    return jax.lax.while_loop(lambda state: state[0], zero, (anywhere(hopeless), gradients))[1]


def all_finite(tree: PyTree) -> jax.Array:
    """Returns whether every number of the tree is finite."""
    # 0 · leaf is NaN where the leaf is not finite, and one sum of numbers is faster than a conjunction of booleans.
    return sum((jnp.sum(0 * leaf) for leaf in jax.tree.leaves(tree)), start=jnp.zeros(())) == 0
