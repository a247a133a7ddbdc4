"""Answers that come as lines: in a file that grows, or on the standard input."""

from __future__ import annotations

import csv
import os
import select
import sys
import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

from audiotag import places
from audiotag.csv_text import read_cell
from audiotag.display import line as shown
from audiotag.documents import Fields, parse_json
from audiotag.errors import AudiotagError, OptionError
from audiotag.files import content_digest
from audiotag.live.answers import take_answer
from audiotag.live.learning import LiveLearner, ReadUpTo
from audiotag.live.listener import Consumer, HeardEvent

_EVERY = 1.0
_PATIENCE = 0.2
_TAIL = 4096


class AnswerLines(Consumer):
    """Reads answers in a thread of its own; once it is closed, the learner has been told all that has come.

    Args:
        name: What messages call the lines.
        learner: Learns; closed later.
        tell: Takes a line about what cannot be taken.
    """

    def __init__(self, name: str, learner: LiveLearner, tell: Callable[[str], object]) -> None:
        self._name, self._learner, self._tell = name, learner, tell
        self._wrong = 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audiotag-answers", daemon=True)

    def __repr__(self) -> str:
        return shown(self, self._name)

    def heard(self, event: HeardEvent) -> Mapping[str, Any]:
        """See `Consumer.heard`: it has nothing to say."""
        return {}

    def problems(self) -> Mapping[str, int]:
        """See `Consumer.problems`."""
        return {"lines with labels that could not be taken": self._wrong} if self._wrong else {}

    def close(self) -> None:
        """See `Consumer.close`."""
        self._closed.set()
        self._thread.join(5.0)

    @abstractmethod
    def _run(self) -> None:
        """Read until closed."""

    def _take(self, content: bytes, columns: list[str] | None = None) -> None:
        """Take one line: an object of JSON, or the cells of *columns*, of which empty labels are none."""
        text = content.decode(errors="replace").removeprefix("\ufeff").strip()
        if not text:
            return
        try:
            if columns is None:
                found: Any = parse_json(text, where=self._name, error=OptionError)
            else:
                row = dict(zip(columns, map(read_cell, _cells(text)), strict=False))
                found = {**row, "labels": row.get("labels") or None}
            take_answer(Fields(found, where=self._name, error=OptionError), self._learner.learn)
        except (AudiotagError, csv.Error) as error:
            self._refused(str(error))

    def _refused(self, why: str) -> None:
        self._wrong += 1
        self._tell(f"answers: {why}")


class AnswerFile(AnswerLines):
    """A file that is looked at every second, with a line for each answer; what is in it at first is learnt at once.

    A line counts when its end is there. How far the file was read is kept with what was learnt; a file that was written
    anew is read from its beginning.

    Args:
        path: ``.csv`` with the columns ``id`` and ``labels``, or else lines of JSON; need not exist yet.
        learner: Learns; closed later.
        tell: Takes a line about what cannot be taken.
    """

    def __init__(self, path: Path, learner: LiveLearner, tell: Callable[[str], object]) -> None:
        super().__init__(str(path), learner, tell)
        self._path = path
        self._seen: tuple[int, ...] = ()
        self._fails = False
        self._read()
        self._thread.start()

    def close(self) -> None:
        """See `Consumer.close`."""
        super().close()
        self._read()

    def _run(self) -> None:
        while not self._closed.wait(_EVERY):
            self._read()

    def _read(self) -> None:
        try:
            status = self._path.stat()
            seen = (status.st_ino, status.st_size, status.st_mtime_ns)
            if seen != self._seen:
                with self._path.open("rb") as file:
                    self._read_lines(file)
            self._seen, self._fails = seen, False
        except FileNotFoundError:
            return
        except OSError as error:
            if not self._fails:
                self._refused(f"{self._path} cannot be read: {error.strerror}")
            self._fails = True

    def _read_lines(self, file: BufferedReader) -> None:
        columns = None
        if self._path.suffix.lower() == ".csv":
            header = file.readline()
            if not header.endswith(b"\n"):  # it is still being written
                return
            columns = _cells(header.decode(errors="replace").removeprefix("\ufeff").strip())
        position = file.tell()
        known = self._learner.read_up_to
        if known is not None and known == self._up_to(file, known.offset):
            position = known.offset
        file.seek(position)
        while (content := file.readline()).endswith(b"\n"):
            self._take(content, columns)
            position += len(content)
        self._learner.read_up_to = self._up_to(file, position)

    def _up_to(self, file: BufferedReader, offset: int) -> ReadUpTo:
        """That it was read so far; another file, or one that was written anew, gives something else."""
        file.seek(max(0, offset - _TAIL))
        return ReadUpTo(str(self._path.absolute()), offset, content_digest(file.read(min(offset, _TAIL))))


class AnswerInput(AnswerLines):
    """The standard input, with a line of JSON for each answer.

    Args:
        learner: Learns; closed later.
        tell: Takes a line about what cannot be taken.
    """

    def __init__(self, learner: LiveLearner, tell: Callable[[str], object]) -> None:
        super().__init__("standard input", learner, tell)
        self._thread.start()

    def _run(self) -> None:
        if sys.stdin is None:
            return
        handle, rest = sys.stdin.fileno(), b""
        while not self._closed.is_set():
            # A read cannot be ended from outside; where nothing comes, `close` must be seen all the same.
            if not places.WINDOWS and not select.select([handle], [], [], _PATIENCE)[0]:
                continue
            try:
                content = os.read(handle, 1 << 16)
            except OSError as error:
                self._refused(f"the standard input cannot be read: {error.strerror}")
                return
            *lines, rest = (rest + content).split(b"\n")
            for one in lines if content else [rest]:
                self._take(one)
            if not content:
                return


def _cells(text: str) -> list[str]:
    return next(csv.reader([text]), [])
