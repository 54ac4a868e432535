"""The models of the library by name, each with a guide that fits it, parameters and data: what a sweep can be run on.

Everything is deterministic and belongs to the name, so that numbers of two days compare: a key of its own makes data
and parameters, and the seed of an experiment moves the draws alone. Parameters are near where training would end, but
not there, at the optimum plus N(0, 0.01²) or as each row says: at the optimum itself the gradient is zero, and a
signal-to-noise ratio with it.

    python -m experiments.zoo                                     the list, with sizes
    python -m experiments.sweep --model ppca --bounds elbo iwae
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from jax.scipy.special import digamma, polygamma
from rich.console import Console

import vi_jax as vi
from experiments import spelling, tables
from vi_jax.data import binarize, digits, digits_split
from vi_jax.models import EYE_COLOURS, THREE_STATES, DiagonalOptimum, ExactModel, FactorAnalysis, MixtureParams

T = TypeVar("T")

SCALE = 0.01
"""Standard deviation of what is added to optimal parameters."""


class Problem(NamedTuple):
    """What `vi.sweep` takes, in its order, and the exact answers where the model has them.

    Attributes:
      model: log p(x, z; θ).
      guide: q(z | x; φ).
      params: θ and φ.
      x: data, leaves `[B, ...]`.
      exact: the model with evidence and posterior, or None.
    """

    model: vi.Model
    guide: vi.Guide
    params: vi.Params
    x: Any
    exact: ExactModel | None


class Entry(NamedTuple):
    """A row of the zoo.

    Attributes:
      about: model, guide, and where the parameters are.
      make: `key -> Problem`.
    """

    about: str
    make: Callable[[jax.Array], Problem]


@functools.cache
def problem(name: str) -> Problem:
    """Returns the problem of this name, the same object each time: programs are compiled per function.

    Raises:
      ValueError: there is none, with a list of those that are.
    """
    entry = spelling.chosen("model", ZOO, name, ", ".join(ZOO))
    return entry.make(jax.random.fold_in(jax.random.key(0), list(ZOO).index(name)))


def perturbed(key: jax.Array, params: T, scale: float = SCALE) -> T:
    """Adds N(0, scale²) noise to every parameter."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves)) if leaves else []
    noisy = [leaf + scale * jax.random.normal(k, leaf.shape, leaf.dtype) for leaf, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(structure, noisy)


def posed(exact: ExactModel, guide: vi.Guide, params: vi.Params, x: Any) -> Problem:
    """Returns the problem of a model with exact answers."""
    return Problem(exact.model, guide, params, x, exact)


# --- tables and other finite latents ----------------------------------------------------------------------------------


def three_states(key: jax.Array) -> Problem:
    """One datum and three values of z: every K-tuple of draws can be listed."""
    exact = vi.models.table(THREE_STATES)
    return posed(
        exact,
        vi.guides.categorical(3),
        vi.Params(exact.model.init(key), jnp.array([0.1, -0.4, 0.3])),
        jnp.zeros(1, int),
    )


def eye_colours(key: jax.Array) -> Problem:
    """Three data that share one q(z) over eight values."""
    exact = vi.models.normalized_table(EYE_COLOURS.cells)
    # A cell of zero has no finite logarithm to be moved.
    return posed(exact, vi.guides.categorical(8), vi.Params(exact.model.init(key), jnp.zeros(8)), jnp.arange(3))


def labels(key: jax.Array) -> Problem:
    """Three components in the plane, and the label of one datum between them."""
    exact = vi.models.mixture_labels(3, 2)
    theta = MixtureParams(jnp.zeros(3), jnp.array([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.5]]), jnp.zeros((3, 2)))
    return posed(exact, vi.guides.categorical(3), vi.Params(theta, jnp.zeros(3)), jnp.array([[0.3, 0.2]]))


def weights_of_a_mixture(key: jax.Array) -> Problem:
    """Le et al. 2018 (arXiv:1805.10469): eight data of twenty components, true weights, an encoder at its start."""
    theta_key, phi_key, data_key = jax.random.split(key, 3)
    exact, guide = vi.models.mixture_weights(), vi.guides.categorical_encoder(1, 20, hidden=(16, 16))
    theta = jnp.asarray(vi.models.TRUE_MIXTURE_LOGITS, float)
    sample = exact.model.sample
    assert sample is not None, "the mixture can be sampled"
    x = jax.vmap(lambda key: sample(key, theta)[0])(jax.random.split(data_key, 8))
    return posed(exact, guide, vi.Params(perturbed(theta_key, theta), guide.init(phi_key)), x)


