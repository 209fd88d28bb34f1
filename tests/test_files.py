import shutil
import threading

from MEDS_transforms.files import files_below


def test_files_below_leaves_out_what_is_hidden_and_what_it_is_told(tmp_path):
    for name in ("a.csv", "hosp/b.csv", "hosp/.c.csv", ".logs/d.csv", "cohort/data/e.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = {path.relative_to(tmp_path).as_posix() for path in files_below(tmp_path, [tmp_path / "cohort"])}
    assert found == {"a.csv", "hosp/b.csv"}


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
