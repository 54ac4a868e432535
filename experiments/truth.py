"""What a gradient of the zoo is to be: by a sum or a closed form, and elsewhere measured on draws of its own.

    θ̄ follows ∇E[L_K] in every row; φ̄ does too, but for wake-φ, which follows −∇KL(p(z | x) ‖ q), `piwae:M`, which
    follows that of `miwae:M`, and `minimized:…`, which descends

E[L_K] is exact as a sum over all K-tuples of draws where the latent has few values, and as the ELBO, which every bound
is of one draw, where KL(q ‖ p(z | x)) is a sum or a closed form.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import vi_jax as vi
from experiments import spelling, zoo
from vi_jax.measurement import Reference, reference_gradients

MAX_TUPLES = 4096
FORWARD_KL = "forward KL"
"""The name of what wake-φ follows, among the names of bounds."""

Value = Callable[[vi.Params], jax.Array]


class Follows(NamedTuple):
    """What an estimator of a bound follows: a bound in θ, a bound or `FORWARD_KL` in φ, and in which sense there."""

    theta: str
    phi: str
    sign: float


class Truth(NamedTuple):
    """A value and its gradient, with standard errors, which are zero where they are exact."""

    value: Any
    gradient: vi.Params
    value_error: Any
    gradient_error: vi.Params


Measured = Callable[[str, int], Reference | None]


def follows(bound: str, estimator: str) -> Follows:
    """Returns what a pair follows, all by name."""
    head, _, rest = estimator.partition(":")
    if head == "minimized":
        inner = follows(bound, rest)
        return inner._replace(sign=-inner.sign)
    phi = {"piwae": f"miwae:{rest}", "wake_phi": FORWARD_KL, "wake_phi_doubly_reparameterized": FORWARD_KL}
    return Follows(bound, phi.get(head, bound), 1.0)


def reference(model: str, pair: tuple[str, str], num_samples: int, measured: Measured) -> Reference:
    """Returns the truth about a pair at one K; NaN where neither a formula nor a measurement has it."""
    target = follows(*pair)
    of_theta, of_phi = (known(model, name, num_samples, measured) for name in target[:2])
    phi = jax.tree.map(lambda leaf: target.sign * leaf, of_phi.gradient.phi)
    return Reference(
        of_theta.value,
        vi.Params(of_theta.gradient.theta, phi),
        of_theta.value_error,
        vi.Params(of_theta.gradient_error.theta, of_phi.gradient_error.phi),
    )


def known(model: str, name: str, num_samples: int, measured: Measured) -> Truth:
    """Returns the truth about a bound, exact if it can be."""
    params = zoo.problem(model).params
    found = exact(model, name, num_samples)
    if found is not None:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return Truth(*found, jnp.zeros(()), zeros)
    estimate = None if name == FORWARD_KL else measured(name, num_samples)
    if estimate is not None:
        value, gradient, value_error, gradient_error = estimate
        return Truth(value, gradient, value_error, gradient if gradient_error is None else gradient_error)
    nothing = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), params)
    return Truth(jnp.nan, nothing, jnp.nan, nothing)


@functools.cache
def exact(model: str, name: str, num_samples: int) -> tuple[jax.Array, vi.Params] | None:
    """Returns the exact value and gradient of a bound's expectation, averaged over the data; None if not known."""
    posed = zoo.problem(model)
    of_datum = expected(posed, name, num_samples)
    if of_datum is None:
        return None

    @jax.jit
    def found(params: vi.Params, x: Any) -> tuple[jax.Array, vi.Params]:
        return jax.value_and_grad(lambda params: jnp.mean(jax.vmap(of_datum, in_axes=(None, 0))(params, x)))(params)

    try:
        value, gradient = found(posed.params, posed.x)
    except ValueError:
        # No closed form of the divergence between this guide and this posterior.
        return None
    return (value, gradient) if jnp.isfinite(value) else None


def expected(posed: zoo.Problem, name: str, num_samples: int) -> Callable[[vi.Params, Any], jax.Array] | None:
    """Returns `(params, datum) -> nats` of what a name stands for, where there may be a formula."""
    model, guide, _, _, answers = posed
    if answers is None:
        return None
    if name == FORWARD_KL:
        return lambda params, x: -vi.exact.forward_kl(answers, guide, params, x)
    if name == "elbo" or num_samples == 1:
        return lambda params, x: vi.exact.elbo(answers, guide, params, x)
    if guide.support is None or len(guide.support) ** num_samples > MAX_TUPLES:
        return None
    bound = spelling.bound(name)
    return lambda params, x: vi.exact.expected_bound(bound, model, guide, params, x, num_samples=num_samples)


def measure(
    key: jax.Array,
    model: str,
    pairs: Sequence[tuple[str, str]],
    num_samples: Sequence[int],
    num_replicates: int,
    **options: Any,
) -> Measured:
    """Measures on R pools of their own whatever the pairs follow and no formula has; R = 0 measures nothing.

    `options` are those of `reference_gradients`: progress, save and resume.
    """
    needed = unknown(model, pairs, num_samples)
    if not num_replicates or not needed:
        return lambda name, size: None
    posed = zoo.problem(model)
    return reference_gradients(
        key,
        *posed[:4],
        bounds={name: spelling.bound(name) for name in needed},
        num_samples=num_samples,
        num_replicates=num_replicates,
        **options,
    )


def unknown(model: str, pairs: Sequence[tuple[str, str]], num_samples: Sequence[int]) -> list[str]:
    """Returns the bounds that the pairs follow and no formula has at every K."""
    names = {name for pair in pairs for name in follows(*pair)[:2]} - {FORWARD_KL}
    return sorted(name for name in names if any(exact(model, name, size) is None for size in num_samples))
