"""Writes parquet files in which some columns are copied, as they are on disk, from another file with the same rows.

To copy what was encoded before takes a fraction of the time of encoding it. The file has the same bytes as one that
`write_parquet(fast=True)` makes of the whole frame, so nobody can tell by which way it came about.
"""

import mmap
from collections.abc import Collection
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from .columns import columns
from .footers import MAGIC, N_ROWS
from .io import Frame, encode, scan_parquet, write_parquet
from .thrift import I32, I64, LIST, STRUCT, Field, Reader, Struct, written

# The numbers of fields in the footer of a parquet file: of a file, a row group, a column chunk and what is known of it.
_SCHEMA, _GROUPS, _CREATED_BY = 2, 4, 6
_CHUNKS, _GROUP_SIZE, _GROUP_ROWS, _GROUP_START, _GROUP_SIZE_ON_DISK = 1, 2, 3, 5, 6
_CHUNK_END, _META, _INDEX_START, _INDEX_SIZE, _COLUMN_INDEX_START = 2, 3, 4, 5, 6
_PATH, _CODEC, _SIZE, _SIZE_ON_DISK, _PAGES_START, _DICTIONARY_START, _STATISTICS = 3, 4, 6, 7, 9, 11, 12
_NAME, _N_CHILDREN = 4, 5  # of an element of the schema
_PAGES, _PAGE_START = 1, 1  # of an index of pages


def write_changed(rows: Frame, path: Path, source: Path, changes: Collection[str]) -> list[str]:
    """Writes rows as `write_parquet(fast=True)` does; columns that are as in another file are copied from there.

    A file that was written otherwise, or by another release of polars, is left aside: then all columns are encoded. So
    they are where there are fewer rows than in the file.

    Args:
        rows: what was made of the rows of the file, in their order; some may be gone, none new.
        path: where they go.
        source: a parquet file.
        changes: the columns that may be others than in the file. Of a query only these are computed, if that is enough.

    Returns:
        the columns that were copied.
    """
    schema, before = rows.lazy().collect_schema(), scan_parquet(source).collect_schema()
    if copied := [name for name, dtype in schema.items() if name not in changes and before.get(name) == dtype]:
        encoded, empty = BytesIO(), BytesIO()
        changed = rows.lazy().select(columns(name for name in schema if name not in copied)).collect()
        encode(changed, encoded, fast=True)
        encode(schema.to_frame(), empty, fast=True)
        with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            old, new, like = (ParquetFile.of(d) for d in (data, encoded.getvalue(), empty.getvalue()))
            if old.could_be_of(new, like, [name.encode() for name in copied]):
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as out:
                    parts = [(old if name in copied else new, name.encode()) for name in schema]
                    _Assembly(out).write(like, parts)
                return copied
    write_parquet(rows, path, fast=True)
    return []


@dataclass(frozen=True)
class ParquetFile:
    """The bytes of a parquet file, and what its footer says."""

    data: bytes | mmap.mmap
    footer: Struct

    @classmethod
    def of(cls, data: bytes | mmap.mmap) -> "ParquetFile":
        """A file with its footer read."""
        size = int.from_bytes(data[-8:-4], "little")
        return cls(data, Reader(data[-8 - size : -8]).struct())

    @property
    def groups(self) -> list[Struct]:
        """What is known of the row groups."""
        return _items(self.footer[_GROUPS])

    def chunks(self, group: int, column: bytes) -> list[Struct]:
        """The chunks of a column in a row group; nested columns have several."""
        return [c for c in _items(self.groups[group][_CHUNKS]) if _items(c[_META].value[_PATH])[0] == column]

    def schema(self, column: bytes) -> list[Struct]:
        """What the schema says of a column: an element, and those that are nested in it."""
        elements = _items(self.footer[_SCHEMA])[1:]
        while elements:
            n = 1
            open_ends = elements[0].get(_N_CHILDREN, Field(I32, 0)).value
            while open_ends:
                open_ends += elements[n].get(_N_CHILDREN, Field(I32, 0)).value - 1
                n += 1
            if elements[0][_NAME].value == column:
                return elements[:n]
            elements = elements[n:]
        return []

    def could_be_of(self, new: "ParquetFile", like: "ParquetFile", copied: list[bytes]) -> bool:
        """Whether columns of this file are as they would be had they been written with those of a new one.

        Args:
            new: the other columns of the file to be, written just now.
            like: the file to be, without rows.
            copied: the columns.
        """
        rows = [[group[_GROUP_ROWS].value for group in file.groups] for file in (self, new)]
        if rows[0] != rows[1] or self.footer.get(_CREATED_BY) != new.footer.get(_CREATED_BY):
            return False
        ours = [c for group in range(len(self.groups)) for column in copied for c in self.chunks(group, column)]
        theirs = [c for group in new.groups for c in _items(group[_CHUNKS])]
        return {_manner(c) for c in ours} <= {_manner(c) for c in theirs} and all(
            self.schema(column) == like.schema(column) for column in copied
        )


