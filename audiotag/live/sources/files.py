"""Files: one that is heard as if it came in just now, and a folder that recorders drop files into."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from audiotag.audio.decoding import AUDIO_SUFFIXES, probe, stream_audio
from audiotag.documents import Fields, json_text, parse_json
from audiotag.errors import AudioError, AudiotagError, OutputError
from audiotag.files import write_text, writing
from audiotag.live.sources.base import LiveSource, Recorded, RecordingSource, SoundBlock, SourceSettings

RECORD = ".audiotag-heard"
"""File in a watched folder that names what has been heard."""

SETTLED = 3.0
"""Seconds for which a file must not change before it counts as finished."""

_EVERY = 1.0

_Seen = tuple[int, int]
"""Bytes, and nanoseconds of the last change."""


class FileStream(LiveSource):
    """A recording, from its beginning to its end, as fast as it can be heard.

    Args:
        place: Its path.
        settings: Has nothing to say.

    Raises:
        AudioError: It cannot be read.
        OptionError: There are settings.
    """

    waits = True
    endless = False

    def __init__(self, place: str, settings: SourceSettings) -> None:
        settings.refuse(place)
        self.name = place
        self._info = probe(Path(place))
        self._closed = False

    def blocks(self) -> Iterator[SoundBlock]:
        """See `LiveSource.blocks`; mono."""
        for block in stream_audio(self.name, self._info.sample_rate):
            if self._closed:
                return
            yield SoundBlock(block[:, None], self._info.sample_rate)

    def close(self) -> None:
        """See `LiveSource.close`."""
        self._closed = True


class WatchedFolder(RecordingSource):
    """A folder, with its subfolders, that recorders drop files into; what lies in it already is heard as well.

    A file is taken when it has not changed for three seconds. Hidden files, and those without an ending of recordings,
    are left alone. What has been heard is noted in the folder, so that each file is heard once, also when the program
    is ended and begun again; a file that was being heard when it was killed is heard again.

    Args:
        place: Its path.
        settings: Has nothing to say.

    Raises:
        OptionError: There are settings.
        OutputError: The record cannot be written or read.
    """

    def __init__(self, place: str, settings: SourceSettings) -> None:
        settings.refuse(place)
        self.name = place
        self._folder = Path(place)
        self._record = self._folder / RECORD
        self._heard = self._read_record()
        present = self._present()
        self._heard = {name: seen for name, seen in self._heard.items() if name in present}
        # Written anew without the files that are gone, it does not grow for ever.
        write_text(self._record, "".join(_line(name, seen) for name, seen in self._heard.items()))
        self._closed = threading.Event()

    def recordings(self) -> Iterator[Recorded | None]:
        """See `RecordingSource.recordings`, by the time of their last change."""
        before: dict[str, _Seen] = {}
        while not self._closed.is_set():
            present = self._present()
            waiting = {name: seen for name, seen in present.items() if name not in self._heard}
            for name, seen in sorted(waiting.items(), key=lambda one: (one[1][1], one[0])):
                if before.get(name) == seen and time.time() - seen[1] / 1e9 >= SETTLED and seen[0]:
                    yield Recorded(self._folder / name, lambda name=name, seen=seen: self._note(name, seen))  # type: ignore[misc]
                    if self._closed.is_set():
                        return
            before = waiting
            yield None
            self._closed.wait(_EVERY)

    def close(self) -> None:
        """See `RecordingSource.close`."""
        self._closed.set()

    def _present(self) -> dict[str, _Seen]:
        found = {}

        def failed(error: OSError) -> None:
            if Path(error.filename or "") == self._folder:
                raise AudioError(f"the folder cannot be looked into: {error.strerror}", where=self._folder) from error

        for place, folders, names in os.walk(self._folder, onerror=failed):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                path = Path(place, name)
                if name.startswith(".") or path.suffix.lower() not in AUDIO_SUFFIXES:
                    continue
                try:
                    status = path.stat()
                except OSError:
                    continue  # it has just gone
                found[str(path.relative_to(self._folder))] = (status.st_size, status.st_mtime_ns)
        return found

    def _note(self, name: str, seen: _Seen) -> None:
        self._heard[name] = seen
        with writing(self._record), self._record.open("a", encoding="utf-8") as file:
            file.write(_line(name, seen))

    def _read_record(self) -> dict[str, _Seen]:
        try:
            lines = self._record.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise OutputError(f"it cannot be read: {error.strerror}", where=self._record) from error
        heard = {}
        for number, line in enumerate(lines, start=1):
            where = f"{self._record}, line {number}"
            try:
                fields = Fields(parse_json(line, where=where, error=OutputError), where=where, error=OutputError)
                heard[fields.text("name")] = (fields.integer("bytes"), fields.integer("changed"))
            except AudiotagError:
                if number < len(lines):  # half a last line is what a power cut leaves
                    raise
        return heard


def _line(name: str, seen: _Seen) -> str:
    return json_text({"name": name, "bytes": seen[0], "changed": seen[1]}) + "\n"
