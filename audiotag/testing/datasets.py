"""Checks of dataset formats, on a tiny source that the format writes itself (`write_tiny`), or on one that is given."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiotag.data.clips import Clip, ClipSet, Dataset
from audiotag.data.reading import read_clips
from audiotag.data.sniffing import is_called_so, sniff_format
from audiotag.errors import AudiotagError, ManifestError
from audiotag.inference.sound import SoundReader
from audiotag.labels import Label, LabelSet
from audiotag.testing.check import CheckFailedError, check, refused, require, skip
from audiotag.testing.subjects import Subject
from audiotag.testing.traces import check_no_traces

RATE = 16_000
_LONGEST = 60.0
_MOST_DECODED = 50
"""Clips decoded of a source that somebody gives, which may be large."""


def changed_at(paths: Iterable[Path]) -> dict[Path, int]:
    """Path → when it was last changed, in nanoseconds."""
    return {path: path.stat().st_mtime_ns for path in paths}


@contextmanager
def source_of(subject: Subject, seed: int = 0) -> Iterator[Path]:
    """What the format reads: the source given, or a tiny one in a folder that is removed afterwards."""
    if subject.source is not None:
        yield subject.source
        return
    dataset = subject.make(interface=Dataset)
    if not hasattr(dataset, "write_tiny"):
        skip("the format has no write_tiny, and no source is given")
    with tempfile.TemporaryDirectory() as folder:
        written = dataset.write_tiny(Path(folder) / "tiny", seed=seed)
        require(isinstance(written, Path), f"write_tiny returns a {type(written).__name__}, not a Path")
        yield written


def read(subject: Subject, source: Path, **more: object) -> ClipSet:
    """The clips of *source*, of the format itself."""
    clips = subject.make(interface=Dataset).read(source, **{**subject.options, **more})
    require(isinstance(clips, ClipSet), f"read returns a {type(clips).__name__}, not a ClipSet")
    return clips


def decoded(clip: Clip, rate: int = RATE) -> NDArray[np.float32]:
    """The sound of a clip (its first minute), which must be readable and finite."""
    reader = SoundReader(rate, takes_audio=True, video_shape=None, longest_seconds=_LONGEST)
    sound = reader.read(clip if clip.stop is not None else replace(clip, stop=clip.start + _LONGEST))
    require(sound.error is None, f"the clip {clip.id!r} cannot be read: {sound.error}")
    waveform = np.zeros(0, dtype=np.float32) if sound.waveform is None else sound.waveform
    require(waveform.size > 0 or sound.is_long, f"the clip {clip.id!r} holds no sound")
    require(bool(np.isfinite(waveform).all()), f"the clip {clip.id!r} has samples that are not finite")
    return waveform


@check("dataset")
def the_factory_makes_a_format(subject: Subject) -> None:
    """The factory is called without arguments and gives a `Dataset`."""
    subject.make(interface=Dataset)


@check("dataset")
def its_clips_are_sound(subject: Subject) -> None:
    """Unique names, labels in range and ascending, unknown labels apart from them, possible times."""
    with source_of(subject) as source:
        clips = read(subject, source)
    require(len(clips) > 0, "there are no clips")
    names = [clip.id for clip in clips]
    require(all(names) and len(set(names)) == len(names), "names of clips are empty or occur twice")
    count = len(clips.labels)
    for clip in clips:
        require(isinstance(clip.path, Path), f"{clip.id}: path is a {type(clip.path).__name__}, not a Path")
        for what, labels in (("labels", clip.labels), ("unknown", clip.unknown)):
            require(list(labels) == sorted(set(labels)), f"{clip.id}: {what} is {labels}, not ascending")
            require(all(0 <= label < count for label in labels), f"{clip.id}: {what} is {labels} of {count} classes")
        require(not set(clip.labels) & set(clip.unknown), f"{clip.id}: a class is both heard and unknown")
        require(clip.start >= 0 and (clip.stop is None or clip.stop > clip.start), f"{clip.id}: impossible times")
        if clips.single_label:
            require(len(clip.labels) == 1, f"{clip.id}: {len(clip.labels)} labels in a single-label set")
    require(clips.targets().shape == (len(clips), count), "targets has another shape")
    require(any(clip.labels for clip in clips), "no clip has a label")


@check("dataset")
def its_events_are_sound(subject: Subject) -> None:
    """Where there are events: ordered, of the clip's classes, those of a class apart, the same with other classes."""
    with source_of(subject) as source:
        clips = read(subject, source)
        given = read(subject, source, labels=LabelSet([*reversed(tuple(clips.labels))]))
    for clip in clips:
        events = clip.events or ()
        require(list(events) == sorted(events), f"{clip.id}: its events are not ordered")
        require(
            {event.index for event in events} <= {*clip.labels}, f"{clip.id}: an event's class is not a label of it"
        )
        heard_until: dict[int, float] = {}
        for onset, offset, index in events:
            require(0 <= onset < offset < math.inf, f"{clip.id}: an event lasts from {onset} to {offset} s")
            require(onset > heard_until.get(index, -1.0), f"{clip.id}: two events of a class overlap or touch")
            heard_until[index] = offset
    for before, after in zip(clips, given, strict=True):
        same = _by_mid(before, clips.labels) == _by_mid(after, given.labels)
        require(same, f"{after.id}: another class list changes what is heard when")


