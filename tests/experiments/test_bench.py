"""No time is asserted: only that the same work is timed, and that what is reported is what was measured."""

import json
import math
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import vi_jax as vi
from experiments import cli, progress, style
from experiments.bench import __main__ as bench
from experiments.bench import cases, programs, references, run, sweeps

TINY = cases.Config(
    num_steps=3,
    regression_samples=(2,),
    image_samples=(),
    evidence_samples=6,
    evidence_batch_size=2,
    sweep_samples=(1, 2),
    sweep_replicates=20,
    num_looped=4,
)


def square(x):
    return x @ x


def square_in_a_loop(x):
    return jax.lax.fori_loop(0, 50, lambda _, y: x @ y, x)


X = (jnp.ones((16, 16)),)
TOY = programs.Case(
    "toy",
    num_samples=4,
    batch_size=2,
    num_steps=5,
    programs=(
        programs.Program("hand-written", square, X),
        programs.Program("twice", lambda x: (square(x), square(x + 1)), X),
        programs.Program("loop", square_in_a_loop, X, math.nan, 2),
        programs.Program("not run", square, X, max_runs=0),
    ),
)


@pytest.fixture(scope="module")
def rows():
    return pd.DataFrame(run.measure(TOY, 4, np.random.default_rng(0)))


def test_every_program_has_one_row_and_the_runs_that_it_allows(rows):
    assert list(zip(rows["program"], rows["num_runs"], strict=True)) == [
        ("hand-written", 4),
        ("twice", 4),
        ("loop", 2),
        ("not run", 0),
    ]


def test_times_and_draws_are_those_of_one_step(monkeypatch):
    monkeypatch.setattr(run, "seconds_of_one_run", lambda program, compiled: 0.25 if program.name == "twice" else 0.05)
    reference, twice, *_ = run.measure(TOY, 4, np.random.default_rng(0))
    assert [twice[f"milliseconds{end}"] for end in ("_q1", "", "_q3")] == pytest.approx([50, 50, 50])
    assert twice["draws_per_second"] == pytest.approx(4 * 2 * 5 / 0.25)
    assert [twice[f"ratio{end}"] for end in ("", "_low", "_high")] == pytest.approx([5, 5, 5])
    assert reference["ratio"] == 1


def test_operations_and_memory_are_compared_with_the_reference(rows):
    flops = rows.set_index("program")["flops_ratio"]
    assert flops["hand-written"] == flops["not run"] == 1
    assert flops["twice"] == pytest.approx(2, rel=0.05)
    assert math.isnan(flops["loop"])


def test_what_was_not_run_has_no_time(rows):
    timing = [name for name in rows if name.startswith(("milliseconds", "ratio", "draws"))]
    assert rows.iloc[-1][timing].isna().all()
    assert rows.iloc[:-1][timing].notna().all(axis=None)


def test_the_operations_of_a_scan_over_steps_are_those_of_one_step():
    few, many = (cases.regression(cases.Config(num_steps=steps), 2).programs[0] for steps in (3, 6))
    assert programs.ahead_of_time(few).flops == programs.ahead_of_time(many).flops


def test_the_interval_is_that_of_the_median_of_paired_ratios():
    reference = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    ratio = run.median_ratio(reference * [1.0, 2.0, 3.0, 4.0, 5.0], reference)
    half_width = 1.57 * 2 / math.sqrt(5)
    assert ratio == pytest.approx(
        {"ratio": 3, "ratio_low": 3 - half_width, "ratio_high": 3 + half_width, "ratio_q1": 2, "ratio_q3": 4}
    )


def test_programs_take_turns():
    order = []
    compiled = [programs.Compiled(cast(Any, partial(order.append, i)), 0, 0, 0, 0) for i in range(3)]
    three = tuple(programs.Program(str(i), print, ()) for i in range(3))
    seconds = run.time_in_turns(three, compiled, 5, np.random.default_rng(0))
    assert [times.size for times in seconds] == [5, 5, 5]
    rounds = np.reshape(order, (run.NUM_WARM_UP_RUNS + 5, 3))
    assert (np.sort(rounds, axis=1) == [0, 1, 2]).all()
    assert len(np.unique(rounds, axis=0)) > 1


NUM_REPLICATES = 20_000


def z_score(left, right):
    """Of the difference between the means of two sets of independent replicates."""
    left, right = np.asarray(left, np.float64), np.asarray(right, np.float64)
    return abs(left.mean() - right.mean()) / math.sqrt((left.var() + right.var()) / left.size)


