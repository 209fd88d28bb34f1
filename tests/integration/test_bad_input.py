"""Bad input to the real scripts: one clear message, nothing half-written, and after a correction the run resumes."""

import gzip
import json
import re
import shutil
import subprocess
from contextlib import contextmanager
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from helpers import EXTRACTION_STAGES, Extraction, check_meds_cohort, files_below, hospital_events

N_SUBJECTS, N_LABS = 30, 3000
SETTINGS = [
    "stage_configs.shard_events.row_chunksize=2000",
    "stage_configs.shard_events.infer_schema_length=100",
    "stage_configs.split_and_shard_subjects.n_subjects_per_shard=10",
    "stage_configs.finalize_MEDS_metadata.include_all_codes=True",
]
EVENTS = hospital_events("hosp/patients", "%Y", subject_id_col="MRN")
PATIENTS = "MRN,born,sex\n" + "".join(f"{i},{1950 + i},{'MF'[i % 2]}\n" for i in range(N_SUBJECTS))
PATIENT = "1,1951,F\n"
D_LABS = "test,label\n" + "".join(f"T{i},test {i}\n" for i in range(5))


def labs():
    rng = np.random.default_rng(1)
    taken = [datetime(2000, 1, 1) + timedelta(minutes=int(m)) for m in rng.integers(0, 10**6, N_LABS)]
    return pl.DataFrame(
        {
            "subject_id": rng.integers(0, N_SUBJECTS, N_LABS),
            "test": [f"T{i}" for i in rng.integers(0, 7, N_LABS)],
            "taken": [f"{time:%Y-%m-%d %H:%M}" for time in taken],
            "value": rng.normal(size=N_LABS),
        }
    )


