"""The end of a stage in a folder: its record, and what goes when that is written."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from .accounts import Account, added_up, in_order
from .decisions import Asked
from .environment import RUN
from .files import clear_scratch, lock_path, make_folder, publish, try_lock
from .output_folder import OutputFolder
from .provenance import Maker, Record, Units, read_record, record_path, still_kept, write_record
from .runs import Generation, Run


@dataclass(frozen=True)
class Ended:
    """A stage all of whose units are done: what it has made, from what, and what became of the rows of all units."""

    maker: Maker
    folder: Path
    outputs: Units
    account: Account = field(default_factory=dict)
    uncounted: int = 0
    """The outputs that are kept, and have no account."""

    @property
    def files(self) -> list[Path]:
        """The outputs, sorted."""
        return sorted(self.folder / name for files in self.outputs.values() for name in files)


@dataclass(frozen=True)
class Closing:
    """What becomes of a stage when all of it is done.

    Args:
        files: the folder of its outputs.
        run: its run there.
        watched: files whose content is among the settings, with their checksums.
        settle: called just before the record is written. What it raises leaves the stage unfinished and its outputs as
            they are, so that another attempt begins with it.
        unsettle: called where the outputs are not written: takes back what `settle` once said of them.
    """

    files: OutputFolder
    run: Run
    watched: Mapping[str, str]
    settle: Callable[[Ended], object]
    unsettle: Callable[[], object]

    @property
    def record_fp(self) -> Path:
        """Where the record is."""
        return record_path(self.files.path, self.files.stage)

    @property
    def record(self) -> Record | None:
        """The record that is there."""
        return read_record(self.files.path, self.files.stage)

    def try_to_record(
        self, asked: Asked, generation: Generation, outputs: Units, accounts: Mapping[str, Account]
    ) -> bool:
        """Writes the record and ends the run, unless another worker is just doing that; gives whether it did."""
        with try_lock(lock_path(self.record_fp)) as ours:
            if ours:
                if self.run.is_in_force(generation):
                    self._end_run(asked, generation, outputs, accounts)
                lock_path(self.record_fp).unlink(missing_ok=True)
        return ours

    def _end_run(self, asked: Asked, generation: Generation, outputs: Units, accounts: Mapping[str, Account]) -> None:
        kept = still_kept(generation.origins, generation.kept, outputs)
        counted = {unit: accounts[unit] for unit in in_order(outputs) if accounts.get(unit)}
        record = Record(asked.maker, outputs, dict(self.watched), self._own_folder, kept, counted)
        former, ours = self.record, set(record.files)
        self.files.remove((self.run.all_files() | set(former.files if former else ())) - ours)
        if generation.overwrites:
            self.files.remove_superseded(ours)
        self.files.refuse(self.files.there() - ours)
        of_others = {name for files in kept for name in files.files}
        uncounted = sum(len(of_others & files.keys()) for unit, files in outputs.items() if unit not in counted)
        self.settle(Ended(asked.maker, self.files.path, outputs, added_up(counted.values()), uncounted))
        write_record(self.files.path, self.files.stage, record)
        if asked.overwrite and RUN in os.environ:
            mark = self._launch_mark()
            mark.parent.mkdir(exist_ok=True)
            publish(mark, lambda scratch: scratch.write_text(os.environ[RUN], encoding="utf-8"))
        self.run.end()

    def leave_no_files(self, maker: Maker, account: Account) -> None:
        """Records what makes the outputs, which are not kept and were not written, and tells what there is to tell."""
        record = Record(maker, {}, dict(self.watched), self._own_folder, freed=True)
        make_folder(self.record_fp.parent)
        with try_lock(lock_path(self.record_fp), wait=True):
            former = self.record
            if former is None or (former.freed and not former.made_by.is_same_as(maker)):
                self.unsettle()
            if former is None or (former.freed and former != record):
                if account:
                    self.settle(Ended(maker, self.files.path, {}, account))
                write_record(self.files.path, self.files.stage, record)
            lock_path(self.record_fp).unlink(missing_ok=True)

    def clear_away(self) -> None:
        """Removes what a worker left that was killed just after it had written the record."""
        self.run.clear_away()
        clear_record(self.files.path, self.files.stage)

    def overwritten_by_this_launch(self) -> bool:
        """Whether the outputs were overwritten last by the launch that this worker belongs to."""
        with suppress(OSError):
            return self._launch_mark().read_text(encoding="utf-8") == os.environ.get(RUN)
        return False

    def _launch_mark(self) -> Path:
        """Where the launch is named that overwrote the outputs last, so that its late workers do not do it again."""
        return self.files.path / ".logs" / f".{self.files.stage}.overwritten_by"

    @property
    def _own_folder(self) -> str | None:
        return self.files.name(self.files.own) if self.files.own else None


def clear_record(folder: Path, stage: str) -> None:
    """Removes what a worker left beside the record of a stage that was killed as it wrote it, or came to write it."""
    path = record_path(folder, stage)
    if lock_path(path).exists():
        with try_lock(lock_path(path)) as ours:
            if ours:
                clear_scratch(path)
                lock_path(path).unlink(missing_ok=True)
