"""What several test modules share: extractions of small raw tables, in this process and as programs."""

import gzip
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import meds
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import yaml
from hydra import compose, initialize_config_dir
from jsonschema import validate
from omegaconf import DictConfig, OmegaConf
from polars.testing import assert_frame_equal

from MEDS_transforms.settings.packaged import CONFIG_DIR, EXTRACT_CONFIG_YAML
from MEDS_transforms.stages import packaged_stages

SCRIPTS = Path(sys.executable).parent

EXTRACTION_STAGES: list[str] = yaml.safe_load(EXTRACT_CONFIG_YAML.read_text())["stages"]
"""The extraction stages in the order of the packaged pipeline; that these are all of them is tested."""


ONE_SPLIT = "split_and_shard_subjects.split_fracs={train: 1, tuning: null, held_out: null}"
"""An override of `Extraction.run_until`: so few subjects as tests have are too few for several splits."""


def write_table(path: Path, content: pl.DataFrame | str | bytes) -> Path:
    """Writes a raw table in the format that its suffix names; text and bytes are written as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, pl.DataFrame) and path.suffix in (".parquet", ".par"):
        content.write_parquet(path)
        return path
    if isinstance(content, pl.DataFrame):
        content = content.write_csv()
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" and data[:2] != b"\x1f\x8b" else data)
    return path


def files_below(folder: Path, logs: bool = False) -> list[str]:
    """The files below a folder, hidden ones too, sorted; `logs`: also logs, and what finished stages note."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if logs or (".logs/" not in name and not _NOTED.search(name)))


_NOTED = re.compile(r"(^|/)(\.provenance/[^/]+\.record|accounting/[^/]+\.json)$")


@cache
def _stage_defaults(stage: str) -> DictConfig:
    with initialize_config_dir(str(CONFIG_DIR), version_base=None):
        cfg = compose("_extract", [f"stage={stage}"])
    OmegaConf.set_struct(cfg, False)
    return cfg


def hospital_events(patients: str = "patients", born: str = "%Y-%m-%d", **block: Any) -> dict[str, Any]:
    """An event conversion file of a table of patients and one of laboratory values, whose codes a third describes.

    `patients` is the name of the table of patients, `born` the format of its dates, `block` has more keys of it.
    """
    return {
        patients: {
            **block,
            "birth": {"code": "MEDS_BIRTH", "time": "col(born)", "time_format": born},
            "sex": {"code": ["SEX", "col(sex)"], "time": None},
        },
        "labs": {
            "lab": {
                "code": ["LAB", "col(test)"],
                "time": "col(taken)",
                "time_format": "%Y-%m-%d %H:%M",
                "numeric_value": "value",
                "_metadata": {"d_labs": {"description": "label"}},
            }
        },
    }


