"""No time is asserted: only that the same work is timed, and that what is reported is what was measured."""

import json
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from experiments import cli, progress, style
from experiments.bench import __main__ as bench
from experiments.bench import cases, references, run

TINY = cases.Config(
    num_steps=3,
    regression_samples=(2,),
    image_samples=(),
    evidence_samples=6,
    evidence_batch_size=2,
    num_runs=4,
    num_evidence_runs=2,
)


@pytest.fixture(scope="module")
def rows():
    return cli.collect(bench.run, TINY)


def by_program(rows, workload):
    return rows[rows["workload"] == workload].set_index("program")


def test_every_program_has_one_row_and_the_runs_that_were_asked_for(rows):
    assert dict(zip(zip(rows["workload"], rows["program"], strict=True), rows["num_runs"], strict=True)) == {
        ("W1 fit step", "hand-written"): 4,
        ("W1 fit step", "pathwise"): 4,
        ("W1 fit step", "STL"): 4,
        ("W3 evidence", "hand-written"): 0,
        ("W3 evidence", "log_evidence"): 2,
    }


def test_draws_per_second_and_milliseconds_tell_the_same_story(rows):
    timed = rows[rows["num_runs"] > 0]
    draws = timed["num_samples"] * timed["batch_size"]
    np.testing.assert_allclose(timed["draws_per_second"] * timed["milliseconds"], 1000 * draws)
    assert (timed["milliseconds_q1"] <= timed["milliseconds"]).all()
    assert (timed["milliseconds"] <= timed["milliseconds_q3"]).all()


def test_the_reference_is_the_unit_and_what_was_not_run_has_no_time(rows):
    assert by_program(rows, "W1 fit step").loc["hand-written", ["ratio", "flops_ratio", "temporary_ratio"]].tolist() == [1] * 3
    evidence = by_program(rows, "W3 evidence")
    assert evidence[["ratio", "ratio_low", "ratio_high"]].isna().all(axis=None)
    assert math.isnan(evidence.loc["hand-written", "milliseconds"])
    assert evidence["temporary_bytes"].gt(0).all()


def test_operations_are_those_of_one_step_and_never_of_a_streamed_program(rows):
    config = TINY.__class__(**{**vars(TINY), "num_steps": 6})
    for program, longer in zip(cases.regression(TINY, 2).programs[:1], cases.regression(config, 2).programs, strict=False):
        assert run.compile_program(program).flops == run.compile_program(longer).flops
    assert math.isnan(by_program(rows, "W3 evidence").loc["log_evidence", "flops"])


def test_the_interval_is_that_of_the_median_of_paired_ratios():
    reference = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    ratio = run.median_ratio(reference * [1.0, 2.0, 3.0, 4.0, 5.0], reference)
    half_width = 1.57 * 2 / math.sqrt(5)
    assert ratio == pytest.approx(
        {"ratio": 3, "ratio_low": 3 - half_width, "ratio_high": 3 + half_width, "ratio_q1": 2, "ratio_q3": 4}
    )


def test_programs_take_turns():
    order = []
    compiled = [run.Compiled(partial(lambda i: order.append(i), i), 0, 0, 0, 0) for i in range(3)]
    programs = tuple(cases.Program(str(i), print, ()) for i in range(3))
    seconds = run.time_in_turns(programs, compiled, 5, np.random.default_rng(0))
    assert [times.size for times in seconds] == [5, 5, 5]
    rounds = np.reshape(order, (run.NUM_WARM_UP_RUNS + 5, 3))
    assert (np.sort(rounds, axis=1) == [0, 1, 2]).all()
    assert len(np.unique(rounds, axis=0)) > 1


def z_scores(left, right):
    """Per coordinate, of the difference between the means of two sets of independent replicates `[R, P]`."""
    variance = left.var(axis=0, ddof=1) / len(left) + right.var(axis=0, ddof=1) / len(right)
    return np.abs(left.mean(axis=0) - right.mean(axis=0)) / np.sqrt(variance)


