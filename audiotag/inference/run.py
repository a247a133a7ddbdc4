"""One run of ``audiotag infer``: from clips to one output, told of what happens on the way."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiotag.data.clips import Clip
from audiotag.data.recording import clip_info, clip_seconds
from audiotag.errors import AudiotagError, OptionError, PluginError
from audiotag.files import content_digest
from audiotag.host import get_host
from audiotag.inference.decoding import LONGEST_MEDIAN, SETTINGS, Span
from audiotag.inference.events import Event, detect_events, named_events
from audiotag.inference.frame_scores import frame_cells
from audiotag.inference.moments import begin_of
from audiotag.inference.tagger import Tagger
from audiotag.inference.tags import WindowScores, select_tags
from audiotag.inference.tuned_decoding import Cells, EventReading
from audiotag.inference.writers import (
    EmbeddingCollector,
    Output,
    Result,
    clip_key,
    format_of,
    open_output,
    require_file,
    tag_rows,
)
from audiotag.inference.writers.rows import Key

DEFAULT_TOP = 10
"""Classes that are reported of a recording where neither their number nor a threshold is given."""

_FEW = 20

_DECIDING = (
    "mode",
    "window",
    "hop",
    "resolution",
    "threshold",
    "low_threshold",
    "median",
    "merge",
    "min_duration",
    "top",
    "frames",
    "format",
    "verbatim",
    "absolute_times",
)
"""Settings that decide what the results are."""


_ABOUT_EVENTS = (*SETTINGS, "resolution", "decoding")


class Listener(Protocol):
    """Told of the progress of a run."""

    def begin(self, total: int | None, skipped: int, seconds: float | None) -> None:
        """*total* recordings will be tagged, of so many *seconds*, where it is known; *skipped* were done before."""

    def skipped(self) -> None:
        """One more recording was done before."""

    def heard(self, seconds: float) -> None:
        """*seconds* more of sound are done."""

    def writing(self) -> None:
        """Results are about to be written, possibly where progress is shown."""

    def done(self) -> None:
        """A recording is done."""

    def failed(self, error: AudiotagError) -> None:
        """A recording could not be read."""

    def interrupted(self) -> None:
        """Somebody stopped the run; what was done is kept."""

    def kept(self, path: Path) -> None:
        """The run is not complete; its results are at *path*, because there is an earlier file in their place."""


@dataclass(frozen=True)
class InferRun:
    """The settings of one run; the names are those of the options.

    Attributes:
        mode: ``"clips"`` (tags of whole recordings), ``"events"`` or ``"windows"`` (tags of each window).
    """

    mode: str
    format: str
    output: Path | None
    embeddings: Path | None
    window: float | None
    hop: float | None
    resolution: float | None
    threshold: float | str | None
    low_threshold: float | None
    median: float | None
    merge: float | None
    min_duration: float | None
    top: int | None
    batch_size: int | None
    workers: int
    strict: bool
    resume: bool
    overwrite: bool
    frames: int | None
    verbatim: bool
    absolute_times: bool

    @classmethod
    def plan(cls, settings: dict[str, Any]) -> InferRun:
        """Check that the options go together.

        Raises:
            OptionError: They do not.
        """
        output: Path | None = settings["output"]
        format = settings["format_"] or format_of(output)
        spec = get_host().writer(format)
        check_event_settings(settings)
        about_events = [_option(name) for name in _ABOUT_EVENTS if settings[name] is not None]
        if settings["per_window"]:
            mode = "windows"
        elif settings["events"] or about_events or settings["window"] is not None or settings["hop"] is not None:
            mode = "events"
        else:
            mode = "clips"
        if about_events and mode == "windows":
            raise OptionError(f"{', '.join(about_events)}: about events", fix="Leave out --per-window.")
        if not spec.times and mode != "clips":
            raise OptionError(
                f"the {format} format has no times", fix="Leave out the options about windows and events."
            )
        require_file(spec, output, settings["resume"])
        if settings["resume"] and (output is None or settings["embeddings"] is not None):
            raise OptionError("--resume continues one file", fix="Give --output, and leave out --embeddings.")
        threshold, top = settings["threshold"], settings["top"]
        if threshold is None:
            threshold = spec.least_score
        if threshold is None and top is None and mode != "events":
            top = DEFAULT_TOP
        decided: dict[str, Any] = {
            "mode": mode,
            "format": format,
            "threshold": threshold,
            "top": top,
        }
        return cls(**{one.name: {**settings, **decided}[one.name] for one in fields(cls)})

    def run(
        self, tagger: Tagger, clips: Iterable[Clip], progress: Listener, *, not_found: Sequence[AudiotagError] = ()
    ) -> bool:
        """Tag *clips* and write the output.

        Args:
            tagger: Tags.
            clips: What to tag; read as it is needed, and not counted, where it is no sequence.
            progress: Told of what happens.
            not_found: Errors of recordings that could not even be looked for.

        Returns:
            Whether every recording could be read and nobody interrupted.

        Raises:
            AudiotagError: The output cannot be written, or not gone on with; what was done before is kept.
        """
        collector = None if self.embeddings is None else EmbeddingCollector(tagger.name)
        opened = open_output(
            self.format,
            self.output,
            made_by=self.made_by(tagger),
            resume=self.resume,
            overwrite=self.overwrite,
            high_frequency=tagger.sample_rate / 2,
            verbatim=self.verbatim,
            absolute_times=self.absolute_times,
        )
        complete = False
        output: Output | None = None
        try:
            with opened as output:
                waiting: Iterable[Clip] = _without(clips, output.done)
                if isinstance(clips, Sequence):
                    waiting = left = list(waiting)
                    progress.begin(len(left) + len(not_found), len(clips) - len(left), _length(left))
                else:
                    progress.begin(None, output.done.total(), None)
                results = Results(self, tagger, collector, progress)
                missing = (Failure(None, error) for error in not_found)
                complete = self._write(output, chain(missing, results.of(waiting)), progress)
        finally:
            if output is not None and output.kept is not None:
                progress.kept(output.kept)
            if collector is not None and (complete or collector.count):
                assert self.embeddings is not None  # what is collected has a place
                collector.save(self.embeddings)
        return complete

    def _write(self, output: Output, outcomes: Iterable[Result | Failure], progress: Listener) -> bool:
        complete = True
        try:
            for outcome in outcomes:
                if isinstance(outcome, Result):
                    progress.writing()
                    output.write(outcome)
                    progress.done()
                    continue
                progress.failed(outcome.error)
                complete = False
                if self.strict:
                    output.stopped = True
                    break
        except KeyboardInterrupt:
            output.stopped = True
            progress.interrupted()
        progress.writing()  # what the format writes last
        return complete and not output.stopped

    def made_by(self, tagger: Tagger) -> dict[str, Any]:
        """All that decides what the results are, for people and for a run that goes on with them."""
        classes = "\n".join(f"{label.mid} {label.name}" for label in tagger.labels)
        tuned: Any = tagger.thresholds if self.threshold in (None, "tuned") else None
        if self.mode == "events":
            tuned = self.reading(tagger).decoding
        return {
            "model": tagger.name,
            "weights": [engine.fingerprint() for engine in tagger.engines],
            "classes": content_digest(classes.encode()),
            "combine": tagger.combine if len(tagger.engines) > 1 else None,
            "precision": tagger.precision,
            "tuned": None if tuned is None else content_digest(tuned.tobytes()),
            **{name: getattr(self, name) for name in _DECIDING},
        }

    def reading(self, tagger: Tagger) -> EventReading:
        """How events are read off.

        Raises:
            OptionError: As `Tagger.reading` and `thresholds` raise.
        """
        settings = {name: getattr(self, name) for name in SETTINGS}
        cells = Cells(self.window, self.hop, self.resolution)
        if self.embeddings is not None and tagger.uses_frames(self.window, self.hop):
            cells = cells._replace(window=tagger.clip_seconds)  # embeddings are those of windows
        return tagger.reading(cells, thresholds_of(tagger, self.threshold, cells), **settings)

    def thresholds(self, tagger: Tagger) -> ArrayLike | None:
        """Least scores, one for all or one for each class; None for no bound.

        Raises:
            OptionError: The model's own are wanted, and it has none.
        """
        return thresholds_of(tagger, self.threshold)


@dataclass(frozen=True, slots=True)
class Failure:
    """A clip that could not be read.

    Attributes:
        clip: The clip; None for what could not even be looked for.
        error: Why.
    """

    clip: Clip | None
    error: AudiotagError


@dataclass(frozen=True, eq=False)
class Results:
    """What a run makes of its clips.

    Attributes:
        plan: The settings.
        tagger: Tags.
        collector: Takes embeddings; None where none are wanted.
        progress: Told how much is done.
    """

    plan: InferRun
    tagger: Tagger
    collector: EmbeddingCollector | None
    progress: Listener

    def of(self, clips: Iterable[Clip]) -> Iterator[Result | Failure]:
        """What became of each clip, in order; *clips* are asked for a few ahead."""
        if self.plan.mode == "clips":
            yield from self._tagged(clips)
            return
        for clip in clips:
            try:
                yield self._timed(clip)
            except (OptionError, PluginError):
                raise
            except AudiotagError as error:
                yield Failure(clip, error)

    def _tagged(self, clips: Iterable[Clip]) -> Iterator[Result | Failure]:
        told = 0.0  # of the recording that is at work

        def heard(seconds: float) -> None:
            nonlocal told
            told += seconds
            self.progress.heard(seconds)

        files = self.tagger.tag_files(
            clips,
            top=self.plan.top,
            threshold=self.plan.thresholds(self.tagger),
            batch_size=self.plan.batch_size,
            workers=self.plan.workers,
            embeddings=self.collector is not None,
            heard=heard,
        )
        for file in files:
            before, told = told, 0.0
            try:
                result = self._result(file.clip, file.seconds, tag_rows(file.unwrap(), 0.0, file.seconds))
                self._collect(file.clip, 0.0, file.seconds, file.embedding)
            except AudiotagError as error:
                yield Failure(file.clip, error)
                continue
            self.progress.heard(file.seconds - before)
            yield result

    def _timed(self, clip: Clip) -> Result:
        seconds = 0.0

        def followed() -> Iterator[WindowScores]:
            nonlocal seconds
            for window in self._frames(clip) if self._by_frames else self._windows(clip):
                self.progress.heard(window.offset - seconds)
                seconds = window.offset
                self._collect(clip, window.onset, window.offset, window.embedding)
                yield window

        rows = self._event_rows(followed()) if self.plan.mode == "events" else self._window_rows(followed())
        return self._result(clip, seconds, rows)

    @cached_property
    def _reading(self) -> EventReading:
        return self.plan.reading(self.tagger)

    @property
    def _asked(self) -> Cells:
        """The windows that are asked for, or the cells of events."""
        plan = self.plan
        return self._reading.cells if plan.mode == "events" else Cells(plan.window, plan.hop, plan.resolution)

    @property
    def _by_frames(self) -> bool:
        """Whether events come from frames."""
        return self.plan.mode == "events" and self.tagger.uses_frames(self._asked.window, self._asked.hop)

    def _frames(self, clip: Clip) -> Iterator[WindowScores]:
        return frame_cells(self.tagger.score_frames(clip, batch_size=self.plan.batch_size), self._asked.resolution)

    def _windows(self, clip: Clip) -> Iterator[WindowScores]:
        return self.tagger.score_windows(
            clip,
            window=self._asked.window,
            hop=self._hop,
            batch_size=self.plan.batch_size,
            embeddings=self.collector is not None,
        )

    @property
    def _hop(self) -> float:
        window, *grids = self._asked
        window = self.tagger.clip_seconds if window is None else window
        return next((hop for hop in grids if hop is not None), window / 2)

    def _collect(self, clip: Clip, onset: float, offset: float, embedding: NDArray[np.float32] | None) -> None:
        if self.collector is not None and embedding is not None:
            self.collector.add(clip, *_times(clip, onset, offset), embedding)

    def _result(self, clip: Clip, seconds: float, rows: list[Event]) -> Result:
        """What an output says of a clip: times from the beginning of its recording, not of the part that it is."""
        moved = []
        for row in rows:
            onset, offset = _times(clip, row.onset, row.offset)
            moved.append(replace(row, onset=onset, offset=offset))
        # Only where recordings are laid end to end does it matter how long the rest of one is.
        laid = get_host().writer(self.plan.format).end_to_end and clip.stop is not None
        whole = clip_info(clip).seconds if laid else None
        moment = begin_of(clip) if self.plan.absolute_times else None
        return Result(clip, seconds, tuple(moved), whole, moment)

    def _event_rows(self, windows: Iterable[WindowScores]) -> list[Event]:
        events = detect_events(windows, self._reading.decoding, hop=None if self._by_frames else self._hop)
        return named_events(_top_classes(events, self.plan.top), self.tagger.labels)

    def _window_rows(self, windows: Iterable[WindowScores]) -> list[Event]:
        thresholds = self.plan.thresholds(self.tagger)
        rows: list[Event] = []
        for window in windows:
            tags = select_tags(window.scores, self.tagger.labels, top=self.plan.top, threshold=thresholds)
            rows.extend(tag_rows(tags, window.onset, window.offset))
        return rows


def thresholds_of(tagger: Tagger, threshold: float | str | None, cells: Cells | None = None) -> ArrayLike | None:
    """The thresholds that ``--threshold`` means: the number, or for ``"tuned"`` the model's own.

    Args:
        tagger: The model.
        threshold: As it was given.
        cells: What events are read off; None for tags. Where the model's decoding is for them, it has the thresholds.

    Raises:
        OptionError: The model's own are wanted, and it has none.
    """
    if threshold != "tuned":
        return threshold
    if cells is not None and tagger.decodes(cells):
        return None
    if tagger.thresholds is None:
        what = "the model has no tuned thresholds"
        if cells is not None and tagger.decoding is not None:
            what = "the tuned decoding of the model is for other windows, or another resolution"
        raise OptionError(
            what, where=tagger.name, fix="Tune them with `audiotag evaluate`, or give a number as --threshold."
        )
    return tagger.thresholds


def _without(clips: Iterable[Clip], done: Counter[Key]) -> Iterator[Clip]:
    """The clips that are not *done*, the first of those with one key before the others."""
    left = done.copy()
    for clip in clips:
        if left[clip_key(clip)]:
            left[clip_key(clip)] -= 1
        else:
            yield clip


def _length(clips: Sequence[Clip]) -> float | None:
    """Seconds of a few clips as their headers say; None of many, whose number tells as much."""
    if len(clips) > _FEW:
        return None
    try:
        return sum(map(clip_seconds, clips))
    except AudiotagError:  # said when it is tagged
        return None


def _times(clip: Clip, onset: float, offset: float) -> tuple[float, float]:
    """Seconds from the beginning of the recording, for seconds from that of the clip."""
    stop = math.inf if clip.stop is None else clip.stop
    return min(clip.start + onset, stop), min(clip.start + offset, stop)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def check_event_settings(settings: Mapping[str, Any]) -> None:
    """Refuse what cannot be before any model is loaded or output begun.

    Args:
        settings: Window, hop, resolution, thresholds, median, merge and min_duration by name; None for the usual.

    Raises:
        OptionError: Something is out of range, or does not go with the rest.
    """
    may_be_0 = {"window": False, "hop": False, "resolution": False, "median": True, "merge": True, "min_duration": True}
    for name, least_is_allowed in may_be_0.items():
        value = settings[name]
        if value is not None and not (0 < value < math.inf or (least_is_allowed and value == 0)):
            least = "0 or more" if least_is_allowed else "more than 0"
            raise OptionError(f"{_option(name)} is {value} s", fix=f"Give {least} seconds.")
    window, hop = settings["window"], settings["hop"]
    if hop is not None and settings["resolution"] is not None:
        raise OptionError("--hop and --resolution both give the grid of times", fix="Give one of them.")
    if window is not None and hop is not None and hop > window:
        raise OptionError(
            f"a hop of {hop} s leaves gaps between windows of {window} s",
            fix="Take a hop at most as long as the window.",
        )
    for name in ("threshold", "low_threshold"):
        score = settings[name]
        if isinstance(score, float) and not 0 <= score <= 1:
            raise OptionError(f"{_option(name)} is {score:g}", fix="Give a score from 0 to 1.")
    low, high = settings["low_threshold"], settings["threshold"]
    if low is not None and isinstance(high, float) and low > high:
        raise OptionError(f"--low-threshold {low:g} lies above --threshold {high:g}", fix="Give a lower one.")
    if (median := settings["median"]) is not None and median > LONGEST_MEDIAN:
        raise OptionError(f"--median is {median:g} s", fix=f"Give at most {LONGEST_MEDIAN:g} seconds.")


def _top_classes(events: list[Span], top: int | None) -> list[Span]:
    """The events of the *top* classes with the highest scores."""
    if top is None:
        return events
    peaks: dict[int, float] = {}
    for event in events:
        peaks[event.index] = max(event.score, peaks.get(event.index, 0.0))
    kept = set(sorted(peaks, key=lambda index: -peaks[index])[:top])
    return [event for event in events if event.index in kept]
