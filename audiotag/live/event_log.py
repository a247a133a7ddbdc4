"""Files of events as `audiotag infer` writes them, which grow by a line with each event."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from audiotag.data.clips import Clip
from audiotag.display import line
from audiotag.errors import OptionError, OutputError
from audiotag.files import check_output, write_text, writing
from audiotag.host import get_host
from audiotag.inference.events import Event
from audiotag.inference.writers import Result, format_of
from audiotag.inference.writers.base import Writer, WriterSettings
from audiotag.live.messages import Message, Output
from audiotag.places import is_file

_MOST_WAITING = 1 << 20


class EventLog(Output):
    """Appends events that have ended to a file; those that were not confirmed are left out.

    Args:
        path: The file. ``%Y``, ``%m``, ``%d`` and what else `strftime` knows stand for the time, in UTC, at which an
            event ends, so that there may be a file a day.
        format: Name of an output format that grows line by line; None for what the ending of *path* tells.
        high_frequency: Upper edge of Raven's selections, in Hz.
        resume: Whether a file that is there is gone on with.
        overwrite: Whether one is begun anew.

    Raises:
        OptionError: The format does not grow line by line, the file is of another, or it exists and neither is wanted.
        OutputError: The file cannot be written.
    """

    def __init__(
        self, path: Path, format: str | None, high_frequency: float, *, resume: bool = False, overwrite: bool = False
    ) -> None:
        name = format or format_of(path)
        spec = get_host().writer(name)
        settings = WriterSettings(high_frequency=high_frequency)
        writer = None if spec.magic else get_host().make(spec, settings)
        if not isinstance(writer, Writer) or not spec.times or writer.tail:
            raise OptionError(
                f"the {name} format is not written event by event", where=path, fix="Take jsonl, csv, tsv or audacity."
            )
        self._writer = writer
        self._pattern = path
        self._path = self._file_at(datetime.now(UTC))
        check_output(self._path, overwrite=resume or overwrite)
        if overwrite and not resume and self._path.is_file():
            write_text(self._path, "")
        self._waiting: list[str] = []
        self._failed = 0
        self._check_head()
        if self._path == self._pattern:
            with writing(self._path):  # one without events has a head, too; and that it cannot be written is told now
                self._append()

    def __repr__(self) -> str:
        return line(self, str(self._pattern))

    def _file_at(self, time: datetime) -> Path:
        return (
            self._pattern.with_name(time.strftime(self._pattern.name)) if "%" in self._pattern.name else self._pattern
        )

    def send(self, message: Message) -> None:
        """Add an event that has ended; where the disk is full it waits, for as long as there is room."""
        if message.kind != "end" or not message.details["confirmed"]:
            return
        assert message.label is not None and message.offset is not None and message.score is not None
        path = self._file_at(message.time)
        if path != self._path:
            self._flush()
            self._path = path
        event = Event(message.onset, message.offset, message.label.name, message.label.mid, message.score)
        source = message.source
        clip = Clip(id=source, path=Path(source))
        result = Result(clip, event.offset, (event,), source=None if is_file(source) else source)
        self._waiting.append(self._writer.text(result))
        self._writer.follow(result.place)
        while sum(map(len, self._waiting)) > _MOST_WAITING:
            self._waiting.pop(0)
            self._failed += 1
        self._flush()

    def problems(self) -> Mapping[str, int]:
        """See `Output.problems`."""
        counts = {"events that wait for room on the disk": len(self._waiting), "events that were lost": self._failed}
        return {name: count for name, count in counts.items() if count}

    def close(self) -> None:
        """Try once more to write what could not be written.

        Raises:
            OutputError: It still cannot be, and is lost.
        """
        if self._waiting:
            try:
                self._append()
            except OSError as error:
                raise OutputError(
                    f"{len(self._waiting)} events are lost: {error.strerror}",
                    where=self._path,
                    fix="Make room, or name another file.",
                ) from error

    def _flush(self) -> None:
        with suppress(OSError):  # they wait, which `problems` tells
            if self._waiting:
                self._append()

    def _check_head(self) -> None:
        """Refuse to go on with a file of another format."""
        head = self._writer.head.encode()
        if self._path.is_file():
            with self._path.open("rb") as file:
                found = file.read(len(head))
            if not head.startswith(found):
                raise OptionError(
                    "it is not of this format, or has other columns", where=self._path, fix="Name another file."
                )

    def _append(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            size = _whole_lines(handle)
            text = ("" if size else self._writer.head) + "".join(self._waiting)
            content = text.encode("utf-8", "surrogateescape")
            os.lseek(handle, size, os.SEEK_SET)
            if os.write(handle, content) < len(content):
                os.ftruncate(handle, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(handle)
        self._waiting.clear()


def _whole_lines(handle: int) -> int:
    """Bytes of a file up to its last whole line; half a line is what a power cut leaves."""
    size = os.fstat(handle).st_size
    begin = size
    while begin > 0:
        step = min(begin, 1 << 12)
        begin -= step
        os.lseek(handle, begin, os.SEEK_SET)
        end = os.read(handle, step).rfind(b"\n")
        if end >= 0:
            if begin + end + 1 < size:
                os.ftruncate(handle, begin + end + 1)
            return begin + end + 1
    return 0
