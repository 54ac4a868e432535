"""Which rung is kept."""

import numpy as np
import pytest

from vi_jax.posterior.climb import Attempt, best_of, is_good


def attempt(name, pareto_k, elbo, *, is_good=False, missed=()):
    return Attempt(name, None, None, None, pareto_k, is_good, elbo, elbo, missed)


@pytest.mark.parametrize(
    ("kept", "attempts"),
    [
        # The largest ELBO, whatever the noise of k̂ below the limit of trust.
        ("flow", [attempt("full", 0.55, -2.0), attempt("flow", 0.63, -1.0)]),
        # A good one before that, one to be trusted before one that is not, one that misses nothing before all.
        ("full", [attempt("full", 0.4, -2.0, is_good=True), attempt("flow", 0.6, -1.0)]),
        ("full", [attempt("full", 0.6, -2.0), attempt("flow", 0.9, -1.0)]),
        ("mixture", [attempt("full", 0.1, -1.0, is_good=True, missed=("a mode",)), attempt("mixture", 1.2, -3.0)]),
        # Nothing is right: still the largest ELBO, and no NaN.
        ("flow", [attempt("full", 0.9, np.nan), attempt("flow", 1.3, -4.0)]),
    ],
)
def test_the_rung_that_is_kept(kept, attempts):
    assert best_of(tuple(attempts)).name == kept
    assert best_of(tuple(attempts[::-1])).name == kept


@pytest.mark.parametrize(
    ("pareto_k", "share", "good"),
    [
        (0.4, 0.8, True),
        (0.4, 0.1, False),
        (0.6, 0.9, False),
        (0.9, 0.995, True),
        (1.2, 0.999, False),
        (-np.inf, 1, True),
    ],
)
def test_a_rung_will_do_by_the_tail_of_its_weights_and_by_how_many_draws_are_left(pareto_k, share, good):
    assert is_good(pareto_k, share) == good