def _manner(chunk: Struct) -> tuple[Any, ...]:
    """How a column chunk was written: its compression, and what else is known of it."""
    known = chunk[_META].value
    return known[_CODEC], _STATISTICS in known, _INDEX_START in chunk, _COLUMN_INDEX_START in chunk


class _Assembly:
    """Puts a file together from column chunks of others, as polars does it.

    Each chunk is followed by what is known of it, all row groups by the indexes of the pages in their chunks.
    """

    def __init__(self, out: IO[bytes]) -> None:
        self.out, self.at = out, 0
        self.indexed: list[tuple[Struct, Struct]] = []
        """Chunks with their indexes of pages."""

    def write(self, like: ParquetFile, found: list[tuple[ParquetFile, bytes]]) -> None:
        """Writes a file like an empty one, with the columns that were found in others."""
        self._put(MAGIC)
        groups = [self._group(number, found) for number in range(len(found[0][0].groups))]
        for chunk, index in self.indexed:
            chunk[_INDEX_START] = Field(I64, self.at)
            self._put(written(index))
        rows = sum(group[_GROUP_ROWS].value for group in groups)
        footer = written(like.footer | {N_ROWS: Field(I64, rows), _GROUPS: Field(LIST, (STRUCT, groups))})
        self._put(footer + len(footer).to_bytes(4, "little") + MAGIC)

    def _group(self, number: int, found: list[tuple[ParquetFile, bytes]]) -> Struct:
        start = self.at
        chunks = [self._chunk(file, c) for file, column in found for c in file.chunks(number, column)]
        known = [chunk[_META].value for chunk in chunks]
        sizes = {_GROUP_SIZE: _SIZE, _GROUP_SIZE_ON_DISK: _SIZE_ON_DISK}
        sums = {of_group: Field(I64, sum(k[of_chunk].value for k in known)) for of_group, of_chunk in sizes.items()}
        group = found[0][0].groups[number]
        return group | sums | {_CHUNKS: Field(LIST, (STRUCT, chunks)), _GROUP_START: Field(I64, start)}

    def _chunk(self, file: ParquetFile, chunk: Struct) -> Struct:
        known = chunk[_META].value
        start = known.get(_DICTIONARY_START, known[_PAGES_START]).value
        shift = self.at - start
        moved = known | _moved(known, shift, _PAGES_START, _DICTIONARY_START)
        self._put(file.data[start : start + known[_SIZE_ON_DISK].value])
        self._put(written(moved))
        chunk = chunk | _moved(chunk, shift, _CHUNK_END) | {_META: Field(STRUCT, moved)}
        if _INDEX_START in chunk:
            index = Reader(file.data[(at := chunk[_INDEX_START].value) : at + chunk[_INDEX_SIZE].value]).struct()
            pages = [page | _moved(page, shift, _PAGE_START) for page in _items(index[_PAGES])]
            index[_PAGES] = Field(LIST, (STRUCT, pages))
            chunk[_INDEX_SIZE] = Field(I32, len(written(index)))
            self.indexed.append((chunk, index))
        return chunk

    def _put(self, data: bytes) -> None:
        self.at += self.out.write(data)


def _moved(fields: Struct, shift: int, *positions: int) -> Struct:
    """Those positions in a file that the fields have, each moved."""
    return {number: Field(I64, fields[number].value + shift) for number in positions if number in fields}


def _items(field: Field) -> list[Any]:
    items: list[Any] = field.value[1]
    return items
