"""Compressed files: read whole, or an error."""

import lzma
from random import Random

import pytest

from MEDS_transforms.extract.raw.compression import pieces_of

from .texts import COMPRESS

DATA = Random(0).randbytes(100_000) + b"abc" * 100_000
COMPRESSED = [suffix for suffix in COMPRESS if suffix]


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("size", [1000, 2**20])
def test_pieces_are_the_file_and_no_longer_than_asked(tmp_path, suffix, size):
    path = tmp_path / f"t.csv{suffix}"
    path.write_bytes(COMPRESS[suffix](DATA))
    pieces = list(pieces_of(path, size))
    assert b"".join(pieces) == DATA
    assert all(0 < len(piece) <= size for piece in pieces)


@pytest.mark.parametrize("suffix", COMPRESSED)
@pytest.mark.parametrize("cut", [1, 4, 8, 9, 20, 1000, 50_000])
def test_a_truncated_file_is_noticed(tmp_path, suffix, cut):
    path = tmp_path / f"t.csv{suffix}"
    path.write_bytes(COMPRESS[suffix](DATA)[:-cut])
    with pytest.raises((OSError, EOFError, lzma.LZMAError)):
        list(pieces_of(path, 2**20))


@pytest.mark.parametrize("suffix", [suffix for suffix in COMPRESSED if "z" in suffix.lower().replace("zst", "")])
def test_a_wrong_checksum_is_noticed(tmp_path, suffix):
    """NOTE: zstd has a checksum only where the writer chose to add one."""
    data = bytearray(COMPRESS[suffix](DATA))
    data[60_000] ^= 1
    path = tmp_path / f"t.csv{suffix}"
    path.write_bytes(data)
    with pytest.raises((OSError, EOFError, lzma.LZMAError)):
        list(pieces_of(path, 2**20))


@pytest.mark.parametrize("suffix", COMPRESSED)
def test_what_is_not_compressed_or_has_more_behind_it_is_noticed(tmp_path, suffix):
    path = tmp_path / f"t.csv{suffix}"
    for data in (b"a,b\n1,2\n", COMPRESS[suffix](DATA) + b"and more that is nothing"):
        path.write_bytes(data)
        with pytest.raises((OSError, EOFError, lzma.LZMAError)):
            list(pieces_of(path, 2**20))


@pytest.mark.parametrize("suffix", COMPRESSED)
def test_several_files_in_one_are_read_whole_or_not_at_all(tmp_path, suffix):
    """A damaged beginning of the second is no end of the first."""
    first, second = COMPRESS[suffix](DATA), COMPRESS[suffix](b"more")
    path = tmp_path / f"t.csv{suffix}"
    path.write_bytes(first + second)
    assert b"".join(pieces_of(path, 2**20)) == DATA + b"more"
    path.write_bytes(first + b"\1" + second[1:])
    with pytest.raises((OSError, EOFError, lzma.LZMAError)):
        list(pieces_of(path, 2**20))


def test_padding_between_the_members_of_an_xz(tmp_path):
    path = tmp_path / "t.csv.xz"
    path.write_bytes(lzma.compress(b"a") + bytes(8) + lzma.compress(b"b") + bytes(4))
    assert b"".join(pieces_of(path, 2**20)) == b"ab"
