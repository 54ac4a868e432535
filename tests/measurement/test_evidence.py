"""The streamed log-evidence, against models whose evidence is exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from tests import problems

DIM = 3
EXACT = vi.models.linear_gaussian(DIM)
MODEL = EXACT.model


def toy(variance: float):
    """The optimum of the guide's mean, where only its variance is off; ½ makes it the posterior."""
    guide = vi.guides.affine(DIM, DIM, variance=variance)
    x = jax.random.normal(jax.random.key(0), (4, DIM))
    mu, A, b = vi.models.linear_gaussian_optimum(x)
    return guide, vi.Params(mu, vi.guides.Affine(A, b)), x


def log_p(params, x):
    return jax.vmap(EXACT.log_evidence, in_axes=(None, 0))(params.theta, x)


def test_it_is_exact_from_one_draw_of_the_posterior():
    guide, params, x = toy(variance=0.5)
    evidence = vi.log_evidence(jax.random.key(1), MODEL, guide, params, x, num_samples=1)
    np.testing.assert_allclose(evidence.log_evidence, log_p(params, x), rtol=1e-5)
    np.testing.assert_allclose(evidence.effective_sample_size, 1, rtol=1e-5)
    assert np.all(np.isinf(evidence.standard_error))


def test_the_estimate_of_the_evidence_is_unbiased_and_its_standard_error_right():
    guide, params, x = toy(variance=2 / 3)
    keys = jax.random.split(jax.random.key(2), 400)
    many = jax.vmap(lambda key: vi.log_evidence(key, MODEL, guide, params, x, num_samples=200))(keys)
    exact = log_p(params, x)
    p_hat = np.exp(np.asarray(many.log_evidence - exact))
    z = (p_hat.mean(axis=0) - 1) / (p_hat.std(axis=0) / np.sqrt(len(keys)))
    assert np.abs(z).max() < 4
    scores = np.asarray((many.log_evidence - exact) / many.standard_error)
    assert 0.93 < np.std(scores) < 1.07


def test_its_gap_is_that_of_the_importance_weighted_bound():
    # The exact E[log p̂] − log p(x) of the toy in one dimension at K = 4, by quadrature.
    exact = vi.models.linear_gaussian(1)
    guide = vi.guides.affine(1, 1, variance=2 / 3)
    params = vi.Params(jnp.zeros(1), vi.guides.Affine(jnp.eye(1) / 2, jnp.zeros(1)))
    x = jnp.zeros((1, 1))
    keys = jax.random.split(jax.random.key(3), 40_000)
    values = jax.vmap(lambda key: vi.log_evidence(key, exact.model, guide, params, x, num_samples=4).log_evidence[0])(
        keys
    )
    gap = np.asarray(values, np.float64) - float(exact.log_evidence(params.theta, x[0]))
    assert abs(gap.mean() + 0.004377) < 4 * gap.std() / np.sqrt(gap.size)


@pytest.mark.parametrize("chunk_size", [1, 3, 10, 64])
def test_it_does_not_depend_on_the_chunk_size_and_uses_the_draws_of_log_weights(chunk_size):
    guide, params, x = toy(variance=2 / 3)
    key = jax.random.key(4)
    evidence = vi.log_evidence(key, MODEL, guide, params, x, num_samples=10, chunk_size=chunk_size)
    log_w = vi.log_weights(key, MODEL, guide, params, x, num_samples=10)
    weights = np.exp(np.asarray(log_w, np.float64))
    np.testing.assert_allclose(evidence.log_evidence, np.log(weights.mean(axis=0)), rtol=1e-5)
    size = weights.sum(axis=0) ** 2 / (weights**2).sum(axis=0)
    np.testing.assert_allclose(evidence.effective_sample_size, size, rtol=1e-4)
    error = weights.std(axis=0, ddof=1) / np.sqrt(10) / weights.mean(axis=0)
    np.testing.assert_allclose(evidence.standard_error, error, rtol=1e-3)


def test_a_datum_without_any_weight_has_no_evidence_and_no_effective_draw():
    guide, params, x = toy(variance=2 / 3)
    impossible = MODEL._replace(
        log_joint=lambda theta, x, z: jnp.where(x[0] > 0, MODEL.log_joint(theta, x, z), -jnp.inf)
    )
    evidence = vi.log_evidence(jax.random.key(5), impossible, guide, params, x, num_samples=10)
    dead = np.asarray(x[:, 0] <= 0)
    assert 0 < dead.sum() < dead.size
    assert np.all(np.isneginf(np.asarray(evidence.log_evidence)[dead]))
    assert np.all(np.asarray(evidence.effective_sample_size)[dead] == 0)
    assert not np.any(np.isnan(np.concatenate(jax.tree.leaves(evidence))))


