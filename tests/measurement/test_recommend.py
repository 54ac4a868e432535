"""Advice where the answer is known. Costs are given, never measured: no test here depends on a clock."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from vi_jax.measurement import Costs, reference_gradients
from vi_jax.measurement.recommend import candidates
from vi_jax.measurement.references import unbiased_estimators

KEY = jax.random.key(0)


def draws_alone(key, model, guide, params, x, *, objectives, num_samples, progress):
    """What every gradient costs: its draws, in milliseconds."""
    cost = np.broadcast_to(1e-3 * np.asarray(num_samples, float), (len(objectives), len(num_samples)))
    return Costs(1e6 * cost, cost, np.zeros(cost.shape, bool))


def advised(problem, bound, *rules, num_samples, **options):
    objectives = {rule.__name__: (bound, rule) for rule in rules}
    options = {"num_replicates": 200, "cost": draws_alone} | options
    return vi.recommend(KEY, *problem, objectives=objectives, num_samples=num_samples, **options)


def density(exact, guide, phi):
    """A target over z alone; θ is an array of no numbers."""
    model = vi.Model(lambda key: jnp.zeros(0), lambda theta, x, z: exact.model.log_joint((), x, z))
    return model, guide, vi.Params(jnp.zeros(0), phi), jnp.zeros((1, 1))


@pytest.fixture(scope="module")
def landing():
    """Near the mean-field optimum of a correlated Gaussian: 0.95 times the variances, 0.02 off in the mean."""
    exact = vi.models.gaussian_target([0.0, 0.0], [[1.0, 0.9], [0.9, 1.0]])
    phi = vi.guides.MeanField(jnp.array([0.02, -0.02]), jnp.log(0.95 * jnp.array([0.19, 0.19])) / 2)
    problem = density(exact, vi.guides.mean_field(2), phi)
    rules = vi.estimators.pathwise, vi.estimators.sticking_the_landing, vi.estimators.leave_one_out
    return advised(problem, vi.bounds.elbo, *rules, num_samples=(8,), num_replicates=2000)


def test_near_the_optimum_of_a_mean_field_elbo_it_sticks_the_landing(landing):
    assert landing.phi.best == ("sticking_the_landing", 8)
    assert landing.phi.tied == ()
    assert "φ: sticking_the_landing at K = 8 has the most signal per second" in landing.sentence


def test_a_model_without_parameters_has_no_recommendation_in_theta(landing):
    assert landing.theta.best is None
    assert "θ: no recommendation" in landing.sentence


@pytest.fixture(scope="module")
def iwae():
    """The linear-Gaussian toy near its optimum, D = 5, at 64 draws."""
    exact = vi.models.linear_gaussian(5)
    theta = exact.model.init(jax.random.key(1))
    x = jax.vmap(lambda key: exact.model.sample(key, theta)[0])(jax.random.split(jax.random.key(2), 4))
    mu, A, b = vi.models.linear_gaussian_optimum(x)
    params = vi.Params(mu + 0.03, vi.guides.Affine(A + 0.03, b - 0.03))
    problem = exact.model, vi.guides.affine(5, 5, variance=2 / 3), params, x
    rules = vi.estimators.pathwise, vi.estimators.doubly_reparameterized
    return advised(problem, vi.bounds.iwae, *rules, num_samples=(64,), num_replicates=400, seconds_per_step=0.1)


def test_at_many_draws_iwae_is_followed_doubly_reparameterized(iwae):
    at_64 = {cell[0]: snr for cell, snr in zip(iwae.phi.cells, iwae.phi.snr_squared, strict=True)}
    assert iwae.phi.best == ("doubly_reparameterized", 64)
    assert at_64["doubly_reparameterized"] > 10 * at_64["pathwise"]
    assert iwae.phi.left_out["pathwise", 64].startswith("less than a tenth of the SNR²")


def test_in_theta_the_estimators_of_a_bound_are_one(iwae):
    """Their coefficients of the model are the same, so the signal is, to the last digit."""
    assert len(iwae.theta.cells) == 2
    np.testing.assert_allclose(iwae.theta.snr_squared, iwae.theta.snr_squared[0], rtol=1e-4)


@pytest.fixture(scope="module")
def discrete():
    """Three states, at eight draws."""
    exact = vi.models.table(vi.models.THREE_STATES)
    params = vi.Params(exact.model.init(KEY), jnp.array([0.1, -0.4, 0.3]))
    problem = exact.model, vi.guides.categorical(3), params, jnp.zeros(1, int)
    rules = vi.estimators.score_function, vi.estimators.vimco
    return problem, advised(problem, vi.bounds.iwae, *rules, num_samples=(2, 8), num_replicates=3000)


def test_a_discrete_guide_is_trained_by_vimco_and_not_by_the_plain_score(discrete):
    _, found = discrete
    assert found.phi.best is not None
    assert found.phi.best[0] == "vimco"
    assert not [cell for cell in found.phi.tied if cell[0] == "score_function"]


def test_the_ratio_along_the_truth_is_the_exact_one(discrete):
    """SNR² of VIMCO at K = 2 along the exact gradient, by summing over all nine pairs of draws."""
    (model, guide, params, x), found = discrete
    expected = lambda p: vi.exact.expected_bound(vi.bounds.iwae, model, guide, p, x[0], num_samples=2)  # noqa: E731
    truth = jax.jit(jax.grad(expected))(params)
    u = np.asarray(truth.phi / jnp.linalg.norm(truth.phi), float)
    log_p, log_q = np.log(np.ravel(vi.models.THREE_STATES)), np.asarray(jax.nn.log_softmax(params.phi), float)
    pairs = np.indices((3, 3)).reshape(2, -1)
    score = vi.estimators.vimco(vi.bounds.iwae)(jnp.asarray((log_p - log_q)[pairs])).score
    along = np.einsum("kt,ktc,c->t", score, np.eye(3)[pairs] - np.exp(log_q), u)
    weights = np.exp(log_q[pairs].sum(axis=0))
    mean = weights @ along
    exact = mean**2 / (weights @ along**2 - mean**2)
    place = found.phi.cells.index(("vimco", 2))
    # Jackknife intervals of the rate, at one millisecond a draw.
    low, high = (float(end[place]) * 2e-3 for end in found.phi.ranking.per_second[1:])
    assert low < exact < high
    assert high < 1.6 * low


def test_the_table_has_every_candidate_once_and_says_what_speaks_against_it(iwae, discrete):
    for found, cells in ((iwae, 2), (discrete[1], 4)):
        rows = found.to_pandas()
        assert len(rows) == 2 * cells
        assert not rows.duplicated(["block", "objective", "num_samples"]).any()
        assert rows["verdict"].eq("best").sum() == 2
        ranked = rows[rows["per_second"].notna()]
        assert (ranked["per_second_low"] <= ranked["per_second"]).all()
        assert rows[rows["per_second"].isna()]["verdict"].ne("").all()


def test_what_takes_longer_than_a_step_may_is_left_out(discrete):
    problem, _ = discrete
    rules = vi.estimators.score_function, vi.estimators.vimco
    found = advised(problem, vi.bounds.iwae, *rules, num_samples=(2, 8), num_replicates=3000, seconds_per_step=5e-3)
    assert found.phi.best == ("vimco", 2)
    assert found.theta.left_out["vimco", 8] == "takes 0.008 seconds, more than 0.005"


def test_candidates_are_the_unbiased_estimators_that_the_guide_allows():
    names = set(candidates(vi.guides.mean_field(1), (4,)))
    assert {"elbo/sticking_the_landing", "iwae/doubly_reparameterized", "miwae(4)/vimco"} < names
    assert not names & {"iwae/sticking_the_landing", "elbo/doubly_reparameterized", "iwae/wake_phi"}
    assert set(unbiased_estimators(vi.guides.categorical(3), vi.bounds.iwae)) == {
        "leave_one_out",
        "ovis",
        "vimco",
        "score_function",
    }


def test_a_raw_key_is_refused():
    with pytest.raises(TypeError, match="key must be a typed key"):
        vi.recommend(jax.random.PRNGKey(0), None, None, None, None)  # type: ignore[arg-type]


def test_measured_references_are_the_exact_gradients_within_their_errors(discrete):
    (model, guide, params, x), _ = discrete
    # Named as in the recommendation above, whose programs are then at hand.
    measured = reference_gradients(
        jax.random.key(5),
        model,
        guide,
        params,
        x,
        bounds={"score_function": vi.bounds.iwae},
        num_samples=(2, 8),
        num_replicates=3000,
    )
    for size in (2, 8):
        expected = lambda p, k=size: vi.exact.expected_bound(vi.bounds.iwae, model, guide, p, x[0], num_samples=k)  # noqa: E731
        value, gradient = jax.jit(jax.value_and_grad(expected))(params)
        found = measured("score_function", size)
        assert found is not None
        assert found.gradient_error is not None
        assert abs(found.value - value) < 5 * found.value_error < 0.1
        for part, true, error in zip(found.gradient, gradient, found.gradient_error, strict=True):
            part, error = np.reshape(part, -1), np.reshape(error, -1)
            assert np.all(np.abs(part - np.reshape(true, -1)) < 5 * error + 1e-6)
            assert np.all(error < 0.05)
