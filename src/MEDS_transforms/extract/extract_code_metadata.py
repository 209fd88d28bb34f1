"""Collects what tables of the input say about the codes of the data: descriptions, parents, categories.

Every table under a `_metadata` key of the event conversion file is read once. From its columns the code is built as
for the event, so that only rows of codes that occur in the data stay. Without a `_metadata` key there is nothing to
do. Workers share the tables; worker 0 merges.

Input: the merged shards (all splits), the event conversion file, metadata tables (as raw tables; columns of text files
are read as text) below `input_dir`.
Output: `<output_dir>/<metadata table>.parquet` with `code` (String) and the described columns; then
`<reducer_output_dir>/codes.parquet` with one row per code, sorted: several descriptions of a code are joined,
several parent codes are in one list, and if any code has several rows the other columns are lists for all codes.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import polars as pl

from ..cli.script import stage_script
from ..dataset.code_metadata import add_to_codes, read_codes
from ..dataset.columns import column as as_column
from ..dataset.dtypes import concat_with_common_dtypes, has_text
from ..dataset.io import write_parquet
from ..dataset.schema import CODE, DESCRIPTION, PARENT_CODES
from ..errors import InputError, MissingInputError, Problems, listed, nearest, warn_of
from ..expressions.columns import expression, text
from ..expressions.forms import Expression
from ..mapreduce.passes import run_pass
from ..mapreduce.reducer import plan_reduction
from ..mapreduce.stage_outputs import stage_outputs
from ..precheck.report import Inspection
from ..settings.keys import config_value
from ..settings.layout import CODES_FILE
from ..settings.newer_signs import CODE_TEMPLATE
from ..work.accounts import MOST_EXAMPLES, Account
from ..work.claims import Staged
from ..work.sources import Source
from .code_counts import count_described, count_matches, find_in_metadata
from .cohort import codes_of, cohort_shards
from .event_file.model import METADATA_KEY, Event, EventFile
from .event_file.read import event_file_content, read_event_file
from .events import code_expr, part_expr, with_floats_as_written
from .metadata_inspection import inspect_metadata
from .newer_metadata import Parts, as_text, chunks_folder, columns_described_by, newer_parts, one_row_per_code
from .raw.table import RawTable
from .table_rows import found_table

logger = logging.getLogger(__name__)

Codes = Callable[[], pl.Series]


def check(cfg: Mapping[str, Any]) -> None:
    """Raises an error where metadata tables, or columns of theirs, are missing."""
    event_file = read_event_file(config_value(cfg, "event_conversion_config_fp"))
    tables = find_metadata_tables(event_file, Path(cfg["input_dir"]))
    problems = Problems("Metadata tables cannot be used")
    for name, raw in tables.items():
        for event in event_file.metadata_tables[name]:
            try:
                _check_columns(raw, event)
            except InputError as error:
                problems.found += error.problems
    problems.raise_if_any()


def inspect(cfg: Mapping[str, Any]) -> Inspection:
    """Whether the tables of codes describe the codes of the first rows of the raw tables."""
    return inspect_metadata(cfg, read_metadata_table, describe_codes)


def run(cfg: Mapping[str, Any]) -> None:
    """Runs the stage."""
    stage_cfg, input_dir = cfg["stage_cfg"], Path(cfg["input_dir"])
    output_dir = Path(stage_cfg["output_dir"])
    event_config_fp = Path(config_value(cfg, "event_conversion_config_fp"))
    event_file = read_event_file(event_config_fp)
    newer = [event for table in event_file.tables.values() for event in table.events if event.described_by]
    tables = find_metadata_tables(event_file, input_dir)
    if not tables and not newer:
        logger.info("The event conversion file has no %s, or none that is there: there is nothing to do", METADATA_KEY)
        return
    codes = cache(lambda: codes_of(cohort_shards(cfg)))
    former_fp = Path(stage_cfg["metadata_input_dir"]) / CODES_FILE
    files = [part.path for raw in tables.values() for part in raw.parts]
    sources = {"tables": Source.of_files(*files), "code metadata": Source.of_files(former_fp)}
    sources["data"] = Source(Path(stage_cfg["data_input_dir"]), ".parquet")
    if newer:
        sources["chunks"] = Source(chunks_folder(cfg), ".parquet")
    outputs = stage_outputs(
        cfg,
        sources,
        folder=Path(stage_cfg["reducer_output_dir"]),
        own_folder=output_dir,
        settings={"events": event_file_content(event_config_fp)},
        watched=[event_config_fp],
        judge=find_in_metadata,
    )
    described = newer_parts(newer, cfg, tables, codes) if newer else _parts(event_file, tables, codes)
    units = []
    for name, (describe, watched) in described.items():
        out_fp = output_dir / f"{name}.parquet"
        units.append(outputs.unit(out_fp, partial(_make, describe, out_fp), watched))
    in_order = [unit.claim_fp for unit in units]
    former = read_codes(stage_cfg["metadata_input_dir"])
    separator = stage_cfg["description_separator"]

    def reduce(_: list[Path]) -> pl.DataFrame:
        if newer:
            return add_to_codes(one_row_per_code(in_order, separator, codes()), former)
        return add_to_codes(reduce_descriptions(in_order, separator), former)

    def account(merged: pl.DataFrame) -> Account:
        return count_described(merged, codes(), CODE_TEMPLATE if newer else CODE)

    run_pass([plan_reduction(cfg, outputs, units, reduce, account)])


def find_metadata_tables(event_file: EventFile, input_dir: Path) -> dict[str, RawTable]:
    """The metadata tables; those that are optional and not there are left out, with a warning.

    Raises:
        FileNotFoundError: some are missing; the message lists them.
    """
    tables, missing = {}, Problems("Metadata tables of the event conversion file are missing")
    for name in event_file.metadata_tables:
        try:
            if raw := found_table(name, input_dir, event_file.options_of(name)):
                tables[name] = raw
            else:
                warn_of(logger, "there is no such metadata table, or it is empty; it is optional", name)
        except MissingInputError as error:
            missing.found += error.problems
    missing.raise_if_any(MissingInputError)
    return tables


def _parts(event_file: EventFile, tables: Mapping[str, RawTable], codes: Codes) -> Parts:
    """Every metadata table is a part."""
    return {
        name: (partial(_describe, raw, event_file.metadata_tables[name], codes), raw.parts[0].path)
        for name, raw in tables.items()
    }


def _make(describe: Callable[[], tuple[pl.DataFrame, Account]], out_fp: Path, folder: Path) -> Staged:
    described, counts = describe()
    write_parquet(described, folder / out_fp.name)
    return Staged({out_fp: folder / out_fp.name}, {"metadata_tables": counts})


def _describe(raw: RawTable, events: list[Event], codes: Codes) -> tuple[pl.DataFrame, Account]:
    counts: Account = {}
    described = describe_codes(read_metadata_table(raw, events), raw.name, events, codes, counts)
    return described, {raw.name: counts}


def read_metadata_table(raw: RawTable, events: Iterable[Event]) -> pl.DataFrame:
    """The columns of a metadata table that events need; those of a text file are text, so that codes stay as they are.

    Raises:
        InputError: the table lacks columns, or cannot be read.
    """
    return as_text(raw, set().union(*(_check_columns(raw, event) for event in events)))


def describe_codes(
    df: pl.DataFrame, name: str, events: list[Event], codes: Codes, counts: Account | None = None
) -> pl.DataFrame:
    """What a metadata table says about the codes of some events.

    Args:
        df: the metadata table.
        name: its name.
        events: the events whose `_metadata` names it.
        codes: gives the codes that occur in the data.
        counts: takes in, by event, how many rows and codes match.

    Returns:
        `code` and the described columns; rows that describe nothing are left out, repeats too.
    """
    frames = []
    for event in events:
        parts, described = _expressions(event, name)
        texts = set().union(*(found.as_text for found in [*parts, *described.values()]))
        _check_texts(df, f"{event.path}.{METADATA_KEY}.{name}", texts, described)
        rows = df if event.options.infer_code_dtypes else with_floats_as_written(df, texts)
        with_codes = rows.select(code_expr(part.expr for part in parts).alias(CODE), *_named(_typed(rows, described)))
        says_something = ~pl.all_horizontal(as_column(column).is_null() for column in described)
        is_known = with_codes[CODE].is_in(codes().implode()).fill_null(False)
        known = with_codes.filter(is_known)
        frames.append(known.filter(says_something))
        if counts is not None:
            unknown = with_codes.filter(~is_known).head(MOST_EXAMPLES)
            counts[event.path] = count_matches(event, frames[-1], known.height, rows.height, unknown, codes())
    return concat_with_common_dtypes(frames).unique(maintain_order=True)


def _expressions(event: Event, name: str) -> tuple[list[Expression], dict[str, Expression]]:
    """The parts of the event's codes in a metadata table, and what it says of them.

    A part that is a column of data is a column of that name here, unless the block says what it is.
    """
    block, where = event.metadata[name], f"{event.path}.{METADATA_KEY}.{name}"
    parts = []
    for part in event.code:
        if part.is_column and part.text in block:
            parts.append(text(block[part.text], f"{where}.{part.text}"))
        elif part.text in event.computed:
            parts.append(event.computed[part.text])
        else:
            names = frozenset([part.text]) if part.is_column else frozenset()
            parts.append(Expression(part_expr(part), names, names))
    return parts, {column: expression(cfg, f"{where}.{column}") for column, cfg in block.items()}


def _check_texts(df: pl.DataFrame, where: str, texts: set[str], described: Mapping[str, Expression]) -> None:
    """Raises an error where lists and the like are to be codes or descriptions."""
    dtypes = {name: df.schema[name] for name in sorted(texts)}
    if DESCRIPTION in described:
        dtypes |= df.lazy().select(described[DESCRIPTION].expr.alias(DESCRIPTION)).collect_schema()
    for name, dtype in dtypes.items():
        if not has_text(dtype):
            raise InputError(
                f"{name} has the dtype {dtype}, which is not written as text",
                where,
                "Lists may be parent_codes; for a description name a column of text.",
            )


def _named(expressions: Mapping[str, pl.Expr]) -> list[pl.Expr]:
    """NOTE: as keyword arguments of polars' methods, a column could not be called `self`."""
    return [expression.alias(name) for name, expression in expressions.items()]


