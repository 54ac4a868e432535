"""A latent that all data share: minibatches are unbiased for the ELBO, and for nothing else, which is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.scipy import stats

import vi_jax as vi
from tests.populations import z_scores
from vi_jax import bounds, estimators, guides, models, training

KEY = jax.random.key(0)
DATA = jnp.array([0.5, -1.2, 2.0, 0.3])
SCALE = 1.5**0.5


def log_prior(theta, z):
    return stats.norm.logpdf(z[0], theta, 2.0**0.5)


def log_likelihood(theta, datum, z):
    del theta
    return stats.norm.logpdf(datum, z[0], SCALE)


MODEL = models.global_latent(lambda key: jnp.zeros(()), log_prior, log_likelihood, num_data=4)
GUIDE = guides.mean_field(1)
PARAMS = vi.Params(jnp.asarray(0.1), guides.MeanField(jnp.array([0.2]), jnp.array([-0.3])))


def test_at_all_data_it_is_the_model_itself():
    """FACTS: the conjugate mean, prior N(.1, 2), noise 1.5: log p = −7.14187840, and every bound is legal."""
    evidence = vi.log_evidence(KEY, MODEL, GUIDE, PARAMS, DATA[None], num_samples=20_000)
    assert abs(evidence.log_evidence[0] + 7.14187840) < 5 * evidence.standard_error[0]
    vi.value_and_grad(MODEL, GUIDE, bounds.iwae, estimators.wake_phi, num_samples=2)(KEY, PARAMS, DATA[None])


def test_gradients_of_the_elbo_over_minibatches_are_those_over_all_data():
    legal = ("pathwise", "sticking_the_landing", "doubly_reparameterized", "score_function", "leave_one_out", "vimco")
    pairs = {name: (bounds.elbo, getattr(estimators, name)) for name in (*legal, "vimco_arithmetic")}
    objective = vi.shared_gradients(MODEL, GUIDE, pairs, num_samples=2)
    prepare = training.subsample(2)

    def both(key):
        batch_key, key = jax.random.split(key)
        return objective(key, PARAMS, prepare(batch_key, DATA[None]))[1]

    def elbo(params):
        m, s = params.phi.loc[0], jnp.exp(params.phi.log_scale[0])
        energy = jnp.sum(stats.norm.logpdf(DATA, m, SCALE) - s**2 / 2 / SCALE**2)
        return energy + stats.norm.logpdf(m, params.theta, 2.0**0.5) - s**2 / 4 + jnp.log(s)

    expected = jax.grad(elbo)(PARAMS)
    gradients = jax.jit(jax.vmap(both))(jax.random.split(KEY, 20_000))
    for name, gradient in gradients.items():
        for g, e in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected), strict=True):
            assert z_scores(np.asarray(g), np.asarray(e)).max() < 4.5, name


@pytest.mark.parametrize(
    ("bound", "rule"),
    [
        (bounds.iwae, estimators.pathwise),
        (bounds.renyi(0.5), estimators.score_function),
        (bounds.elbo, estimators.wake_phi),
        (lambda log_w: jnp.mean(log_w, axis=0), estimators.pathwise),  # linear, but nobody knows
        (bounds.elbo, estimators.piwae(1)),
        (bounds.elbo, estimators.split(theta=(bounds.iwae, estimators.pathwise), phi=(bounds.elbo, estimators.vimco))),
    ],
    ids=["iwae", "renyi", "wake", "own", "piwae", "split"],
)
def test_what_is_not_linear_in_the_log_joint_is_refused(bound, rule):
    part = DATA[None, :2]
    for make in (vi.value_and_grad, vi.loss, functools.partial(vi.value_and_grad, chunk_size=1)):
        objective = make(MODEL, GUIDE, bound, rule, num_samples=2)
        with pytest.raises(ValueError, match=r"needs the log joint of all data.* take elbo with pathwise, .*vimco"):
            objective(KEY, PARAMS, part)


BITS = models.global_latent(
    MODEL.init, lambda theta, z: theta * z[0], lambda theta, datum, z: -datum * z[0], num_data=4
)


@pytest.mark.parametrize(
    ("model", "guide", "bound", "num_samples"),
    [
        (BITS, guides.bernoulli(1), bounds.iwae, 4),
        (BITS, guides.bernoulli(1), bounds.iwae, 1),
        (MODEL, GUIDE, bounds.miwae(4), 8),
        (MODEL, guides.antithetic(GUIDE, 1), bounds.iwae, 2),
    ],
    ids=["bits", "one draw of bits", "groups", "pairs"],
)
def test_what_is_offered_in_its_place_is_legal(model, guide, bound, num_samples):
    part, params = DATA[None, :2], vi.Params(jnp.zeros(()), guide.init(KEY))
    rule = estimators.pathwise if guide.reparameterized else estimators.score_function
    with pytest.raises(ValueError, match="needs the log joint of all data") as caught:
        vi.value_and_grad(model, guide, bound, rule, num_samples=num_samples)(KEY, params, part)
    offered = str(caught.value).rpartition(" with ")[2].rstrip(".").split(", ")
    for other in offered:
        objective = vi.value_and_grad(model, guide, bounds.elbo, getattr(estimators, other), num_samples=num_samples)
        jax.eval_shape(objective, KEY, params, part)


def test_everything_else_that_needs_the_whole_is_refused_too():
    part = DATA[None, :2]
    bits = vi.Params(jnp.zeros(()), jnp.zeros(1))
    for pairs in (vi.objectives.disarm, vi.objectives.arm):
        with pytest.raises(ValueError, match="arm of iwae needs the log joint of all data"):
            pairs(BITS, guides.bernoulli(1), bounds.iwae, num_pairs=2)(KEY, bits, part)
        pairs(BITS, guides.bernoulli(1), num_pairs=1)(KEY, bits, part)
    with pytest.raises(ValueError, match="log_evidence needs the log joint of all data"):
        vi.log_evidence(KEY, MODEL, GUIDE, PARAMS, part, num_samples=2)
    sums = vi.objectives.enumerated_forward_kl(
        MODEL._replace(log_joint=lambda theta, x, z: jnp.sum(x) * z), guides.categorical(3)
    )
    with pytest.raises(ValueError, match="enumerated_forward_kl needs the log joint of all data"):
        sums(KEY, vi.Params(jnp.zeros(()), jnp.zeros(3)), part)
    with pytest.raises(ValueError, match="x holds 5 data, but the model says num_data = 4"):
        MODEL.log_joint(jnp.zeros(()), jnp.zeros(5), jnp.zeros(1))
    with pytest.raises(ValueError, match="num_data must be at least 1"):
        models.global_latent(MODEL.init, log_prior, log_likelihood, num_data=0)


def test_a_fit_over_minibatches_finds_the_posterior():
    objective = vi.value_and_grad(MODEL, GUIDE, bounds.elbo, estimators.sticking_the_landing, num_samples=8)
    frozen_theta = optax.partition(
        {"theta": optax.set_to_zero(), "phi": optax.adam(optax.cosine_decay_schedule(0.05, 3000))},
        vi.Params("theta", "phi"),
    )
    state, _ = vi.fit(KEY, objective, frozen_theta, PARAMS, DATA[None], num_steps=3000, prepare=training.subsample(2))
    assert abs(state.params.phi.loc[0] - 0.352632) < 0.03
    assert abs(jnp.exp(2 * state.params.phi.log_scale[0]) - 0.315789) < 0.03


def test_subsample_draws_without_replacement_and_keeps_rows_together():
    x = {"a": jnp.arange(10.0)[None], "b": 2 * jnp.arange(10.0)[None]}
    batch = training.subsample(6)(KEY, x)
    assert len(np.unique(batch["a"])) == 6
    np.testing.assert_array_equal(batch["b"], 2 * batch["a"])
    with pytest.raises(ValueError, match="size must be at most the number of data, 10, got 11"):
        training.subsample(11)(KEY, x)
