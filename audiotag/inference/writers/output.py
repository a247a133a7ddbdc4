"""Where results go: a stream, or a file that grows beside its place and outlives whoever writes it.

The results of ``tags.csv`` are in ``.tags.csv.part`` until the run is over. Beside it is the record of the run,
``.tags.csv.resume``: a line with what made the results, and one for each clip that is done, with the length and the
checksum of the file up to there. Both are written through after each clip. So whatever ends a run, a later one knows
what is done and by what, cuts off half a line, and can tell when somebody else has changed the file; no format needs
to be read back.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import IO, Any

from audiotag import places
from audiotag.documents import Fields, parse_json
from audiotag.errors import AudiotagError, OptionError
from audiotag.files import open_unfinished
from audiotag.inference.writers.base import FileWriter, Writer
from audiotag.inference.writers.rows import Key, Place, Result
from audiotag.printing import shortened

_FORMAT = "audiotag-results"
_BEGINNING = f'{{"format": "{_FORMAT}"'.encode()
_NOT_OURS = "this is in the way, and was not written by audiotag"
_AWAY = "Move it away, or name another --output."


class Output(ABC):
    """Takes results; to be closed once.

    Attributes:
        done: The clips that an earlier run left in it, and how often: a list may give one several ids.
        stopped: To be set where the run ends before its time without an exception.
        kept: Where the results are, after closing, if not in the place they were meant for.
    """

    def __init__(self) -> None:
        self.done: Counter[Key] = Counter()
        self.stopped = False
        self.kept: Path | None = None

    @abstractmethod
    def write(self, result: Result) -> None:
        """Add one clip.

        Raises:
            AudiotagError: It cannot be written.
        """

    @abstractmethod
    def close(self, complete: bool) -> None:
        """End the output; where the run is not *complete*, no earlier file is replaced by it."""


class StreamOutput(Output):
    """Results to standard output, a pipe or a device, each as it comes.

    Args:
        writer: The format.
        file: Where to.
        name: How messages call it.
    """

    def __init__(self, writer: Writer, file: IO[str], name: str) -> None:
        super().__init__()
        self._writer = writer
        self._file = file
        self._ours = file is not sys.stdout
        self._name = name
        self._print(writer.head)

    def write(self, result: Result) -> None:
        """Print one clip."""
        self._print(self._writer.text(result))
        self._writer.follow(result.place)

    def close(self, complete: bool) -> None:
        """Print what comes at the end."""
        if not self._file.closed:
            self._print(self._writer.tail)
            if self._ours:
                self._file.close()

    def _print(self, text: str) -> None:
        try:
            self._file.write(text)
            self._file.flush()
        except BrokenPipeError:
            raise  # whoever reads has seen enough; the command line ends quietly
        except OSError as error:
            if self._ours:
                with suppress(OSError):  # the same again: the text is still in its buffer
                    self._file.close()
            raise OptionError(f"the results cannot be written: {error.strerror}", where=self._name) from error


class _PartOutput(Output):
    """A file that is written beside its place."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self._replaces = False  # what is in the place is in the part as well
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: FileIO = open_unfinished(self._part)
        except BlockingIOError as error:
            raise OptionError(
                "another run is writing this file", where=path, fix="Wait for it, or name another --output."
            ) from error
        except OSError as error:
            raise OptionError(
                f"it cannot be written: {error.strerror}", where=path, fix="Name another --output."
            ) from error

    def _put_in_place(self, complete: bool) -> None:
        if not complete and not self._replaces and self._path.exists():
            self._file.close()
            self.kept = self._part
            return
        os.fsync(self._file.fileno())
        with self._letting_go():
            self._part.replace(self._path)

    def _refuse_others(self, beginning: bytes) -> None:
        """Refuse to write over a part that is not ours: one of ours is empty or starts with *beginning*."""
        self._file.seek(0)
        if not beginning.startswith(self._file.read(max(1, len(beginning))) or b""):
            raise OptionError(_NOT_OURS, where=self._part, fix=_AWAY)

    def _remove(self) -> None:
        with self._letting_go():
            self._part.unlink(missing_ok=True)

    @contextmanager
    def _letting_go(self) -> Iterator[None]:
        """The part is moved or removed within the block, and then its lock is gone; on Windows it must go before."""
        if places.WINDOWS:
            self._file.close()
        yield
        self._file.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what, fix = (
                "the results cannot be written",
                "Free some space, then continue with --resume: finished results are kept.",
            )
            raise AudiotagError(f"{what}: {error.strerror or error}", where=self._path, fix=fix) from error

    @contextmanager
    def _beginning(self) -> Iterator[None]:
        """Where the block raises, the part goes if nothing is in it."""
        try:
            yield
        except BaseException:
            if self._file.seek(0, os.SEEK_END) == 0:
                self._remove()
            self._file.close()
            raise


