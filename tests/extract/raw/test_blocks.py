"""Where rows of delimited text end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from MEDS_transforms.extract.raw.blocks import Fault, blocks_of_rows

from .texts import PLAIN

CELL = st.sampled_from(["", "a", '""', '"a"', '",\n"', '""""', '"a""\r\n"'])


def in_pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at = [], 0
    while at < len(data):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(data[at : at + size])
        at += size
    return pieces


@given(
    cells=st.lists(
        st.lists(st.sampled_from(["", "a", '""', '"a"', '",\n"', '""""', '"a""\r\n"']), min_size=1), max_size=9
    ),
    line_end=st.sampled_from(["\n", "\r\n"]),
    sizes=st.lists(st.integers(0, 5), min_size=1).filter(any),
)
def test_blocks_are_the_text_and_end_where_rows_do(cells, line_end, sizes):
    rows = [(",".join(row) + line_end).encode() for row in cells]
    blocks = list(blocks_of_rows(in_pieces(b"".join(rows), sizes), PLAIN))
    assert b"".join(blocks) == b"".join(rows)
    ends = [sum(map(len, rows[:n])) for n in range(len(rows) + 1)]
    assert {sum(map(len, blocks[:n])) for n in range(len(blocks) + 1)} <= {*ends}


def test_the_last_row_gets_a_line_end():
    assert list(blocks_of_rows([b"a\nb"], PLAIN)) == [b"a\n", b"b\n"]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_fields_with_quotes_within_are_quoted(size):
    text = b'a,5" tube,x\n"b ""c""",d " e " f,"\n"\n,",",g"\r\n'
    blocks = b"".join(blocks_of_rows(in_pieces(text, [size]), PLAIN))
    assert blocks == b'a,"5"" tube",x\n"b ""c""","d "" e "" f","\n"\n,",","g"""\r\n'


def test_a_row_without_end_is_a_fault():
    *blocks, fault = blocks_of_rows([b'a\n"b\n', *[b"x" * 2**19] * 9], PLAIN, longest_row=2**20)
    assert blocks == [b"a\n"]
    assert isinstance(fault, Fault)
    assert "longer than 1 MiB: is a quote not closed?" in fault.what
