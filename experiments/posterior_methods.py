"""Ways to approximate a posterior: families of guides, objectives, and what needs neither."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

import vi_jax as vi
from vi_jax import bounds, estimators, guides, objectives, training
from vi_jax.posterior.ladder import flow, landing, moments, parameters
from vi_jax.training import Gaussian
from vi_jax.types import PyTree

NUM_DRAWS = 16
_NUM_COMPONENTS = 4


class Fitted(NamedTuple):
    """Where a method ended.

    Attributes:
      guide: over z `[D]`.
      params: `Params((), φ)`.
      num_gradients: of the log-density that the method took, at least, without the way to its start.
      note: how it ended, in words.
    """

    guide: vi.Guide
    params: vi.Params
    num_gradients: int
    note: str


class Family(NamedTuple):
    """A family of guides, in coordinates u about a Gaussian that is known.

    Attributes:
      guide: `D -> Guide` over u, which starts near N(0, I).
      rate: the first rate of its fit.
      coordinates: the known Gaussian -> that whose coordinates u are.
      elbo: `(model, guide) -> objective` of the reverse KL.
      watch: `guide over u -> Watch`: what has to come to rest. Numbers that can change without the law, as factors that
        rotate and weights of a network, never do.
    """

    guide: Callable[[int], vi.Guide]
    rate: float
    coordinates: Callable[[Gaussian], Gaussian]
    elbo: Callable[[vi.Model, vi.Guide], vi.Objective]
    watch: Callable[[vi.Guide], Callable[[vi.Params], jax.Array]] = parameters


class Aim(NamedTuple):
    """An objective.

    Attributes:
      objective: `(family, model, guide) -> objective`.
      state: `(key, guide, params, x) -> state` that it carries; () for most.
    """

    objective: Callable[[Family, vi.Model, vi.Guide], Any]
    state: Callable[[jax.Array, vi.Guide, vi.Params, PyTree], PyTree] = lambda key, guide, params, x: ()


def _own(gaussian: Gaussian) -> Gaussian:
    """The model's own coordinates, each in units of its scale given the others: mean field is the same family there."""
    phi = guides.mean_field_from_gaussian(*gaussian)
    return Gaussian(phi.loc, jnp.diag(jnp.exp(phi.log_scale)))


def _whitened(gaussian: Gaussian) -> Gaussian:
    return gaussian


def _by(bound: vi.BoundFn, estimator: vi.Estimator) -> Callable[[vi.Model, vi.Guide], vi.Objective]:
    return lambda model, guide: vi.value_and_grad(model, guide, bound, estimator, num_samples=NUM_DRAWS)


