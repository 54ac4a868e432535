import io

from rich.console import Console

from experiments import progress

CELLS = (1, 3, 4)


def test_every_track_passes_all_items_in_order():
    console = Console(file=io.StringIO())
    with progress.live(console) as bars:
        for track in (progress.silent, progress.plain(io.StringIO()), bars):
            assert tuple(track(iter(CELLS), "sweep", label=str, cost=float)) == CELLS


def test_lines_tell_the_remaining_time_by_cost():
    times = [0.0]
    stream = io.StringIO()
    for cell in progress.plain(stream, lambda: times[0])(CELLS, "sweep", label=lambda k: f"K={k}", cost=float):
        times[0] += 10.0 * cell
    assert stream.getvalue().splitlines() == [
        "sweep: 1/3, 0:10 elapsed, 1:10 left (K=1)",
        "sweep: 2/3, 0:40 elapsed, 0:40 left (K=3)",
        "sweep: 3/3, 1:20 elapsed, 0:00 left (K=4)",
    ]


def test_lines_are_at_least_ten_seconds_apart():
    times = [0.0]
    stream = io.StringIO()
    for _ in progress.plain(stream, lambda: times[0])(range(100), "training"):
        times[0] += 1.0
    assert len(stream.getvalue().splitlines()) == 10


def test_steps_that_cost_nothing_leave_the_remaining_time_open():
    stream = io.StringIO()
    assert list(progress.plain(stream)([1], "sweep", cost=lambda _: 0.0)) == [1]
    assert "? left" in stream.getvalue()


def test_the_bar_fits_eighty_columns_and_names_the_cell():
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, color_system=None, legacy_windows=False)
    display = progress.bar_display(console)
    for _ in progress.bars(display)(CELLS, "sweep", label=lambda k: f"[bold]={k} " + "long " * 20, cost=float):
        console.print(display)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    for line, start, count in zip(
        lines, ("sweep [bold]=1 ", "sweep [bold]=3 ", "sweep [bold]=4 "), ("0/3", "1/3", "2/3"), strict=True
    ):
        assert line.startswith(start)
        assert f" {count} " in line
        assert len(line) <= 80
    assert display.tasks[0].completed == sum(CELLS)


def test_what_is_not_a_terminal_gets_no_control_characters():
    stream = io.StringIO()
    with progress.display(stream) as track:
        list(track(CELLS, "sweep"))
    assert stream.getvalue().startswith("sweep: 3/3")
    assert "\x1b" not in stream.getvalue()


def test_clock_time():
    assert [progress.clock_time(s) for s in (0.4, 59.6, 61, 3600)] == ["0:00", "1:00", "1:01", "1:00:00"]
