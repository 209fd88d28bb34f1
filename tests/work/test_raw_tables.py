"""Which files a table is."""

import pytest

from MEDS_transforms.errors import MissingInputError
from MEDS_transforms.work import raw_tables
from MEDS_transforms.work.raw_tables import Format, find_parts, tables_below, tables_to_name


@pytest.fixture
def raw(tmp_path):
    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return make


def found(root, name):
    return [part.path.relative_to(root).as_posix() for part in find_parts(root, name)]


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        *(
            (f"labs.{s}", Format.TEXT)
            for s in ("csv", "CSV", "tsv", "txt", "csv.gz", "Csv.GZIP", "tsv.zst", "txt.xz", "csv.bz2")
        ),
        *((f"labs.{s}", Format.PARQUET) for s in ("parquet", "par", "pq", "parq", "PARQUET")),
        *((f"labs.{s}", Format.FEATHER) for s in ("feather", "arrow", "ipc")),
    ],
)
def test_files_of_all_formats(raw, file, kind):
    root = raw(f"hosp/{file}", f"hosp/labs2.{file.partition('.')[2]}")
    (part,) = find_parts(root, "hosp/labs")
    assert (part.path, part.format, part.partition) == (root / "hosp" / file, kind, {})
    assert {name for name, _ in tables_below(root)} == {"hosp/labs", "hosp/labs2"}


def test_a_wrong_folder_that_is_very_large_is_not_looked_through(tmp_path, monkeypatch):
    monkeypatch.setattr(raw_tables, "_LOOKED_AT", 5)
    for n in range(20):
        (tmp_path / f"t{n}.csv").touch()
    assert len(tables_to_name(tmp_path)) == 5


def test_names_with_dots_and_with_what_might_be_a_pattern(raw):
    root = raw("a.b.csv", "a.csv", "x[1].csv", "x1.csv")
    assert [found(root, name) for name in ("a.b", "a", "x[1]")] == [["a.b.csv"], ["a.csv"], ["x[1].csv"]]


def test_of_several_formats_the_first_is_read_and_the_others_are_named(raw, caplog):
    root = raw("t.csv", "t.csv.gz", "t.par", "t.tsv")
    assert found(root, "t") == ["t.par"]
    assert caplog.messages == ["t: t.par is read, t.csv, t.csv.gz, t.tsv skipped"]


@pytest.mark.parametrize("folder", ["labs", "labs.parquet", "labs.CSV"])
def test_a_folder_of_parts(raw, caplog, folder):
    root = raw(
        *(
            f"{folder}/{n}"
            for n in ("part-1.parquet", "part-0.snappy.parquet", "_SUCCESS", ".x.crc", "notes.md", "old/part-2.parquet")
        )
    )
    assert found(root, "labs") == [f"{folder}/part-0.snappy.parquet", f"{folder}/part-1.parquet"]
    assert "notes.md" in caplog.text
    assert "_SUCCESS" not in caplog.text


def test_of_a_file_and_folders_of_one_name_the_file_is_read_and_the_folders_are_named(raw, caplog):
    root = raw("x/t.csv", "x/t/a.csv", "x/t/b.csv", "x/t.parquet/c=1/a.pq", "x/t.orc/a.orc", "x/t.d/a.csv")
    assert found(root, "x/t") == ["x/t.csv"]
    assert caplog.messages == ["t: t.csv is read, t.parquet/, t/ skipped"]
    (root / "x/t.csv").unlink()
    assert found(root, "x/t") == ["x/t/a.csv", "x/t/b.csv"]
    assert caplog.messages[1:] == ["t: t/ is read, t.parquet/ skipped"]


def test_partitions(raw):
    root = raw(
        "v/year=2020/b.pq",
        "v/year=2020/a.pq",
        "v/year=__HIVE_DEFAULT_PARTITION__/site=A%2FB/a.pq",
        "w.parquet/k=1/x.csv",
    )
    parts = find_parts(root, "v")
    assert [(p.path.name, p.partition) for p in parts] == [
        ("a.pq", {"year": "2020"}),
        ("b.pq", {"year": "2020"}),
        ("a.pq", {"year": None, "site": "A/B"}),
    ]
    assert [p.partition for p in find_parts(root, "w")] == [{"k": "1"}]
    assert {name for name, _ in tables_below(root)} == {"v", "w"}


def test_patterns(raw):
    root = raw(
        "icu/labs_2.csv",
        "icu/labs_10.csv.gz",
        "icu/labs_1.parquet",
        "icu/lab.csv",
        "icu/labs_1.csv",
        "labs_3.csv",
        "icu/x/labs_4.csv",
    )
    assert found(root, "icu/labs_*") == ["icu/labs_1.parquet", "icu/labs_10.csv.gz", "icu/labs_2.csv"]
    assert found(root, "*/labs_[2-9]") == ["icu/labs_2.csv"]
    assert found(root, "labs_?") == ["labs_3.csv"]
    assert found(root, "*/labs_1*") == ["icu/labs_1.parquet", "icu/labs_10.csv.gz"]
    with pytest.raises(MissingInputError, match="no table"):
        find_parts(root, "*/labs_1*", [root / "icu"])


def test_a_missing_table(raw):
    root = raw("hosp/admissions.csv", "labs.xlsx", "labs.json")
    with pytest.raises(MissingInputError, match=r"no table hosp/admission below .*did you mean .*hosp/admissions"):
        find_parts(root, "hosp/admission")
    with pytest.raises(
        MissingInputError, match=r"labs\.json, labs\.xlsx has a suffix that is not read.*\.csv, .*\.zst"
    ):
        find_parts(root, "labs")
    with pytest.raises(MissingInputError, match="no table nowhere/x"):
        find_parts(root, "nowhere/x")
