"""How many rows of metadata tables are about codes of the data, and how many of these codes they describe."""

import re
from typing import Any

import polars as pl

from ..dataset.columns import column
from ..dataset.schema import CODE
from ..mapreduce.accounting import EXAMPLES, OUT
from ..mapreduce.figures import count_codes
from ..mapreduce.limits import NO_MATCH, Finding
from ..work.accounts import Account, some_examples
from .event_file.model import Event
from .events import CODE_SEPARATOR

ROWS, ROWS_MATCHED, ROWS_UNMATCHED = "rows", "rows_matched", "rows_unmatched"
CODES_MATCHED, CODES_UNMATCHED = "codes_matched", "codes_unmatched"


def count_matches(
    event: Event, described: pl.DataFrame, matched: int, rows: int, unknown: pl.DataFrame, codes: pl.Series
) -> Account:
    """What a metadata table has for an event.

    Args:
        event: the event.
        described: the rows that describe codes of the data.
        matched: how many rows have a code of the data; these may describe nothing.
        rows: how many rows there are.
        unknown: some rows whose code is not in the data.
        codes: the codes of the data.

    Returns:
        `rows`, `rows_matched`, `rows_unmatched`; `codes_matched`, the distinct codes that are described;
        `codes_unmatched`, those that are not and could be the event's, by the literal parts of its code; examples.
    """
    known = described[CODE].unique()
    fitting = codes.filter(codes.str.contains(code_pattern(event)))
    left = fitting.filter(~fitting.is_in(known.implode()))
    examples = {
        ROWS_UNMATCHED: some_examples(unknown[CODE].drop_nulls()),
        CODES_UNMATCHED: some_examples(left.head(10)),
    }
    return {
        ROWS: rows,
        ROWS_MATCHED: matched,
        ROWS_UNMATCHED: rows - matched,
        CODES_MATCHED: known.len(),
        CODES_UNMATCHED: left.len(),
        EXAMPLES: {what: some for what, some in examples.items() if some},
    }


def code_pattern(event: Event) -> str:
    """The pattern of the codes that an event can have.

    NOTE: other events may have such codes as well; which event a code is from cannot be told.
    """
    parts = (".*" if part.is_column else re.escape(part.text) for part in event.code)
    return rf"(?s)\A{CODE_SEPARATOR.join(parts)}\z"


def count_described(merged: pl.DataFrame, codes: pl.Series, sign: str = CODE) -> Account:
    """How many codes of the data have metadata, and how many have none; and what is in the merged table.

    A code has some where the merged table has a value in the column `sign`.
    """
    described = merged.filter(column(sign).is_not_null())[CODE]
    left = codes.filter(~codes.is_in(described.implode()))
    counts: dict[str, Any] = {"in_data": codes.len(), "described": codes.len() - left.len(), "undescribed": left.len()}
    if left.len():
        counts[EXAMPLES] = {"undescribed": some_examples(left.head(10))}
    return {"codes": counts, OUT: count_codes(merged)}


def find_in_metadata(account: Account) -> list[Finding]:
    """The metadata tables that describe no code of the data, for each event that names them."""
    findings = []
    for table, of_table in account.get("metadata_tables", {}).items():
        for event, counts in of_table.items():
            if counts[CODES_MATCHED]:
                continue
            shown = {what: ", ".join(map(repr, some)) for what, some in counts[EXAMPLES].items()}
            theirs = f" Codes of the table are {shown[ROWS_UNMATCHED]}" if ROWS_UNMATCHED in shown else ""
            ours = f"; of the data, {shown[CODES_UNMATCHED]}" if CODES_UNMATCHED in shown else ""
            words = f"the metadata table {table} describes no code of the data in {counts[ROWS]:,} rows.{theirs}{ours}"
            findings.append(Finding(NO_MATCH, event, 1, words))
    return findings
