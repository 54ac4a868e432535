import itertools

import numpy as np
import pandas as pd
import pytest

from experiments import style

KS = [2**i for i in range(11)]


@pytest.fixture
def rows():
    gap = [-1 / k for k in KS]
    return pd.DataFrame({"K": KS, "gap": gap, "gap_low": [g * 1.1 for g in gap], "gap_high": [g * 0.9 for g in gap]})


def drawing(rows):
    figure, axes = style.panels(1, 2)
    for panel, mark in zip(axes[0], (style.band, style.bars), strict=True):
        mark(panel, rows, "K", "gap", **style.line("iwae/pathwise"))
        style.log2_axis(panel, rows["K"])
    style.legend(figure)
    return figure


def saved(rows, folder):
    with style.context():
        return style.save(drawing(rows), folder)


def test_the_same_rows_give_the_same_bytes(rows, tmp_path):
    first, second = saved(rows, tmp_path), saved(rows.sample(frac=1, random_state=0), tmp_path)
    assert [path.name for path in first + second] == ["figure.png", "figure.svg", "figure-2.png", "figure-2.svg"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert b"<dc:date>" not in first[1].read_bytes()


def test_other_rows_give_other_bytes(rows, tmp_path):
    first, second = saved(rows, tmp_path), saved(rows.assign(gap=rows["gap"] * 1.05), tmp_path)
    assert all(one.read_bytes() != other.read_bytes() for one, other in zip(first, second, strict=True))


def test_a_reader_s_own_settings_have_no_say(rows, tmp_path):
    import matplotlib as mpl

    first = saved(rows, tmp_path)
    with mpl.rc_context({"lines.linewidth": 9, "font.size": 30, "axes.facecolor": "black"}):
        second = saved(rows, tmp_path)
    assert first[1].read_bytes() == second[1].read_bytes()


def test_a_png_has_two_hundred_dots_per_inch(rows, tmp_path):
    from PIL import Image

    with Image.open(saved(rows, tmp_path)[0]) as image:
        assert image.size == (round(style.TEXT_WIDTH * 200), round(style.PANEL_HEIGHT * 200))


def test_every_number_of_samples_is_an_integer_tick(rows, tmp_path):
    with style.context():
        figure = drawing(rows)
        style.save(figure, tmp_path)
    axis = figure.axes[0].xaxis
    assert [label.get_text() for label in axis.get_ticklabels()] == ["1", "4", "16", "64", "256", "1024"]
    assert set(axis.get_minorticklocs()) | set(axis.get_majorticklocs()) == set(KS)
    assert axis.get_scale() == "log"


def test_few_numbers_of_samples_are_all_labelled():
    figure, axes = style.panels()
    style.log2_axis(axes[0, 0], [5, 1, 50, 5])
    figure.draw_without_rendering()
    assert [label.get_text() for label in axes[0, 0].get_xticklabels()] == ["1", "5", "50"]


def test_the_interval_is_drawn_where_it_is(rows):
    _, axes = style.panels(1, 2)
    style.band(axes[0, 0], rows, "K", "gap", **style.line("elbo"))
    style.bars(axes[0, 1], rows, "K", "gap", **style.line("elbo"))
    outline = axes[0, 0].collections[0].get_paths()[0].vertices
    for _, row in rows.iterrows():
        heights = outline[outline[:, 0] == row["K"], 1]
        assert {row["gap_low"], row["gap_high"]} <= set(heights)
    ends = np.array(axes[0, 1].collections[0].get_segments())
    np.testing.assert_array_equal(ends[:, :, 1], rows[["gap_low", "gap_high"]])


def test_the_legend_names_each_series_once(rows):
    figure = drawing(rows)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["IWAE, pathwise"]


def test_no_two_series_look_alike():
    looks = [series[1:] for series in style.SERIES.values()]
    assert len(set(looks)) == len(looks)
    assert len({series.label for series in style.SERIES.values()}) == len(looks)


def test_estimators_that_share_a_figure_differ_in_black_and_white_too():
    sweep = [series for name, series in style.SERIES.items() if "/" in name]
    for one, other in itertools.combinations(sweep, 2):
        assert (one.marker, one.dash) != (other.marker, other.dash)


def test_a_series_without_a_look_is_named():
    with pytest.raises(ValueError, match=r"no series 'iwea'.*style\.SERIES"):
        style.line("iwea")


def test_a_cycle_tells_its_names_apart_and_knows_its_end():
    looks = style.cycle([str(i) for i in range(7)])
    assert len({look["color"] for look in looks.values()}) == len({look["marker"] for look in looks.values()}) == 7
    with pytest.raises(ValueError, match="8 series, 7 colours"):
        style.cycle([str(i) for i in range(8)])
