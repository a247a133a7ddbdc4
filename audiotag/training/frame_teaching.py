"""What a teacher says of the frames of training clips: computed once and kept on disk, or read from a file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiotag.cache.ledger import ArrayCache
from audiotag.cache.place import cache_folder
from audiotag.data.clips import ClipSet
from audiotag.data.frame_scores_file import ENDINGS, FrameScoresFile
from audiotag.data.heard import Heard
from audiotag.errors import AudiotagError, OptionError, TrainingError
from audiotag.inference.loading import load
from audiotag.inference.tagger import Tagger
from audiotag.labels import known_labels
from audiotag.training.clip_keys import teacher_keys
from audiotag.training.reporting import Reporter
from audiotag.training.request import Request
from audiotag.training.settings import Settings
from audiotag.training.teaching import logits_of, require_fitting, teacher_columns, tempered
from audiotag.training.timed_labels import FrameTeacher

_WHAT = "scores of frames by the teacher"


class ModelFrames:
    """Models that score frames, averaged; each clip's scores are kept as float16 in the cache, not in memory.

    Args:
        taggers: The models.
        clips: The training clips.
        temperature: See `audiotag.training.teaching.tempered`.
        reporter: Told how far it is.

    Raises:
        LabelError: A teacher lacks classes of the data.
        TrainingError: A clip cannot be read.
    """

    def __init__(self, taggers: Sequence[Tagger], clips: ClipSet, temperature: float, reporter: Reporter) -> None:
        for tagger in taggers:
            require_fitting(tagger, clips)
        self._members = [(one, teacher_columns(clips.labels, one)) for one in taggers]
        self._clips, self._temperature = clips, temperature
        self._keys = [teacher_keys(clips, one.engines, "frames") for one in taggers]
        self._store = ArrayCache(cache_folder() / "embeddings.sqlite")
        reporter.message(f"Scores of the teacher's frames are cached in {self._store.path}.")
        for clip in range(len(clips)):
            for member in range(len(taggers)):
                self._table(member, clip)
            if clip % 64 == 63 or clip == len(clips) - 1:
                reporter.computing(_WHAT, clip + 1, len(clips))

    def scores(self, clip: int, seconds: NDArray[np.float64]) -> NDArray[np.float32]:
        """See `FrameTeacher.scores`."""
        said = []
        for member, (tagger, columns) in enumerate(self._members):
            table = self._table(member, clip)[:, columns].astype(np.float32)
            said.append(at_seconds(table, seconds, tagger.frame_seconds or 1.0))
        return softened(np.mean(said, axis=0, dtype=np.float32), self._temperature)

    def digest(self) -> str:
        """See `FrameTeacher.digest`."""
        return hashlib.blake2b("\n".join(map("\n".join, self._keys)).encode(), digest_size=16).hexdigest()

    def _table(self, member: int, clip: int) -> NDArray[np.float16]:
        """What a teacher says of a clip, float16 (frames, classes); heard anew where the cache had no room for it."""
        key = self._keys[member][clip]
        kept = self._store.get([key])
        if key in kept:
            return kept[key].astype(np.float16, copy=False)
        tagger, one = self._members[member][0], self._clips[clip]
        try:
            table = np.concatenate([part.scores for part in tagger.score_frames(one)]).astype(np.float16)
        except AudiotagError as error:
            raise TrainingError(f"a clip cannot be read: {error}", where=f"clip {one.id}") from error
        self._store.put({key: table})
        return table


class FileFrames:
    """A file of logits of frames.

    Args:
        file: The file; its classes are those of AudioSet-strong, or those of the data in their order.
        clips: The training clips.
        temperature: See `audiotag.training.teaching.tempered`.
        reporter: Told of clips without scores.

    Raises:
        OptionError: The classes do not fit, or no clip has scores.
    """

    def __init__(self, file: FrameScoresFile, clips: ClipSet, temperature: float, reporter: Reporter) -> None:
        self._file, self._temperature = file, temperature
        published = known_labels("audioset_strong")
        positions: list[int | None] = list(range(len(clips.labels)))
        if file.classes == len(published):
            positions = clips.labels.positions_in(published)
        self._columns = [position for position in positions if position is not None]
        if len(self._columns) < len(clips.labels) or file.classes not in (len(published), len(clips.labels)):
            raise OptionError(
                f"the scores are of {file.classes} classes, which are not those of the data",
                where=file.path,
                fix="They may be the 447 of AudioSet-strong, or the data's own in their order.",
            )
        self._rows = [file.row(clip) for clip in clips]
        missing = self._rows.count(None)
        if missing == len(clips):
            raise OptionError("none of the clips has scores", where=file.path, fix="Clips are matched by file name.")
        if missing:
            reporter.message(
                f"{missing} of {len(clips)} clips have no teacher scores and are trained on their labels alone."
            )

    def scores(self, clip: int, seconds: NDArray[np.float64]) -> NDArray[np.float32] | None:
        """See `FrameTeacher.scores`."""
        row = self._rows[clip]
        if row is None:
            return None
        logits = self._file.logits(row)[:, self._columns]
        return at_seconds(tempered(logits, self._temperature, single_label=False), seconds, self._file.frame_seconds)

    def digest(self) -> str:
        """See `FrameTeacher.digest`."""
        return self._file.digest()


def at_seconds(table: NDArray[np.float32], seconds: NDArray[np.float64], frame_seconds: float) -> NDArray[np.float32]:
    """The rows of *table* (frames, classes) at *seconds*, 0 where these are NaN."""
    silent = np.isnan(seconds)
    rows = np.floor(np.where(silent, 0.0, seconds) / frame_seconds).astype(np.int64).clip(0, len(table) - 1)
    return np.where(silent[:, None], np.float32(0.0), table[rows])


def softened(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Probabilities at another temperature; 0 stays."""
    if temperature == 1.0:
        return probabilities
    softer = tempered(logits_of(probabilities, single_label=False), temperature, single_label=False)
    return np.where(probabilities > 0, softer, np.float32(0.0))


def frame_teacher(
    request: Request, train: ClipSet, settings: Settings, reporter: Reporter
) -> tuple[FrameTeacher, Heard] | None:
    """The teacher of *request* where it scores frames, and what it has learned from; None for all else.

    Raises:
        AudiotagError: It does not fit the data, or a clip cannot be read.
    """
    if request.teacher_scores is not None and Path(request.teacher_scores).suffix.lower() in ENDINGS:
        file = FrameScoresFile(request.teacher_scores)
        return FileFrames(file, train, settings.temperature, reporter), Heard()
    if not request.teacher:
        return None
    taggers = [load(name, device=settings.device) for name in request.teacher]
    if any(one.frame_seconds is None or len(one.engines) > 1 for one in taggers):
        reporter.message("The teacher scores whole clips, and no frames; it teaches the clips' pooled scores.")
        return None
    heard = Heard.of_models(one.metadata for tagger in taggers for one in tagger.facts)
    return ModelFrames(taggers, train, settings.temperature, reporter), heard
