"""Assigns every subject to a split and a shard.

Subjects are drawn into splits at random (a seed gives the same splits as release 0.1 did) or by a hash, or come from
external splits; each split is cut into shards. One worker does it for all.

Input: the chunks of shard_events. Output: `shards_map_fp`, a JSON file {"<split>/<number>": [subject ids]}.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from ..cli.script import stage_script
from ..dataset.columns import INTERNAL, column
from ..dataset.external_splits import external_splits_file, read_external_splits
from ..dataset.io import few_at_a_time, scan_parquet
from ..dataset.schema import SUBJECT_ID
from ..dataset.splits import RANDOM, check_fractions, shard_subjects
from ..dataset.subjects import subject_ids
from ..errors import InputError, listed, nearest
from ..mapreduce.mapper import map_units
from ..mapreduce.stage_outputs import stage_outputs
from ..precheck.report import Inspection
from ..settings.keys import config_value
from ..settings.names import check_names
from ..settings.plain import plain
from ..work.accounts import Account, added_up
from ..work.claims import Staged
from ..work.expected import instead_of
from ..work.sources import Source
from .chunks import complete_chunks
from .event_file.model import Table
from .event_file.read import read_event_file
from .inspection import inspect_splits
from .subject_numbers import INTEGER, TEXT_ID, ids_as_text, numbered

__all__ = ["main", "run", "shard_subjects"]

logger = logging.getLogger(__name__)


def check(cfg: Mapping[str, Any]) -> None:
    """Raises an error where the configuration alone shows that the stage cannot run."""
    stage_cfg = cfg["stage_cfg"]
    fracs = stage_cfg.get("split_fracs")
    event_file = read_event_file(config_value(cfg, "event_conversion_config_fp"))
    external = _external_splits(stage_cfg, event_file.default.subject_ids)
    if external is None:  # else they may cover all subjects, so that the fractions do not matter
        check_fractions(plain(fracs))
    check_names([*(fracs or ()), *(external or ())], "split", "The splits cannot be used")


def inspect(cfg: Mapping[str, Any]) -> Inspection:
    """Whether the subjects of the raw tables suffice for the splits, as far as a look at their first rows tells."""
    id_kind = read_event_file(config_value(cfg, "event_conversion_config_fp")).default.subject_ids
    return inspect_splits(cfg, _external_splits(cfg["stage_cfg"], id_kind))


def run(cfg: Mapping[str, Any]) -> None:
    """Runs the stage."""
    stage_cfg = cfg["stage_cfg"]
    event_config_fp = Path(config_value(cfg, "event_conversion_config_fp"))
    event_file = read_event_file(event_config_fp)
    id_kind = event_file.default.subject_ids
    has_text = id_kind != INTEGER
    out_fp = Path(config_value(cfg, "shards_map_fp"))
    fracs = stage_cfg.get("split_fracs")

    def make(folder: Path) -> Staged:
        ids = distinct_ids(event_file.tables, Path(stage_cfg["data_input_dir"]))
        external = _external_splits(stage_cfg, id_kind)
        if has_text:
            ids, external = _as_numbers(ids, external, id_kind, cfg)
        method = stage_cfg.get("split_method") or RANDOM
        splits = (stage_cfg["n_subjects_per_shard"], external, plain(fracs), cfg.get("seed", 1), method)
        shards = shard_subjects(ids.to_numpy(), *splits)
        (folder / out_fp.name).write_text(json.dumps(shards), encoding="utf-8")
        logger.info("%s: %d subjects in %d shards", out_fp, sum(map(len, shards.values())), len(shards))
        return Staged({out_fp: folder / out_fp.name}, {"splits": count_splits(shards)})

    chunks_dir = Path(stage_cfg["data_input_dir"])
    sources = {"chunks": Source(chunks_dir, ".parquet")}
    if given := external_splits_file(stage_cfg):
        sources["external splits"] = Source.of_files(given[1], whole=True)
    columns = {"subject_id_cols": {name: t.subject_id_col for name, t in event_file.tables.items()}}
    settings = {"seed": cfg.get("seed", 1), **columns, "subject_ids": id_kind}
    outputs = stage_outputs(cfg, sources, folder=out_fp.parent, settings=settings, watched=[event_config_fp])
    units = [outputs.unit(out_fp, make, chunks_dir)]
    with outputs.being_made(units):
        map_units(units)


def _external_splits(stage_cfg: Mapping[str, Any], id_kind: str) -> dict[str, list[Any]] | None:
    """The external splits; their ids are as those of the raw tables: integers, or text where these are numbered."""
    return read_external_splits(stage_cfg, *((int, subject_ids) if id_kind == INTEGER else (str, ids_as_text)))


def count_splits(shards: Mapping[str, Sequence[int]]) -> Account:
    """The shards and the subjects of every split.

    >>> count_splits({"train/0": [1, 2], "train/1": [3], "tuning/0": [4]})
    {'train': {'shards': 2, 'subjects': 3}, 'tuning': {'shards': 1, 'subjects': 1}}
    """
    return added_up({shard.rpartition("/")[0]: {"shards": 1, "subjects": len(ids)}} for shard, ids in shards.items())


def distinct_ids(tables: Mapping[str, Table], chunks_dir: Path) -> pl.Series:
    """The distinct subject ids of all chunks, sorted: Int64, or String where they are to be numbered.

    Raises:
        FileNotFoundError: a table has no chunks.
        ValueError: there are no subjects, or an id is not what it should be.
    """
    found = []
    for table in tables.values():
        where = f"Table {table.name}, column {table.subject_id_col}"
        convert = ids_as_text if table.has_text_ids else subject_ids
        if (distinct := _ids_of(table, chunks_dir / table.name)) is not None:
            found.append(convert(distinct, where).alias(SUBJECT_ID))
    all_ids = pl.concat(found).drop_nulls().unique().sort() if found else pl.Series(SUBJECT_ID, [])
    if all_ids.is_empty():
        raise InputError(f"Every subject id in every table is null (chunks in {chunks_dir}). Check subject_id_col.")
    return all_ids


def _ids_of(table: Table, folder: Path) -> pl.Series | None:
    """The distinct ids of a table's chunks, as they are there; None where there are no chunks."""
    unwritten = instead_of(folder)
    if unwritten and (known := unwritten.ids()) is not None:
        return pl.Series(known)
    if not (chunks := complete_chunks(folder, table.options.optional)):
        return None
    scans = [scan_parquet(chunk.path) for chunk in chunks]
    for chunk, scan in zip(chunks, scans, strict=True):
        _check_has_ids(table, chunk.path, scan.collect_schema().names())
    ids = [scan.select(column(table.subject_id_col).alias(SUBJECT_ID)) for scan in scans]
    return pl.concat([few.unique().collect().to_series() for few in few_at_a_time(ids)]).unique()


def _check_has_ids(table: Table, path: Path, there: list[str]) -> None:
    name = table.subject_id_col
    if name in there:
        return
    if name.startswith(INTERNAL):
        raise InputError(
            f"Table {table.name}: {path} has no subject ids that shard_events has made. An event conversion file in "
            "the newer language needs that stage: add it to the stages of the pipeline."
        )
    raise InputError(
        f"Table {table.name}: {path} has no column {name!r}{nearest(name, there)}, the subject_id_col. It has: "
        f"{listed(there)}"
    )


def _as_numbers(
    texts: pl.Series, external: dict[str, list[Any]] | None, kind: str, cfg: Mapping[str, Any]
) -> tuple[pl.Series, dict[str, list[Any]] | None]:
    """The numbers of ids that are text, those of external splits too."""
    given = [text for split in (external or {}).values() for text in split]
    table = numbered(pl.concat([texts, pl.Series(given, dtype=pl.String)]), kind, cfg)
    numbers = dict(zip(table[TEXT_ID], table[SUBJECT_ID], strict=True))
    splits = None
    if external is not None:
        splits = {split: [numbers[text] for text in ids] for split, ids in external.items()}
    return pl.Series([numbers[text] for text in texts], dtype=pl.Int64).sort(), splits


main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
