"""A file of messages, a line each, that begins anew when it is long."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from io import FileIO
from pathlib import Path

from audiotag.errors import OutputError
from audiotag.files import open_unfinished, writing
from audiotag.live.messages import Message, Output
from audiotag.live.outputs.settings import OutputSettings
from audiotag.places import is_file

_LONGEST_MESSAGE = 1 << 20
_BEGIN = b'{"kind": "'


class LinesFile:
    """Lines appended to a file; a file that would grow too long becomes ``NAME.1``, the one before ``NAME.2``.

    Opened with the first line. Half a line that a power cut has left is cut off.

    Args:
        path: The file.
        max_bytes: Most bytes of a file.
        keep: How many earlier files are kept.
    """

    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        self.path, self.max_bytes, self.keep = path, max_bytes, keep
        self._file: FileIO | None = None

    def write(self, line: str) -> None:
        """Append *line*.

        Raises:
            OutputError: It cannot be written, or another process writes the file.
        """
        content = f"{line}\n".encode(errors="backslashreplace")
        with writing(self.path):
            file = self.open()
            length = file.tell()
            if length and length + len(content) > self.max_bytes:
                file = self._begin_anew()
                length = 0
            try:
                if file.write(content) < len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # half of it, and the disk is full
            except OSError:
                file.truncate(length)
                file.seek(length)
                raise

    def open(self) -> FileIO:
        """The file, at its end.

        Raises:
            OutputError: It cannot be written, or another process writes it.
        """
        if self._file is None:
            with writing(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    self._file = open_unfinished(self.path)
                except BlockingIOError as error:
                    raise OutputError(
                        "another process writes this file", where=self.path, fix="Name another."
                    ) from error
                self._cut_half_a_line(self._file)
        return self._file

    def close(self) -> None:
        """Let go of it."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _cut_half_a_line(self, file: FileIO) -> None:
        end = file.seek(0, os.SEEK_END)
        position = end
        while position:
            begin = max(0, position - 65536)
            file.seek(begin)
            found = file.read(position - begin).rfind(b"\n")
            if found >= 0:
                position = begin + found + 1
                break
            position = begin
        if position < end:
            file.truncate(position)
        file.seek(position)

    def _begin_anew(self) -> FileIO:
        self.close()
        for number in range(self.keep, 0, -1):
            older = self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))
        if not self.keep:
            self.path.unlink()
        return self.open()

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}") if number else self.path


class LinesOutput(Output):
    """Every message as a line of JSON in a file.

    Args:
        settings: The device.
        path: The file, which is gone on with.
        max_bytes: Most bytes of a file.
        keep: How many earlier files are kept.

    Raises:
        OutputError: The file cannot be written, or holds something else.
    """

    def __init__(self, settings: OutputSettings, *, path: str, max_bytes: int = 100_000_000, keep: int = 1) -> None:
        self._settings = settings
        _require_messages(Path(path))
        self._file = LinesFile(Path(path), max_bytes, keep)
        self._file.open()
        self._lost = 0
        self._fails = False

    def send(self, message: Message) -> None:
        """Append *message*."""
        try:
            self._file.write(message.to_json())
        except OutputError as error:
            self._lost += 1
            if not self._fails:
                self._settings.tell(f"{error} Messages are missing there.")
            self._fails = True
        else:
            self._fails = False

    def problems(self) -> Mapping[str, int]:
        """How many messages could not be written."""
        return {f"{self._file.path.name}: not written": self._lost} if self._lost else {}

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _require_messages(path: Path) -> None:
    """Refuse a file that begins with anything but a message, or as much of one as a power cut left."""
    if not is_file(path):
        return
    with writing(path), path.open("rb") as file:
        first = file.readline(_LONGEST_MESSAGE)
    try:
        own = first.startswith(_BEGIN) or _BEGIN.startswith(first)
        if own and first.endswith(b"\n"):
            Message.from_json(first.decode(errors="replace"))
    except OutputError:
        own = False
    if not own:
        raise OutputError("it holds other things than messages", where=path, fix="Name another file.")
