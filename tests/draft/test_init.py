"""`MEDS_transforms init`, as people call it: its drafts run as they are written, and say what is in the tables."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from draft.untidy import FOLDERS, N
from helpers import SCRIPTS, write_table
from MEDS_transforms.dataset.schema import MANDATORY_TYPES

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"


def call(*args: str | Path, folder: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Calls the command in a folder, and checks its status."""
    ran = subprocess.run(
        [SCRIPTS / "MEDS_transforms", *args],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        encoding="utf-8",
    )
    assert ran.returncode == status, ran.stdout + ran.stderr
    return ran


def drafted(folder: Path) -> dict[str, Any]:
    """The event conversion file in a folder."""
    return dict(yaml.safe_load((folder / "event_cfgs.yaml").read_text(encoding="utf-8")))


def write_folder(folder: Path, tables: dict[str, Any]) -> Path:
    """Writes raw tables below a folder."""
    (folder / "raw").mkdir(parents=True, exist_ok=True)
    for name, content in tables.items():
        write_table(folder / "raw" / name, content)
    return folder


def draft_and_run(folder: Path) -> pl.DataFrame:
    """Drafts for the tables in `raw`, runs the draft, and returns the measurements."""
    call("init", "raw", folder=folder)
    call("run", "pipeline.yaml", folder=folder)
    shards = sorted((folder / "cohort" / "data").rglob("*.parquet"))
    data = pl.concat([pl.read_parquet(shard, glob=False) for shard in shards], how="diagonal_relaxed")
    assert {
        name: data.schema[name] for name in MANDATORY_TYPES if name in data.schema
    }.items() <= MANDATORY_TYPES.items()
    return data


def counts(data: pl.DataFrame) -> dict[str, int]:
    """How many measurements there are, by what their codes begin with."""
    return dict(data["code"].str.split("//").list.first().value_counts().rows())


def of_code(data: pl.DataFrame, code: str) -> pl.DataFrame:
    return data.filter(pl.col("code") == code)


@pytest.fixture(scope="module", params=[*FOLDERS])
def ran(request, tmp_path_factory) -> tuple[str, Path, pl.DataFrame]:
    """An untidy folder, and what its draft gives."""
    folder = write_folder(tmp_path_factory.mktemp(request.param), FOLDERS[request.param]())
    return request.param, folder, draft_and_run(folder)


EXPECTED = {
    "german": {
        "MEDS_BIRTH": N,
        "MEDS_DEATH": 4,
        "GESCHLECHT": N,
        "BLUTGRUPPE": N,
        "FÄLLE": 2 * N,
        "LABORWERTE": 5 * N,
        "MEDIKATION": 5 * N,
    },
    "american": {"MEDS_BIRTH": N, "SEX": N, "RACE": N, "HEIGHT_IN": N, "VITALS": 2 * N + 3 * N + 6 * N, "PUMPS": 3 * N},
    "hashed": {"MEDS_BIRTH": N, "GENDER_CONCEPT": N, "MEASUREMENT": 6 * N, "NOTES": N, "READINGS": N},
    "scattered": {"ANALYSES": 8 * N, "DIAG": N, "SEJOURS": N},
}


def test_every_row_becomes_what_it_is(ran):
    name, _, data = ran
    assert counts(data) == EXPECTED[name]
    assert data["subject_id"].n_unique() == N


def test_times_are_right(ran):
    name, _, data = ran
    first = {
        "german": ("LABORWERTE//Kalium//mmol/l", "2023-01-05 08:30:00"),
        "american": ("PUMPS//Propofol//mL/h", "2023-11-14 22:13:20"),
        "hashed": ("READINGS//SPO2", "2022-04-15 05:20:00"),
        "scattered": ("ANALYSES//0380", "2023-01-01 00:00:00"),
    }
    code, time = first[name]
    assert str(of_code(data, code)["time"].min()) == time


def test_values_are_numbers_where_they_can_be(ran):
    name, _, data = ran
    if name == "german":
        labs = data.filter(pl.col("code").str.starts_with("LABORWERTE"))
        assert labs["numeric_value"].null_count() == 16  # trüb, and k.A.
        assert {*labs["text_value"].drop_nulls()} == {"<5", "trüb"}
        assert {*of_code(data, "MEDIKATION//Heparin//IE")["numeric_value"]} == {1.5, 3.5, 5.5}
    elif name == "american":
        pressures = data.filter(pl.col("code").str.starts_with("VITALS//BLOOD_PRESSURE"))
        assert {*of_code(pressures, "VITALS//BLOOD_PRESSURE//SECOND")["numeric_value"]} == {70.0, 71.0, 72.0}
        assert str(of_code(data, "VITALS//HR")["time"].max()) == "2024-02-14 09:15:00"
        assert of_code(data, "VITALS//HR")["numeric_value"].null_count() == 0
    elif name == "hashed":
        assert (
            data.filter(pl.col("code") == "NOTES//WRITTEN")["text_value"].str.contains('"no pain", walks | eats').all()
        )
    else:
        assert {*data["text_value"].drop_nulls()} == {"positif"}


