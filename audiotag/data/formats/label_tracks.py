"""Label files beside recordings: Audacity's label tracks, sed_eval's lists without file names, and what they share."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from audiotag.audio.decoding import AUDIO_SUFFIXES
from audiotag.data.checking import is_recording_name, recordings_below
from audiotag.data.clips import ClipSet, Dataset
from audiotag.data.formats.events import Span, is_number, whole_clip
from audiotag.data.formats.tables import beginning
from audiotag.data.rows import Row, clips_from_rows
from audiotag.data.sets.tiny import write_lines, write_tiny_recordings
from audiotag.documents import read_text
from audiotag.errors import ManifestError, OptionError
from audiotag.places import is_file
from audiotag.printing import few

_ENDINGS = (".txt", ".ann")
_LOOKED_AT = 1000
"""Files of a folder that are looked at before it is taken for another format's."""


class LabelTracks(Dataset):
    """Label tracks as Audacity exports them: a line ``onset offset label`` for each event, with tabs between.

    The source is a folder in which a track lies beside each recording, at any depth (``kitchen.wav`` and
    ``kitchen.txt``, or ``kitchen.ann`` as in TUT Sound Events), or one track, whose recording lies beside it. An empty
    track says that nothing is heard. What Audacity says of frequencies is passed over.

    *without_labels* says what a recording without a track is: an ``"error"``, ``"silent"`` (nothing is heard in it) or
    to ``"skip"``.
    """

    def read(
        self,
        source: Path,
        *,
        root: Path | None = None,
        single_label: bool = False,
        without_labels: str = "error",
        **reading: Any,
    ) -> ClipSet:
        """See `audiotag.data.clips.Dataset.read`; for *without_labels* see the class."""
        if root is not None and source.is_dir():
            raise ManifestError("label tracks lie beside their recordings", where=source, fix="Leave the root out.")
        folder = source if source.is_dir() else root or source.parent
        if source.is_dir():
            found = labelled_recordings(source, _tracks_of, without_labels)
        else:
            found = iter([(recording_beside(source, source.stem, folder), [source])])
        rows = (_row(path.relative_to(folder), tracks) for path, tracks in found)
        return clips_from_rows(
            rows, source=source, root=folder, single_label=single_label, labels_required=False, **reading
        )

    def recognises(self, source: Path) -> bool:
        """Whether it is a track, or a folder with one beside a recording."""
        if source.is_dir():
            return has_labels(source, lambda path: _is_track(path) and _has_recording(path))
        return _is_track(source)

    def write_tiny(self, folder: Path, *, seed: int = 0) -> Path:
        """Write a few made-up recordings, with a track beside each, to a new *folder*, and return it."""
        for name, label in write_tiny_recordings(folder, seed):
            write_lines(folder / f"{Path(name).stem}.txt", [f"0.100000\t0.400000\t{label}"])
        return folder


def labels_in(source: Path, folder: Path) -> Iterator[tuple[str, Span]]:
    """The recording, below *folder*, and the event of each label of a track, or of the tracks in a folder.

    Raises:
        ManifestError: A track is wrong.
    """
    if source.is_dir():
        for path, tracks in labelled_recordings(source, _tracks_of, "silent"):
            yield from ((str(path.relative_to(source)), span) for track in tracks for span in _spans(track))
    else:
        name = recording_beside(source, source.stem, folder).name
        yield from ((name, span) for span in _spans(source))


