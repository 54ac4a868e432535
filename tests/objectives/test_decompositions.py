"""Three ways to write the ELBO: one expectation, one expected gradient; a closed form standing alone is exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from vi_jax import estimators, exact, guides, models, objectives

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)
DIM, BATCH = 2, 3


def toy_params() -> vi.Params:
    rng = np.random.default_rng(1)
    A, b = jnp.asarray(rng.normal(size=(DIM, DIM))), jnp.asarray(rng.normal(size=DIM))
    return vi.Params(jnp.asarray(rng.normal(size=DIM)), guides.Affine(A, b))


TOY, AFFINE = models.linear_gaussian(DIM), guides.affine(DIM, DIM, variance=2 / 3)
FINITE = guides.categorical(8)
TABLE = models.normalized_table(models.EYE_COLOURS.cells)
PATHS = {
    f"{form.__name__}, {rule.__name__}": form(TOY.model, AFFINE, rule, num_samples=2)
    for form in (objectives.analytic_kl, objectives.analytic_entropy)
    for rule in (estimators.pathwise, estimators.sticking_the_landing, estimators.leave_one_out)
}


def replicated(objective, params, x, num_replicates=4000):
    keys = jax.random.split(KEY, num_replicates)
    return jax.vmap(lambda key: objective(key, params, x))(keys)


def assert_mean(replicates, expected):
    """Within 4 standard errors; a coordinate without noise, to rounding."""
    replicates = np.asarray(replicates)
    error = np.abs(replicates.mean(axis=0) - np.asarray(expected))
    assert np.all(error < 4 * replicates.std(axis=0) / np.sqrt(len(replicates)) + 1e-12)


@pytest.fixture(scope="module")
def toy_replicates():
    with jax.enable_x64(True):
        x = 2 * jax.random.normal(jax.random.key(1), (BATCH, DIM))

        @jax.jit
        def everything(params):
            def mean(p):
                return jnp.mean(jax.vmap(lambda x: models.linear_gaussian_elbo(p.theta, p.phi.A, p.phi.b, x))(x))

            return {name: replicated(o, params, x) for name, o in PATHS.items()}, jax.value_and_grad(mean)(params)

        return everything(toy_params())


@pytest.mark.parametrize("name", PATHS)
def test_values_and_gradients_have_the_exact_means(name, toy_replicates):
    replicates, (value, gradient) = toy_replicates
    values, gradients = replicates[name]
    assert values.shape == (4000, BATCH)
    assert_mean(values.mean(axis=1), value)
    jax.tree.map(assert_mean, gradients, gradient)


def test_a_gaussian_prior_has_no_noise_in_its_mean_once_the_divergence_is_closed(toy_replicates):
    replicates, _ = toy_replicates
    sampled, closed = (
        replicates[f"{form}, sticking_the_landing"][1].theta for form in ("analytic_entropy", "analytic_kl")
    )
    assert np.ptp(closed, axis=0).max() < 1e-12 < np.ptp(sampled, axis=0).min()


def test_a_score_term_of_mean_zero_only_adds_variance(toy_replicates):
    replicates, _ = toy_replicates
    plain, scored = (
        np.var(np.asarray(replicates[f"analytic_entropy, {rule}"][1].phi.b), axis=0).sum()
        for rule in ("sticking_the_landing", "pathwise")
    )
    assert scored > 1.1 * plain


def test_discrete_guides_take_leave_one_out():
    params = vi.Params(TABLE.model.init(KEY), jnp.linspace(-1, 1, 8))
    # A cell of zero has no finite log-probability: brown-eyed Spaniards are left out of the data.
    x = jnp.array([1, 2])
    for form in (objectives.analytic_kl, objectives.analytic_entropy):
        objective = form(TABLE.model, FINITE, estimators.leave_one_out, num_samples=3)
        values, gradients = jax.jit(lambda p, o=objective: replicated(o, p, x))(params)
        value, gradient = jax.value_and_grad(
            lambda p: jnp.mean(jax.vmap(lambda x: exact.elbo(TABLE, FINITE, p, x))(x))
        )(params)
        assert_mean(values.mean(axis=1), value)
        jax.tree.map(assert_mean, gradients, gradient)


def test_where_the_data_say_nothing_of_z_the_divergence_is_all_and_has_no_noise():
    flat = TOY.model._replace(log_joint=lambda mu, x, z: TOY.model.prior(mu).log_prob(z) - 3.0)
    params, x = toy_params(), jnp.ones((BATCH, DIM))
    objective = objectives.analytic_kl(flat, AFFINE, estimators.sticking_the_landing, num_samples=2)
    q = AFFINE.distribution(params.phi, x[0])
    shift = q.mean() - params.theta
    divergence = (DIM * (2 / 3 - 1 - np.log(2 / 3)) + jnp.sum(shift**2)) / 2
    values, gradient = objective(KEY, params, x)
    np.testing.assert_allclose(values, -3 - divergence, rtol=1e-12)
    np.testing.assert_allclose(gradient.phi.b, -shift, rtol=1e-12)
    np.testing.assert_allclose(gradient.theta, shift, rtol=1e-12)


def test_an_impossible_datum_is_minus_infinity_and_moves_nothing():
    def log_joint(mu, x, z):
        return jnp.where(x[0] > 0, TOY.model.log_joint(mu, x, z), -jnp.inf)

    model, params = TOY.model._replace(log_joint=log_joint), toy_params()
    objective = objectives.analytic_kl(model, AFFINE, estimators.sticking_the_landing, num_samples=2)
    x = jnp.array([[1.0, 0.5], [-1.0, 0.5]])
    values, gradient = objective(KEY, params, x)
    _, alone = objective(KEY, params, x[:1])
    assert values[1] == -jnp.inf
    jax.tree.map(lambda both, one: np.testing.assert_allclose(both, one / 2, rtol=1e-12), gradient, alone)


def test_float32_stays_float32_under_strict_promotion(strict_promotion):
    with jax.enable_x64(False):
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), toy_params())
        for name in ("analytic_kl, pathwise", "analytic_entropy, leave_one_out"):
            values, gradient = PATHS[name](KEY, params, jnp.ones((BATCH, DIM), jnp.float32))
            assert {leaf.dtype for leaf in (values, *jax.tree.leaves(gradient))} == {jnp.dtype(jnp.float32)}


def test_refusals_name_the_remedy():
    bare = TOY.model._replace(prior=None)
    with pytest.raises(ValueError, match=r"Model\(prior=\.\.\.\)"):
        objectives.analytic_kl(bare, AFFINE, estimators.pathwise, num_samples=2)
    with pytest.raises(ValueError, match="reparameterized=False"):
        objectives.analytic_kl(TABLE.model, FINITE, estimators.pathwise, num_samples=2)
    with pytest.raises(ValueError, match="num_samples"):
        objectives.analytic_entropy(TABLE.model, FINITE, estimators.leave_one_out, num_samples=1)

    class Unknown:
        def __init__(self, phi):
            self.q = AFFINE.distribution(phi, jnp.zeros(DIM))
            self.sample, self.log_prob = self.q.sample, self.q.log_prob

        def entropy(self):
            raise NotImplementedError

        def kl_divergence(self, other):
            raise NotImplementedError

    unknown = AFFINE._replace(distribution=lambda phi, x: Unknown(phi))
    for form, remedy in ((objectives.analytic_kl, "analytic_entropy"), (objectives.analytic_entropy, "bounds.elbo")):
        with pytest.raises(ValueError, match=rf"no closed form.*{remedy}"):
            form(TOY.model, unknown, estimators.pathwise, num_samples=1)(KEY, toy_params(), jnp.zeros((1, DIM)))
