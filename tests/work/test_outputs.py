"""Which outputs count as done, and what becomes of those that something else made."""

import subprocess
import sys
from contextlib import ExitStack, nullcontext
from pathlib import Path

import polars as pl
import pytest

from helpers import files_below, write_table
from MEDS_transforms.work import claims
from MEDS_transforms.work.claims import Staged, lock_path
from MEDS_transforms.work.decisions import Asked, Found, decide
from MEDS_transforms.work.environment import JOURNAL, RUN
from MEDS_transforms.work.freeing import free
from MEDS_transforms.work.outputs import StageOutputs
from MEDS_transforms.work.provenance import Maker, OutputFile, Record, read_record
from MEDS_transforms.work.runs import Generation, Noted, Run
from MEDS_transforms.work.sources import Source, describe_source
from MEDS_transforms.work.unwritten import is_untouched, leave_no_files

A, B = Maker("1", {"cutoff": 1}), Maker("1", {"cutoff": 2})
FILES = {"0.parquet": {"0.parquet": OutputFile(1, "x")}}
MADE = {"0.parquet": Noted(FILES["0.parquet"], "in/0.parquet")}


AT_WORK = r"(?s)is already running there with other settings:.*cutoff: 1 -> 2"
ANOTHERS = r"what the stage stage made \(a\.parquet"


def alive() -> list[str]:
    return ["host-1"]


@pytest.mark.parametrize(
    ("asked", "found", "expected"),
    [
        (Asked(A), Found(), (A, False, {}, 1)),
        (Asked(A, overwrite=True), Found(Record(A, FILES)), (A, True, {}, 1)),
        (Asked(A), Found(Record(A, FILES)), (A, False, FILES, 1)),
        (Asked(A, keep=True), Found(Record(B, FILES)), (A, False, FILES, 1)),
        (Asked(A, overwrite=True), Found(Record(B, FILES)), (A, True, {}, 1)),
        (Asked(A, keep=True), Found(unknown=FILES), (A, False, FILES, 1)),
        (Asked(A, overwrite=True), Found(unknown=FILES), (A, True, {}, 1)),
        # An interrupted run, and workers at the same work.
        (Asked(A), Found(generation=Generation(A), made=MADE), "joins"),
        (Asked(A), Found(generation=Generation(A, overwrites=True), made=MADE), "joins"),
        (Asked(A, overwrite=True), Found(generation=Generation(A, overwrites=True), made=MADE), "joins"),
        (Asked(A), Found(generation=Generation(A), others=alive), "joins"),
        # It is given up for another one.
        (Asked(A, overwrite=True), Found(generation=Generation(A), made=MADE), (A, True, {}, 2)),
        (Asked(A, overwrite=True), Found(generation=Generation(B, True), made=MADE), (A, True, {}, 2)),
        (Asked(A), Found(generation=Generation(B)), (A, False, {}, 2)),
        (Asked(A), Found(Record(A, FILES), Generation(B, True)), (A, False, FILES, 2)),
        # Or refused.
        (Asked(A), Found(Record(B, FILES)), "settings.cutoff: 2 -> 1"),
        (Asked(A), Found(unknown=FILES), "no record of what made them: 0.parquet"),
        (Asked(A), Found(generation=Generation(B), made=MADE), "interrupted run.*\n.*cutoff: 2 -> 1"),
        (Asked(A), Found(generation=Generation(B), others=alive), "host-1.*is already running.*\n.*cutoff: 2 -> 1"),
        (Asked(A, overwrite=True), Found(generation=Generation(B, True), others=alive), "host-1.*is already running"),
        (
            Asked(A, overwrite=True),
            Found(generation=Generation(A), others=alive, made=MADE),
            "is already running there. ",
        ),
    ],
)
def test_what_is_decided(asked, found, expected):
    if isinstance(expected, str) and expected != "joins":
        with pytest.raises(FileExistsError, match=expected):
            decide(asked, found)
        return
    got = decide(asked, found)
    if expected == "joins":
        assert got is found.generation
    else:
        assert (got.made_by, got.overwrites, got.kept, got.number) == expected


