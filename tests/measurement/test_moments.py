"""Streamed moments are the two-pass moments, whatever the batches, the chunks and the padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vi_jax.measurement import moments as M
from vi_jax.measurement.moments import replicate_moments
from vi_jax.types import Params

KEY = jax.random.key(5)
update, merge, pool, variance_of = map(jax.jit, (M.update, M.merge, M.pool, M.variance))


def draw(key):
    """One replicate: correlated, skewed, of two leaves and two scales."""
    noise = jax.random.normal(key, (3,))
    return Params(theta=jnp.exp(noise[:2]), phi={"b": 100.0 + noise[2] + noise[0]})


def two_pass(draws):
    flat = np.concatenate([np.asarray(leaf, np.float64).reshape(len(leaf), -1) for leaf in jax.tree.leaves(draws)], 1)
    return flat.mean(0), flat.var(0, ddof=1)


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


@pytest.mark.parametrize("size", [10, 1000])
def test_float32_keeps_the_variance_of_draws_far_from_zero(size):
    draws = 1e4 + jax.random.normal(KEY, (4000, 3))
    empty = M.init(draws[0])
    batches = draws.reshape(-1, size, 3)
    result = jax.jit(lambda b: jax.lax.scan(lambda m, d: (M.update(m, d), None), empty, b)[0])(batches)
    mean, variance = two_pass(draws)
    assert result.count == 4000
    np.testing.assert_allclose(result.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(variance_of(result), variance, rtol=2e-4)


@pytest.mark.parametrize("chunk_size", [1, 500])
def test_float32_keeps_the_mean_of_many_replicates_far_from_zero(chunk_size):
    def far(key):
        return 1e4 + jax.random.normal(key, (3,))

    grouped = jax.jit(lambda: replicate_moments(KEY, far, num_replicates=30_000, num_groups=1, chunk_size=chunk_size))()
    mean, variance = two_pass(jax.jit(jax.vmap(lambda r: far(jax.random.fold_in(KEY, r))))(jnp.arange(30_000)))
    pooled = pool(grouped)
    np.testing.assert_allclose(pooled.mean, mean, atol=1e-3)  # float32 numbers near 1e4 are 1e-3 apart
    np.testing.assert_allclose(variance_of(pooled), variance, rtol=1e-5)


@pytest.mark.parametrize("weights", [(1, 1, 1, 1, 1, 1), (0, 3, 0, 1, 2, 1), (0, 0, 0, 0, 0, 2), (0, 0, 0, 0, 0, 0)])
def test_a_weight_says_how_often_a_draw_counts(weights):
    draws = jnp.array([1.0, -4.0, 2.5, 100.0, 0.0, 7.0])
    repeated = np.repeat(np.asarray(draws, np.float64), weights)
    result = update(M.init(draws[0]), draws, jnp.array(weights))
    assert result.count == len(repeated)
    np.testing.assert_allclose(result.mean, repeated.mean() if len(repeated) else 0.0, rtol=1e-6)
    np.testing.assert_allclose(result.m2, ((repeated - result.mean) ** 2).sum(), rtol=1e-5, atol=1e-4)


def test_padding_may_hold_anything_and_a_counted_nan_is_not_hidden():
    draws = jnp.array([1.0, 3.0, jnp.nan, jnp.inf])
    padded = update(M.init(draws[0]), draws, jnp.array([1, 1, 0, 0]))
    assert tuple(padded) == (2.0, 2.0, 2.0)
    assert jnp.isnan(update(M.init(draws[0]), draws[:3]).mean)


def test_merging_is_the_same_in_every_order_and_nothing_is_neutral():
    draws = jax.tree.map(np.asarray, jax.jit(jax.vmap(draw))(jax.random.split(KEY, 90)))
    parts = [jax.tree.map(lambda leaf, a=a, b=b: leaf[a:b], draws) for a, b in ((0, 10), (10, 11), (11, 90))]
    empty = M.init(jax.tree.map(lambda leaf: leaf[0], draws))
    one, two, three = (update(empty, part) for part in parts)
    mean, variance = two_pass(draws)
    for merged in (merge(merge(one, two), three), merge(three, merge(merge(empty, one), two))):
        np.testing.assert_allclose(flat(merged.mean), mean, rtol=1e-6)
        np.testing.assert_allclose(flat(variance_of(merged)), variance, rtol=1e-5)
    assert merge(empty, empty).count == 0
    np.testing.assert_array_equal(flat(merge(empty, empty).m2), 0.0)


def test_one_draw_has_no_variance():
    assert jnp.isnan(variance_of(update(M.init(jnp.zeros(())), jnp.ones(1))))


def test_narrow_and_whole_numbers_accumulate_in_the_default_float(strict_promotion):
    draws = {"half": jnp.full(3000, 1.5, jnp.bfloat16), "whole": jnp.arange(3000), "flag": jnp.arange(3000) < 750}
    result = update(M.init(jax.tree.map(lambda leaf: leaf[0], draws)), draws)
    assert {leaf.dtype for leaf in jax.tree.leaves(result)} == {jnp.dtype(jnp.float32)}
    np.testing.assert_allclose([result.mean[k] for k in ("half", "whole", "flag")], [1.5, 1499.5, 0.25], rtol=1e-6)
    np.testing.assert_allclose(result.m2["flag"], 3000 * 0.25 * 0.75, rtol=1e-6)


def test_float64_is_kept(x64):
    draws = 1e9 + np.random.default_rng(0).normal(size=1000)
    result = update(M.init(jnp.zeros(())), jnp.asarray(draws))
    np.testing.assert_allclose(variance_of(result), draws.var(ddof=1), rtol=1e-9)


@pytest.mark.parametrize(
    ("num_replicates", "num_groups", "chunk_size"),
    [(103, 4, None), (103, 4, 1), (103, 4, 7), (103, 4, 10_000), (20, 20, 3), (100, 1, 7)],
)
def test_replicates_are_those_of_their_own_keys_in_groups_by_remainder(num_replicates, num_groups, chunk_size):
    grouped = jax.jit(
        lambda key: replicate_moments(
            key, draw, num_replicates=num_replicates, num_groups=num_groups, chunk_size=chunk_size
        )
    )(KEY)
    draws = jax.jit(jax.vmap(lambda r: draw(jax.random.fold_in(KEY, r))))(jnp.arange(num_replicates))
    grouped, draws = jax.tree.map(np.asarray, (grouped, draws))
    for g in range(num_groups):
        own = jax.tree.map(lambda leaf, g=g: leaf[g::num_groups], draws)
        mean = np.concatenate([np.asarray(leaf, np.float64).mean(0).ravel() for leaf in jax.tree.leaves(own)])
        group = jax.tree.map(lambda leaf, g=g: leaf[g], grouped)
        assert group.count == len(own.theta)
        np.testing.assert_allclose(flat(group.mean), mean, rtol=1e-5)
    pooled = pool(grouped)
    mean, variance = two_pass(draws)
    assert pooled.count == num_replicates
    np.testing.assert_allclose(flat(pooled.mean), mean, rtol=1e-5)
    np.testing.assert_allclose(flat(variance_of(pooled)), variance, rtol=1e-4)


def test_a_first_replicate_that_is_not_finite_spoils_its_own_group_alone():
    first = jax.random.key_data(jax.random.fold_in(KEY, 0))

    def f(key):
        return jnp.where((jax.random.key_data(key) == first).all(), jnp.inf, 1.0)

    means = replicate_moments(KEY, f, num_replicates=12, num_groups=3).mean
    np.testing.assert_array_equal(jnp.isfinite(means), [False, True, True])


def test_select_takes_a_part_of_every_draw():
    grouped = replicate_moments(KEY, draw, num_replicates=40, num_groups=4)
    part = M.select(grouped, lambda tree: tree.phi["b"])
    np.testing.assert_array_equal(part.mean, grouped.mean.phi["b"])
    np.testing.assert_array_equal(part.m2, grouped.m2.phi["b"])
    assert part.count is grouped.count


def test_memory_does_not_grow_with_the_number_of_replicates():
    def temporary_bytes(num_replicates):
        program = jax.jit(
            lambda key: replicate_moments(
                key, lambda k: jax.random.normal(k, (1000,)), num_replicates=num_replicates, chunk_size=100
            )
        )
        analysis = program.lower(KEY).compile().memory_analysis()
        assert analysis is not None
        return analysis.temp_size_in_bytes

    small, large = temporary_bytes(1_000), temporary_bytes(100_000)
    assert small > 100 * 1000 * 4 / 2  # the chunk itself is in there, so the comparison means something
    assert large <= 1.1 * small


@pytest.mark.parametrize("rounds_at_once", [1, 2, 3, 7, 50, 1000])
def test_fewer_than_one_chunk_of_evaluations_is_made_in_vain(rounds_at_once):
    for num_rounds in range(1, 200):
        rounds, num_chunks = M._plan(num_rounds, rounds_at_once)
        assert rounds <= rounds_at_once
        assert 0 <= rounds * num_chunks - num_rounds < rounds_at_once


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"num_replicates": 10}, ValueError, "num_groups=20 exceeds num_replicates=10"),
        ({"num_replicates": 0}, ValueError, "num_replicates must be at least 1, got 0"),
        ({"num_groups": 2.0}, TypeError, "num_groups must be a Python integer"),
        ({"chunk_size": 0}, ValueError, "chunk_size must be at least 1, got 0"),
        ({"key": jax.random.PRNGKey(0)}, TypeError, r"jax\.random\.key"),
    ],
)
def test_bad_input_is_refused_with_its_remedy(changed, error, message):
    arguments = {"key": KEY, "f": draw, "num_replicates": 100} | changed
    with pytest.raises(error, match=message):
        replicate_moments(**arguments)
