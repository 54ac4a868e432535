"""q(z | x) with several layers of latents, each inferred from the one below it."""

import functools

import jax

from vi_jax.chains import ChainDistribution
from vi_jax.types import Guide, PyTree


def chain(*guides: Guide) -> Guide:
    """Makes q(z | x) = q_1(z_1 | x) Π_l q_{l+1}(z_{l+1} | z_l), z = (z_1, …, z_L): layer 1 is nearest to the data.

        log q(z | x) = log q_1(z_1 | x) + Σ_l log q_{l+1}(z_{l+1} | z_l)

    The datum of each further guide is one draw of the layer below. The whole tuple is ONE draw: a derivative through it
    counts how z_1 moves z_2, and estimators need no change. The two-layer encoder of the importance-weighted
    autoencoder is

        chain(gaussian_encoder(784, 100, hidden=(200, 200)), gaussian_encoder(100, 50, hidden=(100, 100)))

    Price: the first encoder runs once per datum, the others once per draw.

    Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders" (arXiv:1509.00519).

    Args:
      *guides: one per layer, from the data upwards. A chain among them is one layer, whose latent is a tuple.

    Returns:
      The guide; φ is the tuple of their φ, z the flat tuple of their draws. `reparameterized` if all of them are;
      `support` is None, whatever theirs.

    Raises:
      ValueError: there is no guide. When called: as each guide, if a layer's draw is no datum for the next.
    """
    if not guides:
        raise ValueError("chain needs at least one guide, got none: chain(gaussian_encoder(…), gaussian_encoder(…)).")

    def init(key: jax.Array) -> tuple[PyTree, ...]:
        return tuple(guide.init(key) for guide, key in zip(guides, jax.random.split(key, len(guides)), strict=True))

    def distribution(phi: tuple[PyTree, ...], x: PyTree) -> ChainDistribution:
        layers = [functools.partial(guide.distribution, part) for guide, part in zip(guides, phi, strict=True)]
        return ChainDistribution(layers[0](x), tuple(layers[1:]))

    return Guide(init, distribution, reparameterized=all(guide.reparameterized for guide in guides))
