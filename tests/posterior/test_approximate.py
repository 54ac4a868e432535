"""One call from a log-density to a verdict, on posteriors whose answer is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy import stats
from jax.tree_util import Partial

import vi_jax as vi
from vi_jax.models import supports
from vi_jax.posterior import ladder
from vi_jax.posterior.gaussian import begin
from vi_jax.training.laplace import Gaussian

# Standard deviations from 10⁻³ to 10³, correlated by .9: no single rate would do in these coordinates.
SCALES = np.array([1e-3, 1.0, 1e3])
COVARIANCE = (0.1 * np.eye(3) + 0.9) * np.outer(SCALES, SCALES)
MEAN = np.array([0.01, -2.0, 3e3])


def correlated(p):
    """N(MEAN, COVARIANCE) of (a, log b, c), e⁷ times."""
    z = jnp.stack([p["a"], jnp.log(p["b"]), p["c"]])
    whitened = jnp.linalg.solve(jnp.asarray(np.linalg.cholesky(COVARIANCE) / SCALES[:, None]), (z - MEAN) / SCALES)
    return 7.0 - jnp.log(p["b"]) - 0.5 * whitened @ whitened - 0.5 * np.linalg.slogdet(2 * np.pi * COVARIANCE)[1]


def two_modes(p):
    each = [stats.norm.logpdf(p["z"], centre, scale).sum() for centre, scale in ((-4.0, 1.0), (4.0, 0.5))]
    return jnp.logaddexp(each[0] + jnp.log(0.7), each[1] + jnp.log(0.3))


@pytest.fixture(scope="module")
def of_a_gaussian():
    like = {"a": 0.0, "b": 1.0, "c": 0.0}
    return vi.approximate(jax.random.key(0), correlated, like, {"b": supports.positive}, num_draws=2000)


@pytest.fixture(scope="module")
def of_two_modes():
    return vi.approximate(jax.random.key(1), two_modes, {"z": np.zeros(2)}, num_draws=2000)


def test_a_gaussian_is_found_whatever_its_scales(of_a_gaussian):
    found = of_a_gaussian.diagnosis
    assert found.verdict.level == "trusted"
    assert [attempt.name for attempt in of_a_gaussian.attempts] == ["full_rank"]
    assert of_a_gaussian.attempts[0].fit.settled
    np.testing.assert_allclose(found.evidence.elbo.value, 7.0, atol=0.01)
    place = [found.names.index(name) for name in "ac"]
    np.testing.assert_allclose(
        (found.moments.corrected.mean[np.array(place)] - MEAN[[0, 2]]) / SCALES[[0, 2]], 0, atol=0.1
    )
    np.testing.assert_allclose(found.moments.corrected.sd[np.array(place)] / SCALES[[0, 2]], 1, atol=0.06)


def test_two_modes_are_both_found_and_weighed(of_two_modes):
    names = [attempt.name for attempt in of_two_modes.attempts]
    assert names == ["full_rank", "mixture of 2"]
    first, second = of_two_modes.attempts
    # The first is blind, and would be trusted by its weights.
    assert first.pareto_k < 0.5
    assert first.missed
    assert first.log_evidence == pytest.approx(np.log(0.7), abs=0.05) or first.log_evidence == pytest.approx(
        np.log(0.3), abs=0.05
    )
    assert not second.missed
    found = of_two_modes.diagnosis
    assert found.verdict.trusted
    np.testing.assert_allclose(found.evidence.elbo.value, 0, atol=0.02)
    error = found.moments.corrected.mean_error
    assert np.all(np.abs(np.asarray(found.moments.corrected.mean) + 1.6) < 4 * np.asarray(error))


def test_it_prints_what_was_tried_the_verdict_and_the_table(of_two_modes):
    text = str(of_two_modes)
    assert text.startswith("full_rank: ELBO ")
    assert "mixture of 2" in text
    assert "z[1]" in text
    assert of_two_modes.diagnosis.verdict.text in text


def test_an_improper_density_is_not_trusted():
    """Nothing holds b: it has no prior and no data."""
    target = vi.models.unconstrained(lambda p: -(p["mu"] ** 2) / 2 + 0 * p["b"], {"mu": 0.5, "b": 1.0})
    found = vi.approximate_target(jax.random.key(0), target, ladder=[ladder.mean_field], num_draws=500).diagnosis
    assert not found.verdict.trusted
    assert "improper" in found.verdict.text
    assert "b →" in found.verdict.text


def test_a_spike_within_a_slab_is_remembered_though_the_slab_is_chosen():
    """Both hold half of the mass; no draw of the slab meets the spike, and no draw of the spike leaves it."""

    def log_density(z):
        each = [stats.norm.logpdf(z, 0.0, scale).sum() for scale in (0.1, 1.0)]
        return jnp.logaddexp(*each) + jnp.log(0.5)

    found = begin(jax.random.key(0), Partial(log_density), jnp.full(10, 0.1))
    said = vi.approximate(jax.random.key(0), log_density, jnp.full(10, 0.1), num_draws=1000).diagnosis.verdict
    assert not said.trusted
    assert "Mass out of sight" in said.text
    sds = jnp.exp(jnp.mean(jnp.log(jnp.diagonal(found.places.scale_tril, axis1=1, axis2=2)), axis=1))
    assert jnp.min(sds) < 0.2
    assert jnp.max(sds) > 0.8


def test_bad_arguments_are_one_error():
    with pytest.raises(TypeError, match="typed key"):
        vi.approximate(0, two_modes, {"z": np.zeros(2)})
    target = vi.models.unconstrained(two_modes, {"z": np.zeros(2)})
    with pytest.raises(ValueError, match="ladder must name one rung"):
        vi.approximate_target(jax.random.key(0), target, ladder=[])
    with pytest.raises(ValueError, match="num_draws must be at least 100"):
        vi.approximate_target(jax.random.key(0), target, num_draws=10)
    with pytest.raises(ValueError, match="reference must be draws"):
        vi.approximate_target(jax.random.key(0), target, reference=np.zeros((5, 3)))
    with pytest.raises(ValueError, match="log_density is -inf at s = "):
        vi.approximate(jax.random.key(0), lambda p: stats.gamma.logpdf(p["s"], 2.0), {"s": 1.0})


def test_the_beginning_of_a_gaussian_is_that_gaussian():
    target = vi.models.unconstrained(correlated, {"a": 0.0, "b": 1.0, "c": 0.0}, {"b": supports.positive})
    found = begin(jax.random.key(0), Partial(vi.models.log_density(target)), jnp.asarray(target.start, float))
    np.testing.assert_allclose((found.gaussian.loc - MEAN) / SCALES, 0, atol=0.01)
    covariance = found.gaussian.scale_tril @ found.gaussian.scale_tril.T
    np.testing.assert_allclose(covariance / COVARIANCE, 1, rtol=0.02)
    assert found.elbo == pytest.approx(7.0, abs=0.01)


def test_the_next_rung_starts_where_the_last_ended():
    """The guide of a later rung, at its start, is the Gaussian of the earlier one, density for density."""
    outer = Gaussian(jnp.array([1.0, -2.0]), jnp.array([[2.0, 0.0], [0.5, 0.3]]))
    phi = vi.guides.FullRank(jnp.array([0.4, 0.1]), jnp.array([0.2, -0.3]), jnp.array([0.7]))
    z = jnp.array([1.3, -1.1])
    before = ladder.on(ladder.full_rank, outer).distribution(phi, None).log_prob(z)
    flow = ladder.on(ladder.flow, ladder.step_up(ladder.full_rank, phi, outer))
    after = flow.distribution(flow.init(jax.random.key(0)), None).log_prob(z)
    np.testing.assert_allclose(after, before, rtol=1e-5)


def test_minibatches_fit_what_all_data_judge():
    """Forty normal data with a flat mean: the posterior is N(mean y, 1/40), and each step sees ten of them."""
    y = 3.0 + jax.random.normal(jax.random.key(0), (40,))
    target = vi.models.unconstrained_with_data(
        lambda mu: 0.0 * mu, lambda datum, mu: stats.norm.logpdf(datum, mu), y, 0.0
    )
    seen = []
    subsample = vi.training.subsample(10)

    def prepare(key, x):
        batch = subsample(key, x)
        seen.append(batch.shape)
        return batch

    rungs = [ladder.mean_field]
    found = vi.approximate_target(jax.random.key(1), target, ladder=rungs, prepare=prepare, num_draws=1000).diagnosis
    assert set(seen) == {(1, 10)}
    assert found.verdict.trusted
    np.testing.assert_allclose(found.moments.corrected.mean, jnp.mean(y)[None], atol=0.02)
    np.testing.assert_allclose(found.moments.corrected.sd, 40**-0.5, rtol=0.1)