def test_a_discrete_guide_with_an_array_of_support_is_no_obstacle_to_caching():
    exact = vi.models.table(vi.models.THREE_STATES)
    guide = vi.guides.categorical(3)
    params = vi.Params(exact.model.init(jax.random.key(0)), jnp.array([0.1, -0.4, 0.3]))
    x = jnp.zeros((1,), int)
    evidence = vi.log_evidence(jax.random.key(6), exact.model, guide, params, x, num_samples=100_000)
    assert abs(float(evidence.log_evidence[0]) + 1.27296568) < 4 * float(evidence.standard_error[0])


@pytest.mark.parametrize(
    ("num_samples", "error"), [(0, ValueError), (-3, ValueError), (2.0, TypeError), (True, TypeError)]
)
def test_a_bad_number_of_samples_is_named(num_samples, error):
    guide, params, x = toy(variance=2 / 3)
    with pytest.raises(error, match="num_samples"):
        vi.log_evidence(jax.random.key(7), MODEL, guide, params, x, num_samples=num_samples)


def test_nan_in_the_data_is_named():
    guide, params, x = toy(variance=2 / 3)
    with pytest.raises(ValueError, match="NaN"):
        vi.log_evidence(jax.random.key(8), MODEL, guide, params, x.at[0, 0].set(jnp.nan), num_samples=2)


def test_zero_weights_count_in_the_number_of_draws():
    params, x, key = problems.edged_params(), problems.edged_data(0.0, 100.0), jax.random.key(9)
    weights = np.exp(np.asarray(vi.log_weights(key, problems.EDGED, problems.FREE, params, x, num_samples=20)))
    assert 0 < np.sum(weights[:, 0] == 0) < 20
    evidence = vi.log_evidence(key, problems.EDGED, problems.FREE, params, x, num_samples=20, chunk_size=6)
    np.testing.assert_allclose(
        evidence.log_evidence, np.log(weights.mean(axis=0), where=[True, False], out=np.full(2, -np.inf)), rtol=1e-4
    )
    size = weights[:, 0].sum() ** 2 / (weights[:, 0] ** 2).sum()
    np.testing.assert_allclose(evidence.effective_sample_size, [size, 0.0], rtol=1e-4)
    error = weights[:, 0].std(ddof=1) / np.sqrt(20) / weights[:, 0].mean()
    np.testing.assert_allclose(evidence.standard_error, [error, np.inf], rtol=1e-4)


class Unscored(problems.Normal):
    """A guide whose density is left out, so that log w is what the model says."""

    def log_prob(self, z: jax.Array) -> jax.Array:
        return jnp.zeros_like(z)


@pytest.mark.parametrize(("offset", "spread"), [(-10_240.0, 0.0), (-10_240.0, 1.0), (10_240.0, 1.0)])
def test_error_and_effective_sample_size_keep_their_digits_in_float32(offset, spread):
    """log w is the offset plus multiples of 2⁻⁶ nats, which float32 does not round: the moments are the multiples'."""

    def log_joint(theta, x, z):
        return theta + x + jnp.round(spread * 64 * z) / 64

    model = vi.Model(lambda key: jnp.zeros(()), log_joint)
    guide = vi.Guide(lambda key: jnp.zeros(()), lambda phi, x: Unscored(phi, jnp.ones(())))
    params, x, key = vi.Params(jnp.asarray(offset), jnp.zeros(())), jnp.zeros(3), jax.random.key(10)
    log_w = vi.log_weights(key, model, guide, params, x, num_samples=500)
    weights = np.exp(np.asarray(log_w, np.float64) - offset)
    evidence = vi.log_evidence(key, model, guide, params, x, num_samples=500)
    np.testing.assert_allclose(
        evidence.log_evidence - offset, np.log(weights.mean(axis=0)), atol=1e-3 if offset else 1e-5
    )
    size = weights.sum(axis=0) ** 2 / (weights**2).sum(axis=0)
    np.testing.assert_allclose(evidence.effective_sample_size, size, rtol=1e-5)
    error = weights.std(axis=0, ddof=1) / np.sqrt(500) / weights.mean(axis=0)
    np.testing.assert_allclose(evidence.standard_error, error, rtol=1e-4, atol=5e-5)


def test_repeated_calls_do_not_trace_again():
    traces = []

    def log_joint(theta, x, z):
        traces.append(1)
        return MODEL.log_joint(theta, x, z)

    guide, params, x = toy(variance=2 / 3)
    counted = MODEL._replace(log_joint=log_joint)
    vi.log_evidence(jax.random.key(11), counted, guide, params, x, num_samples=3)
    count = len(traces)
    vi.log_evidence(jax.random.key(12), counted, guide, params, x + 1, num_samples=3)
    assert len(traces) == count > 0


@pytest.mark.parametrize("chunk_size", [0, -1])
def test_a_bad_chunk_size_is_named(chunk_size):
    guide, params, x = toy(variance=2 / 3)
    with pytest.raises(ValueError, match=f"chunk_size must be at least 1, got {chunk_size}"):
        vi.log_evidence(jax.random.key(13), MODEL, guide, params, x, num_samples=2, chunk_size=chunk_size)
