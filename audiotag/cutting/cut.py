"""Cutting detections out of recordings, into a folder with a list that can be learned from."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from audiotag.arguments import as_path, takes
from audiotag.audio.decoding import probe, stream_audio
from audiotag.audio.encoding import write_pcm16
from audiotag.csv_text import csv_text
from audiotag.cutting.choosing import choose
from audiotag.cutting.settings import SegmentSettings
from audiotag.data.detections import Detections
from audiotag.data.formats.table import written_label
from audiotag.data.rows import exact
from audiotag.data.sound_events import joined_spans
from audiotag.display import brief_repr
from audiotag.distributed.detections import read_detections
from audiotag.documents import read_fields
from audiotag.errors import AudioError, AudiotagError, MissingExtraError, OptionError
from audiotag.files import content_digest, remove_abandoned, safe_name, write_text
from audiotag.folders import claim_folder, path_inside
from audiotag.inference.ahead import map_ahead
from audiotag.inference.writers.output import differences
from audiotag.labels import Label
from audiotag.places import is_file
from audiotag.printing import few

MANIFEST = "segments.csv"
"""The list of what was cut out."""

_RECORD, _FORMAT, _VERSION = ".segments.json", "audiotag-segments", 1
_HEADER = ("path", "labels", "onset", "offset", "class", "score", "recording", "recording_onset", "recording_offset")
_APART = 30.0
"""Seconds between two segments of a recording from which on the second is sought, not read up to."""
_DECIMALS = 6
_WORKERS = 2


class CutListener(Protocol):
    """Is told what is done."""

    def begin(self, total: int | None, skipped: int, seconds: float | None) -> None:
        """*total* recordings are to be read."""

    def heard(self, seconds: float) -> None:
        """So much sound was cut out."""

    def done(self) -> None:
        """A recording is done."""

    def failed(self, error: AudiotagError) -> None:
        """A recording could not be read."""


@dataclass(frozen=True, slots=True)
class _Segment:
    """A part of a recording to be cut out, from *start* to *stop* or the recording's end, with *places* in it."""

    recording: int
    start: float
    stop: float
    places: tuple[int, ...]
    name: str


@brief_repr
@dataclass(frozen=True)
class Segments:
    """What was cut out.

    Attributes:
        manifest: A CSV of the files and the events in them, which ``finetune --train`` reads.
        files: Number of files that there are now.
        written: Number of those that were not there before.
        failures: What kept recordings from being read.
    """

    manifest: Path
    files: int
    written: int
    failures: Sequence[AudiotagError]


@takes(SegmentSettings)
def segments(
    detections: str | Path | Detections,
    output: str | Path,
    *,
    root: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    listener: CutListener | None = None,
    **settings: Any,
) -> Segments:
    """Cut detections out of recordings: files of one channel and 16 bits, and a list of them, ``segments.csv``.

    A file is called by class, recording, onset and offset. A recording that cannot be read is left out, and the others
    are cut.

    Args:
        detections: What `audiotag.read_detections` reads, or returns.
        output: Folder for the files.
        root: Folder that relative names of recordings count from; see `audiotag.read_detections`.
        resume: Go on with what an earlier run with the same settings has left.
        overwrite: Replace what another run has left.
        listener: Is told what is done.
        settings: Those of `SegmentSettings`, by name.

    Raises:
        ManifestError: The detections cannot be read.
        OptionError: A setting cannot be, no detection is left, or *output* holds something else.
        LabelError: There is no such class.
        OutputError: *output* cannot be written.
    """
    wanted = SegmentSettings.from_dict(settings)
    found = detections if isinstance(detections, Detections) else read_detections(detections, root=root)
    return _Cutting(found, as_path("output", output), wanted).run(resume, overwrite, listener)


