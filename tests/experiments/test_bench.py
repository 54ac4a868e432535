"""No time is asserted: only that the same work is timed, and that what is reported is what was measured."""

import math
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import vi_jax as vi
from experiments import cli, progress, provenance, store, style
from experiments.bench import __main__ as bench
from experiments.bench import (
    arithmetic,
    cases,
    elbo,
    lines,
    networks,
    peak,
    programs,
    references,
    regression,
    report,
    rows,
    run,
    sweeps,
)
from experiments.bench.config import QUICK, Config

TINY = Config(
    num_steps=3,
    regression_samples=(2,),
    num_fits=2,
    elbo_samples=(),
    iwae_samples=(),
    long_samples=(),
    evidence_samples=6,
    evidence_batch_size=2,
    sweep_samples=(1, 2),
    sweep_replicates=20,
    num_looped=4,
)
KEY = jax.random.key(0)
FULL = arithmetic.full()


def square(key, x):
    return x @ x


def noisy(size):
    return lambda key, x: vi.Params(jnp.zeros(2), size * jax.random.normal(key, (1000,)))


def square_in_a_loop(key, x):
    return jax.lax.fori_loop(0, 50, lambda _, y: x @ y, x)


def case(name, *toys):
    return programs.Case(name, "toy", 4, 2, num_steps=5, num_fits=3, arithmetic=FULL, programs=toys)


def identity(results):
    return results


X = (jnp.ones((16, 16)),)
TOY = case(
    "toy",
    programs.Program("hand-written", square, X),
    programs.Program("twice", lambda key, x: (square(key, x), square(key, x + 1)), X),
    programs.Program("loop", square_in_a_loop, X, counted=math.nan, max_runs=2),
    programs.Program("not run", square, X, max_runs=0),
)


def measured(toy, num_runs=4):
    return run.measure(toy, num_runs, np.random.default_rng(0), key=KEY, matmul_size=16)


@pytest.fixture(scope="module")
def toy_rows():
    return pd.DataFrame(measured(TOY))


def test_every_program_has_one_row_and_the_runs_that_it_allows(toy_rows):
    assert list(zip(toy_rows["program"], toy_rows["num_runs"], strict=True)) == [
        ("hand-written", 4),
        ("twice", 4),
        ("loop", 2),
        ("not run", 0),
    ]
    assert [len(times) for times in toy_rows["run_milliseconds"]] == [4, 4, 2, 0]
    assert [len(times) for times in toy_rows["matmul_milliseconds"]] == [4, 4, 2, 0]


def test_times_and_draws_are_those_of_one_step(monkeypatch):
    seconds = {"twice": 0.25, peak.NAME: 0.01}
    monkeypatch.setattr(run, "one_run", lambda program, *_: (seconds.get(program.name, 0.05), None))
    reference, twice, *_ = measured(TOY)
    assert [twice[f"milliseconds{end}"] for end in ("_q1", "", "_q3")] == pytest.approx([50, 50, 50])
    assert twice["run_milliseconds"] == pytest.approx([50] * 4)
    assert twice["draws_per_second"] == pytest.approx(4 * 2 * 3 * 5 / 0.25)
    assert [twice[f"ratio{end}"] for end in ("", "_low", "_high")] == pytest.approx([5, 5, 5])
    assert reference["ratio"] == 1
    assert reference["matmul_teraflops"] == pytest.approx(2 * 16**3 / 0.01 / 1e12)
    # Two programs share one amount of work: the reference's, of all five steps.
    assert reference["peak_share"] == pytest.approx(reference["flops"] * 5 / 0.05 / (2 * 16**3 / 0.01))
    assert twice["peak_share"] == pytest.approx(reference["peak_share"] / 5)


def test_operations_and_memory_are_compared_with_the_reference(toy_rows):
    flops = toy_rows.set_index("program")["flops_ratio"]
    assert flops["hand-written"] == flops["not run"] == 1
    assert flops["twice"] == pytest.approx(2, rel=0.05)
    assert math.isnan(flops["loop"])


