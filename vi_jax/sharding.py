"""Meshes of devices, and where data, parameters and keys lie on them.

A mesh has up to three axes, by name. Gradients add up over `data` and `sample`; nothing ever crosses `replicate`.

    replicate   independent runs: seeds of a fit, replicates of a sweep
    data        the batch B, in equal parts
    sample      the K draws of every datum

Arrays that JAX has put somewhere by itself are moved as needed. Those that somebody has committed to a device, by
`jax.device_put(x, device)`, are refused by JAX until `shard_data` or `replicated` has moved them.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from vi_jax.checks import check_batch, check_positive_int
from vi_jax.types import PyTree

REPLICATE, DATA, SAMPLE = AXES = ("replicate", "data", "sample")


def make_mesh(replicate: int = 1, data: int = 1, sample: int = 1, *, devices: Sequence[Any] | None = None) -> Mesh:
    """Returns the mesh `[replicate, data, sample]` over the devices, neighbours along `sample`.

    Which axis to choose: `replicate` communicates nothing; `data` the gradient, once; `sample` the gradient and the
    log-weights. So runs come first, then data, and draws where a batch is smaller than the number of devices.

    Args:
      replicate: devices that run independent replicates.
      data: devices among which a batch is divided.
      sample: devices among which the K draws of a datum are divided.
      devices: all of `jax.devices()`, those of every process, if None.

    Raises:
      TypeError, ValueError: a size is no integer ≥ 1, or the product is not the number of devices.
    """
    sizes = {"replicate": replicate, "data": data, "sample": sample}
    shape = tuple(check_positive_int(name, size) for name, size in sizes.items())
    devices = jax.devices() if devices is None else list(devices)
    if (wanted := int(np.prod(shape))) != len(devices):
        remedy = (
            f"or take the first of them, devices=jax.devices()[:{wanted}]"
            if wanted < len(devices)
            else f"or start more: XLA_FLAGS=--xla_force_host_platform_device_count={wanted} makes as many of one CPU"
        )
        raise ValueError(
            f"replicate × data × sample = {' × '.join(map(str, shape))} = {wanted}, and there are {len(devices)} "
            f"devices: choose sizes whose product is {len(devices)}, {remedy}."
        )
    return jax.make_mesh(shape, AXES, devices=devices, axis_types=(AxisType.Auto,) * len(AXES))


def completed(mesh: Any) -> Mesh:
    """Returns the mesh with all three axes, those it lacks of size 1, after a look at their names.

    Raises:
      TypeError: it is no mesh.
      ValueError: an axis has another name.
    """
    if not isinstance(mesh, Mesh):
        raise TypeError(f"mesh must be a jax.sharding.Mesh, as of vi.sharding.make_mesh, got {type(mesh).__name__}.")
    if unknown := [name for name in mesh.axis_names if name not in AXES]:
        raise ValueError(
            f"the mesh has axes {mesh.axis_names}, and {', '.join(map(repr, unknown))} is none of {AXES}: rename it, "
            "as in jax.sharding.Mesh(mesh.devices, ('data', 'sample')), or call vi.sharding.make_mesh."
        )
    missing = tuple(name for name in AXES if name not in mesh.axis_names)
    if not missing and all(kind == AxisType.Auto for kind in mesh.axis_types):
        return mesh
    # The order of the devices stays as it is: a program accepts arrays of one order alone.
    return Mesh(mesh.devices.reshape(mesh.devices.shape + (1,) * len(missing)), mesh.axis_names + missing)


def shard_data(mesh: Mesh, x: PyTree) -> PyTree:
    """Returns the data with the leading axis B of every leaf divided over `data`; the other axes hold copies.

    Raises:
      TypeError, ValueError: as `completed`, or B is not a multiple of the size of `data`.
    """
    return _dealt(mesh, DATA, "x", x)


def shard_replicates(mesh: Mesh, tree: PyTree) -> PyTree:
    """Returns keys, or anything else with the replicates in front, divided over `replicate`.

    A function mapped over them that knows the mesh runs where they lie, and nothing crosses from one to another:

        keys = vi.sharding.shard_replicates(mesh, jax.random.split(key, 8))
        run = lambda key: vi.fit(key, objective, optimizer, params, data, num_steps=1000, mesh=mesh)
        jax.jit(jax.vmap(run, spmd_axis_name="replicate"))(keys)

    The objective is one of the same mesh. Without the axis's name every device would run all the replicates. Without
    the mesh the compiler divides the map, and lets all devices agree in every step whether one has to repeat a pass.

    Raises:
      TypeError, ValueError: as `completed`, or their number is not a multiple of the size of `replicate`.
    """
    return _dealt(mesh, REPLICATE, "tree", tree)


def replicated(mesh: Mesh, tree: PyTree) -> PyTree:
    """Returns the tree with a copy of every leaf on every device, as parameters are to lie.

    Raises:
      TypeError, ValueError: as `completed`.
    """
    return _placed(tree, NamedSharding(completed(mesh), PartitionSpec()))


def check_divides(mesh: Mesh, axis: str, name: str, size: int) -> None:
    """Raises `ValueError` unless the number of what `name` counts is a multiple of the devices along an axis."""
    parts = mesh.shape[axis]
    if size % parts:
        low = size // parts * parts
        some = f"{low} or {low + parts}" if low else f"{parts}"
        raise ValueError(
            f"{name} has {size} rows, no multiple of the {parts} devices along the mesh axis {axis!r}: pass {some}, or "
            f"a mesh whose {axis!r} divides {size}."
        )


def _dealt(mesh: Mesh, axis: str, name: str, tree: PyTree) -> PyTree:
    mesh = completed(mesh)
    check_divides(mesh, axis, name, check_batch(name, tree))
    return _placed(tree, NamedSharding(mesh, PartitionSpec(axis)))


def _placed(tree: PyTree, sharding: NamedSharding) -> PyTree:
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def one(leaf: Any) -> jax.Array:
        if not jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key):
            return jax.device_put(leaf, sharding)
        # To devices of other processes JAX carries numbers alone, not keys.
        data = jax.device_put(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))

    return jax.tree.map(one, tree)
