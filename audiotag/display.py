"""How objects show themselves: in a line where Python prints them, as a table where a notebook does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, Field, fields
from html import escape
from math import isfinite
from numbers import Integral, Real
from pathlib import PurePath
from typing import Any, TypeVar

from audiotag.printing import printable_name, shortened

T = TypeVar("T")

MOST_CHARACTERS = 240
"""Of a line."""

_MOST_ITEMS = 4
"""Of a list or a dict that is shown, and not counted."""

_MOST_ROWS = 60
"""Of a table; of more, the first."""


class Shown(str):
    """Text that stands in a line as it is, without quotes."""


def brief_repr(kind: type[T]) -> type[T]:
    """Let a dataclass show in one line what differs from its defaults: arrays by their shape, long lists by number."""

    def represent(self: Any) -> str:
        values = ((one, getattr(self, one.name)) for one in fields(self) if one.repr)
        return line(self, **{one.name: value for one, value in values if not _is_default(one, value)})

    kind.__repr__ = represent  # type: ignore[method-assign]
    return kind


def line(shown: object, *values: Any, **named: Any) -> str:
    """The line that an object shows: its class, and *values* and *named* in brief."""
    parts = [*map(brief, values), *(f"{name}={brief(value)}" for name, value in named.items())]
    text, start = "", f"{type(shown).__name__}("
    for place, part in enumerate(parts):
        if len(start) + len(text) + len(part) > MOST_CHARACTERS:
            return f"{start}{text}{', ' * bool(place)}…)"
        text += f"{', ' * bool(place)}{part}"
    return f"{start}{text})"


def brief(value: Any) -> str:
    """*value* in a few words: an array by its type and shape, a long list by its length, long text by its beginning."""
    if isinstance(value, Shown):
        return shortened(printable_name(value))
    if isinstance(value, PurePath):
        value = str(value)
    if isinstance(value, str):
        return repr(shortened(value))
    if isinstance(value, Real):
        return str(value) if isinstance(value, Integral) else f"{float(value):.6g}"
    if (shape := getattr(value, "shape", None)) is not None:  # an array, a tensor, a table of pandas
        kind = str(getattr(value, "dtype", "table")).removeprefix("torch.")
        return f"{kind} ({', '.join(map(str, shape))})"
    if isinstance(value, tuple | list | set | frozenset | Mapping):
        return _brief_list(value)
    if isinstance(name := getattr(value, "__qualname__", None), str):  # a function or a class
        return name
    text = repr(value)
    is_line = len(text) <= MOST_CHARACTERS / 2 and "\n" not in text and " object at 0x" not in text
    return text if is_line else f"{type(value).__name__}(…)"


def _brief_list(values: Collection[Any]) -> str:
    text = f"{len(values)} items"
    if len(values) <= _MOST_ITEMS:
        pairs = [f"{brief(key)}: {brief(values[key])}" for key in values] if isinstance(values, Mapping) else None
        whole = ", ".join(map(brief, values) if pairs is None else pairs)
        text = whole if len(whole) <= 80 else text
    return f"[{text}]" if isinstance(values, list) else f"({text})" if isinstance(values, tuple) else f"{{{text}}}"


def _is_default(one: Field[Any], value: Any) -> bool:
    if one.default_factory is not MISSING:
        return isinstance(value, Collection) and not isinstance(value, str) and len(value) == 0
    default = one.default
    return value is default or (type(value) is type(default) and not hasattr(value, "shape") and value == default)


def html_table(columns: Mapping[str, Any], caption: str = "") -> str:
    """A table for a notebook, all text of it escaped; of many rows the first.

    Args:
        columns: Heading → its cells, a list or an array, as many in each.
        caption: What stands above it.
    """
    count = len(next(iter(columns.values())))
    parts = ['<table class="dataframe">']
    if caption:
        parts.append(f'<caption style="text-align:left">{_text(caption)}</caption>')
    parts.append(_row("th", columns))
    parts += [_row("td", row) for row in zip(*(column[:_MOST_ROWS] for column in columns.values()), strict=True)]
    if count > _MOST_ROWS:
        parts.append(f'<tr><td colspan="{len(columns)}">… and {count - _MOST_ROWS:,} more</td></tr>')
    return "\n".join([*parts, "</table>"])


def _row(tag: str, cells: Iterable[Any]) -> str:
    return f"<tr>{''.join(_cell(tag, cell) for cell in cells)}</tr>"


def _cell(tag: str, value: Any) -> str:
    align = "right" if isinstance(value, Real) and value is not True and value is not False else "left"
    return f'<{tag} style="text-align:{align}">{_text(value)}</{tag}>'


def _text(value: Any) -> str:
    if value is None or (isinstance(value, Real) and value != value):
        return ""
    if isinstance(value, Real) and not isinstance(value, Integral):
        return f"{float(value):.4g}" if isfinite(value) else str(float(value))
    return escape(printable_name(value))