class _Cutting:
    """One run."""

    def __init__(self, detections: Detections, folder: Path, settings: SegmentSettings) -> None:
        self._detections, self._folder, self._settings = detections, folder, settings
        chosen = choose(detections, settings)
        if not len(chosen):
            raise OptionError(
                f"none of the {len(detections)} detections is left",
                where=detections.source,
                fix="Give a wider range of scores, or other classes.",
            )
        for index in np.unique(detections.indices[chosen]):
            written_label(detections.labels[int(index)])  # known before any work
        self._segments = _named(detections, _spans(detections, chosen, settings), settings.format)
        self._rows: dict[str, list[tuple[object, ...]]] = {}
        self._written: list[str] = []

    def run(self, resume: bool, overwrite: bool, listener: CutListener | None) -> Segments:
        self._begin(resume, overwrite)
        by_recording = [list(own) for _, own in groupby(self._segments, attrgetter("recording"))]
        if listener is not None:
            listener.begin(len(by_recording), 0, None)
        failures: list[AudiotagError] = []
        try:
            for own, error in map_ahead(self._try, by_recording, workers=_WORKERS, depth=2 * _WORKERS):
                if error is not None:
                    failures.append(error)
                if listener is not None:
                    listener.heard(sum(one.stop - one.start for one in own if one.name in self._rows))
                    listener.done() if error is None else listener.failed(error)
        finally:
            self._write_manifest()
        return Segments(self._folder / MANIFEST, len(self._rows), len(self._written), tuple(failures))

    def _begin(self, resume: bool, overwrite: bool) -> None:
        """Make the folder ready, and note what decides what is in it."""
        record = self._folder / _RECORD
        about = {"detections": self._detections.source, **self._settings.to_dict()}
        about["segments"] = content_digest(repr([self._told(one) for one in self._segments]).encode(errors="replace"))
        if is_file(record):
            self._go_on(about, resume, overwrite)
        claim_folder(self._folder, "segments")
        remove_abandoned(self._folder)
        told = {"format": _FORMAT, "format_version": _VERSION, "made_by": about}
        write_text(record, json.dumps({**told, "files": [one.name for one in self._segments]}, indent=1) + "\n")

    def _told(self, segment: _Segment) -> tuple[object, ...]:
        return (self._detections.names[segment.recording], segment.start, segment.stop, segment.name)

    def _go_on(self, about: dict[str, Any], resume: bool, overwrite: bool) -> None:
        """Refuse what an earlier run has left, or remove it, or keep it."""
        record = self._folder / _RECORD
        fields = read_fields(record, error=OptionError, fix="Name a new --output.")
        fields.require_format(_FORMAT, _VERSION, "a record of segments")
        before = dict(fields.fields("made_by"))
        if resume and not overwrite:
            if before != about:
                raise OptionError(
                    f"the segments in it were chosen in another way: {differences(before, about)}",
                    where=self._folder,
                    fix="Give the same settings, or begin anew with --overwrite.",
                )
            return
        if not overwrite:
            raise OptionError(
                "there are segments in this folder",
                where=self._folder,
                fix="Go on with --resume, replace them with --overwrite, or name another folder.",
            )
        names = fields.texts("files")
        if odd := [name for name in names if not _OWN_NAME.fullmatch(name)]:
            # A record that somebody sent would have files of others removed.
            raise OptionError(f"{few(odd)} cannot be of our making", where=record, fix="Name another folder.")
        for name in [*names, MANIFEST]:
            path_inside(self._folder, name, error=OptionError, where=record).unlink(missing_ok=True)

    def _try(self, own: list[_Segment]) -> tuple[list[_Segment], AudiotagError | None]:
        try:
            self._cut(own)
        except (AudioError, MissingExtraError) as error:
            return own, error
        return own, None

    def _cut(self, own: list[_Segment]) -> None:
        """Write the segments of one recording; those that are there already stay."""
        path = self._detections.path(own[0].recording)
        info = probe(path)
        rate = self._settings.sample_rate or info.sample_rate
        within = [segment for segment in own if segment.start < info.seconds]
        missing = []
        for segment in within:
            if is_file(self._folder / segment.name):
                self._note(segment, info.seconds)
            else:
                missing.append(segment)
        for run in _runs(missing):
            start, stop = run[0].start, max(segment.stop for segment in run)
            blocks = stream_audio(path, rate, start=start, stop=min(stop, info.seconds))
            for segment, sound in _parts(blocks, run, rate):
                write_pcm16(self._folder / segment.name, sound, rate)
                self._written.append(segment.name)
                self._note(segment, info.seconds)
        if len(within) < len(own):
            late = max(own, key=attrgetter("start"))
            raise AudioError(
                f"a detection begins at {late.start:g} s, and the recording lasts {info.seconds:g} s",
                where=path,
                fix="Is it the recording that was tagged? Check --root.",
            )

    def _note(self, segment: _Segment, seconds: float) -> None:
        """Keep the rows of a segment that is there, of a recording of so many *seconds*."""
        found = self._detections
        rows: list[tuple[object, ...]] = []
        for place in segment.places:
            onset, offset, score = (float(values[place]) for values in (found.onsets, found.offsets, found.scores))
            label: Label = found.labels[int(found.indices[place])]
            begin, end = (round(time - segment.start, _DECIMALS) for time in (onset, min(offset, seconds)))
            about = (segment.name, written_label(label), exact(begin), exact(end), label.name)
            told = "" if math.isnan(score) else f"{score:.6g}"
            rows.append((*about, told, found.names[segment.recording], exact(onset), exact(offset)))
        self._rows[segment.name] = rows

    def _write_manifest(self) -> None:
        rows = (row for segment in self._segments for row in self._rows.get(segment.name, ()))
        write_text(self._folder / MANIFEST, csv_text([_HEADER, *rows]))


