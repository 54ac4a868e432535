"""The log-evidence by importance sampling from the guide, streamed over the draws."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from vi_jax import checks, sharded
from vi_jax.legality import refuse_dependent, refuse_scaled
from vi_jax.log_weights import batch_draws, check_inputs, check_problem, log_weights_of
from vi_jax.sharded import Share, several
from vi_jax.sharding import DATA, SAMPLE, completed
from vi_jax.types import Guide, Model, Params, PyTree

# Draws per datum held at once unless the caller says otherwise. Larger buys no speed on a CPU once a batch of data is
# there to fill the matrix products, and memory grows with it.
_CHUNK_SIZE = 64


class Evidence(NamedTuple):
    """An estimate of log p(x) for each datum of a batch, from K draws of the guide.

    Attributes:
      log_evidence: `[B]` log (1/K) Σ_k w_k, in nats: IWAE_K, so its mean lies below log p(x), by about half its
        variance.
      standard_error: `[B]` nats, by the delta method: the standard error of mean w over mean w. It trusts the draws
        that were made, and is too small where the guide has not met the posterior's mass. Infinite at K = 1.
      effective_sample_size: `[B]` (Σ_k w_k)² / Σ_k w_k², between 0 and K; 0 where every weight is zero.
    """

    log_evidence: jax.Array
    standard_error: jax.Array
    effective_sample_size: jax.Array


def log_evidence(
    key: jax.Array,
    model: Model,
    guide: Guide,
    params: Params,
    x: PyTree,
    *,
    num_samples: int,
    chunk_size: int | None = None,
    mesh: Mesh | None = None,
) -> Evidence:
    """Estimates log p_θ(x) for each datum from K draws of the guide, in memory that does not grow with K.

        p̂(x) = (1/K) Σ_k w_k,   log w_k = log p_θ(x, z_k) − log q_φ(z_k | x)

    p̂ is unbiased for p(x); log p̂ is not. Price: K forward passes per datum. Draw k of datum b is the same whatever the
    chunk size, and the same that `value_and_grad` makes from this key.

    Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders" (arXiv:1509.00519), who report K = 5000.

    Args:
      key: a typed key, consumed.
      model: log p_θ(x, z) for one datum and one draw.
      guide: q_φ(z | x) for one datum.
      params: θ and φ.
      x: data; every leaf has a leading batch axis B.
      num_samples: K ≥ 1 draws per datum.
      chunk_size: draws per datum held in memory at once, 64 if None; it need not divide K.
      mesh: devices that share the work, as of `vi.sharding.make_mesh`: m along `data` the B data, a multiple of m; n
        along `sample` the K draws, each streaming its own. At the end they exchange three numbers per datum.

    Returns:
      `Evidence`, each field `[B]`. Repeated calls with the same functions, shapes and K do not compile again.

    Raises:
      TypeError, ValueError: as `value_and_grad`; the model scales the likelihood of a minibatch, or the guide's draws
        depend on each other.
    """
    num_samples = checks.check_positive_int("num_samples", num_samples)
    chunk_size = _CHUNK_SIZE if chunk_size is None else checks.check_positive_int("chunk_size", chunk_size)
    check_inputs(key, params, x)
    refuse_scaled("log_evidence", model, x)
    refuse_dependent("the standard error of log_evidence", guide)
    # The functions alone are static: a guide's support is an array, and arrays have no hash.
    densities = (model.init, model.log_joint, guide.init, guide.distribution)
    mesh = None if mesh is None else completed(mesh)
    return _log_evidence(densities, num_samples, min(chunk_size, num_samples), mesh, key, params, x)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _log_evidence(
    densities, num_samples: int, chunk_size: int, mesh: Mesh | None, key: jax.Array, params: Params, x: PyTree
) -> Evidence:
    model, guide = Model(*densities[:2]), Guide(*densities[2:])
    check_problem(model, guide, params, x)
    if mesh is None:
        share = Share(x, batch_draws(key, x, jnp.arange(1)).keys, jnp.zeros((), int))
        return _evidence(_summed(model, guide, params, share, num_samples, num_samples, chunk_size), num_samples)
    size = sharded.share_of(num_samples, mesh)

    def local(params: Params, share: Share) -> Evidence:
        sums = _summed(model, guide, params, share, size, num_samples, min(chunk_size, size))
        return _evidence(_merged(sums), num_samples)

    return sharded.dealt(mesh, num_samples, local, PartitionSpec(DATA))(key, params, x)


class _Sums(NamedTuple):
    """Σ w and Σ w², in units of the largest weight so far, each `[B]`.

    Kept as logarithms they would be rounded to 10⁻⁷ |log p(x)|, of which the effective sample size sees twice as much.
    """

    largest: jax.Array
    first: jax.Array
    second: jax.Array


def _summed(
    model: Model, guide: Guide, params: Params, share: Share, size: int, num_samples: int, chunk_size: int
) -> _Sums:
    """The sums over a share's `size` draws, without those beyond K."""
    within = num_samples - share.first

    def add_chunk(chunk: jax.Array, sums: _Sums) -> _Sums:
        numbers = chunk * chunk_size + jnp.arange(chunk_size)
        log_w = log_weights_of(model, guide, params, share.draws(numbers))
        log_w = jnp.where((numbers < jnp.minimum(size, within))[:, None], log_w, -jnp.inf)
        largest = jnp.maximum(sums.largest, jnp.max(log_w, axis=0))
        w, sums = jnp.exp(log_w - _unit(largest)), _in_units_of(largest, sums)
        return _Sums(largest, sums.first + jnp.sum(w, axis=0), sums.second + jnp.sum(w**2, axis=0))

    log_w = jax.eval_shape(lambda: log_weights_of(model, guide, params, share.draws(jnp.arange(1))))
    zero = jnp.zeros(log_w.shape[1:], log_w.dtype)
    return jax.lax.fori_loop(0, -(-size // chunk_size), add_chunk, _Sums(zero - jnp.inf, zero, zero))


def _merged(sums: _Sums) -> _Sums:
    """The sums of all devices along `sample`: three numbers per datum."""
    if not several(SAMPLE):
        return sums
    largest = jax.lax.pmax(sums.largest, SAMPLE)
    _, first, second = _in_units_of(largest, sums)
    return _Sums(largest, *jax.lax.psum((first, second), SAMPLE))


def _in_units_of(largest: jax.Array, sums: _Sums) -> _Sums:
    """The same sums in units of a weight as large or larger."""
    shrink = jnp.exp(sums.largest - _unit(largest))
    return _Sums(largest, shrink * sums.first, shrink**2 * sums.second)


def _unit(largest: jax.Array) -> jax.Array:
    """The largest weight, or 1 where every weight is zero."""
    return jnp.where(jnp.isneginf(largest), 0, largest)


def _evidence(sums: _Sums, num_samples: int) -> Evidence:
    """Var(mean w) / (mean w)² = (K Σ w² / (Σ w)² − 1) / (K − 1)."""
    inverse_size = jnp.where(sums.first == 0, jnp.inf, sums.second / sums.first**2)
    if num_samples > 1:
        relative_variance = jnp.maximum(num_samples * inverse_size - 1, 0) / (num_samples - 1)
    else:
        relative_variance = jnp.full_like(sums.first, jnp.inf)
    return Evidence(
        log_evidence=sums.largest + jnp.log(sums.first / num_samples),
        standard_error=jnp.sqrt(relative_variance),
        effective_sample_size=1 / inverse_size,
    )
