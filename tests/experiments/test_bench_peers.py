"""No time is asserted: only that the peers compute what the library computes, and what is said where they do not."""

import functools
import importlib
import json
import math
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import vi_jax as vi
from experiments import cli, store
from experiments.bench.peers import __main__ as peers
from experiments.bench.peers import (
    contest,
    in_blackjax,
    in_numpyro,
    in_tfp,
    loops,
    ours,
    page,
    processes,
    report,
    targets,
    work,
    worker,
)
from experiments.bench.programs import called

NUM_DRAWS = 4000
RATE = 0.1
LOC, LOG_SCALE = np.array([0.3, -0.2, 0.5]), np.array([-1.0, -0.5, -1.5])


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(7, 3)).astype(np.float32)
    return work.Regression(features, rng.integers(0, 2, 7).astype(np.float32))


@pytest.fixture(scope="module")
def exact(data):
    """The ELBO by quadrature and its gradient by differences, in float64."""

    def shifted(step):
        return work.elbo(LOC + step[:3], LOG_SCALE + step[3:], data)

    steps = 1e-5 * np.eye(6)
    return work.elbo(LOC, LOG_SCALE, data), np.array([shifted(e) - shifted(-e) for e in steps]) / 2e-5


def resolved(draws, expected):
    """The largest z-score of the mean of draws `[R, ...]`."""
    draws = np.asarray(draws, np.float64)
    return np.max(np.abs(draws.mean(axis=0) - expected) / (draws.std(axis=0) / math.sqrt(len(draws))))


def check(value_and_grad, exact):
    """Mean and gradient of minus the ELBO over draws, `key -> (value, (loc, log_scale) gradient)`."""
    keys = jax.random.split(jax.random.key(0), NUM_DRAWS)
    values, gradients = jax.jit(jax.vmap(value_and_grad))(keys)
    assert resolved(-np.asarray(values), exact[0]) < 4.5
    assert resolved(-np.concatenate(gradients, axis=1), exact[1]) < 4.5


PHI = jnp.asarray(LOC, jnp.float32), jnp.asarray(LOG_SCALE, jnp.float32)


def test_the_librarys_elbo_and_gradient_are_those_of_the_quadrature(data, exact):
    objective = vi.value_and_grad(
        ours.logistic_regression(), vi.guides.mean_field(3), vi.bounds.elbo, vi.estimators.pathwise, num_samples=1
    )
    params = vi.Params((), vi.guides.mean_field(3).init(jax.random.key(0))._replace(loc=PHI[0], log_scale=PHI[1]))

    def negative(key):
        values, gradient = objective(key, params, (data.features[None], data.labels[None]))
        return -values[0], jax.tree.map(jnp.negative, tuple(gradient.phi))

    check(negative, exact)


def test_numpyros_elbo_and_gradient_are_the_same(data, exact):
    svi = in_numpyro.regression_svi(data, 1)

    def negative(key):
        def loss(phi):
            return svi.loss.loss(key, dict(zip(("loc", "log_scale"), phi, strict=True)), svi.model, svi.guide, *data)

        return jax.value_and_grad(loss)(PHI)

    check(negative, exact)


def test_tfps_elbo_and_gradient_are_the_same(data, exact):
    log_prob = in_tfp.target(data)

    def negative(key):
        def loss(phi):
            q = in_tfp.surrogate(*phi)
            z = q.sample(1, seed=key)
            return jnp.mean(q.log_prob(z) - log_prob(z))

        return jax.value_and_grad(loss)(PHI)

    check(negative, exact)


def test_blackjaxs_elbo_and_gradient_are_the_same(data, exact):
    """Its step shows the gradient as what plain gradient descent adds, and minus the ELBO as `elbo`."""
    import optax

    algorithm, state = in_blackjax.start(data, 1, optax.sgd(1.0))
    state = state._replace(mu=PHI[0], rho=PHI[1])

    def negative(key):
        after, info = algorithm.step(key, state)
        return info.elbo, (state.mu - after.mu, state.rho - after.rho)

    check(negative, exact)


TINY = work.Config(num_steps=3, num_fits=2, num_seeds=4, batch_size=2, num_values=30, num_replicates=20)


def test_numpyros_iwae_bound_and_gradient_are_ours(monkeypatch):
    """At the same parameters, with hidden layers of two units, over many draws."""
    monkeypatch.setattr(work, "HIDDEN", (2, 2))
    monkeypatch.setattr(work, "LATENT_DIM", 2)
    params, x = ours.network_params(0), jnp.asarray(work.images(0, 2))
    svi, objective = in_numpyro.iwae_svi(params, 2), ours.iwae_objective(2)
    start = {"theta": params.theta, "phi": params.phi}

    def theirs(key):
        def bound(both):
            return -svi.loss.loss(key, both, svi.model, svi.guide, x) / len(x)

        value, gradient = jax.value_and_grad(bound)(start)
        return value, gradient["phi"]["loc"]["bias"], gradient["theta"]["Dense_0"]["bias"]

    def library(key):
        values, gradient = objective(key, params, x)
        return values.mean(), gradient.phi["loc"]["bias"], gradient.theta["Dense_0"]["bias"]

    keys = jax.random.split(jax.random.key(0), 1000)
    for a, b in zip(*(jax.jit(jax.vmap(f))(keys) for f in (theirs, library)), strict=True):
        spread = np.sqrt((np.var(a, axis=0) + np.var(b, axis=0)) / len(keys))
        assert np.all(np.abs(np.mean(a, axis=0) - np.mean(b, axis=0)) < 4.5 * spread)


