"""The folders of a run: there, writable, large enough."""

import os
from pathlib import Path

import pytest

from MEDS_transforms.precheck.folders import inspect_folders, nearest_existing, space_remark
from MEDS_transforms.precheck.report import Inspection
from MEDS_transforms.remarks import Severity


@pytest.mark.parametrize(("free", "severity"), [(99, Severity.WARNING), (100, Severity.NOTE)])
def test_space_is_told_with_figures_and_is_a_warning_where_there_is_too_little(free, severity):
    found = Inspection()
    space_remark(Path("/data"), 100, free, found)
    [remark] = found.remarks
    assert remark.severity is severity
    assert f"about 100 bytes needed, {free} bytes free on the file system of /data" in remark.what
    assert ("keep_intermediates: false" in remark.remedy) is (severity is Severity.WARNING)


def test_the_nearest_folder_that_is_there(tmp_path):
    assert nearest_existing(tmp_path / "a" / "b") == tmp_path


def test_a_cohort_below_the_raw_tables_is_worth_a_note(tmp_path):
    found = Inspection()
    inspect_folders(tmp_path, tmp_path / "cohort", found)
    [remark] = found.remarks
    assert (remark.severity, remark.where) == (Severity.NOTE, "cohort_dir")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_must_not_be_written_to(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    found = Inspection()
    inspect_folders(tmp_path, tmp_path / "closed" / "cohort", found)
    assert found.remarks[0].kind == "permission"
    assert "Change the permissions" in found.remarks[0].remedy
