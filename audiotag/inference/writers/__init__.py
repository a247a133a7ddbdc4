"""Outputs that users of audio taggers know: see docs/formats.md."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from audiotag.errors import OptionError
from audiotag.files import atomic_path
from audiotag.inference.writers.base import Writer
from audiotag.inference.writers.embeddings import EmbeddingCollector
from audiotag.inference.writers.parquet import ParquetWriter
from audiotag.inference.writers.resume import RESUMABLE, read_results
from audiotag.inference.writers.rows import COLUMNS, Result, Row, event_rows, tag_rows
from audiotag.inference.writers.table import TableWriter
from audiotag.inference.writers.text import (
    AudacityWriter,
    CsvWriter,
    HomeWriter,
    JsonLinesWriter,
    RavenWriter,
    SedEvalWriter,
)

_WRITERS: Mapping[str, Callable[[Any], Writer]] = {
    "table": TableWriter,
    "csv": CsvWriter,
    "jsonl": JsonLinesWriter,
    "tsv": SedEvalWriter,
    "audacity": AudacityWriter,
    "parquet": ParquetWriter,
    "home": HomeWriter,
}

FORMATS = (*_WRITERS, "raven")
"""Names of the formats."""


@contextmanager
def open_writer(format: str, output: Path | None, *, high_frequency: float = 16_000.0) -> Iterator[Writer]:
    """A writer of one combined output.

    Args:
        format: One of `FORMATS`.
        output: The file, which appears when the block is left without an exception; None for standard output.
        high_frequency: Upper edge of Raven's selections, in Hz.

    Raises:
        OptionError: The format is unknown or cannot go to standard output, or *output* is a folder.
        OSError: The file cannot be written.
        MissingExtraError: The format needs a package that is not installed.
    """
    if format not in FORMATS:
        raise OptionError(f"there is no output format {format!r}", fix=f"Use one of: {', '.join(FORMATS)}.")
    binary = format == "parquet"
    if binary and output is None:
        raise OptionError("Parquet cannot be printed", fix="Name a file with --output.")
    with _open(output, binary) as file:
        writer = RavenWriter(file, high_frequency) if format == "raven" else _WRITERS[format](file)
        with writer:
            yield writer


@contextmanager
def _open(output: Path | None, binary: bool) -> Iterator[Any]:
    if output is None:
        results = sys.stdout
        with redirect_stdout(sys.stderr):  # what a plugin's network prints is no result
            yield results
        return
    if output.is_dir():
        raise OptionError("this is a folder", where=output, fix="Name a file with --output.")
    with atomic_path(output) as temporary:
        if binary:
            with temporary.open("wb") as file:
                yield file
        else:
            # Names of files need not be valid UTF-8; they come out as they went in.
            with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                yield file


__all__ = [
    "COLUMNS",
    "FORMATS",
    "RESUMABLE",
    "EmbeddingCollector",
    "Result",
    "Row",
    "Writer",
    "event_rows",
    "open_writer",
    "read_results",
    "tag_rows",
]