def labelled_recordings(
    folder: Path, labels_of: Callable[[Path], Sequence[Path]], without_labels: str
) -> Iterator[tuple[Path, Sequence[Path]]]:
    """The recordings below *folder*, each with the files of its labels, none where nothing is heard in it.

    Args:
        folder: Where to look.
        labels_of: Recording → the files of its labels.
        without_labels: What a recording without labels is: an ``"error"``, ``"silent"``, or to ``"skip"``.

    Raises:
        ManifestError: Recordings have no labels, and that is an error.
        OptionError: *without_labels* is another word.
    """
    if without_labels not in ("error", "silent", "skip"):
        raise OptionError(
            f"without_labels is {without_labels!r}", where=folder, fix="It may be 'error', 'silent' or 'skip'."
        )
    found = [(path, labels_of(path)) for path in recordings_below(folder)]
    without = [str(path.relative_to(folder)) for path, labels in found if not labels]
    if without and without_labels == "error":
        raise ManifestError(
            f"{len(without)} of {len(found)} recordings have no file of labels beside them: {few(without)}",
            where=folder,
            fix="Put an empty one beside those in which nothing is heard (without_labels='silent'), or move the others "
            "away (without_labels='skip').",
        )
    return ((path, labels) for path, labels in found if labels or without_labels == "silent")


def has_labels(folder: Path, fits: Callable[[Path], bool]) -> bool:
    """Whether a file among the first below *folder* *fits*; quick also where there are millions."""
    return any(map(fits, islice(_files_below(folder), _LOOKED_AT)))


def _files_below(folder: Path) -> Iterator[Path]:
    folders = [folder]
    for place in folders:
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(place / entry.name)
                    else:
                        yield place / entry.name
        except OSError:
            continue


def recording_beside(labels: Path, stem: str, folder: Path) -> Path:
    """The recording called *stem* in *folder*, of a file of *labels*.

    Raises:
        ManifestError: There is none, or there are several.
    """
    try:
        found = sorted(path for path in folder.iterdir() if path.stem == stem and is_recording_name(path.name))
    except OSError as error:
        raise ManifestError(f"the folder cannot be listed: {error.strerror}", where=folder) from error
    if len(found) != 1:
        raise ManifestError(
            f"{len(found)} recordings are called {stem!r}" if found else f"no recording called {stem!r} lies beside it",
            where=labels,
            fix="Put the one that it labels beside it, under the same name.",
        )
    return found[0]


def _tracks_of(recording: Path) -> list[Path]:
    names = (recording.with_suffix(ending) for ending in _ENDINGS)
    return [path for path in names if is_file(path)]


def _row(recording: Path, tracks: Sequence[Path]) -> Row:
    spans = [span for track in tracks for span in _spans(track)]
    return whole_clip(str(recording), spans, tracks[0].name if tracks else f"{recording.name}, no track")


def _spans(track: Path) -> Iterator[Span]:
    for number, line in enumerate(_lines(read_text(track, error=ManifestError)), start=1):
        if line.strip() and not line.startswith("\\"):  # frequencies of the label before
            cells = [cell.strip() for cell in line.split(_separator(line), 2)]
            onset, offset, text = [*cells, "", ""][:3]
            label, score = _scored(text)
            yield Span.read((onset, offset, label), track, number, score)


def _scored(text: str) -> tuple[str, str]:
    """A label, and the score in a fourth column, as BirdNET writes it."""
    label, _, score = text.rpartition("\t")
    return (label.strip(), score) if label and is_number(score) else (text, "")


def _lines(text: str) -> list[str]:
    return re.split(r"\r\n|\r|\n", text)


def _separator(line: str) -> str | None:
    return next((mark for mark in "\t;," if mark in line), None)


def _is_track(path: Path) -> bool:
    """Whether the first lines of a file are events."""
    if path.suffix.lower() not in _ENDINGS:
        return False
    lines = [line for line in _lines(beginning(path))[:20] if line.strip() and not line.startswith("\\")]
    return bool(lines) and all(map(_is_event, lines))


def _has_recording(track: Path) -> bool:
    endings = (ending for suffix in AUDIO_SUFFIXES for ending in (suffix, suffix.upper()))
    return any(is_file(track.with_suffix(ending)) for ending in endings)


def _is_event(line: str) -> bool:
    cells = line.split(_separator(line), 2)
    try:
        return len(cells) == 3 and float(cells[0]) <= float(cells[1])
    except ValueError:
        return False
