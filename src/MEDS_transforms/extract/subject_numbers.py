"""Numbers for subject ids that are text: by a hash of the text, or by a table that is kept."""

from collections.abc import Callable, Mapping
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import polars as pl

from ..dataset.columns import column, internal
from ..dataset.dtypes import is_text
from ..dataset.io import publish, write_parquet
from ..dataset.schema import SUBJECT_ID
from ..dataset.subjects import subject_ids
from ..errors import ONCE_CUT, InputError, MissingInputError
from ..expressions.forms import number_as_text

INTEGER, HASH, TABLE = "integer", "hash", "table"
"""How subject ids become numbers: they are some; by a hash of their text; by a table of all that were ever seen."""

TEXT_ID = "subject_id_text"
_BITS = 63
_REMEDY = f"Correct them, or name another column as subject_id_col. {ONCE_CUT}"

Numbering = Callable[[pl.Series, str], pl.Series]
"""Gives the numbers (Int64, named `subject_id`) of ids; of their table and column, too, for messages."""


def numbering(kind: str, cfg: Mapping[str, Any]) -> Numbering:
    """How the subject ids of raw tables become numbers.

    Raises:
        FileNotFoundError: they do so by a table that is not there.
    """
    if kind == HASH:
        return _by_hash
    if kind == TABLE:
        return partial(_by_table, _read(table_path(cfg)), table_path(cfg))
    return subject_ids


def numbered(texts: pl.Series, kind: str, cfg: Mapping[str, Any]) -> pl.DataFrame:
    """The distinct texts with their numbers: `subject_id_text` (String), `subject_id` (Int64).

    By a table, texts that are not in it yet get the next numbers, in their order, and it is written anew.

    Raises:
        ValueError: two texts have the same hash.
    """
    texts = texts.unique().sort().alias(TEXT_ID)
    if kind == HASH:
        found = texts.to_frame().with_columns(_by_hash(texts, ""))
        same = found.filter(pl.col(SUBJECT_ID).is_duplicated()).sort(SUBJECT_ID)
        if same.height:
            raise InputError(
                f"The subject ids {same[TEXT_ID][0]!r} and {same[TEXT_ID][1]!r} have the same hash, "
                f"{same[SUBJECT_ID][0]}. Write subject_ids: table at the top of the event conversion file, which "
                "numbers them one by one."
            )
        return found
    path = table_path(cfg)
    former = _read(path) if path.is_file() else pl.DataFrame(schema={TEXT_ID: pl.String, SUBJECT_ID: pl.Int64})
    new = texts.filter(~texts.is_in(former[TEXT_ID].implode()))
    start = max(int(former[SUBJECT_ID].max() or 0), 0) + 1  # type: ignore[arg-type] # of Int64
    numbers = pl.int_range(start, start + new.len(), dtype=pl.Int64, eager=True).alias(SUBJECT_ID)
    table = pl.concat([former, new.to_frame().with_columns(numbers)])
    if new.len() or not path.is_file():
        publish(path, lambda scratch: write_parquet(table, scratch))
    return table.join(texts.to_frame(), on=TEXT_ID, how="semi", maintain_order="left")


def table_path(cfg: Mapping[str, Any]) -> Path:
    """Where the table of numbers is kept."""
    return Path(cfg.get("subject_id_table_fp") or Path(cfg["cohort_dir"]) / "subject_ids.parquet")


def ids_as_text(ids: pl.Series, where: str) -> pl.Series:
    """Ids as text: as they are written, or the digits of whole numbers; null where the text is empty.

    Raises:
        ValueError: they are neither text nor numbers.
    """
    if not (is_text(ids.dtype) or ids.dtype.is_integer() or ids.dtype.is_float() or ids.dtype == pl.Null):
        raise InputError(f"subject ids must be text or numbers, not {ids.dtype}", where, _REMEDY)
    name = internal("id")
    text = number_as_text(column(name), ids.dtype)
    return ids.alias(name).to_frame().select(pl.when(text != "").then(text).alias(TEXT_ID)).to_series()


def _by_hash(ids: pl.Series, where: str) -> pl.Series:
    texts = ids_as_text(ids, where)
    distinct = texts.drop_nulls().unique()
    numbers = pl.Series([_hash(text) for text in distinct], dtype=pl.Int64).alias(SUBJECT_ID)
    return _looked_up(texts, distinct.to_frame().with_columns(numbers))


def _hash(text: str) -> int:
    """The first 63 bits of BLAKE2b (RFC 7693) of a text in UTF-8: the same everywhere, and never negative."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) >> (64 - _BITS)


def _by_table(table: pl.DataFrame, path: Path, ids: pl.Series, where: str) -> pl.Series:
    texts = ids_as_text(ids, where)
    numbers = _looked_up(texts, table)
    if numbers.null_count() > texts.null_count():
        missing = texts.filter(numbers.is_null() & texts.is_not_null())
        raise InputError(
            f"{where}: the subject id {missing[0]!r} has no number in {path}. Run split_and_shard_subjects again."
        )
    return numbers


def _looked_up(texts: pl.Series, table: pl.DataFrame) -> pl.Series:
    return texts.to_frame().join(table, on=TEXT_ID, how="left", maintain_order="left")[SUBJECT_ID]


def _read(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise MissingInputError(
            f"There is no table of subject ids {path} (subject_id_table_fp). split_and_shard_subjects writes it; if it "
            "is kept apart, put it back."
        )
    must = (
        f"{path} is no table of subject ids: it must have the columns {TEXT_ID} (String) and {SUBJECT_ID} (Int64), "
        "each text and each number once"
    )
    remedy = "Put back the one that split_and_shard_subjects wrote, or remove it to number all subjects anew."
    try:
        table = pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{must}; it cannot be read ({str(error).splitlines()[0]}). {remedy}") from None
    if dict(table.schema) != {TEXT_ID: pl.String, SUBJECT_ID: pl.Int64}:
        raise InputError(f"{must}, not {dict(table.schema)}. {remedy}")
    for name in (TEXT_ID, SUBJECT_ID):
        if (repeated := table[name].is_duplicated() | table[name].is_null()).any():
            raise InputError(f"{must}; {name} {table[name].filter(repeated)[0]!r} is there twice or null. {remedy}")
    return table