@dataclass
class Extraction:
    """Raw tables, an event conversion file and a cohort below one folder, and the stages that run on them."""

    folder: Path

    @property
    def raw(self) -> Path:
        return self.folder / "raw"

    @property
    def cohort(self) -> Path:
        return self.folder / "cohort"

    @property
    def event_file(self) -> Path:
        return self.folder / "events.yaml"

    def table(self, name: str, content: pl.DataFrame | str | bytes) -> Path:
        """Writes a raw table; `name` has its suffix."""
        return write_table(self.raw / name, content)

    def events(self, content: Mapping[str, Any] | str) -> Path:
        """Writes the event conversion file."""
        text = content if isinstance(content, str) else yaml.safe_dump(dict(content), sort_keys=False)
        self.event_file.parent.mkdir(parents=True, exist_ok=True)
        self.event_file.write_text(text)
        return self.event_file

    def shards(self, shards: Mapping[str, list[int]]) -> None:
        """Writes the shard map, in place of split_and_shard_subjects."""
        path = self.cohort / "metadata" / ".shards.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(shards))

    def overrides(self, *more: str) -> list[str]:
        """The command line that every stage needs."""
        return [
            f"input_dir={self.raw}",
            f"cohort_dir={self.cohort}",
            f"event_conversion_config_fp={self.event_file}",
            "etl_metadata.dataset_name=D",
            "etl_metadata.dataset_version='1.0'",
            "polling_time=1",
            *more,
        ]

    def cfg(self, stage: str, *overrides: str) -> DictConfig:
        """The whole configuration of a stage; an override `.key=value` is of the stage's own block."""
        own = [f"stage_configs.{stage}{o}" if o.startswith(".") else o for o in overrides]
        return OmegaConf.merge(_stage_defaults(stage), OmegaConf.from_dotlist(self.overrides(*own)))

    def pipeline(self, **stage_configs: Mapping[str, Any]) -> str:
        """A pipeline file of the whole extraction, with blocks of stages."""
        content = {
            "defaults": ["_extract", "_self_"],
            "input_dir": str(self.raw),
            "cohort_dir": str(self.cohort),
            "event_conversion_config_fp": str(self.event_file),
            "etl_metadata": {"dataset_name": "D", "dataset_version": "1"},
            "stage_configs": stage_configs,
        }
        return yaml.safe_dump(content)

    def run(self, stage: str, *overrides: str) -> None:
        """Runs a stage in this process."""
        import_module(f"MEDS_transforms.extract.{stage}").main(self.cfg(stage, *overrides))

    def run_until(self, last: str, *overrides: str) -> None:
        """Runs the stages up to this one; an override `stage.key=value` is of that stage's block."""
        for stage in EXTRACTION_STAGES[: EXTRACTION_STAGES.index(last) + 1]:
            self.run(stage, *_of_stage(stage, overrides))

    def script(
        self, stage: str, *overrides: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs the stage's console script."""
        return subprocess.run(
            [SCRIPTS / f"MEDS_extract-{stage}", *self.overrides(*overrides)],
            cwd=self.folder,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def chunk(self, table: str, start: int, end: int) -> pl.DataFrame:
        """A chunk of shard_events."""
        return pl.read_parquet(self.cohort / "shard_events" / table / f"[{start}-{end}).parquet", glob=False)

    def piece(self, shard: str, table: str, start: int, end: int) -> pl.DataFrame:
        """A piece of convert_to_sharded_events."""
        folder = self.cohort / "convert_to_sharded_events" / shard / table
        return pl.read_parquet(folder / f"[{start}-{end}).parquet", glob=False)

    def shard(self, stage: str, shard: str) -> pl.DataFrame:
        """A shard of a later stage."""
        return pl.read_parquet(self.cohort / stage / f"{shard}.parquet", glob=False)


def _of_stage(stage: str, overrides: tuple[str, ...]) -> list[str]:
    keys = {o: o.partition("=")[0].partition(".")[0] for o in overrides}
    return [
        o.removeprefix(stage) if key == stage else o
        for o, key in keys.items()
        if key == stage or key not in EXTRACTION_STAGES
    ]


def write_shards(folder: Path, shards: Mapping[str, pl.DataFrame]) -> None:
    """Writes data shards: `<folder>/<name>.parquet`."""
    for name, df in shards.items():
        write_table(folder / f"{name}.parquet", df)


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Returns as soon as the condition holds; an error if it does not for a long time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("What the test waits for does not happen.")
        time.sleep(0.01)


MEASUREMENT_TYPES = {"subject_id": pl.Int64, "time": pl.Datetime("us"), "code": pl.String, "numeric_value": pl.Float32}


def measurements(*rows: tuple[Any, ...], **more: Any) -> pl.DataFrame:
    """Measurements, from rows of subject, time, code and value (which may be left out); `more` columns."""
    filled = [(*row, None)[:4] for row in rows]
    return pl.DataFrame(filled, schema=MEASUREMENT_TYPES, orient="row").with_columns(**more)


def measurements_with_ties(n: int) -> pl.DataFrame:
    """Many rows, of few subjects, times and codes, in no order; `numeric_value` numbers them."""
    rng = np.random.default_rng(1)
    return pl.DataFrame(
        {
            "subject_id": rng.integers(0, 300, n),
            "time": pl.Series(rng.integers(0, 20, n)).replace(0, None).cast(pl.Datetime("us")),
            "code": pl.Series(["A", "B"]).gather(rng.integers(0, 2, n)),
            "numeric_value": np.arange(n).astype(np.float32),
        }
    )


def stably_sorted(df: pl.DataFrame) -> pl.DataFrame:
    """The rows by subject and time, null first; ties as they were. By numpy, to compare polars with."""
    times = df["time"].to_physical().fill_null(-1).to_numpy()
    return df[np.lexsort([times, df["subject_id"].to_numpy()])]


@cache
def _preprocess_defaults(stage: str, stages: tuple[str, ...]) -> DictConfig:
    with initialize_config_dir(str(CONFIG_DIR), version_base=None):
        cfg = compose("_preprocess", [f"stage={stage}", f"stages=[{','.join(stages)}]"])
    OmegaConf.set_struct(cfg, False)
    return cfg


@dataclass
class Preprocessing:
    """A small MEDS dataset and a cohort below one folder, and the pre-processing stages that run on it."""

    folder: Path

    @property
    def dataset(self) -> Path:
        return self.folder / "dataset"

    @property
    def cohort(self) -> Path:
        return self.folder / "cohort"

    def write(
        self,
        shards: Mapping[str, pl.DataFrame],
        codes: pl.DataFrame | None = None,
        splits: Mapping[str, list[int]] | None = None,
    ) -> None:
        """Writes the dataset: its shards, its code metadata, its splits."""
        write_shards(self.dataset / "data", shards)
        if codes is not None:
            write_table(self.dataset / "metadata" / "codes.parquet", codes)
        if splits is not None:
            rows = [(i, split) for split, ids in splits.items() for i in ids]
            table = pl.DataFrame(rows, schema={"subject_id": pl.Int64, "split": pl.String}, orient="row")
            write_table(self.dataset / "metadata" / "subject_splits.parquet", table)

    def cfg(self, stage: str, *stages: str, **block: Any) -> DictConfig:
        """The whole configuration of a stage in a pipeline of `stages` (default: it alone), with its own block.

        A key that begins with `cfg_` is of the configuration, not of the block.
        """
        own = {key: value for key, value in block.items() if not key.startswith("cfg_")}
        general = {key.removeprefix("cfg_"): value for key, value in block.items() if key.startswith("cfg_")}
        folders = {"input_dir": str(self.dataset), "cohort_dir": str(self.cohort), "polling_time": 1}
        defaults = _preprocess_defaults(stage, stages or (stage,))
        return OmegaConf.merge(defaults, folders, {"stage_configs": {stage: own}}, general)

    def run(self, stage: str, *stages: str, **block: Any) -> dict[str, pl.DataFrame]:
        """Runs a stage in this process; returns the shards that it wrote."""
        cfg = self.cfg(stage, *stages, **block)
        import_module(packaged_stages()[stage].module).main(cfg)
        return self.shards(Path(cfg.stage_cfg.output_dir))

    def shards(self, folder: Path) -> dict[str, pl.DataFrame]:
        """The shards below a folder, by name."""
        paths = [folder / name for name in files_below(folder) if name.endswith(".parquet")]
        return {
            p.relative_to(folder).as_posix().removesuffix(".parquet"): pl.read_parquet(p, glob=False) for p in paths
        }

    def arguments(self, stage: str, *overrides: str) -> list[str]:
        """The command line of the stage's console script, in a pipeline of it alone."""
        folders = [f"input_dir={self.dataset}", f"cohort_dir={self.cohort}", f"stages=[{stage}]", "polling_time=1"]
        own = [f"stage_configs.{stage}{o}" if o.startswith(".") else o for o in overrides]
        return [str(SCRIPTS / f"MEDS_transform-{stage}"), *folders, *own]

    def script(self, stage: str, *overrides: str) -> subprocess.CompletedProcess[str]:
        """Runs the stage's console script."""
        command = self.arguments(stage, *overrides)
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=120, check=False)


_MEDS_04 = hasattr(meds, "DataSchema")
"""Which of the two interfaces the installed version of the `meds` package has."""


def check_meds_data(path: Path) -> None:
    """Whether a data file is valid MEDS: the columns first; others may follow, as text in arrow's large_string."""
    table = pq.read_table(path)
    if _MEDS_04:
        meds.DataSchema.validate(table)
    else:
        expected = meds.data_schema([(f.name, f.type) for f in list(table.schema)[4:]])
        assert table.schema.remove_metadata().equals(expected)
    # Within a subject rows are sorted by time, static ones first.
    rows = table.select(["subject_id", "time"]).to_pylist()
    keys = [(row["subject_id"], row["time"] is not None, row["time"]) for row in rows]
    assert keys == sorted(keys, key=lambda key: key[:2] + ((key[2],) if key[1] else ()))


def check_meds_codes(path: Path) -> None:
    """Whether code metadata are valid MEDS."""
    table = pq.read_table(path)
    if _MEDS_04:
        meds.CodeMetadataSchema.validate(table)
    else:
        first = ["code", "description", "parent_codes"]
        schema = table.select([*first, *(name for name in table.column_names if name not in first)]).schema
        expected = meds.code_metadata_schema([(f.name, f.type) for f in list(schema)[3:]])
        assert schema.remove_metadata().equals(expected)


def check_meds_splits(path: Path) -> None:
    """Whether the splits of subjects are valid MEDS."""
    table = pq.read_table(path)
    if _MEDS_04:
        meds.SubjectSplitSchema.validate(table)
    else:
        assert table.schema.remove_metadata().equals(meds.subject_split_schema)


def check_meds_dataset(path: Path) -> None:
    """Whether the description of the dataset is valid MEDS."""
    dataset = json.loads(path.read_text())
    if _MEDS_04:
        meds.DatasetMetadataSchema.validate(dataset)
    else:
        validate(dataset, meds.dataset_metadata_schema)


def check_meds_cohort(cohort: Path) -> None:
    """Whether all files of a cohort are valid MEDS."""
    data = [p for p in (cohort / "data").rglob("*.parquet") if "/." not in str(p.relative_to(cohort))]
    assert data
    for path in data:
        check_meds_data(path)
    check_meds_codes(cohort / "metadata" / "codes.parquet")
    check_meds_splits(cohort / "metadata" / "subject_splits.parquet")
    check_meds_dataset(cohort / "metadata" / "dataset.json")


def assert_same_cohort(got: Path, want: Path) -> None:
    """Fails unless two extracted cohorts hold the same, and says which file differs and how.

    Columns and their order, dtypes, arrow types on disk and values are compared; rows in any order within a file, but
    the splits in theirs. Other files than data, codes, splits and shard map do not matter.
    """
    names = [name for name in files_below(want) if name.startswith(("data/", "metadata/"))]
    found = [name for name in files_below(got) if name.startswith("data/")]
    assert found == [name for name in names if name.startswith("data/")]
    for name in names:
        if name.endswith(".parquet"):
            assert_same_table(got / name, want / name, in_order=name.endswith("subject_splits.parquet"))
    shard_maps = [json.loads((root / "metadata/.shards.json").read_text()) for root in (got, want)]
    assert list(shard_maps[0].items()) == list(shard_maps[1].items())


def assert_same_table(got: Path, want: Path, in_order: bool = False) -> None:
    """Fails unless two parquet files have the same arrow schema and the same rows, in any order or in theirs."""
    schemas = [pq.read_schema(path).remove_metadata() for path in (got, want)]
    assert schemas[0].equals(schemas[1]), f"{got}:\n{schemas[0]}\nis not that of {want}:\n{schemas[1]}"
    frames = [pl.read_parquet(path, glob=False) for path in (got, want)]
    if not in_order:
        by = [column for column, dtype in frames[1].schema.items() if not dtype.is_nested()]
        frames = [frame.sort(by, nulls_last=True, maintain_order=True) for frame in frames]
    assert_frame_equal(frames[0], frames[1], check_exact=True)
