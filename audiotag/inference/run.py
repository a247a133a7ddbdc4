"""One run of ``audiotag infer``: from clips to one output, told of what happens on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from audiotag.data.clips import Clip
from audiotag.errors import AudiotagError, OptionError
from audiotag.inference.events import Event, detect_events
from audiotag.inference.tagger import DEFAULT_THRESHOLD, Tagger
from audiotag.inference.tags import WindowScores, select_tags
from audiotag.inference.writers import (
    EmbeddingCollector,
    Result,
    Row,
    event_rows,
    open_writer,
    read_results,
    tag_rows,
)

_DEFAULT_TOP = 10

_ENDINGS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".tsv": "tsv", ".parquet": "parquet"}


def format_of(output: Path | None) -> str:
    """The format that the ending of an output's name tells; a table for people where it tells none."""
    return "table" if output is None else _ENDINGS.get(output.suffix.lower(), "table")


class Listener(Protocol):
    """Told of the progress of a run."""

    def begin(self, total: int, skipped: int) -> None:
        """*total* recordings will be tagged; *skipped* are in the output already."""

    def heard(self, seconds: float) -> None:
        """*seconds* more of sound are done."""

    def done(self) -> None:
        """A recording is done."""

    def failed(self, error: AudiotagError) -> None:
        """A recording could not be read."""

    def interrupted(self) -> None:
        """The user stopped the run; what was done is kept."""


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
    threshold: float | str | None
    merge: float
    min_duration: float
    top: int | None
    batch_size: int | None
    workers: int
    strict: bool
    resume: bool

    @classmethod
    def plan(cls, settings: dict[str, Any]) -> InferRun:
        """Check that the options go together.

        Raises:
            OptionError: They do not.
        """
        output: Path | None = settings["output"]
        format = settings["format_"] or format_of(output)
        _check_numbers(settings)
        about_events = [name for name in ("merge", "min_duration") if settings[name] is not None]
        if settings["per_window"]:
            mode = "windows"
        elif settings["events"] or about_events or settings["window"] is not None or settings["hop"] is not None:
            mode = "events"
        else:
            mode = "clips"
        if about_events and mode == "windows":
            raise OptionError("--merge and --min-duration are about events", fix="Leave out --per-window.")
        if format == "home" and mode != "clips":
            raise OptionError("the home format has no times", fix="Leave out the options about windows and events.")
        if format == "parquet" and output is None:
            raise OptionError("Parquet cannot be printed", fix="Name a file with --output.")
        if settings["resume"] and (output is None or settings["embeddings"] is not None):
            raise OptionError("--resume continues one file", fix="Give --output, and leave out --embeddings.")
        threshold, top = settings["threshold"], settings["top"]
        if threshold is None and format == "home":
            threshold = DEFAULT_THRESHOLD
        if threshold is None and top is None and mode != "events":
            top = _DEFAULT_TOP
        same = ("window", "hop", "batch_size", "workers", "strict", "resume", "embeddings")
        return cls(
            mode=mode,
            format=format,
            output=output,
            threshold=threshold,
            top=top,
            merge=settings["merge"] or 0.0,
            min_duration=settings["min_duration"] or 0.0,
            **{name: settings[name] for name in same},
        )

    def run(self, tagger: Tagger, clips: Sequence[Clip], progress: Listener) -> bool:
        """Tag *clips* and write the output.

        Returns:
            Whether every recording could be read and nobody interrupted.
        """
        done = read_results(self.output, self.format) if self._continues() and self.output else []
        names = {str(result.path) for result in done}
        waiting = [clip for clip in clips if str(clip.path) not in names]
        collector = None if self.embeddings is None else EmbeddingCollector(self.embeddings, tagger.name)
        complete = True
        progress.begin(len(waiting), len(clips) - len(waiting))
        with open_writer(self.format, self.output, high_frequency=tagger.sample_rate / 2) as writer:
            for result in done:
                writer.write(result)
            try:
                for outcome in self._results(tagger, waiting, collector, progress):
                    if isinstance(outcome, Result):
                        writer.write(outcome)
                        progress.done()
                        continue
                    progress.failed(outcome)
                    complete = False
                    if self.strict:
                        break
            except KeyboardInterrupt:
                complete = False
                progress.interrupted()
        if collector is not None:
            collector.save()
        return complete

    def _continues(self) -> bool:
        return self.resume and self.output is not None and self.output.exists()

    def _results(
        self,
        tagger: Tagger,
        clips: Sequence[Clip],
        collector: EmbeddingCollector | None,
        progress: Listener,
    ) -> Iterator[Result | AudiotagError]:
        """A result or an error for each clip, in order."""
        if self.mode == "clips":
            yield from self._tag(tagger, clips, collector, progress)
            return
        rows = self._event_rows if self.mode == "events" else self._window_rows
        for clip in clips:
            try:
                yield self._timed(tagger, clip, rows, collector, progress)
            except AudiotagError as error:
                if isinstance(error, OptionError):
                    raise
                yield error

    def _tag(
        self,
        tagger: Tagger,
        clips: Sequence[Clip],
        collector: EmbeddingCollector | None,
        progress: Listener,
    ) -> Iterator[Result | AudiotagError]:
        files = tagger.tag_files(
            clips,
            top=self.top,
            threshold=self._thresholds(tagger),
            batch_size=self.batch_size,
            workers=self.workers,
            embeddings=collector is not None,
        )
        for file in files:
            if file.error is not None:
                yield file.error
                continue
            progress.heard(file.seconds)
            if collector is not None and file.embedding is not None:
                collector.add(file.path, 0.0, file.seconds, file.embedding)
            yield Result(file.id, file.path, file.seconds, tuple(tag_rows(file.unwrap(), 0.0, file.seconds)))

    def _timed(
        self,
        tagger: Tagger,
        clip: Clip,
        rows: Callable[[Tagger, Iterable[WindowScores]], list[Row]],
        collector: EmbeddingCollector | None,
        progress: Listener,
    ) -> Result:
        seconds = 0.0

        def followed() -> Iterator[WindowScores]:
            nonlocal seconds
            windows = tagger.score_windows(
                clip, self.window, self.hop, batch_size=self.batch_size, embeddings=collector is not None
            )
            for window in windows:
                progress.heard(window.offset - seconds)
                seconds = window.offset
                if collector is not None and window.embedding is not None:
                    collector.add(clip.path, window.onset, window.offset, window.embedding)
                yield window

        found = rows(tagger, followed())
        return Result(clip.id, clip.path, seconds, tuple(found))

    def _event_rows(self, tagger: Tagger, windows: Iterable[WindowScores]) -> list[Row]:
        window = tagger.clip_seconds if self.window is None else self.window
        events = detect_events(
            windows,
            hop=window / 2 if self.hop is None else self.hop,
            thresholds=tagger.event_thresholds(self._thresholds(tagger)),
            merge=self.merge,
            min_duration=self.min_duration,
        )
        return event_rows(_top_classes(events, self.top), tagger.labels)

    def _window_rows(self, tagger: Tagger, windows: Iterable[WindowScores]) -> list[Row]:
        rows: list[Row] = []
        for window in windows:
            tags = select_tags(window.scores, tagger.labels, top=self.top, threshold=self._thresholds(tagger))
            rows.extend(tag_rows(tags, window.onset, window.offset))
        return rows

    def _thresholds(self, tagger: Tagger) -> np.ndarray[Any, Any] | float | None:
        if not isinstance(self.threshold, str):
            return self.threshold
        if tagger.thresholds is None:
            raise OptionError(
                "the model has no tuned thresholds",
                where=tagger.name,
                fix="Tune them with `audiotag evaluate`, or give a number as --threshold.",
            )
        return tagger.thresholds


