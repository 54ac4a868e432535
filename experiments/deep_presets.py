"""What is trained, on what, and how long: data, networks, learning rates and reference numbers under one name.

    digits                                   the shrunk protocol: 64-100-100-10, 12,000 steps, minutes on two cores
    mnist-1-layer, mnist-2-layers            Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders"
                                             (arXiv:1509.00519), dynamic binarization; with `static-mnist-` of fixed
                                             pixels, `fashion-mnist-`, `omniglot-` (Lake's split), `omniglot-iwae-`

The full-size protocol takes 3280 passes over the data in batches of 20, for MNIST 9.84 million steps.
"""

import functools
import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import optax

import vi_jax as vi
from experiments import spelling
from vi_jax import data
from vi_jax.training.step import Prepare

Networks = Callable[[jax.Array], tuple[vi.Model, vi.Guide]]


class Images(NamedTuple):
    """Images for density estimation, a row each.

    Attributes:
      train: `[N, D]` in [0, 1].
      test: `[M, D]` of 0 and 1, fixed.
      prepare: `(key, batch) -> batch` inside every step; None for pixels that are fixed.
      protocol: split and binarization in words.
    """

    train: jax.Array
    test: jax.Array
    prepare: Prepare | None
    protocol: str


class Reference(NamedTuple):
    """What is known of a protocol, in nats: test NLL by L_5000, and −ELBO, None where it is not."""

    nll: float
    minus_elbo: float | None = None


class Preset(NamedTuple):
    """One protocol.

    Attributes:
      load: reads the data.
      networks: `train [N, D] -> (model, guide)`.
      rates: `T -> schedule` of Adam's learning rate over T steps.
      epsilon: of Adam.
      batch_size: data per step, drawn with replacement.
      num_epochs: T is so many passes over N data.
      references: by method and k: published, or of the shrunk protocol.
    """

    load: Callable[[], Images]
    networks: Networks
    rates: Callable[[int], optax.Schedule]
    epsilon: float
    batch_size: int
    num_epochs: int
    references: Mapping[tuple[str, int], Reference]


# Data.


def dynamic(load: Callable[[], Any]) -> Images:
    """Returns probabilities, binarized anew for every minibatch."""
    split = load()
    return Images(split.train, split.test, data.binarize, split.protocol)


def fixed(load: Callable[[], Any]) -> Images:
    """Returns pixels that were drawn once and for all."""
    split = load()
    return Images(split.train, split.test, None, split.protocol)


# Networks: Glorot-uniform weights, zero biases, an output bias of logit(mean of the training data).


def one_layer(train: jax.Array, *, latent_dim: int, width: int) -> tuple[vi.Model, vi.Guide]:
    """Returns data-[width, width tanh]-latent and its mirror."""
    data_dim, hidden = train.shape[1], (width, width)
    model = vi.models.bernoulli_decoder(latent_dim, data_dim, hidden=hidden, mean=train.mean(axis=0))
    return model, vi.guides.gaussian_encoder(data_dim, latent_dim, hidden=hidden)


def two_layers(train: jax.Array) -> tuple[vi.Model, vi.Guide]:
    """Returns data-[200, 200]-100-[100, 100]-50 and its mirror."""
    data_dim = train.shape[1]
    model = vi.models.hierarchical_decoder(
        (100, 50), data_dim, hidden=((200, 200), (100, 100)), mean=train.mean(axis=0)
    )
    encoders = (
        vi.guides.gaussian_encoder(data_dim, 100, hidden=(200, 200)),
        vi.guides.gaussian_encoder(100, 50, hidden=(100, 100)),
    )
    return model, vi.guides.chain(*encoders)


# Learning rates, stretched to the number of steps that there are.


