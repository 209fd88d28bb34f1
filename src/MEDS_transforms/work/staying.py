"""Whether a worker stays with a stage until all of it is done, because it goes on with the next stage afterwards.

The script of one stage ends when there is nothing more for it to do, though other workers may still be at work. A
worker that runs several stages stays: it does what others leave undone, and waits for what they hold.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 1.0

_stays: ContextVar[bool] = ContextVar("stays", default=False)


def stays() -> bool:
    """Whether this worker stays with each stage until all of it is done."""
    return _stays.get()


@contextmanager
def staying() -> Iterator[None]:
    """Stays with the stages that run inside."""
    token = _stays.set(True)
    try:
        yield
    finally:
        _stays.reset(token)


def pauses(longest: float = _LONGEST_PAUSE) -> Iterator[float]:
    """Sleeps before each step: a moment at first, up to a second or `longest` later; gives the seconds so far."""
    began, pause = time.monotonic(), _FIRST_PAUSE
    while True:
        time.sleep(min(pause, longest, _LONGEST_PAUSE))
        yield time.monotonic() - began
        pause *= 2