class Hospital(Extraction):
    """An extraction that works, and that tests spoil."""

    def make_good(self):
        self.table("hosp/patients.csv.gz", PATIENTS)
        self.table("labs.parquet", labs())
        self.table("d_labs.csv", D_LABS)
        self.events(EVENTS)

    def overrides(self, *more):
        return super().overrides(*SETTINGS, *more)

    def before(self, stage):
        """Runs, in this process, the stages before this one."""
        for earlier in EXTRACTION_STAGES[: EXTRACTION_STAGES.index(stage)]:
            self.run(earlier)

    def fails(self, stage, *said, overrides=(), **options):
        """The script says all this in one message, without a trace, and leaves nothing that is half done."""
        result = self.script(stage, *overrides, **options)
        assert result.returncode != 0
        assert "Traceback" not in result.stdout + result.stderr
        assert "Logging error" not in result.stderr
        assert re.findall(r"^error: ", result.stderr, flags=re.MULTILINE) == ["error: "]
        assert result.stderr.startswith("error: ")
        for part in said:
            assert part in result.stderr
        assert result.stderr.splitlines()[0].removeprefix("error: ") not in result.stdout
        self.check_no_strays(also_locks=False)

    def check_no_strays(self, also_locks=True):
        """Locks, and the notes of an interrupted run, may stay until the stage has finished."""
        hidden = [name for name in files_below(self.cohort) if "/." in f"/{name}" and "/.shards.json" not in name]
        assert [name for name in hidden if also_locks or not re.search(r"\.lock$|/\.provenance/\w+\.run/", name)] == []

    def goes_on(self, stage, *overrides):
        """The same command succeeds now, and so do the stages after it; gives what it printed."""
        result = self.script(stage, *overrides)
        assert result.returncode == 0, result.stderr
        self.finishes(EXTRACTION_STAGES[EXTRACTION_STAGES.index(stage) + 1 :])
        return result.stdout + result.stderr

    def finishes(self, stages):
        """These last stages succeed, in this process, and the cohort is valid."""
        for stage in stages:
            self.run(stage)
        self.check_no_strays()
        check_meds_cohort(self.cohort)

    def result(self):
        """The finished cohort: its files, as they are but for the time of creation."""
        files = {}
        for name in files_below(self.cohort):
            if name.startswith(("data/", "metadata/")):
                files[name] = (self.cohort / name).read_bytes()
        dataset = json.loads(files["metadata/dataset.json"])
        return files | {"metadata/dataset.json": {**dataset, "created_at": None}}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The cohort of an extraction to which nothing happened."""
    hospital = Hospital(tmp_path_factory.mktemp("undisturbed"))
    hospital.make_good()
    for stage in EXTRACTION_STAGES:
        hospital.run(stage)
    check_meds_cohort(hospital.cohort)
    return hospital.result()


@pytest.fixture
def hospital(tmp_path):
    hospital = Hospital(tmp_path)
    hospital.make_good()
    return hospital


def events(path, value):
    """The event file with another value (None: without it) at this path."""
    changed = json.loads(json.dumps(EVENTS))
    *parents, last = path
    block = changed
    for key in parents:
        block = block[key]
    if value is None:
        del block[last]
    else:
        block[last] = value
    return changed


LAB = ["labs", "lab"]
GZIPPED = gzip.compress(PATIENTS.encode(), mtime=0)
AT_SHARD_EVENTS = {
    "a table is missing": (
        lambda h: (h.raw / "labs.parquet").rename(h.raw / "lab.parquet"),
        ["There is no table labs", "/raw", "did you mean 'lab'"],
    ),
    "a column is missing": (
        lambda h: h.table("labs.parquet", labs().drop("value")),
        ["labs.lab.numeric_value", "labs.parquet", "'value'", "It has: subject_id, taken, test"],
    ),
    "the column of subject ids is missing": (
        lambda h: h.events(events(["hosp/patients", "subject_id_col"], None)),
        ["hosp/patients.subject_id_col", "'subject_id'", "It has: MRN, born, sex"],
    ),
    "columns are misspelt": (
        lambda h: h.events(events([*LAB, "time"], "col(takne)") | {"hosp/patients": EVENTS["hosp/patients"]}),
        ["labs.lab.time", "'takne'", "did you mean 'taken'"],
    ),
    "a table is empty": (
        lambda h: h.table("hosp/patients.csv.gz", gzip.compress(b"", mtime=0)),
        ["hosp/patients", "patients.csv.gz", "empty", "remove it from the event conversion file"],
    ),
    "a table has no rows": (
        lambda h: h.table("labs.parquet", labs().clear()),
        ["labs.parquet", "empty", "remove it from the event conversion file"],
    ),
    "a gzip is truncated": (
        lambda h: h.table("hosp/patients.csv.gz", GZIPPED[: len(GZIPPED) // 2]),
        ["hosp/patients", "patients.csv.gz", "cannot be read", "Get a new copy"],
    ),
    "a file is no parquet": (
        lambda h: h.table("labs.parquet", labs().write_csv().encode()),
        ["labs", "labs.parquet", "cannot be read", "Get a new copy"],
    ),
    "a later row does not fit": (
        lambda h: h.table("hosp/patients.csv.gz", PATIENTS + PATIENT * 100 + "x7,1950,F\n"),
        ["hosp/patients", "row 131 ", "'MRN'", "'x7'", "infer_schema_length"],
    ),
    "a row has too many fields": (
        lambda h: h.table("hosp/patients.csv.gz", f"{PATIENTS}1,2,3,4\n"),
        ["hosp/patients", "patients.csv.gz", "Quote fields"],
    ),
    "there is no event file": (
        lambda h: h.event_file.unlink(),
        ["There is no event conversion file", "events.yaml", "event_conversion_config_fp"],
    ),
    "a key of the event file repeats": (
        lambda h: h.event_file.write_text(h.event_file.read_text() + "labs: {lab: {code: A, time: null}}\n"),
        ["events.yaml", "duplicate key", "labs", "line"],
    ),
    "a key of the event file is missing": (
        lambda h: h.events(events([*LAB, "code"], None)),
        ["events.yaml", "labs.lab.code", "missing"],
    ),
    "the event file is no yaml": (lambda h: h.event_file.write_text("labs: ["), ["events.yaml", "YAML", "line"]),
    "there is no input": (lambda h: shutil.rmtree(h.raw), ["no tables", "/raw", "Check input_dir"]),
}


@pytest.mark.parametrize("case", AT_SHARD_EVENTS)
def test_what_shard_events_finds(hospital, undisturbed, case):
    spoil, said = AT_SHARD_EVENTS[case]
    spoil(hospital)
    hospital.fails("shard_events", *said)
    hospital.make_good()
    hospital.finishes(EXTRACTION_STAGES)
    assert hospital.result() == undisturbed


def test_the_trace_is_there_where_it_is_asked_for(hospital):
    hospital.event_file.unlink()
    result = hospital.script("shard_events", env={"HYDRA_FULL_ERROR": "1"})
    assert result.returncode != 0
    assert "Traceback" in result.stderr
    assert "There is no event conversion file" in result.stderr


@pytest.mark.parametrize(
    ("ids", "example"),
    [
        (pl.col("subject_id").cast(pl.String) + "-A", "-A'"),
        (pl.col("subject_id") + 0.5, ".5"),
        (pl.lit(2**63, dtype=pl.UInt64) + pl.col("subject_id").cast(pl.UInt64), "92233720368547758"),
    ],
)
def test_subject_ids_that_are_no_integers(hospital, undisturbed, ids, example):
    hospital.table("labs.parquet", labs().with_columns(subject_id=ids))
    hospital.run("shard_events")
    hospital.fails(
        "split_and_shard_subjects",
        *("Table labs", "column subject_id", "whole numbers", example, "subject_id_col", "run it again"),
    )
    assert not (hospital.cohort / "metadata" / ".shards.json").exists()
    hospital.make_good()
    hospital.run("shard_events", "do_overwrite=True")
    hospital.goes_on("split_and_shard_subjects")
    assert hospital.result() == undisturbed


def test_ids_that_csv_cannot_hold_as_integers(hospital):
    hospital.table("hosp/patients.csv.gz", "MRN,born,sex\n99999999999999999999999,1950,F\n")
    hospital.run("shard_events")
    hospital.fails("split_and_shard_subjects", "hosp/patients", "MRN", "'99999999999999999999999'")


@pytest.mark.parametrize("time_format", ["%d/%m/%Y", ["%d/%m/%Y", "%Y"]])
def test_a_time_format_that_never_parses(hospital, undisturbed, time_format):
    """An error with examples, not an empty result."""
    hospital.events(events([*LAB, "time_format"], time_format))
    hospital.before("convert_to_sharded_events")
    hospital.fails(
        "convert_to_sharded_events",
        *("labs.lab.time", "'taken'", "'%d/%m/%Y'", "look like '200", "time_format", "/labs/["),
    )
    assert not [name for name in files_below(hospital.cohort / "convert_to_sharded_events") if "/labs/" in name]
    hospital.make_good()
    # What was made of other tables was made by another event conversion file; here that makes no difference to them.
    hospital.fails("convert_to_sharded_events", "labs.lab.time_format", "do_overwrite=True", "keep_existing=True")
    hospital.goes_on("convert_to_sharded_events", "keep_existing=True")
    assert hospital.result() == undisturbed


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda h: (h.raw / "d_labs.csv").unlink(), ["There is no table d_labs", "did you mean 'labs'"]),
        (
            lambda h: h.table("d_labs.csv", "test,lable\nT1,one\n"),
            ["labs.lab._metadata.d_labs", "label", "did you mean 'lable'"],
        ),
        (lambda h: h.table("d_labs.csv", b""), ["d_labs.csv", "empty"]),
    ],
)
def test_metadata_tables(hospital, undisturbed, spoil, said):
    hospital.before("extract_code_metadata")
    spoil(hospital)
    hospital.fails("extract_code_metadata", *said)
    assert not (hospital.cohort / "extract_code_metadata" / "codes.parquet").exists()
    hospital.make_good()
    hospital.goes_on("extract_code_metadata")
    assert hospital.result() == undisturbed


# Configuration


def test_an_unknown_key_is_a_warning_at_the_beginning_and_the_end(hospital, undisturbed):
    printed = hospital.goes_on("shard_events", "++stage_configs.shard_events.row_chunksiz=7")
    lines = [line for line in printed.splitlines() if "row_chunksiz:" in line]
    assert len(lines) == 2
    for line in lines:
        assert "WARNING" in line
        assert "stage_configs.shard_events.row_chunksiz" in line
        assert "did you mean 'row_chunksize'" in line
    assert hospital.result() == undisturbed


def test_an_unknown_key_is_an_error_where_that_is_asked_for(hospital, undisturbed):
    unknown = "++stage_configs.shard_events.row_chunksiz=7"
    hospital.fails(
        "shard_events",
        *("stage_configs.shard_events.row_chunksiz", "did you mean 'row_chunksize'"),
        overrides=[unknown, "strict=True"],
    )
    assert files_below(hospital.cohort) == []
    hospital.goes_on("shard_events", "strict=True")
    assert hospital.result() == undisturbed


@pytest.mark.parametrize(
    ("stage", "override", "said"),
    [
        ("shard_events", "event_conversion_config_fp=null", ["event_conversion_config_fp is not set"]),
        ("shard_events", "stage_configs.shard_events.row_chunksize=many", ["row_chunksize", "'many'"]),
        ("shard_events", "inputdir=x", ["inputdir"]),
        ("split_and_shard_subjects", "stage_configs.split_and_shard_subjects.split_fracs.train=0.9", ["sum to 1"]),
        (
            "split_and_shard_subjects",
            "stage_configs.split_and_shard_subjects.external_splits_json_fp=none.json",
            ["none.json", "external_splits_json_fp"],
        ),
        ("merge_to_MEDS_cohort", "stage_configs.merge_to_MEDS_cohort.unique_by=code", ["unique_by", "'code'", "list"]),
        ("finalize_MEDS_metadata", "etl_metadata.dataset_name=null", ["etl_metadata.dataset_name is not set"]),
        ("finalize_MEDS_data", "stage_configs.finalize_MEDS_data.do_retype=perhaps", ["do_retype", "'perhaps'"]),
    ],
)
def test_settings_that_cannot_be(hospital, undisturbed, stage, override, said):
    hospital.before(stage)
    hospital.fails(stage, *said, overrides=[override])
    hospital.goes_on(stage)
    assert hospital.result() == undisturbed


@pytest.mark.parametrize("stage", EXTRACTION_STAGES[1:])
def test_a_stage_that_comes_too_early_names_what_is_missing(hospital, stage):
    """Those after it need the shard map first, but for the last, which can do without."""
    said = {"split_and_shard_subjects": "shard_events", "finalize_MEDS_data": "Run the stage that writes them first"}
    hospital.fails(stage, said.get(stage, "Run split_and_shard_subjects first"))


def test_finalizing_twice_is_an_error_that_says_what_to_do(hospital, undisturbed):
    hospital.before("finalize_MEDS_data")
    hospital.fails("finalize_MEDS_metadata", "codes.parquet", "dataset.json", "do_overwrite=True")
    hospital.goes_on("finalize_MEDS_metadata", "do_overwrite=True")
    assert hospital.result() == undisturbed


# Output that cannot be written


@contextmanager
def mounted(folder, options):
    """A file system of its own at this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a file system of its own takes the permission to mount, which this machine does not give")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("name", ["cohort", "cohort/shard_events"])
