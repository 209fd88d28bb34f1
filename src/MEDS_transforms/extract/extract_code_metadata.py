"""Collects what tables of the input say about the codes of the data: descriptions, parents, categories.

Every table under a `_metadata` key of the event conversion file is read once. From its columns the code is built as
for the event, so that only rows of codes that occur in the data stay. Without a `_metadata` key there is nothing to
do. Workers share the tables; worker 0 merges.

Input: the merged shards (all splits), the event conversion file, metadata tables (`.parquet`, `.par`, `.csv`,
`.csv.gz`; columns of a csv are read as text) below `input_dir`.
Output: `<output_dir>/<metadata table>.parquet` with `code` (String) and the described columns; then
`<reducer_output_dir>/codes.parquet` with one row per code, sorted: several descriptions of a code are joined,
several parent codes are in one list, and if any code has several rows the other columns are lists for all codes.
"""

import logging
from collections.abc import Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import polars as pl

from ..cli.script import stage_script
from ..dataset.code_metadata import add_to_codes, read_codes
from ..dataset.columns import column as as_column
from ..dataset.dtypes import concat_with_common_dtypes
from ..dataset.io import write_parquet
from ..dataset.schema import CODE, DESCRIPTION, PARENT_CODES
from ..errors import InputError, MissingInputError, Problems, listed, nearest
from ..mapreduce.reducer import map_and_reduce
from ..mapreduce.stage_outputs import stage_outputs
from ..parser import cfg_to_expr
from ..settings.keys import config_value
from ..settings.layout import CODES_FILE
from ..work.claims import staged_file
from ..work.sources import Source
from .cohort import codes_of, cohort_shards
from .event_config import METADATA_KEY, Event, event_file_content, metadata_tables, read_event_config
from .events import code_expr, part_expr
from .tables import get_supported_fp, reading, scan_csv, scan_table

logger = logging.getLogger(__name__)


def check(cfg: Mapping[str, Any]) -> None:
    """Raises an error where metadata tables, or columns of theirs, are missing."""
    tables = metadata_tables(read_event_config(config_value(cfg, "event_conversion_config_fp")))
    files = find_metadata_tables(tables, Path(cfg["input_dir"]))
    problems = Problems("Metadata tables cannot be used")
    for name, events in tables.items():
        for event in events:
            try:
                with reading(name, files[name]):
                    expressions = {column: cfg_to_expr(spec) for column, spec in event.metadata[name].items()}
                    table = read_metadata_table(files[name])
                    _check_columns(table, f"{event.path}.{METADATA_KEY}.{name}", event, expressions)
            except InputError as error:
                problems.add(str(error))
    problems.raise_if_any()


def run(cfg: Mapping[str, Any]) -> None:
    """Runs the stage."""
    stage_cfg, input_dir = cfg["stage_cfg"], Path(cfg["input_dir"])
    output_dir = Path(stage_cfg["output_dir"])
    event_config_fp = Path(config_value(cfg, "event_conversion_config_fp"))
    tables = metadata_tables(read_event_config(event_config_fp))
    if not tables:
        logger.info("The event conversion file has no %s: there is nothing to do", METADATA_KEY)
        return
    codes = cache(lambda: codes_of(cohort_shards(cfg)))
    files = find_metadata_tables(tables, input_dir)
    former_fp = Path(stage_cfg["metadata_input_dir"]) / CODES_FILE
    sources = {"tables": Source.of_files(*files.values()), "code metadata": Source.of_files(former_fp)}
    sources["data"] = Source(Path(stage_cfg["data_input_dir"]), ".parquet")
    outputs = stage_outputs(
        cfg,
        sources,
        folder=Path(stage_cfg["reducer_output_dir"]),
        own_folder=output_dir,
        settings={"events": event_file_content(event_config_fp)},
        watched=[event_config_fp],
    )
    units = []
    for name, events in tables.items():
        describe = partial(_describe, path=files[name], name=name, events=events, codes=codes)
        out_fp = output_dir / f"{name}.parquet"
        make = staged_file(files[name], out_fp, partial(_read, name), write_parquet, describe)
        units.append(outputs.unit(out_fp, make, files[name]))
    in_order = [unit.claim_fp for unit in units]
    former = read_codes(stage_cfg["metadata_input_dir"])
    separator = stage_cfg["description_separator"]
    map_and_reduce(cfg, outputs, units, lambda _: add_to_codes(reduce_descriptions(in_order, separator), former))


