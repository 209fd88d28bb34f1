"""What several stages look at before a run is read once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

_found: ContextVar[dict[object, Any] | None] = ContextVar("found", default=None)


@contextmanager
def remembering() -> Iterator[None]:
    """What `once` makes inside is made once."""
    token = _found.set({})
    try:
        yield
    finally:
        _found.reset(token)


def once(key: object, make: Callable[[], T]) -> T:
    """What `make` gives; inside of `remembering`, what it gave the first time for this key."""
    found = _found.get()
    if found is None:
        return make()
    if key not in found:
        found[key] = make()
    value: T = found[key]
    return value
