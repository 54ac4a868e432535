"""Gradients and values whose data and draws are divided over the devices of a mesh.

    device (i, j) of m × n:  data i B/m … (i + 1) B/m,  draws j K/n … (j + 1) K/n of each of them

Draw k of datum b has the key it has anywhere, `fold_in(fold_in(key, b), k)`. What crosses between devices: the
log-weights, gathered over `sample`, of which each computes the coefficients of its data; and the gradient of each
device's own draws, summed over all once.

`shard_map` runs without its check of varying axes. With it, a derivative in parameters that all devices share would be
summed over the devices inside, without a word, and once more at the end.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from vi_jax.checks import check_batch
from vi_jax.log_weights import Draws, Exchanged, batch_draws
from vi_jax.pullback import Form, Forward
from vi_jax.sharding import DATA, SAMPLE, check_divides, completed
from vi_jax.streaming import exchange_for, streamed_log_weights, streamed_pullback, unseen
from vi_jax.types import BoundFn, CoefficientFn, Coefficients, Guide, Model, Params, PyTree
from vi_jax.zero_weights import Parts, all_finite

_PER_DATUM, _PER_DRAW, _WHOLE = PartitionSpec(DATA), PartitionSpec(None, DATA), PartitionSpec()


class Share(NamedTuple):
    """What one device does of a batch and its draws.

    Attributes:
      x: its data `[B/m, ...]`.
      keys: `[B/m]` their keys.
      first: global index of its first draw.
    """

    x: PyTree
    keys: jax.Array
    first: jax.Array

    def draws(self, numbers: jax.Array) -> Draws:
        """Returns its draws with these numbers `[C]`, counted from its first."""
        return Draws(self.x, self.keys, jnp.broadcast_to(self.first + numbers, (self.keys.size, numbers.size)))


def share_of(num_samples: int, mesh: Mesh) -> int:
    """Returns ⌈K/n⌉, the draws of a datum that one device makes. The last has draws beyond K if n does not divide K."""
    return -(-num_samples // mesh.shape[SAMPLE])


def dealt(
    mesh: Mesh, num_samples: int, local: Callable[[Params, Share], Any], out_specs: Any
) -> Callable[[jax.Array, Params, PyTree], Any]:
    """Makes (key, params, x) -> what `local(params, share)` returns on every device, put together by `out_specs`.

    Args:
      mesh: complete.
      num_samples: K.
      local: one device's part, which may communicate over `data` and `sample`.
      out_specs: `PartitionSpec`s of what it returns; of what a spec holds whole, all devices must return the same.

    Raises:
      ValueError: when called, B is no multiple of the devices along `data`.
    """

    def on_device(key: jax.Array, params: Params, x: PyTree) -> Any:
        first_datum = jax.lax.axis_index(DATA) * check_batch("x", x)
        keys = batch_draws(key, x, jnp.arange(1), first_datum).keys
        return local(params, Share(x, keys, jax.lax.axis_index(SAMPLE) * share_of(num_samples, mesh)))

    specs = (_WHOLE, _WHOLE, _PER_DATUM)
    on_devices = jax.shard_map(on_device, mesh=mesh, in_specs=specs, out_specs=out_specs, check_vma=False)

    def compute(key: jax.Array, params: Params, x: PyTree) -> Any:
        check_divides(mesh, DATA, "x", check_batch("x", x))
        return on_devices(key, params, x)

    return compute


def per_datum(mesh: Mesh, bound: BoundFn) -> BoundFn:
    """Returns the bound of log-weights whose data are divided over the mesh. Nothing is communicated."""
    return jax.shard_map(bound, mesh=completed(mesh), in_specs=_PER_DRAW, out_specs=_PER_DATUM, check_vma=False)


def values(
    mesh: Mesh, model: Model, guide: Guide, bound: BoundFn, num_samples: int, chunk_size: int
) -> Callable[[jax.Array, Params, PyTree], jax.Array]:
    """Makes (key, params, x) -> values `[B]`; a device holds `chunk_size` draws per datum at a time."""
    mesh = completed(mesh)

    def local(params: Params, share: Share) -> jax.Array:
        return bound(_all_log_weights(mesh, model, guide, params, share, num_samples, chunk_size))

    return dealt(mesh, num_samples, local, _PER_DATUM)


def streamed(
    mesh: Mesh,
    model: Model,
    guide: Guide,
    bound: BoundFn,
    forward: Callable[[Params, Draws], Forward],
    part: tuple[CoefficientFn, Form],
    num_samples: int,
    chunk_size: int,
) -> Callable[[jax.Array, Params, PyTree], tuple[jax.Array, Params]]:
    """Makes (key, params, x) -> (values `[B]`, gradient); a device holds `chunk_size` draws per datum at a time."""
    mesh = completed(mesh)
    coefficients, form = part
    at_once = min(chunk_size, share_of(num_samples, mesh))

    def local(params: Params, share: Share) -> tuple[jax.Array, Params]:
        log_w = _all_log_weights(mesh, model, guide, params, share, num_samples, chunk_size)
        c = _own(coefficients(log_w), share, share_of(num_samples, mesh))
        draws = share.draws(jnp.arange(at_once))
        gradient = streamed_pullback(forward, form, at_once, params, draws, log_w, c, share.first)
        return bound(log_w), _sum(gradient)

    return dealt(mesh, num_samples, local, (_PER_DATUM, _WHOLE))


def whole(
    mesh: Mesh, forward: Callable[[Params, Draws], Forward], parts: Parts, num_samples: int
) -> Callable[[jax.Array, Params, PyTree], tuple[jax.Array, dict[str, Params]]]:
    """Makes (key, params, x) -> (log w `[K, B]`, gradients), all of a device's draws at once.

    As on one device, the pass is a loop that usually runs once, and once more with draws of zero weight exchanged for
    others where they have poisoned the gradient (docs/decisions/0001-zero-weights.md). All devices must turn equally
    often, and each has the sum of the gradients: whether that is finite is known without another message. A gradient
    that is not finite for another reason costs a second turn in vain.

    The draw shown in the place of another may be any of its datum's, also one of another device's. It rides along as
    one more draw, made but not passed to the model, in the first turn for the sake of its shape.
    """
    mesh = completed(mesh)
    size = share_of(num_samples, mesh)

    def local(params: Params, share: Share) -> tuple[jax.Array, dict[str, Params]]:
        own = share.draws(jnp.arange(size))

        def attempt(last: _Attempt) -> _Attempt:
            here = forward(params, last.draws)
            log_w = jnp.where(last.first, _gathered(here.log_w, num_samples), last.log_w)
            coefficients = {name: _own(of(log_w), share, size) for name, (of, _) in parts.items()}
            gradients = {name: form(here, coefficients[name]) for name, (_, form) in parts.items()}
            exchange = exchange_for(log_w)
            gradients = _sum(jax.tree.map(lambda leaf: jnp.where(last.first | exchange.found, leaf, 0), gradients))
            spare = jnp.concatenate([own.indices, exchange.draw[:, None]], axis=1)
            exchanged = Exchanged(unseen(coefficients.values()), jnp.full(own.keys.shape, size))
            again = Draws(*exchange.data(own), spare, exchanged)
            return _Attempt(again, log_w, gradients, last.first & ~all_finite(gradients), jnp.zeros((), bool))

        end = jax.lax.while_loop(lambda last: last.repeat, attempt, _start(forward, parts, params, own, num_samples))
        return end.log_w, end.gradients

    return dealt(mesh, num_samples, local, (_PER_DRAW, _WHOLE))


class _Attempt(NamedTuple):
    """A pass over a device's draws: which, all log-weights of its data, the gradients of all, and whether to repeat."""

    draws: Draws
    log_w: jax.Array
    gradients: dict[str, Params]
    repeat: jax.Array
    first: jax.Array


