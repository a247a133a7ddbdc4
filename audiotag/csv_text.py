"""Every CSV that is written: quoting that any reader understands, and names that no spreadsheet computes.

A spreadsheet takes a cell that begins with ``=``, ``+``, ``-`` or ``@`` for a formula, so the name of a file or class
can run what its author likes. Such a text gets an apostrophe in front, which `read_cell` takes off again; such a
relative path gets ``./``, which leaves it the same path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas

_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def csv_text(rows: Iterable[Iterable[object]], *, delimiter: str = ",", verbatim: bool = False) -> str:
    r"""Lines of a CSV, ended by ``\n``.

    Args:
        rows: The cells; None is an empty one. Numbers, also as text, stay what they are.
        delimiter: Between cells.
        verbatim: Write names as they are, also those that a spreadsheet takes for formulas: for programs.
    """
    return "".join(_line([_cell(value, verbatim) for value in row], delimiter) for row in rows)


def frame_csv(frame: pandas.DataFrame) -> str:
    """A DataFrame as CSV, without its index; what is missing or NaN is an empty cell."""
    cells = frame.astype(object).where(frame.notna(), None).to_numpy(object)
    return csv_text([list(frame.columns), *cells])


def read_cell(text: str) -> str:
    """The text that a cell written by `csv_text` stood for."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def _cell(value: object, verbatim: bool) -> str:
    text = "" if value is None else str(value)
    if verbatim or not isinstance(value, str | PurePath) or not _FORMULA.match(text) or _is_number(text):
        return text
    # A path that begins with an apostrophe does not begin with what is dangerous.
    return f"'{text}" if isinstance(value, str) else text if text.startswith("'") else f"./{text}"


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", text, re.IGNORECASE) is not None


def _line(cells: list[str], delimiter: str) -> str:
    return delimiter.join(_quoted(cell, delimiter) for cell in cells) + "\n" if cells != [""] else '""\n'


def _quoted(cell: str, delimiter: str) -> str:
    # The csv module leaves a carriage return bare where lines end with a line feed, and then cannot read it.
    return '"' + cell.replace('"', '""') + '"' if any(sign in cell for sign in (delimiter, '"', "\r", "\n")) else cell
