"""Finite p(x, z), cell by cell: the evidence is a sum that can be written out.

    p(x) = Σ_z p(x, z),   p(z | x) = p(x, z) / p(x)

θ is the table of log-probabilities, `[X, Z]` for X values of x and Z of z; data and latents are integer indices.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from vi_jax.lazy import distrax
from vi_jax.models.enumeration import log_sum
from vi_jax.models.exact import ExactModel
from vi_jax.types import Model


class LabelledTable(NamedTuple):
    """A joint table with the names of its values.

    Attributes:
      cells: X rows of Z probabilities p(x, z).
      x: X names.
      z: Z names.
    """

    cells: tuple[tuple[float, ...], ...]
    x: tuple[str, ...]
    z: tuple[str, ...]


EYE_COLOURS = LabelledTable(
    cells=(
        (0.02, 0.03, 0.02, 0.01, 0.07, 0.03, 0.01, 0.00),
        (0.09, 0.01, 0.03, 0.03, 0.08, 0.04, 0.03, 0.06),
        (0.01, 0.01, 0.08, 0.06, 0.07, 0.08, 0.06, 0.06),
    ),
    x=("brown", "blue", "green"),
    z=("Dutch", "Greek", "Chinese", "Indian", "Italian", "German", "US", "Spanish"),
)
"""Eye colour and nationality. Rounded where it was printed: row sums .19, .37, .43, total .99, not .44 and 1.00."""

THREE_STATES = ((0.20, 0.05, 0.03),)
"""One datum and three latent values, log p(x) = −1.27296568: small enough to enumerate all K-tuples of draws."""


def table(joint: ArrayLike) -> ExactModel:
    """Makes the model whose joint probabilities are the given cells, as they are: they need not sum to one.

        log p_θ(x, z) = θ_xz,   log p_θ(x) = log Σ_z exp θ_xz

    A cell of zero is legal, log p = −∞; so is an index outside the table, which has probability zero. Gradients with
    respect to the other cells stay finite. The posterior of a row of zeros is undefined: NaN. Because nothing
    normalises θ, log p_θ(x) has no maximum in θ: learn a `normalized_table`.

    Args:
      joint: `[X, Z]` probabilities (not their logarithms), finite and non-negative.

    Returns:
      The exact model. `init` returns log `joint` whatever the key. x and z are integer scalars. It has neither prior
      nor sampler, since cells that do not sum to one have none.

    Raises:
      ValueError: `joint` is not a two-dimensional table of finite, non-negative numbers. When called: an index that is
        not a scalar.
      TypeError: when called, an index that is not an integer.
    """
    return _exact_model(_checked_log(joint), lambda theta: theta)


def normalized_table(joint: ArrayLike) -> ExactModel:
    """Makes the distribution in proportion to the given cells, with prior, likelihood and sampler.

        log p_θ(x, z) = θ_xz − log Σ_{x'z'} exp θ_{x'z'}

    Args:
      joint: `[X, Z]` finite, non-negative numbers, not all zero.

    Returns:
      The exact model. `init` returns log `joint` whatever the key; x and z are integer scalars. The likelihood given a
      z of probability zero is undefined: NaN.

    Raises:
      ValueError: as `table`, or every cell is zero.
      TypeError: as `table`.
    """
    log_cells = _checked_log(joint)
    if np.all(np.isneginf(log_cells)):
        raise ValueError("joint has no cell above zero, so it cannot be normalised; use table() for a zero measure.")
    exact = _exact_model(log_cells, _normalize)

    def prior(theta: jax.Array) -> distrax.Categorical:
        return distrax.Categorical(logits=log_sum(theta))

    def likelihood(theta: jax.Array, z: jax.Array) -> distrax.Categorical:
        return distrax.Categorical(logits=_lookup(theta.T, _index("z", z)))

    def sample(key: jax.Array, theta: jax.Array) -> tuple[jax.Array, jax.Array]:
        cell = jax.random.categorical(key, theta.ravel())
        return cell // theta.shape[1], cell % theta.shape[1]

    return exact._replace(model=exact.model._replace(prior=prior, likelihood=likelihood, sample=sample))


def _exact_model(log_cells: np.ndarray, log_joint_table: Callable[[jax.Array], jax.Array]) -> ExactModel:
    def init(key: jax.Array) -> jax.Array:
        del key
        return jnp.asarray(log_cells, float)

    def row(theta: jax.Array, x: jax.Array) -> jax.Array:
        return _lookup(log_joint_table(theta), _index("x", x))

    def log_joint(theta: jax.Array, x: jax.Array, z: jax.Array) -> jax.Array:
        return _lookup(row(theta, x), _index("z", z))

    def log_evidence(theta: jax.Array, x: jax.Array) -> jax.Array:
        return log_sum(row(theta, x))

    def posterior(theta: jax.Array, x: jax.Array) -> distrax.Categorical:
        return distrax.Categorical(logits=row(theta, x))

    return ExactModel(Model(init, log_joint), log_evidence, posterior)


def _normalize(theta: jax.Array) -> jax.Array:
    return theta - log_sum(theta.ravel())


def _lookup(cells: jax.Array, index: jax.Array) -> jax.Array:
    size = cells.shape[0]
    inside = (index >= 0) & (index < size)
    # Indexing alone would count a negative index from the end and pull one that is too large back to the last cell.
    return jnp.where(inside, cells[jnp.clip(index, 0, size - 1)], -jnp.inf)


def _index(name: str, value: jax.Array | int) -> jax.Array:
    index = jnp.asarray(value)
    if not jnp.issubdtype(index.dtype, jnp.integer):
        raise TypeError(f"{name} must be an integer index into the table, got dtype {index.dtype}; cast it to int.")
    if index.shape:
        raise ValueError(f"{name} must be one integer index, of shape (), got shape {index.shape}; a batch is [B].")
    return index.astype(int)


def _checked_log(joint: ArrayLike) -> np.ndarray:
    cells = np.asarray(joint, np.float64)
    if cells.ndim != 2 or cells.size == 0:
        raise ValueError(f"joint must be a table [X, Z] with at least one cell, got shape {cells.shape}.")
    bad = ~(np.isfinite(cells) & (cells >= 0))
    if bad.any():
        x, z = (int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"joint[{x}, {z}] is {cells[x, z]}, but cells are probabilities, finite and at least 0. "
            "Pass exp(cells) if these are log-probabilities."
        )
    with np.errstate(divide="ignore"):
        return np.log(cells)
