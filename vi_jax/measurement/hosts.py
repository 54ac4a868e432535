"""Arrays dealt to the devices of a mesh, along their first axis, and put together again, over any number of processes.

A process reads only what its own devices hold. What it has to read whole is gathered, which is a collective: every
process of the mesh must ask for it.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vi_jax.types import PyTree


def deal(tree: PyTree, mesh: Mesh | None) -> PyTree:
    """Returns the arrays, leaves `[devices, ...]`, with one row on each device of the mesh.

    Every process holds the whole tree, and copies the rows of its own devices alone.
    """
    if mesh is None:
        return jax.tree.map(jnp.asarray, tree)
    over_all = NamedSharding(mesh, PartitionSpec(mesh.axis_names))

    def one(leaf: Any) -> jax.Array:
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, over_all, lambda rows: host[rows])

    return jax.tree.map(one, tree)


def whole(tree: PyTree) -> PyTree:
    """Returns the tree with arrays that this process can read: those that others hold a part of are gathered.

    All other leaves are as they were.
    """

    def one(leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
            return leaf
        return multihost_utils.process_allgather(leaf, tiled=True)

    return jax.tree.map(one, tree)


def check_same(name: str, number: jax.Array, mesh: Mesh | None) -> None:
    """Raises unless all processes of a mesh come with the same number.

    Raises:
      ValueError: they do not; names the first process that differs.
    """
    if mesh is None or not any(device.process_index != jax.process_index() for device in mesh.devices.flat):
        return
    mine = np.broadcast_to(np.asarray(number), (mesh.size,))
    given = whole(deal(mine, mesh))
    for device, found in zip(mesh.devices.flat, given, strict=True):
        if found != given[0]:
            raise ValueError(
                f"{name} was given other arguments in process {device.process_index} than in process "
                f"{mesh.devices.flat[0].process_index}: key, params, x, all sizes, resume, and whether there is a "
                "save must be the same in every process."
            )
