"""Text of one encoding that is to be read as another."""

import gzip

import pytest

from MEDS_transforms.errors import InputError
from MEDS_transforms.extract.raw.decoding import as_utf8, wrongly_decoded


@pytest.mark.parametrize(
    ("content", "encoding", "words"),
    [
        ("a;für Ärzte\n".encode(), "cp1252", ("für", "fÃ¼r")),
        ("a;für".encode()[:-2], "cp1252", None),  # cut within a letter, which may go on
        ("a;fü für".encode()[:-2], "latin-1", ("fü", "fÃ¼")),
        ("a;für Ärzte\n".encode("cp1252"), "cp1252", None),
        (b"a;b\n", "cp1252", None),
        (b"", "cp1252", None),
        ("a;für\n".encode(), "utf-8", None),
        ("a;für\n".encode("utf-16"), "utf-16", None),
        ("a;für\n".encode(), "shift_jis", None),
    ],
)
def test_utf8_that_is_read_as_another_encoding(tmp_path, content, encoding, words):
    (tmp_path / "x.csv").write_bytes(content)
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(content))
    assert wrongly_decoded(tmp_path / "x.csv", encoding) == words
    assert wrongly_decoded(tmp_path / "x.csv.gz", encoding) == words


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-32-be"])
def test_a_mark_of_the_same_encoding_is_left_out(tmp_path, encoding):
    (tmp_path / "x.csv").write_bytes("\ufeffä".encode(encoding))
    for size in (2, 100):
        assert b"".join(as_utf8(tmp_path / "x.csv", encoding, size)).endswith("ä".encode())


@pytest.mark.parametrize(
    ("written", "read"), [("utf-8-sig", "cp1252"), ("utf-16", "utf-8"), ("utf-16", "latin-1"), ("utf-32", "utf-16")]
)
def test_a_mark_of_another_encoding_is_an_error(tmp_path, written, read):
    (tmp_path / "x.csv").write_bytes("ä".encode(written))
    mark = written.removesuffix("-sig").upper()
    with pytest.raises(InputError, match=f"begins with the mark of {mark}, but is to be read as {read}"):
        [*as_utf8(tmp_path / "x.csv", read, 100)]
