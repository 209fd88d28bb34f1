"""Computes statistics of every code: how often it occurs, and how its values are distributed.

Any stage whose block has `aggregations` can be run by this script (`stage=<name>`); of subjects, it looks at those
of the train split unless `train_only: false` is set. Workers share the shards; worker 0 merges. The result does not
depend on how the rows are cut into shards, sums and deviations up to rounding, median and quantiles of codes with more
than 50,000 distinct values in a shard up to one hundred-thousandth of the ranks and one more per shard.

Input: data shards with code, the code modifiers, and as needed subject_id, numeric_value (absent: no values) and
text_value or another column of text; the former code metadata.
Output: `<output_dir>/<shard>.parquet`, the parts; `<reducer_output_dir>/codes.parquet` with a row per code and
modifiers that occur, sorted, null first; columns: the key, the aggregations, then those of the former code metadata.
Rows without a code count only for all codes together.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ..cli.script import stage_script
from ..dataset.categories import CODE_CATEGORIES, in_texts
from ..dataset.code_metadata import check_data, code_key, join_former, read_codes, to_smallest_unsigned
from ..dataset.columns import column, internal
from ..dataset.dtypes import concat_with_common_dtypes
from ..dataset.io import Frame, few_at_a_time, scan_parquet, write_parquet
from ..dataset.measurements import checked
from ..dataset.schema import CODE, MANDATORY_COLUMNS, NUMERIC_VALUE, SUBJECT_ID, TEXT_N_DISTINCT, VALUES_QUANTILES
from ..errors import InputError, listed
from ..mapreduce.accounting import IN, OUT
from ..mapreduce.figures import CODES, count_codes, count_rows
from ..mapreduce.handover import scan_shard
from ..mapreduce.mapper import Shards
from ..mapreduce.passes import PlannedStage
from ..mapreduce.plans import Others, Plan
from ..mapreduce.reducer import plan_reduction
from ..mapreduce.shards import shuffle_shards
from ..mapreduce.stage_outputs import stage_outputs
from ..settings.keys import code_modifiers, flag
from ..settings.layout import CODES_FILE
from ..work.sources import Source
from .aggregations import Aggregations, read_aggregations
from .counting import parts_by_code
from .quantiles import dtype_of_quantiles, merge_quantiles, quantile_part
from .statistics import STATISTICS, SUMS, summed, sums_of_parts, terms_of, value_or_null
from .texts import TEXT, merge_texts, text_or_null, text_part

_ROW = internal("row")


def check(cfg: Mapping[str, Any]) -> None:
    """Raises an error where the configuration alone shows that the stage cannot run."""
    read_aggregations(cfg["stage_cfg"], cfg.get("stage"))
    code_modifiers(cfg)


def codes_made(cfg: Mapping[str, Any]) -> dict[str, pl.DataType]:
    """The columns of the code metadata that the stage makes."""
    aggregations = read_aggregations(cfg["stage_cfg"], cfg.get("stage"))
    made = dict.fromkeys(code_key(code_modifiers(cfg)), pl.String()) | dict.fromkeys(aggregations.columns, pl.Float64())
    of_quantiles = dtype_of_quantiles(aggregations.quantiles)
    return made | ({VALUES_QUANTILES: of_quantiles} if VALUES_QUANTILES in made else {})


def plan(cfg: Mapping[str, Any]) -> Plan:
    """What the stage is to do."""
    stage_cfg = cfg["stage_cfg"]
    aggregations = read_aggregations(stage_cfg, cfg.get("stage"))
    modifiers = code_modifiers(cfg)
    # NOTE: polars takes some names for patterns, so those have others meanwhile.
    plain = {m: internal(f"modifier{n}") if m == "*" or m[:1] == "^" else m for n, m in enumerate(modifiers or [])}
    key = code_key(list(plain.values()))

    def compute(df: pl.LazyFrame) -> pl.DataFrame:
        check_data(df.collect_schema(), plain)
        df = df.with_columns(column(modifier).alias(name) for modifier, name in plain.items() if modifier != name)
        return summarize(df, key, aggregations)

    found: dict[str, int] = {}
    """The codes in the data, which need not be read once more to be counted."""

    def reduce(paths: list[Path]) -> pl.DataFrame:
        # In the order in which worker 0 visits the shards, whatever the number of workers, as release 0.1.
        of_shard = {path.relative_to(parts_dir).with_suffix("").as_posix(): path for path in paths}
        in_order = [of_shard[shard] for shard in shuffle_shards(list(of_shard), {"worker": 0})]
        merged = merge(read_parts(in_order, key, aggregations), key, aggregations)
        if not flag(stage_cfg, "train_only"):
            merged = count_subjects_once(merged, of_splits, key, aggregations)
        found[CODES] = count_codes(merged)[CODES]
        merged = merged.rename({name: modifier for modifier, name in plain.items()})
        return join_former(merged, read_codes(stage_cfg["metadata_input_dir"]), modifiers)

    parts_dir = Path(stage_cfg["output_dir"])
    shards, former_fp = Shards(cfg), Path(stage_cfg["metadata_input_dir"]) / CODES_FILE
    of_splits = _by_split([in_fp for in_fp, _ in shards.paths], Path(stage_cfg["data_input_dir"]))
    outputs = stage_outputs(
        cfg,
        {**shards.sources(compute), "code metadata": Source.of_files(former_fp)},
        folder=Path(stage_cfg["reducer_output_dir"]),
        own_folder=parts_dir,
        count_in=count_rows,
    )
    work = replace(shards.work(compute, write_fn=partial(write_parquet, fast=True)), takes_categories=True)
    units = shards.units(outputs, work)
    return plan_reduction(cfg, outputs, units, reduce, lambda codes: {IN: found, OUT: count_codes(codes)})


def others(stage_cfg: Mapping[str, Any]) -> Others:
    """What the stage does with columns that not every MEDS file has."""
    aggregations = read_aggregations(stage_cfg)
    return Others.DROPPED.but_needs(aggregations.text_column if aggregations.looks_at_texts else None)


run = PlannedStage(plan, others=others)


def summarize(df: Frame, key: Sequence[str], aggregations: Aggregations) -> pl.DataFrame:
    """The part of a shard: what its rows say about every code, sorted by the key, null first.

    Raises:
        ValueError: the data lacks columns.
    """
    needed = aggregations.columns_with(key)
    df = checked(df, *(column for column in needed if column in MANDATORY_COLUMNS))
    check_data(df.collect_schema(), key)
    values = [value_or_null()] if NUMERIC_VALUE in needed else []
    texts = [text_or_null(df.collect_schema(), aggregations.text_column)] if aggregations.looks_at_texts else []
    texts = [text.alias(TEXT) for text in texts]
    # NOTE: in memory, so that floats are added in the order of the rows: the same rows give the same bytes.
    rows = df.select(*needed, *texts).with_columns(values).collect(engine="in-memory")
    coded = rows.filter(pl.col(CODE).is_not_null())
    parts = [_parts_of_codes(coded, key, aggregations.parts)]
    if aggregations.over_all_codes:
        # NOTE: not grouped, since there is a row for all codes even where there is no row at all.
        no_key = [pl.lit(None, rows.schema[column]).alias(column) for column in key]
        of_all = rows.select(*no_key, **terms_of(aggregations.parts, grouped=False))
        parts.append(summed(of_all, grouped=False).select(parts[0].columns))
    part = pl.concat(parts)
    more = {quantile_part: bool(aggregations.quantile_columns), text_part: aggregations.keeps_texts}
    for part_of in (part_of for part_of, is_wanted in more.items() if is_wanted):
        of_codes = [part_of(coded, key)]
        if aggregations.over_all_codes:
            of_codes.append(part_of(rows.with_columns(no_key), key))
        part = part.join(pl.concat(of_codes), on=key, how="left", nulls_equal=True)
    whole: pl.DataFrame = in_texts(part)
    return whole.sort(key, nulls_last=False)


def _parts_of_codes(coded: pl.DataFrame, key: Sequence[str], parts: Mapping[str, pl.Expr]) -> pl.DataFrame:
    if [*key] == [CODE] and coded.schema[CODE] in (pl.String, CODE_CATEGORIES):
        return parts_by_code(coded, parts)
    terms = terms_of(parts, grouped=True)
    return summed(coded.lazy().group_by(key).agg(**terms).collect(engine="in-memory"), grouped=True)


def read_parts(paths: Sequence[Path], key: Sequence[str], aggregations: Aggregations) -> list[pl.DataFrame]:
    """The parts of all shards.

    Raises:
        ValueError: a part was made for other aggregations.
    """
    columns = [*key, *aggregations.part_columns]
    parts = [scan_parquet(path) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        if missing := [column for column in columns if column not in part.collect_schema()]:
            raise InputError(
                f"{path} has no column {listed(missing)}: it was made with other settings. Give do_overwrite=True to "
                "make it again."
            )
    return pl.collect_all([part.select(columns) for part in parts], engine="in-memory")


def merge(parts: Sequence[pl.DataFrame], key: Sequence[str], aggregations: Aggregations) -> pl.DataFrame:
    """What the parts of all shards say about every code, sorted by the key, null first.

    Returns:
        the key, then the aggregations in their order.
    """
    heights, together = [part.height for part in parts], concat_with_common_dtypes(parts, "the shards")
    merged = {name: STATISTICS[name].merged for name in aggregations.statistics if name not in SUMS}
    rows = together.with_row_index(_ROW).lazy().group_by(key).agg(_ROW, **merged)
    codes = rows.collect(engine="in-memory").sort(key, nulls_last=False)
    group = np.empty(together.height, np.int64)
    rows_of = codes[_ROW].explode(empty_as_null=False, keep_nulls=False).to_numpy()
    group[rows_of] = np.repeat(np.arange(codes.height), codes[_ROW].list.len().to_numpy())
    sums = [name for name in aggregations.statistics if name in SUMS]
    codes = codes.with_columns(
        *(pl.Series(n, sums_of_parts(together[n].to_numpy(), group, heights, codes.height)) for n in sums),
        *(to_smallest_unsigned(codes[name]) for name in merged if STATISTICS[name].is_count),
    )
    join = partial(pl.DataFrame.join, on=key, how="left", nulls_equal=True, maintain_order="left")
    if aggregations.quantile_columns:
        quantiles = merge_quantiles(together, key, aggregations.quantile_columns)
        codes = join(codes, aggregations.with_quantiles_together(quantiles))
    if aggregations.keeps_texts:
        codes = join(codes, merge_texts(together, key, aggregations.n_most_frequent))
        codes = codes.with_columns(to_smallest_unsigned(codes[TEXT_N_DISTINCT].fill_null(0)))
    return codes.select(*key, *aggregations.columns)


def count_subjects_once(
    codes: pl.DataFrame, shards_of_splits: Mapping[str, Sequence[Path]], key: Sequence[str], aggregations: Aggregations
) -> pl.DataFrame:
    """Corrects the numbers of subjects where a subject is in several splits, and so in a shard of each.

    Args:
        codes: the merged parts, in which such a subject counts once per shard.
        shards_of_splits: the shards of every split. No subject is in two shards of one split.
        key: the columns that tell codes apart.
        aggregations: what the codes have.
    """
    counts = aggregations.only_subject_counts()
    if not counts.names or len(shards_of_splits) < 2:
        return codes
    needed = counts.columns_with(key)
    mandatory = [column for column in needed if column in MANDATORY_COLUMNS]
    scans = [scan_shard(path) for paths in shards_of_splits.values() for path in paths]
    # Shards may differ in the width of the ids, and in whether codes are categorical.
    shards = [checked(scan, *mandatory).cast({SUBJECT_ID: pl.Int64}) for scan in scans]
    of_shards = [shard.select(SUBJECT_ID).unique() for shard in shards]
    subjects = pl.concat([few.collect() for few in few_at_a_time(of_shards)])[SUBJECT_ID]
    repeated = subjects.filter(subjects.is_duplicated()).unique()
    if repeated.is_empty():
        return codes
    theirs = [shard.filter(pl.col(SUBJECT_ID).is_in(repeated.implode())) for shard in shards]
    parts = [summarize(rows, key, counts) for rows in theirs]
    per_shard = merge(parts, key, counts)
    together = concat_with_common_dtypes([rows.select(needed).collect() for rows in theirs], "the shards")
    once = merge([summarize(together, key, counts)], key, counts)
    # Both are sorted by the same keys.
    surplus = per_shard.select(*key, *(per_shard[n].cast(pl.Int64) - once[n].cast(pl.Int64) for n in counts.names))
    surplus = codes.select(key).join(surplus, on=key, how="left", nulls_equal=True, maintain_order="left")
    return codes.with_columns(
        to_smallest_unsigned(codes[n].cast(pl.Int64) - surplus[n].fill_null(0)).alias(n) for n in counts.names
    )


def _by_split(shards: Iterable[Path], root: Path) -> dict[str, list[Path]]:
    splits: dict[str, list[Path]] = {}
    for path in sorted(shards):
        splits.setdefault(path.relative_to(root).parts[0] if path.parent != root else "", []).append(path)
    return splits


main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
