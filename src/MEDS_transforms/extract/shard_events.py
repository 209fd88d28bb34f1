"""Cuts the raw tables into chunks of consecutive rows, keeping only the columns that some event needs.

Every table of the event conversion file is read once, from first to last row, in memory that depends neither on
its size nor on that of the chunks. Row order stays. Workers share the tables.

Input: tables (text, parquet or feather; in a file or several) below `data_input_dir`, which is `input_dir` unless set.
Output: `<output_dir>/<table>/[<start>-<end>).parquet` with the rows `start` (included) to `end` (not included).
The dtypes of a text file's columns are inferred, but for those that are wanted as text: parts of codes, times, texts.
"""

import logging
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..cli.script import stage_script
from ..dataset.columns import INTERNAL
from ..dataset.io import is_complete_parquet_file
from ..dataset.schema import NUMERIC_VALUE
from ..errors import InputError, MissingInputError, Problem, Problems, listed, nearest, warn_of
from ..mapreduce.interim import folder_of_maker
from ..mapreduce.passes import PlannedStage
from ..mapreduce.plans import Plan
from ..mapreduce.shards import shuffle_shards
from ..mapreduce.stage_outputs import stage_outputs
from ..precheck.report import Inspection
from ..settings.folders import key_of
from ..settings.keys import config_value
from ..work.claims import Staged, Unit
from ..work.outputs import StageOutputs
from ..work.raw_tables import tables_below
from ..work.sources import Source
from .chunks import find_chunks
from .cutting import cut, find_in_joins
from .event_file.model import META_KEYS, Event, EventFile, Table
from .event_file.read import read_event_file
from .events import wrong_dtypes
from .inspection import inspect_tables
from .raw.delimited import repeated_name
from .raw.dialect import separator_hint
from .raw.table import RawTable
from .table_rows import TableRows, found_table, open_rows
from .unwritten_tables import UnwrittenTable

__all__ = ["META_KEYS", "main", "run"]

logger = logging.getLogger(__name__)


def check(cfg: Mapping[str, Any]) -> None:
    """Raises an error where event conversion file and tables show that they cannot become measurements."""
    event_file = read_event_file(config_value(cfg, "event_conversion_config_fp"))
    open_tables(event_file, cfg)


def inspect(cfg: Mapping[str, Any]) -> Inspection:
    """What the first rows of the tables show: whether they can be read, and what their subject ids are."""
    return inspect_tables(cfg)


def plan(cfg: Mapping[str, Any]) -> Plan:
    """What the stage is to do."""
    stage_cfg = cfg["stage_cfg"]
    output_dir, row_chunksize = Path(stage_cfg["output_dir"]), stage_cfg["row_chunksize"]
    event_config_fp = Path(config_value(cfg, "event_conversion_config_fp"))
    event_file = read_event_file(event_config_fp)
    rows = open_tables(event_file, cfg)
    sources = {"tables": Source.of_files(*(path for table in rows.values() for path in table.files))}
    settings = {"tables": {name: table.settings for name, table in rows.items()}}
    watched, judge = [event_config_fp], find_in_joins
    outputs = stage_outputs(cfg, sources, own_folder=output_dir, settings=settings, watched=watched, judge=judge)
    units = {name: _table_unit(table, outputs, output_dir / name, row_chunksize) for name, table in rows.items()}
    hidden = folder_of_maker(output_dir, outputs.stage, outputs.rows_by(()))
    unwritten = {
        output_dir / name: UnwrittenTable(rows[name], row_chunksize, hidden / quote(name, safe=""))
        for name in shuffle_shards(list(units), cfg)
    }
    in_order = [units[path.relative_to(output_dir).as_posix()] for path in unwritten]
    return Plan(outputs, in_order, instead=unwritten, takes_frames=False)


run = PlannedStage(plan, is_alone=True)


def open_tables(event_file: EventFile, cfg: Mapping[str, Any]) -> dict[str, TableRows]:
    """The rows of every table, with the columns that its events need; optional tables that are not there are left out.

    Raises:
        FileNotFoundError: a table is missing, or there is none at all.
        ValueError: tables lack columns, are empty or cannot be read, or have columns of dtypes that do not suit their
            use; the message lists them all.
    """
    input_dir, infer_rows = Path(cfg["stage_cfg"]["data_input_dir"]), cfg["stage_cfg"]["infer_schema_length"]
    missing = Problems("Tables of the event conversion file are missing")
    problems = Problems("Tables cannot be used")
    found = {}
    for name, table in event_file.tables.items():
        try:
            if (raw := found_table(name, input_dir, table.options)) is None:
                warn_of(logger, "there is no such table, or it is empty; it is optional", name)
            elif not (wrong := _wrong_columns(table, raw) + _unknown_dtypes(raw, event_file)):
                rights = [_right(join.table, input_dir, event_file) for join in table.joins]
                found[name] = open_rows(table, raw, rights, infer_rows)
                for one in (raw, *rights):
                    one.warn_of_encoding()
            else:
                problems.found += wrong
        except MissingInputError as error:
            missing.found += error.problems
        except InputError as error:  # which may be of a table that others join
            problems.found += [one for one in error.problems if one not in problems.found]
    if not found and not problems.found and not any(tables_below(input_dir, [Path(cfg["cohort_dir"])])):
        missing.found = []
        missing.add(f"there are no tables below {input_dir}", remedy=f"Check {key_of(cfg, 'data_input_dir')}")
    missing.raise_if_any(MissingInputError)
    problems.raise_if_any()
    _check_dtypes(found.values())
    if there := dict(_unused(event_file, found.values(), input_dir, Path(cfg["cohort_dir"]))):
        logger.warning("Not in the event conversion file, skipped: %s", listed(there))
    return found


