"""Outputs that users of audio taggers know: see docs/formats.md."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

from audiotag.errors import OptionError, PluginError
from audiotag.files import atomic_path, check_output, is_written_into
from audiotag.host import get_host
from audiotag.host.guard import plugin_code
from audiotag.inference.writers.base import FileWriter, Writer, WriterSettings
from audiotag.inference.writers.embeddings import EmbeddingCollector
from audiotag.inference.writers.output import FileOutput, Output, ResumableOutput, StreamOutput
from audiotag.inference.writers.rows import (
    Place,
    Result,
    clip_key,
    clip_path,
    tag_rows,
)
from audiotag.printing import unfiltered
from audiotag.specs import WriterSpec


def format_of(output: Path | None) -> str:
    """The format that an output's name tells; a table for people where there is no name, or one without an ending.

    Raises:
        OptionError: The ending tells none.
    """
    if output is None or not output.suffix:
        return "table"
    writers = get_host().writers
    told: dict[str, str] = {}
    for name, spec in writers.items():
        for ending in spec.endings:
            told.setdefault(ending, name)
    if output.suffix.lower() not in told:
        raise OptionError(
            f"the ending {output.suffix} is not that of a format",
            where=output,
            fix=f"Known endings: {', '.join(told)}. For others name the format: --format {', '.join(writers)}.",
        )
    return told[output.suffix.lower()]


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
    absolute_times: bool = False,
) -> Iterator[Output]:
    """An output for the results of many clips.

    Each result is in the output as soon as it is written. A file is written beside its place and put there at the end
    of the block. When the block raises, what was written is put there too, unless that would replace a file that
    somebody else has made: then it stays beside it, and `Output.kept` tells where.

    Args:
        format: Name of a format.
        path: The file; one that is no plain file (a pipe, a device) is written to as it is. None for standard output.
        made_by: Plain values of all that decides what the results are, for a later *resume*.
        resume: Go on with what an earlier run has left.
        overwrite: Begin anew where a run that was stopped has left results.
        high_frequency: Upper edge of Raven's selections, in Hz.
        verbatim: Write names into CSV as they are, also those that a spreadsheet takes for formulas.
        absolute_times: See `WriterSettings`.

    Raises:
        UnknownNameError: There is no such format.
        OptionError: The format cannot go there, *path* cannot be written, or it cannot be gone on with.
        MissingExtraError: The format needs a package that is not installed.
    """
    spec = get_host().writer(format)
    if path is not None:
        check_output(path, overwrite=True)
        path = path if is_written_into(path) else Path(os.path.realpath(path))
    made_by = {} if made_by is None else made_by
    settings = WriterSettings(made_by, high_frequency, verbatim, sys.stdout if path is None else None, absolute_times)
    output = _output(spec, path, settings, resume, overwrite)
    complete = False
    try:
        # What a network prints is no result, also where no plugin brings it.
        with redirect_stdout(sys.stderr) if path is None else nullcontext():
            yield output
        complete = not output.stopped
    finally:
        output.close(complete)


def write_results(format: str, path: Path, settings: WriterSettings, results: Iterable[Result]) -> None:
    """Write results that are all there: the whole file or nothing, without a record for going on.

    Raises:
        UnknownNameError: There is no such format.
        OutputError: *path* cannot be written.
        MissingExtraError: The format needs a package that is not installed.
    """
    host = get_host()
    spec = host.writer(format)
    with atomic_path(path) as temporary:
        if spec.magic:
            with temporary.open("wb") as content:
                writer = _Guarded(spec, host.make(spec, settings, content))
                for result in results:
                    writer.write(result)
                writer.close()
            return
        writer = _Guarded(spec, host.make(spec, settings))
        with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(writer.head)
            for result in results:
                file.write(writer.text(result))
                writer.follow(result.place)
            file.write(writer.tail)


def _output(spec: WriterSpec, path: Path | None, settings: WriterSettings, resume: bool, overwrite: bool) -> Output:
    host = get_host()
    stream = path is None or is_written_into(path)
    if spec.magic:
        require_file(spec, path, resume)
        assert path is not None
        if stream:
            raise OptionError(f"{spec.name} needs a regular file", where=path, fix="Name one with --output.")
        return FileOutput(path, lambda file: _Guarded(spec, host.make(spec, settings, file)), spec.magic)
    writer = _Guarded(spec, host.make(spec, settings))
    if path is None:
        # People are shown names, programs get them.
        stdout = sys.stdout if sys.stdout.isatty() else unfiltered(sys.stdout)
        return StreamOutput(writer, stdout, "standard output")
    if stream:
        if resume:
            raise OptionError("it is not a regular file, and cannot be resumed", where=path, fix="Leave out --resume.")
        file = path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
        return StreamOutput(writer, file, str(path))
    return ResumableOutput(path, writer, settings.made_by, resume, overwrite)


def require_file(spec: WriterSpec, path: Path | None, resume: bool) -> None:
    """Refuse to print, or to go on with, what can be read only when it is whole.

    Raises:
        OptionError: *spec* is such a format.
    """
    if spec.magic and path is None:
        raise OptionError(f"{spec.name} cannot be printed", fix="Name a file with --output.")
    if spec.magic and resume:
        raise OptionError(f"{spec.name} cannot be resumed", where=path, fix="Use another format, csv for one.")


class _Guarded(Writer, FileWriter):
    """A format of a plugin, each call of which is told by its name."""

    def __init__(self, spec: WriterSpec, writer: Any) -> None:
        self._writer = writer
        if not isinstance(writer, FileWriter if spec.magic else Writer):
            raise PluginError(
                f"the factory {spec.factory!r} returned {type(writer).__name__}, not a writer",
                where=get_host().owner(spec).place,
                fix="Derive it from audiotag.plugin.Writer, or FileWriter where the descriptor has magic.",
            )
        self._running = plugin_code(get_host().owner(spec).place, f"writing {spec.name}")
        if not spec.magic:
            self.head, self.tail = self._writer.head, self._writer.tail

    def text(self, result: Result) -> str:
        return str(self._call("text", result))

    def follow(self, place: Place) -> None:
        self._call("follow", place)

    def write(self, result: Result) -> None:
        self._call("write", result)

    def close(self) -> None:
        self._call("close")

    def _call(self, method: str, *about: Result | Place) -> Any:
        with self._running:
            return getattr(self._writer, method)(*about)


__all__ = [
    "EmbeddingCollector",
    "Output",
    "Result",
    "clip_key",
    "clip_path",
    "format_of",
    "open_output",
    "require_file",
    "tag_rows",
    "write_results",
]
