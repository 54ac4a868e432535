"""A log-density over parameters with supports, as a model over one unconstrained vector: bring your own posterior.

    log p(u) = log p(T(u)) + log |det ∂T/∂u|,   u = z [D]

Everything the library has for a model is then at hand: every guide over `[D]`, every bound, every estimator.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from vi_jax import checks
from vi_jax.models.global_latent import global_latent
from vi_jax.models.supports import Support, real
from vi_jax.shapes import check_shape
from vi_jax.types import Model, PyTree


class Target(NamedTuple):
    """A posterior over named parameters, as a model over z = u `[D]`.

    Attributes:
      model: θ = (); `log_joint((), datum, z)` is the log-density of z, the Jacobian included.
      x: its data, B = 1: `zeros((1, 1))` for a density alone.
      dim: D.
      constrain: `z [D] -> parameters`, a pytree.
      unconstrain: `parameters -> z [D]`.
      names: of the numbers in `ravel_pytree(constrain(z))`, in that order: "mu", "theta[3]", "cov[0,1]", "a.b".
      start: z `[D]` to begin a fit at, `like` if there is one; None says nothing better than zero is known.
    """

    model: Model
    x: PyTree
    dim: int
    constrain: Callable[[jax.Array], PyTree]
    unconstrain: Callable[[PyTree], jax.Array]
    names: tuple[str, ...]
    start: np.ndarray | None = None


def unconstrained(
    log_density: Callable[[PyTree], jax.Array], like: PyTree, supports: PyTree | Support | None = None
) -> Target:
    """Makes a posterior of a log-density over parameters with supports.

        log_joint((), x, z) = log_density(T(z)) + log |det ∂T/∂z|

    The log-density may leave out any constant, and the evidence then has it; it is a pure function of jax arrays. It is
    what BlackJAX calls a `logdensity_fn`: any of those is a `log_density`, with the initial position as `like`.

    Args:
      log_density: `parameters -> scalar` nats.
      like: example parameters, a pytree of numbers or arrays, each inside its support: a place to start from.
      supports: a `Support` for all parameters; or a tree that begins as `like` does, with one for each subtree; or a
        dict that names some of the keys of `like`, the others being real. None: all are real.

    Raises:
      TypeError: a support is none.
      ValueError: a name in `supports` is not in `like`; an example lies outside its support; there is no parameter; the
        log-density is not one floating-point number.
    """
    space = _space(like, supports)
    _check_scalar("log_density(like)", lambda: log_density(space.example))

    def log_joint(theta: tuple[()], x: PyTree, z: jax.Array) -> jax.Array:
        del theta, x
        parameters, log_det = space.forward(z)
        return log_density(parameters) + log_det

    return _target(Model(_no_theta, log_joint), np.zeros((1, 1)), space)


def unconstrained_with_data(
    log_prior: Callable[[PyTree], jax.Array],
    log_likelihood: Callable[[PyTree, PyTree], jax.Array],
    data: PyTree,
    like: PyTree,
    supports: PyTree | Support | None = None,
) -> Target:
    """Makes a posterior of a prior and independent data, which can be fitted on minibatches.

        log_joint((), x, z) = log_prior(T(z)) + (N/n) Σ_{i ≤ n} log_likelihood(x_i, T(z)) + log |det ∂T/∂z|

    `fit(..., prepare=training.subsample(n))` draws n of the N data a step, for the ELBO alone: see `global_latent`.

    Args:
      log_prior: `parameters -> scalar` nats.
      log_likelihood: `(datum, parameters) -> scalar` nats, of ONE of the N data.
      data: a pytree whose leaves all have the N data as leading axis: jax arrays stay on their device, NumPy's are
        copied there at every call, in the precision of the moment.
      like: as of `unconstrained`.
      supports: as of `unconstrained`.

    Raises:
      TypeError, ValueError: as `unconstrained`; data without a common leading axis, or with NaN.
    """
    size = checks.check_batch("data", data)
    checks.check_no_nan("data", data)
    space = _space(like, supports)
    first = jax.tree.map(lambda leaf: jnp.asarray(leaf)[0], data)
    _check_scalar("log_prior(like)", lambda: log_prior(space.example))
    _check_scalar("log_likelihood(datum, like)", lambda: log_likelihood(first, space.example))

    def log_prior_of(theta: tuple[()], z: jax.Array) -> jax.Array:
        del theta
        parameters, log_det = space.forward(z)
        return log_prior(parameters) + log_det

    def log_likelihood_of(theta: tuple[()], datum: PyTree, z: jax.Array) -> jax.Array:
        del theta
        return log_likelihood(datum, space.forward(z)[0])

    model = global_latent(_no_theta, log_prior_of, log_likelihood_of, num_data=size)
    return _target(model, jax.tree.map(_batch_of_one, data), space)


def log_density(target: Target) -> Callable[[jax.Array], jax.Array]:
    """Returns `z [D] -> scalar` nats, of all its data: a `logdensity_fn` as BlackJAX and other samplers take it."""

    def log_density_of(z: jax.Array) -> jax.Array:
        return target.model.log_joint((), jax.tree.map(lambda leaf: jnp.asarray(leaf)[0], target.x), z)

    return log_density_of


class _Space(NamedTuple):
    """`forward: z [D] -> (parameters, log |det|)`; `inverse: parameters -> z`; the rest as of `Target`."""

    example: PyTree
    dim: int
    forward: Callable[[jax.Array], tuple[PyTree, jax.Array]]
    inverse: Callable[[PyTree], jax.Array]
    names: tuple[str, ...]
    start: np.ndarray


def _space(like: PyTree, supports: Any) -> _Space:
    example = jax.tree_util.tree_map_with_path(_numbers, like)
    paths, tree = jax.tree_util.tree_flatten_with_path(example)
    if not paths:
        raise ValueError("like has no parameters: give an example of each, such as {'mu': 0.0, 'sigma': 1.0}.")
    each = _one_per_leaf(supports, example)
    labels = [_label(path) for path, _ in paths]
    leaves = [leaf for _, leaf in paths]
    for label, leaf, support in zip(labels, leaves, each, strict=True):
        _check_example(label, leaf, support)
    free = [np.asarray(support.unconstrain(jnp.asarray(leaf))) for leaf, support in zip(leaves, each, strict=True)]
    ends = np.cumsum([part.size for part in free])

    def forward(z: jax.Array) -> tuple[PyTree, jax.Array]:
        z = check_shape("z", z, (int(ends[-1]),))
        parts = [part.reshape(f.shape) for part, f in zip(jnp.split(z, ends[:-1]), free, strict=True)]
        values = [support.constrain(part) for support, part in zip(each, parts, strict=True)]
        log_det = sum(
            (support.log_det(part) for support, part in zip(each, parts, strict=True)), jnp.zeros((), z.dtype)
        )
        return jax.tree.unflatten(tree, values), log_det

    def inverse(parameters: PyTree) -> jax.Array:
        values = [jnp.asarray(leaf, float) for leaf in tree.flatten_up_to(parameters)]
        return jnp.concatenate([s.unconstrain(value).ravel() for s, value in zip(each, values, strict=True)])

    names = tuple(name for label, leaf in zip(labels, leaves, strict=True) for name in _names(label, leaf.shape))
    return _Space(example, int(ends[-1]), forward, inverse, names, np.concatenate([part.ravel() for part in free]))


def _numbers(path: tuple[Any, ...], leaf: Any) -> np.ndarray:
    found = np.asarray(leaf)
    is_real = any(jnp.issubdtype(found.dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_))
    if not (is_real and found.size):
        raise ValueError(
            f"like has {_label(path)} = {leaf!r}, which is no real number and no array of some: give an example of it."
        )
    return found.astype(float)


def _one_per_leaf(supports: Any, example: PyTree) -> list[Support]:
    filled = _fill("supports", real if supports is None else supports, example)
    try:
        each = jax.tree.leaves(jax.tree.broadcast(filled, example))
    except ValueError as error:
        raise ValueError(
            f"supports must begin as like does, {jax.tree.structure(example)}, got {jax.tree.structure(supports)}."
        ) from error
    for support in each:
        if not isinstance(support, Support):
            raise TypeError(f"supports must hold supports, such as vi.models.supports.positive, got {support!r}.")
    return each


def _fill(where: str, supports: Any, example: PyTree) -> Any:
    """Adds `real` for the keys of dicts that are not named."""
    if not isinstance(supports, Mapping) or not isinstance(example, Mapping):
        return supports
    unknown = [key for key in supports if key not in example]
    if unknown:
        raise ValueError(f"{where} names {unknown}, which like does not have: its parameters are {list(example)}.")
    chosen = {
        key: _fill(f"{where}[{key!r}]", supports[key], value) if key in supports else real
        for key, value in example.items()
    }
    kind: Any = type(example)  # a FrozenDict and an OrderedDict are trees of other structures than a dict
    return kind(chosen)


def _check_example(label: str, value: np.ndarray, support: Support) -> None:
    if not bool(support.contains(jnp.asarray(value))):
        raise ValueError(
            f"like has {label} = {value}, shape {value.shape}, which is not in its support, {support.name}: start from"
            " a value inside it, or declare another support. (A vector is an array; a list is a tree of numbers.)"
        )


def _check_scalar(what: str, evaluate: Callable[[], jax.Array]) -> None:
    value = jax.eval_shape(evaluate)
    if getattr(value, "shape", None) != () or not jnp.issubdtype(value.dtype, jnp.floating):
        got = f"{value.dtype}{list(value.shape)}" if hasattr(value, "shape") else value
        raise ValueError(f"{what} must be one floating-point number, in nats, got {got}: sum over data and parts.")


def _no_theta(key: jax.Array) -> tuple[()]:
    del key
    return ()


def _target(model: Model, x: PyTree, space: _Space) -> Target:
    return Target(model, x, space.dim, lambda z: space.forward(z)[0], space.inverse, space.names, space.start)


def _batch_of_one(leaf: ArrayLike) -> ArrayLike:
    """Leaves NumPy's arrays as they came: their float64 is then read in the precision of whoever uses it."""
    return leaf[None] if isinstance(leaf, jax.Array) else np.asarray(leaf)[None]


def _label(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".") or "z"


def _names(label: str, shape: tuple[int, ...]) -> list[str]:
    if not shape:
        return [label]
    return [f"{label}[{','.join(map(str, index))}]" for index in np.ndindex(*shape) if math.prod(shape)]
