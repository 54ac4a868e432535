"""What is wrong with a density or a fit, each found by a function of its own and said in one sentence or two."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vi_jax.models.unconstrained import Target
from vi_jax.posterior.evaluate import Density, Evaluations, values
from vi_jax.posterior.parameters import coordinate_names, flatten

# Bad draws that are taken apart, coordinate by coordinate; names and numbers that one sentence holds.
_TAKEN_APART = 16
_SHOWN = 6


class Finding(NamedTuple):
    """One thing that was found.

    Attributes:
      kind: "nan", "support", "infinite", "gradient", "step", "improper", "tail", "growth", "rounding", "collapsed" or
        "mode".
      text: what, where, and what to do.
      is_fatal: whether no number of this approximation is to be trusted while it holds.
    """

    kind: str
    text: str
    is_fatal: bool


def nan_densities(target: Target, log_joint: Density, found: Evaluations) -> list[Finding]:
    """Draws at which log p(z) is NaN: how many, because of which parameters, and one of them."""
    bad = np.isnan(found.log_joint)
    if not bad.any():
        return []
    text = (
        f"The log density is NaN at {_share(bad)}{_because(target, log_joint, found, bad)}. One of them: "
        f"{_example(target, found, bad)}. NaN most often comes of the logarithm or root of a negative number, or of "
        "∞ − ∞: declare the parameter's support, or return −inf outside of it."
    )
    return [Finding("nan", text, is_fatal=True)]


def support_mismatch(target: Target, log_joint: Density, found: Evaluations) -> list[Finding]:
    """Draws at which log p(z) = −∞: the support that was declared is wider than that of the density."""
    bad = np.isneginf(found.log_joint)
    if not bad.any():
        return []
    text = (
        f"The log density is −inf at {_share(bad)}{_because(target, log_joint, found, bad)}. The declared support is "
        "wider than the density's, and the ELBO is −inf: declare a narrower one (vi.models.supports)."
    )
    return [Finding("support", text, is_fatal=True)]


def infinite_densities(target: Target, log_joint: Density, found: Evaluations) -> list[Finding]:
    """Draws at which log p(z) = +∞, which no density has on a set of positive probability."""
    bad = np.isposinf(found.log_joint)
    if not bad.any():
        return []
    text = (
        f"The log density is +inf at {_share(bad)}{_because(target, log_joint, found, bad)}. One of them: "
        f"{_example(target, found, bad)}. It is unbounded, or overflows in {found.z.dtype}."
    )
    return [Finding("infinite", text, is_fatal=True)]


def nonfinite_gradients(target: Target, found: Evaluations) -> list[Finding]:
    """Draws with a finite log p(z) whose gradient is not: a fit has skipped or spoiled those steps."""
    wrong = ~np.isfinite(found.gradient) & np.isfinite(found.log_joint)[:, None]
    bad = np.asarray(wrong.any(axis=1))
    if not bad.any():
        return []
    names = np.array(coordinate_names(target, found.z[int(np.argmax(bad))]))
    text = (
        f"The gradient of the log density is not finite at {_share(bad)} where the density is, for "
        f"{_listed(names[wrong.any(axis=0)])}. One of them: {_example(target, found, bad)}. A jnp.where whose other "
        "branch is infinite does it: replace its argument there, not its result."
    )
    return [Finding("gradient", text, is_fatal=True)]


def rounding(log_joint: Density, found: Evaluations, *, largest: float = 0.05) -> list[Finding]:
    """Whether log p(z), as computed, is known to `largest` nats, which log-weights need.

        f(z + 2δ) − 2 f(z + δ) + f(z) ≈ δᵀ H δ + √6 · noise,   δ = 32 eps |z|

    The step is too short for curvature to show, so that the root mean square over 64 draws is that of the rounding, of
    z and of all sums. Where f is too large to change over so short a step, its own last digit counts: eps |f|/√12.
    Moré and Wild, "Estimating Computational Noise" (2011), do the same with higher differences.
    """
    finite = np.flatnonzero(np.isfinite(found.log_joint))[:64]
    if not finite.size:
        return []
    z = found.z[finite]
    eps = jnp.finfo(z.dtype).eps
    step = 32 * eps * jnp.abs(z)
    first, middle, last = values(log_joint, jnp.stack([z, z + step, z + 2 * step]))
    measured = jnp.sqrt(jnp.nanmean((last - 2 * middle + first) ** 2) / 6)
    noise = float(jnp.maximum(measured, eps * jnp.nanmean(jnp.abs(middle)) / math.sqrt(12)))
    if not noise > largest:
        return []
    text = (
        f"Rounding in {z.dtype} moves the log density, about {float(jnp.nanmean(middle)):.4g}, by {noise:.2g} nats: "
        "log-weights and k̂ see that noise. Run in float64 (jax.enable_x64), or leave out what is constant."
    )
    return [Finding("rounding", text, is_fatal=False)]


def collapsed(target: Target, found: Evaluations) -> list[Finding]:
    """Coordinates that are the same number in all draws: their spread is below the rounding of where they lie."""
    same = np.asarray(jnp.all(found.z == found.z[0], axis=0))
    if not same.any():
        return []
    names = np.array(coordinate_names(target, found.z[0]))[same]
    text = (
        f"All draws of the guide are one number, {float(found.z[0, np.argmax(same)]):.6g} unconstrained, for"
        f" {_listed(names)}: the guide is narrower there than the rounding of {found.z.dtype}. Subtract where the"
        " posterior lies from the parameter, or run in float64 (jax.enable_x64)."
    )
    return [Finding("collapsed", text, is_fatal=True)]


def _share(bad: np.ndarray) -> str:
    return f"{bad.mean():.1%} of the guide's draws ({bad.sum()} of {bad.size})"


def _listed(names: np.ndarray) -> str:
    each = list(dict.fromkeys(names))
    return ", ".join(each[:_SHOWN]) + (f" and {len(each) - _SHOWN} more" if len(each) > _SHOWN else "")


def _example(target: Target, found: Evaluations, bad: np.ndarray) -> str:
    row = flatten(jax.vmap(target.constrain)(found.z[np.flatnonzero(bad)[:1]]))[0]
    shown = [f"{name} = {value:.4g}" for name, value in zip(target.names[:_SHOWN], row, strict=False)]
    return ", ".join(shown) + (", …" if len(target.names) > _SHOWN else "")


def _because(target: Target, log_joint: Density, found: Evaluations, bad: np.ndarray) -> str:
    """Names the coordinates whose bad value alone makes the density of the best draw bad, and where they lie."""
    good = np.isfinite(found.log_joint)
    if not good.any():
        return ", and finite at none: start the guide where the density is positive"
    best = found.z[int(np.argmax(np.where(good, found.log_joint, -np.inf)))]
    some = found.z[np.flatnonzero(bad)[:_TAKEN_APART]]
    swapped = jax.vmap(lambda z: jnp.where(jnp.eye(target.dim, dtype=bool), z, best))(some)
    shares = np.mean(~np.isfinite(values(log_joint, swapped)), axis=0)
    guilty = np.flatnonzero(shares > 0)
    if not guilty.size:
        return ", because of no parameter alone: a constraint ties several of them"
    names = coordinate_names(target, best)
    ordered = guilty[np.argsort(-shares[guilty])]
    said = list(dict.fromkeys(_where(target, found, bad, good, names[place]) for place in ordered))
    return ", because of " + "; ".join(said[:_SHOWN])


def _where(target: Target, found: Evaluations, bad: np.ndarray, good: np.ndarray, name: str) -> str:
    if name not in target.names:
        return name
    column = np.asarray(flatten(jax.vmap(target.constrain)(found.z)))[:, target.names.index(name)]
    ends = [f"[{part.min():.4g}, {part.max():.4g}]" for part in (column[bad], column[good])]
    return f"{name} (in {ends[0]} there, in {ends[1]} where it is finite)"
