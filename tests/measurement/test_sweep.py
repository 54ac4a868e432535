"""A sweep reads off one pool what `value_and_grad` computes cell by cell, and knows the toy's exact answers."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from tests import problems
from vi_jax.measurement import (
    Reference,
    by_leaf,
    over_batch,
    paired_variance_ratio,
    per_datum,
    per_draw,
    projected,
    pulled,
    stream,
    theta_and_phi,
)
from vi_jax.measurement import cells as C
from vi_jax.measurement.one_pool import replicate
from vi_jax.measurement.sums import directions

B, E = vi.bounds, vi.estimators
KEY = jax.random.key(11)
PAIRS = {
    "elbo/pathwise": (B.elbo, E.pathwise),
    "iwae/pathwise": (B.iwae, E.pathwise),
    "iwae/doubly_reparameterized": (B.iwae, E.doubly_reparameterized),
    "thermodynamic/doubly_reparameterized": (B.thermodynamic((0.0, 0.3, 1.0)), E.doubly_reparameterized),
    "iwae/vimco": (B.iwae, E.vimco),
    "iwae/wake_phi": (B.iwae, E.wake_phi),
    "miwae/score_function": (B.miwae(2), E.score_function),
}
CURVED = (problems.CURVED, problems.AMORTIZED, problems.curved_params(), problems.curved_data())
# One datum that is possible for some draws, one for none, one for all; derivatives below the edge are NaN.
EDGED = (problems.EDGED, problems.FREE, problems.edged_params(), problems.edged_data(0.0, 100.0, -100.0))
TREE = (problems.TREE, problems.PAIRED, problems.tree_params(), problems.tree_data())


def one_pool(problem, sums, num_samples=(1, 2, 4), pairs=PAIRS, average=over_batch, groups=1):
    model, guide, params, x = problem
    rows, _ = C.lay_out(guide, pairs, num_samples)
    read = replicate(model, guide, rows, sums, sums, average, groups)
    return rows, jax.jit(read)(KEY, params, x)


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


@functools.cache
def separately(names, size, which):
    """Log-weights and gradients at one K; `which` problem by index, since arrays have no hash."""
    model, guide, params, x = (CURVED, EDGED, TREE)[which]
    pairs = {name: PAIRS[name] for name in names}
    log_w, gradients = vi.shared_gradients(model, guide, pairs, num_samples=size)(KEY, params, x)
    return log_w, {name: flat(gradient) for name, gradient in gradients.items()}


@pytest.mark.parametrize("sums", [per_draw, pulled], ids=lambda sums: sums.name)
@pytest.mark.parametrize("which", [0, 1, 2], ids=["curved", "zero weights", "tree"])
def test_every_cell_is_the_gradient_of_value_and_grad_at_its_key_and_k(which, sums):
    names = list(PAIRS) if which == 0 else ["iwae/pathwise", "iwae/vimco"]
    pairs = {name: PAIRS[name] for name in names}
    rows, pool = one_pool((CURVED, EDGED, TREE)[which], sums, num_samples=(1, 4), pairs=pairs)
    for row in rows:
        log_w, gradients = separately(row.names, row.num_samples, which)
        for o, name in enumerate(row.names):
            cell = jax.tree.map(lambda leaf, o=o: leaf[0, 0, o], pool[row.num_samples])
            np.testing.assert_allclose(flat(cell.gradient), gradients[name], rtol=2e-4, atol=2e-5, err_msg=name)
            values = PAIRS[name][0](log_w)
            np.testing.assert_allclose(cell.value, values.mean(), rtol=1e-5)
            np.testing.assert_allclose(cell.impossible, np.isneginf(values).mean(), rtol=1e-6)


def test_an_impossible_datum_is_counted_and_leaves_the_rest_of_the_batch_as_it_is():
    _, pool = one_pool(EDGED, per_draw, num_samples=(4,), pairs={"a": PAIRS["iwae/pathwise"]})
    assert pool[4].impossible[0, 0, 0] == np.float32(1 / 3)
    assert np.isfinite(flat(pool[4].gradient)).all()


def test_data_are_measured_one_by_one_and_average_to_the_batch():
    pairs = {name: PAIRS[name] for name in ("iwae/pathwise", "iwae/vimco")}
    for sums in (per_draw, pulled):
        _, batch = one_pool(CURVED, sums, num_samples=(4,), pairs=pairs)
        _, each = one_pool(CURVED, sums, num_samples=(4,), pairs=pairs, average=per_datum)
        assert each[4].value.shape == (1, 2, 2)
        mean = jax.tree.map(lambda leaf: leaf.mean(axis=1, keepdims=True), each[4])
        np.testing.assert_allclose(flat(mean), flat(batch[4]), rtol=1e-4, atol=1e-5)
        assert np.abs(flat(each[4].gradient)).max() > 1.2 * np.abs(flat(batch[4].gradient)).max()


def test_projections_are_those_of_the_gradient_on_random_directions_of_length_near_one():
    pairs = {name: PAIRS[name] for name in ("iwae/pathwise", "iwae/wake_phi")}
    _, whole = one_pool(CURVED, per_draw, num_samples=(4,), pairs=pairs)
    _, parts = one_pool(CURVED, projected(5), num_samples=(4,), pairs=pairs)
    for o in range(2):
        for field in ("theta", "phi"):
            gradient = jax.tree.map(lambda leaf, o=o: leaf[0, 0, o], getattr(whole[4].gradient, field))
            along = directions(gradient, num_directions=5, seed=0)
            expected = [flat(jax.tree.map(lambda v, i=i: v[i], along)) @ flat(gradient) for i in range(5)]
            np.testing.assert_allclose(getattr(parts[4].gradient, field)[0, 0, o], expected, rtol=1e-3, atol=1e-5)
    many = directions(jnp.zeros(7), num_directions=40_000, seed=0)
    np.testing.assert_allclose(many.T @ many, np.eye(7), atol=0.03)


def test_the_groups_of_a_pool_are_its_disjoint_parts():
    """The ELBO of 4 draws is the mean of the ELBO over 4 groups of 1, and over 2 groups of 2."""
    _, pool = one_pool(CURVED, per_draw, pairs={"elbo": PAIRS["elbo/pathwise"]}, groups=4)
    assert [pool[k].value.shape[0] for k in (1, 2, 4)] == [4, 2, 1]
    for k in (1, 2):
        mean = jax.tree.map(lambda leaf: leaf.mean(axis=0), (pool[k].gradient, pool[k].value))
        np.testing.assert_allclose(flat(mean), flat((pool[4].gradient, pool[4].value)), rtol=1e-4, atol=1e-5)


def test_a_discrete_guide_has_scores_and_no_path():
    table = vi.models.table(jnp.array([[0.2, 0.05, 0.03], [0.1, 0.3, 0.32]]))
    guide, x = vi.guides.categorical(3), jnp.array([0, 1])
    params = vi.Params(table.model.init(KEY), jnp.array([0.1, -0.4, 0.3]))
    pairs = {"iwae/vimco": PAIRS["iwae/vimco"], "iwae/pathwise": PAIRS["iwae/pathwise"]}
    rows, undefined = C.lay_out(guide, pairs, (1, 3))
    assert set(undefined) == {("iwae/vimco", 1), ("iwae/pathwise", 1), ("iwae/pathwise", 3)}
    assert "reparameterized=False" in undefined["iwae/pathwise", 3]
    _, expected = vi.value_and_grad(table.model, guide, *pairs["iwae/vimco"], num_samples=3)(KEY, params, x)
    for sums in (per_draw, pulled):
        cell = jax.jit(replicate(table.model, guide, rows, sums, sums, over_batch, 1))(KEY, params, x)[3]
        np.testing.assert_allclose(flat(cell.gradient), flat(expected), rtol=1e-4, atol=1e-6)


# --- the toy, whose answers are known ---------------------------------------------------------------------------------


DIM = 2
TOY, GUIDE = vi.models.linear_gaussian(DIM), vi.guides.affine(DIM, DIM, variance=2 / 3)
X = jnp.array([[0.7, -1.1], [0.2, 0.9], [-1.4, 0.5]])
OFF = vi.Params(jnp.array([0.1, -0.2]), vi.guides.Affine(0.4 * jnp.eye(DIM), jnp.array([0.1, 0.05])))
TOY_PAIRS = {
    "elbo/pathwise": PAIRS["elbo/pathwise"],
    "elbo/sticking_the_landing": (B.elbo, E.sticking_the_landing),
    "iwae/vimco": PAIRS["iwae/vimco"],
}


def exact_elbo(params):
    per_datum_ = jax.vmap(lambda x: vi.models.linear_gaussian_elbo(params.theta, params.phi.A, params.phi.b, x))(X)
    return per_datum_.mean()


def reference(name, num_samples):
    value, gradient = jax.value_and_grad(exact_elbo)(OFF)
    return Reference(value, gradient) if name.startswith("elbo") else None


def swept(**changes):
    settings = {
        "objectives": TOY_PAIRS,
        "num_samples": (1, 4),
        "num_replicates": 4000,
        "reference": reference,
        "blocks": by_leaf,
    }
    return vi.sweep(KEY, TOY.model, GUIDE, OFF, X, **(settings | changes))


@functools.cache
def toy():
    return swept()


def test_values_and_gradients_of_the_toy_are_unbiased_and_say_so():
    q = toy().quantities
    assert np.all(q.largest_z.value[:2] < 4.5)
    assert np.all(np.abs(q.value_bias.value[:2]) < 4 * (q.value_bias.high - q.value_bias.low)[:2] / 4)
    assert np.isnan(q.value_bias.value[2]).all()
    assert np.isnan(q.largest_z.value[2]).all()
    # 12 cells and blocks of 2 coordinates or more: an interval of 95 % may miss one or two.
    assert (q.bias_norm.low[:2] > 0).sum() <= 2


def test_variances_of_the_toy_are_those_of_the_closed_form():
    """d/dm of the pathwise gradient has covariance (8/3) I per datum and draw, of sticking the landing (1/6) I."""
    result = toy()
    b = result.blocks.index("phi.b")
    for o, per_draw_variance in ((0, 8 / 3), (1, 1 / 6)):
        for k, size in enumerate(result.num_samples):
            exact = DIM * per_draw_variance / (len(X) * size)
            error = exact * math.sqrt(2 / (DIM * 4000))
            np.testing.assert_allclose(result.quantities.variance.value[o, k, 0, b], exact, atol=4 * error)
            np.testing.assert_allclose(result.variance.phi.b[o, k, 0].sum(), exact, atol=4 * error)
    true = jax.grad(exact_elbo)(OFF).phi.b
    norm, sd = np.linalg.norm(true), math.sqrt(DIM * 8 / 3 / len(X))
    low, high = (end[0, 0, 0, b] for end in toy().quantities.snr[1:])
    assert low < norm / sd < high
    low, high = (end[0, 0, 0, b] for end in toy().quantities.directional_snr[1:])
    assert low < norm / math.sqrt(8 / 3 / len(X)) < high
    low, high = (end[0, 0, 0, b] for end in toy().quantities.mean_squared_error[1:])
    assert low < sd**2 < high


def test_a_ratio_of_variances_is_paired():
    """Both gradients of b are multiples of one mean of ε, by 4 to 1: their ratio has no noise, and says so."""
    result = toy()
    ratio = paired_variance_ratio(result, "elbo/sticking_the_landing")
    b = result.blocks.index("phi.b")
    np.testing.assert_allclose([end[0, :, 0, b] for end in ratio], 16.0, rtol=1e-4)
    spread = result.quantities.variance
    assert np.all(spread.high[0, :, 0, b] > 1.05 * spread.low[0, :, 0, b])
    theta = [end[2, 1, 0, result.blocks.index("theta")] for end in paired_variance_ratio(result, "elbo/pathwise")]
    assert 0.4 < theta[1] < theta[0] < theta[2] < 1.0
    np.testing.assert_allclose(ratio.value[1, :, :, b], 1.0, rtol=1e-6)
    assert np.isnan(ratio.value[2, 0]).all()
    with pytest.raises(ValueError, match="no objective is named 'elbo'"):
        paired_variance_ratio(result, "elbo")


def test_the_error_of_a_reference_widens_the_intervals_of_bias():
    def uncertain(name, num_samples):
        exact = reference(name, num_samples)
        return exact and exact._replace(value_error=3.0, gradient_error=jax.tree.map(lambda g: 2.0 + 0 * g, OFF))

    known, compiled = toy().quantities, stream.block._cache_size()
    unknown = swept(reference=uncertain).quantities
    assert stream.block._cache_size() == compiled  # the same program, whatever the reference
    reach = (unknown.value_bias.high - unknown.value_bias.low)[0, 0, 0] / 2
    np.testing.assert_allclose(reach, 1.96 * 3.0, rtol=1e-3)
    np.testing.assert_allclose(unknown.value_bias.value[:2], known.value_bias.value[:2])
    assert unknown.bias_along.low[0, 0, 0, 0] < -3.0 < 3.0 < unknown.bias_along.high[0, 0, 0, 0]
    assert unknown.bias_norm.high[0, 0, 0, 0] > 5.0
    assert np.all(unknown.largest_z.value[:2] < 0.2)


def test_an_undefined_cell_is_listed_and_never_a_number():
    result = toy()
    assert set(result.undefined) == {("iwae/vimco", 1)}
    assert "num_samples ≥ 2" in result.undefined["iwae/vimco", 1]
    assert all(np.isnan(estimate.value[2, 0]).all() for estimate in result.quantities)
    assert np.isnan(flat(jax.tree.map(lambda leaf: leaf[2, 0], result.mean))).all()
    assert np.isfinite(flat(jax.tree.map(lambda leaf: leaf[2, 1], result.mean))).all()


def test_the_table_has_a_row_per_cell_and_block_and_reports_the_floor():
    table = toy().to_pandas()
    assert len(table) == 3 * 2 * len(toy().blocks)
    assert list(table.columns[:4]) == ["objective", "num_samples", "unit", "block"]
    assert set(toy().blocks) == {"theta", "phi", "phi.A", "phi.b"}
    row = table.query("objective == 'elbo/pathwise' and num_samples == 4 and block == 'phi.b'").iloc[0]
    assert float(row["snr_low"]) < float(row["snr"]) < float(row["snr_high"])
    assert row["coordinate_snr_floor"] == math.sqrt(2 / (math.pi * 4000))
    missing = table.query("undefined != ''")
    assert set(missing["objective"]) == {"iwae/vimco"}
    assert np.isnan(missing["variance"].to_numpy()).all()


def test_weights_of_one_draw_have_one_effective_sample_and_no_tail():
    q = toy().quantities
    np.testing.assert_allclose(q.effective_sample_size.value[0, 0], 1.0)
    assert np.isnan(q.pareto_k.value).all()
    assert 1 < q.effective_sample_size.value[0, 1, 0] < 4


def test_every_group_of_a_pool_counts_as_a_replicate():
    result = swept(num_replicates=1000, groups_per_pool=4)
    assert result.num_replicates == (4000, 1000)
    assert result.quantities.largest_z.value[:2].max() < 4.5


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"objectives": {}}, ValueError, "objectives is empty"),
        ({"objectives": {"a": B.elbo}}, TypeError, "pair \\(bound, estimator\\)"),
        ({"num_samples": ()}, ValueError, "increasing values of K"),
        ({"num_samples": (4, 1)}, ValueError, "increasing values of K.*\\(4, 1\\)"),
        ({"num_samples": (0, 1)}, ValueError, "num_samples must be at least 1, got 0"),
        ({"num_replicates": 10}, ValueError, "between 2 and num_replicates=10, got 20"),
        ({"num_groups": 1}, ValueError, "between 2 and num_replicates=4000, got 1"),
        (
            {"objectives": {"v": PAIRS["iwae/vimco"]}, "num_samples": (1,)},
            ValueError,
            "no objective is defined at any K",
        ),
        ({"chunk_size": 0}, ValueError, "chunk_size must be at least 1"),
        ({"groups_per_pool": 0}, ValueError, "groups_per_pool must be at least 1"),
    ],
)
def test_errors_name_the_value_and_the_remedy(changes, error, match):
    with pytest.raises(error, match=match):
        swept(**changes)


def test_blocks_name_the_parts_of_a_gradient():
    assert list(theta_and_phi(OFF)) == ["theta", "phi"]
    assert by_leaf(OFF)["phi.A"] is OFF.phi.A


def test_a_second_sweep_asks_no_estimator_again():
    asked = []

    @vi.estimators.estimator
    def watched(bound, log_w):
        asked.append(log_w.shape)
        weights = jax.nn.softmax(log_w, axis=0)
        return vi.Coefficients(model=weights, path=weights, score=-weights, ratio=1.0)

    def again():
        return vi.sweep(
            jax.random.key(0),
            problems.CURVED,
            problems.AMORTIZED,
            problems.curved_params(),
            problems.curved_data(),
            objectives={"watched": (vi.bounds.iwae, watched)},
            num_samples=(1, 2),
            num_replicates=20,
        )

    again()
    assert asked
    asked.clear()
    again()
    assert not asked


def test_a_bound_that_sums_over_data_is_an_error_and_no_undefined_cell():
    with pytest.raises(TypeError, match=r"must map log-weights \[K, B\] to values \[B\], got shape \(\)"):
        vi.sweep(
            jax.random.key(0),
            problems.CURVED,
            problems.AMORTIZED,
            problems.curved_params(),
            problems.curved_data(),
            objectives={"sum": (jnp.sum, vi.estimators.vimco), "iwae": (vi.bounds.iwae, vi.estimators.pathwise)},
            num_samples=(1,),  # where vimco is undefined, whatever the bound
            num_replicates=20,
        )
