"""The command `MEDS_transforms validate`, as people and programs call it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from MEDS_transforms.validation.kinds import KINDS

from .datasets import DATASET, TRAIN_0, TUNING, cells, in_order, says

SCRIPT = Path(sys.executable).parent / "MEDS_transforms"
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "validate.md"


def call(*args: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run([SCRIPT, "validate", *args], capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == status, ran.stdout + ran.stderr
    return ran


def test_a_valid_dataset(root):
    ran = call(root)
    lines = [line.split() for line in ran.stdout.splitlines()]
    for line in (
        ["subjects", "5"],
        ["measurements", "29"],
        ["static", "5"],
        ["events", "15"],
        ["codes", "4"],
        ["shards", "4"],
        ["train", "3", "17"],
        ["tuning", "1", "6"],
        ["first", "time", "1950-01-02", "00:00:00"],
        ["last", "time", "2010-01-02", "00:00:00"],
    ):
        assert line in lines
    assert ran.stdout.splitlines()[0] == f"{root}: MEDS 0.4, as metadata/dataset.json says"
    assert ran.stdout.splitlines()[-1] == "Valid MEDS 0.4, with 1 note."
    assert ran.stderr == ""


def test_a_broken_dataset(root):
    in_order(TUNING, 0, 1, 4, 2, 3, 5)(root)
    cells(TRAIN_0, "code", *((row, None) for row in range(2, 6)))(root)
    lines = call(root, status=1).stdout.splitlines()
    at = lines.index(f"error  {TUNING}")
    assert lines[at + 1 : at + 4] == [
        "    1 row earlier than the row before, of the same subject.",
        f"    {TUNING} row 3: subject 4, 2001-01-02 00:00:00, LAB",
        "    Sort the rows by subject_id and time, nulls first, with a stable sort, and write the shard again.",
    ]
    at = lines.index(f"error  {TRAIN_0}")
    assert lines[at + 1] == "    4 rows whose code is null."
    assert lines[at + 5] == "    …"
    assert lines[-1] == "Not valid MEDS 0.4: 2 errors and 1 note."


def test_json(root):
    assert json.loads(call(root, "--json").stdout)["valid"] is True
    cells(TRAIN_0, "code", (2, None))(root)
    document = json.loads(call(root, "--json", status=1).stdout)
    assert document["valid"] is False
    assert document["meds"] == {"version": "0.4", "why": "as metadata/dataset.json says"}
    assert document["counts"] == {
        "shards": 4,
        "subjects": 5,
        "measurements": 29,
        "static": 5,
        "events": 15,
        "codes": 4,
        "described_codes": 5,
        "bytes": sum(path.stat().st_size for path in (root / "data").rglob("*.parquet")),
        "first_time": "1950-01-02 00:00:00",
        "last_time": "2010-01-02 00:00:00",
    }
    assert document["splits"]["train"] == {"subjects": 3, "measurements": 17}
    [remark] = [remark for remark in document["remarks"] if remark["severity"] == "error"]
    assert (remark["kind"], remark["where"], remark["n"], remark["files"]) == ("null_code", TRAIN_0, 1, 1)
    assert remark["rows"][0]["row"] == 2


def test_the_version_may_be_asked_for(root):
    assert "MEDS 0.3, as asked for" in call(root, "--meds", "0.3").stdout
    assert "0.5" in call(root, "--meds", "0.5", status=2).stderr


def test_errors_are_one_message(root):
    for path in (root / "nowhere", root / "data", root / DATASET):
        assert call(path, status=1).stderr.startswith("error: ")


def test_what_files_say_is_no_markup(root):
    says(created_at="[bold]x[/nothing]")(root)
    assert "'[bold]x[/nothing]'" in call(root).stdout


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_a_screen_that_lacks_characters_gets_escapes(root, option, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    cells(TUNING, "code", (3, "Größe"))(root)
    in_order(TUNING, 0, 1, 4, 3, 2, 5)(root)
    (root / TUNING).with_name("ü.parquet").write_bytes(b"")
    ran = call(root, *option, status=1)
    if option:
        remarks = json.loads(ran.stdout)["remarks"]
        assert {"data/tuning/ü.parquet", TUNING} <= {remark["where"] for remark in remarks}
        assert "Größe" in {row["code"] for remark in remarks for row in remark.get("rows", ())}
    else:
        assert r"Gr\xf6\xdfe" in ran.stdout
    assert ran.stderr == ""


def test_help_needs_neither_polars_nor_pyarrow():
    code = "import sys, MEDS_transforms.commands.app; print({'polars', 'pyarrow'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize("kind", KINDS)
def test_the_guide_has_a_line_for_each_kind_with_its_severity(kind):
    lines = [line for line in GUIDE.read_text(encoding="utf-8").splitlines() if f"`{kind}`" in line]
    assert any(f"| {KINDS[kind].severity} |" in line for line in lines)
