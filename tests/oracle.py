"""Readable references, slow and obvious: what every bound and every estimator is judged against.

Each estimator is a surrogate with stop_gradients, differentiated by plain `jax.grad`; each bound is one line. The
tables BOUNDS and ESTIMATORS are the rows of every battery: a new bound or estimator inherits them by adding one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vi_jax import bounds, estimators
from vi_jax.types import BoundFn, Coefficients, Estimator, Guide, Model, Params

stop = jax.lax.stop_gradient

# --- bounds, each for log_w [K] ---------------------------------------------------------------------------------------


def power_mean(exponent: float) -> BoundFn:
    return lambda log_w: (jax.nn.logsumexp(exponent * log_w, axis=0) - np.log(len(log_w))) / exponent


def mean(log_w: jax.Array) -> jax.Array:
    return jnp.mean(log_w, axis=0)


def largest(log_w: jax.Array) -> jax.Array:
    """Locally Lipschitz, but its gradient jumps."""
    return jnp.max(log_w, axis=0)


def _blend(log_w: jax.Array) -> jax.Array:
    return 0.3 * mean(log_w) + 0.7 * power_mean(1.0)(log_w)


def _jackknife(log_w: jax.Array) -> jax.Array:
    num, top = len(log_w), stop(jnp.max(log_w, axis=0))
    others = jnp.tensordot(1 - jnp.eye(num), jnp.exp(log_w - top), axes=1)
    return num * power_mean(1.0)(log_w) - (num - 1) * (mean(jnp.log(others)) + top - np.log(num - 1))


class Bound(NamedTuple):
    """A bound of the library and what it should be."""

    bound: BoundFn
    naive: BoundFn


LIBRARY_BOUNDS = {
    "elbo": Bound(bounds.elbo, mean),
    "iwae": Bound(bounds.iwae, power_mean(1.0)),
    "renyi(0.5)": Bound(bounds.renyi(0.5), power_mean(0.5)),
    "renyi(0.99)": Bound(bounds.renyi(0.99), power_mean(1 - 0.99)),
    "renyi(2)": Bound(bounds.renyi(2.0), power_mean(-1.0)),
    "cubo(2)": Bound(bounds.cubo(2.0), power_mean(2.0)),
}
# Functions as a user writes them: everything about these goes through automatic differentiation.
USER_BOUNDS = {
    "user's blend": Bound(_blend, _blend),
    "user's jackknife": Bound(_jackknife, _jackknife),
}
BOUNDS = LIBRARY_BOUNDS | USER_BOUNDS

# --- estimators -------------------------------------------------------------------------------------------------------


class Problem(NamedTuple):
    """One datum and K draws with their noise held fixed: z(φ), log p(θ, z) and log q(φ, z), `[K, ...]`."""

    draw: Callable[[Any], Any]
    log_p: Callable[[Any, Any], jax.Array]
    log_q: Callable[[Any, Any], jax.Array]


Surrogate = Callable[[BoundFn, Problem, Any, Any], jax.Array]


def model_part(bound: BoundFn, p: Problem, theta, phi) -> jax.Array:
    z = stop(p.draw(phi))
    return bound(p.log_p(theta, z) - stop(p.log_q(phi, z)))


def pathwise(bound: BoundFn, p: Problem, theta, phi) -> jax.Array:
    z = p.draw(phi)
    return bound(p.log_p(theta, z) - p.log_q(phi, z))


def sticking_the_landing(bound: BoundFn, p: Problem, theta, phi) -> jax.Array:
    z = p.draw(phi)
    return bound(p.log_p(theta, z) - p.log_q(stop(phi), z))


def _through_draws(weights: Callable[[jax.Array], jax.Array]) -> Surrogate:
    def surrogate(bound: BoundFn, p: Problem, theta, phi) -> jax.Array:
        z = p.draw(phi)
        log_w = p.log_p(stop(theta), z) - p.log_q(stop(phi), z)
        return model_part(bound, p, theta, phi) + jnp.sum(stop(weights(stop(log_w))) * log_w)

    return surrogate


def doubly_reparameterized(bound: BoundFn, p: Problem, theta, phi) -> jax.Array:
    def weights(log_w):
        return jax.grad(bound)(log_w) - jnp.diag(jax.hessian(bound)(log_w))

    return _through_draws(weights)(bound, p, theta, phi)


def wake_phi(bound: BoundFn, p: Problem, theta, phi) -> jax.Array:
    log_w, log_q = fixed(p, theta, phi)
    return model_part(bound, p, theta, phi) + jnp.sum(stop(jax.nn.softmax(log_w)) * log_q)


def fixed(p: Problem, theta, phi) -> tuple[jax.Array, jax.Array]:
    z = stop(p.draw(phi))
    log_q = p.log_q(phi, z)
    return p.log_p(theta, z) - log_q, log_q


def _with_baseline(baseline: Callable[[BoundFn, jax.Array, int], Any]) -> Surrogate:
    def surrogate(bound: BoundFn, p: Problem, theta, phi) -> jax.Array:
        log_w, log_q = fixed(p, theta, phi)
        advantage = jnp.stack([bound(log_w) - baseline(bound, log_w, k) for k in range(len(log_w))])
        return bound(log_w) + jnp.sum(stop(advantage) * log_q)

    return surrogate


score_function = _with_baseline(lambda bound, log_w, k: 0.0)
vimco = _with_baseline(lambda bound, log_w, k: bound(log_w.at[k].set(mean(jnp.delete(log_w, k)))))
vimco_arithmetic = _with_baseline(lambda bound, log_w, k: bound(log_w.at[k].set(power_mean(1.0)(jnp.delete(log_w, k)))))
_delete_one = _with_baseline(lambda bound, log_w, k: bound(jnp.delete(log_w, k)))


def leave_one_out(bound: BoundFn, p: Problem, theta, phi) -> jax.Array:
    """For the ELBO this is VarGrad: half the (K−1)-normalised variance of log w, descended with draws held fixed."""
    if bound is not mean:
        return _delete_one(bound, p, theta, phi)
    log_w, _ = fixed(p, stop(theta), phi)
    return model_part(bound, p, theta, phi) - jnp.var(log_w, ddof=1) / 2


class Row(NamedTuple):
    """An estimator of the library and the surrogate whose gradient it should return."""

    estimator: Estimator
    surrogate: Surrogate


# Unbiased for ∇E[L_K] of every bound, and in need of no derivative of the draws.
SCORE = {
    "score_function": Row(estimators.score_function, score_function),
    "leave_one_out": Row(estimators.leave_one_out, leave_one_out),
    "vimco": Row(estimators.vimco, vimco),
    "vimco_arithmetic": Row(estimators.vimco_arithmetic, vimco_arithmetic),
}
# Unbiased for ∇E[L_K] of every bound with a continuous gradient; the draws carry a derivative.
THROUGH_DRAWS = {
    "pathwise": Row(estimators.pathwise, pathwise),
    "doubly_reparameterized": Row(estimators.doubly_reparameterized, doubly_reparameterized),
    "reparameterized pathwise": Row(estimators.reparameterize_score(estimators.pathwise), doubly_reparameterized),
    "reparameterized score": Row(estimators.reparameterize_score(estimators.score_function), doubly_reparameterized),
}
WAKE = {
    "wake_phi": Row(estimators.wake_phi, wake_phi),
    "wake_phi_doubly_reparameterized": Row(
        estimators.wake_phi_doubly_reparameterized,
        _through_draws(lambda log_w: jax.nn.softmax(log_w) - jax.nn.softmax(log_w) ** 2),
    ),
}
STL = {"sticking_the_landing": Row(estimators.sticking_the_landing, sticking_the_landing)}
ESTIMATORS = SCORE | THROUGH_DRAWS | WAKE | STL


def reference_coefficients(surrogate: Surrogate, bound: BoundFn, log_w: jax.Array) -> Coefficients:
    """What the surrogate says where θ, the score's φ and the draw are each one number per draw with derivative 1."""
    problem = Problem(
        draw=lambda phi: phi[0], log_p=lambda theta, z: log_w + theta + z, log_q=lambda phi, z: phi[1] + 0.0 * z
    )
    zero = jnp.zeros_like(log_w)
    model, (path, score) = jax.grad(lambda t, phi: surrogate(bound, problem, t, phi), (0, 1))(zero, (zero, zero))
    return Coefficients(model, path, score)


def problem_of(model: Model, guide: Guide, key: jax.Array, x, num_samples: int) -> Problem:
    """One datum with the library's draws: draw k is made with the datum's key, folded with k."""
    keys = jax.vmap(lambda k: jax.random.fold_in(key, k))(jnp.arange(num_samples))
    return Problem(
        draw=lambda phi: jax.vmap(lambda key: guide.distribution(phi, x).sample(seed=key))(keys),
        log_p=lambda theta, z: jax.vmap(lambda z: model.log_joint(theta, x, z))(z),
        log_q=lambda phi, z: jax.vmap(guide.distribution(phi, x).log_prob)(z),
    )


def reference_gradient(surrogate: Surrogate, bound: BoundFn, problems: list[Problem], params: Params) -> Params:
    """The gradient of the mean surrogate over a batch, one `Problem` per datum."""

    def total(params: Params) -> jax.Array:
        return jnp.mean(jnp.stack([surrogate(bound, problem, *params) for problem in problems]))

    return jax.grad(total)(params)
