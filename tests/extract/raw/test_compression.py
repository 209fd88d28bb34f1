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
        try:
            pieces = list(pieces_of(path, 2**20))
        except (OSError, EOFError, lzma.LZMAError):
            continue
        assert b"".join(pieces) == DATA, "bz2 ignores what is behind it"
