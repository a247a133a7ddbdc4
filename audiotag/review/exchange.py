"""Verdicts to other tools, and from them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from audiotag.arguments import as_path
from audiotag.csv_text import csv_text
from audiotag.data.clips import Clip, ClipColumns, ClipSet
from audiotag.data.detections import Detections
from audiotag.data.formats.manifest import write_manifest
from audiotag.data.recording import clip_seconds
from audiotag.data.rows import exact
from audiotag.errors import OptionError
from audiotag.files import write_text
from audiotag.inference.events import Event
from audiotag.inference.writers import write_results
from audiotag.inference.writers.base import WriterSettings
from audiotag.inference.writers.rows import Result
from audiotag.review.records import Query, Reviewed
from audiotag.review.store import ReviewStore

_LIST = ("path", "id", "start", "stop", "labels")
_AT_ONCE = 5000
_END_TO_END = ("audacity", "raven")
"""Formats that lay recordings end to end, so that their lengths matter."""


def export_events(review: ReviewStore, path: str | Path, format: str = "csv", *, query: Query | None = None) -> int:
    """Write events in a format of ``audiotag infer``: ``csv``, ``raven``, ``audacity`` and the others.

    Events that somebody added have the score 1. Recordings of Raven and Audacity are laid end to end, as these programs
    do, and must be there; where *path* ends in no suffix, it becomes a folder with a file for each recording.

    Args:
        review: The review.
        path: The file, which is replaced where it exists, or folder.
        format: Name of the format.
        query: Which events; None for the confirmed ones. Its order does not matter.

    Returns:
        How many events were written.

    Raises:
        AudioError: The length of a recording is needed and cannot be read.
        OptionError: There is no such event, or recordings of one name would share a file of a folder.
        OutputError: *path* cannot be written.
    """
    path = as_path("path", path)
    found = _by_recording(review, query or Query(status=("confirmed",)))
    if not found:
        raise OptionError("there is no such event", where=review.folder, fix="Judge some first, or ask for others.")
    results = [_result(recording, events, format in _END_TO_END) for recording, events in found]
    if path.suffix:
        write_results(format, path, WriterSettings(), results)
        return sum(len(events) for _, events in found)
    names = [recording.stem for recording, _ in found]
    if len({*names}) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise OptionError(f"several recordings are called {twice!r}", where=path, fix="Write one file.")
    path.mkdir(parents=True, exist_ok=True)
    for result in results:
        write_results(format, path / f"{result.path.stem}.txt", WriterSettings(), [result])
    return sum(len(events) for _, events in found)


def export_manifest(review: ReviewStore, path: str | Path) -> int:
    """Write what was judged as a list of clips that ``audiotag finetune`` reads: JSON, or CSV by the ending of *path*.

    Each part of a recording in which something was confirmed or rejected is a clip. Its labels are the classes that are
    confirmed for at least half of it (or lie in it with at least half of themselves). Classes that the model has found
    there and nobody has judged are unknown, which a CSV cannot say.

    Returns:
        How many clips were written.

    Raises:
        OptionError: Nothing was judged, or the ending is another.
        OutputError: *path* cannot be written.
    """
    path = as_path("path", path)
    if path.suffix.lower() not in (".json", ".csv"):
        raise OptionError("a list of clips is JSON or CSV", where=path, fix="Call it .json or .csv.")
    labels = review.labels
    clips = [clip for recording, events in _by_recording(review, Query()) for clip in _clips(review, recording, events)]
    if not clips:
        raise OptionError("nothing was judged", where=review.folder, fix="Confirm or reject some events first.")
    if path.suffix.lower() == ".json":
        write_manifest(ClipSet(ClipColumns.of(clips, len(labels)), labels, False, str(review.folder)), path)
    else:
        rows = [
            (
                clip.path,
                clip.id,
                exact(clip.start),
                exact(math.nan if clip.stop is None else clip.stop),
                "".join(f"{labels[index].mid};" for index in clip.labels) or "none",
            )
            for clip in clips
        ]
        write_text(path, csv_text([_LIST, *rows], verbatim=True))
    return len(clips)


def import_events(review: ReviewStore, events: Detections, *, who: str, rejected: bool = False) -> int:
    """Take in what somebody has judged elsewhere: a verdict of *who* on each event.

    An event that is there (of the same recording and class, with borders within 1 ms) is confirmed. Others are added;
    classes that the review lacks as well.

    Args:
        review: The review.
        events: As `audiotag.read_detections` reads them; all are taken for confirmed, whatever their scores.
        who: The person.
        rejected: Whether they are rejected instead; those that are not there are left out then.

    Returns:
        How many events were changed or added.

    Raises:
        OptionError: A recording is none of the review, or *who* is no name.
    """
    classes = review.add_classes([label for label in events.labels if label not in review.labels])
    changed = 0
    for recording in range(len(events.names)):
        path = events.path(recording)
        known = {
            (one.label.mid, _near(one.onset), _near(one.offset)): one for one in _of(review, Query(recording=path))
        }
        for place in (events.recordings == recording).nonzero()[0].tolist():
            label = classes[classes.index(events.labels[int(events.indices[place])].mid)]
            onset, offset = float(events.onsets[place]), float(events.offsets[place])
            there = _match(known, label.mid, onset, offset)
            if there is None and not rejected:
                added = review.add(path, label.mid, onset, offset, who=who)
                known[label.mid, _near(onset), _near(offset)] = added
                changed += 1
            elif there is not None and there.status != ("rejected" if rejected else "confirmed"):
                judge = review.reject if rejected else review.confirm
                judge(there.number, version=there.version, who=who)
                changed += 1
    return changed


def _of(review: ReviewStore, query: Query) -> Iterator[Reviewed]:
    after: str | None = None
    while True:
        page = review.page(query, limit=_AT_ONCE, after=after)
        yield from page.events
        if (after := page.after) is None:
            return


def _by_recording(review: ReviewStore, query: Query) -> list[tuple[Path, list[Reviewed]]]:
    events = sorted(_of(review, query), key=lambda one: (str(one.recording), one.onset, one.offset, one.number))
    return [(recording, list(some)) for recording, some in groupby(events, key=lambda one: one.recording)]


def _result(recording: Path, events: Sequence[Reviewed], needs_length: bool) -> Result:
    clip = Clip(recording.stem, recording)
    seconds = clip_seconds(clip) if needs_length else max(one.offset for one in events)
    rows = [
        Event(one.onset, one.offset, one.label.name, one.label.mid, 1.0 if one.score is None else one.score)
        for one in events
    ]
    return Result(clip, seconds, tuple(rows))


def _clips(review: ReviewStore, recording: Path, events: Sequence[Reviewed]) -> Iterator[Clip]:
    judged = [one for one in events if one.status in ("confirmed", "rejected")]
    labels = review.labels
    for onset, offset in sorted({(one.onset, one.offset) for one in judged}):
        shared = [one for one in events if _shares_half(one, onset, offset)]
        heard, doubtful = (
            {labels.index(one.label.mid) for one in shared if one.status == status}
            for status in ("confirmed", "unreviewed")
        )
        yield Clip(
            f"{recording.as_posix()}@{exact(onset)}-{exact(offset)}",
            recording,
            tuple(sorted(heard)),
            start=onset,
            stop=offset,
            unknown=tuple(sorted(doubtful - heard)),
        )


def _shares_half(event: Reviewed, onset: float, offset: float) -> bool:
    shared = min(event.offset, offset) - max(event.onset, onset)
    return shared >= min(event.offset - event.onset, offset - onset) / 2


def _near(seconds: float) -> int:
    return round(1000 * seconds)


def _match(known: dict[tuple[str, int, int], Reviewed], mid: str, onset: float, offset: float) -> Reviewed | None:
    begin, end = _near(onset), _near(offset)
    places = ((mid, begin + first, end + last) for first in (0, -1, 1) for last in (0, -1, 1))
    return next((known[place] for place in places if place in known), None)
