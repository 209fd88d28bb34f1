"""What a script asks of its process: output that may break, enough open files, no needless garbage collection."""

import gc
import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_ENOUGH_FILES = 65_536


class _Forgiving(io.FileIO):
    """A file that ignores failed writes."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except OSError:
            return memoryview(data).nbytes


def forgive_broken_output() -> None:
    """Lets the work continue where nobody reads the output any more (`| head`), or its disk is full.

    NOTE: only where the output is the process's own; whoever has put another stream in its place takes care of it.
    """
    logging.raiseExceptions = False  # nor does a log on a full disk
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not getattr(sys, f"__{name}__") or isinstance(getattr(_buffer(stream), "raw", None), _Forgiving):
            continue
        forgiving = _forgiving(stream)
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is stream and stream is not None:
                handler.setStream(forgiving)
        setattr(sys, name, forgiving)
        setattr(sys, f"__{name}__", forgiving)


def _forgiving(stream: Any) -> io.TextIOWrapper:
    """A stream to the same file; to nowhere, where the output was closed before the process began.

    What its encoding lacks, and the bytes of file names that are not UTF-8, become escapes, as on stderr.
    """
    if stream is None:
        return Path(os.devnull).open("w", encoding="utf-8")
    with suppress(OSError):
        stream.flush()
    writer = io.BufferedWriter(_Forgiving(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(
        writer,
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _buffer(stream: Any) -> Any:
    return getattr(stream, "buffer", None)


def raise_file_limit() -> None:
    """Lets the process open as many files as the system allows: the usual limit, 1,024, is meant for other programs."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = _ENOUGH_FILES if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH_FILES)
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def begun() -> None:
    """Ends `beginning`: what is imported and composed lives as long as the process; no collection need visit it."""
    gc.freeze()  # nor does the end of the process
    gc.enable()


@contextmanager
def beginning() -> Iterator[None]:
    """No garbage is collected inside, up to `begun`: a tenth of a script's time to its first line of work."""
    gc.disable()
    try:
        yield
    finally:
        begun()
