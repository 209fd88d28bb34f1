"""Where rows of delimited text end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from MEDS_transforms.extract.raw.blocks import Block, Fault, blocks_of_rows

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
    text = b"".join(rows)
    blocks = list(blocks_of_rows(in_pieces(text, sizes), PLAIN, start=7))
    assert b"".join(block.rows for block in blocks) == text
    ends = [sum(map(len, rows[:n])) for n in range(len(rows) + 1)]
    assert {block.end - 7 for block in blocks} <= {*ends}
    assert all(block.rows == text[block.start - 7 : block.end - 7] and block.exact for block in blocks)
    assert [block.start for block in blocks] == [7, *(block.end for block in blocks)][:-1]


def test_the_last_row_gets_a_line_end_that_is_not_in_the_text():
    assert list(blocks_of_rows([b"a\nb"], PLAIN)) == [Block(b"a\n", 0, 2, True), Block(b"b\n", 2, 3, False)]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_fields_with_quotes_within_are_quoted(size):
    text = b'a,5" tube,x\n"b ""c""",d " e " f,"\n"\n,",",g"\r\n'
    blocks = list(blocks_of_rows(in_pieces(text, [size]), PLAIN))
    assert b"".join(block.rows for block in blocks) == b'a,"5"" tube",x\n"b ""c""","d "" e "" f","\n"\n,",","g"""\r\n'


def test_a_row_without_end_is_a_fault():
    *blocks, fault = blocks_of_rows([b'a\n"b\n', *[b"x" * 2**19] * 9], PLAIN, longest_row=2**20)
    assert [block.rows for block in blocks] == [b"a\n"]
    assert isinstance(fault, Fault)
    assert "longer than 1 MiB: is a quote not closed?" in fault.problem