class FileOutput(_PartOutput):
    """A file of bytes, which is readable only when its end is written.

    Args:
        path: The file.
        make: Makes the format's writer for the open file.
        magic: What such files begin with.

    Raises:
        OptionError: It cannot be written.
        MissingExtraError: The format needs a package that is not installed.
    """

    def __init__(self, path: Path, make: Callable[[IO[bytes]], FileWriter], magic: bytes) -> None:
        super().__init__(path)
        self._empty = True
        with self._beginning():
            self._refuse_others(magic)
            self._file.truncate(0)
            self._file.seek(0)
            self._writer = make(self._file)

    def write(self, result: Result) -> None:
        """Add one clip."""
        with self._writing():
            self._writer.write(result)
        self._empty = False

    def close(self, complete: bool) -> None:
        """Write the end of the file."""
        with self._writing():
            self._writer.close()
            if self._empty and not complete:
                self._remove()
            else:
                self._put_in_place(complete)


@dataclass(frozen=True)
class _Entry:
    """A clip that is done: the length and checksum of the file with it, and the length of the record."""

    place: Place
    end: int
    checksum: int
    record_end: int


class ResumableOutput(_PartOutput):
    """A text file that a later run can go on with; see the module.

    Args:
        path: The file.
        writer: The format.
        made_by: Plain values of all that decides what the results are.
        resume: Go on with what is there.
        overwrite: Begin anew where a run that was stopped has left results.

    Raises:
        OptionError: The file cannot be written; or *resume* and it was made by something else, changed, or has no
            record; or neither *resume* nor *overwrite* and there are results of a run that was stopped.
    """

    def __init__(self, path: Path, writer: Writer, made_by: Mapping[str, Any], resume: bool, overwrite: bool) -> None:
        super().__init__(path)
        self._writer = writer
        # As it is read back.
        self._made_by = json.loads(json.dumps(made_by, allow_nan=False))
        self._record_path = path.with_name(f".{path.name}.resume")
        self._record: FileIO | None = None
        self._end = self._checksum = self._noted = 0
        with self._beginning():
            self._go_on_or_refuse(resume, overwrite)

    def write(self, result: Result) -> None:
        """Add one clip; it is kept from then on, whatever happens."""
        with self._writing():
            if self._record is None:
                self._begin()
            self._append(self._writer.text(result))
            self._note(result.place)
        self._writer.follow(result.place)

    def close(self, complete: bool) -> None:
        """Put the file in its place; where nothing is done, only if the run is complete."""
        with self._writing():
            if self._record is None:
                if not complete:
                    self._remove()
                    return
                self._begin()
            assert self._record is not None
            self._file.truncate(self._noted)  # more may be there of a clip in which a write failed
            if complete or self._replaces or not self._path.exists():
                self._file.seek(self._noted)
                _write(self._file, self._writer.tail.encode())
            self._put_in_place(complete)
            self._record.close()

    def _begin(self) -> None:
        self._file.truncate(0)
        self._file.seek(0)
        self._record = FileIO(self._record_path, "w")
        header = {"format": _FORMAT, "version": 1, "made_by": self._made_by}
        _write(self._record, (json.dumps(header, allow_nan=False) + "\n").encode())
        self._end = self._checksum = 0
        self._append(self._writer.head)
        self._noted = self._end

    def _append(self, text: str) -> None:
        # Names of files need not be valid UTF-8; they come out as they went in.
        content = text.encode("utf-8", "surrogateescape")
        self._file.seek(self._end)
        _write(self._file, content)
        self._checksum = zlib.crc32(content, self._checksum)
        self._end += len(content)

    def _note(self, place: Place) -> None:
        assert self._record is not None
        path, start, stop, picture = place.key
        about = {"path": path, "start": start, "stop": stop, "picture": picture, "whole": place.whole}
        line = {**about, "rows": place.rows, "end": self._end, "crc32": self._checksum}
        _write(self._record, (json.dumps(line, allow_nan=False) + "\n").encode())
        self._noted = self._end

    def _go_on_or_refuse(self, resume: bool, overwrite: bool) -> None:
        """Take what an earlier run has left, where that is wanted and can be."""
        if not os.path.lexists(self._record_path):
            self._refuse_others(b"")
            if resume and self._path.exists():
                raise OptionError(
                    f"its record {self._record_path.name} is missing",
                    where=self._path,
                    fix="Put it there, name another --output, or leave out --resume to start over.",
                )
            return
        made_by, entries = _read_record(self._record_path)
        in_part = _count_intact(self._part, entries)
        if not resume:
            if in_part and not overwrite:
                raise OptionError(
                    f"a run that was stopped has left {in_part} of its recordings done, in {self._part}",
                    where=self._path,
                    fix="Continue with --resume, or start over with --overwrite.",
                )
            return
        if not entries:
            return
        if made_by != self._made_by:
            raise OptionError(
                f"it was made in another way: {differences(made_by, self._made_by)}",
                where=self._path,
                fix="Give the same settings, name another --output, or leave out --resume to start over.",
            )
        in_place = _count_intact(self._path, entries)
        if not in_part and self._path.exists() and not self._is_unchanged(entries, in_place):
            raise OptionError(
                f"somebody has changed it since audiotag wrote it (behind the first {in_place} recordings)",
                where=self._path,
                fix="Name another --output, or leave out --resume to start over.",
            )
        self._replaces = in_place > 0
        if in_place > in_part:
            with self._path.open("rb") as earlier:
                self._file.truncate(0)
                shutil.copyfileobj(earlier, self._file)
        self._go_on(entries[: max(in_part, in_place)])

    def _is_unchanged(self, entries: Sequence[_Entry], intact: int) -> bool:
        """Whether the file in its place is as the record says, or cut off."""
        size = self._path.stat().st_size
        if intact < len(entries):
            return size < entries[intact].end
        with self._path.open("rb") as file:
            file.seek(entries[-1].end)
            rest = file.read(len(self._writer.tail) + 1)
        return self._writer.tail.encode().startswith(rest)

    def _go_on(self, entries: Sequence[_Entry]) -> None:
        if not entries:
            return
        last = entries[-1]
        self._end, self._noted, self._checksum = last.end, last.end, last.checksum
        self._file.truncate(last.end)
        self._record = FileIO(self._record_path, "r+")
        self._record.truncate(last.record_end)
        self._record.seek(last.record_end)
        for entry in entries:
            self._writer.follow(entry.place)
        self.done = Counter(entry.place.key for entry in entries)


