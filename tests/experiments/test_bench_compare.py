"""Two files of the benchmark, made by hand: what is compared, what is refused, and what an interval covers."""

import json

import numpy as np
import pytest

from experiments.bench import compare, lines

DEVICE = {"platform": "cpu", "kind": "cpu", "count": 1, "cpu_count": 2, "host": "one"}
LINE = {
    "name": "W2 iwae K=5",
    "program": "DReG",
    "batch_size": 100,
    "num_steps": 1,
    "arithmetic": "float32",
    "device": DEVICE,
    "flops": 100.0,
    "temporary_bytes": 8.0,
    "compile_seconds": None,
}


def line(scale=1.0, *, machine=1.0, **changed):
    """Times around `scale` milliseconds, on a machine that is `machine` times slower."""
    times = np.random.default_rng(int(100 * scale)).uniform(0.95, 1.05, (2, 30)) * machine
    return LINE | {"run_milliseconds": list(scale * times[0]), "matmul_milliseconds": list(times[1])} | changed


@pytest.fixture
def write(tmp_path):
    def write(name, *written):
        folder = tmp_path / name
        folder.mkdir()
        (folder / lines.NAME).write_text("".join(json.dumps(one) + "\n" for one in written))
        return folder

    return write


def test_ratios_are_those_of_b_to_a(write):
    a = write("a", line(), line(program="only in a"))
    b = write("b", line(1.5, flops=50.0, temporary_bytes=None), line(program="only in b"))
    (row,) = compare.compared(a, b / lines.NAME).to_dict("records")
    assert row["× time"] == pytest.approx(1.5, rel=0.03)
    assert 1.4 < row["× time_low"] < row["× time"] < row["× time_high"] < 1.6
    assert row["resolved"] == "slower"
    assert row["× flops"] == 0.5
    assert np.isnan([row["× temporary"], row["× compile"]]).all()


def test_a_slower_machine_is_not_a_slower_program(write):
    (row,) = compare.compared(write("a", line()), write("b", line(machine=2.0))).to_dict("records")
    assert row["× time_low"] > 1.9
    assert row["× time/matmul"] == pytest.approx(1, abs=0.03)
    assert row["resolved"] == ""


def test_equal_programs_are_resolved_as_rarely_as_the_interval_says():
    rng = np.random.default_rng(0)
    a, b = rng.lognormal(0, 0.1, (2, 200, 30))
    inside = [low < 1 < high for _, low, high in (compare.median_ratio(*pair, rng) for pair in zip(a, b, strict=True))]
    assert 0.9 < np.mean(inside) <= 0.99


def test_few_runs_resolve_nothing(write):
    few = line(9.0)
    few = {name: value[:9] if name.endswith("milliseconds") else value for name, value in few.items()}
    (row,) = compare.compared(write("a", line()), write("b", few)).to_dict("records")
    assert row["× time_low"] > 8
    assert row["resolved"] == ""


def test_runs_of_several_files_in_one_count_together(write):
    a = write("a", line(), line(3.0))
    (row,) = compare.compared(a, write("b", line())).to_dict("records")
    assert row["runs"] == "60, 30"


def test_a_program_that_was_not_run_has_no_ratio(write):
    not_run = line(run_milliseconds=[], matmul_milliseconds=[])
    (row,) = compare.compared(write("a", line()), write("b", not_run)).to_dict("records")
    assert np.isnan(row["× time"])
    assert row["resolved"] == ""
    assert row["× flops"] == 1


def test_other_devices_and_other_arithmetic_are_refused(write):
    a = write("a", line())
    gpu = write("gpu", line(device=DEVICE | {"platform": "gpu", "kind": "NVIDIA H100"}))
    with pytest.raises(SystemExit, match=r"/a was measured on .*cpu.*/gpu on .*H100.*: .*measure both on one"):
        compare.compared(a, gpu)
    mixed = write("mixed", line(), line(device=DEVICE | {"cpu_count": 64}))
    with pytest.raises(SystemExit, match="64"):
        compare.compared(a, mixed)
    half = write("half", line(arithmetic="bfloat16"))
    with pytest.raises(SystemExit, match=r"in float32 and .*/half in bfloat16: .* --arithmetic"):
        compare.compared(a, half)
    with pytest.raises(
        SystemExit, match=r"no program is in both .*K=5.* and .*K=7.*: measure both with the same flags"
    ):
        compare.compared(a, write("other", line(name="W2 iwae K=7")))


def test_files_that_are_missing_empty_or_corrupt_are_refused(write, tmp_path):
    a = write("a", line())
    with pytest.raises(SystemExit, match=r"cannot read .*nowhere: give the folder"):
        compare.compared(a, tmp_path / "nowhere")
    with pytest.raises(SystemExit, match="empty/rows.jsonl has no lines"):
        compare.compared(write("empty"), a)
    cut = write("cut", line())
    text = (cut / lines.NAME).read_text()
    for rest in (text[:-20], json.dumps({"name": "a"}), "7"):
        (cut / lines.NAME).write_text(text + rest)
        with pytest.raises(SystemExit, match="line 2 of .*cut/rows.jsonl is no row of .*: remove that line"):
            compare.compared(a, cut)


def test_the_command_prints_and_fails_only_where_it_is_told_to(write, capsys):
    a, b = str(write("a", line())), str(write("b", line(1.5)))
    compare.main([a, b])
    assert "slower" in capsys.readouterr().out
    compare.main([a, b, "--fail-above", "1.9"])
    compare.main([b, a, "--fail-above", "1.1"])
    with pytest.raises(SystemExit, match=r"slower than 1.3 ×: W2 iwae K=5 DReG"):
        compare.main([a, b, "--fail-above", "1.3"])
