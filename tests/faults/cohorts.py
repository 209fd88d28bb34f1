"""The pipelines that workers are disturbed in: small raw tables, and how each stage is called on them.

From the tables comes a dataset of 8 shards (by way of 17 chunks), from the dataset come tensors, or other shards.
"""

import json
import random
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import yaml

from helpers import EXTRACTION_STAGES, SCRIPTS, Extraction, files_below
from MEDS_transforms.runner.segments import STAGES_KEY, WORKER
from MEDS_transforms.settings.packaged import CONFIG_DIR
from MEDS_transforms.stages import packaged_stages

CONFIGS = Path(__file__).parents[2] / "configs"

SMALL = (
    "stage_configs.shard_events.row_chunksize=50",
    "stage_configs.split_and_shard_subjects.n_subjects_per_shard=6",
)
"""Overrides of the extraction that give many chunks (17) and shards (8) of few rows."""

PREPROCESSING_STAGES: list[str] = yaml.safe_load((CONFIGS / "preprocessing.yaml").read_text())["stages"]

SELECTIVE = (
    "stage_configs.filter_subjects.min_events_per_subject=14",
    "stage_configs.add_time_derived_measurements.age.DOB_code=BIRTH",
    "stage_configs.filter_measurements.min_occurrences_per_code=20",
    "stage_configs.occlude_outliers.stddev_cutoff=1.5",
)
"""Overrides of the pre-processing with which every stage has something to do."""


@dataclass(frozen=True)
class Pipeline:
    """Stages that write to one cohort, one after the other, and the options that each is called with."""

    stages: list[str]
    options: tuple[str, ...]
    config: str = "_preprocess"


EXTRACTION = Pipeline(EXTRACTION_STAGES, SMALL, "_extract")
PREPROCESSING = Pipeline(PREPROCESSING_STAGES, (f"--config-path={CONFIGS}", "--config-name=preprocessing", *SELECTIVE))
RESHARDING = Pipeline(
    ["reshard_to_split"], ("stages=[reshard_to_split]", "stage_configs.reshard_to_split.n_subjects_per_shard=5")
)
ON_A_DATASET = [PREPROCESSING, RESHARDING]
PIPELINES = [EXTRACTION, *ON_A_DATASET]
STAGES = [stage for pipeline in PIPELINES for stage in pipeline.stages]

AGGREGATIONS = {*PREPROCESSING_STAGES} - {*packaged_stages()}
"""The stages that run by the script of aggregate_code_metadata."""


def pipeline_of(stage: str) -> Pipeline:
    """The pipeline that a stage belongs to."""
    return next(pipeline for pipeline in PIPELINES if stage in pipeline.stages)


NOT_STRAY = {".logs", ".shards.json", ".chunks.json", ".provenance"}

EVENTS = {
    "patients": {
        "sex": {"code": ["SEX", "col(sex)"], "time": None},
        "birth": {"code": "BIRTH", "time": "col(born)", "time_format": "%Y-%m-%d"},
    },
    "hosp/admissions": {
        "subject_id_col": "mrn",
        "admission": {
            "code": ["ADMISSION", "col(ward)"],
            "time": "col(at)",
            "_metadata": {"wards": {"floor": "floor"}},
        },
    },
    "hosp/labs": {
        "lab": {
            "code": ["LAB", "col(item)"],
            "time": "col(at)",
            "time_format": "%Y-%m-%d %H:%M:%S",
            "numeric_value": "value",
            "text_value": "value",
            "_metadata": {"hosp/d_labs": {"description": "title", "parent_codes": "LOINC/{loinc}"}},
        }
    },
}


def make_raw(x: Extraction, seed: int = 1) -> None:
    """Three tables with 40 subjects in three formats, two tables of metadata, and the event conversion file."""
    rng = random.Random(seed)
    subjects, items, wards = range(100, 140), [f"{i:03}" for i in range(12)], ["ICU", "A", "B"]

    def times(n: int) -> list[datetime]:
        return [datetime(2020, 1, 1) + timedelta(minutes=rng.randrange(100_000)) for _ in range(n)]

    patients = {"subject_id": [*subjects], "sex": rng.choices("FM", k=40), "born": ["1950-02-03"] * 40}
    labs = {
        "subject_id": rng.choices(subjects, k=700),
        "item": rng.choices(items, k=700),
        "value": [rng.choice(["neg", str(rng.random())]) for _ in range(700)],
        "at": map(str, times(700)),
    }
    admissions = {"mrn": rng.choices(subjects, k=90), "ward": rng.choices(wards, k=90), "at": times(90)}
    x.table("patients.csv", pl.DataFrame(patients))
    x.table("hosp/labs.csv.gz", pl.DataFrame(labs | {"at": list(labs["at"])}))
    x.table("hosp/admissions.parquet", pl.DataFrame(admissions))
    titles = {"item": items, "title": [f"Lab {i}" for i in items], "loinc": [f"{i}-1" for i in items]}
    x.table("hosp/d_labs.csv", pl.DataFrame(titles))
    x.table("wards.parquet", pl.DataFrame({"ward": wards, "floor": [1, 2, 3]}))
    x.events(EVENTS)


