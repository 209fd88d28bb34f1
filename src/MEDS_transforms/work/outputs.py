"""The outputs of a stage in a folder: which of them count as done, and the run in which workers make the others.

An output counts as done if it is noted, in the record of the finished stage or by a worker of the run, and still is as
it was noted. Where settings, inputs or version differ from those that the record, or the run, was made by, nothing
is done before somebody says what is to become of what is there: `do_overwrite` or `keep_existing`.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from ..errors import OutputsExistError
from .accounts import Account, added_up, noting
from .asking import answer_if_asked
from .claims import Staged, Unit, nothing
from .closing import Closing, Ended
from .decisions import Asked, Found, decide, what_is_kept
from .environment import RUN
from .expected import Expected
from .files import is_complete, make_folder
from .fingerprints import fingerprint
from .journal import is_noted_as_ended
from .output_folder import OutputFolder
from .provenance import Maker, OutputFile, Units, has_begun, rows_in
from .runs import Generation, Noted, Notes, Run
from .sources import Inputs
from .staying import pauses, stays

logger = logging.getLogger(__name__)


class StageOutputs:
    """The outputs of one stage, as one worker sees them.

    Args:
        folder: where the record is; names in it are paths from here.
        stage: the name of the stage.
        asked: what made the outputs that count, and what becomes of others.
        own_folder: a folder in which no files but the stage's outputs may be, since all that is in it is read by later
            stages; None where the stage writes single files to a folder of several stages.
        watched: files whose content is among the settings.
        count_rows: the rows of each of some parquet files.
        others: the folders that the other stages of the pipeline write to. What one of them made elsewhere, before the
            pipeline was changed, may be overwritten.
        settle: called by the worker that is to write the record, just before it does. What it raises leaves the stage
            unfinished and its outputs as they are, so that another attempt begins with it.
        inputs: what the stage reads; default: nothing that could change, or be missing.
        unsettle: called where the outputs are not written: takes back what `settle` once said of them.
    """

    def __init__(
        self,
        folder: Path,
        stage: str,
        asked: Asked,
        own_folder: Path | None = None,
        watched: Sequence[Path] = (),
        count_rows: Callable[[Sequence[Path]], Sequence[int]] | None = None,
        others: Mapping[str, Sequence[Path]] | None = None,
        settle: Callable[[Ended], object] = lambda _: None,
        unsettle: Callable[[], object] = nothing,
        inputs: Inputs | None = None,
    ) -> None:
        self.inputs = inputs or Inputs({}, folder)
        self.folder, self.stage, self.asked = folder, stage, asked
        self.files = OutputFolder(folder, stage, own_folder, others, count_rows)
        here = folder.resolve()
        checks = {os.path.relpath(path.resolve(), here): fingerprint(path, whole=True).check for path in watched}
        self.run = Run(folder, stage)
        self.closing = Closing(self.files, self.run, checks, settle, unsettle)
        self.generation: Generation | None = None
        self._names: list[str] = []
        self._done: Units = {}
        self._accounts: dict[str, Account] = {}
        self._notes = Notes(self.run.path, "")
        self._outputs: dict[str, Sequence[Path]] = {}
        self._came_too_late = False

    def unit(
        self,
        claim_fp: Path,
        make: Callable[[Path], Staged],
        source: object,
        existing: Callable[[], Sequence[Path]] | None = None,
        outputs: Sequence[Path] | None = None,
    ) -> Unit:
        """A unit of work of the stage; see `claims.Unit`.

        `source` is the file or folder that the outputs are made from, or words for it where there are several.
        `outputs` are all that it makes, by default the one at `claim_fp`: what is kept of these is not replaced. Where
        they are known only once they are made, `existing` gives those that are there, whatever made them, or nothing
        if they are not all there.
        """
        name = self.files.name(claim_fp)
        if existing is None:
            self._outputs[name] = outputs or [claim_fp]

        def make_missing(folder: Path) -> Staged:
            with noting() as noted:  # of the rows that it reads and that were not written
                staged = make(folder)
            kept = self._kept(name)
            files = {path: finished for path, finished in staged.files.items() if self.files.name(path) not in kept}
            return Staged(files, added_up([staged.account, noted]))

        def note(staged: Staged) -> int | None:
            path = os.path.relpath(source.resolve(), self.folder.resolve()) if isinstance(source, Path) else ""
            return self._note(name, staged, path)

        return Unit(
            claim_fp,
            is_done=lambda: self.is_done(name),
            make=make_missing,
            source=source,
            note=note,
            existing=existing or (lambda: [path for path in self._outputs[name] if is_complete(path)]),
        )

    def is_done(self, unit: str) -> bool:
        """Whether the outputs of a unit are there as they were noted, or were until they were freed."""
        if unit not in self._done:
            for files, _, account in self._noted(unit):
                if self._are_all(unit, files) and self.files.has_all(files):
                    self._done[unit], self._accounts[unit] = files, account
        return unit in self._done or self._were_freed()

    def _were_freed(self) -> bool:
        """Whether other workers have ended the run, and its outputs were read by all that do and removed."""
        if self.generation is None:
            return self._came_too_late
        if has_begun(self.run.path):
            return False
        record = self.closing.record
        return bool(record and record.freed and record.made_by.is_same_as(self.asked.maker))

    def _are_all(self, unit: str, files: Mapping[str, OutputFile]) -> bool:
        """Whether files are all that a unit makes, as far as that is known before."""
        return all(self.files.name(path) in files for path in self._outputs.get(unit, ()))

    def _kept(self, unit: str) -> dict[str, OutputFile]:
        """The files of a unit that are kept, where it is known which files it makes."""
        if self.generation is None or unit not in self._outputs:
            return {}
        kept = self.generation.kept.get(unit, {})
        return {name: file for name, file in kept.items() if file.is_at(self.folder, name)}

    def outlook(self, units: Sequence[Unit]) -> bool:
        """Whether all outputs are done, and there is nothing to do; nothing is changed.

        Raises:
            UserError: no worker could take part in the run of the stage, as for `joined`.
        """
        names = [self.files.name(unit.claim_fp) for unit in units]
        if not self.run.path.is_dir() and self._is_finished(names):
            return True
        self.inputs.check_there(self.asked.maker.inputs)
        generation = self.run.generation()
        made = self._made(generation) if generation else {}
        decide(self.asked, Found(self.closing.record, generation, self.run.others_at_work, self._unknown(units), made))
        return False

    @contextmanager
    def being_made(self, units: Sequence[Unit]) -> Iterator[None]:
        """Takes part in the run of the stage; at its end, once all units are done, writes the record.

        Raises:
            FileExistsError: see `decide`; or there are files that the stage did not make.
        """
        answer_if_asked(self, units)
        with self.joined(units):
            yield
            self.finish()

    @contextmanager
    def joined(self, units: Sequence[Unit]) -> Iterator[None]:
        """Takes part in the run of the stage, which somebody is to `finish`.

        Raises:
            FileExistsError: see `decide`; or there are files that the stage did not make.
        """
        self._names = names = [self.files.name(unit.claim_fp) for unit in units]
        if not self.run.path.is_dir() and self._is_finished(names):
            yield
            return
        self.inputs.check_there(self.asked.maker.inputs)
        unknown = self._unknown(units)
        while True:
            with self.run.taking_part():
                if not self._joined(unknown, names):
                    continue
                try:
                    yield
                except BaseException:
                    self._end_if_nothing_was_made()
                    raise
                return

    def finish(self) -> None:
        """Writes the record, if all units are done; several workers may find that they are the last.

        A worker that stays returns when it is written, by whomever.

        Raises:
            FileExistsError: other inputs than expected have made what was there already.
        """
        if not all(self.is_done(name) for name in self._names):
            return
        if not self.asked.maker.is_whole and (self.generation is None or self.run.is_in_force(self.generation)):
            self.asked = replace(self.asked, maker=self.completed_maker())
            if self.was_finished:
                self._check_what_was_there()
        if self.generation is None:
            self.closing.clear_away()
            return
        waits = pauses()
        while self.run.is_in_force(self.generation) and not self._recorded(self.generation) and stays():
            next(waits)

    def _recorded(self, generation: Generation) -> bool:
        outputs = {name: dict(self._done[name]) for name in self._names}
        return self.closing.try_to_record(self.asked, generation, outputs, self._accounts)

    def completed_maker(self) -> Maker:
        """What makes the outputs, with all that is known of the inputs by now."""
        return replace(self.asked.maker, inputs=self.inputs.described()) if self.inputs.sources else self.asked.maker

    def rows_by(self, columns: Sequence[str]) -> str:
        """A text that differs where the rows of outputs may, of these columns.

        With `do_overwrite` it differs from launch to launch.
        """
        launch = os.environ.get(RUN, "") if self.asked.overwrite else ""
        return json.dumps([self.asked.maker.digest, launch, *columns])

    def expected(self) -> Expected:
        """The outputs, for a stage that is planned before they are there."""
        paths = frozenset(path for outputs in self._outputs.values() for path in outputs)
        return Expected(self.files.own or self.folder, self.stage, self.asked.maker.digest, paths)

    def _check_what_was_there(self) -> None:
        """Raises a FileExistsError where the record is about other input files than those that were expected."""
        record = self.closing.record
        if record and not record.made_by.is_same_as(self.asked.maker):
            decide(self.asked, Found(record))

    @property
    def was_finished(self) -> bool:
        """Whether all was done before this worker came."""
        return self.generation is None

    def _is_finished(self, names: Sequence[str]) -> bool:
        """Whether a finished run of the same maker has left all outputs as they must be.

        Or other workers of this launch have ended it, and freed them since.
        """
        record = self.closing.record
        if record is None or not record.made_by.is_same_as(self.asked.maker):
            return False
        if self.asked.overwrite and not self.closing.overwritten_by_this_launch():
            return False
        if record.freed:
            self._came_too_late = bool(record.files) and is_noted_as_ended(self.stage)
            return self._came_too_late
        self._done = {unit: files for unit, files in record.outputs.items() if self.files.has_all(files)}
        return self._done.keys() == set(names) and not self.files.there() - set(record.files)

    def _joined(self, unknown: Units, names: Sequence[str]) -> bool:
        """Joins the run, begins it, or finds all done; False if another worker came first, or ended the run just now.

        NOTE: the record is read after the run, which ends after its record is written. Otherwise a worker that comes
        just as another one ends the run would find neither, and make all outputs again.
        """
        generation = self.run.generation()
        if generation is None and self._is_finished(names):
            return True
        record = self.closing.record
        made = self._made(generation) if generation else {}
        found = Found(record, generation, self.run.others_at_work, unknown, made)
        try:
            generation = decide(self.asked, found)
        except OutputsExistError as error:
            [problem] = error.problems
            raise OutputsExistError(problem.what, f"{self.stage}, {self.folder}", problem.remedy) from None
        if found.generation is not generation:
            if not self.run.begin(generation):
                return False
            if generation.origins:
                logger.warning("%s, %s: %s", self.stage, self.folder, what_is_kept(generation))
        self.generation, self._done, self._notes = generation, {}, self.run.notes(generation)
        self._accounts = {}
        return self.run.takes_part

    def _made(self, generation: Generation) -> dict[str, Noted]:
        """The outputs of a run that are there as they were noted."""
        return {
            unit: noted
            for unit, alternatives in self.run.notes(generation).units.items()
            for noted in alternatives
            if self.files.has_all(noted.files)
        }

    def _noted(self, unit: str) -> Iterator[Noted]:
        if self.generation is None:
            return
        if unit in self.generation.kept:
            yield Noted(self.generation.kept[unit], account=self.generation.accounts.get(unit, {}))
        self._notes.read_on()
        yield from self._notes.units.get(unit, [])
        if not self.run.path.is_dir():  # another worker has ended the run, so that all is in the record
            record = self.closing.record
            if record and record.made_by.is_same_as(self.asked.maker) and unit in record.outputs:
                yield Noted(record.outputs[unit], account=record.accounts.get(unit, {}))

    def _unknown(self, units: Sequence[Unit]) -> Units:
        """The outputs of units that are there and were never noted.

        NOTE: what is there is listed first, what is noted read after it, since outputs are noted before they appear.

        Raises:
            FileExistsError: there are files of another stage, or which the stage does not make.
        """
        there, known = self.files.there(units), self.run.all_files()
        if record := self.closing.record:
            known |= set(record.files)
        if not (unlisted := there - known):
            return {}
        running = self.run.generation()
        overwrites = self.asked.overwrite or (running is not None and running.overwrites)
        return self.files.unknown(unlisted, units, overwrites)

    def _end_if_nothing_was_made(self) -> None:
        """After a failure, leaves no run behind that has made nothing: what it was to make does not matter then."""
        if self.generation is None:
            return
        with suppress(OSError):
            if not self.run.notes(self.generation).units and not self.run.others_at_work():
                self.run.end()

    def _note(self, unit: str, staged: Staged, source: str) -> int | None:
        """Notes the outputs of a unit just before they get their names; gives the rows in them, where that is known.

        Raises:
            FileExistsError: a newer run has started meanwhile.
        """
        assert self.generation is not None
        in_force = self.run.generation()
        if in_force is None and self._were_freed():
            raise OutputsExistError(
                f"{self.stage}, {self.folder}: ended by other workers meanwhile; this worker's output was discarded."
            )
        if in_force is None:  # ended by a worker that failed just when this one came
            make_folder(self.run.path)
            self.run.begin(self.generation)
            in_force = self.run.generation()
        if in_force is None or in_force.token != self.generation.token:
            raise OutputsExistError(
                f"{self.stage}, {self.folder}: a newer run has started; this worker's output was discarded."
            )
        files = self.files.described({self.files.name(final): path for final, path in staged.files.items()})
        self.run.note(self.generation, unit, Noted(self._kept(unit) | files, source, staged.account))
        return rows_in(files)
