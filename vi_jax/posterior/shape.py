"""Is it a density that can be approximated by its gradients: no steps, tails that fall, a fit that has ended?"""

import jax
import jax.numpy as jnp
import numpy as np

from vi_jax.models.unconstrained import Target
from vi_jax.posterior.evaluate import Density, Evaluations, values
from vi_jax.posterior.findings import Finding
from vi_jax.posterior.parameters import coordinate_names

_SEGMENTS = 256
_HALVINGS = 14
# Distances along an axis in standard deviations of the guide.
_FAR = 2.0 ** np.arange(3, 13)


def steps(log_joint: Density, found: Evaluations, *, least: float = 0.05) -> list[Finding]:
    """Steps of log p(z): a segment between two draws, halved 14 times, over which the gradient misses a difference.

        d = f(b) − f(a) − ½ (∇f(a) + ∇f(b)) · (b − a) = O(|b − a|³) for a smooth f;   for a step, d is its height

    The half with the larger |d| is kept each time. Gradients are blind to steps, and so is every pathwise fit. Where
    the density bends within the last 1/16384 of a segment, as in the neck of a funnel, d is no step's, and there the
    gradient changes too. A step below `least` nats, below the rounding of f and of z or below ten times
    |(∇f(b) − ∇f(a)) · (b − a)| is not reported; nor are steps where no segment passes.
    """
    finite = np.flatnonzero(np.isfinite(found.log_joint))
    half = min(_SEGMENTS, finite.size // 2)
    if not half:
        return []
    height, doubt = _bisect(log_joint, found.z[finite[:half]], found.z[finite[half : 2 * half]])
    crossed = np.asarray((jnp.abs(height) > least + doubt) & jnp.isfinite(height))
    if not crossed.any():
        return []
    text = (
        f"The log density is discontinuous: {crossed.mean():.1%} of {half} segments between draws cross a step, of "
        f"{float(np.max(np.abs(height[crossed]))):.3g} nats at most, which its gradient does not see. Fitted means and "
        "sds lie where the gradient drove them: smooth the step, or use a score-function estimator."
    )
    return [Finding("step", text, is_fatal=True)]


@jax.jit
def _bisect(log_joint: Density, a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`[n, D]`, `[n, D]` -> the difference that is left `[n]`, and how much of it may be rounding or a bend."""
    evaluate = jax.value_and_grad(log_joint)

    def missed(a: jax.Array, b: jax.Array, at_a, at_b) -> jax.Array:
        return at_b[0] - at_a[0] - jnp.dot(at_a[1] + at_b[1], b - a) / 2

    def halve(_, ends):
        # The points alone are carried: XLA may compute the choice anew, and rounded otherwise, in each place where it
        # is used, and a tie would leave a point with the values of another.
        a, b = ends
        middle = (a + b) / 2
        at_a, at_middle, at_b = evaluate(a), evaluate(middle), evaluate(b)
        is_left = jnp.abs(missed(a, middle, at_a, at_middle)) > jnp.abs(missed(middle, b, at_middle, at_b))
        return jnp.where(is_left, a, middle), jnp.where(is_left, middle, b)

    def one(ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        a, b = jax.lax.fori_loop(0, _HALVINGS, halve, ends)
        at_a, at_b = evaluate(a), evaluate(b)
        scale = jnp.abs(at_a[0]) + jnp.dot(jnp.abs(a), jnp.abs(at_a[1]))
        bend = jnp.abs(jnp.dot(at_b[1] - at_a[1], b - a))
        return missed(a, b, at_a, at_b), 64 * jnp.finfo(a.dtype).eps * scale + 10 * bend

    return jax.lax.map(one, (a, b), batch_size=_SEGMENTS)


def tails(target: Target, log_joint: Density, found: Evaluations) -> list[Finding]:
    """Directions in which log p(z) falls no faster than 1/|z|, along which the density has an infinite integral.

        f(m ± 2c sd_j e_j) − f(m ± c sd_j e_j) > −log 2   over the last two doublings, c = 8 … 4096

    m and sd_j are those of the guide. A heuristic: lines along the axes, through one point; what falls after 4096
    standard deviations, or fails to at an angle, is not seen. Points at which the density overflows are left out.
    """
    finite = np.isfinite(found.log_joint)
    if finite.sum() < 2:
        return []
    mean, sd = _mean_and_sd(found.z[finite])
    reach = jnp.asarray(_FAR, found.z.dtype)[:, None, None] * jnp.diag(sd)
    # [side, distance, coordinate]
    along = np.stack([np.asarray(values(log_joint, mean + sign * reach)) for sign in (-1, 1)])
    last = np.array([[_last_changes(along[side, :, j]) for j in range(target.dim)] for side in (0, 1)])
    flat = last > -np.log(2)
    if not flat.any():
        return []
    names = coordinate_names(target, mean)
    said = [f"{names[j]} → {'−+'[side]}∞ (unconstrained)" for side, j in zip(*np.nonzero(flat), strict=True)]
    verb = "rises" if (last[flat] > 0.01).any() else "does not fall"
    text = (
        f"The density is improper: its logarithm {verb} as {', '.join(said[:6])}{', …' if len(said) > 6 else ''}. It "
        "has no finite integral, so no evidence, and a guide's scale grows without end: give it a proper prior."
    )
    return [Finding("improper", text, is_fatal=True)]


def _mean_and_sd(z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Of each coordinate of `[S, D]`. Squares do not overflow, so that a guide that has run away is seen."""
    unit = jnp.maximum(jnp.max(jnp.abs(z), axis=0), jnp.finfo(z.dtype).tiny)
    return unit * jnp.mean(z / unit, axis=0), unit * jnp.std(z / unit, axis=0)


def _last_changes(along: np.ndarray) -> float:
    """The smaller of the last two changes between finite values; −∞ where it falls to −∞ or fewer are known."""
    if np.isneginf(along).any():
        return -np.inf
    known = along[: np.argmin(np.isfinite(along))] if not np.isfinite(along).all() else along
    return float(np.diff(known)[-2:].min()) if known.size > 2 else -np.inf


def growth(record: jax.Array, *, least: float = 1.0) -> list[Finding]:
    """Whether the ELBO of a fit, `[T]` nats by step, was still rising when it ended, by `least` nats or more.

    The last half in four parts: each mean lies above the one before, and the last above the first by `least` and by
    four of its standard errors. An unbounded density, or an improper one, makes it rise for ever.
    """
    last = np.asarray(record)[np.size(record) // 2 :]
    last = last[np.isfinite(last)]
    if last.size < 40:
        return []
    parts = np.array_split(last, 4)
    means = np.array([part.mean() for part in parts])
    error = np.hypot(*(part.std(ddof=1) / np.sqrt(part.size) for part in (parts[0], parts[-1])))
    rise = means[-1] - means[0]
    if not (np.all(np.diff(means) > 0) and rise > max(least, 4 * error)):
        return []
    text = (
        f"The ELBO still rose, by {rise:.3g} nats over the last half of the fit: it has not converged, or the density "
        "is unbounded or improper. Fit for longer; if it never settles, look for a scale without a prior."
    )
    return [Finding("growth", text, is_fatal=False)]
