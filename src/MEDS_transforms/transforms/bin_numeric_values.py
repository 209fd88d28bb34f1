"""Puts values into bins, and the bins into the codes: `LAB//0389` becomes `LAB//0389//value_[3.9,4.2)`.

The edges of a code's bins are those of `custom_bins`, else those in `custom_bins_filepath`, else those in a column of
the code metadata, such as its quantiles. A code with n edges has n + 1 bins: below the first edge, from each edge up to
the next one, which does not belong to it, and from the last edge on. Of equal edges one counts. A row keeps its code
where that has no edges, or where its value is null or NaN. Edges, and values that are compared with them, are 32-bit
floats.

Workers share the shards. Rows and their order do not change. A vocabulary that has the new codes needs counts after
this stage: aggregate_code_metadata once more, then fit_vocabulary_indices.

Input: data shards, code metadata with the columns in `bin_with_columns`.
Output: the shards with new codes (String), and with `do_drop_numeric_value` null in `numeric_value` beside these.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ..cli.script import stage_script
from ..dataset.code_settings import CodeSettings, Rules, Settable, followed_by, read_entries, read_table
from ..dataset.columns import column, internal
from ..dataset.io import Frame
from ..dataset.key_tables import COUNT, KIND, Found
from ..dataset.measurements import Floats, as_floats, as_given, checked
from ..dataset.schema import CODE, NUMERIC_VALUE
from ..errors import MissingInputError, Problems, listed, nearest
from ..mapreduce.mapper import map_stage
from ..mapreduce.match_revise import check_revisions
from ..mapreduce.plans import Others
from ..settings.checks import checked_value
from ..settings.keys import code_modifiers as code_modifiers_of
from ..settings.keys import flag
from ..settings.plain import plain
from ..settings.yaml_file import read_yaml
from ..work.accounts import note
from .bins import CODE_FIELD, Bins, fields_of

EDGES = "edges"
_STAGE = "bin_numeric_values"
_KEYS = ("custom_bins", "custom_bins_filepath")
_YAML = (".yaml", ".yml")
_LISTS = pl.List(pl.Float32())
_BINS = internal("bins")


def read_custom_bins(stage_cfg: Mapping[str, Any], code_modifiers: Sequence[str] | None) -> list[Rules]:
    """The bins that a stage's block sets for codes, with `edges` as lists.

    Raises:
        InputError: some cannot be used; the message lists all problems.
    """
    edges = pl.col(EDGES)
    wrong = {
        "the edges do not ascend": edges.list.diff().list.min() < 0,
        "an edge is NaN": edges.list.eval(pl.element().is_nan()).list.any(),
    }
    settable = Settable({EDGES: _LISTS}, tuple(code_modifiers or ()), (EDGES,), wrong)
    problems = Problems("The bins cannot be used")
    given, path = (stage_cfg.get(key) for key in _KEYS)
    rules = read_entries(settable, _entries(plain(given), _KEYS[0]), _KEYS[0], problems)
    if path is not None and str(path).endswith(_YAML):
        rules = followed_by(rules, _read_file(settable, str(path), problems))
    elif path is not None:
        rules = followed_by(rules, read_table(settable, path, _KEYS[1], problems))
    problems.raise_if_any()
    return rules


def _read_file(settable: Settable, path: str, problems: Problems) -> list[Rules]:
    if Path(path).is_file():
        return read_entries(settable, _entries(read_yaml(Path(path)), path), path, problems)
    problems.add(f"there is no file {path}", _KEYS[1], "Check the path")
    return []


def _entries(given: Any, where: str) -> Any:
    """Bins as entries, by their places; edges that have names without these."""
    if isinstance(given, dict):
        return {f"{where}[{code!r}]": {CODE: code, EDGES: _without_names(edges)} for code, edges in given.items()}
    if isinstance(given, list):
        return [{**one, EDGES: _without_names(one.get(EDGES))} if isinstance(one, dict) else one for one in given]
    return given


def _without_names(edges: Any) -> Any:
    return [*edges.values()] if isinstance(edges, dict) else edges


def edges_in_metadata(code_metadata: pl.DataFrame | None, names: Sequence[str]) -> pl.Series:
    """The edges of each code of the metadata, ascending, by the first of some columns that has any; null: none does.

    Raises:
        InputError: a column is missing, or has no numbers.
    """
    problems, found = Problems("The code metadata has no bins"), list[pl.Expr]()
    if code_metadata is None:
        raise MissingInputError(
            f"There is no code metadata, which should have {listed(names)} (bin_with_columns)",
            remedy="Run aggregate_code_metadata before this stage, or correct metadata_input_dir.",
        )
    for name in names:
        dtype = code_metadata.schema.get(name)
        if dtype is None:
            remedy = "Compute it with aggregate_code_metadata before this stage, or leave it out of bin_with_columns"
            problems.add(f"there is no {name}{nearest(name, code_metadata.columns)}", remedy=remedy)
        elif isinstance(dtype, pl.Struct) and all(field.dtype.is_numeric() for field in dtype.fields):
            fields = [column(name).struct.field(field.name).cast(pl.Float32) for field in dtype.fields]
            found.append(pl.concat_list(fields))
        elif isinstance(dtype, pl.List) and dtype.inner.is_numeric():
            found.append(column(name).cast(_LISTS))
        else:
            problems.add(f"{name} must be a struct or a list of numbers; it is {dtype}")
    problems.raise_if_any()
    ascending = [_ascending(edges) for edges in found]
    # NOTE: polars 1 fails on structs in several chunks, of which some are null.
    one_chunk = code_metadata.rechunk()
    return one_chunk.select(pl.coalesce(*ascending, pl.lit(None, _LISTS)).alias(_BINS)).to_series()


def _ascending(edges: pl.Expr) -> pl.Expr:
    numbers = edges.list.eval(pl.element().filter(pl.element().is_not_nan())).list.drop_nulls().list.sort()
    return pl.when(numbers.list.len() > 0).then(numbers)


def bin_numeric_values_fntr(
    stage_cfg: Mapping[str, Any], code_modifiers: list[str] | None, code_metadata: pl.DataFrame | None = None
) -> Callable[[Frame], Frame]:
    """The function of one shard that puts the bins of values into codes.

    Raises:
        InputError: bins or templates cannot be used, or the code metadata lacks columns; when applied, the data lacks
            columns.
    """
    template, without_value = read_templates(stage_cfg)
    does_drop = flag(stage_cfg, "do_drop_numeric_value")
    bins, bins_of = _bins(stage_cfg, code_modifiers, code_metadata)
    names = bins.names(template)

    def put_into_bins(df: Frame) -> Frame:
        rows = checked(df, CODE, NUMERIC_VALUE)
        data = bins_of.columns_of(rows, NUMERIC_VALUE)
        found = by_bin(bins_of.of(data), as_floats(data[NUMERIC_VALUE]), bins)
        new = new_codes(found, bins, names, without_value)
        is_new = new.is_not_null()
        counts = {"put_into_bins": is_new, "left": ~is_new}
        note({"codes": {what: int(found.table[COUNT].filter(which).sum()) for what, which in counts.items()}})
        if not is_new.any():
            return as_given(df, rows)
        if does_drop:
            rows = rows.with_columns(pl.when(~is_new.gather(found.at)).then(NUMERIC_VALUE))
        return rows.with_columns(found.codes_of_rows(new.zip_with(is_new, found.codes)))

    return put_into_bins


def by_bin(found: Found, values: Floats, bins: Bins) -> Found:
    """What is found by codes and bins: KIND is 1 for the first bin of a code, and 0 without one."""
    numbers, at = found.table[_BINS], found.places
    is_in = np.flatnonzero(numbers.is_not_null().to_numpy()[at] & ~np.isnan(values))
    codes = numbers.cast(pl.Int64).fill_null(0).to_numpy()[at[is_in]]
    kinds = np.zeros(len(values), np.int64)
    kinds[is_in] = bins.bins_of(codes, values[is_in]) + 1
    return found.by_kind(kinds, bins.counts[numbers].fill_null(0).to_numpy() + 1)


def new_codes(found: Found, bins: Bins, names: Sequence[pl.Series | None], without_value: str | None) -> pl.Series:
    """The new code of each code and bin; null where the code stays."""
    kinds, firsts = found.table[KIND], bins.firsts[found.table[_BINS]]
    numbers = (firsts + kinds - 1).set(kinds == 0, None).cast(pl.get_index_type())
    parts = [found.codes if name is None else name[numbers] for name in names]
    new = reduce(add, parts, pl.repeat("", len(kinds), eager=True)).set(numbers.is_null(), None)
    if without_value is None:
        return new
    of_missing = found.codes.alias(CODE).to_frame().select(_of_code(without_value)).to_series()
    return of_missing.zip_with((kinds == 0) & firsts.is_not_null(), new)


def _bins(
    stage_cfg: Mapping[str, Any], code_modifiers: Sequence[str] | None, code_metadata: pl.DataFrame | None
) -> tuple[Bins, CodeSettings]:
    """The bins of all codes, and what finds the numbers of codes among them."""
    rules, names = read_custom_bins(stage_cfg, code_modifiers), plain(stage_cfg.get("bin_with_columns")) or []
    lists = [one.entries[EDGES] for one in rules]
    if names:
        lists.append(edges_in_metadata(code_metadata, names))
    edges = pl.concat([pl.Series([], dtype=_LISTS), *lists])
    has_bins = (edges.list.len() > 0).fill_null(value=False)
    numbers = (has_bins.cast(pl.Int64).cum_sum() - 1).set(~has_bins, None).cast(pl.UInt32).alias(_BINS)
    numbered, at = list[Rules](), 0
    for one in rules:
        numbered.append(replace(one, entries=one.entries.with_columns(numbers.slice(at, one.entries.height))))
        at += one.entries.height
    if code_metadata is not None and names:
        code_metadata = code_metadata.with_columns(numbers.slice(at))
    settable = Settable({_BINS: pl.UInt32()}, tuple(code_modifiers or ()))
    of_metadata = {_BINS: _BINS} if names else {}
    bins_of = CodeSettings(settable, numbered, None, code_metadata, code_modifiers, of_metadata)
    return Bins(edges.filter(has_bins)), bins_of


def read_templates(stage_cfg: Mapping[str, Any]) -> tuple[str, str | None]:
    """The templates of new codes: of those with a bin, and of those without a value.

    Raises:
        InputError: one has a field that there is not.
    """
    template: str = checked_value(_STAGE, stage_cfg, "code_with_bin_name")
    without_value: str | None = checked_value(_STAGE, stage_cfg, "code_without_value")
    fields_of(template)
    if without_value is not None:
        fields_of(without_value, (CODE_FIELD,))
    return template, without_value


def _of_code(template: str) -> pl.Expr:
    parts = [[pl.lit(text), *([pl.col(CODE)] if field else [])] for text, field in fields_of(template, (CODE_FIELD,))]
    return pl.concat_str([part for text_and_code in parts for part in text_and_code])


def check(cfg: Mapping[str, Any]) -> None:
    """Raises an error where the configuration alone shows that the stage cannot run."""
    modifiers = code_modifiers_of(cfg)

    def check_block(stage_cfg: Mapping[str, Any]) -> None:
        read_templates(stage_cfg)
        read_custom_bins(stage_cfg, modifiers)

    check_revisions(cfg, check_block)


run = map_stage(
    bin_numeric_values_fntr,
    cheap=True,
    changes=(CODE, NUMERIC_VALUE),
    others=Others.PASSED_ON,
    reads=("custom_bins_filepath",),
    takes_categories=True,
)

main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
