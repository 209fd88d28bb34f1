"""Pipelines drawn at random give the same results however they are run, and whatever is kept of their data."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from faults.cohorts import CONFIGS, SMALL, contents, make_raw, strays
from helpers import SCRIPTS, Extraction

COUNTS = ["code/n_occurrences", "code/n_subjects", "values/n_occurrences", "values/sum", "values/sum_sqd"]
OWN = """
import hydra
import polars as pl

from MEDS_transforms.mapreduce import map_over


def fill(df: pl.LazyFrame) -> pl.LazyFrame:
    return df.with_columns(pl.col("text_value").fill_null("none"))


@hydra.main(version_base=None)
def main(cfg):
    ADD
    map_over(cfg, compute_fn=fill)


if __name__ == "__main__":
    main()
"""
ONCE = ("add_time_derived_measurements", "reshard_to_split")
BLOCKS = {
    "filter_subjects": {"min_events_per_subject": 14},
    "filter_measurements": {"min_subjects_per_code": 2},
    "add_time_derived_measurements": {"age": {"DOB_code": "BIRTH", "age_code": "AGE", "age_unit": "years"}},
    "reorder_measurements": {"ordered_code_patterns": ["AGE", "BIRTH"]},
    "reshard_to_split": {"n_subjects_per_shard": 9},
    "aggregate_code_metadata": {"aggregations": COUNTS, "is_metadata": True},
    "occlude_outliers": {"stddev_cutoff": 1.5},
    "enforce_value_ranges": {"ranges": [{"code": {"regex": "LAB"}, "max": 9}]},
    "flag_abnormal_values": {"ranges": [{"code": {"regex": "LAB"}, "upper": 9}], "flag_as": "column"},
    "standardize_units": {"unit_after": "^(?:BIR)?", "conversions": [{"from": "TH", "to": "TH2"}]},
    "fit_vocabulary_indices": {"is_metadata": True},
    "match_and_revise": {
        "_script": "MEDS_transform-filter_subjects",
        "_match_revise": [{"_matcher": {"code": "BIRTH"}, "min_events_per_subject": 1}],
    },
}


class Pipeline:
    """Stages drawn at random, some with what is to become of their data. Those in the middle read any data."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.random, self.folder = random.Random(seed), folder
        self.stages: list[str] = []
        self.blocks: dict[str, dict] = {}
        self._some()
        self._add("aggregate_code_metadata")
        self._some()
        self._add("occlude_outliers")
        self._some()
        if self.random.random() < 0.7:
            for base in ("aggregate_code_metadata", "fit_vocabulary_indices", "normalization", "tokenization"):
                self._add(base)
            if self.random.random() < 0.7:
                self._add("tensorization")

    def _some(self) -> None:
        bases = [*BLOCKS, "own", "own_and_more"]
        for base in self.random.choices(bases, k=self.random.randint(0, 3)):
            needs_counts = base in ("filter_measurements", "occlude_outliers", "fit_vocabulary_indices")
            is_late = needs_counts and not any(stage.startswith("aggregate") for stage in self.stages)
            if not is_late and not (base in ONCE and any(stage.startswith(base) for stage in self.stages)):
                self._add(base)

    def _add(self, base: str) -> None:
        own = {"_script": f"{sys.executable} {self.folder / base}.py"} if base.startswith("own") else {}
        block = {"_script": f"MEDS_transform-{base}"} | own | BLOCKS.get(base, {})
        if self.random.random() < 0.2:
            block["keep_intermediates"] = self.random.choice([True, False])
        if base == "aggregate_code_metadata" and self.random.random() < 0.4:
            block["train_only"] = False
        self.stages.append(f"{base}_{len(self.stages)}")
        self.blocks[self.stages[-1]] = block

    def write(self) -> None:
        """Writes the pipeline file, and the scripts that are not of this package."""
        head = {"defaults": ["_preprocess", "_self_"], "hydra": {"searchpath": ["pkg://MEDS_transforms.configs"]}}
        content = {**head, "stages": self.stages, "stage_configs": self.blocks}
        (self.folder / "pipeline.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        (self.folder / "own.py").write_text(OWN.replace("    ADD\n", ""))
        (self.folder / "own_and_more.py").write_text(OWN.replace("ADD", "print('and more')"))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    raw = Extraction(tmp_path_factory.mktemp("random") / "raw")
    raw.folder.mkdir()
    make_raw(raw)
    run(raw.folder, f"pipeline_config_fp={CONFIGS / 'extraction.yaml'}", *raw.overrides(), *SMALL)
    return raw.cohort


def run(folder: Path, *arguments: str) -> str:
    """Runs a pipeline; gives what the runner printed."""
    command = [SCRIPTS / "MEDS_transform-runner", *arguments]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def results(out: Path) -> dict[str, bytes]:
    found = {part: contents(out / part) for part in ("data", "metadata")}
    return {f"{part}/{path}": data for part in found for path, data in found[part].items() if "accounting" not in path}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_any_pipeline_gives_the_same_in_every_way(cohort, tmp_path, seed):
    pipeline = Pipeline(seed, tmp_path)
    pipeline.write()
    base = [f"pipeline_config_fp={tmp_path / 'pipeline.yaml'}", f"input_dir={cohort}"]
    ways = ["fuse=false", "fuse=true", f"keep_intermediates={pipeline.random.choice(['false', 'last'])}"]
    found = []
    for number, way in enumerate(ways):
        run(tmp_path, *base, f"cohort_dir={tmp_path / str(number)}", way)
        found.append(results(tmp_path / str(number)))
    assert found[0] == found[1] == found[2]
    assert any(path.startswith("data/") for path in found[0])
    out = tmp_path / "2"
    lean = [*base, f"cohort_dir={out}", ways[2]]
    assert run(tmp_path, *lean).count("is already done: skipped") == len(pipeline.stages)
    lost = pipeline.random.choice(sorted(path for path in found[2] if path.startswith("data/")))
    (out / lost).unlink()
    run(tmp_path, *lean)
    assert results(out) == found[2]
    assert strays(out) == []
