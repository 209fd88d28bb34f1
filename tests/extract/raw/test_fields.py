"""Whether rows have as many fields as the header."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from MEDS_transforms.extract.raw.dialect import Dialect
from MEDS_transforms.extract.raw.fields import row_ends, wrong_row

from .texts import text_of

CELL = st.sampled_from(["", "a", ",", "\n", 'x "y"', "a,\r\nb"])


@pytest.mark.parametrize("padding", ["", "a" * 200], ids=["many quotes", "few quotes"])
@given(
    rows=st.lists(st.lists(CELL, max_size=4), min_size=1, max_size=8),
    n_fields=st.integers(1, 3),
    separator=st.sampled_from([",", ";", "\t"]),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_the_first_wrong_row_is_found(padding, rows, n_fields, separator, line_end):
    padded = [[cell and cell + padding for cell in row] for row in rows]
    text = text_of(padded, Dialect(separator), line_end=line_end)
    found = wrong_row(text, Dialect(separator), n_fields)
    read = csv.reader(io.StringIO(text.decode(), newline=""), delimiter=separator)
    wrong = [(n, len(row)) for n, row in enumerate(read) if len(row) not in (0, n_fields)]
    assert (None if found is None else found.row) == (wrong[0][0] if wrong else None)
    assert found is None or found.problem.startswith(f"it has {wrong[0][1]} field")
    assert row_ends(text, Dialect(separator)).size == len(rows)


def test_a_long_row_is_cut_in_the_message():
    fault = wrong_row(b"a" * 500 + b"\n", Dialect(), 2)
    assert fault is not None
    assert "'" + "a" * 80 + "' …. Quote fields" in fault.problem