def _check_dtypes(tables: Iterable[TableRows]) -> None:
    problems = Problems("Tables cannot become measurements")
    for rows in tables:
        problems.found += wrong_dtypes(rows.table, rows.chunk_schema)
    problems.raise_if_any()


def _right(name: str, input_dir: Path, event_file: EventFile) -> RawTable:
    """A table to join; one without rows if it is optional and not there."""
    raw = found_table(name, input_dir, event_file.options_of(name))
    if raw is None:
        warn_of(logger, "there is no such table to join, or it is empty; it is optional", name)
    return raw or RawTable(name, [])


def _unused(
    event_file: EventFile, rows: Iterable[TableRows], input_dir: Path, cohort_dir: Path
) -> Iterable[tuple[str, Path]]:
    """The tables that the event conversion file does not name, with a file of each."""
    read = {path for table in rows for path in table.files}
    named = {*event_file.tables, *event_file.options, *event_file.metadata_tables, *event_file.joined_tables}
    return ((n, path) for n, path in tables_below(input_dir, [cohort_dir]) if n not in named and path not in read)


def _wrong_columns(table: Table, raw: RawTable) -> list[Problem]:
    """What is wrong with the columns that a table has, for what its events need."""
    there, problems = [*raw.columns, *table.joined_columns, *table.made_columns], list[Problem]()
    for name in table.file_columns:
        if repeated_name(name) in raw.columns:
            warn_of(logger, f"the header of {raw.path} has {name!r} several times; the first is read", table.name)
    for event in table.events:
        _warn_of_literals(event, {*there, *event.each})
        problems += [
            Problem(
                f"the table {raw.path} has a column of that name", f"{event.path}.each.{name}", "Give this one another"
            )
            for name in event.each
            if name in there
        ]
    wanted = [(f"{e.path}.{key}", name) for e in table.events for name, key in e.columns.items()]
    made = [(f"{table.name}: {table.made_by[m]}", name) for m, e in table.made_columns.items() for name in e.columns]
    for key, name in [(f"{table.name}.subject_id_col", table.subject_id_col), *wanted, *made]:
        if name.startswith(INTERNAL) and name not in table.made_columns:
            what = f"the column {name!r} starts with U+E000, which this package reserves"
            problems.append(Problem(what, key, "Rename it"))
        if name not in there:
            remedy = _template_hint(name) or separator_hint(raw.columns)
            problems.append(Problem(_no_column(raw, name, there), key, remedy))
    return problems


def _unknown_dtypes(raw: RawTable, event_file: EventFile) -> list[Problem]:
    """What is wrong with the columns that the block of a table gives dtypes; those at the top are of any tables."""
    given = event_file.options_of(raw.name).dtypes
    unknown = [name for name in given if name not in raw.columns] if given != event_file.default.dtypes else []
    return [Problem(_no_column(raw, name, raw.columns), f"{raw.name}.dtypes") for name in unknown]


def _no_column(raw: RawTable, name: object, there: Collection[str]) -> str:
    return f"the table {raw.path} has no column {name!r}{nearest(str(name), there)}. It has: {listed(there)}"


def _template_hint(name: str) -> str:
    """What to write where text with columns in it has been taken for the name of a column."""
    return f'For text with the values of columns in it write {{str: "{name}"}}' if "{" in name else ""


def _warn_of_literals(event: Event, columns: Collection[str]) -> None:
    """Warns of texts in a code that were likely meant as columns.

    Beside the column itself, or as the name of the column that the numbers are read from, a text is meant as such.
    """
    of_code = {part.text for part in event.code if part.is_column}
    of_each = {column for several in event.each.values() for expression in several for column in expression.columns}
    meant = {*of_code, *of_each, event.values.get(NUMERIC_VALUE)}
    for part in event.code:
        if not part.is_column and part.text in columns and part.text not in meant:
            what = f"{part.text} is taken as literal text, but rows of {event.table} also have a column of that name"
            warn_of(logger, what, f"{event.path}.code", f"Write col({part.text}) if its values are meant")


def _table_unit(rows: TableRows, outputs: StageOutputs, folder: Path, row_chunksize: int) -> Unit:
    """The unit of work that cuts one table. How many chunks it gives is known only at its end."""

    def make(scratch: Path) -> Staged:
        account = cut(rows, row_chunksize, scratch)
        return Staged({folder / chunk.path.name: chunk.path for chunk in find_chunks(scratch)}, account)

    def existing() -> list[Path]:
        chunks = [chunk.path for chunk in find_chunks(folder)]
        return chunks if all(map(is_complete_parquet_file, chunks)) else []

    return outputs.unit(folder, make, rows.raw.parts[0].path, existing)


main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
