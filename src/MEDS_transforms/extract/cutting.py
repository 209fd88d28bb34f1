"""Cuts a table into chunks, and accounts for its rows."""

import logging
from collections.abc import Mapping
from pathlib import Path

from ..errors import InputError, listed
from ..work.accounts import Account
from .chunk_writer import write_chunks
from .chunks import find_chunks
from .raw.joins import Matches
from .raw.table import empty_table
from .table_rows import TableRows

logger = logging.getLogger(__name__)


def cut(rows: TableRows, row_chunksize: int, folder: Path) -> Account:
    """Writes the rows of a table to a folder, as chunks of so many rows; gives what is to be told of them.

    Raises:
        InputError: there are no rows, though the table is not optional, or they cannot be read.
    """
    matches = [Matches() for _ in rows.sides]
    count = write_chunks(rows.frames(folder, matches), row_chunksize, folder)
    joins = {side.join.table: found for side, found in zip(rows.sides, matches, strict=True)}
    return account_of(rows, count, len(find_chunks(folder)), joins)


def account_of(rows: TableRows, count: int, n_chunks: int, joins: Mapping[str, Matches]) -> Account:
    """What is to be told of the rows of a table, which is logged, too.

    Raises:
        InputError: there are no rows, though the table is not optional.
    """
    name = rows.table.name
    if count == 0 and not rows.table.options.optional:
        raise InputError(empty_table(name, rows.raw.path))
    log = logger.info if count else logger.warning
    log("%s: %d rows", name, count)
    for joined, found in joins.items():
        _tell_of_join(name, joined, found)
    of_joins = {"joins": {joined: count_join(found) for joined, found in joins.items()}} if joins else {}
    return {"tables": {name: {"rows": count, "chunks": n_chunks, **of_joins}}}


def _tell_of_join(table: str, joined: str, found: Matches) -> None:
    missing = f", such as {listed(found.examples)}" if found.examples else ""
    log = logger.warning if found.unmatched else logger.info
    log("%s: %d of %d rows have no match in %s%s", table, found.unmatched, found.rows, joined, missing)


def count_join(found: Matches) -> Account:
    """The rows that have a match in a joined table, and those that have none."""
    counts: Account = {"rows_matched": found.rows - found.unmatched, "rows_unmatched": found.unmatched}
    return counts | ({"examples": {"rows_unmatched": found.examples}} if found.examples else {})
