"""Concrete distributions: bits and categories relaxed to the inside of the cube and of the simplex.

    y = l + ε,   relaxed z = sigmoid(y / τ) or softmax(y / τ),   discrete z = 1[y > 0] or the one-hot of argmax_c y_c

with ε logistic for a bit and Gumbel for each category. The discrete draw is a function of the relaxed one, and follows
sigmoid(l) or softmax(l) exactly, whatever the temperature τ.

Maddison, Mnih and Teh, "The Concrete Distribution" (arXiv:1611.00712); Jang, Gu and Poole, "Categorical
Reparameterization with Gumbel-Softmax" (arXiv:1611.01144).
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vi_jax.shapes import check_shape


class BinaryConcrete(NamedTuple):
    """Relaxed independent bits, z ∈ (0, 1)^d.

        log q(z) = Σ_j [log τ − log z_j − log(1 − z_j) + log sigmoid(u_j) + log sigmoid(−u_j)],   u = τ logit(z) − l

    A draw beyond the representable numbers inside (0, 1) becomes the nearest of them, and moves with its logit there.
    Below they reach to 10⁻³¹ in float32; above they end at 1 − 2⁻²⁴, logit 16.6 (1 − 2⁻⁵³ and 36.7 in float64), where
    draws of probability sigmoid(l − 16.6 τ) gather. log q is exact at each of them, and its mean too small by
    (1/τ − 1) log(1 + e^{l − 16.6 τ}) nats: at l = 0 that is 2·10⁻⁴ at τ = ½, 8·10⁻³ at ⅓, and 1.6 at τ = 0.1, where it
    takes float64, or a prior that is a Concrete itself, from whose ratio with q the terms in 1 − z cancel.

    Attributes:
      logits: l `[d]`, finite.
      temperature: τ > 0.
    """

    logits: jax.Array
    temperature: jax.Array | float

    def sample(self, *, seed: jax.Array) -> jax.Array:
        """Returns one draw `[d]`, with its derivative in logits and temperature."""
        return self.relax(self.perturb(seed))

    def log_prob(self, z: jax.Array) -> jax.Array:
        """Returns the log-density of z `[d]`, in nats, with respect to dz on (0, 1)^d. Nothing is known outside."""
        z = check_shape("z", z, self.logits.shape)
        log_z, log_rest = jnp.log(z), jnp.log1p(-z)
        u = self.temperature * (log_z - log_rest) - self.logits
        return jnp.sum(jnp.log(self.temperature) - log_z - log_rest - jax.nn.softplus(u) - jax.nn.softplus(-u))

    def perturb(self, key: jax.Array) -> jax.Array:
        """Returns y = l + ε, `[d]`."""
        return self.logits + jax.random.logistic(key, self.logits.shape, self.logits.dtype)

    def perturb_given(self, z: jax.Array, key: jax.Array) -> jax.Array:
        """Returns y `[d]` given the bits z that it hardens to.

        Given z_j = 1, sigmoid(l − y) is uniform on (0, sigmoid(l)), hence y = log(1 + e^{ε + log(1 + e^l)}) with ε
        logistic; given z_j = 0, as much with both signs turned.
        """
        sign, noise = 2 * z - 1, jax.random.logistic(key, self.logits.shape, self.logits.dtype)
        return sign * jax.nn.softplus(noise + jax.nn.softplus(sign * self.logits))

    def harden(self, y: jax.Array) -> jax.Array:
        """Returns the bits of y, `[d]` of 0. and 1."""
        return (y > 0).astype(self.logits.dtype)

    def relax(self, y: jax.Array) -> jax.Array:
        """Returns the relaxed bits of y, `[d]`."""
        return _sigmoid_inside(y / self.temperature)

    def discrete_log_prob(self, z: jax.Array) -> jax.Array:
        """Returns Σ_j [z_j l_j − log(1 + e^{l_j})], the log-probability of bits z, linear in z between them."""
        return jnp.sum(check_shape("z", z, self.logits.shape) * self.logits - jax.nn.softplus(self.logits))


class Concrete(NamedTuple):
    """A relaxed one-hot vector, z on the open simplex of C vertices; several of them along leading axes.

        log q(z) = log (C−1)! + (C−1) log τ + Σ_c [l_c − (τ + 1) log z_c] − C log Σ_c e^{l_c − τ log z_c}

    A coordinate below 10⁻³¹ in float32 (10⁻²⁹² in float64) becomes that, and moves with its logit there. It takes a gap
    of 71 τ between two perturbed logits: at τ = 0.1 and equal logits a probability of 10⁻³, at τ = ⅓ of 10⁻¹⁰.

    Attributes:
      logits: l `[C]`, finite, not necessarily normalised.
      temperature: τ > 0.
    """

    logits: jax.Array
    temperature: jax.Array | float

    def sample(self, *, seed: jax.Array) -> jax.Array:
        """Returns one draw `[C]`, with its derivative in logits and temperature."""
        return self.relax(self.perturb(seed))

    def log_prob(self, z: jax.Array) -> jax.Array:
        """Returns the log-density of z `[C]`, in nats, with respect to dz_1 … dz_{C−1}. z must sum to one."""
        size, log_z = self.logits.shape[-1], jnp.log(check_shape("z", z, self.logits.shape))
        tilted = self.logits - self.temperature * log_z
        log_q = jnp.sum(tilted - log_z, axis=-1) - size * jax.nn.logsumexp(tilted, axis=-1)
        return jnp.sum(log_q + math.lgamma(size) + (size - 1) * jnp.log(self.temperature))

    def perturb(self, key: jax.Array) -> jax.Array:
        """Returns y = l + ε, `[C]`."""
        return self.logits + jax.random.gumbel(key, self.logits.shape, self.logits.dtype)

    def perturb_given(self, z: jax.Array, key: jax.Array) -> jax.Array:
        """Returns y `[C]` given the one-hot z of its largest coordinate.

        The largest, M, is Gumbel around log Σ_c e^{l_c} whichever coordinate it is, and the others are Gumbels cut off
        above M: −log(e^{−M} + e^{−(l_c + ε_c)}) by inverting their distribution function.
        """
        of_largest, of_others = jax.random.split(key)
        total = jax.nn.logsumexp(self.logits, axis=-1, keepdims=True)
        largest = total + jax.random.gumbel(of_largest, total.shape, total.dtype)
        return jnp.where(z == 1, largest, -jnp.logaddexp(-largest, -self.perturb(of_others)))

    def harden(self, y: jax.Array) -> jax.Array:
        """Returns the one-hot vector of the largest coordinate, `[C]` of 0. and 1."""
        return jax.nn.one_hot(jnp.argmax(y, axis=-1), y.shape[-1], dtype=self.logits.dtype)

    def relax(self, y: jax.Array) -> jax.Array:
        """Returns the point of the simplex, `[C]`."""
        return _softmax_inside(y / self.temperature)

    def discrete_log_prob(self, z: jax.Array) -> jax.Array:
        """Returns Σ_c z_c log softmax(l)_c, the log-probability of a one-hot z, linear in z between them."""
        return jnp.sum(check_shape("z", z, self.logits.shape) * jax.nn.log_softmax(self.logits))


Relaxation = BinaryConcrete | Concrete


@jax.custom_jvp
def _sigmoid_inside(y: jax.Array) -> jax.Array:
    """sigmoid(y), moved inside (0, 1); its derivative is z (1 − z) at the z returned.

    ∂_z log q grows like 1/(1 − z) towards the edge, and a path gradient multiplies the two: they must belong to one z.
    """
    info = jnp.finfo(y.dtype)
    return jnp.clip(jax.nn.sigmoid(y), info.tiny / info.eps, 1 - info.epsneg)


@_sigmoid_inside.defjvp
def _sigmoid_inside_jvp(primals, tangents):
    z = _sigmoid_inside(*primals)
    return z, z * (1 - z) * tangents[0]


@jax.custom_jvp
def _softmax_inside(y: jax.Array) -> jax.Array:
    """softmax(y), each coordinate kept above zero; its derivative is that of a softmax at the z returned."""
    info = jnp.finfo(y.dtype)
    # tiny / eps and not tiny: the derivative of log q, of order C / z, must not overflow.
    return jnp.maximum(jax.nn.softmax(y), info.tiny / info.eps)


@_softmax_inside.defjvp
def _softmax_inside_jvp(primals, tangents):
    z = _softmax_inside(*primals)
    return z, z * (tangents[0] - jnp.sum(z * tangents[0], axis=-1, keepdims=True))
