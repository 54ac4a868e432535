"""REBAR and RELAX: a relaxation as control variate, whose own parameters are learned from the noise that is left.

    φ̄ = [f(z) − c(z̃)] ∂_φ log q(z) + ∂_φ c(z′) − ∂_φ c(z̃),   c = η f,   f = log p_θ(x, ·) − log q_φ(· | x)

z is the discrete draw of y = l + ε, z′ its relaxed draw, and z̃ the relaxed draw of another ỹ that hardens to the same
z. The law of z̃ is that of z′, so that the three terms of c cancel in the mean, whatever c is.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from vi_jax import checks
from vi_jax.guides.concrete import Relaxation
from vi_jax.guides.relaxed import relaxation, straight_through
from vi_jax.log_weights import Draws, batch_draws, check_inputs, check_problem, model_log_joint
from vi_jax.objectives.state import StatefulObjective
from vi_jax.types import Guide, Model, Params, PyTree

# How much of the running mean square of a slope one step keeps: a memory of about a hundred steps.
_DECAY = 0.99


class Control(NamedTuple):
    """The control variate of `relax`, its state from step to step. Any finite values leave the gradient unbiased.

    Attributes:
      log_temperature: log τ of the relaxation.
      scale: η. At 0 the gradient is the plain score function's.
      square: `[2]` running mean squares of the two slopes of the variance, the unit of a step.
    """

    log_temperature: jax.Array
    scale: jax.Array
    square: jax.Array


def start_control(*, temperature: float = 0.5, scale: float = 1.0) -> Control:
    """Returns the control variate to start from, f itself at τ = ½ unless told otherwise.

    Args:
      temperature: τ > 0.
      scale: η.

    Raises:
      ValueError: the temperature is not positive and finite, or the scale not finite.
    """
    if not (0 < temperature < math.inf and math.isfinite(scale)):
        raise ValueError(f"temperature must be positive and finite and scale finite, got {temperature} and {scale}.")
    return Control(jnp.full((), math.log(temperature), float), jnp.full((), scale, float), jnp.zeros(2))


def relax(model: Model, guide: Guide, *, num_samples: int, learning_rate: float = 0.01) -> StatefulObjective:
    """Makes the ELBO with the REBAR gradient of φ, its temperature and scale learned as in RELAX.

        values_b = (1/K) Σ_k f(z_bk),   control ← control − rate · slope / √(mean square of slope)
        slope = ∂ ‖φ̄‖² / ∂(log τ, η)

    Unbiased for the gradient of the ELBO at every control, and so at every step of learning one: a control depends on
    earlier draws alone. Since E φ̄ does not depend on it, the slope is unbiased for that of the variance of φ̄, from one
    sample. The gradient of θ is the plain mean of ∂_θ log p_θ(x, z_k). Less noise than `score_function` wherever f
    inside resembles f at the corners; no help where it does not, η then going to zero. Price: three evaluations of the
    model per draw, two backward passes through z and one through θ, and as much again for the slope, which takes
    second derivatives of log p in z.

    Tucker et al., "REBAR: Low-variance, unbiased gradient estimates for discrete latent variable models"
    (arXiv:1703.07370); Grathwohl et al., "Backpropagation through the Void" (arXiv:1711.00123).

    Args:
      model: log p_θ(x, z), finite and twice differentiable for z INSIDE the cube `[d]` or the simplex `[C]` too, not
        for codes alone; what it says there matters to the variance only. A table indexed by z has no such form.
      guide: independent bits or one categorical, as `guides.relaxed` takes; a categorical z is a one-hot `[C]` here.
      num_samples: K ≥ 1 draws per datum.
      learning_rate: of log τ and η, in units per step; 0 leaves them as they are.

    Returns:
      (key, params, x, control) -> (values `[B]` in nats, ascent direction, next control). Start from `start_control`.

    Raises:
      TypeError, ValueError: K is not a positive integer, or the rate is negative or not finite. When called: the
        guide's distribution is of another kind, log p does not take a relaxed z; and as `value_and_grad`.
    """
    num_samples = checks.check_positive_int("num_samples", num_samples)
    if not 0 <= learning_rate < math.inf:
        raise ValueError(f"learning_rate must be finite and at least 0, got {learning_rate}.")
    # Its draws have the shape and the dtype of a relaxed z, in which the model is to be traced.
    continuous = straight_through(guide, temperature=1.0)

    @jax.jit
    def compute(key: jax.Array, params: Params, x: PyTree, control: Control) -> tuple[jax.Array, Params, Control]:
        check_problem(model, continuous, params, x)
        draws = batch_draws(key, x, jnp.arange(num_samples))

        def encode(phi: PyTree) -> tuple[jax.Array, Relaxation]:
            q = jax.vmap(lambda x: relaxation(guide.distribution(phi, x), 1.0))(x)
            return q.logits, q

        _, pull_logits, q = jax.vjp(encode, params.phi, has_aux=True)
        z = _hard_draws(q, draws)
        log_p, pull_theta = jax.vjp(lambda theta: model_log_joint(model, theta, x, z), params.theta)
        f = log_p - jax.vmap(lambda q, z: jax.vmap(q.discrete_log_prob)(z))(q, z)

        def noise(control: Control) -> tuple[jax.Array, PyTree]:
            slopes = _slopes(model, params.theta, control, q, draws, z, f)
            (phi_bar,) = pull_logits(jnp.mean(slopes, axis=1) / slopes.shape[0])
            return jnp.sum(jnp.square(ravel_pytree(phi_bar)[0])), phi_bar

        slope, phi_bar = jax.grad(noise, has_aux=True)(control)
        (theta_bar,) = pull_theta(jnp.full_like(log_p, 1 / log_p.size))
        return jnp.mean(f, axis=1), Params(theta_bar, phi_bar), _descend(control, slope, learning_rate)

    def objective(key: jax.Array, params: Params, x: PyTree, control: Control) -> tuple[jax.Array, Params, Control]:
        check_inputs(key, params, x)
        return compute(key, params, x, control)

    return objective


def _hard_draws(q: Relaxation, draws: Draws) -> jax.Array:
    """Returns z `[B, K, ...]`."""

    def one_datum(q: Relaxation, key: jax.Array, indices: jax.Array) -> jax.Array:
        return jax.vmap(lambda k: q.harden(q.perturb(_keys_of_draw(key, k)[0])))(indices)

    return jax.vmap(one_datum)(q, draws.keys, draws.indices)


def _keys_of_draw(key: jax.Array, index: jax.Array) -> jax.Array:
    """Two keys: of the draw, and of the noise given what it hardens to."""
    return jax.random.split(jax.random.fold_in(key, index))


def _slopes(
    model: Model, theta: PyTree, control: Control, q: Relaxation, draws: Draws, z: jax.Array, f: jax.Array
) -> jax.Array:
    """Returns each draw's estimate of ∂ELBO/∂logits, `[B, K, ...]`, a function of the control too."""

    def one_draw(q: Relaxation, x: PyTree, key: jax.Array, index: jax.Array, z: jax.Array, f: jax.Array) -> jax.Array:
        free, tied = _keys_of_draw(key, index)
        dtype = q.logits.dtype
        q, scale = q._replace(temperature=jnp.exp(control.log_temperature).astype(dtype)), control.scale.astype(dtype)

        def variate(perturb: Callable[[Relaxation], jax.Array]) -> tuple[jax.Array, jax.Array]:
            """The value of c, and its derivative through the relaxed draw; log q inside c is held fixed."""

            def c(logits: jax.Array) -> jax.Array:
                inside = q.relax(perturb(q._replace(logits=logits)))
                return scale * (model.log_joint(theta, x, inside) - q.discrete_log_prob(inside))

            return jax.value_and_grad(c)(q.logits)

        _, of_draw = variate(lambda q: q.perturb(free))
        c, of_tied = variate(lambda q: q.perturb_given(z, tied))
        score = jax.grad(lambda logits: q._replace(logits=logits).discrete_log_prob(z))(q.logits)
        return (f - c) * score + of_draw - of_tied

    of_datum = jax.vmap(one_draw, (None, None, None, 0, 0, 0))
    return jax.vmap(of_datum)(q, draws.x, draws.keys, draws.indices, z, f)


def _descend(control: Control, slope: Control, learning_rate: float) -> Control:
    """One step against the slope of the variance, each parameter in units of its own root mean square."""
    slopes = jnp.stack([slope.log_temperature, slope.scale])
    square = _DECAY * control.square + (1 - _DECAY) * jnp.square(slopes)
    step = learning_rate * slopes / jnp.sqrt(jnp.where(square == 0, 1, square))
    return Control(control.log_temperature - step[0], control.scale - step[1], square)