def _write(file: FileIO, content: bytes) -> None:
    """Write all of it: a full disk may take a part first."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) or 0 :]


def _count_intact(path: Path, entries: Sequence[_Entry]) -> int:
    """How many of the clips are in the file as they were written."""
    if not path.exists():
        return 0
    size = path.stat().st_size
    position = checksum = 0
    with path.open("rb") as file:
        for number, entry in enumerate(entries):
            if not position <= entry.end <= size:
                return number
            checksum = zlib.crc32(file.read(entry.end - position), checksum)
            if checksum != entry.checksum:
                return number
            position = entry.end
    return len(entries)


def _read_record(path: Path) -> tuple[dict[str, Any], list[_Entry]]:
    """What made a file, and what is done. Half a line at the end is passed over."""
    fix = "Leave out --resume to start over; delete the record if it is in the way."
    if path.is_symlink() or not path.is_file():
        raise OptionError(_NOT_OURS, where=path, fix=_AWAY)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise OptionError(f"the record of a run cannot be read: {error.strerror}", where=path, fix=fix) from error
    if content[: len(_BEGINNING)] != _BEGINNING[: len(content)]:
        raise OptionError(_NOT_OURS, where=path, fix=_AWAY)
    lines = content.split(b"\n")[:-1]
    end = 0
    objects = []
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number}"
        content = parse_json(line.decode("ascii", "replace"), where=where, error=OptionError, fix=fix)
        objects.append(Fields(content, where=where, error=OptionError, fix=fix))
    if not objects:
        return {}, []
    if objects[0].text("format") != _FORMAT or objects[0].integer("version") != 1:
        raise OptionError("it is not a run record that this audiotag can read", where=path, fix=fix)
    entries = []
    for number, (line, fields) in enumerate(zip(lines, objects, strict=True)):
        end += len(line) + 1
        if number:
            stop = fields.number("stop", None)
            key = (fields.text("path"), fields.number("start"), stop, fields.text("picture", None))
            place = Place(key, fields.number("whole"), fields.integer("rows", least=0))
            entries.append(_Entry(place, fields.integer("end", least=0), fields.integer("crc32"), end))
    return dict(objects[0].fields("made_by")), entries


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What was decided in another way, for people."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return ", ".join(f"{name} was {_short(before.get(name))} and is {_short(now.get(name))}" for name in names)


def _short(value: object) -> str:
    text = "not given" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shortened(text)
