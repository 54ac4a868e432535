"""An illegal pair is refused before any draw, by an error that names both halves and what is legal in their place."""

import functools

import jax
import jax.numpy as jnp
import pytest

import vi_jax as vi
from tests import problems
from vi_jax import bounds, estimators, guides, legality

KEY = jax.random.key(0)
PAIRED = guides.antithetic(guides.mean_field(2), 2)


def make(guide: vi.Guide, bound: vi.BoundFn, rule: vi.Estimator, num_samples: int = 4):
    return vi.value_and_grad(problems.CURVED, guide, bound, rule, num_samples=num_samples)


def advised(message: str) -> set[str]:
    """The estimators that an error offers."""
    return set(message.rpartition(" with ")[2].rstrip(".").split(", "))


REFUSED = {
    "a path through discrete draws": (guides.categorical(3), bounds.iwae, estimators.pathwise, 4),
    "a baseline of one draw": (problems.AMORTIZED, bounds.iwae, estimators.vimco, 1),
    "one draw per group left out": (problems.AMORTIZED, bounds.miwae(4), estimators.leave_one_out, 4),
    "a derivative that jumps": (problems.AMORTIZED, bounds.renyi(-jnp.inf), estimators.doubly_reparameterized, 4),
    "a score of dependent draws": (PAIRED, bounds.elbo, estimators.score_function, 4),
    "a second reparameterization of dependent draws": (PAIRED, bounds.iwae, estimators.doubly_reparameterized, 4),
    "wake-φ of dependent draws": (PAIRED, bounds.iwae, estimators.wake_phi, 4),
    "dropping a score that dependence keeps": (PAIRED, bounds.iwae, estimators.sticking_the_landing, 4),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_offered_is_legal_and_what_is_refused_is_not_offered(name):
    guide, bound, rule, num_samples = REFUSED[name]
    with pytest.raises(ValueError, match="Legal for this guide at num_samples") as caught:
        make(guide, bound, rule, num_samples)
    message = str(caught.value)
    assert rule.__name__ in message
    assert bounds.name_of(bound).partition("(")[0] in message
    offered = advised(message)
    assert offered
    assert rule.__name__ not in offered or "no estimator of the library with this bound" in message
    where = bounds.elbo if "no estimator of the library with this bound" in message else bound
    for other in offered:
        make(guide, where, getattr(estimators, other), num_samples)


def test_dependent_draws_keep_what_theory_says_and_nothing_else():
    legal = {
        (bounds.name_of(bound), legality.name_of(rule))
        for bound in (bounds.elbo, bounds.iwae)
        for rule in legality.LIBRARY
        if legality._is_legal(PAIRED, bound, rule, 4)
    }
    of_elbo = {("elbo", name) for name in ("pathwise", "sticking_the_landing", "doubly_reparameterized")}
    assert legal == of_elbo | {("iwae", "pathwise")}


def test_operators_pass_on_what_their_estimators_survive():
    make(PAIRED, bounds.cubo(2), estimators.minimized(estimators.pathwise))
    make(PAIRED, bounds.iwae, estimators.piwae(2))
    iwae_for_theta = functools.partial(estimators.split, theta=(bounds.iwae, estimators.vimco))
    make(PAIRED, bounds.iwae, iwae_for_theta(phi=(bounds.elbo, estimators.sticking_the_landing)))
    with pytest.raises(ValueError, match=r"split\(theta=vimco, phi=vimco\) needs independent draws"):
        make(PAIRED, bounds.elbo, iwae_for_theta(phi=(bounds.elbo, estimators.vimco)))
    with pytest.raises(ValueError, match=r"minimized\(vimco\) needs independent draws"):
        make(PAIRED, bounds.elbo, estimators.minimized(estimators.vimco))


def test_an_estimator_of_ones_own_is_refused_until_it_says_what_it_survives():
    @estimators.estimator
    def halved(bound, log_w):
        c = estimators.pathwise(bound)(log_w)
        return vi.Coefficients(c.model / 2, c.path / 2, c.score / 2, 1.0)

    with pytest.raises(ValueError, match="elbo with halved needs independent draws"):
        make(PAIRED, bounds.elbo, halved)
    make(PAIRED, bounds.elbo, estimators.with_tolerance(halved, estimators.tolerance(estimators.pathwise)))


def test_a_path_that_its_ratio_would_discard_is_refused():
    @estimators.estimator
    def half_path(bound, log_w):
        c = estimators.pathwise(bound)(log_w)
        return c._replace(path=c.path / 2)  # and ratio says 1.0

    @estimators.estimator
    def half_path_said(bound, log_w):
        return half_path(bound)(log_w)._replace(ratio=jnp.full_like(log_w, 0.5))

    with pytest.raises(ValueError, match="half_path: path must be ratio × model, and at some log-weights it is"):
        make(problems.AMORTIZED, bounds.iwae, half_path)
    make(problems.AMORTIZED, bounds.iwae, half_path_said)
    jax.jit(lambda scale: make(problems.AMORTIZED, bounds.iwae, half_path_said) and scale)(1.0)


def test_no_legal_estimator_at_all():
    discrete = guides.categorical(3)._replace(noise=lambda key, k: k, from_noise=lambda phi, x, noise: noise)
    with pytest.raises(ValueError, match="No estimator of the library is legal for this guide"):
        make(discrete, bounds.elbo, estimators.vimco)


RULES = ("forward_kl", "reparameterized", "score_function", "operators")


def test_the_library_is_every_estimator_that_there_is():
    """An estimator that no error can offer is one that nobody finds."""
    rules = {name for name, rule in vars(estimators).items() if getattr(rule, "__module__", "").endswith(RULES)}
    operators = {"minimized", "piwae", "split", "reparameterize_score"}
    assert {legality.name_of(rule) for rule in legality.LIBRARY} == rules - operators


@pytest.mark.parametrize("rule", [estimators.pathwise, estimators.doubly_reparameterized], ids=legality.name_of)
def test_integers_have_no_derivative_whatever_the_guide_declares(rule):
    """Where nobody said reparameterized=False, the path would be dropped without a word."""
    silent = guides.categorical(3)._replace(reparameterized=True)
    model = vi.Model(lambda key: jnp.zeros(3), lambda theta, x, z: theta[z] + x * z)
    params, x = vi.Params(jnp.zeros(3), jnp.zeros(3)), jnp.ones(2)
    objective = vi.value_and_grad(model, silent, bounds.iwae, rule, num_samples=2)
    with pytest.raises(ValueError, match=r"draws int32.*reparameterized=False.*score_function"):
        objective(KEY, params, x)
    vi.value_and_grad(model, silent, bounds.iwae, estimators.vimco, num_samples=2)(KEY, params, x)
