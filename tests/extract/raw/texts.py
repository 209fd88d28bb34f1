"""Writes text files of any dialect, and reads them back."""

import bz2
import csv
import gzip
import io
import lzma

import polars as pl
import pyarrow as pa

from MEDS_transforms.extract.raw.delimited import BLOCK, DelimitedFile
from MEDS_transforms.extract.raw.dialect import Dialect

PLAIN = Dialect()
ZSTD = pa.Codec("zstd")


def halves(compress):
    """A file that consists of two compressed ones."""
    return lambda data: compress(data[: len(data) // 2]) + compress(data[len(data) // 2 :])


def zstd(data: bytes) -> bytes:
    return ZSTD.compress(data, asbytes=True)


COMPRESS = {
    "": bytes,
    ".gz": gzip.compress,
    ".GZIP": halves(gzip.compress),
    ".bz2": bz2.compress,
    ".Bz2": halves(bz2.compress),
    ".xz": lzma.compress,
    ".XZ": halves(lzma.compress),
    ".zst": zstd,
    ".ZSTD": halves(zstd),
}


def text_of(rows, dialect: Dialect = PLAIN, quoting=csv.QUOTE_MINIMAL, line_end="\n") -> bytes:
    file = io.StringIO(newline="")
    writer = csv.writer(
        file,
        delimiter=dialect.separator or ",",
        quotechar=dialect.quote,
        quoting=quoting,
        lineterminator=line_end,
    )
    writer.writerows(rows)
    return file.getvalue().encode(dialect.encoding)


def read(path, dialect=PLAIN, names=None, block=BLOCK) -> pl.DataFrame:
    """The columns of a file as text."""
    file = DelimitedFile(path, dialect, block=block)
    schema = dict.fromkeys(names or file.columns, pl.String())
    return pl.concat([pl.DataFrame(schema=schema), *file.frames(schema)])
