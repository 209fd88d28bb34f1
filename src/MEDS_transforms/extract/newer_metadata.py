"""What tables say of codes, by the columns that make the codes, as in the newer line's event language.

chunks                        -> components: the codes of an event with the values of the columns that make them
components, metadata tables   -> described: what the tables say of each code, several rows for some
described of all events       -> one row per code
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl

from ..dataset.columns import column, columns, internal
from ..dataset.dtypes import concat_with_common_dtypes
from ..dataset.schema import CODE, DESCRIPTION, PARENT_CODES, TIME
from ..errors import InputError
from ..expressions.forms import Expression
from ..mapreduce.accounting import EXAMPLES
from ..settings.folders import stage_folders
from ..settings.newer_signs import CODE_TEMPLATE
from ..work.accounts import MOST_EXAMPLES, Account, some_examples
from .chunks import Chunk, complete_chunks
from .code_counts import CODES_MATCHED, CODES_UNMATCHED, ROWS, ROWS_MATCHED, ROWS_UNMATCHED
from .event_file.model import Event, Metadata
from .event_times import time_expr
from .events import code_expr, event_rows, part_expr
from .raw.table import RawTable

Parts = dict[str, tuple[Callable[[], tuple[pl.DataFrame, Account]], Path]]
"""What describes codes: by name, a function that gives it and what is counted, and the file that it begins with."""


def newer_parts(
    events: Iterable[Event], cfg: Mapping[str, Any], tables: Mapping[str, RawTable], codes: Callable[[], pl.Series]
) -> Parts:
    """Every event that says what describes its codes is a part.

    Raises:
        FileNotFoundError: a table has no chunks.
    """
    found: Parts = {}
    for event in events:
        folder = chunks_folder(cfg) / event.table
        chunks = complete_chunks(folder, event.options.optional)
        watched = chunks[0].path if chunks else folder
        found[f"{event.table}/{quote(event.name, safe='')}"] = (
            partial(_describe, event, chunks, tables, codes),
            watched,
        )
    return found


def chunks_folder(cfg: Mapping[str, Any]) -> Path:
    """Where the chunks are that events are made of.

    Raises:
        ValueError: the pipeline does not make events.
    """
    folders = stage_folders(cfg["input_dir"], cfg["cohort_dir"], cfg["stages"], cfg["stage_configs"])
    if "convert_to_sharded_events" not in folders:
        raise InputError(
            "What describes codes in this event conversion file is found by the columns that make them, in the chunks "
            "of raw tables: stages must contain convert_to_sharded_events, whose input they are."
        )
    return Path(folders["convert_to_sharded_events"]["data_input_dir"])


def _describe(
    event: Event, chunks: list[Chunk], tables: Mapping[str, RawTable], codes: Callable[[], pl.Series]
) -> tuple[pl.DataFrame, Account]:
    pairs = components(event, chunks)
    pairs = pairs.filter(pl.col(CODE).is_in(codes().implode()))
    read = {
        m.table: as_text(tables[m.table], columns_needed(m))
        for m in event.described_by
        if m.table is not None and m.table in tables
    }
    counts: Account = {}
    return described(event, pairs, read, counts), counts


def as_text(raw: RawTable, names: set[str]) -> pl.DataFrame:
    """Columns of a metadata table; those of a text file are text.

    Raises:
        InputError: the table cannot be read.
    """
    wanted = sorted(names)
    schema = raw.schema(wanted, wanted, None)
    frames = list(raw.frames(schema))
    return pl.concat(frames) if frames else pl.DataFrame(schema=schema)


def columns_described_by(raw: RawTable, event: Event) -> set[str]:
    """The columns of a metadata table that an event needs."""
    return {name for m in event.described_by if m.table == raw.name for name in columns_needed(m)}


def described(event: Event, pairs: pl.DataFrame, tables: Mapping[str, pl.DataFrame], counts: Account) -> pl.DataFrame:
    """What metadata tables say of the codes of an event.

    Args:
        event: an event of the newer line's language.
        pairs: its codes, with the columns that make them (see `components`).
        tables: the metadata tables that it names.
        counts: takes in, by table and event, how many rows and codes match.

    Returns:
        `code`, `code_template`, and as text all that is said; rows that say nothing are left out.
    """
    there = [m for m in event.described_by if m.table is None or m.table in tables]
    nothing = pairs.select(CODE).clear()
    return concat_with_common_dtypes([nothing, *(_said(event, m, pairs, tables, counts) for m in there)])


def components(event: Event, chunks: Iterable[Chunk]) -> pl.DataFrame:
    """The distinct codes of an event's measurements, with the values that made them and what their rows say of them."""
    extra = {_key(name): expression for name, expression in event.components.items()}
    for metadata in event.described_by:
        if metadata.table is None:
            extra |= {_output(name): e for name, e in metadata.outputs.items()}
    wider = replace(event, computed={**event.computed, **extra})
    found = [_distinct(wider, rows, list(extra)) for chunk in chunks for rows in chunk.frames()]
    return pl.concat(found).unique(maintain_order=True) if found else pl.DataFrame(schema=[CODE, *extra])


