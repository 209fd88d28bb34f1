"""Which stage is at work, of several that one process runs: what is noted and logged is about that one."""

from contextvars import ContextVar

_stage: ContextVar[str] = ContextVar("stage at work", default="")


def turn_to(stage: str) -> None:
    """From now on, in this thread, notes and logs are about this stage."""
    _stage.set(stage)


def stage_at_work() -> str:
    """The stage that is at work in this thread; nothing where the process runs just one."""
    return _stage.get()
