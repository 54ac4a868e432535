"""A proposal without parameters: the prior, a uniform distribution, a posterior known from elsewhere."""

from typing import Any

from vi_jax.types import Guide, PyTree


def fixed(distribution: Any, *, reparameterized: bool = False) -> Guide:
    """Makes q(z | x) = `distribution`, the same for every x, with nothing to learn.

    With the prior as q, log w = log p(x | z): the naive estimate of p(x) as a mean of likelihoods. With z uniform over
    a finite set Z, w = |Z| p(x, z).

    Args:
      distribution: anything with `sample(seed=key)` and `log_prob(z)`, of batch shape (). It is a constant of the
        compiled program: a new one compiles anew.
      reparameterized: whether estimators may differentiate through its draws. No parameter gains from it.

    Returns:
      The guide; φ is (), whatever the key.
    """

    def init(key: PyTree) -> tuple[()]:
        del key
        return ()

    def constant(phi: tuple[()], x: PyTree) -> Any:
        del phi, x
        return distribution

    return Guide(init, constant, reparameterized=reparameterized)
