"""The front end of `vi.sweep`: every pair measured or refused with a reason, and a sweep that is killed goes on."""

import dataclasses
import io
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from experiments import cli, states, store, style, sweep, tables, zoo

CONFIG = sweep.Config(
    model="table",
    bounds=("elbo", "iwae"),
    estimators=("leave_one_out", "wake_phi", "pathwise"),
    samples=(1, 5),
    replicates=4000,
    reference=0,
    stops=4,
    states=None,
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """As read back from the file."""
    folder = tmp_path_factory.mktemp("rows")
    store.append(folder, cli.collect(sweep.run, CONFIG))
    return store.read(folder)


def test_every_pair_has_its_rows_at_every_k_defined_or_not(rows):
    cells = {(b, e, k, block) for b, e, k, block in rows[["bound", "estimator", "num_samples", "block"]].to_numpy()}
    assert len(rows) == len(cells) == 2 * 3 * 2 * 2
    undefined = rows[rows["undefined"].notna()]
    assert {(e, k) for e, k in undefined[["estimator", "num_samples"]].to_numpy()} == {
        ("leave_one_out", 1),
        ("pathwise", 1),
        ("pathwise", 5),
    }
    assert undefined[["value", "snr", "variance"]].isna().all(axis=None)
    assert not rows[rows["undefined"].isna()][["value", "snr", "variance"]].isna().any(axis=None)


def test_what_is_not_defined_is_listed_with_the_reason_and_no_address(rows):
    text = " ".join(" ".join(sweep.missing(rows)).split())
    assert "elbo/leave_one_out at K = 1: leave_one_out compares each draw with the others" in text
    assert "iwae with pathwise differentiates through the draws" in text
    assert "0x" not in text
    assert all(len(line) <= 80 for paragraph in sweep.missing(rows) for line in paragraph.splitlines())


def test_unbiased_pairs_agree_with_the_exact_gradient_and_wake_phi_does_not_in_phi(rows):
    known = rows[rows["undefined"].isna()]
    assert set(known["truth"]) == {"exact"}
    unbiased = known[known["estimator"].eq("leave_one_out") | known["block"].eq("theta")]
    assert (unbiased["largest_z"] < 5).all()
    assert (unbiased["bias_norm_low"] == 0).all()
    wake = known.query("estimator == 'wake_phi' and block == 'phi' and num_samples == 1")
    assert (wake["bias_norm_low"] > 0).all()
    # Of one draw the weight is 1, and the score has mean zero: nothing of the truth is left.
    assert wake["bias_norm"].to_numpy() == pytest.approx(wake["truth_norm"].to_numpy(), rel=0.2)


def test_the_table_fits_eighty_columns_and_the_figure_draws(rows):
    screen = io.StringIO()
    tables.show(sweep.table(rows), Console(file=screen, width=80))
    assert "not shown" not in screen.getvalue()
    assert len(sweep.table(rows)) == 2 + 2 * 2
    assert sweep.table(rows).query("objective == 'iwae LOO'")["bias"].tolist() == [0.0]
    with style.context():
        drawn = sweep.figure(rows)
    assert len(drawn.axes) == 6
    assert len(drawn.legends[0].get_texts()) == 4


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--model", "vae"], "there is no model 'vae': choose from table, "),
        (["--bounds", "iwae", "foo"], "there is no bound 'foo': choose from elbo, iwae, "),
        (["--bounds", "renyi"], "bound 'renyi' is written renyi:ALPHA"),
        (["--estimators", "dreg"], "there is no estimator 'dreg': choose from pathwise, "),
    ],
)
def test_an_unknown_name_costs_one_line_and_no_folder(tmp_path, capsys, flags, said):
    with pytest.raises(SystemExit) as stop:
        cli.main(sweep.run, sweep.figure, CONFIG, quick=CONFIG, argv=["--out", str(tmp_path), *flags])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert not list(tmp_path.iterdir())


def test_where_no_pair_is_legal_each_is_told_why():
    config = dataclasses.replace(CONFIG, estimators=("pathwise", "leave_one_out"), bounds=("iwae",), samples=(1,))
    with pytest.raises(SystemExit) as stop:
        cli.collect(sweep.run, config)
    first, *rest = str(stop.value.code).splitlines()
    assert first == "error: no pair is defined at any K."
    assert [line.partition(":")[0] for line in rest] == ["iwae/pathwise", "iwae/leave_one_out"]