def image_mixture(key: jax.Array) -> Problem:
    """Ten components around the mean digit, and the label of one digit."""
    split = digits_split()
    exact = vi.models.bernoulli_mixture(10, 64, mean=split.train.mean(axis=0))
    theta = exact.model.init(key)
    # Components as far apart as `init` makes them would leave one of ten possible.
    theta = theta._replace(pixel_logits=theta.pixel_logits.mean(axis=0) + 0.2 * theta.pixel_logits)
    return posed(exact, vi.guides.categorical(10), vi.Params(theta, jnp.zeros(10)), split.test[:1])


def belief_net(key: jax.Array) -> Problem:
    """Eight binary causes of a binarized digit, after 500 steps of VIMCO."""
    split = digits_split()
    exact = vi.models.sigmoid_belief_net(8, 64, mean=split.train.mean(axis=0))
    guide = vi.guides.bernoulli_encoder(64, 8, hidden=())
    objective = vi.value_and_grad(exact.model, guide, vi.bounds.iwae, vi.estimators.vimco, num_samples=8)
    params = trained(key, exact.model, guide, objective, split.train, num_steps=500, rate=0.01)
    return posed(exact, guide, params, split.test[:4])


def boltzmann(key: jax.Array) -> Problem:
    """Eight binary units whose exact posterior, σ(a + Wᵀx), is in the guide's family."""
    split, (weight_key, guide_key) = digits_split(), jax.random.split(key)
    exact = vi.models.restricted_boltzmann_machine(8, 64)
    theta = exact.model.init(weight_key)
    theta = theta._replace(W=10 * theta.W)
    guide = vi.guides.bernoulli_encoder(64, 8, hidden=())
    phi = {"logits": {"kernel": theta.W, "bias": theta.a}}
    return posed(exact, guide, vi.Params(theta, perturbed(guide_key, phi, 0.1)), split.test[:4])


# --- Gaussians --------------------------------------------------------------------------------------------------------


def toy(key: jax.Array) -> Problem:
    """Rainforth et al. 2018 (arXiv:1802.04537): D = 20, sixteen data, a guide that cannot match."""
    theta_key, data_key, noise_key = jax.random.split(key, 3)
    exact = vi.models.linear_gaussian(20)
    theta = exact.model.init(theta_key)
    # p(x) = N(μ, 2 I).
    x = theta + 2**0.5 * jax.random.normal(data_key, (16, 20))
    mu, A, b = vi.models.linear_gaussian_optimum(x)
    params = vi.Params(mu, vi.guides.Affine(A, b))
    return posed(exact, vi.guides.affine(20, 20, variance=2 / 3), perturbed(noise_key, params), x)


def gaussian_mean(key: jax.Array) -> Problem:
    """Four observations of one mean; q = N(0, 1), far from the posterior N(0.35, 0.32)."""
    exact, guide = vi.models.gaussian_mean(4, prior_mean=0.1, prior_variance=2.0, variance=1.5), vi.guides.mean_field(1)
    return posed(exact, guide, vi.Params(exact.model.init(key), guide.init(key)), jnp.array([[0.5, -1.2, 2.0, 0.3]]))


def normal_gamma(key: jax.Array) -> Problem:
    """Twenty observations of mean and log-precision together; q has the posterior's means and variances."""
    exact, x = vi.models.normal_gamma(20), 1.0 + 0.5 * jax.random.normal(key, (1, 20))
    theta = exact.model.init(jax.random.fold_in(key, 1))
    after = exact.posterior(theta, x[0])
    loc = jnp.stack([after.loc, digamma(after.shape) - jnp.log(after.rate)])
    variance = jnp.stack([after.rate / (after.shape - 1) / after.counts, polygamma(1, after.shape)])
    phi = vi.guides.FullRank(loc, jnp.log(variance) / 2, jnp.zeros(1))
    return posed(exact, vi.guides.full_rank(2), perturbed(key, vi.Params(theta, phi)), x)


