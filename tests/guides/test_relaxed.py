"""Concrete densities by quadrature, their draws by moments, float32 against float64; straight-through draws."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from tests.populations import z_scores
from vi_jax import guides

KEY = jax.random.key(0)
LOGIT = 0.7
LOGITS = np.array([0.1, -1.0, 0.6])
TEMPERATURES = (0.3, 0.6, 2.0)
NUM_DRAWS = 40_000


def draws_of(q, num_draws=NUM_DRAWS):
    return jax.jit(jax.vmap(lambda key: q.sample(seed=key)))(jax.random.split(KEY, num_draws))


# --- densities -------------------------------------------------------------------------------------------------------


def half(logit, temperature):
    """P(z < ½) and E[z; z < ½] in y = log z − log(1 − z) ≤ 0, where z has all its digits: 1 − z is the other bit."""
    y = np.linspace(-60 / temperature, 0, 20_001)
    z = jax.nn.sigmoid(y)
    log_q = jax.vmap(guides.BinaryConcrete(jnp.array([logit]), temperature).log_prob)(z[:, None])
    density = jnp.exp(log_q) * z * (1 - z)
    return np.trapezoid(density, y), np.trapezoid(density * z, y)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_either_half_of_a_relaxed_bit_has_the_probability_of_the_bit(temperature, x64):
    (below, mean_below), (above, mean_above) = half(LOGIT, temperature), half(-LOGIT, temperature)
    np.testing.assert_allclose([below, above], jax.nn.sigmoid(np.array([-LOGIT, LOGIT])), rtol=2e-5)
    z = draws_of(guides.BinaryConcrete(jnp.array([LOGIT]), temperature))
    assert z_scores(np.asarray(z), mean_below + above - mean_above).max() < 4


def over_simplex(temperature, f):
    """Σ f(z) dz₁ dz₂ in y = log(z₁/z₃), log(z₂/z₃)."""
    y = np.linspace(-70, 70, 701)
    grid = np.stack([*np.meshgrid(y, y), np.zeros((701, 701))], axis=-1).reshape(-1, 3)
    z = jax.nn.softmax(grid)
    log_q = jax.vmap(guides.Concrete(jnp.asarray(LOGITS), temperature).log_prob)(z)
    return float(jnp.sum(f(log_q, z) * jnp.prod(z, axis=1)) * (y[1] - y[0]) ** 2)


@pytest.mark.parametrize("temperature", [0.6, 2.0])
def test_a_relaxed_category_has_a_density_which_its_draws_follow(temperature, x64):
    def of(product):
        return over_simplex(temperature, lambda log_q, z: jnp.exp(log_q) * product(z))

    assert of(lambda z: 1.0) == pytest.approx(1, abs=1e-8)
    mutant = over_simplex(temperature, lambda log_q, z: jnp.exp(log_q - jnp.log(temperature)))
    assert abs(mutant - 1) > 0.3, "a density with (C − 2) log τ would pass"
    z = np.asarray(draws_of(guides.Concrete(jnp.asarray(LOGITS), temperature)))
    assert z_scores(z[:, :2], [of(lambda z: z[:, 0]), of(lambda z: z[:, 1])]).max() < 4
    assert z_scores(z[:, 0] * z[:, 1], of(lambda z: z[:, 0] * z[:, 1])) < 4


def test_the_hard_draw_follows_the_logits_at_every_temperature_and_does_not_depend_on_it(x64):
    def largest(temperature):
        return np.asarray(jnp.argmax(draws_of(guides.Concrete(jnp.asarray(LOGITS), temperature)), axis=1))

    first, *others = (largest(temperature) for temperature in (0.05, 0.5, 5.0))
    assert all(np.array_equal(first, other) for other in others)
    assert z_scores(np.eye(3)[first], np.exp(LOGITS) / np.exp(LOGITS).sum()).max() < 4


@pytest.mark.parametrize("q", [guides.BinaryConcrete(LOGITS, 1.0), guides.Concrete(LOGITS, 1.0)])
def test_noise_drawn_anew_given_the_hard_draw_hardens_to_it_and_has_the_law_of_the_first(q, x64):
    def both(key):
        first, second = jax.random.split(key)
        z = q.harden(q.perturb(first))
        y = q.perturb_given(z, second)
        return z, y, q.harden(y)

    z, y, again = jax.jit(jax.vmap(both))(jax.random.split(KEY, NUM_DRAWS))
    np.testing.assert_array_equal(z, again)
    location, variance = (0, np.pi**2 / 3) if type(q) is guides.BinaryConcrete else (np.euler_gamma, np.pi**2 / 6)
    noise = np.asarray(y) - LOGITS - location
    assert z_scores(noise).max() < 4
    assert z_scores(noise**2, variance).max() < 4
    # Given z the noise leans towards it, so that products of the coordinates of y are a check of their own.
    assert z_scores(noise[:, :1] * noise[:, 1:]).max() < 4


# --- float32 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [guides.BinaryConcrete, guides.Concrete])
def test_in_float32_density_and_path_derivative_of_its_own_draws_are_right_at_the_edge_too(family):
    def at(temperature, z):
        """log q, and ∂ log q / ∂y with φ in log q held fixed: what a path gradient carries, of order 1/τ."""
        q = family(jnp.asarray(LOGITS, z.dtype), temperature)
        log_q, slope = jax.value_and_grad(q.log_prob)(z)
        return log_q, (
            slope * z * (1 - z) if family is guides.BinaryConcrete else z * (slope - slope @ z)
        ) / temperature

    for temperature in (0.1, 0.4, 1.0):
        q = family(jnp.asarray(LOGITS, jnp.float32), temperature)

        def draw(key, q=q, temperature=temperature):
            z, pull = jax.vjp(lambda logits: q._replace(logits=logits).sample(seed=key), q.logits)
            return z, at(temperature, z)[0], pull(jax.grad(q.log_prob)(z))[0]

        z, log_q, path = jax.jit(jax.vmap(draw))(jax.random.split(KEY, NUM_DRAWS))
        assert log_q.dtype == jnp.float32
        with jax.enable_x64(True):
            expected = jax.jit(jax.vmap(lambda z, t=temperature: at(t, z)))(np.asarray(z, np.float64))
        np.testing.assert_allclose(log_q, expected[0], atol=2e-4, rtol=1e-6)
        np.testing.assert_allclose(path, expected[1], atol=2e-4 / temperature, rtol=1e-4)


def test_the_atom_at_the_last_number_below_one_is_as_large_as_stated_and_so_is_its_bias():
    temperature = 0.1
    q = guides.BinaryConcrete(jnp.zeros(1), temperature)
    z, log_q = jax.jit(jax.vmap(lambda key: (z := q.sample(seed=key), q.log_prob(z))))(jax.random.split(KEY, 200_000))
    assert z_scores(np.asarray(z == np.float32(1 - 2**-24)), jax.nn.sigmoid(-1.66)).max() < 4
    noise = np.linspace(-40, 40, 20_001)
    both = np.logaddexp(0, noise) + np.logaddexp(0, -noise)
    exact = np.logaddexp(0, noise / temperature) + np.logaddexp(0, -noise / temperature) - both + np.log(temperature)
    mean = np.trapezoid(np.exp(-both) * exact, noise)
    assert mean - np.mean(log_q) == pytest.approx((1 / temperature - 1) * np.logaddexp(0, -1.66), abs=0.1)


# --- the operators ---------------------------------------------------------------------------------------------------


def two_bits(theta, x, z):
    return theta * z[0] * z[1] + jnp.sin(x + z[0] - 2 * z[1])


def test_straight_through_log_weights_are_those_of_the_discrete_guide(x64):
    model, discrete = vi.Model(lambda key: jnp.ones(()), two_bits), guides.bernoulli(2)
    params, x = vi.Params(jnp.asarray(0.8), jnp.asarray(LOGITS[:2])), jnp.array([0.3])
    hard = guides.straight_through(discrete, temperature=0.7)
    log_w = np.ravel(vi.log_weights(KEY, model, hard, params, x, num_samples=2000))
    log_joint, log_q = vi.exact.score_support(model, discrete, params, x[0])
    closest = np.abs(log_w[:, None] - np.asarray(log_joint - log_q)).argmin(axis=1)
    np.testing.assert_allclose(log_w, np.asarray(log_joint - log_q)[closest], atol=1e-12)
    assert z_scores(np.eye(4)[closest], np.exp(log_q)).max() < 4


def test_a_straight_through_draw_is_hard_and_moves_like_the_relaxed_one(x64):
    for make, size in ((guides.bernoulli, 3), (guides.categorical, 3)):
        hard = guides.straight_through(make(size), temperature=0.7)
        soft = guides.relaxed(make(size), temperature=0.7)

        def jacobians(key, hard=hard, soft=soft):
            return [jax.jacrev(lambda phi, g=g: g.distribution(phi, 0).sample(seed=key))(LOGITS) for g in (hard, soft)]

        keys = jax.random.split(KEY, 100)
        np.testing.assert_array_equal(*jax.jit(jax.vmap(jacobians))(keys))
        z = np.asarray(jax.vmap(lambda key, g=hard: g.distribution(LOGITS, 0).sample(seed=key))(keys))
        assert set(np.unique(z)) == {0.0, 1.0}
        assert make is guides.bernoulli or np.all(z.sum(axis=1) == 1)


def test_the_straight_through_gradient_of_one_bit_is_biased_as_stated(x64):
    """By quadrature over the noise: ⅔ of the truth for linear f at τ = 1; as τ → 0 right up to degree two, no more."""

    def mean(slope, temperature, logit):
        noise = np.linspace(-40, 40, 160_001)
        q = guides.BinaryConcrete(jnp.asarray([logit]), temperature)
        moves = jax.vmap(jax.grad(lambda e: q.relax(logit + e)))(noise)
        density = np.exp(-np.logaddexp(0, noise) - np.logaddexp(0, -noise))
        return np.trapezoid(density * moves * slope(np.asarray(q.harden(logit + noise))), noise)

    def exact(logit):
        return np.exp(-np.logaddexp(0, logit) - np.logaddexp(0, -logit))

    assert mean(lambda z: 1.0 + 0 * z, 1.0, 0.0) / exact(0.0) == pytest.approx(2 / 3, abs=1e-6)
    for power, factor in ((1, 1.0), (2, 1.0), (3, 1.5)):
        slope = mean(lambda z, n=power: n * z ** (n - 1), 0.01, LOGIT)
        assert slope / exact(LOGIT) == pytest.approx(factor, abs=0.03)


def test_every_kind_of_bits_and_categories_is_relaxed_and_nothing_else():
    cases = (
        (distrax.Bernoulli(logits=jnp.zeros(())), ()),
        (distrax.Bernoulli(probs=jnp.full(2, 0.3)), (2,)),
        (distrax.Independent(distrax.Bernoulli(logits=jnp.zeros(2)), 1), (2,)),
        (distrax.Categorical(logits=jnp.zeros(4)), (4,)),
        (distrax.OneHotCategorical(probs=jnp.full(4, 0.25)), (4,)),
        (distrax.Independent(distrax.OneHotCategorical(logits=jnp.zeros((3, 4))), 1), (3, 4)),
    )
    for distribution, shape in cases:
        for operator in (guides.relaxed, guides.straight_through):
            guide = operator(guides.fixed(distribution), temperature=0.5)
            assert (guide.support, guide.reparameterized) == (None, True)
            q = guide.distribution((), 0)
            z, log_q = jax.eval_shape(lambda q=q: (z := q.sample(seed=KEY), q.log_prob(z)))
            assert (z.shape, log_q.shape) == (shape, ())
    for wrong in (guides.mean_field(2), guides.relaxed(guides.bernoulli(2), temperature=1.0)):
        guide = guides.relaxed(wrong, temperature=1.0)
        with pytest.raises(ValueError, match=r"Bernoulli, Categorical.*(DiagonalGaussian|BinaryConcrete): take"):
            guide.distribution(guide.init(KEY), 0)
