import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from MEDS_transforms.errors import explain
from MEDS_transforms.work.claims import claim
from MEDS_transforms.work.files import files_below, is_claimed, make_folder, publish, scratch_path, try_lock


def test_files_below_leaves_out_what_is_hidden_and_what_it_is_told(tmp_path):
    for name in ("a.csv", "hosp/b.csv", "hosp/.c.csv", ".logs/d.csv", "cohort/data/e.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = {path.relative_to(tmp_path).as_posix() for path in files_below(tmp_path, [tmp_path / "cohort"])}
    assert found == {"a.csv", "hosp/b.csv"}


def test_a_folder_is_made_also_while_another_worker_makes_and_removes_it(tmp_path):
    folder = tmp_path / "shared"
    churn = "import os\nwhile True:\n  for act in (os.mkdir, os.rmdir):\n    try: act({!r})\n    except OSError: pass"
    with subprocess.Popen([sys.executable, "-c", churn.format(str(folder))]) as other:
        try:
            for _ in range(20_000):
                make_folder(folder)
        finally:
            other.kill()


def test_a_folder_may_go_and_come_back_while_it_is_made(tmp_path, monkeypatch):
    """The other worker removes it just before `mkdir` looks, and makes it anew just after."""
    folder, looks, look = tmp_path / "shared", [], Path.is_dir
    folder.mkdir()

    def look_between(path):
        if path != folder or looks:
            return look(path)
        looks.append(path)
        folder.rmdir()
        found = look(path)
        folder.mkdir()
        return found

    monkeypatch.setattr(Path, "is_dir", look_between)
    make_folder(folder)
    assert looks
    assert folder.exists()


def test_a_file_is_locked_also_where_another_worker_removes_the_folder_while_it_is_made(tmp_path, monkeypatch):
    """The other worker has made the folder just before `mkdir`, and removes it before `mkdir` looks."""
    folder, looks, look, make = tmp_path / "shared", [], Path.is_dir, os.mkdir
    folder.mkdir()

    def look_after_removal(path):
        if path == folder and not looks:
            looks.append(path)
            folder.rmdir()
        return look(path)

    def make_late(path, *args, **kwargs):
        if Path(path) == folder and not looks:
            raise FileExistsError(17, "File exists", path)
        make(path, *args, **kwargs)

    monkeypatch.setattr(Path, "is_dir", look_after_removal)
    monkeypatch.setattr(os, "mkdir", make_late)
    with try_lock(folder / "lock") as ours:
        assert looks
        assert ours


def test_a_file_in_the_place_of_a_folder_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "to nothing").symlink_to("nothing")
    for name in ("file", "link", "to nothing"):
        with pytest.raises(FileExistsError):
            make_folder(tmp_path / name)
    (tmp_path / "to a folder").symlink_to(tmp_path)
    make_folder(tmp_path / "to a folder")


def test_files_below_goes_on_while_folders_come_and_go(tmp_path):
    (tmp_path / "stays").mkdir()
    (tmp_path / "stays" / "a.csv").touch()
    stop = threading.Event()

    def churn():
        while not stop.is_set():
            for n in range(20):
                (tmp_path / f"goes_{n}" / "deep").mkdir(parents=True, exist_ok=True)
            for n in range(20):
                shutil.rmtree(tmp_path / f"goes_{n}")

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(300):
            assert [path.name for path in files_below(tmp_path)] == ["a.csv"]
    finally:
        stop.set()
        thread.join()


def test_what_a_library_writes_beside_its_file_does_not_stay(tmp_path):
    """Some write to a temporary file of their own first, whose name nobody can know after a kill -9."""

    def write(path) -> None:
        path.with_name(".tmpXYZ").write_bytes(b"half")
        path.write_bytes(b"whole")

    publish(tmp_path / "a.nrt", write)
    assert [path.name for path in tmp_path.iterdir()] == ["a.nrt"]
    assert (tmp_path / "a.nrt").read_bytes() == b"whole"


@pytest.mark.parametrize("is_folder", [True, False])
def test_what_was_left_by_a_killed_process_is_cleared_away(tmp_path, is_folder):
    scratch = scratch_path(tmp_path / "a.nrt")
    if is_folder:
        (scratch / "more").mkdir(parents=True)
    else:
        scratch.write_bytes(b"half")
    publish(tmp_path / "a.nrt", lambda path: path.write_bytes(b"whole"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.nrt"]


def test_a_lock_that_cannot_be_made_is_one_message(tmp_path):
    with pytest.raises(OSError, match="File name too long") as info, try_lock(tmp_path / ("x" * 300)):
        pytest.fail("locked")
    assert explain(info.value).startswith("File name too long: ")
    assert explain(info.value).endswith("choose a shorter one.")


def test_a_claim_is_seen_while_it_is_held(tmp_path):
    assert is_claimed(tmp_path / "a") is False
    with claim(tmp_path / "a") as ours:
        assert ours
        assert is_claimed(tmp_path / "a") is True
    assert is_claimed(tmp_path / "a") is False
