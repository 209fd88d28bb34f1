"""What configurations say of columns, as polars expressions; see `parser` for the language."""

from . import calculations as calculations  # which adds its kinds
from .columns import expression as event_expression
from .columns import text as event_text
from .forms import Expression

__all__ = ["Expression", "event_expression", "event_text"]