def outputs(folder: Path, maker: Maker = A, **asked) -> StageOutputs:
    return StageOutputs(folder, "stage", Asked(maker, **asked), own_folder=folder)


def units(made_by: StageOutputs, *names: str):
    def make_of(name):
        def make(scratch: Path) -> Staged:
            frame = pl.DataFrame({"cutoff": [made_by.asked.maker.settings["cutoff"]]})
            write_table(scratch / name, frame)
            return Staged({made_by.folder / name: scratch / name})

        return make

    return [made_by.unit(made_by.folder / name, make_of(name), made_by.folder.parent / "in" / name) for name in names]


NAMES = ("a.parquet", "b.parquet", "c.parquet")


def run(folder: Path, maker: Maker = A, only: int = 3, names=NAMES, **asked) -> int:
    """Makes the first units of a stage; returns how many it made."""
    stage = outputs(folder, maker, **asked)
    work = units(stage, *names)
    with stage.being_made(work):
        return sum(unit.compute_once() for unit in work[:only])


def cutoffs(folder: Path) -> list[int]:
    return [pl.read_parquet(path)["cutoff"].item() for path in sorted(folder.glob("*.parquet"))]


def test_what_is_done_is_not_made_again_and_only_what_is_missing_or_damaged_is(tmp_path):
    assert run(tmp_path) == 3
    before = files_below(tmp_path, logs=True)
    assert before == [".provenance/stage.record", *NAMES]
    assert run(tmp_path) == 0
    (tmp_path / "a.parquet").unlink()
    write_table(tmp_path / "b.parquet", pl.DataFrame({"other": [1]}))
    assert run(tmp_path) == 2
    assert cutoffs(tmp_path) == [1, 1, 1]
    assert files_below(tmp_path, logs=True) == before


def test_other_settings_half_way_are_refused(tmp_path):
    run(tmp_path, only=1)
    with pytest.raises(FileExistsError, match=r"(?s)cutoff: 1 -> 2.*do_overwrite=True.*keep_existing=True"):
        run(tmp_path, B)
    assert cutoffs(tmp_path) == [1]
    assert run(tmp_path, B, keep=True) == 2
    assert cutoffs(tmp_path) == [1, 2, 2]


def kept(folder: Path) -> list[tuple[list[str], int | None]]:
    """The files that the record says were kept, and the cutoff that made them."""
    record = read_record(folder, "stage")
    assert record is not None
    return [([*k.files], k.made_by.settings["cutoff"] if k.made_by else None) for k in record.kept]


def test_the_record_says_which_outputs_were_kept_and_what_made_them(tmp_path, caplog):
    write_table(tmp_path / "a.parquet", pl.DataFrame({"cutoff": [7]}))
    run(tmp_path, A, keep=True)
    assert kept(tmp_path) == [(["a.parquet"], None)]
    assert "Kept: 1 output with no record of what made them" in caplog.text
    assert "kept" not in (tmp_path / ".provenance/stage.record").read_text().split('"outputs"')[1]
    assert run(tmp_path, B, keep=True) == 0
    assert kept(tmp_path) == [(["a.parquet"], None), (["b.parquet", "c.parquet"], 1)]
    assert "2 outputs made with other settings or inputs (settings.cutoff: 1 -> 2)" in caplog.text
    assert run(tmp_path, B) == 0  # they count as done
    (tmp_path / "b.parquet").unlink()
    assert run(tmp_path, B) == 1
    assert kept(tmp_path) == [(["a.parquet"], None), (["c.parquet"], 1)]
    run(tmp_path, A, keep=True)
    assert kept(tmp_path) == [(["a.parquet"], None), (["b.parquet"], 2)]
    run(tmp_path, A, overwrite=True)
    assert kept(tmp_path) == []