def _check_numbers(settings: dict[str, Any]) -> None:
    """Refuse what cannot be before any model is loaded or output begun."""
    for name, least_is_allowed in (("window", False), ("hop", False), ("merge", True), ("min_duration", True)):
        value = settings[name]
        if value is not None and not (0 < value < math.inf or (least_is_allowed and value == 0)):
            least = "0 or more" if least_is_allowed else "more than 0"
            raise OptionError(f"--{name.replace('_', '-')} is {value} s", fix=f"Give {least} seconds.")
    window, hop = settings["window"], settings["hop"]
    if window is not None and hop is not None and hop > window:
        raise OptionError(
            f"a hop of {hop} s leaves gaps between windows of {window} s",
            fix="Take a hop at most as long as the window.",
        )
    threshold = settings["threshold"]
    if isinstance(threshold, float) and not math.isfinite(threshold):
        raise OptionError(f"--threshold is {threshold}", fix="Give a score from 0 to 1.")


def _top_classes(events: list[Event], top: int | None) -> list[Event]:
    """The events of the *top* classes with the highest scores."""
    if top is None:
        return events
    peaks: dict[int, float] = {}
    for event in events:
        peaks[event.index] = max(event.score, peaks.get(event.index, 0.0))
    kept = set(sorted(peaks, key=lambda index: -peaks[index])[:top])
    return [event for event in events if event.index in kept]