# --- killed, and started again ----------------------------------------------------------------------------------------

KILLED = """
    import os, signal
    from pathlib import Path
    from experiments import cli, states, sweep

    write, count = states.write, [0]

    def dying(*args):
        write(*args)
        count[0] += 1
        if count[0] == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    states.write = dying
    cli.collect(sweep.run, sweep.Config({arguments}))
"""


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """A sweep that was killed by SIGKILL after its second of four stops, started again; what was said, and the rows."""
    config = dataclasses.replace(CONFIG, states=tmp_path_factory.mktemp("states"))
    arguments = ", ".join(f"{field.name}={getattr(config, field.name)!r}" for field in dataclasses.fields(config))
    program = textwrap.dedent(KILLED.format(arguments=arguments.replace("PosixPath", "Path")))
    ended = subprocess.run([sys.executable, "-c", program], env=os.environ, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    left = {path.name: path.read_bytes() for path in config.states.iterdir()}
    return config, left, cli.collect(sweep.run, config)


def test_a_killed_sweep_goes_on_and_every_number_is_that_of_one_that_was_never_stopped(resumed, rows):
    config, left, found = resumed
    assert [name.rpartition("-")[2] for name in left] == ["sweep.state"]
    assert not list(config.states.iterdir())
    again = io.StringIO(found.to_csv(index=False))
    pd.testing.assert_frame_equal(pd.read_csv(again, keep_default_na=False, na_values=[""]), rows, check_exact=True)


def test_it_did_go_on_and_a_damaged_state_is_reported_and_not_used(resumed, rows, capsys, monkeypatch):
    config, left, _ = resumed
    ((name, data),) = left.items()
    calls, saved, write = [], [], states.write
    monkeypatch.setattr(states, "write", lambda *args: (saved.append(args), write(*args)))

    def counting(items, phase, *, label=str, cost=lambda _: 1.0):
        items = list(items)
        calls.append((phase, len(items)))
        yield from items

    for content, said, steps, stops in (
        (data, "the sweep goes on from", 10, 2),
        (data[:-1] + b"?", "is damaged: the sweep starts anew", 20, 4),
    ):
        (config.states / name).write_bytes(content)
        calls.clear()
        saved.clear()
        found = pd.concat(sweep.run(config, counting))
        assert said in capsys.readouterr().err
        # Of twenty steps, and of four stops, the first half was done by the process that was killed.
        assert ("sweep", steps) in calls
        assert len(saved) == stops
        np.testing.assert_array_equal(found["variance"].to_numpy(), rows["variance"].to_numpy())


def test_a_state_of_other_parameters_is_reported_and_not_used(resumed, rows, capsys, monkeypatch):
    """As after a change of the library that moves the zoo: the file itself is whole and of this configuration."""
    config, left, _ = resumed
    ((name, data),) = left.items()
    (config.states / name).write_bytes(data)
    posed = zoo.problem("table")
    moved = posed._replace(params=posed.params._replace(phi=posed.params.phi + 0.1))
    monkeypatch.setattr(zoo, "problem", lambda name: moved)
    found = cli.collect(sweep.run, config)
    assert "is not used: resume is the state of another sweep" in capsys.readouterr().err
    assert not np.array_equal(found["variance"].to_numpy(), rows["variance"].to_numpy(), equal_nan=True)


def test_the_verdict_holds_and_turns_with_a_mean_gradient_and_a_bias(rows):
    (unbiased,) = sweep.verdict(rows)
    assert unbiased.holds
    assert sweep.verdict(rows.assign(largest_z=rows["largest_z"] + 10))[0].holds is False
    # wake-φ claims another mean, and is not asked about this one.
    wake = rows["estimator"].eq("wake_phi") & rows["block"].eq("phi")
    assert sweep.verdict(rows.assign(largest_z=rows["largest_z"] + 10 * wake))[0].holds
    sticking = rows.assign(estimator="sticking_the_landing", bias_norm_low=rows["truth_norm"])
    assert sweep.verdict(sticking)[1].holds
    assert sweep.verdict(sticking.assign(bias_norm_low=0.0, bias_norm_high=0.0))[1].holds is False
