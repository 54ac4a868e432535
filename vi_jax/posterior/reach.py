"""How much of the posterior lies beyond all draws, where weights of draws say nothing of it."""

import jax
import jax.numpy as jnp
import numpy as np

from vi_jax.models.unconstrained import Target
from vi_jax.posterior.evaluate import Density, Evaluations
from vi_jax.posterior.findings import Finding
from vi_jax.posterior.parameters import coordinate_names

# From here on means and sds are not what they seem; below it is said, and the verdict left to k̂.
_FATAL_SHARE = 0.05
_LINES = 8
_POINTS_WITHIN = 17
_POINTS_BEYOND = 12
# sinh 8 = 1490 standard deviations beyond the farthest draw.
_FARTHEST = 8.0


def unreached(target: Target, log_joint: Density, found: Evaluations, *, least: float = 0.01) -> list[Finding]:
    """Coordinates of which more than `least` + 20/S of the posterior lies below or above all S draws of the guide.

        P(z_j ∉ R_j) = E_{p(z_−j)} P(z_j ∉ R_j | z_−j),   R_j = [min_s z_sj, max_s z_sj]

    with the inner probability by the trapezoidal rule along z_j through 8 draws, which stand for p(z_−j). It is 2/S for
    draws of the posterior. A Gaussian for a density of heavy tails leaves out several per cent, and has a small k̂ if
    its draws end before the weights grow: then corrected sds are too small, and from 5 % on that is fatal. The share is
    an underestimate where a line crosses a ridge that is thin against the distance of its points, and says nothing of
    modes off these lines.

    Price: 328 D evaluations of log p.
    """
    finite = np.flatnonzero(np.isfinite(found.log_joint))[:_LINES]
    if not finite.size:
        return []
    ends = jnp.min(found.z, axis=0), jnp.max(found.z, axis=0), jnp.std(found.z, axis=0)
    below, above = np.asarray(_shares(log_joint, found.z[finite], found.log_joint[finite], *ends))
    share = below + above
    far = np.flatnonzero(share > least + 20 / len(found.z))
    if not far.size:
        return []
    worst = far[np.argmax(share[far])]
    names = coordinate_names(target, found.z[finite[0]])
    side = "below" if below[worst] > 10 * above[worst] else "above" if above[worst] > 10 * below[worst] else "beyond"
    said = ", ".join(dict.fromkeys(names[j] for j in far[np.argsort(-share[far])][:6]))
    text = (
        f"Mass out of reach: {share[worst]:.2g} of the posterior lies {side} every draw of the guide along"
        f" {names[worst]}, which has draws from {float(ends[0][worst]):.4g} to {float(ends[1][worst]):.4g}"
        f" (unconstrained). The guide is too narrow, or its tails too light, for {said}, and no weight tells of it. Try"
        " a richer guide (full_rank, then flow), or coordinates in which the tails are lighter."
    )
    return [Finding("tail", text, is_fatal=bool(share[worst] > _FATAL_SHARE))]


@jax.jit
def _shares(
    log_joint: Density, lines: jax.Array, at_lines: jax.Array, low: jax.Array, high: jax.Array, sd: jax.Array
) -> jax.Array:
    """Lines through points `[n, D]`, with log p `[n]` there -> the shares below and above, `[2, D]`."""
    v = jnp.linspace(0, _FARTHEST, _POINTS_BEYOND, dtype=lines.dtype)

    def along(j: jax.Array) -> jax.Array:
        within = jnp.linspace(low[j], high[j], _POINTS_WITHIN)
        step, away = within[1] - within[0], sd[j] * jnp.sinh(v)
        weights = sd[j] * jnp.cosh(v) * (v[1] - v[0]) * _ends_halved(v)
        places = jnp.concatenate([within, low[j] - away, high[j] + away])
        log_p = jax.vmap(lambda z: jax.vmap(lambda value: log_joint(z.at[j].set(value)))(places))(lines)
        # The draw itself may stand on a ridge between two points.
        log_p = jnp.concatenate([at_lines[:, None], jnp.where(jnp.isnan(log_p), -jnp.inf, log_p)], axis=1)
        p = jnp.exp(log_p - jnp.max(log_p, axis=1, keepdims=True))
        inside, below, above = jnp.split(p[:, 1:], [_POINTS_WITHIN, _POINTS_WITHIN + _POINTS_BEYOND], axis=1)
        masses = jnp.stack([below @ weights, above @ weights])
        total = step * (p[:, 0] + inside @ _ends_halved(within)) + jnp.sum(masses, axis=0)
        return jnp.mean(masses / total, axis=1)

    return jax.lax.map(along, jnp.arange(lines.shape[1])).T


def _ends_halved(points: jax.Array) -> jax.Array:
    return jnp.ones_like(points).at[jnp.array([0, -1])].set(0.5)
