"""What grouped moments say of one cell (objective, K): every quantity with its 95 % interval.

The intervals are those of `snr.py`, the delete-a-group jackknife with Student's t. All objectives share their draws and
their groups, so a comparison of two of them is paired, and so is its interval.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vi_jax.measurement import jackknife, snr
from vi_jax.measurement.jackknife import Estimate
from vi_jax.measurement.moments import Moments, pool, select, variance
from vi_jax.types import Params, PyTree

Blocks = Callable[[Params], dict[str, PyTree]]
"""gradient -> {name: part of it}, the blocks that are measured apart."""


class Measured(NamedTuple):
    """What a replicate leaves of one cell.

    Attributes:
      gradient: the gradient, or its projections.
      value: the bound, in nats.
      impossible: share of data whose bound is −∞.
      effective_sample_size: of the weights.
      along: `[blocks]` ⟨g, u⟩, u the unit vector of the true gradient; of size 0 without a reference.
      cosine: `[blocks]` ⟨g, u⟩ / ‖g‖.
    """

    gradient: Params
    value: jax.Array
    impossible: jax.Array
    effective_sample_size: jax.Array
    along: jax.Array
    cosine: jax.Array


class Reference(NamedTuple):
    """The truth about one cell, and how well it is known.

    Attributes:
      value: E L, in nats.
      gradient: the true gradient, as `Params`; for `per_datum`, leaves `[B, ...]` and the value `[B]`.
      value_error: standard error of the value; None if it is exact.
      gradient_error: standard errors of the gradient, coordinate by coordinate; None if it is exact.
    """

    value: jax.Array
    gradient: Params
    value_error: jax.Array | None = None
    gradient_error: Params | None = None


class Quantities(NamedTuple):
    """Everything that is measured of a cell, each an `Estimate`; in a result they lead with `[O, number of K, U]`.

    Of the whole cell:
      value: E L, nats.
      value_bias: E L less the reference.
      value_variance: Var L of one replicate.
      impossible: share of data whose bound is −∞.
      effective_sample_size: mean over replicates, between 0 and K.
      pareto_k: mean k̂ of the K weights, over the first 100 pools at most; NaN below 21 draws.

    Of each block, along a last axis:
      variance: tr Cov g.
      standard_deviation: its root.
      snr: ‖E g‖ / √tr Cov g.
      coordinate_snr: mean over the coordinates of |mean|/sd. Not debiased: read it against `snr.coordinate_snr_floor`.
      bias_norm: ‖E g − truth‖; `low` is 0 where no bias is resolved.
      bias_along: ⟨E g − truth, u⟩ with u the direction of the truth: signed.
      largest_z: the largest |E g − truth| of a coordinate, in its standard errors. No interval.
      mean_squared_error: E ‖g − truth‖².
      directional_snr: E ⟨g, u⟩ / sd ⟨g, u⟩: signed.
      cosine: E ⟨g, u⟩ / ‖g‖ of one replicate.
    """

    value: Estimate
    value_bias: Estimate
    value_variance: Estimate
    impossible: Estimate
    effective_sample_size: Estimate
    pareto_k: Estimate
    variance: Estimate
    standard_deviation: Estimate
    snr: Estimate
    coordinate_snr: Estimate
    bias_norm: Estimate
    bias_along: Estimate
    largest_z: Estimate
    mean_squared_error: Estimate
    directional_snr: Estimate
    cosine: Estimate


def theta_and_phi(gradient: Params) -> dict[str, PyTree]:
    """The two blocks that every gradient has."""
    return {"theta": gradient.theta, "phi": gradient.phi}


def by_leaf(gradient: Params) -> dict[str, PyTree]:
    """θ and φ, and every array of each by its path, such as `phi.A`."""
    leaves = {
        jax.tree_util.keystr(path).removeprefix("."): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradient)
    }
    return theta_and_phi(gradient) | leaves


def along_truth(gradient: Params, truth: Params, blocks: Blocks) -> tuple[jax.Array, jax.Array]:
    """Returns ⟨g, u⟩ and ⟨g, u⟩ / ‖g‖ of each block, `[blocks]`; u = truth / ‖truth‖."""
    pairs = zip(blocks(gradient).values(), blocks(truth).values(), strict=True)
    parts = [(inner(g, t), inner(g, g), inner(t, t)) for g, t in pairs]
    inner_products, squares, true_squares = (jnp.stack(part) for part in zip(*parts, strict=True))
    along = inner_products / jnp.sqrt(true_squares)
    return along, along / jnp.sqrt(squares)


def inner(first: PyTree, second: PyTree) -> jax.Array:
    """Returns ⟨a, b⟩ over all coordinates of a block."""
    products = jax.tree.map(lambda a, b: jnp.sum(a * b), first, second)
    return sum(jax.tree.leaves(products), start=jnp.zeros(()))


def summarize(moments: Moments, truth: Reference, blocks: Blocks) -> Quantities:
    """Returns all quantities of one cell, from grouped moments of `Measured` and a reference.

    A reference of NaN is none: what needs it is NaN. The interval of what needs one adds the reference's own error, in
    squares where the quantity is linear, and in full for `bias_norm`.
    """
    of = lambda field: select(moments, lambda measured: getattr(measured, field))  # noqa: E731
    value = snr.mean_value(of("value"))
    value_error = jnp.zeros(()) if truth.value_error is None else truth.value_error
    errors = jax.tree.map(jnp.zeros_like, truth.gradient) if truth.gradient_error is None else truth.gradient_error
    per_block = [
        _block(*parts)
        for parts in zip(
            (select(of("gradient"), lambda g, name=name: blocks(g)[name]) for name in blocks(truth.gradient)),
            blocks(truth.gradient).values(),
            blocks(errors).values(),
            (_entry(of("along"), i) for i in range(len(blocks(truth.gradient)))),
            (_entry(of("cosine"), i) for i in range(len(blocks(truth.gradient)))),
            strict=True,
        )
    ]
    return Quantities(
        value=_impossible_value(value, moments),
        value_bias=_less(value, truth.value, value_error),
        value_variance=snr.total_variance(of("value")),
        impossible=snr.mean_value(of("impossible")),
        effective_sample_size=snr.mean_value(of("effective_sample_size")),
        pareto_k=_point(jnp.full_like(value.value, jnp.nan)),
        **{name: jax.tree.map(lambda *x: jnp.stack(x), *(b[name] for b in per_block)) for name in per_block[0]},
    )


def _impossible_value(value: Estimate, moments: Moments) -> Estimate:
    """The mean is −∞ once a datum was impossible; the streamed moments read NaN."""
    once = pool(moments).mean.impossible > 0
    return Estimate(*(jnp.where(once, -jnp.inf, end) for end in value))


def _entry(moments: Moments, i: int) -> Moments:
    def entry(leaf: jax.Array) -> jax.Array:
        return leaf[:, i] if leaf.shape[1] else jnp.full(leaf.shape[:1], jnp.nan)

    return Moments(moments.count, entry(moments.mean), entry(moments.m2))


def _block(gradient: Moments, truth: PyTree, error: PyTree, along: Moments, cosine: Moments) -> dict[str, Estimate]:
    spread, noise = snr.total_variance(gradient), snr.signal_to_noise(gradient)
    length = jnp.sqrt(inner(truth, truth))
    along_error = jnp.sqrt(inner(jax.tree.map(jnp.square, truth), jax.tree.map(jnp.square, error))) / length
    return {
        "variance": spread,
        "standard_deviation": Estimate(*(jnp.sqrt(end) for end in spread)),
        "snr": noise,
        "coordinate_snr": _coordinate_snr(gradient),
        "bias_norm": _bias_norm(gradient, truth, error),
        "bias_along": _less(snr.mean_value(along), length, along_error),
        "largest_z": _point(_largest_z(gradient, truth, error)),
        "mean_squared_error": _mean_squared_error(gradient, truth, error),
        "directional_snr": _signed_snr(along),
        "cosine": snr.mean_value(cosine),
    }


def _point(value: jax.Array) -> Estimate:
    return Estimate(value, jnp.full_like(value, jnp.nan), jnp.full_like(value, jnp.nan))


def _less(estimate: Estimate, truth: jax.Array, error: jax.Array) -> Estimate:
    """The estimate less a truth that has an independent error of its own: the half-widths add in squares."""
    reach = jnp.hypot(estimate.high - estimate.value, _NORMAL * error)
    value = estimate.value - truth
    return Estimate(value, value - reach, value + reach)


_NORMAL = 1.959964


def _bias_norm(gradient: Moments, truth: PyTree, error: PyTree) -> Estimate:
    """‖E g − truth‖ = sd × the signal-to-noise ratio of g − truth, whose interval holds 0 where it should."""
    shifted = gradient._replace(mean=jax.tree.map(jnp.subtract, gradient.mean, truth))
    sd = jnp.sqrt(snr.total_variance(gradient).value)
    value, low, high = (sd * end for end in snr.signal_to_noise(shifted))
    square_error = inner(error, error)
    reach = _NORMAL * jnp.sqrt(square_error)
    value = jnp.sqrt(jnp.maximum(value**2 - square_error, 0.0))
    # Without noise the ratio is infinite, or 0/0; the bias is then what it is.
    exact = jnp.sqrt(inner(pool(shifted).mean, pool(shifted).mean))
    value, low, high = (jnp.where(sd == 0, exact, end) for end in (value, low, high))
    return Estimate(value, jnp.maximum(low - reach, 0.0), high + reach)


def _largest_z(gradient: Moments, truth: PyTree, error: PyTree) -> jax.Array:
    whole = pool(gradient)

    def largest(mean: jax.Array, square: jax.Array, true: jax.Array, error: jax.Array) -> jax.Array:
        z = jnp.abs(mean - true) / jnp.sqrt(square / whole.count + error**2)
        return jnp.max(jnp.where(mean == true, 0.0, z), initial=0.0)

    parts = jax.tree.leaves(jax.tree.map(largest, whole.mean, variance(whole), truth, error))
    return jnp.max(jnp.stack(parts)) if parts else jnp.zeros(())


def _without(moments: Moments) -> Moments:
    """Returns the moments with each group left out, leaves `[G, ...]`, from those of all groups.

    As in `snr.summarize_block`, a group is taken out by summing over the others, so that nothing large cancels.
    """
    whole, count = pool(moments), moments.count
    rest, others = count.sum() - count, 1.0 - jnp.eye(count.size)

    def mean(whole: jax.Array, group: jax.Array) -> jax.Array:
        return whole - _along(count / rest, group) * (group - whole)

    def m2(whole: jax.Array, group: jax.Array, within: jax.Array) -> jax.Array:
        between = _along(count, group) * (group - whole) ** 2
        scatter = (within + between).reshape(count.size, -1)
        kept = jnp.matmul(others, scatter, precision="highest").reshape(group.shape)
        return kept - between * _along(count / rest, group)

    return Moments(
        rest,
        jax.tree.map(mean, whole.mean, moments.mean),
        jax.tree.map(m2, whole.mean, moments.mean, moments.m2),
    )


def _along(count: jax.Array, leaf: jax.Array) -> jax.Array:
    return count.reshape(count.shape + (1,) * (leaf.ndim - 1))


def _jackknifed(statistic: Callable[[Moments], jax.Array], moments: Moments) -> tuple[jax.Array, jax.Array]:
    """Returns a statistic of pooled moments, and the half-width of its 95 % interval."""
    whole = statistic(pool(moments))
    error = jackknife.standard_error(whole, jax.vmap(statistic)(_without(moments)), moments.count)
    return whole, jackknife.quantile(moments.count) * error


def _signed_snr(along: Moments) -> Estimate:
    value, reach = _jackknifed(lambda whole: whole.mean / jnp.sqrt(jnp.asarray(variance(whole))), along)
    return Estimate(value, value - reach, value + reach)


def _coordinate_snr(gradient: Moments) -> Estimate:
    def mean_ratio(whole: Moments) -> jax.Array:
        ratios = jax.tree.map(lambda m, v: jnp.abs(m) / jnp.sqrt(v), whole.mean, variance(whole))
        leaves = [jnp.ravel(leaf) for leaf in jax.tree.leaves(ratios)]
        return jnp.mean(jnp.concatenate(leaves)) if leaves else jnp.full((), jnp.nan)

    value, reach = _jackknifed(mean_ratio, gradient)
    return Estimate(value, value - reach, value + reach)


def _mean_squared_error(gradient: Moments, truth: PyTree, error: PyTree) -> Estimate:
    """E ‖g − truth‖² = m2/n + ‖ḡ − truth‖², less the square error of the truth; its interval by the logarithm."""

    def logarithm(whole: Moments) -> jax.Array:
        off = jax.tree.map(jnp.subtract, whole.mean, truth)
        scatter = sum((jnp.sum(leaf) for leaf in jax.tree.leaves(whole.m2)), start=jnp.zeros(()))
        return jnp.log(scatter / whole.count + inner(off, off))

    value, reach = _jackknifed(logarithm, gradient)
    square, reference = jnp.exp(value), inner(error, error)
    ends = square, square * jnp.exp(-reach), square * jnp.exp(reach)
    return Estimate(*(jnp.where(square == 0, 0.0, jnp.maximum(end - reference, 0.0)) for end in ends))


def variance_ratio(gradient: Moments, baseline: Moments) -> Estimate:
    """Returns tr Cov g / tr Cov g₀ of two blocks that were measured on the same draws, with a paired interval.

    By the logarithm of the ratio, as `total_variance`: what both owe to the same draws cancels before it is squared.
    """

    def logarithm(moments: Moments) -> tuple[jax.Array, jax.Array]:
        block = snr.summarize_block(moments)
        return jnp.log(block.variance), jnp.log(block.variance_without)

    (whole, without), (of_base, base_without) = logarithm(gradient), logarithm(baseline)
    error = jackknife.standard_error(whole - of_base, without - base_without, gradient.count)
    factor, ratio = jnp.exp(jackknife.quantile(gradient.count) * error), jnp.exp(whole - of_base)
    return Estimate(ratio, ratio / factor, ratio * factor)
