"""Reads and writes structs of Thrift's compact protocol, in which parquet files say what is where in them.

Nothing here knows what the fields mean: a struct is a dictionary from the numbers of its fields to `Field`s, and is
written as it was read.

See https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, _MAP, STRUCT = range(1, 13)
_INTEGERS = (I16, I32, I64)
_LONG = 15
"""A list of so many items or more has their number in an integer of its own."""


class Field(NamedTuple):
    """A value with its type. That of a list is the type of its items and these."""

    type: int
    value: Any


Struct: TypeAlias = dict[int, Field]


class Reader:
    """Reads a struct from bytes."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def struct(self) -> Struct:
        """The struct that begins here."""
        return dict(self.fields())

    def fields(self) -> Iterator[tuple[int, Field]]:
        """The fields of the struct that begins here, with their numbers; no more are read than are asked for."""
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            kind = head & 0x0F
            yield number, Field(kind, kind == TRUE if kind <= FALSE else self._value(kind))

    def _value(self, kind: int) -> Any:
        if kind in _INTEGERS:
            return self._integer()
        if kind == BINARY:
            return self._bytes(self._unsigned())
        if kind == STRUCT:
            return self.struct()
        if kind in (LIST, SET):
            head = self._byte()
            size = head >> 4 if head >> 4 < _LONG else self._unsigned()
            return head & 0x0F, [self._value(head & 0x0F) for _ in range(size)]
        if kind == DOUBLE:
            return self._bytes(8)
        if kind <= BYTE:
            return self._byte()
        raise ValueError(f"a value of type {kind}, which files of parquet do not have")

    def _byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def _bytes(self, size: int) -> bytes:
        self.at += size
        return self.data[self.at - size : self.at]

    def _unsigned(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 0x80:
            value |= (byte & 0x7F) << shift
            shift += 7
        return value | byte << shift

    def _integer(self) -> int:
        value = self._unsigned()
        return value >> 1 ^ -(value & 1)


def written(fields: Struct) -> bytes:
    """A struct as bytes.

    >>> data = bytes([0x15, 3, 0x18, 1, 65, 0])
    >>> Reader(data).struct()
    {1: Field(type=5, value=-2), 2: Field(type=8, value=b'A')}
    >>> written(Reader(data).struct()) == data
    True
    """
    out = bytearray()
    _write_struct(out, fields)
    return bytes(out)


def _write_struct(out: bytearray, fields: Struct) -> None:
    last = 0
    for number, (kind, value) in fields.items():
        if 0 < number - last <= 0x0F:
            out.append(number - last << 4 | kind)
        else:
            out.append(kind)
            _write_integer(out, number)
        last = number
        if kind > FALSE:
            _write(out, kind, value)
    out.append(0)


def _write(out: bytearray, kind: int, value: Any) -> None:
    if kind in _INTEGERS:
        _write_integer(out, value)
    elif kind == BINARY:
        _write_unsigned(out, len(value))
        out += value
    elif kind == STRUCT:
        _write_struct(out, value)
    elif kind in (LIST, SET):
        of, items = value
        out.append(min(len(items), _LONG) << 4 | of)
        if len(items) >= _LONG:
            _write_unsigned(out, len(items))
        for item in items:
            _write(out, of, item)
    elif kind == DOUBLE:
        out += value
    else:
        out.append(value)


def _write_integer(out: bytearray, value: int) -> None:
    _write_unsigned(out, value << 1 if value >= 0 else ~value << 1 | 1)


def _write_unsigned(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
