"""Checks `codes.parquet`: its columns, its codes, and whether they are those of the data."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa

from ..dataset.columns import column, columns
from ..dataset.schema import CODE, PARENT_CODES
from ..errors import counted
from .columns import check_columns, has, is_text, is_texts
from .findings import Findings, some
from .shard import N_ROWS
from .standards import Table
from .tables import read_columns


def check_codes(
    path: Path, table: Table, modifiers: Sequence[str], in_data: pl.DataFrame | None, findings: Findings
) -> int | None:
    """Adds what is wrong with the code metadata; gives how many codes they have, None where they cannot be read.

    Args:
        path: of codes.parquet.
        table: what MEDS asks of it.
        modifiers: columns that, with the code, tell rows apart.
        in_data: the codes of the data, as `ShardFacts.codes`; None if some could not be read.
        findings: to add to.
    """
    where = findings.name(path)
    key = [*dict.fromkeys([CODE, *modifiers])]

    def wanted(schema: pa.Schema) -> list[str]:
        check_columns(schema, table, where, findings)
        if not has(schema, CODE, is_text):
            return []
        parents = [PARENT_CODES] if has(schema, PARENT_CODES, is_texts) else []
        return [*dict.fromkeys([*(name for name in key if schema.names.count(name) == 1), *parents])]

    codes = read_columns(path, wanted, where, findings)
    if codes is None:
        return None
    codes = codes.with_columns(column(CODE).cast(pl.String))
    _check_keys(codes, [name for name in key if name in codes.columns], where, findings)
    if in_data is not None:
        _compare(codes, in_data, where, findings)
    if PARENT_CODES in codes.columns:
        _check_parents(codes, where, findings)
    return codes[CODE].n_unique() - bool(codes[CODE].null_count())


def _check_keys(codes: pl.DataFrame, key: Sequence[str], where: str, findings: Findings) -> None:
    if n := codes[CODE].null_count():
        findings.add("null_described_code", where, f"{counted(n, 'row')} without a code", n)
    known = codes.filter(column(CODE).is_not_null())
    repeated = known.filter(pl.struct(columns(key)).is_duplicated())[CODE].unique().sort()
    if n := repeated.len():
        findings.add("code_repeats", where, f"{counted(n, 'code')} in several rows: {some(repeated.to_list())}", n)


def _compare(codes: pl.DataFrame, in_data: pl.DataFrame, where: str, findings: Findings) -> None:
    missing = in_data.join(codes, on=CODE, how="anti").sort(N_ROWS, CODE, descending=[True, False])
    if n := missing.height:
        what = f"{n} of the {counted(in_data.height, 'code')} of the data have no row here"
        rows = counted(int(missing[N_ROWS].sum()), "measurement")
        findings.add("undescribed_codes", where, f"{what} ({rows}): {some(missing[CODE].to_list())}", n)
    unused = codes.join(in_data, on=CODE, how="anti")[CODE].drop_nulls().unique().sort()
    if n := unused.len():
        findings.add("unused_codes", where, f"{counted(n, 'code')} never in the data: {some(unused.to_list())}", n)


def _check_parents(codes: pl.DataFrame, where: str, findings: Findings) -> None:
    links = codes.select(CODE, PARENT_CODES).explode(PARENT_CODES, empty_as_null=False).drop_nulls()
    links = links.with_columns(pl.col(PARENT_CODES).cast(pl.String))
    own = links.filter(pl.col(CODE) == pl.col(PARENT_CODES))[CODE].unique().sort()
    if n := own.len():
        findings.add("own_parent", where, f"{counted(n, 'code')} among their own parents: {some(own.to_list())}", n)
    outside = links.join(codes, left_on=PARENT_CODES, right_on=CODE, how="anti")[PARENT_CODES].unique().sort()
    if n := outside.len():
        findings.add("outside_parents", where, f"{counted(n, 'parent code')} not here: {some(outside.to_list())}", n)