def _by_mid(clip: Clip, labels: LabelSet) -> list[tuple[float, float, str]] | None:
    return (
        None
        if clip.events is None
        else sorted((onset, offset, labels.mids[index]) for onset, offset, index in clip.events)
    )


@check("dataset")
def its_recordings_can_be_decoded(subject: Subject) -> None:
    """Every clip (the first 50 of a source that was given) is there and holds finite samples."""
    with source_of(subject) as source:
        for clip in list(read(subject, source))[:_MOST_DECODED]:
            decoded(clip)


@check("dataset")
def reading_twice_gives_the_same(subject: Subject) -> None:
    """The same clips with the same labels, in the same order."""
    with source_of(subject) as source:
        first, second = read(subject, source), read(subject, source)
    require(first.clips == second.clips, "two readings differ in their clips")
    require(first.labels == second.labels, "two readings differ in their classes")


@check("dataset")
def it_keeps_to_the_classes_given(subject: Subject) -> None:
    """With a class list, indices are those of the list, whatever its order, and it may hold more classes."""
    with source_of(subject) as source:
        own = read(subject, source)
        wider = LabelSet([Label("not-there", "Not there"), *reversed(tuple(own.labels))])
        given = read(subject, source, labels=wider)
    require(given.labels == wider, "the set has other classes than those given")
    require([clip.id for clip in given] == [clip.id for clip in own], "a class list changes which clips there are")
    for before, after in zip(own, given, strict=True):
        expected = sorted(wider.index(own.labels[label]) for label in before.labels)
        require(list(after.labels) == expected, f"{after.id}: labels are {after.labels}, not {expected}")
        unknown = sorted(wider.index(own.labels[label]) for label in before.unknown)
        require(set(unknown) <= set(after.unknown), f"{after.id}: classes nobody has looked for are no longer unknown")


@check("dataset")
def unknown_labels_are_refused_or_counted(subject: Subject) -> None:
    """A label that the class list lacks is a ManifestError, or with ``skip`` is left out and counted."""
    with source_of(subject) as source:
        own = read(subject, source)
        if len(own.labels) < 2:
            skip("it has one class only")
        gone = next(clip.labels[0] for clip in own if clip.labels)
        fewer = LabelSet([label for index, label in enumerate(own.labels) if index != gone])
        with refused(ManifestError, f"the label {own.labels[gone].name!r} is dropped silently"):
            read(subject, source, labels=fewer)
        rest = read(subject, source, labels=fewer, unknown_labels="skip")
    affected = sum(gone in clip.labels for clip in own)
    require(rest.labels == fewer, "the set has other classes than those given")
    counted = sum(rest.skipped.values())
    require(counted == affected, f"skipped counts {counted} labels, and {affected} clips have the class that is gone")


