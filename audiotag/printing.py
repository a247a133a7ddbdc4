r"""Names of files and classes on a terminal: what would steer it is shown, not sent.

A name may hold anything: sequences that set a window's title or clear the screen, a carriage return that hides what
stands before it, marks that turn the order of letters round. `printable` is the rule. Messages of errors and tables
keep to it, and the command line's standard streams do with whatever is printed (`PrintableStream`).
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection
from itertools import islice
from typing import Any

_STEERING = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\udc80-\udc9f"
"""Control characters of ASCII and Latin-1 (also as undecodable bytes) but for tab and line feed, separators of lines,
and overrides of the direction of writing."""

_UNWANTED = re.compile(f"[{_STEERING}]")
_UNWANTED_OR_COLOUR = re.compile(rf"(\x1b\[[0-9;]*m)|[{_STEERING}]")
_BREAKS = str.maketrans({"\n": r"\u000a", "\t": r"\u0009"})


def printable(text: str, *, coloured: bool = False) -> str:
    r"""*text* with control characters and overrides of direction as ``\uXXXX``; line feeds and tabs stay.

    Args:
        text: What is to be printed.
        coloured: Let changes of colour stay.
    """
    return (_UNWANTED_OR_COLOUR if coloured else _UNWANTED).sub(_shown, text)


def printable_name(name: object) -> str:
    """`printable` for a name, which has one line."""
    return printable(str(name)).translate(_BREAKS)


def few(names: Collection[str], most: int = 5) -> str:
    """The first of *names*, as people read them, with a mark where there are more."""
    return ", ".join(islice(names, most)) + (", …" if len(names) > most else "")


def shortened(text: str, most: int = 60) -> str:
    """*text*, cut where it is longer than *most* characters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _shown(found: re.Match[str]) -> str:
    if found.lastindex:
        return found[0]
    return f"\\u{ord(found[0]):04x}"


def escape(text: object) -> str:
    """`printable_name` for text in rich's markup."""
    from rich.markup import escape as escape_markup

    return escape_markup(printable_name(text))


class PrintableStream(io.TextIOWrapper):
    """A text stream that prints through `printable`.

    Args:
        stream: What it takes the place of; writing to that one goes past the rule, for data and for bars.
        coloured: Let changes of colour through.
        errors: What to do with characters that the encoding lacks.
    """

    def __init__(self, stream: io.TextIOWrapper, *, coloured: bool, errors: str) -> None:
        stream.flush()
        super().__init__(
            stream.buffer,
            encoding=stream.encoding,
            errors=errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        self.unfiltered = stream
        self._coloured = coloured

    def write(self, text: str) -> int:
        """Write *text*; returns its length."""
        super().write(printable(text, coloured=self._coloured))
        return len(text)


def unfiltered(stream: Any) -> Any:
    """The stream behind a `PrintableStream`; any other is given as it is."""
    if isinstance(stream, PrintableStream):
        stream.flush()
        return stream.unfiltered
    return stream
