"""Raw tables: in which formats they are found, which is taken, and what is said where there is none."""

import gzip

import polars as pl
import pytest

from helpers import write_table
from MEDS_transforms.extract.tables import get_supported_fp
from MEDS_transforms.extract.utils import get_supported_fp as former_get_supported_fp

FRAME = pl.DataFrame({"a": [1, 2], "b": ["x", "y"]})
FORMATS = [".parquet", ".par", ".csv", ".csv.gz"]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("name", ["labs", "hosp/core/labs", "labs.2020", "labs [0-9]*"])
def test_every_format_and_folder(tmp_path, suffix, name):
    path = write_table(tmp_path / f"{name}{suffix}", FRAME)
    found, scan = get_supported_fp(tmp_path, name)
    assert found == path
    assert scan(found).collect().equals(FRAME)


@pytest.mark.parametrize("best", range(len(FORMATS)))
def test_of_several_formats_the_first_is_taken_with_a_warning(tmp_path, caplog, best):
    for suffix in FORMATS[best:]:
        write_table(tmp_path / f"labs{suffix}", FRAME)
    assert get_supported_fp(tmp_path, "labs")[0].name == f"labs{FORMATS[best]}"
    warnings = [r.getMessage() for r in caplog.records]
    assert len(warnings) == (1 if FORMATS[best + 1 :] else 0)
    for skipped in FORMATS[best + 1 :]:
        assert skipped in warnings[0].partition("read")[2]


def test_a_missing_table_is_named_with_folder_and_nearest_table(tmp_path):
    write_table(tmp_path / "hosp" / "admissions.csv.gz", FRAME)
    write_table(tmp_path / "labs.csv", FRAME)
    with pytest.raises(FileNotFoundError) as error:
        get_supported_fp(tmp_path, "hosp/admission")
    for part in ("hosp/admission ", str(tmp_path), "did you mean 'hosp/admissions'", "labs", ".csv.gz"):
        assert part in str(error.value)


def test_gzip_of_several_members_is_one_table(tmp_path):
    """As `cat a.gz b.gz` makes it."""
    path = tmp_path / "labs.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,x\n", mtime=0) + gzip.compress(b"2,y\n"))
    found, scan = get_supported_fp(tmp_path, "labs")
    assert scan(found).collect().equals(FRAME)


def test_former_import_path():
    assert former_get_supported_fp is get_supported_fp
