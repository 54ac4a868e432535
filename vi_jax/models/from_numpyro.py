"""A NumPyro model as a target: by its own transforms to unconstrained space and its own log-density."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from vi_jax import checks
from vi_jax.models.unconstrained import Target
from vi_jax.shapes import check_shape
from vi_jax.types import Model, PyTree


def from_numpyro(model: Callable[..., Any], *args: Any, key: jax.Array, **kwargs: Any) -> Target:
    """Makes a target of the latent sites of a NumPyro model, conditioned on those with `obs=`.

        log_joint((), x, z) = −potential_energy(z) = log p(sites, observed) + log |det ∂T/∂z|,   T = biject_to(support)

    The parameters are the dict `site -> value`. Deterministic sites are no parameters:
    `numpyro.infer.Predictive(model, posterior_samples)` gives them, for draws of these. Phan, Pradhan and Jankowiak,
    "Composable Effects for Flexible and Accelerated Probabilistic Programming in NumPyro" (arXiv:1912.11554).

    Args:
      model: a function with NumPyro's primitives.
      *args: of the model, its data among them: they become constants of the log-density.
      key: for one run of the model, which finds its sites.
      **kwargs: of the model.

    Returns:
      The target; it starts at z = 0, the centre of NumPyro's own `init_to_uniform`.

    Raises:
      ModuleNotFoundError: NumPyro is not installed.
      TypeError, ValueError: `key` is no typed key; a latent site is discrete, has a point mass or is of `param` type; a
        plate is subsampled; there is no latent site.
    """
    checks.check_key(key)
    try:
        from numpyro.handlers import seed, trace
        from numpyro.infer.util import constrain_fn, potential_energy, unconstrain_fn
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("numpyro is not installed: pip install 'vi-jax[numpyro]'") from error

    def seeded(*args: Any, **kwargs: Any) -> Any:
        # Anew for every run, since the handler keeps count of its draws.
        return seed(model, key)(*args, **kwargs)

    example = _latents(trace(seeded).get_trace(*args, **kwargs))
    start, unravel = ravel_pytree(unconstrain_fn(seeded, args, kwargs, example))

    def log_joint(theta: tuple[()], x: PyTree, z: jax.Array) -> jax.Array:
        del theta, x
        return -jnp.asarray(potential_energy(seeded, args, kwargs, unravel(check_shape("z", z, start.shape))))

    def constrain(z: jax.Array) -> dict[str, jax.Array]:
        return constrain_fn(seeded, args, kwargs, unravel(check_shape("z", z, start.shape)))

    def unconstrain(parameters: Mapping[str, jax.Array]) -> jax.Array:
        return ravel_pytree(unconstrain_fn(seeded, args, kwargs, dict(parameters)))[0]

    model_of_z, names = Model(lambda key: (), log_joint), _names(example)
    return Target(model_of_z, np.zeros((1, 1)), len(start), constrain, unconstrain, names, np.zeros(len(start)))


def _latents(sites: Mapping[str, Mapping[str, Any]]) -> dict[str, jax.Array]:
    """The values of the latent sites; refuses what has no density over unconstrained numbers."""
    found = {}
    for name, site in sites.items():
        if site["type"] == "plate" and site["args"][1] not in (None, site["args"][0]):
            raise ValueError(
                f"plate {name!r} takes {site['args'][1]} of {site['args'][0]} data: leave out its subsample_size. For"
                " minibatches write the likelihood of one datum for models.unconstrained_with_data."
            )
        if site["type"] == "param":
            raise ValueError(f"site {name!r} is a param, without a prior: make it a sample, or fix it by substitute.")
        if site["type"] != "sample" or site["is_observed"]:
            continue
        if site["fn"].support.is_discrete:
            raise ValueError(f"site {name!r} is discrete and latent: sum it out, as MixtureSameFamily does.")
        if type(site["fn"]).__name__ == "Delta":
            raise ValueError(f"site {name!r} is a point mass: make it numpyro.deterministic.")
        found[name] = site["value"]
    if not found:
        raise ValueError("the model has no latent site: each of its samples is observed, or there is none.")
    return found


def _names(example: Mapping[str, jax.Array]) -> tuple[str, ...]:
    """In the order of `ravel_pytree`, which sorts the sites."""
    names = []
    for site in sorted(example):
        indices = (",".join(map(str, axis)) for axis in np.ndindex(jnp.shape(example[site])))
        names += [f"{site}[{index}]" if index else site for index in indices]
    return tuple(names)
