"""What tells an event file in the newer line's language (see `newer_language`), and the names of its blocks.

NOTE: apart from the rest, whose library takes a while to be imported, since every file is looked at.
"""

import re
from typing import Any

DEFAULTS, TABLE, METADATA = "_defaults", "_table", "_metadata"
OTHER_PROGRAMS = ("sources", "etl")
"""Top-level blocks that are for other programs of the newer line: where to download tables, how to run."""
OLDER_KEYS = {"subject_id_col", "time_format", "timestamp_col", "timestamp_format"}
CODE_TEMPLATE = "code_template"
"""The column of codes.parquet with the expression that made a code."""
_EXPRESSION = re.compile(r"""(^|[^\\])\$[\w`]|^\s*f["']""")


def is_newer(raw: Any) -> bool:
    """Whether an event file is in the newer line's language: it has its blocks, or expressions such as `$column`."""
    if not isinstance(raw, dict):
        return False
    if not raw.keys().isdisjoint({DEFAULTS, *OTHER_PROGRAMS}):
        return True
    tables = [block for block in raw.values() if isinstance(block, dict)]
    if any(not block.keys().isdisjoint({DEFAULTS, TABLE}) for block in tables):
        return True
    events = [event for block in tables for event in block.values() if isinstance(event, dict)]
    if not raw.keys().isdisjoint(OLDER_KEYS) or any(not b.keys().isdisjoint(OLDER_KEYS) for b in [*tables, *events]):
        return False
    texts = [value for event in events for value in event.values() if isinstance(value, str)]
    return any(_EXPRESSION.search(text) for text in texts) and not any(text.startswith("col(") for text in texts)
