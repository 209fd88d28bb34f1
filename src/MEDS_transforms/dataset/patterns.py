"""Regular expressions, in the dialect of polars."""

from typing import Any

import polars as pl


def why_no_pattern(pattern: Any) -> str | None:
    """What is wrong with a regular expression, beside what would be right; None where polars can use it."""
    if not isinstance(pattern, str):
        return "a regular expression as text"
    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.PolarsError as error:
        return f"a regular expression in Rust's dialect (without look-around). {first_paragraph(error)}"
    return None


def first_paragraph(error: Exception) -> str:
    """What an error of polars says, without its notes on the query."""
    return str(error).split("\n\n")[0]
