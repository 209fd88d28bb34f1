"""Joins sides that do not fit in memory: rows with the same key are in the same part, and the parts fit.

left frames  ->  left/<piece>                                           in order, as they are
keys, row numbers  ->  keys/<part>/<block>             by the hash of the key
right states ->  right/<part>/<number>                                  by the hash of the key
keys of a part and block, right side of the part  ->  values/<block>/<part>
values of a block, in the order of their row numbers, beside the pieces of the left
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import polars as pl

from ...dataset.columns import internal
from ...dataset.io import scan_parquet, write_parquet
from .aggregates import RightSide

_PARTS = 64
"""As many times as large as the memory that is allowed the right side may be; it may be larger, but then a part of it
takes more memory than that."""
_SEED = 11
_PART, _ROW = internal("part"), internal("row")

Keys = Callable[[pl.DataFrame], pl.DataFrame]


def in_bulk(frames: Iterable[pl.DataFrame], rows: float) -> Iterator[pl.DataFrame]:
    """The frames, as many of them together as have this number of rows, or the last of them fewer."""
    pending: list[pl.DataFrame] = []
    for frame in frames:
        pending.append(frame)
        if sum(f.height for f in pending) >= rows:
            yield pl.concat(pending)
            pending = []
    if pending:
        yield pl.concat(pending)


def look_up(keys: pl.DataFrame, right: pl.DataFrame, on: list[str]) -> pl.DataFrame:
    """For each key, in order, the row of the right side, or nulls; other columns beside the keys stay."""
    return keys.join(right, on=on, how="left", maintain_order="left").drop(on)


def joined_in_parts(
    left: Iterable[pl.DataFrame],
    keys_of: Keys,
    side: RightSide,
    states: Iterable[pl.DataFrame],
    folder: Path,
    cells: int,
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """The frames of the left, each with the rows of the right side that belong beside its rows.

    Args:
        left: the frames.
        keys_of: makes the keys of a frame.
        side: what is taken of the right table.
        states: its states, in order.
        folder: an empty one, for files that are not needed afterwards.
        cells: how many there may be in memory.
    """
    at_once = cells / 4 / side.no_states.width
    for number, bulk in enumerate(in_bulk(states, at_once)):
        _scatter(side.reduced([bulk]), side.keys, folder / "right", number)
    keys = _set_down(left, keys_of, folder / "left")
    for block, bulk in enumerate(in_bulk(keys, cells / (len(side.keys) + len(side.taken) + 2))):
        _scatter(bulk, side.keys, folder / "keys", block)
    for part in range(_PARTS):
        _join_part(side, part, folder, at_once)
    yield from _side_by_side(side, folder)


def _scatter(frame: pl.DataFrame, keys: list[str], folder: Path, number: int) -> None:
    """Writes the rows of a frame to `<folder>/<part>/<number>.parquet`, in order, by the hash of their keys."""
    part = (frame.select(keys).hash_rows(_SEED) % _PARTS).alias(_PART)
    parts = frame.with_columns(part).partition_by(_PART, include_key=False, as_dict=True)
    for (name,), rows in parts.items():
        write_parquet(rows, folder / str(name) / f"{number}.parquet", fast=True)


def _set_down(left: Iterable[pl.DataFrame], keys_of: Keys, folder: Path) -> Iterator[pl.DataFrame]:
    """Writes every frame to a file, and gives its keys with the numbers of its rows."""
    start = 0
    for number, frame in enumerate(left):
        write_parquet(frame, folder / f"{number}.parquet", fast=True)
        rows = pl.int_range(start, start + frame.height, dtype=pl.Int64, eager=True).alias(_ROW)
        yield keys_of(frame).with_columns(rows)
        start += frame.height


def _join_part(side: RightSide, part: int, folder: Path, at_once: float) -> None:
    states = side.no_states
    for bulk in in_bulk(_frames(folder / "right" / str(part)), at_once):
        states = side.reduced([states, bulk])
    right = side.finished(states)
    for path in _files(folder / "keys" / str(part)):
        values = look_up(_read(path), right, side.keys)
        write_parquet(values, folder / "values" / path.stem / f"{part}.parquet", fast=True)


def _side_by_side(side: RightSide, folder: Path) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """NOTE: blocks end where pieces do."""
    blocks = iter(_files(folder / "values"))
    values = side.finished(side.no_states).drop(side.keys)
    for piece in _frames(folder / "left"):
        if piece.height and not values.height:
            values = pl.concat(_frames(next(blocks))).sort(_ROW).drop(_ROW)
        yield piece, values.head(piece.height)
        values = values.slice(piece.height)


def _frames(folder: Path) -> Iterator[pl.DataFrame]:
    return map(_read, _files(folder))


def _files(folder: Path) -> list[Path]:
    """What is in a folder, in the order of its numbers; nothing if there is none."""
    return sorted(folder.iterdir(), key=lambda path: int(path.stem)) if folder.is_dir() else []


def _read(path: Path) -> pl.DataFrame:
    return scan_parquet(path).collect()
