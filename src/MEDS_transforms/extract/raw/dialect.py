"""How text files are written."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...work.raw_tables import split_suffix

_OTHER_SEPARATORS = {"\t": "'\\t'", ";": "';'", "|": "'|'", ",": "','"}
"""What separates fields now and then, as it is spelled in a configuration."""


@dataclass(frozen=True)
class Dialect:
    """How the rows of a text file are written.

    Args:
        separator: what stands between fields; None: a tab in `.tsv`, else a comma.
        quote: what stands around fields that hold separators or line ends, in which it is doubled; None: nothing does.
        encoding: as Python names it.
        decimal: the decimal point.
        null_values: fields that are null, as empty ones are.
    """

    separator: str | None = None
    quote: str | None = '"'
    encoding: str = "utf-8"
    decimal: str = "."
    null_values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        signs = [sign for sign in (self.separator, self.quote) if sign is not None]
        if wrong := [s for s in signs if len(s) != 1 or not s.isascii() or s in "\r\n"]:
            raise InputError(f"{wrong[0]!r} cannot be a separator or a quote: give one ASCII character, no line end.")
        if self.decimal not in (".", ","):
            raise InputError(f"decimal: {self.decimal!r} is neither '.' nor ','.")
        if len(signs) == 2 and signs[0] == signs[1]:
            raise InputError(f"{signs[0]!r} cannot be the separator and the quote at the same time.")
        try:
            "".encode(self.encoding)
        except LookupError:
            raise InputError(f"encoding: there is none called {self.encoding!r}; utf-8 and cp1252 are.") from None

    def of(self, path: Path) -> "Dialect":
        """The dialect of a file, its separator known."""
        is_tsv = split_suffix(path.name)[1].lower().startswith(".tsv")
        found = replace(self, separator=self.separator or ("\t" if is_tsv else ","))
        if found.separator == found.decimal:
            raise InputError(f"{path}: with decimal: ',' the separator must be another (separator: ';', say).")
        return found

    @property
    def options(self) -> dict[str, Any]:
        """The dialect of a file as polars' arguments."""
        return {
            "separator": self.separator,
            "quote_char": self.quote,
            "null_values": list(self.null_values) or None,
            "decimal_comma": self.decimal == ",",
        }


def separator_hint(columns: Sequence[str]) -> str:
    """What to do where a table lacks a column since its header was not separated; empty where it was.

    >>> separator_hint(["subject_id;code"])
    "Set separator: ';' in the table's block, as its rows look as if that separated them"
    >>> separator_hint(["subject_id", "code;unit"]), separator_hint(["subject_id"])
    ('', '')
    """
    if len(columns) != 1 or not (found := [sign for sign in _OTHER_SEPARATORS if sign in columns[0]]):
        return ""
    spelled = _OTHER_SEPARATORS[max(found, key=columns[0].count)]
    return f"Set separator: {spelled} in the table's block, as its rows look as if that separated them"
