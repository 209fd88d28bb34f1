"""What an event conversion file says, once it is read."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ...dataset.columns import internal
from ...dataset.schema import CATEGORICAL_VALUE, CODE, TEXT_VALUE, TIME
from ...expressions.forms import Expression, Formula
from ..raw.joins import Join, left_columns

SUBJECT_ID_KEY = "subject_id_col"
JOIN_KEY = "join"
TIME_FORMAT_KEY = "time_format"
METADATA_KEY = "_metadata"
META_KEYS = {TIME_FORMAT_KEY, METADATA_KEY}
"""The keys of an event that are not columns of its measurements."""
WHERE_KEY, EACH_KEY = "where", "each"


@dataclass(frozen=True)
class TableOptions:
    """How a table is read; `configs/_event.yaml` says what the keys mean."""

    separator: str | None = None
    encoding: str = "utf-8"
    quote: str | None = '"'
    decimal: str = "."
    null_values: tuple[str, ...] = ()
    dtypes: Mapping[str, str] = field(default_factory=dict)
    infer_code_dtypes: bool = False
    optional: bool = False
    time_zone: str | None = None
    dataset_times: str = "utc"
    numbers: str = "exact"
    subject_ids: str = "integer"

    @property
    def reading(self) -> dict[str, Any]:
        """What decides which values are read."""
        own = ("optional", "time_zone", "dataset_times", "numbers")
        return {key: value for key, value in asdict(self).items() if key not in own}


@dataclass(frozen=True)
class Metadata:
    """A table that describes an event's codes, by columns that equal some of the columns that make the code.

    `keys` are by columns of the event, `outputs` by columns of codes.parquet, both texts. The columns of a text file
    are all read as text. The table None is the event's own: its rows have all columns of the code and need no keys.
    """

    table: str | None
    keys: Mapping[str, Expression]
    outputs: Mapping[str, Expression]


@dataclass(frozen=True)
class CodePart:
    """A part of a code: a text that is always the same, or the values of a column."""

    text: str
    is_column: bool


@dataclass(frozen=True)
class Event:
    """One kind of measurement that rows of a table give.

    `values` are output columns with the input columns they come from; `metadata` are tables that describe the
    event's codes, with the expressions of their columns. `computed` are columns that are made of those of the table
    before anything else, by names that no table has; code, time and values may name them. `each` are such columns of
    which a row has several values, one for each of its measurements. Rows for which `where` is false give none.
    In a file of the newer line (`is_newer`), `formulas` is what expressions were made of, floats are written with their
    `.0`, and values may be times; `described_by` are then the metadata, `components` the keys of the codes for it, and
    `code_template` the expression that makes the code.
    """

    table: str
    name: str
    code: tuple[CodePart, ...]
    time: str | None
    time_formats: tuple[str, ...]
    values: Mapping[str, str]
    metadata: Mapping[str, Mapping[str, Any]]
    computed: Mapping[str, Expression] = field(default_factory=dict)
    each: Mapping[str, tuple[Expression, ...]] = field(default_factory=dict)
    where: Expression | None = None
    options: TableOptions = TableOptions()
    is_newer: bool = False
    formulas: Mapping[str, Formula] = field(default_factory=dict)
    code_template: str = ""
    components: Mapping[str, Expression] = field(default_factory=dict)
    described_by: tuple[Metadata, ...] = ()

    @property
    def path(self) -> str:
        """Where the event stands in its file, for messages."""
        return f"{self.table}.{self.name}"

    @property
    def columns(self) -> dict[str, str]:
        """The columns of the table that the event needs, each with the key that asks for it."""
        wanted = {column: key for key, column in self.values.items()}
        wanted |= {part.text: CODE for part in self.code if part.is_column}
        if self.time is not None:
            wanted[self.time] = TIME
        for key, expression in self._expressions():
            wanted |= dict.fromkeys(sorted(expression.columns), key)
        return {column: key for column, key in wanted.items() if column not in self._made}

    @property
    def columns_as_text(self) -> set[str]:
        """Those that it reads as text: as they are written in a text file."""
        as_text = {part.text for part in self.code if part.is_column} | {self.time or ""}
        as_text |= {column for key, column in self.values.items() if key in (TEXT_VALUE, CATEGORICAL_VALUE)}
        as_text.update(*(expression.as_text for _, expression in self._expressions()))
        return as_text & self.columns.keys()

    @property
    def columns_as_values(self) -> set[str]:
        """Those that it reads by the dtype that they have."""
        values = {column for key, column in self.values.items() if key not in (TEXT_VALUE, CATEGORICAL_VALUE)}
        values.update(*(expression.as_value for _, expression in self._expressions()))
        return values & self.columns.keys()

    @property
    def _made(self) -> set[str]:
        return {*self.computed, *self.each}

    def _expressions(self) -> list[tuple[str, Expression]]:
        """All expressions of the event with the keys at which they stand; some refer to columns that others make."""
        found = [(name.removeprefix(internal(f"{self.path}.")), made) for name, made in self.computed.items()]
        found += [(METADATA_KEY, expression) for expression in self._describing()]
        found += [(EACH_KEY, expression) for several in self.each.values() for expression in several]
        return [*found, (WHERE_KEY, self.where)] if self.where else found

    def _describing(self) -> list[Expression]:
        """What is read of the table to describe the codes."""
        own = [expression for m in self.described_by if m.table is None for expression in m.outputs.values()]
        return [*own, *self.components.values()] if self.described_by else []


@dataclass(frozen=True)
class Table:
    """A table of the input and the events its rows give.

    `before_join` and `after_join` are columns that are made of the others, each in an order in which it finds what it
    reads; `made_by` says how.
    """

    name: str
    subject_id_col: str
    events: tuple[Event, ...] = ()
    options: TableOptions = TableOptions()
    joins: tuple[Join, ...] = ()
    before_join: Mapping[str, Expression] = field(default_factory=dict)
    after_join: Mapping[str, Expression] = field(default_factory=dict)
    made_by: Mapping[str, str] = field(default_factory=dict)

    @property
    def made_columns(self) -> dict[str, Expression]:
        """The columns that are made of others."""
        return {**self.before_join, **self.after_join}

    @property
    def columns(self) -> list[str]:
        """The columns that some event needs, each once, the subject's first."""
        return list(dict.fromkeys([self.subject_id_col, *(c for e in self.events for c in e.columns)]))

    @property
    def columns_as_text(self) -> set[str]:
        """Those that some event reads as text; none where codes are to look as their inferred dtypes have it."""
        subject = {self.subject_id_col} if self.has_text_ids else set()
        if self.options.infer_code_dtypes:
            return subject
        made = {column for expression in self.made_columns.values() for column in expression.as_text}
        return {column for event in self.events for column in event.columns_as_text} | made | subject

    @property
    def columns_as_values(self) -> set[str]:
        """Those that some event reads by the dtype that they have."""
        subject = set() if self.has_text_ids else {self.subject_id_col}
        made = {column for expression in self.made_columns.values() for column in expression.as_value}
        return {column for event in self.events for column in event.columns_as_values} | made | subject

    @property
    def has_text_ids(self) -> bool:
        """Whether subject ids are text, which are given numbers."""
        return self.options.subject_ids != "integer"

    @property
    def joined_columns(self) -> dict[str, Join]:
        """The columns that come from other tables, each with the join that brings it."""
        return {column: join for join in self.joins for column in join.columns}

    @property
    def keys(self) -> set[str]:
        """The columns of the table itself on which others are joined."""
        return {column for join in self.joins for column in left_columns(join)} - self.joined_columns.keys()

    @property
    def file_columns(self) -> list[str]:
        """The columns that are read of the table itself."""
        reads = sorted({column for expression in self.made_columns.values() for column in expression.columns})
        elsewhere = {*self.joined_columns, *self.made_columns}
        needed = [*self.columns, *reads, *sorted(self.keys)]
        return list(dict.fromkeys(column for column in needed if column not in elsewhere))


@dataclass(frozen=True)
class EventFile:
    """The tables of an event conversion file, and the options of all others that it names."""

    tables: Mapping[str, Table]
    options: Mapping[str, TableOptions] = field(default_factory=dict)
    default: TableOptions = TableOptions()

    def options_of(self, table: str) -> TableOptions:
        """How a table is read, whether it has events or describes codes."""
        return self.options.get(table, self.default)

    @property
    def joined_tables(self) -> set[str]:
        """The tables that are joined to others."""
        return {join.table for table in self.tables.values() for join in table.joins}

    @property
    def metadata_tables(self) -> dict[str, list[Event]]:
        """The tables that describe codes, each with the events whose codes it describes, in order."""
        found: dict[str, list[Event]] = {}
        for table in self.tables.values():
            for event in table.events:
                for name in event.metadata:
                    found.setdefault(name, []).append(event)
        return found
