"""Operators on estimators: another sign for φ, another bound for φ."""

from collections.abc import Iterable

import jax
import jax.numpy as jnp

from vi_jax import bounds
from vi_jax.estimators.definition import Rule, Tolerance, tolerance, with_tolerance
from vi_jax.estimators.forward_kl import wake_phi, wake_phi_doubly_reparameterized
from vi_jax.estimators.reparameterized import pathwise
from vi_jax.names import name_of, named
from vi_jax.types import BoundFn, CoefficientFn, Coefficients, Estimator


def minimized(estimator_: Estimator) -> Estimator:
    """Descends the bound in φ, and ascends it in θ as before.

        path ← −path,  score ← −score

    For an upper bound, tightest where it is smallest: `cubo`, `thermodynamic_upper`, `eubo`; and for a divergence:
    `f_divergence`, `log_variance`. Unbiased for minus the gradient in φ where the estimator it is given is unbiased for
    the gradient; the same price.

    Raises:
      ValueError: of `wake_phi` and its reparameterized form, whose φ follows the forward divergence whichever bound is
        named, and would climb it.
    """
    if estimator_ in (wake_phi, wake_phi_doubly_reparameterized):
        name = name_of(estimator_)
        raise ValueError(
            f"minimized({name}) would climb the forward divergence, which {name} descends whatever the bound: use "
            f"{name} itself."
        )

    def of_bound(bound: BoundFn) -> CoefficientFn:
        coefficients = estimator_(bound)

        def descending(log_w: jax.Array) -> Coefficients:
            model, path, score, ratio = coefficients(log_w)
            # 0.0 stays 0.0: no path. 1.0 is no longer true, and says so with an array.
            if type(ratio) is float and ratio != 0:
                ratio = jnp.full_like(model, ratio)
            return Coefficients(model, -path, -score, ratio if ratio is None or type(ratio) is float else -ratio)

        return descending

    return with_tolerance(named(of_bound, f"minimized({name_of(estimator_)})"), tolerance(estimator_))


def split(theta: tuple[BoundFn, Estimator], phi: tuple[BoundFn, Estimator]) -> Estimator:
    """Lets θ follow one bound and φ another, with an estimator each, on the same draws.

        model from theta;   path and score from phi

    The bound that `value_and_grad` is given beside it is reported as the value, and followed by nothing. Each half is
    as unbiased as it is alone. Two backward passes where φ takes derivatives through the draws.

    Args:
      theta: (bound, estimator) for θ.
      phi: (bound, estimator) for φ.

    Returns:
      An estimator.
    """
    of_theta, of_phi = (rule(bound) for bound, rule in (theta, phi))

    def of_bound(bound: BoundFn) -> CoefficientFn:
        del bound

        def joined(log_w: jax.Array) -> Coefficients:
            _, path, score, ratio = of_phi(log_w)
            return Coefficients(
                of_theta(log_w).model, path, score, 0.0 if type(ratio) is float and ratio == 0 else None
            )

        return joined

    # θ̄ is the derivative at fixed draws, and asks nothing of their dependence.
    survives = Tolerance(
        _of_bound(phi[0], tolerance(phi[1]).dependent_draws),
        _both(_of_bound(part, tolerance(rule).scaled_likelihood) for part, rule in (theta, phi)),
    )
    return with_tolerance(named(of_bound, f"split(theta={name_of(theta[1])}, phi={name_of(phi[1])})"), survives)


def piwae(num_groups: int, estimator_: Estimator = pathwise) -> Estimator:
    """Partially importance-weighted: θ follows its bound over all draws, and φ follows `miwae(num_groups)`.

    θ gains from every draw, while φ keeps the signal-to-noise ratio of small groups. Price: that of `split`.

    Rainforth et al., "Tighter Variational Bounds are Not Necessarily Better" (arXiv:1802.04537).

    Args:
      num_groups: M, which divides K.
      estimator_: for both halves.
    """
    grouped = bounds.miwae(num_groups)

    def of_bound(bound: BoundFn) -> CoefficientFn:
        return split(theta=(bound, estimator_), phi=(grouped, estimator_))(bound)

    survives = Tolerance(dependent_draws=_of_bound(grouped, tolerance(estimator_).dependent_draws))
    return with_tolerance(named(of_bound, f"piwae({num_groups}, {name_of(estimator_)})"), survives)


def _of_bound(own: BoundFn, rule: Rule) -> Rule:
    """The rule asked of one bound, whichever is named beside it."""
    return lambda bound: rule(own)


def _both(rules: Iterable[Rule]) -> Rule:
    kept = tuple(rules)
    return lambda bound: all(rule(bound) for rule in kept)
