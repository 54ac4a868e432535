"""Draws that depend on each other: each alone is a draw of q, and together they do what they are there for."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy import stats

import vi_jax as vi
from tests import problems
from tests.guides.test_every_guide import somewhere
from tests.populations import z_scores
from vi_jax import bounds, estimators, guides
from vi_jax.guides import dependent
from vi_jax.log_weights import batch_draws, sample_and_score

KEY = jax.random.key(0)
FLOW = guides.flow(2, num_layers=3, coupling_hidden=(4,))
FLOW_ENCODER = guides.flow_encoder(2, 2, hidden=(3,), num_layers=2, coupling_hidden=(4, 3))
SAMPLERS = {"antithetic": guides.antithetic, "quasi_monte_carlo": guides.quasi_monte_carlo}


def draws(guide: vi.Guide, phi, key: jax.Array, num_samples: int, batch_size: int = 1) -> jax.Array:
    x = jnp.zeros((batch_size, 2))
    return sample_and_score(guide, phi, batch_draws(key, x, jnp.arange(num_samples)))[0]


@pytest.mark.parametrize(
    ("make", "phi"),
    [
        (guides.mean_field(2), guides.MeanField(jnp.array([0.3, -1.0]), jnp.array([0.2, -0.5]))),
        (
            guides.full_rank(2),
            guides.FullRank(jnp.array([0.3, -1.0]), jnp.array([0.2, -0.5]), jnp.array([0.7])),
        ),
        (guides.affine(2, 2, variance=0.5), guides.Affine(jnp.eye(2), jnp.array([0.3, -1.0]))),
        (guides.gaussian_encoder(2, 2, hidden=(3,)), guides.gaussian_encoder(2, 2, hidden=(3,)).init(KEY)),
        (FLOW, somewhere(FLOW)),
        (FLOW_ENCODER, somewhere(FLOW_ENCODER)),
    ],
    ids=["mean_field", "full_rank", "affine", "encoder", "flow", "flow_encoder"],
)
def test_from_noise_and_the_density_are_of_one_distribution(make, phi):
    """log q(T(ε)) = log N(ε; 0, I) − log |∂T/∂ε|."""
    with jax.enable_x64(True):
        phi = jax.tree.map(lambda leaf: leaf.astype(float), phi)
        x, noise = jnp.array([0.4, -0.2]), jnp.array([0.9, -1.4])
        transform = functools.partial(make.from_noise, phi, x)
        stretch = jnp.linalg.slogdet(jax.jacobian(transform)(noise))[1]
        expected = stats.norm.logpdf(noise).sum() - stretch
        np.testing.assert_allclose(make.distribution(phi, x).log_prob(transform(noise)), expected, rtol=1e-9)


def test_antithetic_draws_come_in_mirrored_pairs_that_are_new_for_every_datum():
    guide = guides.antithetic(guides.mean_field(2), 2)
    z = draws(guide, guide.init(KEY), KEY, 5, batch_size=2)
    np.testing.assert_array_equal(z[:, 0:4:2], -z[:, 1:4:2])
    assert len(np.unique(np.abs(z))) == 2 * 3 * 2


def test_sobol_points_are_scipys_up_to_the_shift():
    from scipy.stats import qmc

    ours = np.asarray(dependent._sobol(dependent._directions(5, 3), jnp.arange(1024)))
    engine = qmc.Sobol(5, scramble=True, bits=30, rng=np.random.default_rng(3))
    theirs = np.rint(engine.random(1024) * 2.0**30).astype(np.uint32)
    assert len(np.unique(ours ^ theirs, axis=0)) == 1


def test_sobol_points_fill_every_interval_of_every_coordinate_evenly():
    guide = guides.quasi_monte_carlo(guides.mean_field(3), 3)
    z = draws(guide, guide.init(KEY), KEY, 64)[0]
    cells = np.floor(64 * np.asarray(stats.norm.cdf(z))).astype(int)
    np.testing.assert_array_equal(np.sort(cells, axis=0), np.arange(64)[:, None] * np.ones(3, int))


@pytest.mark.parametrize("name", SAMPLERS)
def test_each_draw_alone_is_distributed_as_q(name):
    """First draw, last draw, and one between, over many keys: moments, tails, finiteness."""
    guide = SAMPLERS[name](guides.mean_field(2), 2)
    keys = jax.random.split(KEY, 20_000)
    z = np.asarray(jax.jit(jax.vmap(lambda key: draws(guide, guide.init(KEY), key, 8)[0]))(keys))[:, [0, 3, 7]]
    assert np.all(np.isfinite(z))
    assert z_scores(z, 0.0).max() < 4
    assert z_scores(z**2, 1.0).max() < 4
    assert z_scores((z > 1.6449).astype(float), 0.05).max() < 4
    assert z_scores(z[..., 0] * z[..., 1], 0.0).max() < 4


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("chunk_size", [1, 3])
def test_chunks_change_nothing(name, chunk_size):
    guide = SAMPLERS[name](guides.affine(2, 2, variance=0.5), 2)
    params = vi.Params(problems.CURVED.init(KEY), guides.Affine(0.3 * jnp.eye(2), jnp.array([0.1, -0.2])))
    make = functools.partial(vi.value_and_grad, problems.CURVED, guide, bounds.iwae, estimators.pathwise, num_samples=7)
    with jax.enable_x64(True):
        params, x = jax.tree.map(lambda leaf: leaf.astype(float), (params, problems.curved_data()))
        whole, chunked = make()(KEY, params, x), make(chunk_size=chunk_size)(KEY, params, x)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12), chunked, whole)


def test_gradients_of_the_elbo_are_unbiased_and_quieter_than_with_independent_draws():
    """The curved problem at K = 8, against a long run; antithetic pairs cancel what is odd, Sobol points nearly all."""
    base, x = guides.affine(2, 2, variance=0.5), problems.curved_data(1)
    params = vi.Params(problems.curved_params().theta, guides.Affine(0.3 * jnp.eye(2), jnp.array([0.1, -0.2])))
    variances = {}
    reference = None
    families = {"independent": base} | {name: make(base, 2) for name, make in SAMPLERS.items()}
    for name, guide in families.items():
        pairs = {rule.__name__: (bounds.elbo, rule) for rule in (estimators.pathwise, estimators.sticking_the_landing)}
        objective = vi.shared_gradients(problems.CURVED, guide, pairs, num_samples=8)
        keys = jax.random.split(KEY, 20_000)
        _, found = jax.jit(jax.vmap(lambda key: objective(key, params, x)))(keys)  # noqa: B023
        for rule, gradient in found.items():
            g = np.asarray(gradient.phi.b)
            variances[name, rule] = g.var(axis=0).sum()
            if reference is None:
                reference = g
            error = np.hypot(g.std(axis=0), reference.std(axis=0)) / np.sqrt(len(g))
            assert np.all(np.abs(g.mean(axis=0) - reference.mean(axis=0)) < 4.5 * error), (name, rule)
    for rule in ("pathwise", "sticking_the_landing"):
        assert variances["antithetic", rule] < 0.5 * variances["independent", rule]
        assert variances["quasi_monte_carlo", rule] < 0.1 * variances["independent", rule]


def test_bad_input():
    with pytest.raises(ValueError, match=r"antithetic needs a guide .* Guide\(from_noise"):
        guides.antithetic(guides.categorical(3), 1)
    with pytest.raises(ValueError, match="dim must be at most 21201"):
        guides.quasi_monte_carlo(guides.mean_field(2), 30_000)
    with pytest.raises(TypeError, match="dim must be a Python integer"):
        guides.antithetic(guides.mean_field(2), 2.0)
    orphan = guides.mean_field(2)._replace(noise=lambda key, k: k, from_noise=None)
    with pytest.raises(ValueError, match=r"Guide\(noise=\.\.\.\) needs Guide\(from_noise"):
        draws(orphan, orphan.init(KEY), KEY, 2)
    paired = guides.antithetic(guides.mean_field(2), 2)
    params = vi.Params(problems.CURVED.init(KEY), paired.init(KEY))
    with pytest.raises(ValueError, match="standard error of log_evidence takes the draws .* independent"):
        vi.log_evidence(KEY, problems.CURVED, paired, params, problems.curved_data(), num_samples=4)


@pytest.mark.parametrize("make", [guides.antithetic, guides.quasi_monte_carlo])
@pytest.mark.parametrize(
    "guide",
    [
        guides.mean_field(3),
        guides.full_rank(3),
        guides.affine(3, 3, variance=1.0),
        guides.gaussian_encoder(3, 3, hidden=()),
    ],
    ids=["mean_field", "full_rank", "affine", "encoder"],
)
def test_noise_of_another_dimension_is_no_draw(make, guide):
    """One number for three coordinates would broadcast: three that always agree, and no draw of q."""
    model = vi.models.linear_gaussian(3).model
    params = vi.Params(model.init(KEY), guide.init(KEY))
    objective = vi.value_and_grad(model, make(guide, 1), bounds.elbo, estimators.pathwise, num_samples=2)
    with pytest.raises(ValueError, match=r"noise must have shape \(3,\).*got \(1,\).*dim=3"):
        objective(KEY, params, jnp.zeros((2, 3)))
