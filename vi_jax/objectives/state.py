"""Objectives that carry something from step to step, in and out in plain sight."""

from typing import NamedTuple, Protocol

import jax

from vi_jax.types import Params, PyTree


class PerDatum(NamedTuple):
    """The part of an objective's state that has one row per datum: a Markov chain for each, say.

    Whoever draws batches gathers the rows of the batch, lets the objective advance them and puts them back, as `fit`
    does. What is not inside a `PerDatum` is one for all data and goes in and out whole.

    Attributes:
      rows: pytree whose leaves all have the data as leading axis, `[N, ...]`; `[B, ...]` as the objective of a batch
        sees it.
    """

    rows: PyTree


class StatefulObjective(Protocol):
    """(key, params, x, state) -> (values `[B]` in nats, gradient of their mean, an ascent direction, next state).

    The state is any pytree of arrays, and comes back with the same structure, shapes and dtypes. `fit` takes it in
    `TrainState.extra`.
    """

    def __call__(self, key: jax.Array, params: Params, x: PyTree, state: PyTree, /) -> tuple[jax.Array, Params, PyTree]:
        """Evaluates the objective on a batch, and advances its state."""
        ...
