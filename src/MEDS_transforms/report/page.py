"""Writes a page: one HTML file with all that it needs, for browsers without a network."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from .. import __version__
from ..interrupts import put_off
from ..stages import PACKAGE
from ..work.files import publish
from .parts import Section, shown, sort_key

_HERE = Path(__file__).parent
_EXPORTS = "window.vegaEmbed = vegaEmbed;"
"""What the page's script needs of the charts' library."""


def write_page(path: Path, kind: str, title: str, lines: Sequence[str], sections: Sequence[Section]) -> None:
    """Writes the page.

    Args:
        path: the file; it is replaced as a whole.
        kind: what kind of page it is, in words.
        title: its heading.
        lines: what is below the heading.
        sections: what it shows.
    """
    text = render(kind, title, lines, sections)
    with put_off():  # else the scratch folder would stay beside the page
        publish(path, lambda scratch: scratch.write_text(text, encoding="utf-8"))


def render(kind: str, title: str, lines: Sequence[str], sections: Sequence[Section]) -> str:
    """The page as HTML."""
    embedded: list[Any] = []

    def add(data: Any) -> int:
        embedded.append(data)
        return len(embedded) - 1

    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"shown": shown, "sort_key": sort_key}
    return environment.get_template("page.html.jinja").render(
        kind=kind,
        title=title,
        lines=lines,
        sections=sections,
        made_by=f"{PACKAGE} {__version__}",
        made_on=datetime.now(UTC).strftime("%Y-%m-%d"),
        add=add,
        data=lambda: _as_json(embedded),
        style=Markup(_read("page.css")),
        script=Markup(_read("page.js")),
        library=_library(),
    )


@cache
def _library() -> Markup:
    """The library of the charts. NOTE: to put it together takes seconds."""
    return Markup(vl_convert.javascript_bundle(_EXPORTS))


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _as_json(embedded: Sequence[Mapping[str, Any]]) -> Markup:
    """JSON for a script element, which ends at the first `</`, whatever is around it."""
    return Markup(json.dumps(embedded, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"))