def _start(
    forward: Callable[[Params, Draws], Forward], parts: Parts, params: Params, own: Draws, num_samples: int
) -> _Attempt:
    """Before the first turn, in which nothing is exchanged."""
    batch_size, size = own.indices.shape
    nothing = Exchanged(jnp.zeros((batch_size, size), bool), jnp.full(batch_size, size))
    log_w = jax.eval_shape(lambda: forward(params, own).log_w)
    return _Attempt(
        draws=own._replace(indices=jnp.pad(own.indices, ((0, 0), (0, 1)), mode="edge"), exchanged=nothing),
        log_w=jnp.zeros((num_samples, batch_size), log_w.dtype),
        gradients={name: jax.tree.map(jnp.zeros_like, params) for name in parts},
        repeat=jnp.ones((), bool),
        first=jnp.ones((), bool),
    )


def _all_log_weights(
    mesh: Mesh, model: Model, guide: Guide, params: Params, share: Share, num_samples: int, chunk_size: int
) -> jax.Array:
    """All log-weights `[K, B/m]` of a device's data, its own share streamed."""
    size = share_of(num_samples, mesh)
    at_once = min(chunk_size, size)
    draws = share.draws(jnp.arange(at_once))
    log_w = streamed_log_weights(model, guide, params, draws, size, at_once, share.first)
    return _gathered(log_w, num_samples)


def _gathered(log_w: jax.Array, num_samples: int) -> jax.Array:
    """`[⌈K/n⌉, B/m]` of each device to `[K, B/m]`, in the order of the draws; those beyond K are left out."""
    everything = jax.lax.all_gather(log_w, SAMPLE, tiled=True) if several(SAMPLE) else log_w
    return everything[:num_samples]


def _own(c: Coefficients, share: Share, size: int) -> Coefficients:
    """A device's rows `[⌈K/n⌉, B/m]` of the coefficients of all draws; a draw beyond K has none."""

    def rows(leaf: jax.Array) -> jax.Array:
        padded = jnp.pad(leaf, ((0, size * jax.lax.axis_size(SAMPLE) - leaf.shape[0]), (0, 0)))
        return jax.lax.dynamic_slice_in_dim(padded, share.first, size)

    return jax.tree.map(rows, c)


def _sum(gradients: PyTree) -> PyTree:
    axes = several(DATA, SAMPLE)
    return jax.lax.psum(gradients, axes) if axes else gradients


def several(*axes: str) -> tuple[str, ...]:
    """Returns the axes with more than one device. XLA for the CPU keeps a collective of groups of one."""
    return tuple(axis for axis in axes if jax.lax.axis_size(axis) > 1)
