"""Distributions over several layers of latents, each layer drawn given the one before it.

Guides run them from the data upwards and models from the top downwards; the event is a tuple either way.
"""

import functools
import operator
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax

from vi_jax.types import PyTree


class ChainDistribution(NamedTuple):
    """The law of y = (y_1, …, y_L) with y_1 ~ p_1 and y_{l+1} | y_l ~ p_{l+1}.

        log p(y) = log p_1(y_1) + Σ_l log p_{l+1}(y_{l+1} | y_l)

    Its draws carry the derivative through every layer where those of each layer do: y_{l+1} moves with y_l too. Where
    each layer has a `bijector`, as distrax gives its `Transformed` and its multivariate Gaussians, so has the whole:
    `forward` makes y of noise, layer by layer, and `inverse` finds the noise that made y.

    Attributes:
      first: distribution of y_1.
      steps: for every further layer, `y_l -> distribution of y_{l+1}`.
    """

    first: Any
    steps: tuple[Callable[[PyTree], Any], ...]

    def sample(self, *, seed: jax.Array) -> tuple[PyTree, ...]:
        """Returns one draw, layer by layer, each with a key of its own."""
        keys = jax.random.split(seed, 1 + len(self.steps))
        return self._extend(lambda layer, q: q.sample(seed=keys[layer]))

    def log_prob(self, y: tuple[PyTree, ...]) -> jax.Array:
        """Returns log p(y), scalar, in nats."""
        return functools.reduce(operator.add, (q.log_prob(value) for q, value in self._given(y)))

    @property
    def bijector(self) -> "ChainDistribution":
        """The map between noise and y, which is this object itself: its `forward` and `inverse`."""
        return self

    def forward(self, noise: tuple[PyTree, ...]) -> tuple[PyTree, ...]:
        """Returns the y that this noise makes, one entry per layer."""
        return self._extend(lambda layer, q: q.bijector.forward(noise[layer]))

    def inverse(self, y: tuple[PyTree, ...]) -> tuple[PyTree, ...]:
        """Returns the noise that makes y."""
        return tuple(q.bijector.inverse(value) for q, value in self._given(y))

    def _extend(self, value_of: Callable[[int, Any], PyTree]) -> tuple[PyTree, ...]:
        """Builds y from the first layer on; `value_of` takes a layer's number and its distribution."""
        y = [value_of(0, self.first)]
        for layer, step in enumerate(self.steps, start=1):
            y.append(value_of(layer, step(y[-1])))
        return tuple(y)

    def _given(self, y: tuple[PyTree, ...]) -> Iterator[tuple[Any, PyTree]]:
        """Pairs each layer's distribution, given the layer before it in y, with its own value."""
        if len(y) != 1 + len(self.steps):
            raise ValueError(f"y must be a tuple of {1 + len(self.steps)} layers, got {len(y)}.")
        yield self.first, y[0]
        yield from ((step(before), value) for step, before, value in zip(self.steps, y[:-1], y[1:], strict=True))


class ReversedChain(NamedTuple):
    """A chain whose event is read from its last layer to its first: p(z_L) Π_l p(z_l | z_{l+1}), z = (z_1, …, z_L).

    Attributes:
      chain: the law of (z_L, …, z_1).
    """

    chain: ChainDistribution

    def sample(self, *, seed: jax.Array) -> tuple[PyTree, ...]:
        """Returns one draw (z_1, …, z_L)."""
        return self.chain.sample(seed=seed)[::-1]

    def log_prob(self, z: tuple[PyTree, ...]) -> jax.Array:
        """Returns log p(z), scalar, in nats."""
        return self.chain.log_prob(z[::-1])

    @property
    def bijector(self) -> "ReversedChain":
        """The map between noise and z, as of `ChainDistribution`."""
        return self

    def forward(self, noise: tuple[PyTree, ...]) -> tuple[PyTree, ...]:
        """Returns the z that this noise makes; the noise is in the order of z."""
        return self.chain.forward(noise[::-1])[::-1]

    def inverse(self, z: tuple[PyTree, ...]) -> tuple[PyTree, ...]:
        """Returns the noise that makes z."""
        return self.chain.inverse(z[::-1])[::-1]
