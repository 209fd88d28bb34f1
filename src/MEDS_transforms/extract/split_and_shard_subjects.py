"""Assigns every subject to a split and a shard.

Subjects are drawn at random into splits (a seed gives the same splits as release 0.1 did), or come from external
splits; each split is cut into shards. One worker does it for all.

Input: the chunks of shard_events. Output: `shards_map_fp`, a JSON file {"<split>/<number>": [subject ids]}.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from ..cli.script import stage_script
from ..dataset.io import scan_parquet
from ..dataset.splits import check_fractions, shard_subjects
from ..dataset.subjects import unique_subject_ids
from ..errors import InputError, MissingInputError
from ..mapreduce.mapper import map_units
from ..mapreduce.stage_outputs import stage_outputs
from ..settings.keys import config_value
from ..settings.names import check_names
from ..settings.plain import plain
from ..work.claims import Staged
from ..work.files import read_json
from ..work.sources import Source
from .chunks import complete_chunks
from .event_config import Table, read_event_config

__all__ = ["main", "run", "shard_subjects"]

logger = logging.getLogger(__name__)


def check(cfg: Mapping[str, Any]) -> None:
    """Raises an error where the configuration alone shows that the stage cannot run."""
    stage_cfg = cfg["stage_cfg"]
    fracs = stage_cfg.get("split_fracs")
    external = read_external_splits(stage_cfg.get("external_splits_json_fp"))
    if external is None:  # else they may cover all subjects, so that the fractions do not matter
        check_fractions(plain(fracs))
    check_names([*(fracs or ()), *(external or ())], "split", "The splits cannot be used")


def run(cfg: Mapping[str, Any]) -> None:
    """Runs the stage."""
    stage_cfg = cfg["stage_cfg"]
    event_config_fp = Path(config_value(cfg, "event_conversion_config_fp"))
    tables = read_event_config(event_config_fp)
    out_fp = Path(config_value(cfg, "shards_map_fp"))
    fracs = stage_cfg.get("split_fracs")

    def make(folder: Path) -> Staged:
        shards = shard_subjects(
            all_subjects(tables, Path(stage_cfg["data_input_dir"])).to_numpy(),
            stage_cfg["n_subjects_per_shard"],
            read_external_splits(stage_cfg.get("external_splits_json_fp")),
            plain(fracs),
            cfg.get("seed", 1),
        )
        (folder / out_fp.name).write_text(json.dumps(shards), encoding="utf-8")
        logger.info("%s: %d subjects in %d shards", out_fp, sum(map(len, shards.values())), len(shards))
        return {out_fp: folder / out_fp.name}

    chunks_dir = Path(stage_cfg["data_input_dir"])
    sources = {"chunks": Source(chunks_dir, ".parquet")}
    if external_splits_fp := stage_cfg.get("external_splits_json_fp"):
        sources["external splits"] = Source.of_files(Path(external_splits_fp), whole=True)
    columns = {"subject_id_cols": {name: table.subject_id_col for name, table in tables.items()}}
    settings = {"seed": cfg.get("seed", 1), **columns}
    outputs = stage_outputs(cfg, sources, folder=out_fp.parent, settings=settings, watched=[event_config_fp])
    units = [outputs.unit(out_fp, make, chunks_dir)]
    with outputs.being_made(units):
        map_units(units)


def all_subjects(tables: Mapping[str, Table], chunks_dir: Path) -> pl.Series:
    """The distinct subject ids of all chunks, sorted.

    Raises:
        FileNotFoundError: a table has no chunks.
        ValueError: there are no subjects, or an id is not a 64-bit integer.
    """
    ids = []
    for table in tables.values():
        column, where = table.subject_id_col, f"Table {table.name}, column {table.subject_id_col}"
        frames = [scan_parquet(chunk.path) for chunk in complete_chunks(chunks_dir / table.name)]
        ids.append(unique_subject_ids(pl.concat(frames), column, where))
    subjects = pl.concat(ids).unique().sort()
    if subjects.is_empty():
        raise InputError(f"Every subject id in every table is null (chunks in {chunks_dir}). Check subject_id_col.")
    return subjects


def read_external_splits(path: str | None) -> dict[str, list[int]] | None:
    """Splits that are given, from a JSON file {split: [ids]}.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds something else.
    """
    if path is None:
        return None
    if not Path(path).is_file():
        raise MissingInputError(f"There is no file {path} (external_splits_json_fp). Check the path.")
    must = f"The external splits {path} must be a JSON object of lists of integer subject ids"
    try:
        splits = read_json(Path(path))
    except ValueError as error:
        raise InputError(f"{must}: {error}") from None
    if not isinstance(splits, dict):
        raise InputError(f"{must}, not {type(splits).__name__}.")
    for split, ids in splits.items():
        if not isinstance(ids, list) or not all(isinstance(i, int) and not isinstance(i, bool) for i in ids):
            raise InputError(f"{must}; the split {split!r} is not a list of integers.")
    return splits


main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