def test_what_is_not_known_is_nan_and_says_why(toy_rows):
    timing = [name for name in toy_rows if name.startswith(("milliseconds", "ratio", "draws", "peak_share"))]
    assert toy_rows.iloc[-1][timing].isna().all()
    assert toy_rows.iloc[:-1][timing].notna().all(axis=None)
    notes = toy_rows.set_index("program")["notes"]
    assert programs.IN_A_LOOP in notes["loop"]
    assert programs.IN_A_LOOP not in notes["twice"]
    assert notes.str.contains(rows.NO_GRADIENT).all()


def test_a_program_larger_than_the_memory_is_not_run_and_says_so(monkeypatch):
    monkeypatch.setattr(peak, "free_bytes", lambda: 100.0)
    large = partial(lambda key, x: jnp.sort(jnp.sort(x @ x, axis=0) @ x, axis=0))
    (row,) = measured(case("large", programs.Program("large", large, X)))
    assert row["temporary_bytes"] > 100
    assert row["num_runs"] == 0
    assert rows.TOO_LARGE in row["notes"]


def test_the_peak_of_the_device_is_told_of_the_program_that_raised_it(monkeypatch):
    monkeypatch.setattr(peak, "memory_stats", iter([{"peak_bytes_in_use": n} for n in (3, 7, 7, 7)]).__next__)
    one = programs.Program("one", lambda key: key, ())
    compiled = programs.Compiled(one.call, 0, 0, 0, 0, 0)
    assert run.warm_up(one, compiled, KEY) == (7, ())
    held, (note,) = run.warm_up(one, compiled, KEY)
    assert math.isnan(held)
    assert "earlier program" in note


def test_the_variance_of_a_gradient_comes_from_its_timed_runs():
    toy = case(
        "noise",
        programs.Program("hand-written", noisy(1.0), X, identity),
        programs.Program("three times", noisy(3.0), X, identity),
    )
    one, three = measured(toy, 64)
    # A sum of 32,000 squares of normals, halved differences of independent pairs.
    assert one["variance_phi"] == pytest.approx(1000, rel=5 * math.sqrt(2 / 32_000))
    assert one["variance_theta"] == 0
    assert one["variance"] == one["variance_phi"]
    assert one["variance_phi_low"] < 1000 < one["variance_phi_high"]
    # The same keys, so the ratio is exact, and its interval a point.
    assert [three[f"variance_ratio_phi{end}"] for end in ("", "_low", "_high")] == pytest.approx([9, 9, 9], rel=1e-5)
    assert three["cost_ratio_phi"] == pytest.approx(
        9 * np.median(three["run_milliseconds"]) / np.median(one["run_milliseconds"]), rel=1e-5
    )
    assert math.isnan(three["variance_ratio_theta"])


def test_bytes_per_draw_are_the_slope_of_the_temporaries():
    def sort(num_samples):
        return lambda key: jnp.sort(jax.random.normal(key, (num_samples, 2, 50)))[:, 0, 0].sum()

    program = programs.Program("p", sort(400), (), fewer=programs.Fewer(sort(200), 200))
    (row,) = measured(case("slope", program)._replace(num_samples=400), 1)
    few, many = (programs.ahead_of_time(program._replace(call=sort(k)), KEY).temporary_bytes for k in (200, 400))
    assert row["bytes_per_draw"] == (many - few) / (2 * 200)
    assert row["bytes_per_draw"] >= 4 * 50


def test_the_operations_of_a_scan_over_steps_are_those_of_one_step():
    few, many = (regression.fit(Config(num_steps=steps), "", 2, FULL).programs[0] for steps in (3, 6))
    few, many = (programs.ahead_of_time(program, KEY).flops for program in (few, many))
    # The keys of all steps are made before the scan, and counted.
    assert few < many < few + 3 * 50
    assert many < 1.001 * few


