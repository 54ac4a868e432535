"""A sweep of a guide whose draws depend on each other reads the draws that `value_and_grad` makes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from tests import problems
from vi_jax import bounds, estimators, guides

BASE = guides.affine(2, 2, variance=0.5)
PARAMS = vi.Params(problems.curved_params().theta, guides.Affine(0.3 * jnp.eye(2), jnp.array([0.1, -0.2])))
KEY = jax.random.key(3)


@pytest.mark.parametrize("sampler", [guides.antithetic, guides.quasi_monte_carlo])
def test_means_and_variances_are_those_of_separate_gradients(sampler):
    guide, x = sampler(BASE, 2), problems.curved_data()
    pairs = {
        "elbo": (bounds.elbo, estimators.sticking_the_landing),
        "iwae": (bounds.iwae, estimators.pathwise),
        "refused": (bounds.iwae, estimators.vimco),
    }
    result = vi.sweep(
        KEY, problems.CURVED, guide, PARAMS, x, objectives=pairs, num_samples=(2, 5), num_replicates=40, num_groups=20
    )
    assert set(result.undefined) == {("refused", 2), ("refused", 5)}
    assert "independent draws" in result.undefined["refused", 2]
    keys = jax.vmap(jax.random.fold_in, (None, 0))(KEY, jnp.arange(40))
    for i, size in enumerate((2, 5)):
        legal = {name: pairs[name] for name in ("elbo", "iwae")}
        together = vi.shared_gradients(problems.CURVED, guide, legal, num_samples=size)
        _, gradients = jax.jit(jax.vmap(lambda key: together(key, PARAMS, x)))(keys)  # noqa: B023
        for o, name in enumerate(legal):
            for found, spread, each in zip(
                jax.tree.leaves(result.mean),
                jax.tree.leaves(result.variance),
                jax.tree.leaves(gradients[name]),
                strict=True,
            ):
                np.testing.assert_allclose(found[o, i, 0], each.mean(axis=0), rtol=1e-4, atol=1e-5)
                np.testing.assert_allclose(spread[o, i, 0], each.var(axis=0, ddof=1), rtol=1e-3, atol=1e-5)


def test_a_scaled_likelihood_is_refused_where_its_pair_does_not_survive_it():
    def log_prior(theta, z):
        return -jnp.sum(z**2)

    def log_likelihood(theta, datum, z):
        return -jnp.sum(z) * datum

    model = vi.models.global_latent(lambda key: jnp.zeros(()), log_prior, log_likelihood, num_data=4)
    guide, x = guides.mean_field(1), jnp.ones((1, 2))
    params = vi.Params(jnp.zeros(()), guide.init(KEY))
    pairs = {"iwae": (bounds.iwae, estimators.pathwise)}
    arguments = dict(objectives=pairs, num_samples=(1, 2), num_replicates=20)
    with pytest.raises(ValueError, match="needs the log joint of all data"):
        vi.sweep(KEY, model, guide, params, x, **arguments)
