"""The mixture of "Revisiting Reweighted Wake-Sleep": its ways to be trained, and how far they end from the truth.

    z ~ Categorical(softmax(θ)),   x | z ~ N(10 z, 5²),   z = 0, …, 19;   data at p(z) ∝ z + 5, start at p(z) ∝ e^{−z}

Le, Kosiorek, Siddharth, Teh and Wood (arXiv:1805.10469). Here x is in units of 50 and centred for the encoder, which
changes no posterior; every step has new data.
"""

import distrax
import jax
import jax.numpy as jnp
from jax.scipy import stats

import vi_jax as vi
from vi_jax import guides, models, objectives

B, E = vi.bounds, vi.estimators
NUM_COMPONENTS, SPACING, SCALE = 20, 0.2, 0.1
EXACT = models.mixture_weights(NUM_COMPONENTS, spacing=SPACING, scale=SCALE, initial_logits=models.FAR_MIXTURE_LOGITS)
GUIDE = guides.categorical_encoder(1, NUM_COMPONENTS, hidden=(16, 16), mean=[SPACING * (NUM_COMPONENTS - 1) / 2])
TEMPERATURE = 0.5
"""Of the Concrete, q's and p's; the paper anneals from 3 to ½."""
SHARE = 0.2
"""Of uniform draws in defensive wake-φ, the paper's δ."""


def true_logits() -> jax.Array:
    """Returns θ of the data, in the default precision."""
    return jnp.asarray(models.TRUE_MIXTURE_LOGITS, float)


def observe(key: jax.Array, batch: jax.Array) -> jax.Array:
    """Draws as many data as the batch has rows, `[B, 1]`, from the true mixture: `prepare` of `vi.fit`."""
    sample = EXACT.model.sample
    assert sample is not None, "a mixture can be drawn from"
    return jax.vmap(lambda key: sample(key, true_logits())[0])(jax.random.split(key, batch.shape[0]))


def relaxed_mixture() -> tuple[vi.Model, vi.Guide]:
    """Returns the mixture with its label relaxed to the simplex: z ~ Concrete(θ), x | z ~ N(Σ_c z_c μ_c, σ²)."""

    def log_joint(theta: jax.Array, x: jax.Array, z: jax.Array) -> jax.Array:
        mean = SPACING * (z @ jnp.arange(NUM_COMPONENTS, dtype=z.dtype))
        return guides.Concrete(theta, TEMPERATURE).log_prob(z) + jnp.sum(stats.norm.logpdf(x, mean, SCALE))

    return vi.Model(EXACT.model.init, log_joint), guides.relaxed(GUIDE, temperature=TEMPERATURE)


def uniform(params: vi.Params, x: jax.Array) -> distrax.Categorical:
    """Returns the defense: every component alike."""
    del params, x
    return distrax.Categorical(logits=jnp.zeros(NUM_COMPONENTS))


def mixture_objectives(num_samples: int) -> dict[str, vi.Objective]:
    """Returns all that is compared at K draws, by name; `exact gradients` are those of log p(x) and the forward KL.

    In wake-sleep θ follows the K-draw bound, as in the paper.
    """

    def of(estimator: vi.Estimator) -> vi.Objective:
        return vi.value_and_grad(EXACT.model, GUIDE, B.iwae, estimator, num_samples=num_samples)

    wake, sleep = of(E.wake_phi), objectives.sleep(EXACT.model, GUIDE, num_samples=1)
    return {
        "REINFORCE": of(E.score_function),
        "VIMCO": of(E.vimco),
        "Concrete": vi.value_and_grad(*relaxed_mixture(), B.iwae, E.pathwise, num_samples=num_samples),
        "wake-sleep": objectives.joined(theta=wake, phi=sleep),
        "RWS": wake,
        "defensive RWS": objectives.defensive_wake_phi(
            EXACT.model, GUIDE, uniform, share=SHARE, num_samples=num_samples
        ),
        "exact gradients": objectives.enumerated_forward_kl(EXACT.model, GUIDE),
    }


def distances(test: jax.Array, key: jax.Array, params: vi.Params) -> dict[str, jax.Array]:
    """Returns L2 distances between vectors of 20 probabilities, those of q as means over test data `[N, 1]`.

    `weights_error` ‖p_θ(z) − p*(z)‖;  `guide_error` ‖q(z | x) − p*(z | x)‖, to the true posterior;  `own_error`
    ‖q(z | x) − p_θ(z | x)‖, to that of the model as it is;  `lost`, how many components have less than a hundredth of
    their true weight.
    """
    del key

    def of_datum(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        q = GUIDE.distribution(params.phi, x).probs
        return tuple(jnp.linalg.norm(q - EXACT.posterior(theta, x).probs) for theta in (true_logits(), params.theta))

    guide_error, own_error = jax.vmap(of_datum)(test)
    found, true = jax.nn.softmax(params.theta), jax.nn.softmax(true_logits())
    return {
        "weights_error": jnp.linalg.norm(found - true),
        "guide_error": jnp.mean(guide_error),
        "own_error": jnp.mean(own_error),
        "lost": jnp.sum(found < true / 100),
    }