def test_the_interval_is_that_of_the_median_of_paired_ratios():
    reference = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    ratio = rows.median_ratio(reference * [1.0, 2.0, 3.0, 4.0, 5.0], reference)
    half_width = 1.57 * 2 / math.sqrt(5)
    assert ratio == pytest.approx(
        {"ratio": 3, "ratio_low": 3 - half_width, "ratio_high": 3 + half_width, "ratio_q1": 2, "ratio_q3": 4}
    )


def test_programs_take_turns_with_the_key_of_the_round():
    order, keys = [], [jax.random.key(r) for r in range(5)]

    def note(i, key):
        order.append((i, key))

    compiled = [programs.Compiled(cast(Any, partial(note, i)), 0, 0, 0, 0, 0) for i in range(3)]
    three = tuple(programs.Program(str(i), print, ()) for i in range(3))
    timed = run.time_in_turns(three, compiled, keys, np.random.default_rng(0))
    assert [one.seconds.size for one in timed] == [5, 5, 5]
    rounds = [order[i : i + 3] for i in range(3 * run.NUM_WARM_UP_RUNS, len(order), 3)]
    assert all(sorted(i for i, _ in turn) == [0, 1, 2] for turn in rounds)
    assert len({tuple(i for i, _ in turn) for turn in rounds}) > 1
    assert [[key for _, key in turn] for turn in rounds] == [[key] * 3 for key in keys]


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
    features, labels = (leaf[:7] for leaf in regression.tumours())
    guide = vi.guides.mean_field(31)
    phi = jittered(guide.init(jax.random.key(0)))
    keys = jax.random.split(jax.random.key(2), NUM_REPLICATES)
    negative = jax.vmap(lambda key: references.negative_elbo(phi, key, features, labels, num_samples=1))(keys)
    data = (features[None], labels[None])
    log_w = jax.jit(
        lambda key: vi.log_weights(
            key, regression.logistic_regression(), guide, vi.Params((), phi), data, num_samples=NUM_REPLICATES
        )
    )(jax.random.key(3))
    assert z_score(-negative, log_w) < 4


def test_the_hand_written_regression_climbs_to_where_fit_climbs():
    reference, ours, _ = regression.fit(Config(num_steps=200), "", 2, FULL).programs
    phi, values = reference.call(KEY, *reference.arguments)
    state, history = ours.call(KEY, *ours.arguments)
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


def test_the_hand_written_elbo_is_the_mean_of_the_librarys_log_weights():
    model = vi.models.bernoulli_decoder(2, 5, hidden=(4, 3))
    guide = vi.guides.gaussian_encoder(5, 2, hidden=(3, 4))
    params = jittered(vi.Params(model.init(jax.random.key(0)), guide.init(jax.random.key(1))))
    x = jax.random.bernoulli(jax.random.key(2), 0.5, (3, 5)).astype(float)
    log_w = jax.jit(lambda key: vi.log_weights(key, model, guide, params, x, num_samples=NUM_REPLICATES))
    by_hand = jax.jit(lambda key: elbo.value_and_grad(key, params, x, num_samples=NUM_REPLICATES)[0])
    draws = np.asarray(log_w(jax.random.key(3)), np.float64).mean(axis=1)
    standard_error = draws.std() * math.sqrt(2 / NUM_REPLICATES)
    assert abs(draws.mean() + float(by_hand(jax.random.key(4)))) < 4 * standard_error


def test_networks_in_bfloat16_are_those_of_float32_to_three_digits():
    full, half = (networks.networks(dtype) for dtype in ("float32", "bfloat16"))
    params, x = networks.arguments(0, full[0], full[1], 2)
    assert jax.tree.structure(networks.arguments(0, half[0], half[1], 2)[0]) == jax.tree.structure(params)
    exact, rounded = (
        jax.jit(lambda key, pair=pair: vi.log_weights(key, pair[0], pair[1], params, x, num_samples=3))(KEY)
        for pair in (full, half)
    )
    assert rounded.dtype == exact.dtype
    np.testing.assert_allclose(rounded, exact, rtol=5e-3)
    assert not np.allclose(rounded, exact, rtol=1e-6)


