"""Exceptions for users' mistakes, whose text says what was found, where, and what to do.

`explain` makes one message of any exception. `cli.boundary` prints it; the traceback of a bug goes to the log, and to
the screen only under `HYDRA_FULL_ERROR=1`.
"""

import errno
import logging
import os
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Self

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException


class Problem(str):
    """A message that keeps the parts it is made of: what is wrong, where, and what to do.

    It is text wherever text is wanted. After a finding of several lines the remedy has a line of its own. `joint`
    stands between place and finding: a space where the place is the subject of the sentence.

    >>> problem = Problem("there is no such key", where="labs.lab.tme", remedy="Write time")
    >>> print(problem)
    labs.lab.tme: there is no such key. Write time
    >>> print(Problem("must be text", where="seed", joint=" "))
    seed must be text
    """

    what: str
    where: str
    remedy: str
    joint: str

    def __new__(cls, what: str, where: str = "", remedy: str = "", joint: str = ": ") -> Self:
        """Joins the parts; those that are empty are left out."""
        place = f"{where}{joint}" if where else ""
        end = "\n" if "\n" in what else ". "
        made = super().__new__(cls, f"{place}{what}{end}{remedy}" if remedy else f"{place}{what}")
        made.what, made.where, made.remedy, made.joint = what, where, remedy, joint
        return made

    def __reduce__(self) -> tuple[type["Problem"], tuple[str, ...]]:
        """What a copy is made of, in another process, too."""
        return type(self), (self.what, self.where, self.remedy, self.joint)

    @classmethod
    def of(cls, message: str) -> "Problem":
        """A message as a problem; one of plain text has no place and no remedy of its own."""
        return message if isinstance(message, cls) else cls(message)

    def below(self, where: str) -> "Problem":
        """The same problem somewhere in a block or a file."""
        return Problem(f"{self.where}{self.joint}{self.what}" if self.where else self.what, where, self.remedy)


class UserError(Exception):
    """A mistake that a user can correct: its text says what was found, where, and what to do.

    Any other exception is a bug or a machine problem. The subclasses are built-in exceptions as well, so Python
    callers can catch them as usual.

    Args:
        what: what is wrong; it may be a `Problem`, or a whole message.
        where: the place, unless `what` names it.
        remedy: what to do, as a sentence.
    """

    headline = ""
    """What `problems` have in common, where there may be several."""

    def __init__(self, what: str = "", where: str = "", remedy: str = "") -> None:
        problem = Problem(what, where, remedy) if where or remedy else Problem.of(what)
        super().__init__(problem)
        self.problems: Sequence[Problem] = (problem,)


class InputError(UserError, ValueError):
    """Settings or data have values that cannot be used."""


class WrongTypeError(UserError, TypeError):
    """A setting has a value of another type."""


class MissingInputError(UserError, FileNotFoundError):
    """A file is not there."""


class MissingColumnError(UserError, KeyError):
    """A column is not there."""


class MissingPackagesError(UserError, ImportError):
    """Packages of an extra are not installed."""


class OutputsExistError(UserError, FileExistsError):
    """Outputs are there that must not be replaced unasked."""


class NoFolderError(UserError, FileExistsError):
    """Something else is where a folder should be."""

    def __init__(self, path: object) -> None:
        what = f"A file, or a link to nothing, is where a folder should be: {path}"
        super().__init__(what, remedy="Move it away, or name another folder.")


class NoLocksError(UserError, OSError):
    """The file system cannot lock files."""


class StageError(UserError, RuntimeError):
    """A stage failed, and the text is the whole message for the user."""


ONCE_CUT = "If shard_events has run already, run it again with do_overwrite=True."
"""What more to do about a raw table of which there may be chunks."""

ITEM = "\n  - "
"""Before each item of a message that lists several problems."""


