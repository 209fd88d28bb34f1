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
from pathlib import Path
from typing import Any

import polars as pl

from ..cli.script import stage_script
from ..dataset.code_settings import CodeSettings, Rules, Settable, followed_by, read_entries, read_table
from ..dataset.columns import column, internal
from ..dataset.measurements import checked
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
_BINS, _BIN, _NEW = internal("bins"), internal("bin"), internal("new")


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
    return code_metadata.select(pl.coalesce(*ascending, pl.lit(None, _LISTS)).alias(_BINS)).to_series()


def _ascending(edges: pl.Expr) -> pl.Expr:
    numbers = edges.list.eval(pl.element().filter(pl.element().is_not_nan())).list.drop_nulls().list.sort()
    return pl.when(numbers.list.len() > 0).then(numbers)


def bin_numeric_values_fntr(
    stage_cfg: Mapping[str, Any], code_modifiers: list[str] | None, code_metadata: pl.DataFrame | None = None
) -> Callable[[pl.LazyFrame], pl.LazyFrame]:
    """The function of one shard that puts the bins of values into codes.

    Raises:
        InputError: bins or templates cannot be used, or the code metadata lacks columns; when applied, the data lacks
            columns.
    """
    template, without_value = read_templates(stage_cfg)
    does_drop = flag(stage_cfg, "do_drop_numeric_value")
    bins, add_bins = _bins(stage_cfg, code_modifiers, code_metadata)
    names = bins.names(template)

    def new_codes(rows: pl.Series) -> pl.Series:
        found = bins.bins_of(rows.struct.field(_BINS), rows.struct.field(NUMERIC_VALUE))
        parts = [rows.struct.field(CODE) if name is None else name[found] for name in names]
        joined = pl.DataFrame([part.alias(f"{n}") for n, part in enumerate(parts)]).select(pl.concat_str(pl.all()))
        return joined.to_series().set(found.is_null(), None)

    def put_into_bins(df: pl.LazyFrame) -> pl.LazyFrame:
        value = pl.col(NUMERIC_VALUE).cast(pl.Float32)
        new = pl.struct(CODE, NUMERIC_VALUE, _BINS).map_batches(new_codes, pl.String, is_elementwise=True)
        if without_value is not None:
            is_missing = pl.col(_BINS).is_not_null() & (value.is_null() | value.is_nan())
            new = pl.when(is_missing).then(_of_code(without_value)).otherwise(new)
        df = checked(df, CODE, NUMERIC_VALUE)
        # Found out once for each row, so that it can be counted.
        found = add_bins(df).select(new.alias(_NEW)).collect().to_series()
        note({"codes": {"put_into_bins": found.count(), "left": found.null_count()}})
        if does_drop:
            df = df.with_columns(pl.when(found.is_null()).then(NUMERIC_VALUE))
        return df.with_columns(pl.coalesce(found, CODE).alias(CODE))

    return put_into_bins


def _bins(
    stage_cfg: Mapping[str, Any], code_modifiers: Sequence[str] | None, code_metadata: pl.DataFrame | None
) -> tuple[Bins, CodeSettings]:
    """The bins of all codes, and what adds the number of its code among them to each row."""
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
    add = CodeSettings(settable, numbered, None, code_metadata, code_modifiers, of_metadata)
    return Bins(edges.filter(has_bins)), add


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
)

main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
