"""The exact bounds: published numbers, closed forms of another kind, and the inequalities between them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from vi_jax import bounds, exact, guides, models

pytestmark = pytest.mark.usefixtures("x64")

ORACLE, FINITE = models.table(models.THREE_STATES), guides.categorical(3)
DATUM = jnp.array(0)


def oracle_params() -> vi.Params:
    return vi.Params(ORACLE.model.init(jax.random.key(0)), jnp.array([0.1, -0.4, 0.3]))


def test_the_published_numbers_of_the_three_states():
    values = {
        name: float(jax.jit(lambda p, f=f: f(ORACLE, FINITE, p, DATUM))(oracle_params()))
        for name, f in {"elbo": exact.elbo, "eubo": exact.eubo, "qp": exact.reverse_kl, "pq": exact.forward_kl}.items()
    }
    published = {"elbo": -1.66574242, "eubo": -0.95284999, "qp": 0.39277674, "pq": 0.32011569}
    assert values == pytest.approx(published, abs=1e-8)


@pytest.mark.parametrize(
    ("num_samples", "value", "gradient"),
    [
        (2, -1.47530468, (0.2603143, -0.0087879, -0.2515263)),
        (5, -1.34481096, (0.1056111, -0.0177117, -0.0878994)),
    ],
)
def test_the_expected_iwae_and_its_gradient(num_samples, value, gradient):
    def expected(phi):
        params = oracle_params()._replace(phi=phi)
        return exact.expected_bound(bounds.iwae, ORACLE.model, FINITE, params, DATUM, num_samples=num_samples)

    found, slope = jax.jit(jax.value_and_grad(expected))(oracle_params().phi)
    np.testing.assert_allclose(found, value, atol=1e-8)
    np.testing.assert_allclose(slope, gradient, atol=1e-7)


def test_the_expected_elbo_does_not_depend_on_k_and_is_the_elbo():
    params = oracle_params()
    for num_samples in (1, 3):
        found = exact.expected_bound(bounds.elbo, ORACLE.model, FINITE, params, DATUM, num_samples=num_samples)
        np.testing.assert_allclose(found, exact.elbo(ORACLE, FINITE, params, DATUM), rtol=1e-12)


def test_sum_over_the_support_and_closed_form_of_distrax_are_one_number():
    without = FINITE._replace(support=None)
    for f in (exact.reverse_kl, exact.forward_kl):
        summed, closed = (f(ORACLE, guide, oracle_params(), DATUM) for guide in (FINITE, without))
        np.testing.assert_allclose(summed, closed, rtol=1e-12)


def test_the_toy_agrees_with_its_own_closed_form_in_value_and_gradient():
    dim = 3
    toy, guide = models.linear_gaussian(dim), guides.affine(dim, dim, variance=2 / 3)
    rng = np.random.default_rng(0)
    mu, A, b, x = (jnp.asarray(rng.normal(size=size)) for size in ((dim,), (dim, dim), (dim,), (dim,)))
    params = vi.Params(mu, guides.Affine(A, b))
    found = jax.jit(jax.value_and_grad(lambda p: exact.elbo(toy, guide, p, x)))(params)
    expected = jax.value_and_grad(lambda p: models.linear_gaussian_elbo(p.theta, p.phi.A, p.phi.b, x))(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), found, expected)
    # KL(N(m_p, I/2) ‖ N(m_q, 2I/3)), written out.
    shift = jnp.sum((A @ x + b - (mu + x) / 2) ** 2)
    forward = (dim * (3 / 4 - 1 + np.log(4 / 3)) + 1.5 * shift) / 2
    np.testing.assert_allclose(exact.eubo(toy, guide, params, x), toy.log_evidence(mu, x) + forward, rtol=1e-12)


def test_a_value_of_probability_zero_counts_for_nothing():
    params = oracle_params()._replace(phi=jnp.array([0.3, -jnp.inf, 0.1]))
    q = jax.nn.softmax(params.phi)
    expected = sum(float(q[z]) * (np.log([0.2, 0.05, 0.03])[z] - np.log(float(q[z]))) for z in (0, 2))
    np.testing.assert_allclose(exact.elbo(ORACLE, FINITE, params, DATUM), expected, rtol=1e-12)
    assert exact.forward_kl(ORACLE, FINITE, params, DATUM) == np.inf


def test_refusals_name_the_remedy():
    params = vi.Params(jnp.zeros(2), guides.mean_field(2).init(jax.random.key(0)))
    toy, guide = models.linear_gaussian(2), guides.mean_field(2)
    with pytest.raises(ValueError, match=r"no support to sum over.*Guide\(support"):
        exact.score_support(toy.model, guide, params, jnp.zeros(2))
    with pytest.raises(ValueError, match=r"3\^20 tuples"):
        exact.expected_bound(bounds.iwae, ORACLE.model, FINITE, oracle_params(), DATUM, num_samples=20)
    deep = models.sigmoid_belief_net(13, 2)
    point = vi.Params(deep.model.init(jax.random.key(0)), jnp.zeros(13))
    with pytest.raises(ValueError, match=r"no closed form of KL\(CodeDistribution"):
        exact.forward_kl(deep, guides.bernoulli(13), point, jnp.zeros(2))
    odd = toy._replace(posterior=lambda theta, x: "no distribution")

    class Unpaired:
        def kl_divergence(self, other):
            raise NotImplementedError

    with pytest.raises(ValueError, match=r"no closed form of KL\(Unpaired"):
        exact.reverse_kl(odd, guide._replace(distribution=lambda phi, x: Unpaired()), params, jnp.zeros(2))