def test_codes_are_described(ran):
    name, folder, _ = ran
    codes = pl.read_parquet(folder / "cohort" / "metadata" / "codes.parquet", glob=False)
    described = dict(codes.filter(pl.col("description").is_not_null()).select("code", "description").rows())
    if name == "hashed":
        assert described == {f"MEASUREMENT//{3000 + k}": f"Test {k}" for k in range(4)}
    if name == "scattered":
        assert described == {f"ANALYSES//0{380 + k}": f"Dosage, n° {k}" for k in range(4)}


def test_what_is_left_out_is_said(ran):
    name, folder, _ = ran
    text = (folder / "event_cfgs.yaml").read_text(encoding="utf-8")
    said = {
        "german": "# ",
        "american": "#   last_name: last_name  # it may tell who somebody is",
        "hashed": "#   (year_of_birth)",
        "scattered": "left out: it has no subject, nor a visit by which one is found\n# weather\n",
    }
    assert said[name] in text
    if name == "scattered":
        assert "# no rows; left out\n# empty\n" in text
        assert "# no rows; left out\n# header_only\n" in text


def test_how_ids_are_numbered(ran):
    name, folder, data = ran
    events = drafted(folder)
    assert events.get("subject_ids") == {"american": "integer", "hashed": "table"}.get(name)
    if name == "american":
        assert {*data["subject_id"]} == {*range(N)}


@pytest.mark.parametrize(("example", "n_rows"), [("demo", 19_000), ("tutorial", 40)])
def test_drafts_for_the_examples_run(example, n_rows, tmp_path):
    subprocess.run([sys.executable, EXAMPLES / example / "make_tables.py", tmp_path / "raw"], check=True)
    data = draft_and_run(tmp_path)
    assert data.height > n_rows
    assert {"MEDS_BIRTH", "MEDS_DEATH", "SEX//F"} <= {*data["code"]}
    codes = pl.read_parquet(tmp_path / "cohort" / "metadata" / "codes.parquet", glob=False)
    assert codes["description"].drop_nulls().len() == {"demo": 6, "tutorial": 3}[example]