class Problems:
    """Collects what is wrong, so that a user sees all of it at once.

    >>> problems = Problems("The event file e.yaml cannot be used")
    >>> problems.add("no such key", where="labs.lab.time")
    >>> problems.raise_if_any()
    Traceback (most recent call last):
        ...
    MEDS_transforms.errors.InputError: The event file e.yaml cannot be used:
      - labs.lab.time: no such key
    """

    def __init__(self, headline: str) -> None:
        self.headline = headline
        self.found: list[str] = []

    def add(self, what: str, where: str = "", remedy: str = "") -> None:
        """Notes one problem: a message, or its parts."""
        self.found.append(Problem(what, where, remedy) if where or remedy else what)

    def raise_if_any(self, kind: type[UserError] = InputError) -> None:
        """Raises `kind` with every problem that was added, if any was."""
        if self.found:
            error = kind(ITEM.join([f"{self.headline}:", *self.found]))
            error.headline, error.problems = self.headline, [*map(Problem.of, self.found)]
            raise error


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """A hint that names the most similar known name, to append to a message; empty where none is similar.

    `cutoff`: how similar it must be, from 0 to 1.

    >>> nearest("subject_idd", ["subject_id", "time"])
    " (did you mean 'subject_id'?)"
    >>> nearest("x", ["subject_id", "time"])
    ''
    """
    similar = get_close_matches(name, [*known], n=1, cutoff=cutoff)
    return f" (did you mean {similar[0]!r}?)" if similar else ""


def listed(names: Iterable[object], limit: int = 20) -> str:
    """Names for a message, sorted, cut after `limit`.

    >>> listed(["b", "a"])
    'a, b'
    >>> listed([], 3)
    '(none)'
    """
    shown = sorted(map(str, names))
    more = f" and {len(shown) - limit} more" if len(shown) > limit else ""
    return ", ".join(shown[:limit]) + more if shown else "(none)"


def warn_of(logger: logging.Logger, what: str, where: str = "", remedy: str = "") -> None:
    """Logs a problem as a warning; the record keeps its parts, in `problem`."""
    problem = Problem(what, where, remedy)
    logger.warning("%s", problem, extra={"problem": problem})


def logged_problem(record: logging.LogRecord) -> Problem:
    """What a record of the log says, in its parts where it has them."""
    return Problem.of(getattr(record, "problem", record.getMessage()))


def not_set(*keys: str) -> Problem:
    """The message that mandatory keys have no value.

    >>> not_set("seed")
    'seed is not set. Give it in the pipeline file, or as seed=… on the command line.'
    """
    verb, it = ("is", "it") if len(keys) == 1 else ("are", "them")
    overrides = " ".join(f"{key}=…" for key in keys)
    remedy = f"Give {it} in the pipeline file, or as {overrides} on the command line."
    return Problem(f"{verb} not set", ", ".join(keys), remedy, joint=" ")


def counted(n: int, noun: str, plural: str | None = None) -> str:
    """A number and what it counts, in the singular or the plural.

    >>> counted(1, "file"), counted(2, "file"), counted(2, "retry", "retries")
    ('1 file', '2 files', '2 retries')
    """
    return f"{n:,} {noun if n == 1 else plural or f'{noun}s'}"


def is_or_are(n: int) -> str:
    """The verb that agrees with a number."""
    return "is" if n == 1 else "are"


def explain(error: BaseException) -> str:
    """The message for an exception: its own text, the remedy where the system's text has none, and its notes."""
    return "\n".join([_message(error), *_notes(error)])


def problems_in(error: BaseException) -> Sequence[Problem]:
    """What an exception says is wrong, a problem for each thing; its whole message where it lists none."""
    root, message = _root(error), _message(error)
    if _notes(error):
        return [Problem(explain(error))]
    if isinstance(root, UserError) and root.args and message == root.args[0]:
        return root.problems
    return [Problem.of(message)]


def _message(error: BaseException) -> str:
    if missing := _MISSING_VALUE.search(str(error)):
        return not_set(missing[1])
    if unknown := _UNKNOWN_OF_DATASET.search(str(error)):
        what = "is not set, and the configuration refers to it"
        return Problem(what, f"dataset.{unknown[1]}", "Set it in the file that dataset_fp names.", joint=" ")
    error = _root(error)
    refused = _refused(error)
    if not is_explained(error):
        remedy = next((words for name, words in _FAULTS.items() if name in _class_names(error)), "")
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return Problem(text, remedy=remedy)
    text = _OMEGACONF_DETAILS.sub("", str(error)) or type(error).__name__
    if refused:
        where = f": {refused.filename}" if refused.filename else ""
        found = text.rstrip(".") if isinstance(error, UserError) else f"{refused.strerror}{where}"
        return Problem(found, remedy=_REMEDIES[refused.errno or 0])
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])
    if isinstance(error, HydraException) and error.__cause__ is not None:
        return f"{text}: {explain(error.__cause__)}"
    return text


