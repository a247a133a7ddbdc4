"""Outputs that users of audio taggers know: see docs/formats.md."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

from audiotag.errors import OptionError
from audiotag.files import check_output, is_written_into
from audiotag.inference.writers.base import Writer
from audiotag.inference.writers.embeddings import EmbeddingCollector
from audiotag.inference.writers.output import (
    Output,
    ParquetOutput,
    ResumableOutput,
    StreamOutput,
)
from audiotag.inference.writers.rows import (
    COLUMNS,
    Result,
    Row,
    clip_key,
    clip_path,
    event_rows,
    tag_rows,
)
from audiotag.inference.writers.table import TableWriter
from audiotag.inference.writers.text import (
    AudacityWriter,
    CsvWriter,
    HomeWriter,
    JsonLinesWriter,
    JsonWriter,
    RavenWriter,
    SedEvalWriter,
)
from audiotag.printing import unfiltered

FORMATS = ("table", "csv", "json", "jsonl", "tsv", "audacity", "raven", "parquet", "home")
"""Names of the formats."""

ENDINGS: Mapping[str, str] = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
"""What the ending of an output's name tells."""


def format_of(output: Path | None) -> str:
    """The format that an output's name tells; a table for people where there is no name, or one without an ending.

    Raises:
        OptionError: The ending tells none.
    """
    if output is None or not output.suffix:
        return "table"
    if output.suffix.lower() not in ENDINGS:
        raise OptionError(
            f"the ending {output.suffix} tells no format",
            where=output,
            fix=f"These do: {', '.join(ENDINGS)}. For others name it: --format {', '.join(FORMATS)}.",
        )
    return ENDINGS[output.suffix.lower()]


@contextmanager
def open_output(
    format: str,
    path: Path | None,
    *,
    made_by: Mapping[str, Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    high_frequency: float = 16_000.0,
    verbatim: bool = False,
) -> Iterator[Output]:
    """An output for the results of many clips.

    Each result is in the output as soon as it is written. A file is written beside its place and put there at the end
    of the block. When the block raises, what was written is put there too, unless that would replace a file that
    somebody else has made: then it stays beside it, and `Output.kept` tells where.

    Args:
        format: One of `FORMATS`.
        path: The file; one that is no plain file (a pipe, a device) is written to as it is. None for standard output.
        made_by: Plain values of all that decides what the results are, for a later *resume*.
        resume: Go on with what an earlier run has left.
        overwrite: Begin anew where a run that was stopped has left results.
        high_frequency: Upper edge of Raven's selections, in Hz.
        verbatim: Write names into CSV as they are, also those that a spreadsheet takes for formulas.

    Raises:
        OptionError: The format is unknown or cannot go there, *path* cannot be written, or it cannot be gone on with.
        MissingExtraError: The format needs a package that is not installed.
    """
    if format not in FORMATS:
        raise OptionError(f"there is no output format {format!r}", fix=f"Use one of: {', '.join(FORMATS)}.")
    if path is not None:
        check_output(path, overwrite=True)
        path = path if is_written_into(path) else Path(os.path.realpath(path))
    made_by = {} if made_by is None else made_by
    output = _output(format, path, made_by, resume, overwrite, high_frequency, verbatim)
    complete = False
    try:
        # What a plugin's network prints is no result.
        with redirect_stdout(sys.stderr) if path is None else nullcontext():
            yield output
        complete = not output.stopped
    finally:
        output.close(complete)


def _output(
    format: str,
    path: Path | None,
    made_by: Mapping[str, Any],
    resume: bool,
    overwrite: bool,
    high_frequency: float,
    verbatim: bool,
) -> Output:
    stream = path is None or is_written_into(path)
    if format == "parquet":
        if path is None or stream:
            raise OptionError("Parquet cannot be printed", fix="Name a file with --output.")
        if resume:
            raise OptionError("Parquet files cannot be resumed", where=path, fix="Use --format csv or jsonl.")
        return ParquetOutput(path)
    writer: Writer
    match format:
        case "csv":
            writer = CsvWriter(verbatim)
        case "json":
            writer = JsonWriter(made_by)
        case "jsonl":
            writer = JsonLinesWriter()
        case "tsv":
            writer = SedEvalWriter()
        case "audacity":
            writer = AudacityWriter()
        case "raven":
            writer = RavenWriter(high_frequency)
        case "home":
            writer = HomeWriter()
        case _:
            writer = TableWriter(sys.stdout if path is None else None)
    if path is None:
        stdout = (
            sys.stdout if sys.stdout.isatty() else unfiltered(sys.stdout)
        )  # people are shown names, programs get them
        return StreamOutput(writer, stdout, "standard output")
    if stream:
        if resume:
            raise OptionError("it is no plain file, and cannot be resumed", where=path, fix="Leave out --resume.")
        file = path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
        return StreamOutput(writer, file, str(path))
    return ResumableOutput(path, writer, made_by, resume, overwrite)


__all__ = [
    "COLUMNS",
    "ENDINGS",
    "FORMATS",
    "EmbeddingCollector",
    "Output",
    "Result",
    "Row",
    "clip_key",
    "clip_path",
    "event_rows",
    "format_of",
    "open_output",
    "tag_rows",
]
