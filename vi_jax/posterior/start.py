"""What can be known of a log-density before anything is fitted: is it a number, and where its support ends.

A guide over `[D]` puts mass everywhere. Where log p is −∞ or NaN inside the declared supports, the ELBO is −∞ or NaN,
and no optimizer repairs it: such a density is refused, by the name of the parameter.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vi_jax.models.unconstrained import Target, log_density

# From a value u the probes go to u ± (1 + |u|), which crosses zero, and to three times that.
_STEPS = (-3.0, -1.0, 1.0, 3.0)
# Halvings of a step until its ends are neighbours in float32.
_HALVINGS = 40
# Nats. A density that has fallen by more before it is −∞ falls by itself: its numbers overflow or underflow, and its
# support does not end; or where it does end, no guide comes.
_JUMP = 100.0


class _Edge(NamedTuple):
    """Where log p stops being finite on the way from the start to a probe: the last points on each side, `[D]`."""

    inside: jax.Array
    outside: jax.Array


def check_start(target: Target, start: jax.Array) -> None:
    """Raises unless log p and its gradient are finite at a point, and defined next to it.

    Each parameter is moved alone, to u ± (1 + |u|) and u ± 3 (1 + |u|) of its unconstrained numbers. NaN there, or −∞
    without a fall of 100 nats before it, is the end of a support that was not declared. What goes on where two
    parameters move together is not seen here, but by `diagnose`.

    Price: a gradient and at most 4 evaluations per parameter, and 40 more where one fails.

    Args:
      target: the posterior.
      start: z, `[D]`.

    Raises:
      ValueError: it names the parameter, its value, and what log p is there.
    """
    density = log_density(target)
    value, gradient = jax.jit(jax.value_and_grad(density))(start)
    if not np.isfinite(value):
        raise ValueError(
            f"log_density is {float(value)} at the start, {_describe(target, start)}: start where it is finite"
            " (`like`)."
        )
    for name in _names_of(target, start, ~np.isfinite(np.asarray(gradient))):
        raise ValueError(
            f"the gradient of log_density with respect to {name} is not finite at the start,"
            f" {_describe(target, start)}: look for a square root, a norm or a power at zero, or a jnp.where with NaN"
            " in the branch not taken."
        )
    _check_probes(target, jax.jit(jax.vmap(density)), start, float(value))


def _check_probes(target: Target, densities: Callable[[jax.Array], jax.Array], start: jax.Array, value: float) -> None:
    probes, owners = _probes(target, start)
    found = np.asarray(densities(probes))
    for probe, owner, at_probe in zip(probes, owners, found, strict=True):
        if np.isfinite(at_probe):
            continue
        edge = _edge(densities, start, probe)
        inside, outside = np.asarray(densities(jnp.stack(edge)))
        if np.isnan(outside) or inside > value - _JUMP:
            raise ValueError(
                f"log_density is {float(outside)} at {owner} = {_value(target, edge.outside, owner)}, which its support"
                f" allows, and {float(inside):.6g} at {_value(target, edge.inside, owner)}: declare the support of"
                f" {owner} in `supports`, such as vi.models.supports.positive, or write it in other coordinates."
            )


def _probes(target: Target, start: jax.Array) -> tuple[jax.Array, list[str]]:
    """Points `[number, D]`, and the name of the parameter that moved, a leaf of the tree."""
    groups = _coordinates(target, start)
    step = 1 + jnp.abs(start)
    moved = [(name, jnp.where(mask, start + size * step, start)) for name, mask in groups for size in _STEPS]
    return jnp.stack([point for _, point in moved]), [name for name, _ in moved]


def _coordinates(target: Target, start: jax.Array) -> list[tuple[str, np.ndarray]]:
    """The leaves of the parameters with the coordinates of z that move them, bool `[D]`."""
    jacobian = jax.jit(jax.jacobian(target.constrain))(start)
    found = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(jacobian):
        rows = np.asarray(leaf).reshape(-1, start.size)
        found.append((jax.tree_util.keystr(path, simple=True, separator=".") or "z", np.any(rows != 0, axis=0)))
    return found


def _names_of(target: Target, start: jax.Array, wrong: np.ndarray) -> list[str]:
    return [name for name, mask in _coordinates(target, start) if np.any(mask & wrong)]


def _edge(densities: Callable[[jax.Array], jax.Array], start: jax.Array, probe: jax.Array) -> _Edge:
    def halve(edge: _Edge, _: None) -> tuple[_Edge, None]:
        middle = (edge.inside + edge.outside) / 2
        finite = jnp.isfinite(densities(middle[None])[0])
        return _Edge(jnp.where(finite, middle, edge.inside), jnp.where(finite, edge.outside, middle)), None

    return jax.lax.scan(halve, _Edge(start, probe), length=_HALVINGS)[0]


def _value(target: Target, z: jax.Array, name: str) -> str:
    values = jax.tree_util.tree_leaves_with_path(target.constrain(z))
    leaves = {jax.tree_util.keystr(path, simple=True, separator=".") or "z": leaf for path, leaf in values}
    return np.array2string(np.asarray(leaves[name]), precision=6, threshold=6)


def _describe(target: Target, z: jax.Array, limit: int = 6) -> str:
    flat = jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(target.constrain(z))])
    shown = ", ".join(f"{name} = {float(v):.6g}" for name, v in list(zip(target.names, flat, strict=True))[:limit])
    return shown + (", …" if len(target.names) > limit else "")