def principal_components(key: jax.Array) -> Problem:
    """Digits at maximum likelihood, five latents; a linear encoder at the best independent Gaussian."""
    images = varying_pixels()
    exact = vi.models.ppca(5, images.shape[1])
    theta = vi.models.ppca_maximum_likelihood(images, 5)
    return linear_encoding(key, exact, theta, images[:8])


def factors(key: jax.Array) -> Problem:
    """As `ppca`, with a noise of its own for each pixel: what the five components leave of its variance."""
    images = varying_pixels()
    exact = vi.models.factor_analysis(5, images.shape[1])
    theta = vi.models.ppca_maximum_likelihood(images, 5)
    left = jnp.var(images, axis=0) - jnp.sum(theta.loadings**2, axis=1)
    return linear_encoding(key, exact, theta._replace(log_noise=jnp.log(jnp.maximum(left, 0.005))), images[:8])


def linear_encoding(key: jax.Array, exact: ExactModel, theta: FactorAnalysis, x: jax.Array) -> Problem:
    """Gives a factor model the linear encoder of the best independent Gaussian, and moves both a little."""
    dim = theta.loadings.shape[1]
    weighted = theta.loadings / jnp.broadcast_to(jnp.exp(theta.log_noise), theta.mean.shape)[:, None]
    precision = jnp.eye(dim) + weighted.T @ theta.loadings
    kernel = jnp.linalg.solve(precision, weighted.T).T
    phi = {
        "loc": {"kernel": kernel, "bias": -theta.mean @ kernel},
        "log_scale": {"kernel": jnp.zeros_like(kernel), "bias": -jnp.log(jnp.diag(precision)) / 2},
    }
    guide = vi.guides.gaussian_encoder(x.shape[1], dim, hidden=())
    return posed(exact, guide, perturbed(key, vi.Params(theta, phi)), x)


def varying_pixels() -> jax.Array:
    """Returns the digits without the three pixels that are always 0, `[1797, 61]`."""
    images = np.asarray(digits())
    return jnp.asarray(images[:, images.std(axis=0) > 0])


# --- densities over z alone -------------------------------------------------------------------------------------------


def density(exact: ExactModel, guide: vi.Guide, phi: Any) -> Callable[[jax.Array], Problem]:
    """Returns how to pose a target: no θ, and one datum that is ignored."""
    # As an array of no numbers, which every sum over leaves can take.
    none = jnp.zeros(0)
    model = vi.Model(lambda key: none, lambda theta, x, z: exact.model.log_joint((), x, z))
    answers = ExactModel(model, lambda theta, x: exact.log_evidence((), x), lambda theta, x: exact.posterior((), x))
    return lambda key: posed(answers, guide, perturbed(key, vi.Params(none, phi)), jnp.zeros((1, 1)))


def mean_field(mean: list[float], variance: list[float]) -> vi.guides.MeanField:
    """Returns φ of these means and variances."""
    return vi.guides.MeanField(jnp.array(mean), jnp.log(jnp.array(variance)) / 2)


def correlated(key: jax.Array) -> Problem:
    """Correlation 0.9; the mean-field optimum of reverse KL has variances 1 − 0.9²."""
    exact = vi.models.gaussian_target(np.zeros(2), np.array([[1.0, 0.9], [0.9, 1.0]]))
    return density(exact, vi.guides.mean_field(2), mean_field([0.0, 0.0], [0.19, 0.19]))(key)


def two_modes(key: jax.Array) -> Problem:
    """Half N(−2, 1), half N(2, 1); the Gaussian nearest in reverse KL is N(0, 4.19)."""
    exact = vi.models.gaussian_mixture(np.full(2, 0.5), np.array([[-2.0], [2.0]]), np.ones((2, 1, 1)))
    return density(exact, vi.guides.mean_field(1), mean_field([0.0], [4.1902]))(key)


def skewed(key: jax.Array) -> Problem:
    """The Gumbel density; the Gaussian nearest in reverse KL is N(½, 1)."""
    return density(vi.models.gumbel_target(), vi.guides.mean_field(1), mean_field([0.5], [1.0]))(key)


def heavy_tailed(key: jax.Array) -> Problem:
    """Student's t with five degrees of freedom; q = N(0, 1.2) has the lighter tails, and infinite Var(w)."""
    return density(vi.models.student_t_target(5.0), vi.guides.mean_field(1), mean_field([0.0], [1.2]))(key)


