"""Operators on discrete guides: draws that carry a derivative, exact for another problem or biased for this one."""

import math
from typing import Any, NamedTuple

import jax

from vi_jax.guides.concrete import BinaryConcrete, Concrete, Relaxation
from vi_jax.lazy import distrax
from vi_jax.types import Guide, PyTree


def relaxed(guide: Guide, *, temperature: float) -> Guide:
    """Makes the Concrete relaxation of a discrete guide: the same logits, draws inside the cube or the simplex.

        z = sigmoid((l + ε) / τ),  ε logistic;   z = softmax((l + ε) / τ),  ε Gumbel

    Its density is that of `BinaryConcrete` or `Concrete`, so that every bound and every estimator applies, and is as
    unbiased as it always is: for the RELAXED problem. There log p_θ(x, z) is a function of z inside, and E_q[log w] a
    lower bound of log ∫ p_θ(x, z) dz, not of log Σ_z p_θ(x, z). A prior that is a Concrete too, at a temperature of its
    own, keeps the integral a probability; then the gap to the discrete problem closes as both temperatures fall, and
    the variance rises. As a gradient of the discrete bound it is biased. Price: that of a Gaussian guide.

    Maddison, Mnih and Teh, "The Concrete Distribution" (arXiv:1611.00712); Jang, Gu and Poole, "Categorical
    Reparameterization with Gumbel-Softmax" (arXiv:1611.01144).

    Args:
      guide: its distribution is a distrax `Bernoulli`, `Categorical` or `OneHotCategorical`, or an `Independent` of
        one, with finite logits: `guides.bernoulli`, `guides.bernoulli_encoder`, `guides.categorical`.
      temperature: τ, positive and finite; a constant of the compiled program. `BinaryConcrete` says what float32 makes
        of a small one.

    Returns:
      The guide; φ is that of `guide`. z is `[d]` in (0, 1), or `[C]` on the simplex for any categorical, one-hot or
      not: a model that takes an integer must be written for such a vector. `support` is None, `reparameterized` True.

    Raises:
      ValueError: the temperature is not positive and finite. When called: the distribution is of another kind.
    """
    temperature = _check_temperature(temperature)

    def distribution(phi: PyTree, x: PyTree) -> Relaxation:
        return relaxation(guide.distribution(phi, x), temperature)

    return Guide(guide.init, distribution)


def straight_through(guide: Guide, *, temperature: float) -> Guide:
    """Makes a discrete guide whose draws are what they were, with the derivative of the relaxed draw.

        z = hard draw in the forward pass,   ∂_φ z = ∂_φ (relaxed draw),   log q linear in z, so that ∂_z log q exists

    The values of every bound are those of the discrete guide. Path gradients are BIASED, by an amount whose sign is not
    known and which more draws do not reduce. For one bit and an f held fixed they estimate E[f′(z) ∂_l relaxed z], not
    (f(1) − f(0)) sigmoid′(l): even a linear f is off, by the factor ⅔ at l = 0 and τ = 1. As τ falls the mean tends to
    ½ (f′(0) + f′(1)) sigmoid′(l), right for f up to the second degree, and the variance grows like 1/τ. Score-function
    rules take no derivative through the draw and stay unbiased. Price: that of a Gaussian guide.

    Bengio, Léonard and Courville, "Estimating or Propagating Gradients Through Stochastic Neurons for Conditional
    Computation" (arXiv:1308.3432); Jang, Gu and Poole (arXiv:1611.01144), straight-through Gumbel-softmax.

    Args:
      guide: as `relaxed`.
      temperature: τ of the derivative, positive and finite; a constant of the compiled program.

    Returns:
      The guide; φ is that of `guide`. z is `[d]` of 0. and 1., or one-hot `[C]` for any categorical. `support` is None:
      enumerate with `guide`, whose φ it is. `reparameterized` is True, so that path rules take it.

    Raises:
      ValueError: as `relaxed`.
    """
    temperature = _check_temperature(temperature)

    def distribution(phi: PyTree, x: PyTree) -> StraightThrough:
        return StraightThrough(relaxation(guide.distribution(phi, x), temperature))

    return Guide(guide.init, distribution)


class StraightThrough(NamedTuple):
    """Hard draws with the derivative of relaxed ones.

    Attributes:
      relaxed: the relaxation.
    """

    relaxed: Relaxation

    def sample(self, *, seed: jax.Array) -> jax.Array:
        """Returns one discrete draw. What is added is zero, and has a derivative."""
        y = self.relaxed.perturb(seed)
        z = self.relaxed.relax(y)
        return self.relaxed.harden(y) + (z - jax.lax.stop_gradient(z))

    def log_prob(self, z: jax.Array) -> jax.Array:
        """Returns the log-probability of a discrete z, in nats, linear in z between them."""
        return self.relaxed.discrete_log_prob(z)


def relaxation(distribution: Any, temperature: jax.Array | float) -> Relaxation:
    """Returns the relaxation of a distrax distribution of bits or categories.

    Raises:
      ValueError: it is neither.
    """
    inner: Any = distribution.distribution if type(distribution) is distrax.Independent else distribution
    relaxed = {distrax.Bernoulli: BinaryConcrete, distrax.Categorical: Concrete, distrax.OneHotCategorical: Concrete}
    family = relaxed.get(type(inner))
    if family is None:
        raise ValueError(
            f"only a guide of bits or categories is relaxed, a distrax Bernoulli, Categorical or OneHotCategorical or "
            f"an Independent of one, and the guide's distribution is {type(distribution).__name__}: take "
            "guides.bernoulli, guides.bernoulli_encoder or guides.categorical, and not their relaxation."
        )
    return family(inner.logits, temperature)


def _check_temperature(temperature: float) -> float:
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be positive and finite, got {temperature}.")
    return float(temperature)
