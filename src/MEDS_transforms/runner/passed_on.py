"""What becomes of the data that the stages of a worker pass on: written or not, of which columns, and for how long."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from ..cli.script import is_packaged
from ..settings.intermediates import Intermediate
from ..settings.keys import code_modifiers
from ..work.freeing import forget_interim, free
from ..work.unwritten import is_untouched, would_replace_others

if TYPE_CHECKING:
    from ..mapreduce.handover import Makers
    from ..mapreduce.plans import Plan
    from .worker import StageAtWork


@dataclass(frozen=True)
class PassedOn:
    """The intermediate data of a pipeline, by the stage that makes them.

    NOTE: what needs polars is imported in its methods: polars must find its number of threads.
    """

    data: Mapping[str, Intermediate]

    def as_kept(
        self, plan: "Plan", stage: "StageAtWork", together: Sequence["StageAtWork"], left: Sequence["StageAtWork"]
    ) -> "Plan":
        """The plan of a stage as one that is written or not.

        What is not kept is not written, if all that read it are stages of this worker that can do without files. They
        get what is made as it is read; where that takes long, and some are not in this pass, it is made once. Where
        there are files already, these count, or are overwritten, as anywhere else.

        Args:
            plan: the work of the stage.
            stage: the stage.
            together: the stages of its pass.
            left: all that the worker is to run from this pass on.
        """
        from ..mapreduce.interim import interims

        data = self.data.get(stage.name)
        if not data or data.is_kept or not (plan.frames or plan.instead) or not is_untouched(plan.outputs):
            return plan
        shared = {other.name for other in together}
        if not data.readers <= shared | {other.name for other in left if _can_do_without_files(other, plan)}:
            return plan
        if plan.instead:  # with other settings it is refused before it reads all tables
            return plan if would_replace_others(plan.outputs) else replace(plan, is_written=False)
        is_made_once = not (data.readers <= shared or (stage.planned and stage.planned.cheap))

        def frames(columns: Sequence[str]) -> "Makers":
            made = plan.frames
            if columns:
                made = {path: partial(make, columns=columns) for path, make in made.items()}
            return interims(made, data.folder, stage.name, plan.outputs.rows_by(columns)) if is_made_once else made

        return replace(plan, frames=frames(self._needed(stage, left)), whole_frames=frames(()), is_written=False)

    def _needed(self, stage: "StageAtWork", left: Sequence["StageAtWork"]) -> list[str]:
        """The columns of a stage's data that are needed, whatever others there are; none: all may be."""
        from ..dataset.schema import MANDATORY_COLUMNS

        others = self._needed_others(stage.name, left)
        if others is None:
            return []
        return [*dict.fromkeys([*MANDATORY_COLUMNS, *(code_modifiers(stage.cfg) or ()), *sorted(others)])]

    def _needed_others(self, name: str, left: Sequence["StageAtWork"]) -> Set[str] | None:
        """The columns of a stage's data that matter, and that not every MEDS file has; None: all may."""
        stages, needed = {stage.name: stage for stage in left}, set[str]()
        for reader in self.data[name].readers:
            what = stages[reader].others if reader in stages else None
            if what is None or what.needed is None:
                return None
            needed |= what.needed
            if not what.are_passed_on:
                continue
            is_kept = reader not in self.data or self.data[reader].is_kept
            further = None if is_kept else self._needed_others(reader, left)
            if further is None:
                return None
            needed |= further
        return needed

    def free_read(self, ended: Set[str], unwritten: Set[str]) -> None:
        """Removes what is not kept and has been read by all that do, given the stages that have ended.

        Also what a run has left that did not keep what is kept now, and was interrupted.
        """
        for name, data in self.data.items():
            if name in ended and data.is_kept:
                forget_interim(data.folder, name)
            elif name in ended and self._is_read(name, ended, unwritten):
                free(data.folder, name)

    def _is_read(self, name: str, ended: Set[str], unwritten: Set[str]) -> bool:
        """Whether all have ended that read what is not kept, also by way of stages that are not written."""
        return all(
            reader in ended and (reader not in unwritten or self._is_read(reader, ended, unwritten))
            for reader in self.data[name].readers
        )


def _can_do_without_files(reader: "StageAtWork", plan: "Plan") -> bool:
    """Whether a stage can read what another one does not write."""
    return is_packaged(reader.module) if plan.instead else reader.planned is not None
