"""Which data a step sees, and which rows of an objective's state go with them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vi_jax.checks import check_batch
from vi_jax.objectives import PerDatum
from vi_jax.types import PyTree


def draw_rows(key: jax.Array, num_data: int, batch_size: int) -> jax.Array:
    """Returns the numbers `[B]` of a batch's data, uniform with replacement."""
    return jax.random.randint(key, (batch_size,), 0, num_data)


def take(tree: PyTree, rows: jax.Array) -> PyTree:
    """Returns these rows of every leaf: `[N, ...]` becomes `[B, ...]`."""
    return jax.tree.map(lambda leaf: leaf[rows], tree)


def gather(state: PyTree, rows: jax.Array) -> PyTree:
    """Returns the state as the objective of a batch sees it: these rows of what is per datum, the rest whole."""
    return _map_per_datum(lambda part: PerDatum(take(part.rows, rows)), state)


def scatter(state: PyTree, rows: jax.Array, advanced: PyTree) -> PyTree:
    """Returns the state with the rows of a batch put back: `advanced` is what the objective made of `gather`'s.

    Of a datum that the batch holds more than once, every copy has started from the same row and advanced on its own;
    the copy at the last position is kept, whole. It is chosen by its position alone, so that what is kept is one step
    from the old row, as if the datum had been there once; a choice by value would not be, nor would one leaf of one
    copy with another leaf of another.
    """

    def put(part: PerDatum, new: PerDatum) -> PerDatum:
        num_data = check_batch("the state's rows", part.rows)
        # All copies of a datum write the same row: the order of their writes is no longer part of the result.
        last = jnp.zeros(num_data, jnp.int32).at[rows].max(jnp.arange(rows.size, dtype=jnp.int32))[rows]
        return PerDatum(jax.tree.map(lambda old, leaf: old.at[rows].set(leaf[last]), part.rows, new.rows))

    return _map_per_datum(put, state, advanced, otherwise=lambda old, new: new)


def check_rows(state: PyTree, num_data: int) -> None:
    """Raises `ValueError` unless what is per datum in the state has one row for each of N data."""
    for part in jax.tree.leaves(state, is_leaf=_is_per_datum):
        if _is_per_datum(part) and check_batch("the state's rows", part.rows) != num_data:
            raise ValueError(
                f"the state has rows for {check_batch('rows', part.rows)} data, but there are {num_data}: start it on "
                "all the data of the run, as start_chain(key, guide, params, data)."
            )


def _is_per_datum(node: Any) -> bool:
    return isinstance(node, PerDatum)


def _map_per_datum(
    f: Callable[..., PyTree], state: PyTree, *others: PyTree, otherwise: Callable[..., PyTree] = lambda leaf: leaf
) -> PyTree:
    """Maps f over what is per datum, and `otherwise` over all other leaves."""
    return jax.tree.map(
        lambda node, *rest: f(node, *rest) if _is_per_datum(node) else otherwise(node, *rest),
        state,
        *others,
        is_leaf=_is_per_datum,
    )