def test_what_an_interrupted_run_made_is_kept_as_such(tmp_path):
    run(tmp_path, A, only=1)
    run(tmp_path, B, only=2, keep=True)
    run(tmp_path, A, keep=True)
    assert cutoffs(tmp_path) == [1, 2, 1]
    assert kept(tmp_path) == [(["b.parquet"], 2)]


def test_an_interrupted_overwriting_run_goes_on_also_when_run_plainly(tmp_path):
    run(tmp_path)
    assert run(tmp_path, B, only=1, overwrite=True) == 1
    assert run(tmp_path, B) == 2
    assert cutoffs(tmp_path) == [2, 2, 2]
    run(tmp_path, A, only=2, overwrite=True)
    assert run(tmp_path, A, overwrite=True) == 1
    assert cutoffs(tmp_path) == [1, 1, 1]


def test_outputs_that_are_not_made_any_more_are_removed(tmp_path):
    run(tmp_path)
    run(tmp_path, B, overwrite=True, names=("sub/d.parquet",))
    assert files_below(tmp_path) == ["sub/d.parquet"]
    run(tmp_path, A, overwrite=True, names=NAMES[:1])
    assert files_below(tmp_path) == ["a.parquet"]
    assert not (tmp_path / "sub").exists()


def test_a_worker_with_other_settings_is_refused_while_another_is_at_work(tmp_path):
    first = outputs(tmp_path)
    with first.being_made(units(first, *NAMES)):
        for more in ({}, {"overwrite": True}, {"keep": True}):
            other = StageOutputs(tmp_path, "stage", Asked(B, **more), own_folder=tmp_path)
            other.run.me = "elsewhere-1"  # this process is both workers
            with pytest.raises(FileExistsError, match=AT_WORK), other.being_made(units(other, *NAMES)):
                pytest.fail("takes part")


def test_a_worker_of_an_older_run_adds_nothing_to_a_newer_one(tmp_path):
    late = outputs(tmp_path)
    work = units(late, *NAMES)
    with late.being_made(work):
        work[0].compute_once()
        # As if it had stood still, and its mark were gone.
        assert Run(tmp_path, "stage").begin(Generation(B, overwrites=True, number=2))
        with pytest.raises(FileExistsError, match="a newer run has started"):
            work[1].compute_once()
    assert run(tmp_path, B) == 3
    assert cutoffs(tmp_path) == [2, 2, 2]


def test_files_that_the_stage_did_not_make_stay(tmp_path):
    write_table(tmp_path / "a.parquet", pl.DataFrame({"cutoff": [7]}))
    with pytest.raises(FileExistsError, match=r"no record of what made them: a\.parquet"):
        run(tmp_path)
    assert run(tmp_path, keep=True) == 2
    assert cutoffs(tmp_path) == [7, 1, 1]


def test_of_a_unit_with_several_outputs_what_is_kept_stays_and_what_is_missing_is_made(tmp_path):
    names = [f"{name}.txt" for name in "abc"]

    def run_unit(**asked) -> int:
        stage = StageOutputs(tmp_path, "stage", Asked(A, **asked))
        paths = [tmp_path / name for name in names]

        def make(scratch: Path) -> Staged:
            for path in paths:
                (scratch / path.name).write_text("made")
            return Staged({path: scratch / path.name for path in paths})

        unit = stage.unit(paths[-1], make, tmp_path / "in", outputs=paths)
        with stage.being_made([unit]):
            return unit.compute_once()

    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"what made them: a\.txt\. Either"):
        run_unit()
    assert files_below(tmp_path) == ["a.txt"]
    assert run_unit(keep=True)
    assert [(tmp_path / name).read_text() for name in names] == ["mine", "made", "made"]
    assert not run_unit()
    (tmp_path / "b.txt").unlink()
    assert run_unit()
    assert [(tmp_path / name).read_text() for name in names] == ["mine", "made", "made"]
    assert run_unit(overwrite=True)
    assert (tmp_path / "a.txt").read_text() == "made"


