"""The exact IWAE of a weight law: published tables, enumeration, closed-form moments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from vi_jax import exact, models

pytestmark = pytest.mark.usefixtures("x64")

LOGNORMAL_KS = jnp.array([1, 2, 5, 10, 50, 100, 1000])
LOGNORMAL = {
    0.5: (-0.125, -0.065884, -0.027444, -0.013945, -0.002829, -0.001417, -0.000142),
    1.0: (-0.5, -0.290485, -0.135545, -0.073721, -0.016423, -0.008381, -0.000857),
    2.0: (-2, -1.357751, -0.801358, -0.529541, -0.188617, -0.116489, -0.019429),
    3.0: (-4.5, -3.354435, -2.289123, -1.717495, -0.873324, -0.646181, -0.219332),
}
TOY_KS = jnp.array([1, 2, 4, 8, 16, 64, 256, 1024])
TOY = {
    1: (-0.022826, -0.009436, -0.004377, -0.002116, -0.001041, -0.000257, -0.000064, -0.000016),
    5: (-0.114128, -0.049969, -0.023342, -0.011295, -0.005558, -0.001373, -0.000342, -0.000086),
    20: (-0.456513, -0.229325, -0.114494, -0.057058, -0.028448, -0.007092, -0.001771, -0.000443),
}
ETA = (0.1, -0.4, 0.3)


@pytest.mark.parametrize("scale", LOGNORMAL)
def test_iwae_of_lognormal_weights(scale):
    law = models.lognormal_weights(scale)
    found = models.expected_renyi(law, LOGNORMAL_KS, alpha=0.0)
    np.testing.assert_allclose(found, LOGNORMAL[scale], atol=5.1e-7)
    np.testing.assert_allclose(models.log_moment(law, 2), scale**2, rtol=1e-9)
    np.testing.assert_allclose(models.eubo_of_weights(law), scale**2 / 2, rtol=1e-9)
    np.testing.assert_allclose(found[0], models.expected_renyi(law, 1, alpha=1.0), rtol=1e-12)


@pytest.mark.parametrize("dim", TOY)
def test_iwae_of_the_linear_gaussian_toy(dim):
    law = models.linear_gaussian_weights(dim)
    np.testing.assert_allclose(models.expected_renyi(law, TOY_KS, alpha=0.0), TOY[dim], atol=5.1e-7)
    np.testing.assert_allclose(models.relative_variance(law), (16 / 15) ** (dim / 2) - 1, rtol=1e-11)
    # The divergences of this pair are closed forms: N(0, I/2) and N(0, 2I/3).
    q, p = ((np.zeros(dim), s * np.eye(dim)) for s in (2 / 3, 1 / 2))
    np.testing.assert_allclose(models.expected_renyi(law, 1, alpha=1.0), -models.gaussian_kl(*q, *p), rtol=1e-11)
    np.testing.assert_allclose(models.eubo_of_weights(law), models.gaussian_kl(*p, *q), rtol=1e-11)
    cubo = models.gaussian_renyi_bound(*q, *p, alpha=-1.0)
    np.testing.assert_allclose(models.log_moment(law, 2) / 2, cubo, rtol=1e-11)


@pytest.mark.parametrize(
    ("alpha", "bound"), [(0.0, vi.bounds.iwae), (0.5, vi.bounds.renyi(0.5)), (-1.0, vi.bounds.cubo(2))]
)
def test_every_order_on_three_states_is_the_sum_over_all_tuples(alpha, bound):
    table, guide = models.table(models.THREE_STATES), vi.guides.categorical(3)
    params = vi.Params(table.model.init(jax.random.key(0)), jnp.array(ETA))
    support = exact.score_support(table.model, guide, params, jnp.array(0))
    law = models.WeightLaw(support.log_joint - support.log_q, support.log_q)
    ks = (1, 3, 6)
    by_tuples = [exact.expected_bound(bound, table.model, guide, params, jnp.array(0), num_samples=k) for k in ks]
    np.testing.assert_allclose(models.expected_renyi(law, jnp.array(ks), alpha=alpha), by_tuples, rtol=1e-12)
    np.testing.assert_allclose(models.eubo_of_weights(law), exact.eubo(table, guide, params, jnp.array(0)), rtol=1e-12)


def test_the_k_sample_cubo_is_no_bound_and_ends_at_the_moment():
    law = models.linear_gaussian_weights(5)
    rising = models.expected_renyi(law, TOY_KS, alpha=-1.0)
    assert np.all(np.diff(rising) > 0)
    assert rising[0] < 0 < rising[-1] < models.log_moment(law, 2) / 2
    np.testing.assert_allclose(rising[0], models.expected_renyi(law, 1, alpha=1.0), rtol=1e-11)


def test_a_weight_that_may_be_zero_makes_the_bound_minus_infinity():
    law = models.WeightLaw(jnp.array([-jnp.inf, 0.0]), jnp.log(jnp.array([0.5, 0.5])))
    assert models.expected_renyi(law, 4, alpha=0.0) == -np.inf
    impossible = models.WeightLaw(jnp.array([-jnp.inf, 0.0]), jnp.array([-jnp.inf, 0.0]))
    np.testing.assert_allclose(models.expected_renyi(impossible, 4, alpha=0.0), 0, atol=1e-12)


def test_bad_arguments_are_named():
    law = models.lognormal_weights(1.0)
    with pytest.raises(ValueError, match="num_samples must be at least 1"):
        models.expected_renyi(law, 0, alpha=0.0)
    with pytest.raises(ValueError, match="alpha"):
        models.expected_renyi(law, 1, alpha=float("nan"))
    with pytest.raises(ValueError, match="scale must be positive"):
        models.lognormal_weights(0.0)
    with pytest.raises(ValueError, match="variance must be finite and above"):
        models.linear_gaussian_weights(2, variance=-1.0)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0, -1.0])
def test_a_weight_that_may_be_zero_makes_every_bound_minus_infinity_and_the_eubo_finite(alpha):
    law = models.WeightLaw(jnp.array([-jnp.inf, 0.0]), jnp.log(jnp.array([0.5, 0.5])))
    assert models.expected_renyi(law, 4, alpha=alpha) == -jnp.inf
    assert models.eubo_of_weights(law) == 0


def test_moments_of_the_toy_hold_down_to_where_they_become_infinite():
    """E w = 1 and E w² = (2s)^D (4s − 1)^{−D/2}, on the same nodes."""
    for dim, variance in ((1, 0.26), (20, 0.3), (5, 2.0)):
        law = models.linear_gaussian_weights(dim, variance=variance)
        np.testing.assert_allclose(models.log_moment(law, 1), 0, atol=1e-9)
        expected = dim * np.log(2 * variance) - dim / 2 * np.log(4 * variance - 1)
        np.testing.assert_allclose(models.log_moment(law, 2), expected, rtol=1e-7, atol=1e-9)
    with pytest.raises(ValueError, match="above 1/4"):
        models.linear_gaussian_weights(1, variance=0.25)