def replicates(function, num_replicates=2000):
    """Returns `[R, P]` float64: everything `function(key)` returns, flattened."""
    keys = jax.random.split(jax.random.key(3), num_replicates)
    leaves = jax.tree.leaves(jax.jit(jax.vmap(function))(keys))
    return np.concatenate([np.asarray(leaf, np.float64).reshape(num_replicates, -1) for leaf in leaves], axis=1)


def test_the_hand_written_regression_has_the_librarys_value_and_gradient():
    features, labels = (leaf[:7] for leaf in cases.tumours())
    guide = vi.guides.mean_field(31, initial_scale=0.5)
    phi = guide.init(jax.random.key(0))
    ours = vi.value_and_grad(cases.logistic_regression(), guide, vi.bounds.elbo, vi.estimators.pathwise, num_samples=2)

    def reference(key):
        return jax.value_and_grad(references.negative_elbo)(phi, key, features, labels, num_samples=2)

    def library(key):
        values, gradient = ours(jax.random.fold_in(key, 1), vi.Params((), phi), (features[None], labels[None]))
        return -values, jax.tree.map(jnp.negative, gradient.phi)

    assert z_scores(replicates(reference), replicates(library)).max() < 4


def test_the_hand_written_autoencoder_has_the_librarys_value_and_gradient():
    model = vi.models.bernoulli_decoder(2, 5, hidden=(4, 3))
    guide = vi.guides.gaussian_encoder(5, 2, hidden=(3, 4))
    params = vi.Params(model.init(jax.random.key(0)), guide.init(jax.random.key(1)))
    x = jax.random.bernoulli(jax.random.key(2), 0.5, (2, 5)).astype(float)
    ours = vi.value_and_grad(model, guide, vi.bounds.iwae, vi.estimators.pathwise, num_samples=3)

    def library(key):
        values, gradient = ours(jax.random.fold_in(key, 1), params, x)
        return -values.mean(), jax.tree.map(jnp.negative, gradient)

    def reference(key):
        return references.iwae_value_and_grad(key, params, x, num_samples=3)

    assert z_scores(replicates(reference), replicates(library)).max() < 4


def test_cases_are_those_of_the_configuration():
    chosen = cases.cases(cases.Config(regression_samples=(10,), image_samples=(5, 50)))
    assert [(case.workload, case.num_samples, [p.name for p in case.programs]) for case in chosen] == [
        ("W1 fit step", 10, ["hand-written", "pathwise", "STL"]),
        ("W2 gradient", 5, ["hand-written", "pathwise", "DReG", "wake-φ"]),
        ("W2 gradient", 50, ["hand-written", "pathwise", "DReG", "wake-φ", "chunk 10"]),
        ("W3 evidence", 5000, ["hand-written", "log_evidence"]),
    ]


def test_the_package_is_named_after_itself_and_the_command_line_accepts_it():
    assert cli.experiment_name(bench) == "bench"
    cli.check_configs(cases.Config(), bench.QUICK)


def test_lines_carry_the_rows_and_where_they_come_from(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VI_JAX_CACHE", "off")
    block = run.measure(cases.regression(TINY, 1), 2, np.random.default_rng(0))

    def measured(config, track):
        yield block

    measured.__module__ = bench.__name__
    monkeypatch.setattr(cli.inspect, "getfile", lambda function: bench.__file__)
    folder = cli.main(measured, bench.figure, TINY, quick=TINY, table=bench.table, argv=["--out", str(tmp_path)])
    assert folder.parent == tmp_path / "bench"
    lines = [json.loads(line) for line in bench.write_lines(folder).read_text(encoding="utf-8").splitlines()]
    assert [line["program"] for line in lines] == ["hand-written", "pathwise", "STL"]
    for line, row in zip(lines, block, strict=True):
        assert line["milliseconds"] == pytest.approx(row["milliseconds"], rel=1e-12)
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
        "W1 fit step, K = 2, STL",
        "W1 fit step, K = 2, pathwise",
    ]


def test_progress_names_the_case():
    seen = []

    def track(items, phase, *, label=str, cost=progress.one):
        seen.extend((phase, label(item), cost(item)) for item in items)
        return iter(())

    assert list(bench.run(TINY, track)) == []
    assert seen == [("bench", "W1 fit step, K = 2", 3), ("bench", "W3 evidence, K = 6", 2)]
