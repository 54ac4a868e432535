"""A sweep may be stopped anywhere, dealt to devices and made as long as one likes; its intervals cover."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from vi_jax.measurement import cells, per_draw, stream, theta_and_phi
from vi_jax.measurement.one_pool import over_batch
from vi_jax.measurement.summary import Reference, summarize
from vi_jax.types import Params

B, E = vi.bounds, vi.estimators
KEY = jax.random.key(5)
TOY, GUIDE = vi.models.linear_gaussian(1), vi.guides.affine(1, 1, variance=2 / 3)
X = jnp.array([[0.7]])
PARAMS = vi.Params(jnp.array([0.1]), vi.guides.Affine(jnp.array([[0.4]]), jnp.array([0.05])))
PAIRS = {"pathwise": (B.elbo, E.pathwise), "vimco": (B.iwae, E.vimco)}


def swept(**changes):
    settings = {"objectives": PAIRS, "num_samples": (1, 4), "num_replicates": 450, "chunk_size": 40, "num_stops": 6}
    return vi.sweep(KEY, TOY.model, GUIDE, PARAMS, X, **(settings | changes))


class Stop(Exception):
    pass


def stop_after(number, saved, state):
    saved.append(jax.tree.map(np.asarray, state))
    if len(saved) == number:
        raise Stop


def test_a_sweep_that_was_stopped_anywhere_goes_on_to_the_same_bits():
    states, told = [], []
    whole = swept(save=states.append, progress=lambda done, total: told.append((done, total)))
    assert told == [(80, 450), (160, 450), (240, 450), (320, 450), (400, 450), (450, 450)]
    for number in (1, 4, 6):
        saved = []
        with pytest.raises(Stop):
            swept(save=functools.partial(stop_after, number, saved))
        resumed = swept(resume=saved[-1])
        jax.tree.map(np.testing.assert_array_equal, dict(whole.grouped), dict(resumed.grouped))
    # The number of stops changes nothing either.
    jax.tree.map(np.testing.assert_array_equal, dict(whole.grouped), dict(swept(num_stops=1).grouped))


@pytest.mark.parametrize("changes", [{"num_replicates": 460}, {"chunk_size": 20}, {"num_samples": (1, 2)}])
def test_the_state_of_another_sweep_is_refused(changes):
    states = []
    swept(save=states.append, num_stops=2)
    with pytest.raises(ValueError, match="resume is the state of another sweep"):
        swept(resume=states[0], **changes)


def test_the_state_of_a_sweep_that_was_judged_by_another_truth_is_refused():
    def judge(value):
        return lambda name, size: Reference(
            jnp.asarray(0.0), jax.tree.map(lambda leaf: jnp.full_like(leaf, value), PARAMS)
        )

    states, judged = [], functools.partial(swept, objectives={"pathwise": PAIRS["pathwise"]}, num_samples=(1,))
    judged(save=states.append, num_stops=2, reference=judge(1.0))
    judged(resume=states[0], num_stops=2, reference=judge(1.0))
    with pytest.raises(ValueError, match="resume is the state of another sweep: .* reference"):
        judged(resume=states[0], num_stops=2, reference=judge(2.0))


def test_a_model_without_parameters_has_a_reference_too():
    model = vi.Model(lambda key: (), lambda theta, x, z: -jnp.sum(z**2))
    params = vi.Params((), PARAMS.phi)
    result = vi.sweep(
        KEY,
        model,
        GUIDE,
        params,
        X,
        objectives={"elbo": (B.elbo, E.sticking_the_landing)},
        num_samples=(4,),
        num_replicates=400,
        reference=lambda name, size: Reference(jnp.asarray(0.0), jax.tree.map(jnp.ones_like, params)),
    )
    # ∇_b of E[−z²] + entropy is −2 m with m = A x + b: half of the truth's direction is b's.
    m = 0.4 * 0.7 + 0.05
    bias = result.quantities.bias_along.value[0, 0, 0]
    np.testing.assert_allclose(bias[1], (-2 * m * 0.7 - 2 * m) / math.sqrt(2) - math.sqrt(2), atol=0.1)
    assert result.quantities.variance.value[0, 0, 0, 0] == 0


def test_the_chunks_change_the_order_of_summation_alone():
    first, second = (dict(swept(chunk_size=size).grouped) for size in (40, 7))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-5), first, second)


def plan_of(num_replicates, num_samples=(1, 4), pairs=PAIRS, num_groups=20, mesh=None):
    at_once, rounds = stream.chunked(None, num_replicates, num_groups, mesh, num_samples[-1])
    return stream.Plan(
        densities=(TOY.model.init, TOY.model.log_joint, GUIDE.init, GUIDE.distribution, None, None),
        reparameterized=True,
        objectives=tuple(pairs.items()),
        num_samples=num_samples,
        sums=Params(per_draw, per_draw),
        average=over_batch,
        blocks=theta_and_phi,
        max_groups=1,
        num_groups=num_groups,
        rounds=rounds,
        at_once=at_once,
        mesh=mesh,
    )


def test_memory_is_flat_in_the_number_of_replicates():
    def temporaries(num_replicates):
        plan = plan_of(num_replicates, num_samples=(1, 64))
        state = stream.start(plan, KEY, PARAMS, X, None, num_replicates)
        lowered = stream.block.lower(plan, KEY, PARAMS, X, None, num_replicates, 0, 1, state.running)
        return lowered.compile().memory_analysis().temp_size_in_bytes

    few, many = temporaries(1000), temporaries(100_000)
    assert few / 1.1 <= many <= 1.1 * few


# --- coverage ---------------------------------------------------------------------------------------------------------


NUM_REPETITIONS, NUM_REPLICATES, NUM_SAMPLES = 500, 400, 2


@functools.cache
def covered():
    """Summaries of 500 small sweeps of the pathwise ELBO gradient, which is Gaussian, and what is true of it."""
    plan = plan_of(NUM_REPLICATES, num_samples=(NUM_SAMPLES,), pairs={"pathwise": PAIRS["pathwise"]})
    exact = lambda params: vi.models.linear_gaussian_elbo(params.theta, params.phi.A, params.phi.b, X[0])  # noqa: E731
    value, gradient = jax.value_and_grad(exact)(PARAMS)
    none = jax.tree.map(jnp.zeros_like, gradient)
    truth = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None, None], Reference(value, gradient, jnp.zeros(()), none))
    start = stream.start(plan, KEY, PARAMS, X, {NUM_SAMPLES: truth}, NUM_REPLICATES)

    @jax.jit
    def once(key):
        running = jax.tree.map(lambda leaf: leaf[0], start.running)
        chunks = math.ceil(NUM_REPLICATES / plan.stride)
        problem = (PARAMS, X, {NUM_SAMPLES: truth}, NUM_REPLICATES)
        running = stream.sweep_moments(plan, key, *problem, 0, chunks, 0, running)
        grouped = stream.moments.finish(running[NUM_SAMPLES])
        cell = grouped._replace(**{f: jax.tree.map(lambda a: a[:, 0, 0], getattr(grouped, f)) for f in ("mean", "m2")})
        return summarize(cell, jax.tree.map(lambda leaf: leaf[0, 0], truth), theta_and_phi)

    keys = jax.random.split(jax.random.key(0), NUM_REPETITIONS)
    return jax.jit(lambda keys: jax.lax.map(once, keys, batch_size=50))(keys), gradient


def share(estimate, true, block=1):
    low, high = estimate.low, estimate.high
    low, high = (end[:, block] if end.ndim == 2 else end for end in (low, high))
    return float(((low <= true) & (true <= high)).mean())


def test_intervals_of_a_sweep_cover_the_truth_95_times_in_100():
    q, gradient = covered()
    # The gradient of φ = (A, b) is that of m times (x, 1), with variance 8/3 per draw.
    slope, square = float(gradient.phi.b[0]), 1 + float(X[0, 0]) ** 2
    variance = 8 / 3 / NUM_SAMPLES
    length = abs(slope) * math.sqrt(square)
    shares = {
        "value_bias": share(q.value_bias, 0.0),
        "bias_along": share(q.bias_along, 0.0),
        "variance": share(q.variance, variance * square),
        "standard_deviation": share(q.standard_deviation, math.sqrt(variance * square)),
        "snr": share(q.snr, abs(slope) / math.sqrt(variance)),
        "directional_snr": share(q.directional_snr, abs(slope) / math.sqrt(variance)),
        "mean_squared_error": share(q.mean_squared_error, variance * square),
        "coordinate_snr": share(q.coordinate_snr, abs(slope) / math.sqrt(variance)),
    }
    assert length > 0
    assert all(0.92 <= value <= 0.98 for value in shares.values()), shares
    # A norm is no linear thing: where there is no bias it is covered at least as often.
    assert share(q.bias_norm, 0.0) >= 0.95


def test_cells_are_laid_out_once_for_equal_plans():
    assert plan_of(1000) == plan_of(1000)
    assert hash(plan_of(1000)) == hash(plan_of(1000))
    assert [row.num_samples for row in plan_of(1000).rows()] == [1, 4]
    assert isinstance(plan_of(1000).rows()[0], cells.Row)
