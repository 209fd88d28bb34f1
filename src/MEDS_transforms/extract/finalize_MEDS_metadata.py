"""Writes the cohort's metadata as MEDS requires it: its codes, its description, and the split of every subject.

Only worker 0 runs the stage.

Input: the `codes.parquet` of extract_code_metadata (none: no code has metadata), the merged shards, the shard map.
Output, in `reducer_output_dir`, which must be called `metadata`:
  - `codes.parquet`: `code` (string), `description` (string), `parent_codes` (list of string), then the other
    columns; sorted by code;
  - `dataset.json`: dataset_name, dataset_version, etl_name, etl_version, meds_version, created_at (ISO 8601; UTC,
    without a zone);
  - `subject_splits.parquet`: `subject_id` (int64), `split` (string), in the order of the shard map.

Keys of etl_metadata: dataset_name and dataset_version (text; mandatory) name the dataset.
"""

import json
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from ..cli.script import stage_script
from ..dataset.arrow import SPLITS_SCHEMA, write_codes
from ..dataset.code_metadata import add_to_codes, read_codes
from ..dataset.columns import column as as_column
from ..dataset.io import write_arrow
from ..dataset.schema import CODE, CODE_METADATA_TYPES, PARENT_CODES, SPLIT, SUBJECT_ID
from ..errors import InputError, OutputsExistError, Problems, listed
from ..mapreduce.figures import CODES, SUBJECTS
from ..mapreduce.mapper import map_units
from ..mapreduce.shards import read_shard_map
from ..mapreduce.stage_outputs import stage_outputs
from ..settings.keys import config_value, flag
from ..settings.layout import CODES_FILE, DATASET_FILE, METADATA_DIR, SPLITS_FILE
from ..work.accounts import Account
from ..work.claims import Staged
from ..work.environment import RESUMING
from ..work.sources import Source
from ..work.staying import stays
from .cohort import codes_of, cohort_shards

logger = logging.getLogger(__name__)


def check(cfg: Mapping[str, Any]) -> None:
    """Raises an error where the configuration alone shows that the stage cannot run."""
    dataset_metadata(cfg)


def run(cfg: Mapping[str, Any]) -> None:
    """Runs the stage."""
    if cfg.get("worker", 0) != 0 and not stays():
        logger.info("Only worker 0 runs this stage")
        return
    stage_cfg = cfg["stage_cfg"]
    out_dir = Path(stage_cfg["reducer_output_dir"])
    if out_dir.name != METADATA_DIR:
        raise InputError(
            f"reducer_output_dir must be a folder called {METADATA_DIR}, as MEDS requires, not {out_dir}. Is "
            f"{cfg.get('stage')} the last metadata stage of the pipeline?"
        )
    outputs = [out_dir / name for name in (CODES_FILE, DATASET_FILE, SPLITS_FILE)]
    dataset = dataset_metadata(cfg)
    shards_map_fp = Path(config_value(cfg, "shards_map_fp"))
    codes_fp = Path(stage_cfg["metadata_input_dir"]) / CODES_FILE
    sources = {"shard map": Source.of_files(shards_map_fp), "code metadata": Source.of_files(codes_fp)}
    if flag(stage_cfg, "include_all_codes"):
        sources["data"] = Source(Path(stage_cfg["data_input_dir"]), ".parquet")
    named = {key: value for key, value in dataset.items() if key != "created_at"}
    made = stage_outputs(cfg, sources, folder=out_dir, settings={"dataset": named})

    def make(folder: Path) -> Staged:
        finished = [folder / path.name for path in outputs]
        account = write_metadata(cfg, dataset, *finished)
        return Staged(dict(zip(outputs, finished, strict=True)), account)

    unit = made.unit(outputs[-1], make, codes_fp, outputs=outputs)
    with made.being_made([unit]):
        map_units([unit])
    # A stage that was interrupted resumes; one that has finished is not repeated unasked.
    if made.was_finished and RESUMING not in os.environ and not flag(cfg, "do_overwrite"):
        raise OutputsExistError(
            f"The metadata already exists: {listed(outputs)}. Give do_overwrite=True to rebuild it."
        )


