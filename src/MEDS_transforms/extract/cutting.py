"""Cuts a table into chunks, and accounts for its rows."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError, listed
from ..mapreduce import limits
from ..mapreduce.accounting import EXAMPLES
from ..mapreduce.limits import Finding, percent
from ..work.accounts import Account
from .chunk_writer import write_chunks
from .chunks import find_chunks
from .code_counts import ROWS_MATCHED, ROWS_UNMATCHED
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
    of_joins = {"joins": {joined: count_join(found) for joined, found in joins.items()}} if joins else {}
    return {"tables": {name: {"rows": count, "chunks": n_chunks, **of_joins}}}


def count_join(found: Matches) -> Account:
    """The rows that have a match in a joined table, and those that have none."""
    counts: Account = {ROWS_MATCHED: found.rows - found.unmatched, ROWS_UNMATCHED: found.unmatched}
    return counts | ({EXAMPLES: {ROWS_UNMATCHED: found.examples}} if found.examples else {})


def find_in_joins(account: Account) -> list[Finding]:
    """The joins, in the account of all tables, that have left rows without a match."""
    joins = {
        (table, joined): counts
        for table, of_table in account.get("tables", {}).items()
        for joined, counts in of_table.get("joins", {}).items()
    }
    return [_unmatched(*tables, counts) for tables, counts in joins.items() if counts[ROWS_UNMATCHED]]


def _unmatched(table: str, joined: str, counts: Mapping[str, Any]) -> Finding:
    unmatched, rows = counts[ROWS_UNMATCHED], counts[ROWS_MATCHED] + counts[ROWS_UNMATCHED]
    examples = counts.get(EXAMPLES, {}).get(ROWS_UNMATCHED, ())
    such_as = f", such as {listed(examples)}" if examples else ""
    words = f"rows that have no match in {joined}: {percent(unmatched, rows)}{such_as}"
    return Finding(limits.ROWS_UNMATCHED, f"{table}.join", unmatched / rows, words)
