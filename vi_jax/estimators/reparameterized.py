"""Estimators that differentiate through the draw, z = z(φ, ε)."""

import jax
import jax.numpy as jnp

from vi_jax import bounds
from vi_jax.estimators.definition import Tolerance, always, estimator, with_tolerance
from vi_jax.names import name_of, named
from vi_jax.types import BoundFn, CoefficientFn, Coefficients, Estimator


@estimator
def pathwise(bound: BoundFn, log_w: jax.Array) -> Coefficients:
    """Total derivative of the bound through z = z(φ, ε).

        model = path = a,  score = −a,   a = ∇L(log w)

    Unbiased for ∇E[L_K] of any locally Lipschitz bound, for guides that carry the pathwise derivative; one backward
    pass. Its signal-to-noise ratio in φ falls like 1/√K under IWAE.

    Kingma and Welling, "Auto-Encoding Variational Bayes" (arXiv:1312.6114); Rainforth et al., "Tighter Variational
    Bounds are Not Necessarily Better" (arXiv:1802.04537).
    """
    a = bounds.gradient(bound)(log_w)
    return Coefficients(model=a, path=a, score=-a, ratio=1.0)


@estimator
def sticking_the_landing(bound: BoundFn, log_w: jax.Array) -> Coefficients:
    """Pathwise without its score term, so that it vanishes where q is the posterior.

        model = path = a,  score = 0

    Unbiased where diag ∇²L ≡ 0: for the ELBO at any K, and for any bound at K = 1. Otherwise biased, by
    E Σ_k h_k ∂_z log w_k ∂_φ z_k. One backward pass.

    Roeder, Wu and Duvenaud, "Sticking the Landing" (arXiv:1703.09194).
    """
    a = bounds.gradient(bound)(log_w)
    return Coefficients(model=a, path=a, score=jnp.zeros_like(a), ratio=1.0)


def reparameterize_score(estimator_: Estimator) -> Estimator:
    """Turns each score term of an estimator into a path term.

        path_k ← path_k + ∂ score_k / ∂ log w_k,  score_k ← 0

    which is E_q[f ∂_φ log q] = E_ε[∂_z f ∂_φ z], used once per draw. Same expectation. It needs draws that are
    independent and reparameterized, and score_k smooth in log w_k. By automatic differentiation: O(K²) time and O(K)
    memory for the coefficients, and two backward passes; `doubly_reparameterized` has the closed forms.

    Tucker, Lawson, Gu and Maddison, "Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives"
    (arXiv:1810.04152), generalised from IWAE to any coefficients.

    Raises:
      ValueError: when called, the bound is known to have a gradient that jumps, as `renyi(-inf)`.
    """
    name = f"reparameterize_score({name_of(estimator_)})"

    @estimator
    def reparameterized(bound: BoundFn, log_w: jax.Array) -> Coefficients:
        _require_continuous(name, bound)
        coefficients = estimator_(bound)
        model, path, _, _ = coefficients(log_w)
        return Coefficients(model, path + _diagonal_derivative(coefficients, log_w), jnp.zeros_like(path))

    return named(reparameterized, name)


@estimator
def doubly_reparameterized(bound: BoundFn, log_w: jax.Array) -> Coefficients:
    """Pathwise with its score term reparameterized a second time.

        model = a,  path = a − h,  score = 0,   h = diag ∇²L(log w)

    a − h is w̃² for IWAE, 1/K for the ELBO, α a + (1−α) a² for the Rényi bound. Unbiased for ∇E[L_K] of every bound
    whose gradient a is continuous (not for max(log w), which is refused; of a plain function nobody can tell), in θ as
    well as in φ. One backward pass for the power means, `miwae` and `ciwae`, two for the thermodynamic sums; for the
    jackknife and plain functions `reparameterize_score(pathwise)` and its price. Its signal-to-noise ratio in φ rises
    like √K under IWAE.

    Tucker, Lawson, Gu and Maddison, "Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives"
    (arXiv:1810.04152).
    """
    form = bounds.closed_form(bound)
    if form is None:
        return reparameterize_score(pathwise)(bound)(log_w)
    _require_continuous("doubly_reparameterized", bound)
    assert form.path is not None, "its derivative is continuous"
    a, path = form.gradient(log_w), form.path(log_w)
    return Coefficients(a, path, jnp.zeros_like(a), form.ratio(log_w) if callable(form.ratio) else form.ratio)


def _require_continuous(name: str, bound: BoundFn) -> None:
    form = bounds.closed_form(bound)
    if form is not None and form.path is None:
        raise ValueError(
            f"{name} needs a bound whose derivative is continuous, and that of {bounds.name_of(bound)} jumps: use "
            "pathwise with it, or for any guide score_function, leave_one_out or vimco."
        )


def _diagonal_derivative(coefficients: CoefficientFn, log_w: jax.Array) -> jax.Array:
    """∂ score_k / ∂ log w_k for every k, one forward derivative at a time so that memory stays linear in K."""

    def at(k: jax.Array) -> jax.Array:
        direction = jnp.zeros_like(log_w).at[k].set(1)
        return jax.jvp(lambda v: coefficients(v).score, (log_w,), (direction,))[1][k]

    return jax.lax.map(at, jnp.arange(log_w.shape[0]))


# The total derivative at fixed noise is that of any function of the draws. Without its score term it is one where that
# term has mean zero draw by draw, which a constant a ensures.
with_tolerance(pathwise, Tolerance(dependent_draws=always, scaled_likelihood=bounds.is_linear))
for _linear in (sticking_the_landing, doubly_reparameterized):
    with_tolerance(_linear, Tolerance(dependent_draws=bounds.is_linear, scaled_likelihood=bounds.is_linear))
