"""Scores of a whole set of clips, to be kept."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from audiotag.data.clips import ClipSet
from audiotag.data.scores import Scores
from audiotag.errors import AudiotagError
from audiotag.inference.combine import scores_of
from audiotag.inference.tagger import Tagger

_BATCHES_A_STEP = 8


def score_clip_set(
    tagger: Tagger,
    clips: ClipSet,
    *,
    batch_size: int | None = None,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Scores, tuple[tuple[str, AudiotagError], ...]]:
    """Tag *clips*, whatever their classes are; each clip's start and stop are honoured.

    Args:
        tagger: Gives the scores and their classes.
        clips: What to tag.
        batch_size: Clips computed at a time; None for the tagger's default.
        workers: Threads that read.
        progress: Called with (clips done, clips in all).

    Returns:
        The scores of the clips that could be read, and (clip id, error) of the others.

    Raises:
        AudiotagError: No clip could be read.
    """
    # Small steps let progress be told; without it, one step keeps the readers busy.
    step = max(1, len(clips) if progress is None else (batch_size or tagger.default_batch_size) * _BATCHES_A_STEP)
    parts = []
    failures: list[tuple[str, AudiotagError]] = []
    for begin in range(0, len(clips), step):
        logits, failed = tagger.score_clips(clips[begin : begin + step], batch_size=batch_size, workers=workers)
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
    kept = [row for row, clip in enumerate(clips) if clip.id not in lost]
    scores = scores_of(np.concatenate(parts)[kept], tagger.single_label)
    return Scores(scores, tuple(clips[row].id for row in kept), tagger.labels.mids, tagger.name), tuple(failures)