def jittered(params):
    """Adds noise to every parameter: no bias is zero, no scale is one."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [leaf + jax.random.normal(key, leaf.shape) / 3 for key, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(structure, noisy)


def test_the_hand_written_regression_has_the_librarys_bound():
    features, labels = (leaf[:7] for leaf in cases.tumours())
    guide = vi.guides.mean_field(31)
    phi = jittered(guide.init(jax.random.key(0)))
    keys = jax.random.split(jax.random.key(2), NUM_REPLICATES)
    negative = jax.vmap(lambda key: references.negative_elbo(phi, key, features, labels, num_samples=1))(keys)
    data = (features[None], labels[None])
    log_w = jax.jit(
        lambda key: vi.log_weights(
            key, cases.logistic_regression(), guide, vi.Params((), phi), data, num_samples=NUM_REPLICATES
        )
    )(jax.random.key(3))
    assert z_score(-negative, log_w) < 4


def test_the_hand_written_regression_climbs_to_where_fit_climbs():
    config = cases.Config(num_steps=200)
    reference, ours, _ = cases.regression(config, 2).programs
    phi, values = reference.call(*reference.arguments)
    state, history = ours.call(*ours.arguments)
    np.testing.assert_allclose(phi.loc, state.params.phi.loc, atol=0.03)
    assert values[-50:].mean() == pytest.approx(float(history.value[-50:].mean()), rel=0.05)
    assert values[-50:].mean() > values[:50].mean() + 20


def test_the_hand_written_autoencoder_has_the_librarys_bound():
    model = vi.models.bernoulli_decoder(2, 5, hidden=(4, 3))
    guide = vi.guides.gaussian_encoder(5, 2, hidden=(3, 4))
    params = jittered(vi.Params(model.init(jax.random.key(0)), guide.init(jax.random.key(1))))
    x = jnp.broadcast_to(jax.random.bernoulli(jax.random.key(2), 0.5, (5,)).astype(float), (NUM_REPLICATES, 5))
    log_w = jax.jit(lambda key: vi.log_weights(key, model, guide, params, x, num_samples=3))(jax.random.key(3))
    assert z_score(references.iwae(jax.random.key(4), params, x, num_samples=3), vi.bounds.iwae(log_w)) < 4


def test_cases_are_those_of_the_configuration():
    chosen = cases.cases(cases.Config(regression_samples=(10,), image_samples=(5, 50)))
    assert [(case.workload, case.num_samples, [p.name for p in case.programs]) for case in chosen] == [
        ("W1 fit step", 10, ["hand-written", "pathwise", "STL"]),
        ("W2 gradient", 5, ["hand-written", "pathwise", "DReG", "wake-φ"]),
        ("W2 gradient", 50, ["hand-written", "pathwise", "DReG", "wake-φ", "chunk 10"]),
        ("W3 evidence", 5000, ["hand-written", "log_evidence"]),
        (
            "W4 sweep",
            1024,
            ["iwae/doubly_reparameterized alone", "vi.sweep, 8 pairs × 11 K", "loop over the same"],
        ),
    ]


def test_the_time_of_a_part_is_scaled_to_the_whole(monkeypatch):
    monkeypatch.setattr(run.time, "perf_counter", iter(range(100)).__next__)
    part = programs.Program("part", lambda: (), (), share=0.25)
    assert run.seconds_of_one_run(part, programs.Compiled(part.call, 0, 0, 0, 0)) == 4


def test_all_programs_of_a_sweep_measure_the_same_moments():
    case = sweeps.sweep(0, (2, 4), 20, 20, 1)
    alone, swept, looped = (program.call(*program.arguments) for program in case.programs)
    place = list(sweeps.OBJECTIVES).index(sweeps.REFERENCE_NAME)
    mean, m2 = looped[2 * place + 1]
    np.testing.assert_allclose(mean[0], swept.value.value[place, 1, 0], rtol=1e-5)
    np.testing.assert_allclose(m2[1:].sum() / 19, swept.variance.value[place, 1, 0].sum(), rtol=1e-4)
    pooled = vi.measurement.pool(alone)
    np.testing.assert_allclose(mean[0], pooled.mean[0], rtol=1e-5)


def test_the_package_is_named_after_itself_and_the_command_line_accepts_it():
    assert cli.experiment_name(bench) == "bench"
    cli.check_configs(cases.Config(), bench.QUICK)


def test_lines_carry_the_rows_and_where_they_come_from(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VI_JAX_CACHE", "off")
    block = run.measure(TOY, 2, np.random.default_rng(0))

    def measured(config, track):
        yield block

    measured.__module__ = bench.__name__
    monkeypatch.setattr(cli.inspect, "getfile", lambda function: bench.__file__)
    folder = cli.main(measured, bench.figure, TINY, quick=TINY, table=bench.table, argv=["--out", str(tmp_path)])
    assert folder.parent == tmp_path / "bench"
    lines = [json.loads(line) for line in bench.write_lines(folder).read_text(encoding="utf-8").splitlines()]
    assert [line["program"] for line in lines] == [program.name for program in TOY.programs]
    assert lines[0]["milliseconds"] == pytest.approx(block[0]["milliseconds"], rel=1e-12)
    assert lines[-1]["milliseconds"] is None
    for line, row in zip(lines, block, strict=True):
        assert line["temporary_bytes"] == row["temporary_bytes"]
        assert line["device"]["platform"] == jax.devices()[0].platform
        assert line["packages"]["jax"] == jax.__version__
        assert set(line["git"]) == {"commit", "dirty"}
    before = (folder / "rows.jsonl").read_bytes()
    assert bench.write_lines(folder).read_bytes() == before
    assert "hand-written" in capsys.readouterr().out


def test_the_figure_has_a_dot_for_every_program_timed_beside_a_reference(rows):
    with style.context():
        drawn = bench.figure(rows)
    (axes,) = drawn.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "toy, K = 4, loop",
        "toy, K = 4, twice",
    ]


def test_progress_names_the_case():
    seen = []

    def track(items, phase, *, label=str, cost=progress.one):
        seen.extend((phase, label(item), cost(item)) for item in items)
        return iter(())

    assert list(bench.run(TINY, cast(Any, track))) == []
    assert seen == [
        ("bench", "W1 fit step, K = 2", 3),
        ("bench", "W3 evidence, K = 6", 2),
        ("bench", "W4 sweep, K = 2", 3),
    ]
