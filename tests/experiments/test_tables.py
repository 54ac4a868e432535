import io
import math

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from experiments import tables


@pytest.mark.parametrize(
    ("value", "half_width", "text"),
    [
        (-1.23456, 0.0234, "-1.235 ± 0.023"),
        (1234.6, 12.0, "1235 ± 12"),
        (1234.6, 250.0, "1235 ± 250"),
        (0.5, 3.0, "0.5 ± 3.0"),
        (0.0, 0.012, "0.000 ± 0.012"),
        (1.23456e-7, 2e-9, "1.235e-07 ± 2.0e-09"),
        (2.5e9, 1e7, "2.500e+09 ± 1.0e+07"),
        (0.25, 0.0, "0.25 ± 0"),
        (0.25, math.nan, "0.25"),
        (0.25, math.inf, "0.25 ± inf"),
        (-math.inf, 1.0, "-inf ± 1"),
        (math.nan, 1.0, "–"),
    ],
)
def test_a_value_is_printed_to_the_place_of_its_uncertainty(value, half_width, text):
    assert tables.plus_minus(value, half_width) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (32768, "32768"),
        (32768.0, "32768"),
        (1 / 3, "0.3333"),
        (np.float32(1 / 3), "0.3333"),
        (12345.6, "1.235e+04"),
        (math.nan, "–"),
        (-math.inf, "-inf"),
        ("iwae", "iwae"),
        (True, "True"),
    ],
)
def test_a_number_has_four_digits_and_an_integer_all_of_its_own(value, text):
    assert tables.number(value) == text


def test_an_interval_is_one_column_and_never_understated():
    rows = pd.DataFrame({"K": [1], "snr": [2.0], "other_low": [0.5], "snr_low": [1.9], "snr_high": [2.4]})
    text = tables.with_intervals(rows)
    assert text.to_dict("list") == {"K": ["1"], "snr": ["2.00 ± 0.40"], "other_low": ["0.5"]}


def shown(rows, width):
    stream = io.StringIO()
    tables.show(rows, Console(file=stream, width=width))
    return stream.getvalue()


def test_columns_that_do_not_fit_are_left_out_by_name_and_no_number_is_cut():
    rows = pd.DataFrame({f"column_{i:02d}": [i + 0.125] for i in range(12)})
    text = shown(rows, 80)
    table, missing = text.split("columns not shown: ")
    assert max(map(len, table.splitlines())) <= 80
    assert "…" not in text
    headers = table.splitlines()[0].split()
    assert headers == [f"column_{i:02d}" for i in range(len(headers))]
    assert missing.split() == [f"column_{i:02d}," for i in range(len(headers), 11)] + ["column_11"]
    assert len(headers) > 5


def test_rows_that_do_not_fit_are_counted():
    assert "rows not shown: 5" in shown(pd.DataFrame({"K": range(65)}), 80)
    assert "not shown" not in shown(pd.DataFrame({"K": range(60)}), 80)


def test_names_are_not_read_as_markup():
    assert "[bold]" in shown(pd.DataFrame({"name": ["[bold]"], "[K]": [1]}), 80)
    assert "[K]" in shown(pd.DataFrame({"name": ["[bold]"], "[K]": [1]}), 80)