def write_metadata(
    cfg: Mapping[str, Any], dataset: Mapping[str, str], codes_fp: Path, dataset_fp: Path, splits_fp: Path
) -> Account:
    """Writes the three files; gives what is to be noted of them for the accounting."""
    stage_cfg = cfg["stage_cfg"]
    codes = read_codes(stage_cfg["metadata_input_dir"])
    if flag(stage_cfg, "include_all_codes"):
        all_codes = codes_of(cohort_shards(cfg)).to_frame(CODE)
        codes = add_to_codes(all_codes, codes)
    splits = subject_splits(read_shard_map(cfg))
    typed = to_meds_codes(codes, flag(stage_cfg, "do_retype", default=True))
    write_codes(typed, codes_fp)
    dataset_fp.write_text(json.dumps(dataset), encoding="utf-8")
    write_arrow(splits, SPLITS_SCHEMA, splits_fp)
    logger.info("%d codes, %d subjects in splits", typed.height, splits.height)
    of_split = dict(splits.group_by(SPLIT, maintain_order=True).agg(pl.col(SUBJECT_ID).n_unique()).iter_rows())
    counted = {CODES: typed.height, SUBJECTS: splits[SUBJECT_ID].n_unique()}
    return {"metadata": counted, "splits": {split: {SUBJECTS: n} for split, n in of_split.items()}}


def to_meds_codes(codes: pl.DataFrame | None, do_retype: bool) -> pl.DataFrame:
    """Code metadata with the mandatory columns first, in their MEDS dtypes, sorted by code.

    Raises:
        ValueError: without `do_retype`, columns are missing or have other dtypes; the message lists them all.
    """
    codes = pl.DataFrame(schema=CODE_METADATA_TYPES) if codes is None else codes
    problems = Problems("The code metadata does not comply with MEDS; set do_retype: true, or fix it")
    for column, dtype in CODE_METADATA_TYPES.items():
        found = codes.schema.get(column)
        if found != dtype:
            problems.add(f"{column} must be {dtype}, but is " + (f"{found}" if found else "missing"))
    if not do_retype:
        problems.raise_if_any()
    typed = {c: _cast(codes, c, dtype) for c, dtype in CODE_METADATA_TYPES.items()}
    others = [c for c in codes.columns if c not in CODE_METADATA_TYPES]
    return codes.select(*(e.alias(c) for c, e in typed.items()), *(as_column(c) for c in others)).sort(CODE)


def _cast(codes: pl.DataFrame, column: str, dtype: pl.DataType) -> pl.Expr:
    found = codes.schema.get(column)
    if found is None:
        return pl.lit(None, dtype=dtype)
    value = pl.col(column)
    if column == PARENT_CODES and not isinstance(found, pl.List):
        return pl.when(value.is_not_null()).then(pl.concat_list(value.cast(pl.String)))
    return value.cast(dtype)


def dataset_metadata(cfg: Mapping[str, Any]) -> dict[str, str]:
    """What the dataset is and what made it."""
    return {
        "dataset_name": str(config_value(cfg, "etl_metadata.dataset_name")),
        "dataset_version": str(config_value(cfg, "etl_metadata.dataset_version")),
        "etl_name": str(config_value(cfg, "etl_metadata.package_name")),
        "etl_version": str(config_value(cfg, "etl_metadata.package_version")),
        "meds_version": version("meds"),
        "created_at": datetime.now(UTC).replace(tzinfo=None).isoformat(),
    }


def subject_splits(shards: Mapping[str, list[int]]) -> pl.DataFrame:
    """The split of every subject, in the order of the shard map: columns subject_id (Int64), split (String)."""
    rows = [(i, shard.rpartition("/")[0]) for shard, ids in shards.items() for i in ids]
    return pl.DataFrame(rows, schema={SUBJECT_ID: pl.Int64, SPLIT: pl.String}, orient="row")


main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
