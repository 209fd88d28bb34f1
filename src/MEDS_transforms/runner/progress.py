"""Tells how a run goes on: in the log which stage begins, on the screen how far it is."""

import logging
import shlex
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

from .figures import DONE, SKIPPED, Figures, Looks, Watch
from .plan import StageRun
from .processes import Children
from .screen import Screen
from .secrets import without_secrets
from .segments import Segment

logger = logging.getLogger(__name__)


@dataclass
class Progress:
    """Tells how a run goes on.

    Args:
        runs: all stages.
        again: those that are to run though they are done.
        screen: where the user sees it.
        may_hold_secrets: the configurations whose values from the environment are not to be shown.
    """

    runs: Sequence[StageRun]
    again: Container[str]
    screen: Screen
    may_hold_secrets: Sequence[object]
    looks: Looks | None = field(default=None, init=False)
    """What looks at the stages that run now."""

    def skips(self, stage: StageRun) -> bool:
        """Whether there is nothing to do for a stage; says so."""
        if skipped := self._is_done(stage):
            self.screen.end(Figures(stage.name, self._number(stage), len(self.runs), SKIPPED, (stage.name,)))
        return skipped

    @contextmanager
    def watching(self, segment: Segment, children: Children) -> Iterator[None]:
        """Shows how far the stages of a segment are, while the runner's children run them inside."""
        numbers = {stage.name: self._number(stage) for stage in segment.stages}
        looks = Looks(segment, numbers, len(self.runs), lambda: [process.pid for process in children.processes])
        self.looks, every = looks, self.screen.every
        with Watch(looks, self.screen.show, every) if every else nullcontext():
            yield

    def begin(self, segment: Segment, stage: StageRun) -> None:
        """Tells that it is a stage's turn; of the first one of a segment also the command."""
        if self.looks:
            self.looks.begin(stage.name)
            with self.looks.alone:
                self.screen.show(self.looks.look() if self.screen.every else ())
        if stage is segment.stages[0]:
            command, *others = segment.commands(segment.parallel.n_workers)
            times = f" ({len(others) + 1} processes)" if others else ""
            shown = without_secrets(shlex.join(command), *self.may_hold_secrets)
            logger.info(f"{self._numbered(stage)}{times}: {shown}")
        elif not self._is_done(stage):
            same = "processes" if segment.parallel.n_workers > 1 else "process"
            logger.info(f"{self._numbered(stage)}, in the same {same}")

    def end(self, stage: StageRun, state: str = DONE) -> None:
        """Shows the last figures of a stage."""
        if self.looks:
            with self.looks.alone:
                self.screen.end(self.looks.end(stage.name, state))

    def _is_done(self, stage: StageRun) -> bool:
        done = stage.name not in self.again and stage.done.is_set()
        if done:
            logger.info(f"{self._numbered(stage)}, is already done: skipped.")
        return done

    def _numbered(self, stage: StageRun) -> str:
        return f"Stage {self._number(stage)} of {len(self.runs)}, {stage.name}"

    def _number(self, stage: StageRun) -> int:
        return self.runs.index(stage) + 1