SHARED_DATA = Path(os.environ.get("MEDS_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))


def test_a_draft_for_real_tables_runs_and_describes_their_codes(tmp_path):
    raw = SHARED_DATA / "mimic-iv-demo" / "raw"
    if not raw.is_dir():
        pytest.skip(f"no tables in {raw}; name the folder of datasets in the environment variable MEDS_SHARED_DATA")
    (tmp_path / "raw").symlink_to(raw)
    data = draft_and_run(tmp_path)
    assert data.height > 200_000
    assert data["subject_id"].n_unique() == 100
    assert counts(data)["MEDS_BIRTH"] == 100
    assert counts(data)["MEDS_DEATH"] == 31
    assert data["time"].dt.year().min() >= 2030
    codes = pl.read_parquet(tmp_path / "cohort" / "metadata" / "codes.parquet", glob=False)
    described = codes.filter(pl.col("description").is_not_null())["code"].str.split("//").list.first()
    assert {"DIAGNOSES_ICD", "PROCEDURES_ICD", "INPUTEVENTS", "OUTPUTEVENTS", "PROCEDUREEVENTS"} == {*described}


SMALL = {"people.csv": "patient,sex\n1,f\n2,m\n3,f\n"}


def test_files_are_replaced_only_when_told(tmp_path):
    write_folder(tmp_path, SMALL)
    (tmp_path / "event_cfgs.yaml").write_text("mine")
    assert "event_cfgs.yaml: there already" in call("init", "raw", folder=tmp_path, status=1).stderr
    assert (tmp_path / "event_cfgs.yaml").read_text() == "mine"
    assert not (tmp_path / "pipeline.yaml").exists()
    call("init", "raw", "--force", folder=tmp_path)
    assert drafted(tmp_path)["people"]["sex"]["code"] == ["SEX", "col(sex)"]


def test_options_say_where_things_are(tmp_path):
    write_folder(tmp_path, SMALL)
    options = ["--output-dir", "a/b", "--cohort-dir", "c", "--dataset-name", "My: data", "--subject-id", "patient"]
    shown = call("init", "raw", *options, folder=tmp_path).stdout
    assert "MEDS_transforms run a/b/pipeline.yaml" in shown
    pipeline = yaml.safe_load((tmp_path / "a" / "b" / "pipeline.yaml").read_text())
    assert pipeline["cohort_dir"] == str(tmp_path / "c")
    assert pipeline["etl_metadata"]["dataset_name"] == "My: data"
    call("run", "a/b/pipeline.yaml", folder=tmp_path)
    assert (tmp_path / "c" / "data" / "train" / "0.parquet").exists()


def test_a_dataset_among_the_tables_is_none_of_them(tmp_path):
    write_folder(tmp_path, SMALL)
    options = ["--output-dir", "raw"]
    call("init", "raw", *options, folder=tmp_path)
    call("run", "raw/pipeline.yaml", folder=tmp_path)
    first = (tmp_path / "raw" / "event_cfgs.yaml").read_text()
    call("init", "raw", *options, "--force", folder=tmp_path)
    assert (tmp_path / "raw" / "event_cfgs.yaml").read_text() == first


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({}, "There are no tables below raw"),
        ({"notes.json": "{}"}, "There are no tables below raw"),
        ({"weather.csv": "day,celsius\n2024-01-01,3\n"}, "No table has a column that looks like a subject's id"),
        ({"people.csv": "patient,sex\n", "empty.csv": ""}, "No table has rows"),
        ({"people.csv": "1,1950-01-01,M\n2,1951-01-01,F\n"}, "people has '1', '1950-01-01', 'M'"),
        ({**SMALL, "bad.parquet": b"PAR1 no"}, "The table bad (raw/bad.parquet) cannot be read"),
        ({**SMALL, "bad.csv.gz": b"\x1f\x8b no"}, "The table bad (raw/bad.csv.gz) cannot be read"),
        ({**SMALL, "bad.csv": "a,b\n1,2,3\n"}, "raw/bad.csv, row 1 after the header: it has 3 fields"),
    ],
)
def test_what_cannot_be_drafted_is_one_message(tables, message, tmp_path):
    write_folder(tmp_path, tables)
    error = call("init", "raw", "--output-dir", "out", folder=tmp_path, status=1).stderr
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_what_is_no_folder_is_one_message(tmp_path):
    write_folder(tmp_path, SMALL)
    assert "There is no folder nope" in call("init", "nope", folder=tmp_path, status=1).stderr
    assert "raw/people.csv is no folder" in call("init", "raw/people.csv", folder=tmp_path, status=1).stderr


def test_columns_may_have_any_names(tmp_path):
    names = [
        "patient",
        "seen, at",
        "x(y)",
        "{z}",
        "col(a)",
        "null",
        "#1",
        'q"q',
        "time",
        "code",
        "yes",
        "it's: a",
        " b",
    ]
    rows = [[n, f"2024-01-0{1 + n % 9} 10:00", *(n + k / 2 for k in range(11))] for n in range(30)]
    table = pl.DataFrame([[str(cell) for cell in row] for row in rows], schema=names, orient="row")
    write_folder(tmp_path, {"vitals.csv": table, "join.csv": table.select("patient", "time")})
    data = draft_and_run(tmp_path)
    assert counts(data)["VITALS"] == 30 * 10
    assert "#   (col(a))" in (tmp_path / "event_cfgs.yaml").read_text()


def test_a_draft_holds_where_rows_were_not_looked_at(tmp_path):
    n = 12_000
    labs = pl.DataFrame({"patient": [k % 50 for k in range(n)], "visit_id": range(n), "test": "CRP", "value": range(n)})
    labs = labs.with_columns(pl.all().cast(pl.String), taken=pl.lit("2024-01-05"))
    odd = labs.head(1).with_columns(visit_id=pl.lit("V-1"), value=pl.lit("not taken"))
    write_folder(tmp_path, {"labs.csv.gz": pl.concat([labs, odd])})
    data = draft_and_run(tmp_path)
    assert data.height == n + 1
    assert data.filter(pl.col("text_value").is_not_null()).select("text_value", "visit_id").rows() == [
        ("not taken", "V-1")
    ]


def test_values_of_the_tables_are_in_no_file(tmp_path):
    people = "patient,sex,city\n" + "".join(f"{n + 4000},f,Atlantis\n" for n in range(20))
    notes = "patient,written,note\n" + "".join(f"{n + 4000},2024-01-05,secret {n}\n" for n in range(20))
    write_folder(tmp_path, {"people.csv": people, "notes.csv": notes})
    shown = call("init", "raw", folder=tmp_path).stdout
    texts = [shown, *(path.read_text() for path in tmp_path.glob("*.yaml"))]
    assert not [word for word in ("Atlantis", "secret", "4001", "2024") if any(word in text for text in texts)]