def test_a_reference_keeps_full_precision_and_its_row_says_so():
    (entry,) = cases.chosen(Config(cases=("W3*",), evidence_samples=4, evidence_batch_size=2, arithmetic=("bfloat16",)))
    by_hand, ours = run.measure(
        cases.build(entry, Config(evidence_batch_size=2)), 1, np.random.default_rng(0), key=KEY, matmul_size=8
    )
    assert [row["arithmetic"] for row in (by_hand, ours)] == ["bfloat16"] * 2
    assert (by_hand["dtype"], by_hand["precision"]) == ("float32", "highest")
    assert (ours["dtype"], ours["precision"]) == ("bfloat16", "default")


def test_the_table_of_cases():
    assert [entry.name for entry in cases.chosen(Config())] == [
        *("W1 elbo S=1", "W1 elbo S=10", "W1 elbo S=100", "W1 32 fits S=10"),
        *("W2 elbo K=1", "W2 elbo K=5", "W2 elbo K=50"),
        *("W2 iwae K=1", "W2 iwae K=5", "W2 iwae K=50", "W2 iwae K=500"),
        *("W3 evidence K=5000", "W4 sweep K=1024", "W5 long K=512", "W5 long K=32768"),
    ]


def names(config):
    return [(entry.name, entry.arithmetic.name) for entry in cases.chosen(config)]


def test_cases_and_programs_are_chosen_by_pattern_and_samples():
    assert names(Config(cases=("W2 iwae*", "W3*"), samples=(5, 5000))) == [
        ("W2 iwae K=5", "float32"),
        ("W3 evidence K=5000", "float32"),
    ]
    assert names(Config(cases=("W1*", "W2*"), samples=(1,), arithmetic=("bfloat16",))) == [
        ("W2 elbo K=1", "bfloat16"),
        ("W2 iwae K=1", "bfloat16"),
    ]
    config = Config(cases=("W2 iwae*",), samples=(1, 500), programs=("VIMCO", "D*"))
    built = [[p.name for p in cases.build(entry, config).programs] for entry in cases.chosen(config)]
    assert built == [["hand-written", "DReG"], ["hand-written", "DReG/10"]]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Config(cases=("W9*",)), r"no case matches W9\*: choose from 'W1 elbo S=1', 'W1"),
        (Config(samples=(7,)), r"K or S among \[7\]"),
        (Config(arithmetic=("float16",)), "no arithmetic is called float16: choose from float32, "),
        (Config(arithmetic=("float64",)), "float64 keeps parameters in float64, .* is float32: set JAX_ENABLE_X64=1"),
    ],
)
def test_a_choice_that_is_none_is_one_error(config, message):
    with pytest.raises(SystemExit, match=message):
        cases.chosen(config)


def test_the_time_of_a_part_is_scaled_to_the_whole(monkeypatch):
    monkeypatch.setattr(run.time, "perf_counter", iter(range(100)).__next__)
    part = programs.Program("part", lambda key: key, (), share=0.25)
    assert run.one_run(part, programs.Compiled(part.call, 0, 0, 0, 0, 0), KEY) == (4, KEY)


def test_all_programs_of_a_sweep_measure_the_same_moments(monkeypatch):
    few = {name: sweeps.OBJECTIVES[name] for name in ("elbo/pathwise", sweeps.REFERENCE_NAME)}
    monkeypatch.setattr(sweeps, "OBJECTIVES", few)
    config = Config(sweep_samples=(2, 4), sweep_replicates=20, num_looped=20)
    alone, swept, looped = (p.call(KEY, *p.arguments) for p in sweeps.sweep(config, "", 4, FULL).programs)
    place = list(sweeps.OBJECTIVES).index(sweeps.REFERENCE_NAME)
    mean, m2 = looped[2 * place + 1]
    np.testing.assert_allclose(mean[0], swept.value.value[place, 1, 0], rtol=1e-5)
    np.testing.assert_allclose(m2[1:].sum() / 19, swept.variance.value[place, 1, 0].sum(), rtol=1e-4)
    pooled = vi.measurement.pool(alone)
    np.testing.assert_allclose(mean[0], pooled.mean[0], rtol=1e-5)