def _stratified(model: vi.Model, guide: vi.Guide) -> vi.Objective:
    return objectives.stratified(model, guide, num_samples=NUM_DRAWS // _NUM_COMPONENTS)


def _low_rank(dim: int) -> vi.Guide:
    return guides.low_rank(dim, min(2, dim - 1))


def _mixture(dim: int) -> vi.Guide:
    return guides.gaussian_mixture(dim, _NUM_COMPONENTS)


def _closed(guide: vi.Guide) -> Callable[[vi.Params], jax.Array]:
    """Means and log standard deviations, of a guide that has them in closed form."""

    def watch(params: vi.Params) -> jax.Array:
        q = guide.distribution(params.phi, jnp.zeros(1))
        return jnp.concatenate([q.mean(), jnp.log(q.stddev())])

    return watch


FAMILIES: Mapping[str, Family] = {
    "mean-field": Family(guides.mean_field, 0.1, _own, landing),
    "mean-field-whitened": Family(guides.mean_field, 0.1, _whitened, landing),
    "low-rank": Family(_low_rank, 0.1, _own, landing, _closed),
    "full-rank": Family(guides.full_rank, 0.1, _whitened, landing),
    "mixture": Family(_mixture, 0.1, _whitened, _stratified, _closed),
    "flow": Family(flow.guide, flow.rate, _whitened, flow.objective, flow.watch),
    "spline-flow": Family(guides.spline_flow, 0.01, _whitened, landing, moments),
}
"""By name. "mean-field" and "low-rank" are those of the model's own coordinates; the others of whitened ones."""


def _of(bound: vi.BoundFn, estimator: vi.Estimator) -> Aim:
    return Aim(lambda family, model, guide: _by(bound, estimator)(model, guide))


_DREG = estimators.doubly_reparameterized

OBJECTIVES: Mapping[str, Aim] = {
    "reverse-kl": Aim(lambda family, model, guide: family.elbo(model, guide)),
    "iwae": _of(bounds.iwae, _DREG),
    "renyi": _of(bounds.renyi(0.5), _DREG),
    "chi": _of(bounds.cubo(2), estimators.minimized(_DREG)),
    "wake-phi": _of(bounds.iwae, estimators.wake_phi),
    "score-climbing": Aim(
        lambda family, model, guide: objectives.score_climbing(model, guide, num_samples=NUM_DRAWS),
        objectives.start_chain,
    ),
}
"""By name, each of 16 draws a step: the ELBO; IWAE; Rényi's bound, α = ½; CUBO₂, minimised; forward KL twice."""


def climb(
    key: jax.Array, target: vi.models.Target, start: Gaussian, family: str, objective: str, *, max_stages: int
) -> Fitted:
    """Fits a guide of a family to an objective by `fit_until_settled`, from a Gaussian that is known.

    Whatever the objective, the fit has settled when the ELBO has: where an objective's own optimum is another, the ELBO
    says just as well that the parameters have stopped moving.
    """
    chosen, aim = FAMILIES[family], OBJECTIVES[objective]
    init_key, state_key, fit_key = jax.random.split(key, 3)
    inner = chosen.guide(target.dim)
    guide = guides.preconditioned(inner, *chosen.coordinates(start))
    params = vi.Params((), guide.init(init_key))
    fit = training.fit_until_settled(
        fit_key,
        aim.objective(chosen, target.model, guide),
        params,
        target.x,
        score=training.log_weight_score(target.model, guide),
        first_rate=chosen.rate,
        max_stages=max_stages,
        watch=chosen.watch(inner),
        extra=aim.state(state_key, guide, params, target.x),
    )
    num_steps = sum(stage.num_steps for stage in fit.stages)
    return Fitted(guide, fit.params, num_steps * NUM_DRAWS, fit.reason)


def _gaussian(gaussian: Gaussian, num_gradients: int, note: str) -> Fitted:
    phi = guides.full_rank_from_gaussian(*gaussian)
    return Fitted(guides.full_rank(gaussian.loc.size), vi.Params((), phi), num_gradients, note)


def laplace(key: jax.Array, target: vi.models.Target, start: Gaussian) -> Fitted:
    """Laplace's approximation at the mode above the target's start."""
    del key, start
    density = vi.models.log_density(target)
    modes = jax.jit(lambda z: training.find_modes(density, z[None]))(jnp.asarray(target.start, float))
    found = jax.jit(lambda z: training.laplace(density, z))(modes.location[0])
    repaired = int(found.num_repaired)
    note = (
        "at a mode" if bool(modes.converged[0]) and not repaired else f"no mode found, {repaired} curvatures repaired"
    )
    return _gaussian(found.gaussian, int(modes.num_steps[0]) + target.dim, note)


def pathfinder(key: jax.Array, target: vi.models.Target, start: Gaussian) -> Fitted:
    """Pathfinder's best Gaussian of four paths, from the target's start and from three points about it."""
    del start
    start_key, key = jax.random.split(key)
    begin = jnp.asarray(target.start, float)
    nearby = begin + jax.random.uniform(start_key, (3, target.dim), minval=-2, maxval=2)
    found = training.pathfinder(key, Partial(vi.models.log_density(target)), jnp.concatenate([begin[None], nearby]))
    best = int(found.best)
    note = f"iterate {int(found.chosen[best])} of {int(found.num_steps[best])}"
    return _gaussian(jax.tree.map(lambda leaf: leaf[best], found.gaussian), int(found.num_steps.sum()), note)


def matched(key: jax.Array, target: vi.models.Target, start: Gaussian) -> Fitted:
    """Batch and match from the known Gaussian."""
    found = training.batch_and_match(key, Partial(vi.models.log_density(target)), start)
    num_gradients = found.elbo.size * max(2 * target.dim, 10)
    return _gaussian(found.gaussian, num_gradients, f"{int(found.num_skipped)} updates skipped")


def deterministic(key: jax.Array, target: vi.models.Target, start: Gaussian) -> Fitted:
    """Mean field on fixed draws, in the model's own coordinates."""
    own = _own(start)
    density = vi.models.log_density(target)
    zeros = jnp.zeros(target.dim)

    def within(u: jax.Array) -> jax.Array:
        return density(own.loc + own.scale_tril @ u)

    num_draws = 100
    found = training.fit_deterministic(key, within, guides.MeanField(zeros, zeros), num_draws=num_draws)
    guide = guides.preconditioned(guides.mean_field(target.dim), *own)
    note = f"{'converged' if bool(found.converged) else 'not converged'}, optimism {float(found.optimism):.3f} nats"
    return Fitted(guide, vi.Params((), found.phi), int(found.num_steps) * num_draws, note)


ALONE: Mapping[str, tuple[str, Callable[[jax.Array, vi.models.Target, Gaussian], Fitted]]] = {
    "laplace": ("full-rank", laplace),
    "pathfinder": ("full-rank", pathfinder),
    "batch-and-match": ("full-rank", matched),
    "deterministic": ("mean-field", deterministic),
}
"""By name: the family of the result, and the method. "deterministic" is DADVI."""


def check(method: str) -> None:
    """Raises ValueError unless "GUIDE/OBJECTIVE" is a family and an objective, or a method alone and its family."""
    guide, _, objective = method.partition("/")
    is_pair = guide in FAMILIES and objective in OBJECTIVES
    if not (is_pair or ALONE.get(objective, ("",))[0] == guide):
        pairs = ", ".join(f"{family}/{name}" for name, (family, _) in ALONE.items())
        raise ValueError(
            f"there is no method {method!r}: take GUIDE/OBJECTIVE with one of {', '.join(FAMILIES)} and one of "
            f"{', '.join(OBJECTIVES)}; or {pairs}."
        )
