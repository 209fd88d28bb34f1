"""Formulas of the newer line's event language, and how they read columns."""

import polars as pl
import pytest

from MEDS_transforms.expressions.forms import as_written
from MEDS_transforms.expressions.formulas import formula

DF = pl.DataFrame(
    {
        "n": [1, 2, 3],
        as_written("n"): ["01", "2", "3.0"],
        "f": [98.0, 1.5, None],
        "s": ["12", "x", None],
        "*": ["p", "q", "r"],
    }
)
TEXT, VALUE, BOTH = ({"n"}, set()), (set(), {"n"}), ({"n"}, {"n"})


def values(found):
    return DF.select(found.expr.alias("found"))["found"].to_list()


@pytest.mark.parametrize(
    ("text", "value", "written", "key"),
    [
        ("$n", [1, 2, 3], ["01", "2", "3.0"], ["01", "2", "3.0"]),
        ("$f", [98.0, 1.5, None], ["98.0", "1.5", None], ["98", "1.5", None]),
        ("$f ?? $s", ["98.0", "1.5", None], ["98.0", "1.5", None], ["98", "1.5", None]),
        ('f"{$f}//{$n}"', ["98.0//01", "1.5//2", None], ["98.0//01", "1.5//2", None], ["98.0//01", "1.5//2", None]),
        ("$n + 1", [2, 3, 4], ["2", "3", "4"], ["2", "3", "4"]),
        ("$n::str", ["01", "2", "3.0"], ["01", "2", "3.0"], ["01", "2", "3.0"]),
        ("$n[0:1]", ["0", "2", "3"], ["0", "2", "3"], ["0", "2", "3"]),
        ('"one" if $n == 1 else $n', ["one", "2", "3"], ["one", "2", "3.0"], ["one", "2", "3.0"]),
        ("$s::?int", [12, None, None], ["12", None, None], ["12", None, None]),
        ("$`*`", ["p", "q", "r"], ["p", "q", "r"], ["p", "q", "r"]),
        ({"column": "n"}, [1, 2, 3], ["01", "2", "3.0"], ["01", "2", "3.0"]),
    ],
)
def test_columns_are_read_as_they_are_written_where_a_text_is_made(text, value, written, key):
    found = formula(text, "t.e.code")
    assert [values(e) for e in (found.value(), found.written(), found.key())] == [value, written, key]


@pytest.mark.parametrize(
    ("text", "value", "written"),
    [
        ("$n", VALUE, TEXT),
        ("$n + 1", VALUE, VALUE),
        ('f"{$n}"', TEXT, TEXT),
        ('f"{$n}{$n + 1}"', BOTH, BOTH),
        ('$n::?"%Y"', TEXT, TEXT),
        ('"one" if $n == 1 else $n', VALUE, BOTH),
        ("word", (set(), set()), (set(), set())),
    ],
)
def test_it_says_which_columns_it_reads_and_how(text, value, written):
    found = formula(text, "")
    for expression, (as_text, as_value) in [(found.value(), value), (found.written(), written)]:
        assert (expression.as_text, expression.as_value) == (as_text, as_value)
        assert expression.columns == found.columns == as_text | as_value


def test_a_hash_tells_of_what():
    assert values(formula("hash($s)", "").hashed.written()) == ["12", "x", None]
    assert formula("hash($s) + 1", "").hashed is None


@pytest.mark.parametrize("text", ["$a +", "lower($a)", "$a::nothing", ["a"], 'f"{a', "$a[1]"])
def test_what_cannot_be_parsed_is_quoted_with_its_place(text):
    with pytest.raises(ValueError, match=r"Expression at t\.e\.code: found .*; allowed: an expression such as"):
        formula(text, "t.e.code")


def test_strict_casts_tell_which_values_do_not_suit():
    found = formula('coalesce($s::?"%Y", $s::int, $n::days)', "")
    with pytest.raises(pl.exceptions.PolarsError):
        values(found.value())
    [said] = found.misfits(DF)
    assert "in the column s there are values that 'int' does not suit, such as 'x'" in said
    assert list(formula("$s::?int", "").misfits(DF)) == []
