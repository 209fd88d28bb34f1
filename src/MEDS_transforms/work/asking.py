"""A stage is run only to know what it would make: it is led out again before it does anything.

So it is for stages that say what they are to do nowhere but in the course of their work.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from .claims import Unit

if TYPE_CHECKING:
    from .outputs import StageOutputs

_asks: ContextVar[bool] = ContextVar("asks", default=False)


class Answer(BaseException):
    """Leads out of the stage, with its outputs and the units of work that make them.

    NOTE: not an Exception, since stages may handle these.
    """

    def __init__(self, outputs: "StageOutputs", units: Sequence[Unit]) -> None:
        super().__init__()
        self.outputs, self.units = outputs, units


@contextmanager
def asking() -> Iterator[None]:
    """Inside, a stage that comes to its work raises `Answer`."""
    token = _asks.set(True)
    try:
        yield
    finally:
        _asks.reset(token)


def answer_if_asked(outputs: "StageOutputs", units: Sequence[Unit]) -> None:
    """Raises `Answer` where the stage is run for that alone."""
    if _asks.get():
        raise Answer(outputs, units)