def test_a_loop_and_one_program_have_the_same_variance():
    """They share their draws, so this is rounding."""
    one, loop = (entry.value() for entry in loops.variances(TINY, 2).entries)
    assert loop.mean == pytest.approx(one.mean, rel=1e-5)


def entry(name, value, call=lambda: np.zeros(1)):
    return contest.Entry(name, call, (), contest.ARITHMETIC, value, called)


def broken():
    raise RuntimeError("no compiler\nand much more")


@pytest.fixture(scope="module")
def rows():
    """A contest of one that agrees, one that does not, and one that fails; and a peer that is missing."""
    never = functools.partial(pytest.fail, "was timed")
    entries = (
        entry("ours", lambda: contest.Value(-10.0, 0.5)),
        entry("near", lambda: contest.Value(-10.4, 0.0)),
        entry("far", lambda: contest.Value(-10.6, 0.0), never),
        entry("nan", lambda: contest.Value(math.nan, 1.0), never),
        entry("broken", broken, never),
    )
    found = contest.compete(contest.Contest("W1 fit", 1, 1, 10, entries), 3, np.random.default_rng(0))
    missing = processes.blocks(processes.Peer("Absent", "no_such_framework", "absent"), TINY)
    return pd.DataFrame([{"peer": "NumPyro"} | row for row in found] + [row for block in missing for row in block])


def test_only_a_program_that_reaches_the_same_value_is_timed(rows):
    by_name = rows.set_index("program")
    assert by_name["status"].to_dict() == {
        "near": "ok",
        "far": "mismatch",
        "nan": "mismatch",
        "broken": "failed: RuntimeError: no compiler",
        "–": "not installed: pip install absent",
    }
    assert by_name["ratio"].notna().to_dict() == {name: name == "near" for name in by_name.index}
    assert by_name.loc["near", "num_runs"] == 3


def test_the_table_says_why_there_is_no_ratio(rows):
    shown = report.table(rows).set_index("program")["peer / ours"].to_dict()
    assert shown["far"] == "mismatch"
    assert shown["–"] == "not installed: pip install absent"
    assert "to" in shown["near"]


def test_a_goal_is_met_missed_or_not_measured(rows):
    timed = rows.assign(ratio=2.0, ratio_low=1.5, ratio_high=2.5)

    def met(program, number, reaches=operator.ge):
        goal = targets.Goal("x", "NumPyro", "W1 fit", program, 1, number, "ratio", reaches)
        return targets.judge(goal, timed)["met"]

    assert [met("near", 2.0), met("near", 2.1), met("near", 1.9, operator.le)] == ["yes", "NO", "NO"]
    assert [met("far", 1.0), met("absent", 1.0)] == ["mismatch", "not measured"]


def test_every_goal_names_a_program_that_is_timed():
    """Of the frameworks that are installed here."""
    names = {
        (peer, one.workload, one.num_samples, each.name)
        for peer in ("plain JAX", "NumPyro", "BlackJAX")
        for one in importlib.import_module(f"experiments.bench.peers.{worker.MODULES[peer]}").contests(work.Config())
        for each in one.entries[1:]
    }

    def found(goal):
        return any(
            (goal.peer, goal.workload) == name[:2]
            and goal.num_samples in (None, name[2])
            and name[3].endswith(goal.program)
            for name in names
        )

    assert [goal for goal in targets.GOALS if goal.peer != "PyTorch" and not found(goal)] == []


def test_a_page_is_renewed_between_its_marks(rows, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    store.append(folder, rows)
    config = {"num_runs": 3, "num_loop_steps": 5, "peers": []}
    record = {
        "experiment": "peers",
        "config": config,
        "git": {"commit": "0123456789", "dirty": False},
        "device": {"cpu_count": 2, "kind": "cpu"},
        "packages": {},
        "python": "3",
    }
    (folder / "provenance.json").write_text(json.dumps(record))
    path = tmp_path / "page.md"
    path.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    page.write(path, [folder])
    text = path.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "`--num-runs 3 --num-loop-steps 5`; commit 0123456," in text
    assert "| NumPyro | W1 fit | 1 | mismatch | far |" in text
    path.write_text("no marks")
    with pytest.raises(SystemExit, match="must hold the line"):
        page.write(path, [folder])


def test_a_peer_by_another_name_is_an_error_with_all_names():
    with pytest.raises(ValueError, match="no peer 'Stan': choose from plain JAX, NumPyro"):
        cli.collect(peers.run, work.Config(peers=("Stan",)))


def test_processes_have_equal_threads_and_jaxs_own_level():
    made = processes.environment({"XLA_FLAGS": "--a=1 --xla_backend_optimization_level=1", "HOME": "/x"}, 3)
    assert made["XLA_FLAGS"] == "--a=1 --xla_backend_optimization_level=3"
    assert made["OMP_NUM_THREADS"] == str(processes.num_threads())


def test_a_process_that_fails_is_one_row(monkeypatch):
    """Its worker knows no framework of that name."""
    (row,) = [row for block in processes.blocks(processes.Peer("Unknown", "jax", "jax"), TINY) for row in block]
    assert row["status"].startswith("failed: its process ended with status 1")
