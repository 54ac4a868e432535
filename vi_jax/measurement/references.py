"""What the gradient of a bound is, where nobody knows it exactly: measured well, on draws of its own."""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from vi_jax import estimators
from vi_jax.bounds import derivatives, iwae
from vi_jax.measurement.result import SweepResult
from vi_jax.measurement.stream import SweepState
from vi_jax.measurement.summary import Reference
from vi_jax.measurement.sweep import ReferenceFn, sweep
from vi_jax.names import name_of
from vi_jax.types import BoundFn, Estimator, Guide, Model, Params, PyTree


def unbiased_estimators(guide: Guide, bound: BoundFn) -> dict[str, Estimator]:
    """Returns the estimators of the library that are legal for a guide and unbiased for ∇E[L_K] of a bound, by name.

    Sticking the landing stands for the doubly reparameterized one where the two are the same, which is for the ELBO,
    and `leave_one_out` for `vimco_arithmetic`, which it equals for IWAE. One that is undefined at some K is among them.
    """
    landing = estimators.sticking_the_landing if derivatives.is_linear(bound) else estimators.doubly_reparameterized
    through_draws = (estimators.pathwise, landing) if guide.reparameterized else ()
    # The one that is for IWAE alone.
    of_iwae = (estimators.ovis,) if bound is iwae else ()
    rules = (*through_draws, estimators.leave_one_out, estimators.vimco, *of_iwae, estimators.score_function)
    return {name_of(rule): rule for rule in rules}


def reference_gradients(
    key: jax.Array,
    model: Model,
    guide: Guide,
    params: Params,
    x: PyTree,
    *,
    bounds: Mapping[str, BoundFn],
    num_samples: Sequence[int],
    num_replicates: int,
    groups_per_pool: int = 4,
    mesh: Mesh | None = None,
    progress: Callable[[int, int], None] | None = None,
    save: Callable[[SweepState], None] | None = None,
    resume: SweepState | None = None,
) -> ReferenceFn:
    """Measures the value and gradient of E[L_K] of some bounds at some K, as references for a sweep with another key.

    Each is the mean of the least noisy of two unbiased estimators, chosen for θ and for φ apart: pathwise and doubly
    reparameterized, or VIMCO and leave-one-out for a guide whose draws have no derivative (at K = 1 there is only the
    score function). A bound that is linear in log w, which is the ELBO, has one expectation at every K, and is measured
    at the largest. Standard errors come with the means, coordinate by coordinate.

    Args:
      key: a typed key, consumed. With the key of the sweep that is judged, the draws would judge themselves.
      model: as of `sweep`.
      guide: as of `sweep`.
      params: as of `sweep`.
      x: as of `sweep`.
      bounds: by name.
      num_samples: values of K, increasing.
      num_replicates: R pools of K_max draws.
      groups_per_pool: as of `sweep`: small K, whose gradients are noisier, get up to so many replicates of a pool.
      mesh: as of `sweep`.
      progress: `(done, total)` replicates.
      save: as of `sweep`.
      resume: as of `sweep`.

    Returns:
      `(name, K) -> Reference`; None where no unbiased estimator is defined.

    Raises:
      TypeError, ValueError: as `sweep`.
    """
    by_bound = {name: _anchors(guide, bound) for name, bound in bounds.items()}
    result = sweep(
        key,
        model,
        guide,
        params,
        x,
        objectives={
            f"{name}/{rule}": (bounds[name], estimator)
            for name, rules in by_bound.items()
            for rule, estimator in rules.items()
        },
        num_samples=num_samples,
        num_replicates=num_replicates,
        groups_per_pool=groups_per_pool,
        mesh=mesh,
        progress=progress,
        save=save,
        resume=resume,
    )

    def reference(name: str, size: int) -> Reference | None:
        size = max(result.num_samples) if derivatives.is_linear(bounds[name]) else size
        defined = [f"{name}/{rule}" for rule in by_bound[name] if (f"{name}/{rule}", size) not in result.undefined]
        return _best(result, defined, size) if defined else None

    return reference


def _anchors(guide: Guide, bound: BoundFn) -> dict[str, Estimator]:
    rules = unbiased_estimators(guide, bound)
    return dict(list(rules.items())[:2]) if guide.reparameterized else rules


def _best(result: SweepResult, names: list[str], size: int) -> Reference:
    """The mean of the least noisy objective of each block, and its standard errors."""
    k, rows = result.num_samples.index(size), [result.objectives.index(name) for name in names]
    count = result.num_replicates[k]
    noise = np.asarray(result.quantities.variance.value)[rows, k, 0]
    theta, phi = (rows[int(np.argmin(noise[:, block]))] for block in range(2))

    def chosen(tree: Params) -> Params:
        parts = zip(tree, (theta, phi), strict=True)
        return Params(*(jax.tree.map(lambda leaf, o=o: jnp.asarray(leaf[o, k, 0]), part) for part, o in parts))

    quantities = result.quantities
    return Reference(
        jnp.asarray(quantities.value.value[phi, k, 0]),
        chosen(result.mean),
        jnp.sqrt(quantities.value_variance.value[phi, k, 0] / count),
        jax.tree.map(lambda spread: jnp.sqrt(spread / count), chosen(result.variance)),
    )