def test_a_worker_that_is_refused_leaves_nothing(tmp_path):
    run(tmp_path)
    before = files_below(tmp_path, logs=True)
    with pytest.raises(FileExistsError):
        run(tmp_path, B)
    assert files_below(tmp_path, logs=True) == before
    assert not (tmp_path / ".provenance/stage.run").exists()


@pytest.mark.parametrize("asked", [{}, {"keep": True}, {"overwrite": True}])
def test_files_that_later_stages_would_read_too_are_named_before_the_work(tmp_path, asked):
    write_table(tmp_path / "mine.parquet", pl.DataFrame({"cutoff": [7]}))
    with pytest.raises(FileExistsError, match=r"does not make: mine\.parquet"):
        run(tmp_path, **asked)
    assert files_below(tmp_path) == ["mine.parquet"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_worker_that_comes_just_as_another_one_ends_the_run_makes_nothing_again(tmp_path, monkeypatch, overwrite):
    monkeypatch.setenv(RUN, "launch")
    if overwrite:
        run(tmp_path)
    asked, at_work = Asked(A, overwrite=overwrite), ExitStack()
    first = StageOutputs(tmp_path, "stage", asked, own_folder=tmp_path)
    at_work.enter_context(first.being_made(work := units(first, *NAMES)))
    assert [unit.compute_once() for unit in work] == [True] * 3

    class Late(StageOutputs):
        def _unknown(self, units):
            found = super()._unknown(units)
            at_work.close()  # the first worker ends the run after this one has found it
            return found

    late = Late(tmp_path, "stage", asked, own_folder=tmp_path)
    with late.being_made(work := units(late, *NAMES)):
        assert [unit.compute_once() for unit in work] == [False] * 3
    assert files_below(tmp_path) == [*NAMES]
    assert not (tmp_path / ".provenance/stage.run").exists()


def late_worker(folder: Path) -> StageOutputs:
    """A worker that has joined the run of another one, and stands still while that one ends it."""
    late = outputs(folder)
    late.run.me = "elsewhere-1"
    return late


def end_and_free(folder: Path) -> None:
    assert run(folder) == 3
    assert free(folder, "stage") > 0


def test_a_worker_that_stood_still_until_all_was_freed_makes_nothing_again(tmp_path):
    late = late_worker(tmp_path)
    with late.being_made(work := units(late, *NAMES)):
        end_and_free(tmp_path)
        assert [unit.compute_once() for unit in work] == [False] * 3
    assert files_below(tmp_path) == []
    assert not (tmp_path / ".provenance/stage.run").exists()


def test_a_worker_that_comes_when_all_was_freed_makes_nothing_again_in_the_same_launch(tmp_path, monkeypatch):
    folder, notes = tmp_path / "cohort", tmp_path / "notes"
    end_and_free(folder)
    (notes / "stage").mkdir(parents=True)
    (notes / "stage" / "ended").touch()
    monkeypatch.setenv(JOURNAL, str(notes))
    assert run(folder) == 0
    assert run(folder, overwrite=True) == 3
    monkeypatch.delenv(JOURNAL)
    assert free(folder, "stage") > 0
    assert run(folder) == 3, "another launch needs them again"
    assert not (folder / ".provenance/stage.run").exists()


def test_what_was_never_written_is_made_where_it_is_to_be_written_though_it_has_ended(tmp_path, monkeypatch):
    folder, notes = tmp_path / "cohort", tmp_path / "notes"
    leave_no_files(outputs(folder))
    (notes / "stage").mkdir(parents=True)
    (notes / "stage" / "ended").touch()
    monkeypatch.setenv(JOURNAL, str(notes))
    assert run(folder) == 3


def test_a_worker_that_is_just_being_refused_does_not_count_as_a_run(tmp_path):
    late = outputs(tmp_path)
    with late.run.taking_part():
        assert is_untouched(outputs(tmp_path))
        assert late.run.begin(Generation(A))
        assert not is_untouched(outputs(tmp_path))


@pytest.mark.parametrize("noted", [True, False])
def test_a_worker_that_stood_still_at_work_until_all_was_freed_adds_nothing(tmp_path, monkeypatch, noted):
    notes = tmp_path / "notes"
    monkeypatch.setenv(JOURNAL, str(notes))
    folder = tmp_path / "cohort"
    late = late_worker(folder)
    work = late.unit(folder / "a.parquet", lambda scratch: stand_still(scratch), folder.parent / "in")

    def stand_still(scratch: Path) -> Staged:
        with monkeypatch.context() as other:
            other.setattr(claims, "claim", lambda _: nullcontext(True))  # as if the others had made this one before
            end_and_free(folder)
        lock_path(folder / "a.parquet").touch()
        if noted:
            (notes / "ended").touch()
        write_table(scratch / "a.parquet", pl.DataFrame({"cutoff": [1]}))
        return Staged({folder / "a.parquet": scratch / "a.parquet"})

    with late.joined([work]), pytest.raises(FileExistsError, match="ended by other workers meanwhile"):
        work.compute_once()
    assert [name for name in files_below(folder) if not name.endswith(".lock")] == []
    assert lock_path(folder / "a.parquet").exists() is not noted
    assert not (folder / ".provenance/stage.run").exists()


def test_files_that_came_during_the_work_are_named_at_its_end(tmp_path):
    outputs = StageOutputs(tmp_path, "stage", Asked(A), own_folder=tmp_path)

    def work():
        with outputs.being_made(to_do := units(outputs, *NAMES)):
            write_table(tmp_path / "mine.parquet", pl.DataFrame({"cutoff": [7]}))
            for unit in to_do:
                unit.compute_once()

    with pytest.raises(FileExistsError, match=r"does not make: mine\.parquet"):
        work()
    (tmp_path / "mine.parquet").unlink()
    assert run(tmp_path) == 0  # it was all made, but for the record
    assert files_below(tmp_path) == [*NAMES]


@pytest.mark.parametrize("asked", [{}, {"keep": True}, {"overwrite": True}])
def test_a_folder_of_another_stage_is_refused(tmp_path, asked):
    run(tmp_path)
    other = StageOutputs(tmp_path, "another", Asked(A, **asked), own_folder=tmp_path)
    with pytest.raises(FileExistsError, match=ANOTHERS), other.being_made(units(other, "a.parquet")):
        pytest.fail("takes part")
    assert cutoffs(tmp_path) == [1, 1, 1]


def test_what_a_stage_made_that_writes_elsewhere_by_now_is_overwritten_where_that_is_asked_for(tmp_path):
    folder = tmp_path / "data"
    run(folder)

    def append(maker: Maker = A, only: int = 2, elsewhere: str = "stage", **asked) -> int:
        others = {"stage": [tmp_path / elsewhere]}
        other = StageOutputs(folder, "another", Asked(maker, **asked), own_folder=folder, others=others)
        work = units(other, "a.parquet", "d.parquet")
        with other.being_made(work):
            return sum(unit.compute_once() for unit in work[:only])

    for asked in ({}, {"keep": True}):
        with pytest.raises(FileExistsError, match=rf"{ANOTHERS}.*do_overwrite=True, which replaces it"):
            append(**asked)
    with pytest.raises(FileExistsError, match=rf"{ANOTHERS}.*List all stages"):
        append(elsewhere="data", overwrite=True)
    assert cutoffs(folder) == [1, 1, 1]
    assert append(B, only=1, overwrite=True) == 1  # interrupted
    assert append(B) == 1
    assert cutoffs(folder) == [2, 2]
    assert files_below(folder, logs=True) == [".provenance/another.record", "a.parquet", "d.parquet"]


def test_what_an_interrupted_stage_made_that_writes_elsewhere_by_now_is_overwritten_too(tmp_path):
    run(tmp_path / "data", only=2)
    others = {"stage": [tmp_path / "stage"]}
    other = StageOutputs(tmp_path / "data", "another", Asked(B, overwrite=True), tmp_path / "data", others=others)
    work = units(other, "c.parquet")
    with other.being_made(work):
        assert work[0].compute_once()
    assert files_below(tmp_path / "data", logs=True) == [".provenance/another.record", "c.parquet"]


def test_a_run_that_made_nothing_leaves_nothing(tmp_path):
    def fail(_):
        raise ValueError("bad data")

    stage = outputs(tmp_path)
    unit = stage.unit(tmp_path / "a.parquet", fail, tmp_path / "in")
    with pytest.raises(ValueError, match="bad data"), stage.being_made([unit]):
        unit.compute_once()
    assert [name for name in files_below(tmp_path) if not name.endswith(".lock")] == []
    assert run(tmp_path, B) == 3


def test_rows_are_noted_where_they_can_be_counted(tmp_path):
    stage = StageOutputs(
        tmp_path,
        "stage",
        Asked(A),
        own_folder=tmp_path,
        count_rows=lambda paths: [len(pl.read_parquet(path)) for path in paths],
    )
    [unit] = units(stage, "a.parquet")
    with stage.being_made([unit]):
        unit.compute_once()
    record = read_record(tmp_path, "stage")
    assert record is not None
    assert record.files["a.parquet"].rows == 1


WORKER_THAT_COMES = """
import sys, time
from pathlib import Path
from MEDS_transforms.work.runs import Run

run = Run(Path(sys.argv[1]), "stage")
with run.taking_part():
    (run.path / ".tmp.0123abcd").touch()  # as if it were about to begin the run
    print("has come", flush=True)
    time.sleep(600)
"""


def leave_a_worker_that_was_killed_as_it_came(folder: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WORKER_THAT_COMES, str(folder)], stdout=subprocess.PIPE) as worker:
        assert worker.stdout.readline() == b"has come\n"
        worker.kill()
    assert {path.name.partition(".")[0] for path in (folder / ".provenance/stage.run").iterdir()} == {"", "worker"}