@check("dataset")
def it_recognises_its_own_and_nothing_else(subject: Subject) -> None:
    """`recognises` takes its own source and no empty, missing or foreign one, and never raises."""
    dataset = subject.make(interface=Dataset)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "empty").write_bytes(b"")
        (folder / "bytes.csv").write_bytes(bytes(range(256)))
        (folder / "bytes.json").write_bytes(b"\xff\xfe{" + bytes(range(256)))
        (folder / "nothing").mkdir()
        for name in ("missing", "empty", "bytes.csv", "bytes.json", "nothing", "empty/below a file"):
            try:
                found = dataset.recognises(folder / name)
            except Exception as error:  # anything it raises is what this looks for
                raise CheckFailedError(f"recognises raises {type(error).__name__} for {name!r}: {error}") from error
            require(found is False, f"recognises gives {found!r} for {name!r} of foreign content")
    with source_of(subject) as source:
        found = dataset.recognises(source)
        require(isinstance(found, bool), f"recognises gives {found!r}, not True or False")
        if not found:  # files that another format reads by right (a part of a larger set) are left to that one
            try:
                sniff_format(source)
            except ManifestError as error:
                raise CheckFailedError("neither it nor another format recognises its own source") from error
        elif subject.source is None:
            asked = is_called_so(source, subject.spec)
            require(asked, f"its source is called {source.name!r}, which is none of its extensions")


@check("dataset", cheap=True)
def it_says_what_its_sources_are_called(subject: Subject) -> None:
    """`extensions` names endings with their dot, or "/" for folders: without them it is never asked."""
    extensions = subject.spec.extensions
    require(bool(extensions), 'the descriptor names no extensions; give endings such as ".csv", or "/" for folders')
    wrong = [ending for ending in extensions if ending != "/" and not (ending.startswith(".") and ending.strip("."))]
    require(not wrong, f'extensions holds {wrong}; give endings with their dot, such as ".csv", or "/" for folders')


@check("dataset")
def wrong_sources_are_refused(subject: Subject) -> None:
    """A missing path and foreign content are errors of audiotag that name the source, never clips."""
    dataset = subject.make(interface=Dataset)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "bytes").write_bytes(bytes(range(256)))
        (folder / "nothing").mkdir()
        for name in ("missing", "bytes", "nothing"):
            try:
                dataset.read(folder / name)
            except AudiotagError as error:
                require(text in str(error), f"the error for {name!r} does not name the source: {error}")
                continue
            raise CheckFailedError(f"a source with {name} content is read")


@check("dataset")
def the_tool_reads_it_by_name(subject: Subject) -> None:
    """``--format NAME`` gives the clips that the format itself gives."""
    with source_of(subject) as source:
        own = read(subject, source)
        by_name = read_clips(source, format=subject.name, **subject.options)
    require(by_name.clips == own.clips, "the clips differ")


@check("dataset")
def reading_leaves_no_trace(subject: Subject) -> None:
    """Reading prints nothing, seeds nothing, changes no setting and writes nothing into the source."""
    with source_of(subject) as source:
        place = source if source.is_dir() else source.parent
        before = changed_at(place.rglob("*"))
        check_no_traces(lambda: read(subject, source))
        require(changed_at(place.rglob("*")) == before, "reading changes files of the source")


@check("dataset")
def the_tiny_source_is_tiny_and_repeats(subject: Subject) -> None:
    """`write_tiny` stays under 1 MB, and a seed gives the same clips and sounds again."""
    if subject.source is not None:
        skip("a source is given")
    with source_of(subject, 1) as first, source_of(subject, 1) as second:
        place = first if first.is_dir() else first.parent
        size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
        require(size < 1_000_000, f"it has {size} bytes")
        one, two = read(subject, first), read(subject, second)
        require(_without_folders(one) == _without_folders(two), "two tiny sources of one seed have other clips")
        for left, right in zip(one, two, strict=True):
            same = np.array_equal(decoded(left), decoded(right))
            require(same, f"the sound of {left.id!r} is another one each time")


def _without_folders(clips: ClipSet) -> list[Clip]:
    return [replace(clip, path=Path(), video_path=None) for clip in clips]
