"""The two problems of the certificate, with the exact gradient of every bound at every K.

Gaussian: z = m + s ε, log p(x, z) = log N(z; θ, 1) + log N(x; z + ½ sin z, 1). One dimension, so that the law of log w
is a quadrature over ε, and E[L_K] an integral of it that can be differentiated in θ, m and log s.

Discrete: three values of z. All 3^K tuples of draws are listed, so that mean and variance of an estimator are exact.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import vi_jax as vi
from experiments.claims import BOUNDS, ESTIMATORS, FORWARD_KL, BoundRow, Claim
from vi_jax.models import weight_laws

DATUM = 0.8
# θ, m and log s, where q is wider than the posterior: every moment exists.
POINT = (-0.4, 0.7, 0.1)
LOGITS = (0.1, -0.4, 0.3)


class Draws(NamedTuple):
    """log w `[K, R]`, and per draw ∂_θ log p `[K, R, 1]`, ∂_z log w ∂_φ z and ∂_φ log q `[K, R, 2]`."""

    log_w: jax.Array
    model: jax.Array
    path: jax.Array
    score: jax.Array


def log_normal(y: jax.Array, mean: jax.Array | float, log_scale: jax.Array | float) -> jax.Array:
    """Returns log N(y; mean, exp(log_scale)²)."""
    return -(((y - mean) * jnp.exp(-log_scale)) ** 2) / 2 - log_scale - math.log(2 * math.pi) / 2


def log_joint(theta: jax.Array, z: jax.Array) -> jax.Array:
    """Returns log p(x, z)."""
    return log_normal(z, theta, 0.0) + log_normal(jnp.asarray(DATUM), z + jnp.sin(z) / 2, 0.0)


def draw_gaussian(key: jax.Array, num_samples: int, num_replicates: int) -> Draws:
    """Draws R replicates of K draws, each with its own derivatives."""
    theta, m, log_s = (jnp.asarray(value) for value in POINT)

    def one(noise: jax.Array) -> tuple[jax.Array, ...]:
        z = m + jnp.exp(log_s) * noise
        moves = jnp.stack([jnp.ones(()), z - m])
        slope = jax.grad(lambda z: log_joint(theta, z) - log_normal(z, m, log_s))(z)
        score = jnp.stack(jax.grad(lambda m, log_s: log_normal(z, m, log_s), (0, 1))(m, log_s))
        log_w = log_joint(theta, z) - log_normal(z, m, log_s)
        return log_w, jax.grad(log_joint)(theta, z)[None], slope * moves, score

    return Draws(*jax.vmap(jax.vmap(one))(jax.random.normal(key, (num_samples, num_replicates))))


def contract(draws: Draws, c: vi.Coefficients) -> jax.Array:
    """Returns the gradients (θ̄, φ̄) of each replicate, `[R, 3]`."""
    theta = jnp.einsum("kr,krp->rp", c.model, draws.model)
    phi = jnp.einsum("kr,krp->rp", c.path, draws.path) + jnp.einsum("kr,krp->rp", c.score, draws.score)
    return jnp.concatenate([theta, phi], axis=1)


class Measured(NamedTuple):
    """Moments of each coordinate over R replicates, `[rows, 3]`.

    Attributes:
      mean: of the gradient.
      variance: of the gradient.
      difference: mean of the gradient less what it is paired with.
      difference_variance: the variance of that.
      num_replicates: R.
      noise: `[chunks, rows]`, the total variance of φ̄ within each chunk of replicates.
    """

    mean: np.ndarray
    variance: np.ndarray
    difference: np.ndarray
    difference_variance: np.ndarray
    num_replicates: int
    noise: np.ndarray


def paired(row: Claim, estimators=ESTIMATORS) -> np.ndarray:
    """Returns by what the pathwise gradient of the same draws is multiplied before it is taken from a row's, `[3]`.

    Zero where there is an exact gradient: of a bound with an `expected`, and of φ̄ that follows the forward KL.
    """
    if BOUNDS[row.bound].expected is not None:
        return np.zeros(3)
    sign = 0 if row.kind == FORWARD_KL else estimators[row.estimator].sign
    return np.array([1, sign, sign])


def measure_gaussian(
    key: jax.Array, rows: tuple[Claim, ...], num_samples: int, num_replicates: int, estimators=ESTIMATORS
) -> Measured:
    """Measures every row on the same draws, in one program, 500 replicates at a time."""
    per_chunk = 500
    num_chunks = -(-num_replicates // per_chunk)

    def gradient(draws: Draws, bound: str, rule: vi.Estimator) -> jax.Array:
        return contract(draws, rule(BOUNDS[bound].bound)(draws.log_w))

    @jax.jit
    def sums(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        def add(total: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
            draws = draw_gaussian(key, num_samples, per_chunk)
            # The compiler computes a gradient once, however often it is written.
            pathwise = {row.bound: gradient(draws, row.bound, vi.estimators.pathwise) for row in rows}
            g = jnp.stack([gradient(draws, row.bound, estimators[row.estimator].estimator) for row in rows])
            d = g - jnp.stack([paired(row, estimators) * pathwise[row.bound] for row in rows])
            noise = jnp.var(g[..., 1:], axis=1, ddof=1).sum(axis=1)
            return total + jnp.stack([v.sum(axis=1) for v in (g, g**2, d, d**2)]), noise

        zeros = jnp.zeros((4, len(rows), 3))
        return jax.lax.scan(add, zeros, jax.random.split(key, num_chunks))

    count = num_chunks * per_chunk
    total, noise = jax.device_get(sums(key))
    mean, square, difference, difference_square = total / count
    unbiased = count / (count - 1)
    variances = (square - mean**2) * unbiased, (difference_square - difference**2) * unbiased
    return Measured(mean, variances[0], difference, variances[1], count, noise)


def gaussian_law(theta: jax.Array, m: jax.Array, log_s: jax.Array, *, nodes: int = 1601) -> weight_laws.WeightLaw:
    """Returns the law of log w on nodes of ε."""
    noise = np.linspace(-10, 10, nodes)
    log_prob = -(noise**2) / 2 - np.log(np.sum(np.exp(-(noise**2) / 2)))
    z = m + jnp.exp(log_s) * noise
    return weight_laws.WeightLaw(log_joint(theta, z) - log_normal(z, m, log_s), jnp.asarray(log_prob))


@functools.cache
def exact_gaussian(names: tuple[str, ...], num_samples: int) -> dict[str, np.ndarray]:
    """Returns ∇E[L_K] in θ, m and log s, `[3]`, by quadrature, in one program; of each bound with an `expected`."""
    known = {name: (BOUNDS[name], expected) for name in names if (expected := BOUNDS[name].expected) is not None}

    @jax.jit
    def gradients(*point: jax.Array) -> dict[str, jax.Array]:
        def of(row: BoundRow, expected: Callable[[weight_laws.WeightLaw, int], jax.Array]) -> jax.Array:
            law = functools.partial(gaussian_law, nodes=row.nodes)
            return jnp.stack(jax.grad(lambda *p: expected(law(*p), num_samples), (0, 1, 2))(*point))

        return {name: of(*pair) for name, pair in known.items()}

    return jax.device_get(gradients(*(jnp.asarray(value) for value in POINT)))


@functools.cache
def exact_forward_kl() -> np.ndarray:
    """Returns −∇KL(p(z | x) ‖ q) in m and log s, `[2]`: the posterior mean of the score."""
    theta, m, log_s = (jnp.asarray(value) for value in POINT)
    z = jnp.linspace(-12, 12, 4001)
    posterior = jax.nn.softmax(log_joint(theta, z))
    return np.stack(jax.grad(lambda m, log_s: jnp.sum(posterior * log_normal(z, m, log_s)), (0, 1))(m, log_s))


class Enumerated(NamedTuple):
    """Exact mean `[6]` (three of θ, three of φ) and total variance of φ̄, over all tuples."""

    mean: np.ndarray
    variance: float


def enumerate_discrete(rows: tuple[Claim, ...], num_samples: int, estimators=ESTIMATORS) -> list[Enumerated]:
    """Lists all 3^K tuples of draws for every row; θ is the table of log-probabilities and φ the logits."""
    log_p, log_q = np.log(np.ravel(vi.models.THREE_STATES)), np.asarray(jax.nn.log_softmax(jnp.asarray(LOGITS)))
    tuples = np.indices((3,) * num_samples).reshape(num_samples, -1)

    @jax.jit
    def coefficients(log_w: jax.Array) -> list[tuple[jax.Array, ...]]:
        return [estimators[row.estimator].estimator(BOUNDS[row.bound].bound)(log_w)[:3] for row in rows]

    indicator, probability = np.eye(3)[tuples], np.exp(log_q[tuples].sum(axis=0))
    found = []
    for model, _, score in jax.device_get(coefficients(jnp.asarray((log_p - log_q)[tuples]))):
        theta = np.einsum("kt,ktc->tc", model, indicator)
        phi = np.einsum("kt,ktc->tc", score, indicator - np.exp(log_q))
        mean = probability @ np.concatenate([theta, phi], axis=1)
        found.append(Enumerated(mean, float(probability @ (phi**2).sum(axis=1) - (mean[3:] ** 2).sum())))
    return found


@functools.cache
def exact_discrete(names: tuple[str, ...], num_samples: int) -> dict[str, np.ndarray]:
    """Returns ∇E[L_K] of each bound in θ and φ, `[6]`, from the sum over all tuples, in one program."""
    exact, guide = vi.models.table(vi.models.THREE_STATES), vi.guides.categorical(3)

    def expected(name: str, params: vi.Params) -> jax.Array:
        bound = BOUNDS[name].bound
        return vi.exact.expected_bound(bound, exact.model, guide, params, jnp.array(0), num_samples=num_samples)

    @jax.jit
    def gradients(params: vi.Params) -> dict[str, jax.Array]:
        return {name: ravel_pytree(jax.grad(functools.partial(expected, name))(params))[0] for name in names}

    return jax.device_get(gradients(vi.Params(exact.model.init(jax.random.key(0)), jnp.asarray(LOGITS))))


@functools.cache
def exact_discrete_forward_kl() -> np.ndarray:
    """Returns −∇KL(p(z | x) ‖ q) in φ, `[3]`: p(z | x) − q."""
    p = np.ravel(vi.models.THREE_STATES)
    return p / p.sum() - np.asarray(jax.nn.softmax(jnp.asarray(LOGITS)))
