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

import vi_jax as vi
from vi_jax.models.weight_laws import WeightLaw

VARIANCE = 2 / 3
_NUM_NODES, _NUM_TERMS = 601, 60


def law(dim: int, square: jax.Array) -> WeightLaw:
    """Returns the law of log w − log p(x), for |δ|² up to 1."""
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


def renyi(params: vi.Params, x: jax.Array, *, num_samples: int, alpha: float) -> jax.Array:
    """Returns E L_α of K draws, nats: IWAE_K at α = 0, the ELBO at α = 1, the K-sample CUBO₂ at α = −1."""
    weights = law(x.shape[0], squared_offset(params, x))
    return log_evidence(params, x) + vi.models.expected_renyi(weights, num_samples, alpha=alpha)


def wake_phi(params: vi.Params, x: jax.Array, *, num_samples: int) -> vi.guides.Affine:
    """Returns E Σ_k w̃_k ∂_φ log q(z_k | x) of K draws, which is not yet the gradient of −KL(p(z | x) ‖ q).

    With z = m + √(2/3) ε and κ = √24 |δ| the weight depends on |ε − κ u| alone, u = δ/|δ|. By Stein's identity
    E ε F(|ε − κ u|) = −u ∂_κ E F, and with F = w e^{−tw} = −∂_t e^{−tw}, φ(t; κ) = E e^{−tw},

        E Σ_k w̃_k ε_k = u K ∫ ∂_κ ∂_t φ(t; κ) φ(t; κ)^{K−1} dt,

    the derivative in κ at a fixed scale of w.
    """
    size = squared_offset(params, x) ** 0.5

    def weighted(kappa: jax.Array) -> jax.Array:
        here, moved = law(x.shape[0], size**2), law(x.shape[0], kappa**2 / 24)
        # Of w's two terms in δ only the law of R moves with κ.
        return _self_normalized(here, moved.log_prob, num_samples)

    along = jax.grad(weighted)(24**0.5 * size)
    mean_of_score = along * ((params.theta + x) / 2 - params.phi.A @ x - params.phi.b) / size / VARIANCE**0.5
    return vi.guides.Affine(jnp.outer(mean_of_score, x), mean_of_score)


def _self_normalized(here: WeightLaw, log_prob: jax.Array, num_samples: int) -> jax.Array:
    """Returns K ∫ ∂_t φ_moved(t) φ_here(t)^{K−1} dt, at t = e^u/K."""
    u, step = np.linspace(-60.0, math.log(num_samples) + 24, 2048, retstep=True)

    def integrand(u: jax.Array) -> jax.Array:
        t_w = jnp.exp(u - math.log(num_samples) + here.log_w)
        log_phi = jnp.log1p(jnp.maximum(jnp.sum(jnp.exp(here.log_prob) * jnp.expm1(-t_w)), 1e-16 - 1))
        return -jnp.sum(jnp.exp(log_prob) * t_w * jnp.exp(-t_w)) * jnp.exp((num_samples - 1) * log_phi)

    return num_samples * step * jnp.sum(jax.vmap(integrand)(jnp.asarray(u)))


def forward_kl_ascent(params: vi.Params, x: jax.Array) -> vi.guides.Affine:
    """Returns the gradient in φ of −KL(p(z | x) ‖ q), what `wake_phi` tends to."""
    return jax.grad(lambda phi: -vi.exact.forward_kl(_toy(x), _guide(x), params._replace(phi=phi), x))(params.phi)


def _toy(x: jax.Array) -> vi.models.ExactModel:
    return vi.models.linear_gaussian(x.shape[0])


def _guide(x: jax.Array) -> vi.Guide:
    return vi.guides.affine(x.shape[0], x.shape[0], variance=VARIANCE)