def halved(num_steps: int) -> optax.Schedule:
    """Returns 1e-3, halved at one third of the steps and cut to 0.4 of that at two thirds."""
    return optax.piecewise_constant_schedule(1e-3, {num_steps // 3: 0.5, 2 * num_steps // 3: 0.4})


def eight_stages(num_steps: int) -> optax.Schedule:
    """Returns 10^(−3 − (i−1)/7) for a share 3^(i−1)/3280 of the steps, i = 1, …, 8: Burda et al., section 5."""
    ends = [num_steps * ((3**stage - 1) // 2) // 3280 for stage in range(9)]
    # Of a short run the first stages are empty: a dictionary of steps would lose their factors.
    rates = [10 ** (-3 - stage / 7) for stage in range(8) if ends[stage + 1] > ends[stage]]
    stops = [end for begin, end in itertools.pairwise(ends) if end > begin]
    return optax.join_schedules([optax.constant_schedule(rate) for rate in rates], stops[:-1])


SHRUNK = {
    ("iwae", 1): Reference(22.48, 22.90),
    ("iwae", 5): Reference(22.08, 23.28),
    ("iwae", 50): Reference(21.90, 25.41),
}
"""The shrunk protocol, verified beforehand with code that is not this library's: means of two seeds."""

# Burda et al., table 1; DReG is a re-run by others under the same protocol.
ONE_LAYER = {
    ("vae", 1): Reference(86.76),
    ("vae", 5): Reference(86.47),
    ("vae", 50): Reference(86.35),
    ("iwae", 1): Reference(86.76),
    ("iwae", 5): Reference(85.54),
    ("iwae", 50): Reference(84.78),
    ("dreg", 1): Reference(86.08),
    ("dreg", 5): Reference(84.90),
    ("dreg", 50): Reference(84.32),
}
TWO_LAYERS = {
    ("vae", 1): Reference(85.33),
    ("vae", 5): Reference(85.01),
    ("vae", 50): Reference(84.78),
    ("iwae", 1): Reference(85.33),
    ("iwae", 5): Reference(83.89),
    ("iwae", 50): Reference(82.90),
}
STATIC = {("iwae", 1): Reference(88.71), ("iwae", 5): Reference(87.63), ("iwae", 50): Reference(87.10)}


def full_size(load: Callable[[], Images], layers: int, references: Mapping[tuple[str, int], Reference]) -> Preset:
    """Returns the protocol of the IWAE paper with one or two stochastic layers."""
    networks = (functools.partial(one_layer, latent_dim=50, width=200), two_layers)[layers - 1]
    return Preset(load, networks, eight_stages, 1e-4, 20, 3280, references)


LOADERS: dict[str, Callable[[], Images]] = {
    "mnist": lambda: dynamic(data.mnist),
    "static-mnist": lambda: fixed(data.static_mnist),
    "fashion-mnist": lambda: dynamic(data.fashion_mnist),
    "omniglot": lambda: dynamic(data.omniglot),
    "omniglot-iwae": lambda: dynamic(data.omniglot_iwae),
}
REFERENCES: dict[tuple[str, int], Mapping[tuple[str, int], Reference]] = {
    ("mnist", 1): ONE_LAYER,
    ("mnist", 2): TWO_LAYERS,
    ("static-mnist", 1): STATIC,
}
PRESETS: dict[str, Preset] = {
    "digits": Preset(
        lambda: dynamic(data.digits_split),
        functools.partial(one_layer, latent_dim=10, width=100),
        halved,
        1e-8,
        50,
        400,
        SHRUNK,
    ),
    **{f"{name}-1-layer": full_size(load, 1, REFERENCES.get((name, 1), {})) for name, load in LOADERS.items()},
    **{f"{name}-2-layers": full_size(load, 2, REFERENCES.get((name, 2), {})) for name, load in LOADERS.items()},
}
NAMES = ", ".join(PRESETS)


def preset(name: str) -> Preset:
    """Returns the protocol of this name.

    Raises:
      ValueError: there is none, with a list of those that are.
    """
    return spelling.chosen("preset", PRESETS, name, NAMES)


def images(chosen: Preset) -> Images:
    """Returns the data.

    Raises:
      SystemExit: with the loader's one error, if the files are nowhere or damaged.
    """
    try:
        return chosen.load()
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from error


def default_steps(chosen: Preset, num_train: int) -> int:
    """Returns T, the steps of so many passes over the data."""
    return chosen.num_epochs * num_train // chosen.batch_size
