"""Names that become paths: of tables, metadata tables, splits, shards and stages, wherever they come from."""

from collections.abc import Iterable

from ..errors import Problem, Problems

_FORBIDDEN = ("\\", "\0")


def wrong_with_name(name: object) -> str | None:
    """What keeps a name from being the path of a file or folder below another folder; None if nothing does.

    A name may have several parts, with `/` between them. It must not lead out of its folder, nor be hidden, since
    hidden files are the suite's own.

    >>> wrong_with_name("hosp/labs"), wrong_with_name("../labs")
    (None, "it has the part '..'")
    """
    if not isinstance(name, str):
        return f"it is {name!r}, not text"
    if not name.strip():
        return "it is empty"
    if name.startswith("/"):
        return "it is an absolute path"
    if found := [character for character in _FORBIDDEN if character in name]:
        return f"it contains {found[0]!r}"
    for part in name.split("/"):
        if not part.strip():
            return "it has an empty part"
        if part in (".", ".."):
            return f"it has the part {part!r}"
        if part.startswith("."):
            return f"its part {part!r} begins with a dot, as hidden files do"
    return None


def wrong_names(names: Iterable[object], what: str) -> list[Problem]:
    """A problem for every name that cannot be a path; `what` says what they name, such as "split"."""
    problems = []
    for name in names:
        if wrong := wrong_with_name(name):
            found = f"the name {name!r} of a {what} cannot be a path below the cohort: {wrong}"
            problems.append(Problem(found, remedy="Rename it"))
    return problems


def check_names(names: Iterable[object], what: str, where: str) -> None:
    """Raises a ValueError that lists the names which cannot be paths, if there are any."""
    problems = Problems(where)
    problems.found += wrong_names(names, what)
    problems.raise_if_any()
