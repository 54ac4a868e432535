"""Which pairs of bound and estimator are legal for a guide, a model and K draws; and what is, where one is not.

A pair is refused where its claim would fail without a sign of it: a derivative through draws that have none, a baseline
that needs a second draw, a score of one draw where draws depend on each other, a likelihood scaled by N/n inside a
logarithm. The error names both halves and the pairs beside it that are legal.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from vi_jax import bounds, estimators
from vi_jax.estimators.definition import tolerance, zero_where_impossible
from vi_jax.names import name_of
from vi_jax.pullback import Form, choose_form
from vi_jax.types import BoundFn, CoefficientFn, Estimator, Guide, Model, PyTree

LIBRARY: tuple[Estimator, ...] = (
    estimators.pathwise,
    estimators.sticking_the_landing,
    estimators.doubly_reparameterized,
    estimators.score_function,
    estimators.leave_one_out,
    estimators.vimco,
    estimators.vimco_arithmetic,
    estimators.ovis,
    estimators.wake_phi,
    estimators.wake_phi_doubly_reparameterized,
)

# Automatic derivatives of a bound take O(K²): beyond this K what an estimator says of its ratio is believed.
_MOST_PROBED = 64


def check_pair(
    guide: Guide, bound: BoundFn, estimator: Estimator, num_samples: int, coefficients: CoefficientFn | None = None
) -> Form:
    """Returns the form of pullback that a legal pair needs.

    Args:
      guide: the guide.
      bound: the bound.
      estimator: the estimator.
      num_samples: K.
      coefficients: what the estimator makes of the bound, where the caller has it already.

    Raises:
      ValueError: the pair is illegal for this guide and K; naming both halves, the reason, and what is legal. Or an
        estimator that is not the library's gives a path that is not its ratio times model.
    """
    try:
        form = _form(guide, bound, estimator, num_samples, coefficients)
    except ValueError as error:
        raise ValueError(f"{error} {_advice(guide, bound, num_samples)}") from error
    module = getattr(estimator, "__module__", None) or ""
    if not module.startswith("vi_jax."):  # tests answer for the library's
        _check_ratio(bound, estimator, num_samples)
    return form


def check_scale(model: Model, guide: Guide, x: PyTree, bound: BoundFn, estimator: Estimator, num_samples: int) -> None:
    """Raises `ValueError` for a pair that a likelihood scaled by N/n does not survive, when x holds n < N data.

    Args:
      model: says by `likelihood_scale` whether it scales.
      guide: the guide, for which the pair is legal.
      x: a batch; the leaves of one of its data have n rows.
      bound: the bound.
      estimator: the estimator.
      num_samples: K.
    """
    if is_scaled(model, x) and not tolerance(estimator).scaled_likelihood(bound):
        legal = [
            name_of(rule)
            for rule in LIBRARY
            if _is_legal(guide, bounds.elbo, rule, num_samples) and tolerance(rule).scaled_likelihood(bounds.elbo)
        ]
        raise ValueError(
            f"{name_of(bound)} with {name_of(estimator)} needs the log joint of all data, and the model scales "
            "the likelihood of a minibatch: N/n inside a logarithm or a self-normalised weight is no bound. Pass all N "
            f"data, or take elbo with {', '.join(legal)}."
        )


def refuse_scaled(what: str, model: Model, x: PyTree) -> None:
    """Raises `ValueError` where `what` needs the log joint of all data and x is a minibatch, its likelihood scaled."""
    if is_scaled(model, x):
        raise ValueError(
            f"{what} needs the log joint of all data, and the model scales the likelihood of a minibatch: pass all N."
        )


def refuse_dependent(what: str, guide: Guide) -> None:
    """Raises `ValueError` where `what` takes draws for independent and the guide's are not."""
    if guide.noise is not None:
        raise ValueError(
            f"{what} takes the draws of a datum for independent, and this guide's depend on each other: use "
            "guide._replace(noise=None)."
        )


def is_scaled(model: Model, x: PyTree) -> bool:
    """Whether the model scales the likelihood of the data in x, a batch, by more or less than one."""
    if model.likelihood_scale is None:
        return False
    datum = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf)[1:], jnp.result_type(leaf)), x)
    return model.likelihood_scale(datum) != 1


def _check_ratio(bound: BoundFn, estimator: Estimator, num_samples: int) -> None:
    """Raises `ValueError` where path is not ratio × model, for K weights that are no draws: path would not be used."""
    if num_samples > _MOST_PROBED:
        return
    with jax.ensure_compile_time_eval():
        log_w = jnp.sin(3.0 * jnp.arange(num_samples, dtype=jnp.result_type(float)))[:, None]
        c = zero_where_impossible(bound, estimator(bound))(log_w)
        if c.ratio is None or any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(c)):
            return
        path, implied = np.asarray(c.path), np.asarray(c.ratio * c.model)
    agree = np.isclose(path, implied, rtol=1e-2, atol=1e-5, equal_nan=True)
    if not agree.all():
        raise ValueError(
            f"{name_of(estimator)}: path must be ratio × model, and at some log-weights it is {path[~agree][0]:.3g} "
            f"for {implied[~agree][0]:.3g}. Whoever replaces the path of another rule replaces its ratio too, by None "
            "or an array like model."
        )


def _form(
    guide: Guide, bound: BoundFn, estimator: Estimator, num_samples: int, coefficients: CoefficientFn | None = None
) -> Form:
    coefficients = coefficients or zero_where_impossible(bound, estimator(bound))
    form = choose_form(guide, name_of(bound), name_of(estimator), coefficients, num_samples)
    if guide.noise is not None and not tolerance(estimator).dependent_draws(bound):
        raise ValueError(
            f"{name_of(bound)} with {name_of(estimator)} needs independent draws, and the draws of the guide "
            f"{guide.distribution!r} depend on each other (Guide(noise=...))."
        )
    return form


def _advice(guide: Guide, bound: BoundFn, num_samples: int) -> str:
    for other, where in ((bound, ""), (bounds.elbo, "no estimator of the library with this bound; ")):
        legal = [name_of(rule) for rule in LIBRARY if _is_legal(guide, other, rule, num_samples)]
        if legal:
            return (
                f"Legal for this guide at num_samples = {num_samples}: {where}{name_of(other)} with {', '.join(legal)}."
            )
    return f"No estimator of the library is legal for this guide at num_samples = {num_samples}."


def _is_legal(guide: Guide, bound: BoundFn, estimator: Estimator, num_samples: int) -> bool:
    try:
        _form(guide, bound, estimator, num_samples)
    except ValueError:
        return False
    return True