def _typed(df: pl.DataFrame, described: Mapping[str, Expression]) -> dict[str, pl.Expr]:
    """The described columns: `description` as text, `parent_codes` as a list of text, the others as they are."""
    typed = {column: found.expr for column, found in described.items()}
    if DESCRIPTION in typed:
        typed[DESCRIPTION] = typed[DESCRIPTION].cast(pl.String)
    if PARENT_CODES in typed:
        parents = typed[PARENT_CODES]
        if not isinstance(df.lazy().select(parents.alias(PARENT_CODES)).collect_schema()[PARENT_CODES], pl.List):
            parents = pl.when(parents.is_not_null()).then(pl.concat_list(parents.cast(pl.String)))
        typed[PARENT_CODES] = parents.cast(pl.List(pl.String))
    return typed


def _check_columns(raw: RawTable, event: Event) -> set[str]:
    """The columns of a metadata table that an event needs, after a check that they are there."""
    wanted = columns_described_by(raw, event) if event.described_by else _columns_wanted(raw, event)
    if missing := wanted - set(raw.columns):
        mapped = f"Map a code part of another name by its name: `{min(missing)}: <column>`."
        raise InputError(
            f"the metadata table has no column {listed(missing)}{nearest(min(missing), raw.columns)}. It has: "
            f"{listed(raw.columns)}",
            f"{event.path}.{METADATA_KEY}.{raw.name}",
            "" if event.described_by else mapped,
        )
    return wanted


def _columns_wanted(raw: RawTable, event: Event) -> set[str]:
    parts, described = _expressions(event, raw.name)
    return {name for found in [*parts, *described.values()] for name in found.columns}


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
