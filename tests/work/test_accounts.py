"""Accounts of units of work: how they add up, and that they stay with the outputs that they are about."""

import random
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import files_below, write_table
from MEDS_transforms.work.accounts import added_up, in_order, note, noting
from MEDS_transforms.work.claims import Staged
from MEDS_transforms.work.closing import Ended
from MEDS_transforms.work.decisions import Asked
from MEDS_transforms.work.outputs import StageOutputs
from MEDS_transforms.work.provenance import Maker, read_record

ACCOUNTS = st.fixed_dictionaries(
    {"rows": st.integers(0, 9)},
    optional={
        "dropped": st.dictionaries(st.sampled_from("abc"), st.integers(0, 9)),
        "examples": st.lists(st.sampled_from("uvwxyz"), max_size=3),
    },
)


def test_numbers_add_up_and_the_first_few_examples_stay():
    accounts = [
        {"e": {"rows": 2, "examples": {"time": ["x"]}}},
        {"f": {"rows": 1}},
        {"e": {"rows": 3, "lost": {"n": 1}, "examples": {"time": ["x", "y", "z"]}}},
        {"e": {"examples": {"time": ["u"]}}},
    ]
    want = {"e": {"rows": 5, "lost": {"n": 1}, "examples": {"time": ["x", "y", "z"]}}, "f": {"rows": 1}}
    assert added_up(accounts) == want
    assert accounts[0] == {"e": {"rows": 2, "examples": {"time": ["x"]}}}
    assert added_up([]) == {}


@given(st.lists(ACCOUNTS, max_size=5), st.integers(0, 5))
def test_it_does_not_matter_who_adds_up_what(accounts, cut):
    assert added_up([added_up(accounts[:cut]), added_up(accounts[cut:])]) == added_up(accounts)


def test_units_come_in_the_order_of_the_numbers_in_their_names():
    want = ["a", "labs%2F%5B0-9%29", "labs%2F%5B9-100%29", "labs%2F%5B100-2000%29", "train/2", "train/10"]
    assert in_order(random.Random(1).sample(want, len(want))) == want
    assert in_order(["²", "2", "x²"]) == ["2", "x²", "²"]


A, B = Maker("1", {"cutoff": 1}), Maker("1", {"cutoff": 2})
NAMES = ("0.parquet", "1.parquet", "10.parquet", "2.parquet")


class Stage:
    """A stage of four outputs; the account of each says its number, and what made it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made, self.settled = folder, 0, []
        self.limit: int | None = None

    def settle(self, ended: Ended) -> None:
        self.settled.append(ended)
        if self.limit is not None and ended.account["rows"] > self.limit:
            raise ValueError("too many rows")

    def run(self, maker: Maker = A, only: tuple[str, ...] = NAMES, **asked) -> Ended:
        outputs = StageOutputs(self.folder, "stage", Asked(maker, **asked), own_folder=self.folder, settle=self.settle)

        def make_of(name):
            def make(scratch: Path) -> Staged:
                number = int(name.removesuffix(".parquet"))
                write_table(scratch / name, pl.DataFrame({"number": [number]}))
                account = {"rows": number, "by": {str(maker.settings["cutoff"]): 1}, "examples": [name]}
                return Staged({self.folder / name: scratch / name}, account)

            return make

        units = {name: outputs.unit(self.folder / name, make_of(name), self.folder.parent / "in") for name in NAMES}
        with outputs.being_made([*units.values()]):
            self.made = sum(units[name].compute_once() for name in only)
        return self.settled[-1] if self.settled else None


@pytest.fixture
def stage(tmp_path) -> Stage:
    return Stage(tmp_path / "stage")


EXAMPLES = ["0.parquet", "1.parquet", "2.parquet"]


def test_what_is_settled_is_the_sum_over_all_units(stage):
    ended = stage.run()
    assert ended.account == {"rows": 13, "by": {"1": 4}, "examples": EXAMPLES}
    assert ended.files == sorted(stage.folder / name for name in NAMES)
    record = read_record(stage.folder, "stage")
    assert record.accounts["10.parquet"] == {"rows": 10, "by": {"1": 1}, "examples": ["10.parquet"]}
    stage.run()
    assert len(stage.settled) == 1, "nothing is settled twice"


def test_the_sum_is_the_same_where_workers_or_attempts_share_the_units_in_any_order(stage):
    for only in (("10.parquet",), ("2.parquet", "0.parquet")):
        assert stage.run(only=only) is None
    assert stage.run(only=("2.parquet", "1.parquet")).account["examples"] == EXAMPLES
    assert stage.settled[-1].account["rows"] == 13


def test_outputs_that_are_kept_keep_their_accounts(stage):
    stage.run()
    (stage.folder / "1.parquet").unlink()
    assert stage.run(B, keep=True).account == {"rows": 13, "by": {"1": 3, "2": 1}, "examples": EXAMPLES}
    assert stage.made == 1
    (stage.folder / "2.parquet").unlink()
    assert stage.run(B).account["by"] == {"1": 2, "2": 2}


def test_outputs_of_an_interrupted_run_that_are_kept_keep_their_accounts(stage):
    stage.run(only=("0.parquet", "1.parquet"))
    assert stage.run(B, keep=True).account["by"] == {"1": 2, "2": 2}


def test_outputs_that_were_made_anew_have_a_new_account(stage):
    stage.run()
    assert stage.run(B, overwrite=True).account["by"] == {"2": 4}


def test_of_outputs_that_nobody_noted_it_is_known_how_many_there_are(stage):
    write_table(stage.folder / "10.parquet", pl.DataFrame({"number": [7]}))
    ended = stage.run(keep=True)
    assert (ended.uncounted, ended.account["rows"]) == (1, 3)


def test_what_settling_raises_leaves_the_outputs_and_no_record(stage):
    stage.limit = 12
    for made in (4, 0):
        with pytest.raises(ValueError, match="too many rows"):
            stage.run()
        assert stage.made == made
        assert read_record(stage.folder, "stage") is None
    stage.limit = 13
    stage.run()
    assert stage.made == 0
    assert files_below(stage.folder, logs=True) == [".provenance/stage.record", *NAMES]


def test_notes_add_up_in_the_innermost_account():
    note({"rows": 1})  # for nobody
    with noting() as outer:
        note({"rows": 1, "by": {"a": 1}})
        with noting() as inner:
            note({"rows": 5})
        note({"rows": 2, "by": {"a": 1, "b": 1}})
    assert outer == {"rows": 3, "by": {"a": 2, "b": 1}}
    assert inner == {"rows": 5}
