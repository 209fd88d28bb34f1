"""Remarks of messages that were written for the screen, and one message of remarks."""

import re
from collections.abc import Iterable, Iterator

from ..errors import ITEM
from ..remarks import Remark, Severity

CONFIGURATION, MISSING, UNUSABLE = "configuration", "missing", "unusable"
"""Kinds of remarks that are made of messages: by the settings, of files that are not there, of others."""

_NESTED = f"\n    {ITEM[1:]}"
_WHERE = re.compile(r"((?:[^\s:]+ ?){1,5}): (?=\S)")
_NO_FILE = re.compile(
    r"there (is|are) no (/|(such )?tables?\b|files?\b|parquet|event conversion|(code )?metadata|pipeline|shards?\b)",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"\b(is|are|has|have|cannot|must|no|not|of|run)\b")
_KEY = re.compile(r"([\w]+(?:\.[\w\[\]]+)+) (?=must|is|has)")
_VERBS = (
    "Add|Build|Change|Check|Choose|Compute|Correct|Drop|Either|Finish|Free|Get|Give|Keep|Look|Make|Map|Move|Name|Put|"
    "Raise|Remove|Rename|Run|Save|Set|Sort|Start|Use|Wait|Write"
)
"""With which sentences begin that say what to do."""
_REMEDY = re.compile(rf"(?:[.;:] |, )(?=(?:{_VERBS}|{_VERBS.lower()}|If that|pip install)\b)")

_AFTER_A_RUN = re.compile(r",? and run \w+ again, with do_overwrite=True")
"""What to do where a stage has found a mistake in what another one made, which is not there yet."""


def remarks_of(message: str, stage: str = "", kind: str = "", severity: Severity = Severity.ERROR) -> Iterator[Remark]:
    r"""The mistakes that a message lists, each with where it is, what it is, and what to do, as far as its words tell.

    >>> [(r.where, r.what) for r in remarks_of("It cannot be used:\n  - labs.lab.time: no such key\n  - seed: is x")]
    [('labs.lab.time', 'no such key'), ('seed', 'is x')]
    """
    headline, *items = message.split(ITEM)
    for item in items or [headline]:
        first, *nested = item.split(_NESTED)
        within = first.partition(": ")[0] if nested else stage
        for text in nested or [first]:
            yield _remark(" ".join(text.split()), within, kind, severity)


def _remark(text: str, stage: str, kind: str, severity: Severity) -> Remark:
    found = _place(text)
    where = found[1] if found else stage
    rest = text[found.end() :] if found else text
    if found and where == stage and (inner := _place(rest)):
        where, rest = inner[1], rest[inner.end() :]
    return remark_at(where, rest, kind or kind_of(rest), severity)


def remark_at(where: str, words: str, kind: str, severity: Severity = Severity.ERROR) -> Remark:
    """A remark of what is found somewhere, in words that go on with what to do."""
    remedy = _REMEDY.search(words)
    what, to_do = (words[: remedy.start()], words[remedy.end() :]) if remedy else (words, "")
    return Remark(severity, kind, where, what.rstrip(". "), _as_sentence(_AFTER_A_RUN.sub("", to_do)))


def _as_sentence(words: str) -> str:
    return words if words.startswith("pip ") else words[:1].upper() + words[1:]


def _place(text: str) -> re.Match[str] | None:
    """What a message begins with if that is a place: a key, or a few words before a colon that are no sentence."""
    found = _WHERE.match(text)
    return None if found and _SENTENCE.search(found[1]) else found or _KEY.match(text)


def kind_of(message: str) -> str:
    """What a message of a stage is about: a file that is not there, or something else that cannot be used."""
    return MISSING if _NO_FILE.match(message) else UNUSABLE


def as_message(remark: Remark) -> str:
    """A remark as an item of a message."""
    remedy = f". {remark.remedy}" if remark.remedy else ""
    return f"{remark.where}: {remark.what}{remedy}"


def as_messages(remarks: Iterable[Remark]) -> list[str]:
    """Remarks as items of a message."""
    return [as_message(remark) for remark in remarks]
