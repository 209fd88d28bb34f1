"""Inputs that are good, and ways to break them."""

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from helpers import Extraction, Preprocessing, hospital_events, measurements, write_table
from MEDS_transforms.precheck.report import Report
from MEDS_transforms.runner.check import runner_report

N_SUBJECTS = 30


def patients() -> pl.DataFrame:
    born = [datetime(1950, 1, 1) + timedelta(days=97 * n) for n in range(N_SUBJECTS)]
    return pl.DataFrame(
        {
            "subject_id": range(1, N_SUBJECTS + 1),
            "born": [f"{time:%Y-%m-%d}" for time in born],
            "sex": ["F", "M"] * (N_SUBJECTS // 2),
        }
    )


def labs() -> pl.DataFrame:
    rows = range(4 * N_SUBJECTS)
    taken = [datetime(2020, 1, 1) + timedelta(days=3 * n, hours=n % 24) for n in rows]
    return pl.DataFrame(
        {
            "subject_id": [n % N_SUBJECTS + 1 for n in rows],
            "test": [("HB", "CRP", "NA")[n % 3] for n in rows],
            "taken": [f"{time:%Y-%m-%d %H:%M}" for time in taken],
            "value": [f"{n % 7}.5" for n in rows],
        }
    )


EVENTS = hospital_events()


@dataclass
class Raw(Extraction):
    """Raw tables, their event conversion file and a pipeline, all as they should be."""

    @classmethod
    def in_folder(cls, folder: Path) -> "Raw":
        x = cls(folder)
        x.table("patients.csv", patients())
        x.table("labs.csv", labs())
        x.table("d_labs.csv", "test,label\nHB,hemoglobin\nCRP,C-reactive protein\nNA,sodium\n")
        x.events_with()
        x.write_pipeline()
        return x

    @property
    def pipeline_fp(self) -> Path:
        return self.folder / "pipeline.yaml"

    def labs_with(self, **columns: Any) -> None:
        """Writes the table of laboratory values with other columns."""
        self.table("labs.csv", labs().with_columns(**columns))

    def first(self, column: str, *values: Any) -> None:
        """Writes the table with other values in the first rows of a column."""
        texts = labs().cast(pl.String)
        self.table("labs.csv", texts.with_columns(pl.Series([*values, *texts[column][len(values) :]]).alias(column)))

    def events_with(self, table: Mapping[str, Any] | None = None, **lab: Any) -> None:
        """Writes the event conversion file with more keys of the table `labs`, and other keys of its event `lab`.

        None leaves a key of the event out.
        """
        block = {key: value for key, value in {**EVENTS["labs"]["lab"], **lab}.items() if value is not None}
        self.events({**EVENTS, "labs": {**(table or {}), "lab": block}})

    def write_pipeline(self, text: str = "", **stage_configs: Any) -> None:
        """Writes the pipeline file with blocks of stages, and more text."""
        self.pipeline_fp.write_text(self.pipeline(**stage_configs) + text)

    def report(self, *args: str) -> Report:
        return runner_report([f"pipeline_config_fp={self.pipeline_fp}", *args])


def numbered(n: int) -> pl.DataFrame:
    """A shard of subjects from `n` on."""
    rows = [
        (subject, datetime(2020, 1, 1 + day), ("A", "B")[day % 2], float(day))
        for subject in range(n, n + 5)
        for day in range(6)
    ]
    return measurements(*rows)


def codes(**columns: Any) -> pl.DataFrame:
    return pl.DataFrame({"code": ["A", "B"], "description": ["a", "b"], "parent_codes": [["x"], None], **columns})


@dataclass
class Dataset(Preprocessing):
    """A MEDS dataset and a pipeline that makes tensors of it."""

    @classmethod
    def in_folder(cls, folder: Path) -> "Dataset":
        x = cls(folder)
        splits = {"train": [*range(1, 6)], "tuning": [*range(6, 11)]}
        x.write({"train/0": numbered(1), "tuning/0": numbered(6)}, codes(), splits)
        x.write_pipeline()
        return x

    @property
    def pipeline_fp(self) -> Path:
        return self.folder / "pipeline.yaml"

    def shard(self, frame: pl.DataFrame) -> None:
        write_table(self.dataset / "data" / "train" / "0.parquet", frame)

    def write_pipeline(self, stages: list[str] | None = None, **stage_configs: Any) -> None:
        content = {
            "defaults": ["_preprocess", "_self_"],
            "input_dir": str(self.dataset),
            "cohort_dir": str(self.cohort),
            "stage_configs": stage_configs,
        }
        self.pipeline_fp.write_text(yaml.safe_dump(content | ({"stages": stages} if stages else {})))

    def report(self, *args: str) -> Report:
        return runner_report([f"pipeline_config_fp={self.pipeline_fp}", *args])


Break = Callable[[Any], Any]
"""Breaks an input; returns further arguments, if any."""


def replaced(name: str, content: str | bytes, former: str = "labs.csv") -> Break:
    """Puts other content in place of a raw table."""

    def change(x: Raw) -> None:
        (x.raw / former).unlink()
        (x.raw / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return change


def as_gzip(table: pl.DataFrame) -> bytes:
    return gzip.compress(table.write_csv().encode(), mtime=0)