def test_a_file_in_place_of_the_output_folder(hospital, undisturbed, name):
    path = hospital.folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("in the way")
    hospital.fails("shard_events", str(path))
    assert path.read_text() == "in the way"
    path.unlink()
    hospital.goes_on("shard_events")
    assert hospital.result() == undisturbed


def test_an_output_folder_that_cannot_be_written(hospital, undisturbed):
    """Other stages, and full disks: tests/faults/test_disk.py."""
    folder = hospital.cohort / "shard_events"
    with mounted(folder, "size=64k,ro"):
        hospital.fails(
            "shard_events", "ead-only file system", str(folder), "choose another folder, or mount it writable"
        )
        assert files_below(folder) == []
    hospital.goes_on("shard_events")
    assert hospital.result() == undisturbed


def test_a_full_disk(hospital, undisturbed):
    """What was finished before the disk was full stays; the rest follows when there is space."""
    hospital.before("merge_to_MEDS_cohort")
    folder = hospital.cohort / "merge_to_MEDS_cohort"
    with mounted(folder, "size=40k"):
        said = "No space left on device", "free some space and run the same command again"
        hospital.fails("merge_to_MEDS_cohort", *said)
        for path in folder.rglob("*.parquet"):
            pl.read_parquet(path, glob=False)
        shutil.copytree(folder, hospital.folder / "kept")
    shutil.copytree(hospital.folder / "kept", folder, dirs_exist_ok=True)
    hospital.goes_on("merge_to_MEDS_cohort")
    assert hospital.result() == undisturbed
