"""Scores of a whole set of clips, in steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiotag.data.clips import ClipSet
from audiotag.data.heard import Heard
from audiotag.data.scores import Scores
from audiotag.data.selection import require_files
from audiotag.errors import AudiotagError
from audiotag.inference.combine import scores_of
from audiotag.inference.tagger import Tagger

Progress = Callable[[int, int], None]
"""Called with (clips done, clips in all)."""

_BATCHES_A_STEP = 8


@dataclass(frozen=True)
class ClipLogits:
    """What a tagger made of the clips that could be read.

    Attributes:
        rows: Their places in the set.
        logits: float32 (clips read, classes).
        failures: (clip id, error) of the others.
    """

    rows: tuple[int, ...]
    logits: NDArray[np.float32]
    failures: tuple[tuple[str, AudiotagError], ...]


def clip_logits(
    tagger: Tagger,
    clips: ClipSet,
    *,
    batch_size: int | None = None,
    workers: int = 2,
    strict: bool = False,
    progress: Progress | None = None,
) -> ClipLogits:
    """Hear *clips*, whatever their classes are; each clip's start and stop are honoured.

    Args:
        tagger: Gives the logits.
        clips: What to hear.
        batch_size: Clips computed at a time; None for the tagger's default.
        workers: Threads that read.
        strict: Raise where a clip cannot be read, instead of leaving it out.
        progress: Told of clips done.

    Raises:
        AudiotagError: No clip could be read, or, where *strict*, one could not.
    """
    if strict:
        require_files(clips)
    # Small steps let progress be told and strictness stop early; without either, one step keeps the readers busy.
    small = (batch_size or tagger.default_batch_size) * _BATCHES_A_STEP
    step = small if strict or progress is not None else max(1, len(clips))
    parts: list[NDArray[np.float32]] = []
    failures: list[tuple[str, AudiotagError]] = []
    for begin in range(0, len(clips), step):
        logits, failed = tagger.score_clips(clips[begin : begin + step], batch_size=batch_size, workers=workers)
        if strict and failed:
            raise failed[0][1]
        parts.append(logits)
        failures.extend(failed)
        if progress is not None:
            progress(min(begin + step, len(clips)), len(clips))
    if len(failures) == len(clips):
        raise AudiotagError(
            f"none of the {len(clips)} clips could be read; the first: {failures[0][1]}",
            where=clips.source,
            fix="Check the paths; relative ones start at the folder of the list, or at --root.",
        )
    lost = {name for name, _ in failures}
    rows = tuple(row for row, clip in enumerate(clips) if clip.id not in lost)
    return ClipLogits(rows, np.concatenate(parts)[list(rows)], tuple(failures))


def score_clip_set(
    tagger: Tagger,
    clips: ClipSet,
    *,
    batch_size: int | None = None,
    workers: int = 2,
    progress: Progress | None = None,
) -> tuple[Scores, tuple[tuple[str, AudiotagError], ...]]:
    """Scores of *clips* to be kept; the arguments and errors are those of `clip_logits`.

    Returns:
        The scores of the clips that could be read, and (clip id, error) of the others.
    """
    heard = clip_logits(tagger, clips, batch_size=batch_size, workers=workers, progress=progress)
    scores = scores_of(heard.logits, tagger.single_label)
    names = tuple(clips[row].id for row in heard.rows)
    learned_from = Heard.of_models(model.metadata for model in tagger.models)
    return Scores(scores, names, tagger.labels.mids, tagger.name, learned_from), heard.failures
