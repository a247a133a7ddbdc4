"""Measuring when a model hears sounds, on clips with strong labels; and detections that somebody else made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from audiotag.arguments import real_number, refuse_others, take, takes
from audiotag.data.clips import Clip, ClipSet
from audiotag.data.heard import TUNED_ON, Heard
from audiotag.data.rows import NoClipsError
from audiotag.data.selection import require_files
from audiotag.data.source import READING, ClipSource
from audiotag.display import brief_repr
from audiotag.errors import AudiotagError, ManifestError, OptionError, PluginError
from audiotag.evaluation.decoding_tuning import tune_decoding
from audiotag.evaluation.doubts import Doubts, doubts_about
from audiotag.evaluation.event_criteria import EventCriteria, ScoredSet, require_criterion
from audiotag.evaluation.event_evaluation import EventEvaluation, evaluate_event_lists
from audiotag.evaluation.event_measurement import Detection
from audiotag.evaluation.event_metrics import true_spans_of
from audiotag.evaluation.measurement import Provenance
from audiotag.evaluation.score_store import ScoreStore
from audiotag.evaluation.scoring import clips_for, weights_of
from audiotag.evaluation.threshold_curves import Timeline
from audiotag.evaluation.thresholds import choose_thresholds
from audiotag.inference.clip_scores import Compute, Progress
from audiotag.inference.loading import use_decoding
from audiotag.inference.tagger import Tagger
from audiotag.inference.tags import DEFAULT_THRESHOLD, WindowScores
from audiotag.inference.tuned_decoding import Cells, EventReading, TunedDecoding
from audiotag.labels import LabelSet
from audiotag.printing import few

_TOGETHER = 512
"""Cells that are kept at a time."""


@brief_repr
@dataclass(frozen=True, kw_only=True)
class EventMeasuring:
    """How events are read off the scores that are measured; what is None is as for `Tagger.events`.

    Attributes:
        thresholds: One number, one for each class, a file (see `read_thresholds`), or ``"tuned"`` for the model's.
        low_threshold: See `audiotag.inference.Decoding`, like the next three.
        median: The same.
        merge: The same.
        min_duration: The same.
        window: Seconds of a window; see `audiotag.inference.Cells`, like the next two.
        hop: The same.
        resolution: The same.
        decoding: A file that says all of this (see `audiotag.inference.read_decoding`).
        tune_thresholds_on: Strongly labelled clips on which the decoding of each class is found, instead of it.
        criterion: What makes a detection right in that tuning: ``"event"``, ``"onset"``, ``"segment"`` or
            ``"intersection"``.
        store_thresholds: Keep the tuned decoding with the model, where it is one of ours.

    Raises:
        OptionError: They do not go together.
    """

    thresholds: str | Path | ArrayLike | None = None
    low_threshold: ArrayLike | None = None
    median: ArrayLike | None = None
    merge: ArrayLike | None = None
    min_duration: ArrayLike | None = None
    window: float | None = None
    hop: float | None = None
    resolution: float | None = None
    decoding: str | Path | None = None
    tune_thresholds_on: ClipSource | str | Path | ClipSet | None = None
    criterion: str = "event"
    store_thresholds: bool = True

    def __post_init__(self) -> None:
        require_criterion(self.criterion)
        if self.hop is not None and self.resolution is not None:
            raise OptionError("hop and resolution both give the grid of times", fix="Give one of them.")
        if self.resolution is not None and real_number("resolution", self.resolution) == 0:
            raise OptionError("the resolution is 0 s", fix="Give more than 0.")
        given = [name for name in ("thresholds", "decoding", *_SETTINGS) if getattr(self, name) is not None]
        if self.tune_thresholds_on is not None and given:
            raise OptionError(f"{', '.join(given)}: given, and to be tuned", fix="Do one of them.")

    @property
    def cells(self) -> Cells:
        """What events are read off."""
        return Cells(self.window, self.hop, self.resolution)

    def reading(self, tagger: Tagger) -> EventReading:
        """How events are read off the scores of *tagger*.

        Raises:
            OptionError: A setting cannot be.
        """
        thresholds = None
        if self.thresholds is not None and not (self.thresholds == "tuned" and tagger.decodes(self.cells)):
            thresholds = choose_thresholds(self.thresholds, tagger)
        return tagger.reading(self.cells, thresholds, **{name: getattr(self, name) for name in _SETTINGS})

    def in_words(self, tagger: Tagger, tuned_on: ClipSet | None) -> str:
        """Where the decoding of *tagger* comes from; *tuned_on* are the clips that it was tuned on, if any."""
        if tuned_on is not None:
            return f"tuned on {tuned_on.source} for the {self.criterion}-based F1 of each class"
        said = []
        if self.decoding is not None:
            said.append(f"read from {self.decoding}")
        elif tagger.decodes(self.cells):
            said.append("that of the model")
        elif self.thresholds in (None, "tuned"):
            own = f"{DEFAULT_THRESHOLD} for every class"
            said.append(own if tagger.thresholds is None else "the thresholds of the model")
            if tagger.decoding is not None:
                said.append("not that of the model, which is for other windows or another resolution")
        for name in ("thresholds", *_SETTINGS):
            value = getattr(self, name)
            if value is not None and value != "tuned":
                shown = f"{value:g}" if isinstance(value, float | int) else "given for each class"
                said.append(f"{name.replace('_', ' ')} {shown}")
        return ", ".join(said)


_SETTINGS = ("low_threshold", "median", "merge", "min_duration")


@dataclass(frozen=True, eq=False)
class _Heard:
    """What a tagger made of the clips that could be read.

    Attributes:
        scored: Scores of the classes that have true events.
        seconds: Clip → its length.
        detections: Clip → what was found; empty where nothing was read off.
        failed: (clip id, reason) of the others.
    """

    scored: ScoredSet
    seconds: Mapping[str, float]
    detections: Mapping[str, list[Detection]]
    failed: tuple[tuple[str, str], ...]


@takes(ClipSource, EventMeasuring, EventCriteria, Compute)
def evaluate_events(
    tagger: Tagger,
    data: ClipSource | str | Path | ClipSet,
    *,
    progress: Progress | None = None,
    **arguments: Any,
) -> EventEvaluation:
    """Measure *tagger* on strongly labelled clips; see `audiotag.evaluate`.

    Raises:
        AudiotagError: The data has no strong labels, a setting cannot be, or no clip could be read.
    """
    source = ClipSource.of(data, **take(arguments, READING))
    measuring = EventMeasuring(**take(arguments, EventMeasuring.__dataclass_fields__))
    criteria = EventCriteria(**take(arguments, EventCriteria.__dataclass_fields__))
    compute = Compute(**take(arguments, Compute.__dataclass_fields__))
    refuse_others("evaluate", arguments, _known())
    if measuring.decoding is not None:
        use_decoding(tagger, measuring.decoding, measuring.cells)
    listed = clips_for(tagger, source)
    clips = strongly_labelled(listed)
    validation: ClipSet | None = None
    tuned: TunedDecoding | None = None
    if (held_out := source.other(measuring.tune_thresholds_on)) is not None:
        validation = strongly_labelled(held_out.read(tagger.labels, check_files=False))
        tuned = _tuned(tagger, validation, measuring, criteria, compute, progress)
        tagger.decoding = tuned
    reading = measuring.reading(tagger)
    tuned_on = None if tagger.decoding is None else Heard.of_models([{TUNED_ON: tagger.decoding.tuned_on}], TUNED_ON)
    heard = _hear(tagger, clips, reading.cells, compute, progress, reading)
    kept = tuple(clip for clip in clips if clip.id in heard.seconds)
    doubts = doubts_about(tagger.facts, kept, tuned_on=tuned_on, tuning=validation or ())
    told = (*doubts.warnings, *_left_out(source, listed), *_behind_the_end(kept, heard.seconds))
    doubts = replace(doubts, warnings=told)
    with heard.scored as scored:
        result = evaluate_event_lists(
            truth_of(kept, tagger.labels),
            heard.detections,
            heard.seconds,
            tagger.labels,
            criteria=criteria,
            scored=scored,
            decoding=reading.decoding,
            provenance=_provenance(
                source,
                clips,
                kept,
                doubts,
                failed=heard.failed,
                model=tagger.name,
                weights=weights_of(tagger),
                thresholds_from=measuring.in_words(tagger, validation),
            ),
        )
    return replace(result, tuned=tuned)


def evaluate_detections(
    data: ClipSource | str | Path | ClipSet, predictions: ClipSource | str | Path | ClipSet, **arguments: Any
) -> EventEvaluation:
    """Measure detections that are in a table, of another tool for one, against strongly labelled clips.

    Args:
        data: The truth.
        predictions: Detections, in any format that strong labels can have (``filename, onset, offset, event_label``);
            recordings need not exist. Times count from the beginning of the recording. Classes are matched by mid or
            name with those of the truth, recordings by path or, where one of each has it, by name. An empty table
            says that nothing was detected.
        arguments: Fields of `ClipSource` for the truth, and of `EventCriteria`.

    Raises:
        AudiotagError: A table cannot be read, or has no strong labels.
    """
    source = ClipSource.of(data, **take(arguments, READING))
    criteria = EventCriteria(**take(arguments, EventCriteria.__dataclass_fields__))
    refuse_others("evaluate_detections", arguments, (*READING, *EventCriteria.__dataclass_fields__))
    clips = source.read(check_files=False)
    given = ClipSource.of(predictions)
    warnings = _left_out(source, clips)
    clips = strongly_labelled(clips)
    found: Sequence[Clip] = ()
    skipped: Mapping[str, int] = {}
    try:
        read = replace(given, labels=clips.labels, unknown_labels="skip").read(check_files=False)
    except NoClipsError:
        warnings.append(f"There is no detection in {given}.")
    else:
        found, skipped = strongly_labelled(read), read.skipped
        warnings += _left_out(given, read)
    detections, unmatched = _matched_by_recording(clips, found)
    if unmatched:
        warnings.append(
            f"{len(unmatched)} recordings of the detections are not, or not clearly, among those of the truth and were "
            f"left out ({unmatched[0]} for one)."
        )
    if skipped:
        told = [f"{label} (in {count} recordings)" for label, count in skipped.items()]
        warnings.append(f"Detections of {len(told)} classes that the truth lacks were left out: {few(told)}.")
    return evaluate_event_lists(
        truth_of(clips, clips.labels),
        detections,
        {},
        clips.labels,
        criteria=criteria,
        provenance=_provenance(
            source, clips, tuple(clips), Doubts(warnings=tuple(warnings)), model=str(given), thresholds_from=""
        ),
    )


def strongly_labelled(clips: ClipSet) -> ClipSet:
    """*clips* without those of which nobody has said when something is heard.

    Raises:
        ManifestError: That are all of them.
    """
    events = clips.columns.events
    if events is None:
        raise ManifestError(
            "the clips have no strong labels: nobody has said when something is heard in them",
            where=clips.source,
            fix="Give a table with onset and offset of each event (see docs/data.md), or measure tags.",
        )
    return clips.subset(np.flatnonzero(events.said))


def _left_out(source: ClipSource, clips: ClipSet) -> list[str]:
    """What is to be said of the *clips* that `strongly_labelled` leaves out."""
    events = clips.columns.events
    if events is None or events.said.all():
        return []
    weak = [clips[int(row)].id for row in np.flatnonzero(~events.said)]
    return [f"{len(weak)} clips of {source} do not say when something is heard and were left out ({few(weak)})."]


def _behind_the_end(clips: Sequence[Clip], seconds: Mapping[str, float]) -> list[str]:
    """What is to be said of events that begin where the sound has ended, and so cannot be found."""
    late = [clip.id for clip in clips for event in clip.events or () if event.onset >= seconds[clip.id]]
    if not late:
        return []
    return [
        f"{len(late)} true events begin behind the end of their recording and count as missed ({few([*{*late}])}). "
        "Correct their times."
    ]


def truth_of(clips: Sequence[Clip], labels: LabelSet) -> dict[str, list[tuple[float, float, str]]]:
    """Clip → its events, with mids."""
    return {
        clip.id: [(onset, offset, labels.mids[index]) for onset, offset, index in clip.events or ()] for clip in clips
    }


def _known() -> Iterator[str]:
    yield from READING
    for owner in (EventMeasuring, EventCriteria, Compute):
        yield from owner.__dataclass_fields__


def _tuned(
    tagger: Tagger,
    clips: ClipSet,
    measuring: EventMeasuring,
    criteria: EventCriteria,
    compute: Compute,
    progress: Progress | None,
) -> TunedDecoding:
    """The decoding that is best on *clips*."""
    heard = _hear(tagger, clips, measuring.cells, compute, progress)
    with heard.scored as scored:
        decoding, f1 = tune_decoding(scored, tagger.labels.mids, criterion=measuring.criterion, criteria=criteria)
    about = {
        "tuned_on": clips.source,
        "clips": len(heard.seconds),
        "criterion": measuring.criterion,
        "classes_without_events": [mid for mid in tagger.labels.mids if mid not in scored.timeline.events],
        "mean_f1": float(np.nanmean(f1)),
    }
    read = [clip for clip in clips if clip.id in heard.seconds]
    return TunedDecoding(decoding, measuring.cells, str(Heard.of(read)), about)


def _hear(
    tagger: Tagger,
    clips: ClipSet,
    cells: Cells,
    compute: Compute,
    progress: Progress | None,
    reading: EventReading | None = None,
) -> _Heard:
    """Scores of *clips*, and with *reading* the events that are found.

    Raises:
        AudiotagError: No clip could be read, or, where *compute* is strict, one could not.
    """
    if compute.strict:
        require_files(clips)
    occurring = sorted({event.index for clip in clips for event in clip.events or ()})
    mids = tagger.labels.mids
    columns = np.array(occurring, dtype=np.intp)
    store = ScoreStore(len(occurring))
    seconds: dict[str, float] = {}
    frames: dict[str, int] = {}
    detections: dict[str, list[Detection]] = {}
    failed: list[tuple[str, str]] = []
    for done, clip in enumerate(clips, start=1):
        begun = store.frames
        kept = _Kept(store, columns)
        try:
            passed = kept.of(tagger.score_cells(clip, cells, batch_size=compute.batch_size))
            if reading is None:
                for _ in passed:
                    pass
            else:
                spans = sorted(reading.decoding.spans(passed), key=lambda span: (span.onset, span.index))
                detections[clip.id] = [Detection(one.onset, one.offset, mids[one.index], one.score) for one in spans]
        except (OptionError, PluginError):
            raise
        except AudiotagError as error:
            if compute.strict:
                raise
            store.drop_from(begun)
            failed.append((clip.id, str(error)))
        else:
            seconds[clip.id], frames[clip.id] = kept.seconds, store.frames - begun
        if progress is not None:
            progress(done, len(clips))
    if not seconds:
        store.close()
        raise AudiotagError(
            f"none of the {len(clips)} clips could be read; the first: {failed[0][1]}",
            where=clips.source,
            fix="Check the paths; relative ones start at the folder of the list, or at --root.",
        )
    truth = true_spans_of(truth_of([clip for clip in clips if clip.id in seconds], tagger.labels))
    timeline = Timeline.of(truth, frames, tagger.cell_seconds(cells))
    scored = ScoredSet(tuple(mids[index] for index in occurring), timeline, store, np.array(list(seconds.values())))
    return _Heard(scored, seconds, detections, tuple(failed))


class _Kept:
    """Keeps the scores of some classes while the cells of a clip pass, and how long they are."""

    def __init__(self, store: ScoreStore, columns: np.ndarray[Any, np.dtype[np.intp]]) -> None:
        self._store, self._columns = store, columns
        self.seconds = 0.0

    def of(self, cells: Iterator[WindowScores]) -> Iterator[WindowScores]:
        waiting = []
        for cell in cells:
            waiting.append(cell.scores[self._columns])
            self.seconds = cell.offset
            if len(waiting) == _TOGETHER:
                self._store.add(np.stack(waiting))
                waiting = []
            yield cell
        if waiting:
            self._store.add(np.stack(waiting))


def _matched_by_recording(clips: ClipSet, found: Sequence[Clip]) -> tuple[dict[str, list[Detection]], list[str]]:
    """Clip → the detections in its part of the recording; and the recordings that no clip is of."""
    by_path: dict[Path, list[Clip]] = {}
    by_name: dict[str, set[Path]] = {}
    for clip in clips:
        by_path.setdefault(clip.path, []).append(clip)
        by_name.setdefault(clip.path.name, set()).add(clip.path)
    bearing = Counter(path.name for path in {one.path for one in found})
    detections: dict[str, list[Detection]] = {clip.id: [] for clip in clips}
    unmatched = []
    for one in found:
        path, same = one.path, by_name.get(one.path.name, set())
        if path not in by_path:
            if len(same) != 1 or bearing[path.name] != 1:
                unmatched.append(one.id)
                continue
            (path,) = same
        for clip in by_path[path]:
            length = np.inf if clip.stop is None else clip.stop - clip.start
            for onset, offset, index in one.events or ():
                begin, end = (time + one.start - clip.start for time in (onset, offset))
                if end > 0 and begin < length:
                    mid = clips.labels.mids[index]
                    detections[clip.id].append(Detection(max(begin, 0.0), min(end, float(length)), mid, np.nan))
    return detections, unmatched


def _provenance(
    source: ClipSource,
    clips: ClipSet,
    kept: tuple[Clip, ...],
    doubts: Doubts,
    **made: Any,
) -> Provenance:
    return Provenance(
        data=clips.source,
        split=source.split,
        folds=source.folds,
        clips=kept,
        skipped=dict(clips.skipped),
        absent=sum(clips.absent.values()),
        learned=doubts.learned,
        warnings=doubts.warnings,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        **made,
    )