_OWN_NAME = re.compile(r"[^/\\\\]+ \d{5,}\.\d{3}-\d{5,}\.\d{3}(?: \(\d+\))?\.(?:flac|wav)")


@dataclass(frozen=True, slots=True)
class _Span:
    recording: int
    start: float
    stop: float
    places: tuple[int, ...]


def _spans(detections: Detections, chosen: NDArray[np.int64], settings: SegmentSettings) -> list[_Span]:
    """What to cut out, by recording and onset."""
    order = chosen[np.lexsort((chosen, detections.onsets[chosen], detections.recordings[chosen]))]
    recordings = detections.recordings[order].astype(np.int64)
    starts = np.maximum(detections.onsets[order] - settings.padding, 0.0)
    stops = detections.offsets[order] + settings.padding
    begins = np.ones(len(order), dtype=np.bool_)
    if settings.overlaps == "join":
        begins, stops = joined_spans(starts, stops, recordings)
    firsts = np.flatnonzero(begins)
    ends = np.append(firsts[1:], len(order))
    return [
        _Span(int(recordings[first]), float(starts[first]), float(stop), tuple(order[first:end].tolist()))
        for first, end, stop in zip(firsts.tolist(), ends.tolist(), stops.tolist(), strict=True)
    ]


def _named(detections: Detections, spans: Sequence[_Span], format: str) -> list[_Segment]:
    """Segments with names that no other has, on file systems without capitals neither."""
    taken: set[str] = set()
    named = []
    for span in spans:
        places = list(span.places)
        classes = dict.fromkeys(detections.labels[index].name for index in detections.indices[places].tolist())
        recording = Path(detections.names[span.recording].replace("\\", "/")).stem
        onset, offset = float(detections.onsets[places].min()), float(detections.offsets[places].max())
        stem = f"{safe_name(' - '.join(classes))} {safe_name(recording)} {onset:09.3f}-{offset:09.3f}"
        name, number = stem, 2
        while name.casefold() in taken:
            name, number = f"{stem} ({number})", number + 1
        taken.add(name.casefold())
        named.append(_Segment(**asdict(span), name=f"{name}.{format}"))
    return named


def _runs(own: Sequence[_Segment]) -> Iterator[list[_Segment]]:
    """Segments that are read in one go."""
    run: list[_Segment] = []
    stop = -math.inf
    for segment in own:
        if run and segment.start > stop + _APART:
            yield run
            run = []
        run.append(segment)
        stop = max(stop, segment.stop)
    if run:
        yield run


def _parts(
    blocks: Iterator[NDArray[np.float32]], run: Sequence[_Segment], rate: int
) -> Iterator[tuple[_Segment, NDArray[np.float32]]]:
    """The sound of each segment of a *run*, of *blocks* that begin with the first."""
    begin = run[0].start
    bounds = {one.name: (round((one.start - begin) * rate), round((one.stop - begin) * rate)) for one in run}
    parts: dict[str, list[NDArray[np.float32]]] = {one.name: [] for one in run}
    waiting = list(run)
    position = 0
    for block in blocks:
        for one in [*waiting]:
            first, end = bounds[one.name]
            if first >= position + len(block):
                break  # the later ones begin later still
            parts[one.name].append(block[max(first - position, 0) : max(end - position, 0)])
            if end <= position + len(block):
                waiting.remove(one)
                yield one, np.concatenate(parts.pop(one.name))
        position += len(block)
    for one in waiting:  # the recording has ended, within them or, where its header promises too much, before
        if parts[one.name]:
            yield one, np.concatenate(parts[one.name])