def _distinct(event: Event, rows: pl.DataFrame, extra: Sequence[str]) -> pl.DataFrame:
    made = event_rows(rows, event)
    time = time_expr(event, made.schema).alias(TIME)
    found = made.select(code_expr(map(part_expr, event.code)).alias(CODE), time, *columns(extra))
    has_time = pl.lit(True) if event.time is None else pl.col(TIME).is_not_null()
    return found.filter(pl.col(CODE).is_not_null() & has_time).drop(TIME).unique(maintain_order=True)


def _said(
    event: Event, metadata: Metadata, pairs: pl.DataFrame, tables: Mapping[str, pl.DataFrame], counts: Account
) -> pl.DataFrame:
    """What one metadata table says."""
    keys, rows = [_key(name) for name in metadata.keys], pairs
    if metadata.table is not None:
        rows = tables[metadata.table].lazy().select(_aliased(metadata)).collect()
        left = pairs.select(CODE, *columns(keys)).unique(maintain_order=True)
        right = rows.unique(maintain_order=True)
        pairs = left.join(right, on=keys, how="inner", nulls_equal=True, maintain_order="left_right")
    outputs = {name: column(_output(name)) for name in metadata.outputs}
    found = pairs.select(CODE, *(output.alias(name) for name, output in outputs.items()))
    says_something = ~pl.all_horizontal(column(name).is_null() for name in outputs)
    found = found.filter(says_something).unique(maintain_order=True)
    if metadata.table is not None:
        counts.setdefault(metadata.table, {})[event.path] = _counts(rows, left, keys, found)
    return found.with_columns(pl.lit(event.code_template).alias(CODE_TEMPLATE))


def _counts(rows: pl.DataFrame, pairs: pl.DataFrame, keys: list[str], found: pl.DataFrame) -> Account:
    """How many rows of a metadata table are about codes of the data, and how many of these are described."""
    unknown = rows.select(columns(keys)).join(pairs, on=keys, how="anti", nulls_equal=True, maintain_order="left")
    codes, matched = pairs[CODE].unique(maintain_order=True), found[CODE].unique()
    left = codes.filter(~codes.is_in(matched.implode()))
    examples = {
        ROWS_UNMATCHED: some_examples(", ".join(map(str, row)) for row in unknown.head(MOST_EXAMPLES).rows()),
        CODES_UNMATCHED: some_examples(left.head(10)),
    }
    return {
        ROWS: rows.height,
        ROWS_MATCHED: rows.height - unknown.height,
        ROWS_UNMATCHED: unknown.height,
        CODES_MATCHED: matched.len(),
        CODES_UNMATCHED: left.len(),
        EXAMPLES: {what: some for what, some in examples.items() if some},
    }


def _aliased(metadata: Metadata) -> Iterator[pl.Expr]:
    yield from (found.expr.alias(_key(name)) for name, found in metadata.keys.items())
    yield from (found.expr.alias(_output(name)) for name, found in metadata.outputs.items())


def _key(name: str) -> str:
    return internal(f"key {name}")


def _output(name: str) -> str:
    return internal(f"output {name}")


def columns_needed(metadata: Metadata) -> set[str]:
    """The columns that are read of a metadata table."""
    found: list[Expression] = [*metadata.keys.values(), *metadata.outputs.values()]
    return {name for expression in found for name in expression.columns}


def one_row_per_code(paths: Sequence[Path], separator: str, codes: pl.Series) -> pl.DataFrame:
    """All codes, each with what was said of it.

    Args:
        paths: what was said, in the order in which descriptions are to appear.
        separator: joins the descriptions of one code.
        codes: all codes of the data.

    Returns:
        `code`, `description` (String, joined), `parent_codes` (List[String]), `code_template` (String), then the others
        (List[String]); lists are of distinct values, sorted, and null where there is none.

    Raises:
        InputError: events with different expressions for their codes make, and describe, the same code.
    """
    rows = concat_with_common_dtypes([pl.read_parquet(path, glob=False) for path in paths])
    _check_templates(rows)
    names = [name for name in rows.columns if name not in (CODE, DESCRIPTION, PARENT_CODES, CODE_TEMPLATE)]
    in_order = [name for name in (DESCRIPTION, PARENT_CODES, CODE_TEMPLATE) if name in rows.columns] + names
    found = rows.group_by(CODE, maintain_order=True).agg(_all_that_is_said(name, separator) for name in in_order)
    return codes.alias(CODE).to_frame().join(found, on=CODE, how="left")


def _all_that_is_said(name: str, separator: str) -> pl.Expr:
    distinct = column(name).drop_nulls().unique(maintain_order=True)
    if name == CODE_TEMPLATE:
        return distinct.first().alias(name)
    if name == DESCRIPTION:
        return pl.when(distinct.len() > 0).then(distinct.str.join(separator)).alias(name)
    return pl.when(distinct.len() > 0).then(distinct.sort().implode()).alias(name)


def _check_templates(rows: pl.DataFrame) -> None:
    several = rows.select(CODE, CODE_TEMPLATE).unique(maintain_order=True).filter(pl.col(CODE).is_duplicated())
    if several.height:
        code = several[CODE][0]
        templates = several.filter(pl.col(CODE) == code)[CODE_TEMPLATE].to_list()
        raise InputError(
            f"The code {code!r} is made, and described, by several events with different expressions: "
            f"{', '.join(templates)}. Let one of them describe it, or write the expressions alike."
        )