def test_many_fits_are_fits_from_the_keys_of_the_seeds():
    _, ours, _ = regression.fit(TINY, "", 2, FULL).programs
    _, many = regression.many_fits(TINY, "", 2, FULL).programs
    state, _ = jax.jit(many.call)(KEY, *many.arguments)
    second, _ = ours.call(jax.random.split(KEY)[1], *ours.arguments)
    np.testing.assert_allclose(state.params.phi.loc[1], second.params.phi.loc, rtol=1e-5)


def test_the_package_is_named_after_itself_and_the_command_line_accepts_it():
    assert cli.experiment_name(bench) == "bench"
    cli.check_configs(Config(), QUICK)


def test_lines_carry_the_rows_and_where_they_come_from(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VI_JAX_CACHE", "off")
    monkeypatch.setattr(bench, "chosen", lambda config: [cases.Entry(n, 4, FULL, cast(Any, None)) for n in "ab"])
    monkeypatch.setattr(bench, "build", lambda entry, config: TOY._replace(name=entry.name))
    arguments = ["--out", str(tmp_path), "--num-runs", "2", "--matmul-size", "8"]
    folder = cli.main(
        bench.run, report.figure, TINY, quick=TINY, table=report.table, call=cli.with_folder, argv=arguments
    )
    assert folder.parent == tmp_path / "bench"
    read, csv = lines.read(folder), store.read(folder)
    assert [(line["name"], line["program"]) for line in read] == [(n, p.name) for n in "ab" for p in TOY.programs]
    assert read[0]["milliseconds"] == pytest.approx(np.median(read[0]["run_milliseconds"]))
    assert read[3]["milliseconds"] is None
    assert read[0]["matmul_size"] == 8
    for line, row in zip(read, csv.to_dict("records"), strict=True):
        assert line["temporary_bytes"] == row["temporary_bytes"]
        assert line["device"]["platform"] == jax.devices()[0].platform
        assert line["packages"]["jax"] == jax.__version__
        assert set(line["git"]) == {"commit", "dirty"}
        assert (line["dtype"], line["precision"]) == ("float32", "highest")
    assert "hand-written" in capsys.readouterr().out
    text = report.write_wide(folder).read_text(encoding="utf-8")
    assert "columns not shown" not in text
    assert f"– {programs.IN_A_LOOP}: a loop, b loop" in text


def test_a_run_that_is_killed_keeps_the_lines_of_the_cases_before(tmp_path, monkeypatch):
    store.write_provenance(tmp_path, provenance.record("bench", tmp_path, TINY, []))
    monkeypatch.setattr(bench, "chosen", lambda config: list("ab"))
    monkeypatch.setattr(bench, "build", lambda entry, config: {"a": TOY}[entry])
    with pytest.raises(KeyError, match="b"):
        list(bench.run(TINY, progress.silent, tmp_path))
    assert [line["program"] for line in lines.read(tmp_path)] == [program.name for program in TOY.programs]


def test_the_table_begins_with_what_fits_80_columns(toy_rows):
    table = report.table(toy_rows)
    assert list(table)[:6] == ["case", "program", "ms", "× time", "× time_low", "× time_high"]
    assert list(table["case"]) == ["toy", "", "", ""]


def test_the_figure_has_a_dot_for_every_program_timed_beside_a_reference(toy_rows):
    with style.context():
        drawn = report.figure(toy_rows)
    (axes,) = drawn.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["toy, loop", "toy, twice"]


def test_progress_names_the_case(tmp_path):
    seen = []

    def track(items, phase, *, label=str, cost=progress.one):
        seen.extend((phase, label(item)) for item in items)
        return iter(())

    assert list(bench.run(TINY, cast(Any, track), tmp_path)) == []
    assert seen == [
        ("bench", "W1 elbo S=2"),
        ("bench", "W1 2 fits S=2"),
        ("bench", "W3 evidence K=6"),
        ("bench", "W4 sweep K=2"),
    ]
