"""f-divergences and the log-variance: definitions, closed forms, directions, exact expectations of every estimator."""

import functools
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import hypothesis
import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from tests import problems
from tests.oracle import SCORE, mean, power_mean
from tests.populations import LOG_JOINT, LOGITS, expected_bound, gaussian_draws, z_scores
from vi_jax import bounds, estimators
from vi_jax.bounds import csiszar


@pytest.fixture(autouse=True)
def _eager_x64() -> Iterator[None]:
    """Compiling a row costs ten times what running it does."""
    with jax.enable_x64(True), jax.disable_jit():
        yield


@pytest.fixture
def compiled() -> Iterator[None]:
    with jax.disable_jit(False):
        yield


class Case(NamedTuple):
    """f in log space, f of u itself, f(0), and TFP's name, arguments and multiple of u − 1 by which its f is more."""

    log_space: csiszar.LogSpace
    plain: csiszar.LogSpace
    at_zero: float
    tfp: str
    arguments: dict
    shift: float = 0.0


def amari(alpha):
    return lambda u: (u**alpha - 1) / (alpha * (alpha - 1))


CASES = {
    "kl_reverse": Case(csiszar.kl_reverse, lambda u: -jnp.log(u), np.inf, "kl_reverse", {}),
    "kl_forward": Case(csiszar.kl_forward, lambda u: u * jnp.log(u), 0.0, "kl_forward", {}),
    "chi_square": Case(csiszar.chi_square, lambda u: u**2 - 1, -1.0, "chi_square", {}),
    "squared_hellinger": Case(
        csiszar.squared_hellinger, lambda u: (jnp.sqrt(u) - 1) ** 2, 1.0, "squared_hellinger", {}
    ),
    "jensen_shannon": Case(
        csiszar.jensen_shannon,
        lambda u: u * jnp.log(u) - (1 + u) * jnp.log((1 + u) / 2),
        np.log(2),
        "jensen_shannon",
        {"self_normalized": True},
    ),
    # 1/(α (α − 1)) where u^α − 1 stands for u^α − u.
    "amari(0.5)": Case(csiszar.amari_alpha(0.5), amari(0.5), 0.0, "amari_alpha", {"alpha": 0.5}, -4.0),
    "amari(-1)": Case(csiszar.amari_alpha(-1.0), amari(-1.0), np.inf, "amari_alpha", {"alpha": -1.0}),
    "amari(3)": Case(csiszar.amari_alpha(3.0), amari(3.0), 0.0, "amari_alpha", {"alpha": 3.0}, 1 / 6),
    "amari(0.2)": Case(csiszar.amari_alpha(0.2), amari(0.2), 1 / 0.16, "amari_alpha", {"alpha": 0.2}),
}


def naive(name):
    """(1/K) Σ f(K softmax(log w)), one line; or half the sample variance."""
    if name == "log_variance":
        return lambda log_w: jnp.var(log_w, axis=0, ddof=1) / 2
    return lambda log_w: jnp.mean(CASES[name].plain(len(log_w) * jax.nn.softmax(log_w, axis=0)), axis=0)


BOUNDS = {name: bounds.f_divergence(case.log_space) for name, case in CASES.items()}
BOUNDS |= {"log_variance": bounds.log_variance}
LOG_W = np.array([[0.3, -1.2, 2.0, 0.1], [0.0, -5.0, -3.0, -9.0]]).T
close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9)


def test_value_and_derivatives_are_those_of_the_definition():
    def pairs(log_w):
        found = []
        for name, bound in BOUNDS.items():
            plain = naive(name)
            a, h = jax.grad(plain)(log_w), jnp.diag(jax.hessian(plain)(log_w))
            replaced = jnp.stack([plain(log_w.at[k].set(log_w[::-1][k])) for k in range(4)])
            left_out = jnp.stack([plain(jnp.delete(log_w, k, axis=0)) for k in range(4)])
            found += [
                (bound(log_w), plain(log_w)),
                (bound(log_w - 900), plain(log_w)),
                (bounds.gradient(bound)(log_w), a),
                (bounds.substitute(bound)(log_w, log_w[::-1]), replaced),
                (bounds.omit(bound)(log_w), left_out),
                (estimators.doubly_reparameterized(bound)(log_w).path, a - h),
            ]
        return found

    for log_w in LOG_W.T:
        for found, expected in pairs(jnp.asarray(log_w)):
            close(found, expected)