@pytest.mark.parametrize("finished", [True, False])
def test_what_a_worker_left_that_was_killed_as_it_came_is_cleared_away(tmp_path, finished):
    if finished:
        run(tmp_path)
    leave_a_worker_that_was_killed_as_it_came(tmp_path)
    assert run(tmp_path) == (0 if finished else 3)
    assert files_below(tmp_path, logs=True) == [".provenance/stage.record", *NAMES]
    assert not (tmp_path / ".provenance/stage.run").exists()


@pytest.mark.parametrize("another_was_killed_as_it_came", [False, True])
def test_what_a_worker_left_that_was_killed_as_it_wrote_the_record_is_cleared_away(
    tmp_path, another_was_killed_as_it_came
):
    run(tmp_path)
    if another_was_killed_as_it_came:
        leave_a_worker_that_was_killed_as_it_came(tmp_path)
    (tmp_path / ".provenance/.tmp.stage.record").mkdir()
    (tmp_path / ".provenance/.stage.record.lock").touch()
    (tmp_path / ".provenance/.tmp.stage.run.0123abcd").mkdir()
    assert run(tmp_path) == 0
    assert [path.name for path in (tmp_path / ".provenance").iterdir()] == ["stage.record"]


def test_a_worker_that_was_killed_as_it_came_to_a_finished_stage_does_not_keep_later_stages_from_its_outputs(tmp_path):
    run(tmp_path)
    leave_a_worker_that_was_killed_as_it_came(tmp_path)
    assert "made_by" in describe_source(Source(tmp_path, ".parquet"), tmp_path)
