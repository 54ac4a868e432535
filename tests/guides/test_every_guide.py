"""What every guide claims: it is a density, its draws follow it, its derivatives are right. A new one adds a row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vi_jax import guides

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)

GAUSSIAN = {
    "mean_field": guides.mean_field(3, initial_scale=0.7),
    "full_rank": guides.full_rank(3, initial_scale=0.7),
    "low_rank": guides.low_rank(3, 2, initial_scale=0.7),
    "affine": guides.affine(4, 3, variance=2 / 3),
    "gaussian_encoder": guides.gaussian_encoder(4, 3, hidden=(5, 6)),
}
REPARAMETERIZED = GAUSSIAN | {
    "flow": guides.flow(3, num_layers=3, coupling_hidden=(4, 5)),
    "spline_flow": guides.spline_flow(3, base=guides.full_rank, num_layers=1, num_bins=4, coupling_hidden=(4,)),
    "flow_encoder": guides.flow_encoder(4, 3, hidden=(5,), num_layers=2, coupling_hidden=(6,)),
}
# Its draws have their derivative by implicit differentiation, and jump where another component is picked.
IMPLICIT = {"gaussian_mixture": guides.gaussian_mixture(3, 4)}
MOVED = {
    "preconditioned": guides.preconditioned(guides.low_rank(3, 1), np.arange(3.0), np.tri(3) + np.diag([1.0, 2, 3])),
}
DISTRAX = (
    REPARAMETERIZED
    | IMPLICIT
    | {
        "categorical": guides.categorical(4),
        "bernoulli": guides.bernoulli(3),
        "categorical_encoder": guides.categorical_encoder(4, 3, hidden=(5,)),
        "bernoulli_encoder": guides.bernoulli_encoder(4, 3, hidden=(5, 6)),
    }
)
# Their distributions are our own: `sample` and `log_prob`, no shapes.
GUIDES = (
    DISTRAX
    | MOVED
    | {
        "relaxed bits": guides.relaxed(guides.bernoulli_encoder(4, 3, hidden=()), temperature=0.5),
        "relaxed category": guides.relaxed(guides.categorical(4), temperature=0.5),
        "straight-through": guides.straight_through(guides.categorical(4), temperature=0.5),
    }
)
ENCODERS = ["affine", "gaussian_encoder", "bernoulli_encoder", "categorical_encoder", "flow_encoder"]
X = np.array([[0, 1, 1, 0], [1, 1, 0, 1]], np.float32)


def random_like(tree, seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: 0.5 * rng.normal(size=leaf.shape), tree)


def somewhere(guide):
    """φ whose every entry is random: nothing cancels and nothing is zero."""
    return random_like(jax.eval_shape(guide.init, KEY), seed=3)


def moved(phi, direction, step):
    return jax.tree.map(lambda p, d: p + step * d, phi, direction)


@pytest.mark.parametrize("name", GAUSSIAN)
def test_log_prob_is_the_gaussian_density_of_the_stated_moments(name):
    guide = REPARAMETERIZED[name]
    z = np.array([[0.3, -1.0, 2.0], [1.5, 0.2, -0.4]])

    @jax.jit
    def moments_and_density(phi):
        q = guide.distribution(phi, X[0])
        return q.mean(), q.covariance(), jax.vmap(q.log_prob)(z)

    mean, covariance, log_prob = moments_and_density(somewhere(guide))
    np.testing.assert_allclose(log_prob, stats.multivariate_normal(mean, covariance).logpdf(z), rtol=1e-10)


@pytest.mark.parametrize("name", GAUSSIAN)
def test_draws_have_the_stated_mean_and_covariance(name):
    guide, num_draws = REPARAMETERIZED[name], 20_000

    @jax.jit
    def moments_and_draws(phi, keys):
        q = guide.distribution(phi, X[0])
        return q.mean(), q.covariance(), jax.vmap(lambda key: q.sample(seed=key))(keys)

    mean, covariance, z = map(np.asarray, moments_and_draws(somewhere(guide), jax.random.split(KEY, num_draws)))
    products = (z - mean)[:, :, None] * (z - mean)[:, None, :]
    assert np.all(np.abs(z.mean(0) - mean) < 4 * z.std(0) / np.sqrt(num_draws))
    assert np.all(np.abs(products.mean(0) - covariance) < 4 * products.std(0) / np.sqrt(num_draws))


@pytest.mark.parametrize("name", REPARAMETERIZED | MOVED)
def test_draws_carry_the_whole_pathwise_derivative(name):
    guide = GUIDES[name]
    phi = somewhere(guide)
    direction = random_like(phi, seed=4)

    @jax.jit
    def draw(step):
        return guide.distribution(moved(phi, direction, step), X[0]).sample(seed=KEY)

    slope = (draw(1e-5) - draw(-1e-5)) / 2e-5
    np.testing.assert_allclose(jax.jit(jax.jacrev(draw))(0.0), slope, rtol=1e-7)
    assert np.all(slope != 0)


@pytest.mark.parametrize("name", GUIDES)
def test_gradient_of_log_prob_is_its_slope(name):
    guide = GUIDES[name]
    phi = somewhere(guide)
    direction = random_like(phi, seed=5)

    @jax.jit
    def at(step):
        z = guide.distribution(phi, X[0]).sample(seed=KEY)
        return guide.distribution(moved(phi, direction, step), X[0]).log_prob(z)

    np.testing.assert_allclose(jax.jit(jax.grad(at))(0.0), (at(1e-5) - at(-1e-5)) / 2e-5, rtol=1e-7)


@pytest.mark.parametrize("name", GUIDES)
def test_one_program_over_data_and_draws_is_the_loop_under_strict_promotion(name):
    guide = GUIDES[name]
    phi, keys = somewhere(guide), jax.random.split(KEY, (2, 3))

    def draw_and_score(x, keys):
        q = guide.distribution(phi, x)
        z = jax.vmap(lambda key: q.sample(seed=key))(keys)
        return z, jax.vmap(q.log_prob)(z)

    with jax.numpy_dtype_promotion("strict"):
        z, log_q = jax.jit(jax.vmap(draw_and_score))(X, keys)

    @jax.jit
    def one(x, key):
        q = guide.distribution(phi, x)
        return q.sample(seed=key), q.log_prob(q.sample(seed=key))

    for b, k in np.ndindex(2, 3):
        expected_z, expected_log_q = one(X[b], keys[b, k])
        np.testing.assert_allclose(z[b, k], expected_z, rtol=1e-12)
        np.testing.assert_allclose(log_q[b, k], expected_log_q, rtol=1e-10)


@pytest.mark.parametrize("name", GUIDES)
def test_single_precision_stays_single_and_no_parameter_is_weakly_typed(name):
    guide = GUIDES[name]

    def init_and_score(key):
        phi = guide.init(key)
        q = guide.distribution(phi, X[0])
        return phi, q.log_prob(q.sample(seed=key))

    with jax.enable_x64(False), jax.numpy_dtype_promotion("strict"):
        phi, log_q = jax.eval_shape(init_and_score, KEY)
    assert {leaf.dtype for leaf in (*jax.tree.leaves(phi), log_q)} == {jnp.dtype(jnp.float32)}
    # A weakly typed initial value turns strong after one update, and a jitted step would compile twice.
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(phi))


@pytest.mark.parametrize("name", DISTRAX)
def test_a_single_draw_has_no_batch_shape(name):
    guide = GUIDES[name]

    def shapes(key):
        q = guide.distribution(guide.init(key), X[0])
        assert q.batch_shape == ()
        assert q.event_shape == (() if name.startswith("categorical") else (3,))
        return q.sample(seed=key)

    assert jax.eval_shape(shapes, KEY).shape == (() if name.startswith("categorical") else (3,))
    assert guide.reparameterized == (name in REPARAMETERIZED | IMPLICIT)


@pytest.mark.parametrize("name", ENCODERS)
def test_a_datum_of_another_shape_never_broadcasts(name):
    guide = GUIDES[name]
    phi = jax.eval_shape(guide.init, KEY)
    for shape in ((), (1,), (4, 1), (2, 4)):
        with pytest.raises(ValueError, match=r"x must have shape \(4,\).*batch axes"):
            jax.eval_shape(lambda phi, x: guide.distribution(phi, x).sample(seed=KEY), phi, jnp.zeros(shape))


@pytest.mark.parametrize("dtype", [jnp.int8, jnp.int32, jnp.bool_, jnp.float32])
@pytest.mark.parametrize("name", ENCODERS)
def test_data_of_any_dtype_give_the_same_distribution(name, dtype):
    guide = GUIDES[name]
    phi = somewhere(guide)
    draw = jax.jit(lambda x: guide.distribution(phi, x).sample(seed=KEY))
    with jax.numpy_dtype_promotion("strict"):
        np.testing.assert_allclose(draw(X[0].astype(dtype)), draw(X[0].astype(np.float64)), rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: guides.mean_field(0), ValueError, "dim must be .*got 0"),
        (lambda: guides.full_rank("3"), TypeError, "dim must be .*got '3'"),  # pyright: ignore[reportArgumentType]
        (lambda: guides.affine(2, -1, variance=1.0), ValueError, "latent_dim must be .*got -1"),
        (lambda: guides.categorical(0), ValueError, "num_categories must be .*got 0"),
        (lambda: guides.bernoulli(0), ValueError, "dim must be .*got 0"),
        (lambda: guides.bernoulli_encoder(4, 2.0), TypeError, "latent_dim must be .*got 2.0"),
        (lambda: guides.gaussian_encoder(4, 2, hidden=(0,)), ValueError, "hidden must be .*got 0"),
        (lambda: guides.categorical_encoder(4, 0), ValueError, "num_categories must be .*got 0"),
        (lambda: guides.gaussian_encoder(4, 2, mean=[0.5]), ValueError, r"mean must be 4 finite .* shape \(1,\)"),
        (lambda: guides.bernoulli_encoder(1, 2, mean=[np.nan]), ValueError, "mean must be .* 1 that are not finite"),
        (lambda: guides.convolutional_encoder(2, channels=(8,)), ValueError, r"channels must be two.* got \(8,\)"),
        (lambda: guides.flow(1), ValueError, "latent_dim must be at least 2 .* got 1: take gaussian_encoder"),
        (lambda: guides.flow_encoder(4, 2, coupling_hidden=()), ValueError, "coupling_hidden must .*got ()"),
        (lambda: guides.flow(2, num_layers=0), ValueError, "num_layers must be .*got 0"),
        (lambda: guides.spline_flow(2, num_bins=0), ValueError, "num_bins must be .*got 0"),
        (lambda: guides.spline_flow(2, bound=-1.0), ValueError, "bound must be positive .* got -1.0"),
        (lambda: guides.low_rank(3, 0), ValueError, "rank must be .*got 0"),
        (lambda: guides.low_rank(3, 1, initial_scale=-1.0), ValueError, "initial_scale must be positive .* got -1.0"),
        (lambda: guides.gaussian_mixture(2, 0), ValueError, "num_components must be .*got 0"),
        (lambda: guides.gaussian_mixture(2, 3, initial_spread=0.0), ValueError, "initial_spread must be .* got 0.0"),
        (lambda: guides.mean_field(2, initial_scale=0.0), ValueError, "initial_scale must be positive .* got 0.0"),
        (lambda: guides.full_rank(2, initial_scale=np.inf), ValueError, "initial_scale must be positive .* got inf"),
        (lambda: guides.affine(2, 2, variance=np.nan), ValueError, "variance must be positive .* got nan"),
        (lambda: guides.relaxed(guides.bernoulli(2), temperature=0.0), ValueError, "temperature must be .*got 0.0"),
        (lambda: guides.straight_through(guides.bernoulli(2), temperature=np.inf), ValueError, "positive .*got inf"),
    ],
)
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