def test_the_members_are_those_of_tfp():
    """At the same u, up to the multiple of u − 1 that is documented."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorflow_probability.substrates.jax import vi as tfp

    log_u = jnp.linspace(-6, 3, 40)
    for name, case in CASES.items():
        expected = getattr(tfp, case.tfp)(log_u, **case.arguments)
        close(case.log_space(log_u) + case.shift * jnp.expm1(log_u), expected, err_msg=name)
        close(case.log_space(jnp.array(0.0)), 0, err_msg=name)


def test_amari_alpha_has_its_limits_and_keeps_its_digits_near_them():
    assert csiszar.amari_alpha(0) is csiszar.kl_reverse
    assert csiszar.amari_alpha(1.0) is csiszar.kl_forward
    log_w = jnp.asarray(LOG_W)
    for alpha, limit in (
        (1e-7, "kl_reverse"),
        (-1e-7, "kl_reverse"),
        (1 + 1e-7, "kl_forward"),
        (1 - 1e-7, "kl_forward"),
    ):
        near = bounds.f_divergence(csiszar.amari_alpha(alpha))
        np.testing.assert_allclose(near(log_w), BOUNDS[limit](log_w), rtol=1e-5)
        np.testing.assert_allclose(near(log_w.astype(jnp.float32)), BOUNDS[limit](log_w), rtol=1e-5)
    # Of α = 2 and α = ½, where f differs by a multiple of u − 1.
    close(bounds.f_divergence(csiszar.amari_alpha(2.0))(log_w), BOUNDS["chi_square"](log_w) / 2)
    close(BOUNDS["amari(0.5)"](log_w), 2 * BOUNDS["squared_hellinger"](log_w))


def test_chi_square_counts_the_effective_draws():
    weights = jax.nn.softmax(jnp.asarray(LOG_W), axis=0)
    close(BOUNDS["chi_square"](jnp.asarray(LOG_W)), 4 * jnp.sum(weights**2, axis=0) - 1)


WEIGHTS = arrays.arrays(np.float64, 4, elements=st.floats(-30, 30))


@jax.jit
def all_values(log_w):
    return jnp.stack([bound(log_w) for bound in BOUNDS.values()])


@hypothesis.settings(max_examples=30)
@hypothesis.given(WEIGHTS)
def test_every_draw_is_at_least_zero_and_symmetric_ones_are_bounded(log_w):
    values = dict(zip(BOUNDS, np.asarray(all_values(jnp.asarray(log_w))), strict=True))
    assert all(value >= -1e-9 for value in values.values())
    assert values["squared_hellinger"] <= 2
    assert values["jensen_shannon"] <= 2 * np.log(2)


def test_zero_where_all_weights_are_equal_and_nowhere_else():
    np.testing.assert_allclose(all_values(jnp.full(4, 3.0)), 0, atol=1e-15)
    assert np.all(all_values(jnp.array([0.0, 0, 0, 0.01])) > 1e-6)


@pytest.mark.parametrize("offset", [-500.0, 500.0])
def test_a_constant_added_to_log_p_changes_nothing_in_float32(offset):
    log_w = jnp.asarray(np.round(np.random.default_rng(0).normal(size=(16, 5)) * 2**9) / 2**9, jnp.float32)
    for name, bound in BOUNDS.items():
        assert bound(log_w).dtype == jnp.float32
        for function in (
            bound,
            bounds.gradient(bound),
            lambda v, b=bound: estimators.doubly_reparameterized(b)(v).path,
        ):
            np.testing.assert_allclose(function(log_w + offset), function(log_w), rtol=1e-5, atol=1e-6, err_msg=name)


# --- expectations, exact ----------------------------------------------------------------------------------------------


def exact_divergence(name: str) -> float:
    p, q = np.exp(LOG_JOINT) / np.exp(LOG_JOINT).sum(), np.exp(LOGITS) / np.exp(LOGITS).sum()
    return float(np.sum(q * np.asarray(CASES[name].plain(jnp.asarray(p / q)))))


def expected_over_counts(bound, size):
    """E[L_K] of the three states at a large K: a symmetric L depends on how often each state is drawn."""
    q = np.exp(LOGITS) / np.exp(LOGITS).sum()
    counts = np.array([(i, j, size - i - j) for i in range(size + 1) for j in range(size + 1 - i)])
    log_factorial = np.concatenate([[0], np.cumsum(np.log(np.arange(1, size + 1)))])
    log_probability = log_factorial[size] - log_factorial[counts].sum(axis=1) + counts @ np.log(q)
    states = np.stack([np.repeat(np.arange(3), c) for c in counts], axis=1)
    return np.exp(log_probability) @ np.asarray(bound(jnp.asarray((LOG_JOINT - np.log(q))[states])))


@pytest.mark.parametrize("name", CASES)
def test_the_expectation_tends_to_the_divergence_with_a_bias_of_order_one_over_k(name):
    close(expected_over_counts(BOUNDS[name], 3), expected_bound(BOUNDS[name], 3))
    at_75, at_150 = (expected_over_counts(BOUNDS[name], k) - exact_divergence(name) for k in (75, 150))
    assert 1.75 < at_75 / at_150 < 2.25
    assert abs(at_150) < 0.02 * exact_divergence(name)


def test_the_log_variance_is_unbiased():
    p, q = np.exp(LOG_JOINT), np.exp(LOGITS) / np.exp(LOGITS).sum()
    log_w = np.log(p / q)
    variance = q @ log_w**2 - (q @ log_w) ** 2
    for size in (2, 3):
        np.testing.assert_allclose(expected_bound(bounds.log_variance, size), variance / 2, rtol=1e-12)


NODES = np.linspace(-9, 9, 121)
POINT = (-0.4, 0.7, 0.1)
# E_q[u⁻¹] is infinite: this guide has the wider tails.
EXACT = [name for name in BOUNDS if name not in ("amari(-1)", "amari(0.2)", "amari(3)")]
RULES = {
    "pathwise": estimators.pathwise,
    "doubly_reparameterized": estimators.doubly_reparameterized,
    **{name: row.estimator for name, row in SCORE.items()},
}


def log_normal(y, loc, log_scale):
    return -0.5 * ((y - loc) * jnp.exp(-log_scale)) ** 2 - log_scale - 0.5 * jnp.log(2 * jnp.pi)


def log_joint(theta, z):
    return log_normal(z, theta, 0.0) + log_normal(0.8, z + 0.5 * jnp.sin(z), 0.0)


def on_the_square(values):
    """`[N]` on the nodes -> `[2, N²]`, all pairs of two draws."""
    return jnp.stack([jnp.repeat(values, len(NODES), axis=0), jnp.tile(values, (len(NODES), *[1] * (values.ndim - 1)))])


def expected_at_two_draws(bound, theta, m, log_s):
    """∫∫ q(z₁) q(z₂) L over fixed z: no draw moves, only the density q does."""
    z = jnp.asarray(0.7 + 1.1 * NODES)
    log_q = log_normal(z, m, log_s)
    probability = jnp.exp(jnp.sum(on_the_square(log_q), axis=0)) * (1.1 * (NODES[1] - NODES[0])) ** 2
    return jnp.sum(probability * bound(on_the_square(log_joint(theta, z) - log_q)))


def test_every_estimator_has_the_exact_mean_at_two_draws():
    """Both sides by two-dimensional quadrature, the exact one without a derivative of the draws: no Monte Carlo."""
    theta, m, log_s = (jnp.asarray(value) for value in POINT)
    noise = jnp.asarray(NODES)
    probability = np.exp(-np.add.outer(NODES**2, NODES**2) / 2).ravel()
    probability /= probability.sum()

    def one(noise):
        z = m + jnp.exp(log_s) * noise
        slope = jax.grad(lambda z: log_joint(theta, z) - log_normal(z, m, log_s))(z)
        score = jnp.stack(jax.grad(log_normal, (1, 2))(z, m, log_s))
        log_w = log_joint(theta, z) - log_normal(z, m, log_s)
        return log_w, jax.grad(log_joint)(theta, z)[None], slope * jnp.stack([jnp.ones(()), z - m]), score

    def means(noise, probability, theta, m, log_s):
        log_w, model, path, score = (on_the_square(leaf) for leaf in jax.vmap(one)(noise))
        found = {}
        for name in EXACT:
            bound = BOUNDS[name]
            exact = jax.grad(functools.partial(expected_at_two_draws, bound), (0, 1, 2))(theta, m, log_s)
            found[name, "exact"] = jnp.stack(exact)
            for rule, estimator in RULES.items():
                if name == "log_variance" and rule == "leave_one_out":
                    continue
                c = estimator(bound)(log_w)
                of_theta = jnp.einsum("t,kt,ktp->p", probability, c.model, model)
                of_phi = jnp.einsum("t,ktp->p", probability, c.path[..., None] * path + c.score[..., None] * score)
                found[name, rule] = jnp.concatenate([of_theta, of_phi])
        return found

    found = means(noise, probability, theta, m, log_s)
    assert all(np.abs(found[name, "exact"]).max() > 1e-3 for name in EXACT)
    for (name, rule), mean_gradient in found.items():
        np.testing.assert_allclose(mean_gradient, found[name, "exact"], atol=1e-8, err_msg=f"{name}, {rule}")


def test_a_kink_is_not_for_the_second_reparameterization():
    """Total variation: pathwise and the score function agree, and the doubly reparameterized mean is far off."""
    bound, draws = (
        bounds.f_divergence(lambda log_u: jnp.abs(jnp.expm1(log_u)) / 2),
        gaussian_draws(jax.random.key(0), 4, 20_000),
    )
    rules = (estimators.pathwise, estimators.vimco, estimators.doubly_reparameterized)
    pathwise, vimco, twice = (draws.gradient(vi.Coefficients(*rule(bound)(draws.log_w)[:3])) for rule in rules)
    assert z_scores(vimco - pathwise).max() < 4.5
    assert z_scores(twice - pathwise)[1:].max() > 30


# --- θ and φ ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("compiled")
def test_theta_follows_a_bound_and_phi_descends_the_divergence():
    """Through the model and the guide; and IWAE less the reverse divergence is the ELBO, draw by draw."""
    rule, forward, reverse = estimators.pathwise, BOUNDS["kl_forward"], BOUNDS["kl_reverse"]
    pairs = {"iwae": bounds.iwae, "elbo": bounds.elbo, "forward": forward, "reverse": reverse}
    pairs = {name: (bound, rule) for name, bound in pairs.items()}
    both = estimators.split(theta=(bounds.iwae, rule), phi=(forward, estimators.minimized(rule)))
    together = vi.shared_gradients(
        problems.CURVED, problems.AMORTIZED, pairs | {"both": (bounds.iwae, both)}, num_samples=4
    )
    log_w, found = together(jax.random.key(0), problems.curved_params(), problems.curved_data())
    assert np.all(forward(log_w) > 1e-3)
    jax.tree.map(close, found["both"].theta, found["iwae"].theta)
    jax.tree.map(lambda one, other: close(one, -other), found["both"].phi, found["forward"].phi)
    close(bounds.iwae(log_w) - reverse(log_w), bounds.elbo(log_w))
    jax.tree.map(lambda a, b, c: close(a - b, c), found["iwae"], found["reverse"], found["elbo"])


def test_rloo_descends_the_log_variance_with_its_draws_held_fixed():
    log_w = jnp.asarray(LOG_W)
    # ∂_φ log w_k = −∂_φ log q(z_k): what ascends the ELBO by −score descends the variance by a.
    close(estimators.leave_one_out(bounds.elbo)(log_w).score, bounds.gradient(bounds.log_variance)(log_w))


# --- zero weights, and refusals ---------------------------------------------------------------------------------------


def test_zero_weights():
    minus = -jnp.inf
    log_w = jnp.array([[minus] * 4, [minus, 0.5, 0.5, 0.5], [minus, minus, minus, 0.5]]).T
    for name, bound in BOUNDS.items():
        values = np.asarray(bound(log_w))
        at_zero = CASES[name].at_zero if name in CASES else np.inf
        plain = CASES[name].plain if name in CASES else lambda u: np.inf
        # u = 4/3 three times, or 4 once; what f is at 0 is stated up to the multiple of u − 1.
        shift = CASES[name].shift if name in CASES else 0.0
        corrected = [float(plain(u)) - shift * (u - 1) if name in CASES else np.inf for u in (4 / 3, 4.0)]
        np.testing.assert_allclose(values[1:], [(at_zero + 3 * corrected[0]) / 4, (3 * at_zero + corrected[1]) / 4])
        assert values[0] == np.inf
        for rule in (
            estimators.pathwise,
            estimators.doubly_reparameterized,
            estimators.vimco,
            estimators.leave_one_out,
        ):
            c = rule(bound)(log_w)
            assert all(np.all(np.isfinite(np.asarray(vector))) for vector in c[:3]), (name, rule)
            for vector in c[:3]:
                np.testing.assert_array_equal(np.asarray(vector)[:, np.isposinf(values)], 0)
            np.testing.assert_array_equal((c.model[0], c.path[0]), 0)
        almost = jnp.where(log_w == minus, -600.0, log_w)[:, 1:]
        if np.isfinite(at_zero):
            close(bounds.gradient(bound)(log_w)[:, 1:], bounds.gradient(bound)(almost))


@pytest.mark.usefixtures("compiled")
def test_an_infinite_datum_leaves_the_others_their_gradient():
    """A density with an edge: impossible for the first datum, of zero weight for half the draws of the second."""
    rule = estimators.minimized(estimators.pathwise)
    objective = vi.value_and_grad(problems.EDGED, problems.FREE, BOUNDS["kl_forward"], rule, num_samples=8)
    values, both = objective(jax.random.key(0), problems.edged_params(), problems.edged_data(100.0, 0.0))
    assert values[0] == np.inf
    assert 0 < values[1] < np.inf
    assert all(np.all(np.isfinite(np.asarray(leaf))) for leaf in jax.tree.leaves(both))
    assert np.abs(np.asarray(both.phi["loc"])).min() > 1e-3


def test_the_log_variance_keeps_its_digits_where_one_draw_is_far_away():
    log_w = jnp.array([-3000.0, 0.1, 0.25, -0.3, 0.2], jnp.float32)
    found, exact = (bounds.omit(bounds.log_variance)(log_w.astype(d)) for d in (jnp.float32, jnp.float64))
    np.testing.assert_allclose(found, exact, rtol=1e-5)


def test_refusals_name_the_value_and_the_remedy():
    with pytest.raises(ValueError, match=r"needs num_samples ≥ 2, got 1"):
        bounds.log_variance(jnp.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"leave_one_out needs num_samples ≥ 3 here\. Use vimco"):
        estimators.leave_one_out(bounds.log_variance)(jnp.zeros((2, 3)))
    with pytest.raises(ValueError, match="alpha must be a finite number, got inf"):
        csiszar.amari_alpha(np.inf)
    assert bounds.name_of(BOUNDS["kl_forward"]) == "f_divergence(kl_forward)"
    assert bounds.name_of(BOUNDS["amari(0.5)"]) == "f_divergence(amari_alpha(0.5))"
    with pytest.raises(TypeError, match=r"csiszar\.kl_forward, got 'kl'"):
        bounds.f_divergence("kl")


def test_one_draw_is_no_divergence():
    for name in CASES:
        log_w = jnp.array([[0.3, -700.0]])
        c = estimators.pathwise(BOUNDS[name])(log_w)
        np.testing.assert_array_equal(BOUNDS[name](log_w), 0)
        np.testing.assert_array_equal((c.model, c.path), np.zeros((2, 1, 2)))


def test_a_bound_that_is_lower_stays_where_it_was():
    """`zero_where_impossible` looks for both infinities and for nothing else."""
    log_w = jnp.array([[-jnp.inf, 0.0], [-jnp.inf, 1.0]])
    for bound in (mean, power_mean(1.0)):
        model = np.asarray(estimators.pathwise(bound)(log_w).model)
        np.testing.assert_array_equal(model[:, 0], 0)
        close(model[:, 1].sum(), 1)
