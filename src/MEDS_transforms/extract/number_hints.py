"""What to write in an event conversion file so that texts that are no numbers become some."""

import re
from collections.abc import Iterable

_SIGN = r"\s*(?:[<>≤≥=~]|<=|>=)\s*"
_COMMA = r"[+-]?\d*,\d+"
_BETWEEN = r"[ '’\u00a0\u202f]"
_THOUSANDS = (
    rf"[+-]?\d{{1,3}}(?:{_BETWEEN}\d{{3}})+(?:[.,]\d+)?",
    r"[+-]?\d{1,3}(?:,\d{3}){2,}",
    r"[+-]?\d{1,3}(?:,\d{3})+\.\d+",
    r"[+-]?\d{1,3}(?:\.\d{3}){2,}",
    r"[+-]?\d{1,3}(?:\.\d{3})+,\d+",
)
_HINTS = {
    "|".join(_THOUSANDS): "Remove the thousands separators from the table",
    rf"\s*{_COMMA}\s*": "Set decimal: ',' in the block of the table",
    rf"{_SIGN}{_COMMA}\s*": "Set decimal: ',' and numbers: lenient in the block of the table",
    rf"{_SIGN}[+-]?(?:\d+\.?\d*|\.\d+)\s*": "Set numbers: lenient in the block of the table",
    r"[<>]?\s*[+-]?\d+(?:[.,]\d+)?\s*[^\d\s.,:/-].*": (
        "Use text_value, which keeps texts, since units or other words are behind the numbers"
    ),
}
"""By what texts look like; the first that one of them does counts."""
_OTHERWISE = "Use text_value, which keeps texts, or name a column of numbers"


def number_hint(texts: Iterable[str]) -> str:
    """What to do about texts that are no numbers, by what they look like.

    >>> number_hint(["11,3"]), number_hint(["<5"])
    ("Set decimal: ',' in the block of the table", 'Set numbers: lenient in the block of the table')
    """
    texts = [*texts]
    found = (hint for form, hint in _HINTS.items() if any(re.fullmatch(form, text) for text in texts))
    return next(found, _OTHERWISE)