def funnel(key: jax.Array) -> Problem:
    """Neal's funnel in ten dimensions, at the best independent Gaussian."""
    return at_optimum(vi.models.funnel(10), vi.models.funnel_optimum(10))(key)


def banana(key: jax.Array) -> Problem:
    """A banana in the plane, at the best independent Gaussian."""
    return at_optimum(vi.models.banana(), vi.models.banana_optimum())(key)


def at_optimum(exact: ExactModel, optimum: DiagonalOptimum) -> Callable[[jax.Array], Problem]:
    """Returns how to pose a target to a mean-field guide near its own optimum."""
    phi = vi.guides.MeanField(optimum.loc, jnp.log(optimum.scale))
    return density(exact, vi.guides.mean_field(optimum.loc.size), phi)


# --- networks ---------------------------------------------------------------------------------------------------------


def autoencoder(key: jax.Array) -> Problem:
    """64-100-100-10 and back, after 2000 steps of the ELBO on binarized digits; eight digits of the test set."""
    split = digits_split()
    model = vi.models.bernoulli_decoder(10, 64, mean=split.train.mean(axis=0))
    guide = vi.guides.gaussian_encoder(64, 10)
    objective = vi.value_and_grad(model, guide, vi.bounds.elbo, vi.estimators.pathwise, num_samples=1)
    params = trained(key, model, guide, objective, split.train, num_steps=2000, rate=1e-3)
    return Problem(model, guide, params, split.test[:8], None)


def trained(
    key: jax.Array, model: vi.Model, guide: vi.Guide, objective: vi.Objective, images: jax.Array, *, num_steps, rate
) -> vi.Params:
    """Returns parameters after a short training by Adam, on minibatches of 50 digits binarized anew."""
    start = vi.Params(model.init(key), guide.init(jax.random.fold_in(key, 1)))
    return vi.fit(
        jax.random.fold_in(key, 2),
        objective,
        optax.adam(rate),
        start,
        images,
        num_steps=num_steps,
        batch_size=50,
        prepare=binarize,
    )[0].params


ZOO: dict[str, Entry] = {
    "table": Entry("three states; categorical", three_states),
    "eye-colours": Entry("a table of 24 cells; categorical", eye_colours),
    "mixture": Entry("label of a mixture; categorical", labels),
    "bernoulli-mixture": Entry("label of a digit; categorical", image_mixture),
    "belief-net": Entry("binary causes of digits; encoder", belief_net),
    "boltzmann": Entry("binary units of digits; encoder", boltzmann),
    "toy": Entry("linear-Gaussian, D = 20; affine", toy),
    "gaussian-mean": Entry("mean of four numbers; mean field", gaussian_mean),
    "normal-gamma": Entry("mean, log-precision; full rank", normal_gamma),
    "ppca": Entry("PCA of digits; linear encoder", principal_components),
    "factor-analysis": Entry("factors of digits; linear encoder", factors),
    "correlated": Entry("Gaussian; mean field", correlated),
    "two-modes": Entry("Gaussian mixture; mean field", two_modes),
    "skewed": Entry("Gumbel density; mean field", skewed),
    "heavy-tailed": Entry("Student's t; mean field", heavy_tailed),
    "digits-vae": Entry("network of digits; encoder", autoencoder),
    "mixture-weights": Entry("twenty Gaussians; encoder", weights_of_a_mixture),
    "funnel": Entry("Neal's funnel, D = 10; mean field", funnel),
    "banana": Entry("a banana, D = 2; mean field", banana),
}
"""Order matters: the place of a row is its key. Append."""


def listing() -> pd.DataFrame:
    """Returns a row per model: what it is, and the sizes of its data and parameters."""
    return pd.DataFrame([sizes(name, entry, problem(name)) for name, entry in ZOO.items()])


def sizes(name: str, entry: Entry, posed: Problem) -> dict[str, Any]:
    """Returns the row of one model."""
    theta, phi = (sum(leaf.size for leaf in jax.tree.leaves(part)) for part in posed.params)
    exact = "–" if posed.exact is None else "log p"
    return {"model": name, "what": entry.about, "B": len(posed.x), "θ": theta, "φ": phi, "exact": exact}


if __name__ == "__main__":
    tables.show(listing(), Console())
