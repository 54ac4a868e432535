"""How far a sweep has come, in a file: written whole or not at all, and read only if it is what was written.

line 1   SHA-256 of everything after it
line 2   what the sweep depends on, as JSON
rest     the arrays, as NumPy's .npz
"""

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import provenance, store
from vi_jax.measurement import Moments, SweepState
from vi_jax.measurement.moments import Running
from vi_jax.measurement.summary import Measured
from vi_jax.types import Params


class Found(NamedTuple):
    """What a file holds.

    Attributes:
      state: of the sweep, or None.
      share: how much of the sweep is done.
      why: the file cannot be used; empty where it can, and where there is none.
    """

    state: SweepState | None
    share: float
    why: str


def context(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the bits of a sweep depend on: its configuration, versions, device and flags of JAX."""
    flags = {name: provenance.jax_flag(name) for name in provenance.JAX_FLAGS if "cache" not in name}
    # In how many processes the devices are changes no bit.
    device = {name: value for name, value in provenance.device().items() if name != "processes"}
    found = {"config": dict(config), "packages": provenance.versions(), "device": device, "jax": flags}
    # As it will be read back: tuples are lists there, and paths text.
    return json.loads(json.dumps(found, default=str, sort_keys=True))


def write(path: Path, state: SweepState, about: Mapping[str, Any], share: float) -> None:
    """Replaces the file by this state, of a sweep of which a share is done, and waits for the disk.

    Raises:
      SystemExit: the disk refused. The file before it stays whole.
    """
    held = io.BytesIO()
    np.savez(held, *(np.asarray(leaf) for leaf in jax.tree.leaves(state)))
    header = json.dumps({"about": about, "num_samples": list(state.running), "share": share}, sort_keys=True)
    body = header.encode() + b"\n" + held.getvalue()
    store.replace(path, hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


def read(path: Path, params: Params, about: Mapping[str, Any]) -> Found:
    """Returns what is in a file.

    Args:
      path: of the file.
      params: those of the sweep, whose gradients are shaped like them.
      about: `context` of the sweep that is to go on.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Found(None, 0.0, "")
    except OSError as error:
        return Found(None, 0.0, f"{path} cannot be read ({error.strerror})")
    digest, _, body = data.partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        return Found(None, 0.0, f"{path} is damaged")
    header, _, arrays = body.partition(b"\n")
    found = json.loads(header)
    if found["about"] != about:
        differing = sorted(name for name in about if found["about"].get(name) != about[name])
        return Found(None, 0.0, f"{path} belongs to a sweep that differs in {', '.join(differing)}")
    with np.load(io.BytesIO(arrays)) as held:
        leaves = [held[f"arr_{i}"] for i in range(len(held.files))]
    structure = jax.tree.structure(like(params, found["num_samples"]))
    return Found(jax.tree.unflatten(structure, leaves), found["share"], "")


def like(params: Params, num_samples: list[int]) -> SweepState:
    """Returns a state with the structure of that of a sweep whose gradients are measured whole."""
    none = jnp.zeros(())
    one = Measured(params, *(none,) * (len(Measured._fields) - 1))
    return SweepState(none, none, {size: Running(one, Moments(none, one, one)) for size in num_samples})
