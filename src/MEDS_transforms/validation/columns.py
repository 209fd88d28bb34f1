"""Whether a file has the columns that MEDS asks for, with the arrow types that it asks for."""

from collections import Counter
from collections.abc import Callable, Iterable

import pyarrow as pa
import pyarrow.types as t

from ..dataset.schema import CODE, DEPRECATED_NAMES, NUMERIC_VALUE, SUBJECT_ID, TIME
from ..errors import nearest
from .findings import Findings
from .standards import STRING, STRINGS, Table

_FORMER = {new: [old for old, name in DEPRECATED_NAMES.items() if name == new] for new in DEPRECATED_NAMES.values()}


def type_name(found: pa.DataType) -> str:
    """An arrow type in words, without the names of items of lists, which mean nothing.

    >>> type_name(pa.list_(pa.string())), type_name(pa.float32())
    ('list<string>', 'float')
    """
    if t.is_list(found) or t.is_large_list(found):
        return f"{'list' if t.is_list(found) else 'large_list'}<{type_name(found.value_type)}>"
    if t.is_dictionary(found):
        return f"dictionary<{type_name(found.value_type)}>"
    return str(found)


def is_text(found: pa.DataType) -> bool:
    """Whether values of a type are text, in whatever layout."""
    if t.is_dictionary(found):
        return is_text(found.value_type)
    return t.is_string(found) or t.is_large_string(found) or str(found) == "string_view"


def is_texts(found: pa.DataType) -> bool:
    """Whether values of a type are lists of text, in whatever layout."""
    return (t.is_list(found) or t.is_large_list(found)) and is_text(found.value_type)


def is_as_good(found: pa.DataType, wanted: str) -> bool:
    """Whether a type holds the same values as the wanted one, and differs in its layout only."""
    return is_texts(found) if wanted == STRINGS else wanted.endswith(STRING) and is_text(found)


def check_columns(schema: pa.Schema, table: Table, where: str, findings: Findings) -> None:
    """Adds what is wrong with the columns of a file."""
    for name, n in Counter(schema.names).items():
        if n > 1:
            findings.add("repeated_column", where, f"{n} columns are called {name!r}")
    for name, wanted in {**table.optional, **table.required}.items():
        if schema.names.count(name) > 1:
            continue
        if name in schema.names:
            _check_type(schema.field(name), wanted, where, findings)
        elif name in table.required:
            findings.add("missing_column", where, f"There is no column {name!r}{_hint(name, schema.names)}")
    if table.is_closed:
        for name in {*schema.names} - {*table.required, *table.optional}:
            findings.add("extra_column", where, f"There is a further column {name!r}")


def _check_type(found: pa.Field, wanted: str, where: str, findings: Findings) -> None:
    is_type = type_name(found.type)
    if is_type == wanted:
        return
    kind = "text_layout" if is_as_good(found.type, wanted) else "column_type"
    findings.add(kind, where, f"The column {found.name!r} is {is_type}, where MEDS has {wanted}")


def _hint(name: str, names: Iterable[str]) -> str:
    former = [old for old in _FORMER.get(name, ()) if old in names]
    return f"; {former[0]!r} is its name of former times" if former else nearest(name, {*names})


def is_id(found: pa.DataType) -> bool:
    """Whether values of a type are whole numbers that int64 holds."""
    return bool(t.is_integer(found)) and found != pa.uint64()


def is_readable(schema: pa.Schema) -> bool:
    """Whether the rows of a shard can be checked: subjects are int64 or smaller, times are times, codes are text."""
    suitable = {SUBJECT_ID: is_id, TIME: t.is_timestamp, CODE: is_text}
    return all(has(schema, name, fits) for name, fits in suitable.items())


def has_values(schema: pa.Schema) -> bool:
    """Whether a shard has values that may be NaN or infinite."""
    return has(schema, NUMERIC_VALUE, t.is_floating)


def has(schema: pa.Schema, name: str, fits: Callable[[pa.DataType], bool]) -> bool:
    """Whether a file has one column of this name, with a type that fits."""
    return schema.names.count(name) == 1 and bool(fits(schema.field(name).type))