def find_metadata_tables(names: Iterable[str], input_dir: Path) -> dict[str, Path]:
    """The files of metadata tables.

    Raises:
        FileNotFoundError: some are missing; the message lists them.
    """
    files, missing = {}, Problems("Metadata tables of the event conversion file are missing")
    for name in names:
        try:
            files[name] = get_supported_fp(input_dir, name)[0]
        except FileNotFoundError as error:
            missing.add(str(error))
    missing.raise_if_any(MissingInputError)
    return files


def read_metadata_table(path: Path) -> pl.LazyFrame:
    """A metadata table. Every column of a csv is text, so that codes keep leading zeros."""
    if path.suffix in (".parquet", ".par"):
        return scan_table(path)
    return scan_csv(path, infer_schema=False)


def _read(name: str, path: Path) -> pl.LazyFrame:
    with reading(name, path):
        return read_metadata_table(path)


def _describe(df: pl.LazyFrame, path: Path, name: str, events: list[Event], codes: Any) -> pl.DataFrame:
    with reading(name, path):
        return describe_codes(df, name, events, codes)


def describe_codes(df: pl.LazyFrame, name: str, events: list[Event], codes: Any) -> pl.DataFrame:
    """What a metadata table says about the codes of some events.

    Args:
        df: the metadata table.
        name: its name.
        events: the events whose `_metadata` names it.
        codes: gives the codes that occur in the data.

    Returns:
        `code` and the described columns; rows that describe nothing are left out, repeats too.

    Raises:
        ValueError: the table lacks columns.
    """
    frames = []
    for event in events:
        expressions = {column: cfg_to_expr(spec) for column, spec in event.metadata[name].items()}
        _check_columns(df, f"{event.path}.{METADATA_KEY}.{name}", event, expressions)
        parts = [
            expressions[part.text][0].cast(pl.String)
            if part.is_column and part.text in expressions
            else part_expr(part)
            for part in event.code
        ]
        described = df.select(code_expr(parts).alias(CODE), *_named(_typed(df, expressions)))
        says_something = ~pl.all_horizontal(as_column(column).is_null() for column in expressions)
        frames.append(described.filter(pl.col(CODE).is_in(codes().implode()) & says_something).collect())
    return concat_with_common_dtypes(frames).unique(maintain_order=True)


def _named(expressions: Mapping[str, pl.Expr]) -> list[pl.Expr]:
    """NOTE: as keyword arguments of polars' methods, a column could not be called `self`."""
    return [expression.alias(name) for name, expression in expressions.items()]


def _typed(df: pl.LazyFrame, expressions: Mapping[str, tuple[pl.Expr, set[str]]]) -> dict[str, pl.Expr]:
    """The described columns: `description` as text, `parent_codes` as a list of text, the others as they are."""
    typed = {column: expr for column, (expr, _) in expressions.items()}
    if DESCRIPTION in typed:
        typed[DESCRIPTION] = typed[DESCRIPTION].cast(pl.String)
    if PARENT_CODES in typed:
        parents = typed[PARENT_CODES]
        if not isinstance(df.select(parents.alias(PARENT_CODES)).collect_schema()[PARENT_CODES], pl.List):
            parents = pl.when(parents.is_not_null()).then(pl.concat_list(parents.cast(pl.String)))
        typed[PARENT_CODES] = parents.cast(pl.List(pl.String))
    return typed


def _check_columns(
    df: pl.LazyFrame, where: str, event: Event, expressions: Mapping[str, tuple[pl.Expr, set[str]]]
) -> None:
    there = df.collect_schema().names()
    wanted = {part.text for part in event.code if part.is_column and part.text not in expressions}
    wanted.update(*(columns for _, columns in expressions.values()))
    if missing := wanted - set(there):
        raise InputError(
            f"{where}: the metadata table has no column {listed(missing)}{nearest(min(missing), there)}. It has: "
            f"{listed(there)}. A code part of another name is mapped by its name: `{min(missing)}: <column>`."
        )


def reduce_descriptions(paths: list[Path], separator: str) -> pl.DataFrame:
    """What several metadata tables say, one row per code.

    Args:
        paths: the mapped outputs, in the order in which descriptions are to appear.
        separator: joins the descriptions of one code.
    """
    rows = concat_with_common_dtypes([pl.read_parquet(path, glob=False) for path in paths]).unique(maintain_order=True)
    if not rows[CODE].is_duplicated().any():
        return rows
    aggregations = {column: as_column(column) for column in rows.columns if column != CODE}
    if DESCRIPTION in aggregations:
        aggregations[DESCRIPTION] = pl.col(DESCRIPTION).str.join(separator, ignore_nulls=True)
    if PARENT_CODES in aggregations:
        aggregations[PARENT_CODES] = pl.col(PARENT_CODES).explode(empty_as_null=True)
    return rows.group_by(CODE, maintain_order=True).agg(_named(aggregations))


main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