def _notes(error: BaseException) -> Sequence[str]:
    return [] if _MISSING_VALUE.search(str(error)) else getattr(_root(error), "__notes__", [])


def is_explained(error: BaseException) -> bool:
    """Whether the message of an exception is enough for the user.

    It is for mistakes in data or configuration, and where the system refuses something that the user can change.
    Anything else is a bug or a machine problem, and needs its traceback.
    """
    root = _root(error)
    configuration = HydraException | OmegaConfBaseException
    return isinstance(root, UserError | configuration | KeyboardInterrupt) or _refused(root) is not None


def _class_names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


_FAULTS = {
    "MemoryError": "There was not enough memory: use fewer workers at a time, smaller shards (n_subjects_per_shard) or "
    "smaller chunks (row_chunksize).",
    "PanicException": "polars crashed on data it cannot handle. Check the table or shard named here for unusual "
    "values, and correct or remove them.",
}


def first_line(message: str) -> str:
    """A message cut to its first line, for a list of several."""
    line, _, more = message.strip().partition("\n")
    return f"{line} …" if more else line


_MISSING_VALUE = re.compile(r"Missing mandatory value: ([\w.]+)")
_UNKNOWN_OF_DATASET = re.compile(r"Interpolation key 'dataset\.([\w.]+)' not found")
_UNSET_VARIABLE = re.compile(r"Environment variable '(\w+)' not found")
_OMEGACONF_DETAILS = re.compile(r"\n\s+(full_key|object_type|reference_type)[:=].*")


def _root(error: BaseException) -> BaseException:
    """The exception behind those that OmegaConf wraps around what a resolver raises."""
    inner = error.__cause__ or error.__context__
    if not isinstance(error, OmegaConfBaseException) or inner is None:
        return error
    if isinstance(inner, KeyError) and (unset := _UNSET_VARIABLE.search(str(inner))):
        return InputError(f"The environment variable {unset[1]}, which the configuration names, is not set.")
    return _root(inner)


def _refused(error: BaseException | None) -> OSError | None:
    """The system's refusal behind an error, if it is one that the user can fix.

    NOTE: logging hides it behind a ValueError; polars has an exception of its own with the number in its text.
    """
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        if isinstance(error, OSError) and error.errno in _REMEDIES:
            return error
        if (number := _OS_ERROR.search(str(error))) and int(number[1]) in _REMEDIES:
            return OSError(int(number[1]), os.strerror(int(number[1])))
        seen.append(error)
        error = error.__cause__
    return None


_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_REMEDIES = {
    errno.ENOSPC: "The disk is full: free some space and run the same command again; it will resume.",
    errno.EDQUOT: "The quota is used up: free some space and run the same command again; it will resume.",
    errno.EACCES: "Change the permissions of that path, or choose another folder, and run the same command again.",
    errno.EPERM: "Change the permissions of that path, or choose another folder, and run the same command again.",
    errno.ENOTDIR: "A file is where a folder should be: move it away, or choose another folder.",
    errno.ENAMETOOLONG: "The system allows no name, or path, that is so long: choose a shorter one.",
    errno.EMFILE: "Too many files are open: raise the limit (ulimit -n 65536), then run the same command again.",
    errno.ENFILE: "The computer has too many files open: end other programs, then run the same command again.",
    errno.ENOMEM: "There is not enough memory: use fewer workers at a time, or smaller shards or chunks.",
    errno.EROFS: "That file system is read-only: choose another folder, or mount it writable.",
}


def wants_trace() -> bool:
    """Whether the user asked for traces with `HYDRA_FULL_ERROR=1`."""
    return os.environ.get("HYDRA_FULL_ERROR", "0") == "1"
