"""The table of codes, `codes.parquet`: how a stage's results join what was known of the codes before."""

from pathlib import Path

import polars as pl

from .schema import CODE

CODES_FILE = "codes.parquet"


def read_codes(folder: Path | str) -> pl.DataFrame | None:
    """The code metadata in a folder, or None where there is none."""
    path = Path(folder) / CODES_FILE
    return pl.read_parquet(path, glob=False) if path.is_file() else None


def add_to_codes(new: pl.DataFrame, old: pl.DataFrame | None) -> pl.DataFrame:
    """All codes of two tables, one row per code, sorted by code.

    A column that both have takes the new value or, where that is null, the old one.

    >>> new = pl.DataFrame({"code": ["a", "b"], "n": [1, None]})
    >>> old = pl.DataFrame({"code": ["c", "b"], "n": [3, 2]})
    >>> add_to_codes(new, old).rows()
    [('a', 1), ('b', 2), ('c', 3)]
    """
    if old is None:
        return new.sort(CODE)
    joined = new.join(old, on=CODE, how="full", coalesce=True, suffix="__old")
    both = [c for c in new.columns if c in old.columns and c != CODE]
    joined = joined.with_columns(pl.coalesce(c, f"{c}__old").alias(c) for c in both)
    return joined.drop(f"{c}__old" for c in both).sort(CODE)
