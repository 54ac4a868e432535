"""From a log-density to an approximation and a verdict, in one call."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from vi_jax import checks
from vi_jax.models.supports import Support
from vi_jax.models.unconstrained import Target, log_density, unconstrained
from vi_jax.posterior.climb import Attempt, Problem, best_of, climb
from vi_jax.posterior.diagnosis import Diagnosis, check_num_draws, diagnose
from vi_jax.posterior.findings import Finding
from vi_jax.posterior.gaussian import begin
from vi_jax.posterior.ladder import Rung, default_ladder
from vi_jax.posterior.parameters import reference_posterior
from vi_jax.posterior.start import check_start
from vi_jax.training.step import Prepare
from vi_jax.types import Guide, Params, PyTree


class Approximation(NamedTuple):
    """A posterior approximated, and how far to trust it. Printing it gives what was tried, the verdict and the table.

    Attributes:
      target: what was approximated.
      guide: over z `[D]`.
      params: `Params((), φ)`.
      diagnosis: draws, weights, moments, evidence and verdict.
      attempts: every rung that was tried, in order.
    """

    target: Target
    guide: Guide
    params: Params
    diagnosis: Diagnosis
    attempts: tuple[Attempt, ...]

    def __str__(self) -> str:
        """Returns what was tried, the verdict and the table of parameters."""
        tried = "\n".join(
            f"{a.name}: ELBO {a.elbo:.3f}, k̂ = {a.pareto_k:.2f}{', misses a mode' if a.missed else ''};"
            f" {'settled' if a.fit.settled else 'not settled'}: {a.fit.reason}"
            for a in self.attempts
        )
        return f"{tried}\n\n{self.diagnosis}"


def approximate(
    key: jax.Array,
    density: Callable[[PyTree], jax.Array],
    like: PyTree,
    supports: PyTree | Support | None = None,
    *,
    num_draws: int = 10_000,
    reference: Any = None,
) -> Approximation:
    """Approximates a posterior of which there is a log-density, and says whether to trust the result.

        approximation = vi.approximate(key, log_density, {"mu": 0.0, "sigma": 1.0}, {"sigma": supports.positive})
        print(approximation)

    It is `approximate_target` of `models.unconstrained(density, like, supports)`.

    Args:
      key: typed key, consumed.
      density: `parameters -> scalar` nats, up to a constant.
      like: example parameters inside their supports: where the search starts.
      supports: as of `models.unconstrained`.
      num_draws: S of the diagnosis.
      reference: as of `diagnose`.

    Raises:
      TypeError, ValueError: as `models.unconstrained` and `approximate_target`.
    """
    checks.check_key(key)
    return approximate_target(key, unconstrained(density, like, supports), num_draws=num_draws, reference=reference)


def approximate_target(
    key: jax.Array,
    target: Target,
    *,
    ladder: Sequence[Rung] | None = None,
    prepare: Prepare | None = None,
    num_draws: int = 10_000,
    reference: Any = None,
) -> Approximation:
    """Approximates a posterior by the first guide of a ladder that is good, or the best of them, and judges it.

    1. The log-density is checked at the start and beside it (`check_start`).
    2. Ascents from four starts find a Gaussian: Pathfinder's, Laplace's, or that of batch and match (`begin`).
    3. In coordinates in which that Gaussian is N(0, I), each rung's guide climbs the ELBO by sticking the landing,
       whose noise vanishes where the guide fits, at rates and for as long as `fit_until_settled` finds right.
    4. k̂ of S draws decides: below ½ the weights have a variance, and if that takes less than half of the draws the
       ladder ends, as it does where they are all but equal; else the next rung starts from this one's Gaussian. Where
       ascents have met modes that the guide excludes, a mixture with a component in each is fitted instead
       (`of_modes`). Kept is what misses none and is good, or has k̂ < .7, and of those the guide of the largest ELBO.
    5. Fresh draws are diagnosed.

    Price: up to 100 dimensions mostly compilation, half a minute or a minute on two CPU cores, and some thousands of
    steps of 16 gradients of the log-density for each rung, tens of thousands for a flow. O(D²) memory.

    Zhang et al. (arXiv:2108.03782); Cai et al. (arXiv:2402.14758); Roeder, Wu and Duvenaud (arXiv:1703.09194);
    Welandawe et al. (arXiv:2203.15945); Vehtari et al. (arXiv:1507.02646).

    Args:
      key: typed key, consumed.
      target: of `models.unconstrained` and its like.
      ladder: guides to try, plainest first; `posterior.default_ladder(D)` if None.
      prepare: run on the data of every step of a fit: `training.subsample(n)` for minibatches of a target with data.
        The ascents and the diagnosis see all of them.
      num_draws: S of the diagnosis.
      reference: as of `diagnose`.

    Returns:
      `Approximation`.

    Raises:
      TypeError, ValueError: log p or its gradient is not finite at the start, or the support of a parameter ends where
        it is not declared to; the ladder is empty; as `diagnose`.
    """
    checks.check_key(key)
    rungs = tuple(default_ladder(target.dim) if ladder is None else ladder)
    if not rungs:
        raise ValueError("ladder must name one rung at least, such as vi.posterior.full_rank.")
    num_draws = check_num_draws(num_draws)
    if reference is not None:
        reference_posterior(target, reference)  # A wrong one is an error now, and not after the fit.
    begin_key, climb_key, diagnosis_key = jax.random.split(key, 3)
    start = jnp.asarray(np.zeros(target.dim) if target.start is None else target.start, float)
    check_start(target, start)
    beginning = begin(begin_key, Partial(log_density(target)), start)
    attempts = climb(climb_key, Problem(target, beginning, num_draws, prepare), rungs)
    best = best_of(attempts)
    diagnosis = diagnose(
        diagnosis_key,
        target,
        best.guide,
        best.params,
        num_draws=num_draws,
        reference=reference,
        places=beginning.places,
        remarks=_remarks(best),
    )
    return Approximation(target, best.guide, best.params, diagnosis, attempts)


def _remarks(attempt: Attempt) -> list[Finding]:
    if attempt.fit.settled:
        return []
    return [Finding("unsettled", f"The fit did not settle: {attempt.fit.reason}", is_fatal=False)]
