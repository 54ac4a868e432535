"""The batteries can fail: wrong estimators that have been published or shipped somewhere, and what rejects each."""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from tests.oracle import BOUNDS, ESTIMATORS, reference_coefficients
from tests.populations import Draws, gaussian_draws, z_scores
from vi_jax import bounds, estimators
from vi_jax.estimators import estimator


@pytest.fixture(autouse=True)
def _eager_x64() -> Iterator[None]:
    with jax.enable_x64(True), jax.disable_jit():
        yield


def of(name: str, bound: vi.BoundFn, log_w: jax.Array) -> vi.Coefficients:
    return ESTIMATORS[name].estimator(bound)(log_w)


@estimator
def weights_not_squared(bound, log_w):
    """Doubly reparameterized with w̃ for w̃²."""
    return of("doubly_reparameterized", bound, log_w)._replace(path=bounds.gradient(bound)(log_w))


@estimator
def inert(bound, log_w):
    """Sticking the landing whose stop_gradient stops nothing."""
    return of("sticking_the_landing", bound, log_w)._replace(score=-bounds.gradient(bound)(log_w))


@estimator
def guide_unstopped(bound, log_w):
    """Doubly reparameterized with φ live inside log q of the path term."""
    c = of("doubly_reparameterized", bound, log_w)
    return c._replace(score=-c.path)


@estimator
def pathwise_score_flipped(bound, log_w):
    c = of("pathwise", bound, log_w)
    return c._replace(score=-c.score)


@estimator
def vimco_score_flipped(bound, log_w):
    c = of("vimco", bound, log_w)
    return c._replace(score=-c.score)


@estimator
def squared_for_theta_too(bound, log_w):
    """The doubly reparameterized weights, which hold for φ only, applied to θ."""
    c = of("doubly_reparameterized", bound, log_w)
    return c._replace(model=c.path)


@estimator
def leave_one_out_over_k(bound, log_w):
    """1/K where 1/(K−1) belongs: too small by (K−1)/K."""
    c = of("leave_one_out", bound, log_w)
    return c._replace(score=c.score * (1 - 1 / log_w.shape[0]))


@estimator
def raw_weights(bound, log_w):
    """Forward KL without self-normalisation."""
    return of("wake_phi", bound, log_w)._replace(score=jnp.exp(log_w) / log_w.shape[0])


@estimator
def without_minus_a(bound, log_w):
    """The score term of a bound that is not the ELBO, without its −a."""
    c = of("vimco", bound, log_w)
    return c._replace(score=c.score + c.model)


class Mutant(NamedTuple):
    """A wrong estimator, the one it pretends to be, and a bound under which it shows."""

    wrong: vi.Estimator
    right: str
    bound: str = "iwae"


MUTANTS = [
    Mutant(weights_not_squared, "doubly_reparameterized"),
    Mutant(weights_not_squared, "doubly_reparameterized", "renyi(2)"),
    Mutant(inert, "sticking_the_landing"),
    Mutant(inert, "sticking_the_landing", "elbo"),
    Mutant(guide_unstopped, "doubly_reparameterized"),
    Mutant(guide_unstopped, "doubly_reparameterized", "elbo"),
    Mutant(pathwise_score_flipped, "pathwise"),
    Mutant(vimco_score_flipped, "vimco"),
    Mutant(squared_for_theta_too, "doubly_reparameterized"),
    Mutant(leave_one_out_over_k, "leave_one_out", "elbo"),
    Mutant(raw_weights, "wake_phi"),
    Mutant(without_minus_a, "vimco"),
]
# These are the total derivative: the expectation is that of the bound, and what is wrong is the variance.
UNBIASED = {(inert, "elbo"), (guide_unstopped, "elbo"), (inert, "iwae")}
IDS = [f"{mutant.wrong.__name__}-{mutant.bound}" for mutant in MUTANTS]


@functools.cache
def population() -> Draws:
    return gaussian_draws(jax.random.key(0), 4, 20_000)


@pytest.mark.parametrize("mutant", MUTANTS, ids=IDS)
def test_the_surrogate_rejects_it(mutant):
    log_w = jnp.array([0.3, -1.2, 2.0, 0.1])
    bound, naive = BOUNDS[mutant.bound]
    expected = reference_coefficients(ESTIMATORS[mutant.right].surrogate, naive, log_w)
    right, wrong = (e(bound)(log_w) for e in (ESTIMATORS[mutant.right].estimator, mutant.wrong))
    distance = [
        max(np.abs(np.asarray(a) - b).max() for a, b in zip(c[:3], expected[:3], strict=True)) for c in (right, wrong)
    ]
    assert distance[0] < 1e-12
    assert distance[1] > 1e-2


@pytest.mark.parametrize(
    "mutant", [m for m in MUTANTS if (m.wrong, m.bound) not in UNBIASED], ids=lambda m: m.wrong.__name__
)
def test_the_battery_of_expectations_rejects_it(mutant):
    bound, log_w = BOUNDS[mutant.bound].bound, population().log_w
    right, wrong = (population().gradient(e(bound)(log_w)) for e in (ESTIMATORS[mutant.right].estimator, mutant.wrong))
    assert z_scores(wrong - right).max() > 10


def test_an_inert_stop_gradient_shows_where_the_guide_is_the_posterior():
    """log w is constant there, so ∂_z log w = 0 and what is left of the gradient is the score term."""
    log_w = jnp.zeros((4, 3))
    assert not np.any(estimators.sticking_the_landing(bounds.elbo)(log_w).score)
    assert np.all(inert(bounds.elbo)(log_w).score != 0)
    gradients = [
        population().gradient(e(bounds.elbo)(population().log_w)) for e in (estimators.sticking_the_landing, inert)
    ]
    variances = [np.var(g[:, 1:], axis=0).sum() for g in gradients]
    assert variances[1] > 1.2 * variances[0]
