"""Files that appear under their names whole or not at all.

NOTE: this module imports nothing heavy; the runner, which never needs polars, publishes files too.
"""

import errno
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, NoFolderError, NoLocksError

if TYPE_CHECKING:
    from filelock import BaseFileLock

_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a file system answers that cannot lock files."""
_PARQUET_MAGIC = b"PAR1"
_SMALLEST_PARQUET = 12  # two magic words and the length of the footer


def scratch_path(path: Path) -> Path:
    """The folder in which `path` is made before it gets its place: hidden, beside it."""
    return path.with_name(f".tmp.{path.name}")


def clear_scratch(path: Path) -> None:
    """Removes what a killed process left of an unfinished `path`, or a failed write did."""
    if not os.path.lexists(scratch_path(path)):
        return
    if scratch_path(path).is_symlink():  # not ours, whatever it leads to
        scratch_path(path).unlink()
    with suppress(FileNotFoundError, NotADirectoryError):
        shutil.rmtree(scratch_path(path))
    scratch_path(path).unlink(missing_ok=True)


def lock_path(path: Path) -> Path:
    """The hidden file beside `path` whose lock is the claim on it."""
    return path.with_name(f".{path.name}.lock")


def new_lock(lock_fp: Path) -> "BaseFileLock":
    """A lock of the operating system's on a file, never a mere marker file, which would outlive its process."""
    from filelock import FileLock  # not above: --help needs no lock, and would wait for the import

    return FileLock(lock_fp, fallback_to_soft=False)


def _no_locks(lock_fp: Path, error: Exception) -> NoLocksError:
    return NoLocksError(
        f"The file system of {lock_fp.parent} cannot lock files ({error}), so that workers cannot share "
        "their work there. Choose a folder on another file system, or have it mounted with locks (NFS 4, Lustre "
        "with `flock`)."
    )


@contextmanager
def try_lock(lock_fp: Path, wait: bool = False) -> Iterator[bool]:
    """Tries to lock a file, which is made if need be; gives whether the lock is ours. Never waits, unless told to."""
    from filelock import Timeout

    lock = new_lock(lock_fp)
    try:
        _acquire(lock, lock_fp, wait)
    except Timeout:
        yield False
        return
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _WITHOUT_LOCKS:
            raise
        raise _no_locks(lock_fp, error) from error
    try:
        yield True
    finally:
        lock.release()


def _acquire(lock: "BaseFileLock", lock_fp: Path, wait: bool) -> None:
    """NOTE: filelock makes the folder, and fails where another worker removes it just then."""
    while True:
        try:
            lock.acquire(blocking=wait)
            return
        except FileExistsError:
            make_folder(lock_fp.parent)


def is_claimed(path: Path) -> bool:
    """Whether a process, here or on another machine, holds the claim on `path` just now.

    NOTE: to find out, the claim is taken for a moment. A worker that wants it just then continues with its next unit.
    """
    if not lock_path(path).exists():
        return False
    with try_lock(lock_path(path)) as ours:
        return not ours


def relative_name(path: Path, folder: Path) -> str:
    """The path from a folder to a file, also to one outside of it; quick where it is below.

    >>> relative_name(Path("/a/b/c"), Path("/a")), relative_name(Path("/a/b"), Path("/a/c"))
    ('b/c', '../b')
    """
    text, prefix = os.fspath(path), f"{os.fspath(folder)}{os.sep}"
    name = text[len(prefix) :] if text.startswith(prefix) else os.path.relpath(text, folder)
    return name.replace(os.sep, "/")


def files_below(folder: Path, apart_from: Iterable[Path] = ()) -> Iterator[Path]:
    """Every file below a folder, but for what is hidden (logs, locks, unfinished files) and for folders left out.

    Links to folders are followed, each folder once.

    NOTE: other workers may remove folders meanwhile, over which `Path.rglob` stumbles.
    """
    left_out, visited = set(apart_from), {os.path.realpath(folder)}
    for at, subfolders, names in os.walk(folder, followlinks=True):
        here = Path(at)
        subfolders[:] = [name for name in subfolders if not name.startswith(".") and here / name not in left_out]
        for name in [name for name in subfolders if (here / name).is_symlink()]:
            if (real := os.path.realpath(here / name)) in visited:
                subfolders.remove(name)
            visited.add(real)
        yield from (here / name for name in names if not name.startswith("."))


def read_json(path: Path) -> Any:
    """The content of a JSON file, which must be UTF-8.

    Raises:
        ValueError: it is not JSON, a key of an object repeats, or values are nested by the thousand.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            repeated = next(key for key in content if [k for k, _ in pairs].count(key) > 1)
            raise InputError(f"the key {repeated!r} repeats")
        return content

    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique)
    except RecursionError:
        raise InputError("its values are nested too deeply") from None


def make_folder(path: Path) -> None:
    """Makes a folder and those above it, where they are not there.

    Raises:
        FileExistsError: something else is there.

    NOTE: `mkdir` itself fails where a folder is there that another worker removes just then, and may make again. It
    takes ten times as long as a look.
    """
    while not path.is_dir():
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            with suppress(FileNotFoundError):
                if not stat.S_ISDIR(path.lstat().st_mode):
                    raise NoFolderError(path) from None


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """A new hidden folder beside `path`, in which it is made; removed at the end, with what a killed process left.

    NOTE: a folder, since libraries that write files may have temporary ones of their own beside them (safetensors).
    """
    make_folder(path.parent)
    clear_scratch(path)
    scratch_path(path).mkdir()
    try:
        yield scratch_path(path)
    finally:
        with suppress(OSError):
            clear_scratch(path)


def link_or_copy(source: Path, path: Path) -> None:
    """Gives the content of a file a second name: as a link, where the file system has links; it replaces what is there.

    NOTE: no link to a link, which would lead nowhere from another folder.
    """
    path.unlink(missing_ok=True)
    try:
        os.link(os.path.realpath(source), path)  # the same bytes under both names: files are replaced, never changed
    except OSError:
        shutil.copyfile(source, path)


def remove_empty_folders(folder: Path, names: Iterable[str]) -> None:
    """Removes the folders that are empty, of those below a folder in which files of these names were."""
    for path in {folder / name for name in names}:
        with suppress(OSError):
            for parent in path.parents:
                if parent == folder or folder not in parent.parents:
                    break
                parent.rmdir()


def publish(path: Path, write: Callable[[Path], object]) -> None:
    """Has `write` make a file of the same name in a scratch folder and moves it to `path`: readers see all or nothing.

    On failure what was at `path` stays.
    """
    with scratch_folder(path) as folder:
        scratch = folder / path.name
        write(scratch)
        scratch.replace(path)


def is_complete_parquet_file(fp: Path) -> bool:
    """Whether the file is there and begins and ends as a whole parquet file does."""
    try:
        with Path(fp).open("rb") as file:
            size = file.seek(0, 2)
            if size < _SMALLEST_PARQUET:
                return False
            file.seek(-8, 2)
            tail = file.read(8)
            file.seek(0)
            return (
                file.read(4) == tail[4:] == _PARQUET_MAGIC
                and int.from_bytes(tail[:4], "little") <= size - _SMALLEST_PARQUET
            )
    except OSError:
        return False


def is_complete(path: Path) -> bool:
    """Whether an output is there: a whole parquet file, or any file of another kind."""
    return is_complete_parquet_file(path) if path.suffix == ".parquet" else path.is_file()