@dataclass
class Elsewhere(Extraction):
    """Tables below one folder, a cohort anywhere, and the dataset that pre-processing reads."""

    cohort_dir: Path
    dataset: Path | None = None

    @property
    def cohort(self) -> Path:
        return self.cohort_dir


def command(x: Extraction, stage: str, *options: str) -> list[str]:
    """The command line of a stage; flags go first."""
    pipeline = pipeline_of(stage)
    flags, overrides = _arguments(x, stage, pipeline, options)
    prefix = "MEDS_extract" if pipeline is EXTRACTION else "MEDS_transform"
    return [str(SCRIPTS / f"{prefix}-{script_of(stage)}"), *flags, *overrides]


def command_of_all(x: Extraction, pipeline: Pipeline, *options: str) -> list[str]:
    """The command line of a worker that runs all stages of a pipeline, as the runner starts it."""
    config = [] if pipeline is PREPROCESSING else [f"--config-path={CONFIG_DIR}", f"--config-name={pipeline.config}"]
    flags, overrides = _arguments(x, pipeline.stages[0], pipeline, [*config, *options])
    stages = ",".join(f"{stage}:{script_of(stage)}" for stage in pipeline.stages)
    first = f"++stage={pipeline.stages[0]}"
    return [sys.executable, "-m", WORKER, *flags, *overrides, first, f"++{STAGES_KEY}={{{stages}}}"]


def intermediate_folders(pipeline: Pipeline) -> list[str]:
    """The folders of a cohort with data that stages of a pipeline pass on."""
    makes_metadata = {"split_and_shard_subjects", "extract_code_metadata", "finalize_MEDS_metadata", *AGGREGATIONS}
    return [s for s in pipeline.stages[:-1] if s not in makes_metadata | {"fit_vocabulary_indices"}]


def script_of(stage: str) -> str:
    """The stage whose script runs a stage."""
    return "aggregate_code_metadata" if stage in AGGREGATIONS else stage


def _arguments(x: Extraction, stage: str, pipeline: Pipeline, options: Sequence[str]) -> tuple[list[str], list[str]]:
    """The flags and the overrides of a command line."""
    folders = [f"stage={stage}", f"input_dir={x.dataset}", f"cohort_dir={x.cohort}", "polling_time=1"]
    given = [*(x.overrides() if pipeline is EXTRACTION else folders), *pipeline.options, *options]
    flags = [option for option in given if option.startswith("--")]
    return flags, [option for option in given if option not in flags]


def contents(cohort: Path) -> dict[str, bytes]:
    """The bytes of every file of a cohort, but not when it was made, nor logs."""
    accounts = [path.relative_to(cohort).as_posix() for path in cohort.glob("metadata/accounting/*.json")]
    files = {name: (cohort / name).read_bytes() for name in [*files_below(cohort), *accounts]}
    if dataset := files.get("metadata/dataset.json"):
        undated = {key: value for key, value in json.loads(dataset).items() if key != "created_at"}
        files["metadata/dataset.json"] = json.dumps(undated).encode()
    return {name: data for name, data in files.items() if not name.startswith(".logs/")}


def strays(cohort: Path) -> list[str]:
    """Hidden files and folders that nobody needs: locks, unfinished files, marks of runs."""
    hidden = [p.relative_to(cohort) for p in cohort.rglob(".*")]
    notes = [p.relative_to(cohort) for p in cohort.rglob(".provenance/*") if p.suffix != ".record"]
    return sorted(str(p) for p in {*hidden, *notes} if p.name not in NOT_STRAY and ".logs" not in p.parts)


def written(cohort: Path, stage: str) -> Counter[str]:
    """How often the logs of a stage's workers say that they made each output."""
    line = re.compile(r"- (?!Stage )(?:\S+, )*(\S+): .*\d s$|- (\S+): \d+ codes$")
    logs = cohort.rglob(f"{stage}_*.log")
    found = (line.search(text) for path in logs for text in path.read_text().splitlines())
    return Counter(match[1] or match[2] for match in found if match)
