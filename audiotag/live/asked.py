"""What a device is not sure of, kept until somebody says what it was."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from audiotag.continual.asking import Asked, Asking, confidence
from audiotag.continual.packing import pack, unpack
from audiotag.display import Shown, line
from audiotag.documents import json_text, read_fields
from audiotag.errors import CheckpointError, OutputError
from audiotag.files import atomic_path, check_place, remove_abandoned, write_text
from audiotag.live.listener import Consumer, HeardEvent

_FORMAT, _VERSION = "audiotag asked event", 1
_ENDINGS = ("flac", "wav")
_FIX = "Remove the file: nobody can then answer for this event."


class AskedEvents(Consumer):
    """Keeps the embeddings of events that the model is not sure of, and their recordings where there are any.

    Each is a file, ``ID.json``, beside ``ID.flac`` (or ``.wav``); other files are left alone. The surest give way once
    the folder is full. `answered` may be called by another thread.

    Args:
        folder: Where they are kept; made if it is missing.
        asking: Which are kept, and how many; what *folder* holds already is added.
        single_label: Whether scores are of classes of which a clip has one.

    Raises:
        CheckpointError: A file is damaged.
        OutputError: The folder cannot be written.
    """

    def __init__(self, folder: Path, asking: Asking, *, single_label: bool) -> None:
        self._folder, self._asking, self._single_label = folder, asking, single_label
        self._lock = threading.Lock()
        self._failed = 0
        check_place(folder)
        remove_abandoned(folder)
        self._kept: dict[str, list[Path]] = {}
        for path in sorted(folder.glob("*.json")):
            self._read(path)
        self._remove_gone()

    def __repr__(self) -> str:
        return line(self, str(self._folder), Shown(f"{len(self)} events"))

    def __len__(self) -> int:
        return len(self._asking)

    def heard(self, event: HeardEvent) -> Mapping[str, Any]:
        """Keep an event of which the model is not sure; its message then says ``asked``, and how sure it was."""
        sure = confidence(event.scores, single_label=self._single_label)
        key = event.message.id
        with self._lock:
            if not self._asking.offer(key, sure, event.embedding[None]):
                return {}
            self._kept[key] = []
            try:
                self._write(event, sure)
            except (OutputError, OSError):
                self._failed += 1
                self._asking.answered(key)
            self._remove_gone()
            return {"asked": True, "confidence": round(sure, 6)} if key in self._kept else {}

    def kept(self, key: str) -> Asked | None:
        """What is kept of an event, which goes on waiting; None where nothing is."""
        with self._lock:
            return next((one for one in self._asking if one.id == key), None)

    def answered(self, key: str) -> Asked | None:
        """What was kept of an event, which waits no more; None where nothing is."""
        with self._lock:
            kept = self._asking.answered(key)
            self._remove_gone()
        return kept

    def problems(self) -> Mapping[str, int]:
        """See `Consumer.problems`."""
        return {"events to ask about that could not be written": self._failed} if self._failed else {}

    def close(self) -> None:
        """See `Consumer.close`; all is written already."""

    def _write(self, event: HeardEvent, sure: float) -> None:
        message = event.message
        place, clip = self._folder / message.id, message.clip
        if clip is not None:
            copy = place.with_suffix(clip.suffix)
            with atomic_path(copy) as partial:
                shutil.copyfile(clip, partial)
            self._kept[message.id].append(copy)
        facts = {
            "format": _FORMAT,
            "format_version": _VERSION,
            "id": message.id,
            "confidence": sure,
            "clip": None if clip is None else place.with_suffix(clip.suffix).name,
            "event": message.fields(),
            "embedding": pack(event.embedding),
        }
        path = place.with_suffix(".json")
        self._kept[message.id].append(path)
        write_text(path, json_text(facts) + "\n")

    def _read(self, path: Path) -> None:
        facts = read_fields(path, error=CheckpointError, fix=_FIX)
        if facts.get("format") != _FORMAT:
            return
        facts.require_format(_FORMAT, _VERSION, "an event to ask about")
        key, clip = facts.text("id"), facts.text("clip", None)
        embedding = unpack(facts.fields("embedding")).astype(np.float32, copy=False)
        # A file that is none of ours is never removed, whatever the record calls its recording.
        if embedding.ndim != 1 or path.stem != key or clip not in (None, *(f"{key}.{ending}" for ending in _ENDINGS)):
            raise CheckpointError("the file is damaged", where=path, fix=_FIX)
        self._kept[key] = [path, *([] if clip is None else [self._folder / clip])]
        self._asking.offer(key, facts.number("confidence"), embedding[None])

    def _remove_gone(self) -> None:
        waiting = {one.id for one in self._asking}
        for key in [key for key in self._kept if key not in waiting]:
            for path in self._kept.pop(key):
                path.unlink(missing_ok=True)
