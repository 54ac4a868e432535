"""The linear-Gaussian toy away from its optimum: what K draws give on average, without drawing.

    z ~ N(μ, I),   x | z ~ N(z, I),   q(z | x) = N(m, (2/3) I),   m = Ax + b,   δ = (μ + x)/2 − m

    log w − log p(x) = (D/2) log(4/3) + 3 |δ|² − R/6,   R ~ χ'²_D(24 |δ|²)

so that the law of a weight has one number in it, |δ|², and every expectation is an integral over R, a mixture of
χ²_{D+2j} with j of a Poisson law. All of it differentiable, for float64 and one datum.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln, xlogy
from jax.typing import ArrayLike

import vi_jax as vi
from vi_jax.models.weight_laws import WeightLaw

VARIANCE = 2 / 3
_NUM_NODES, _NUM_TERMS, _NUM_POINTS = 601, 60, 2048


def law(dim: int, square: jax.Array) -> WeightLaw:
    """Returns the law of log w − log p(x), for 0 < |δ|² ≤ 1."""
    # In y = log R every term is smooth and dead at both ends: there the trapezoid rule converges geometrically.
    y = np.linspace(-90 / dim - 5, math.log(2 * dim + 300), _NUM_NODES)
    j = np.arange(float(_NUM_TERMS))[:, None]
    mean, half = 12 * square, dim / 2 + j
    poisson = xlogy(j, mean) - mean - gammaln(j + 1.0)
    log_density = jax.nn.logsumexp(poisson + half * (y - math.log(2)) - np.exp(y) / 2 - gammaln(half), axis=0)
    log_w = dim / 2 * math.log(2 * VARIANCE) + 3 * square - np.exp(y) / 6
    return WeightLaw(log_w, log_density - jax.nn.logsumexp(log_density))


def squared_offset(params: vi.Params, x: jax.Array) -> jax.Array:
    """Returns |δ|², the squared distance of q's mean from that of p(z | x)."""
    return jnp.sum(((params.theta + x) / 2 - params.phi.A @ x - params.phi.b) ** 2)


def log_evidence(params: vi.Params, x: jax.Array) -> jax.Array:
    """Returns log p(x), nats."""
    return vi.models.linear_gaussian(x.shape[0]).log_evidence(params.theta, x)


def renyi(params: vi.Params, x: jax.Array, *, num_samples: ArrayLike, alpha: float) -> jax.Array:
    """Returns E L_α of K draws, nats: IWAE_K at α = 0, the ELBO at α = 1, the K-sample CUBO₂ at α = −1."""
    weights = law(x.shape[0], squared_offset(params, x))
    return log_evidence(params, x) + vi.models.expected_renyi(weights, num_samples, alpha=alpha)


def wake_phi(params: vi.Params, x: jax.Array, *, num_samples: ArrayLike) -> vi.guides.Affine:
    """Returns E Σ_k w̃_k ∂_φ log q(z_k | x) of K draws, which is not yet the gradient of −KL(p(z | x) ‖ q).

    With z = m + √(2/3) ε and κ = √24 |δ| the weight depends on |ε − κ u| alone, u = δ/|δ|. By Stein's identity
    E ε F(|ε − κ u|) = −u ∂_κ E F, and with F = w e^{−tw} and φ(t) = E e^{−tw},

        E Σ_k w̃_k ε_k = −u K ∫ ∂_κ E[w e^{−tw}] φ(t)^{K−1} dt,

    the derivative in κ at a fixed scale of w.
    """
    size = squared_offset(params, x) ** 0.5

    def weighted(kappa: jax.Array) -> jax.Array:
        here, moved = law(x.shape[0], size**2), law(x.shape[0], kappa**2 / 24)
        # Of w's two terms in δ only the law of R moves with κ.
        return _self_normalized(here, jnp.exp(moved.log_prob), num_samples)

    along = -jax.grad(weighted)(24**0.5 * size)
    mean_of_score = along * ((params.theta + x) / 2 - params.phi.A @ x - params.phi.b) / size / VARIANCE**0.5
    return vi.guides.Affine(jnp.outer(mean_of_score, x), mean_of_score)


def thermodynamic(weights: WeightLaw, num_samples: jax.Array, betas: tuple[float, ...]) -> jax.Array:
    """Returns E Σ_i Δβ_i Σ_k w̃(β_i)_k log w_k of K draws, nats, the left sum over nodes from 0 to 1."""

    def node(beta: float) -> jax.Array:
        powers = WeightLaw(beta * weights.log_w, weights.log_prob)
        return _self_normalized(powers, jnp.exp(weights.log_prob) * weights.log_w, num_samples)

    first = jnp.sum(jnp.exp(weights.log_prob) * weights.log_w) * (betas[1] - betas[0])
    rest = [node(beta) * width for beta, width in zip(betas[1:-1], np.diff(betas)[1:], strict=True)]
    return jnp.sum(jnp.stack([first, *rest]))


def thermodynamic_limit(weights: WeightLaw, betas: tuple[float, ...]) -> jax.Array:
    """Returns Σ_i Δβ_i E_β_i log w, what `thermodynamic` tends to for K → ∞."""
    nodes = [jnp.sum(jax.nn.softmax(beta * weights.log_w + weights.log_prob) * weights.log_w) for beta in betas[:-1]]
    return jnp.sum(jnp.stack(nodes) * jnp.diff(jnp.asarray(betas)))


def _self_normalized(weights: WeightLaw, measure: jax.Array, num_samples: ArrayLike) -> jax.Array:
    """Returns E Σ_k w̃_k f_k = K ∫ E[f w e^{−tw}] φ(t)^{K−1} dt at t = e^u/K; `measure` is f times the probabilities."""
    size = jnp.asarray(num_samples, float)
    log_size = jnp.log(size)
    u = jnp.linspace(-60.0, log_size + 24, _NUM_POINTS)

    def integrand(u: jax.Array) -> jax.Array:
        t_w = jnp.exp(u - log_size + weights.log_w)
        log_phi = jnp.log1p(jnp.maximum(jnp.sum(jnp.exp(weights.log_prob) * jnp.expm1(-t_w)), 1e-16 - 1))
        return jnp.sum(measure * t_w * jnp.exp(-t_w)) * jnp.exp((size - 1) * log_phi)

    return size * jnp.sum(jax.vmap(integrand)(u)) * (log_size + 84) / (_NUM_POINTS - 1)


def forward_kl_ascent(params: vi.Params, x: jax.Array) -> vi.guides.Affine:
    """Returns the gradient in φ of −KL(p(z | x) ‖ q), what `wake_phi` tends to."""
    return jax.grad(lambda phi: -vi.exact.forward_kl(_toy(x), _guide(x), params._replace(phi=phi), x))(params.phi)


def _toy(x: jax.Array) -> vi.models.ExactModel:
    return vi.models.linear_gaussian(x.shape[0])


def _guide(x: jax.Array) -> vi.Guide:
    return vi.guides.affine(x.shape[0], x.shape[0], variance=VARIANCE)
