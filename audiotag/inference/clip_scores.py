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


@dataclass(frozen=True, kw_only=True)
class Compute:
    """How clips are computed.

    Attributes:
        device: As for `audiotag.load`.
        precision: As for `audiotag.load`.
        engine: As for `audiotag.load`.
        batch_size: Clips computed at a time.
        workers: Threads that read.
        strict: Raise at the first clip that cannot be read.
    """

    device: str = "auto"
    precision: str = "32"
    engine: str = "auto"
    batch_size: int = 16
    workers: int = 2
    strict: bool = False


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
    rows: list[int] = []
    logits: list[NDArray[np.float32]] = []
    failures: list[tuple[str, AudiotagError]] = []
    for row, result in enumerate(tagger.tag_files(clips, top=1, batch_size=batch_size, workers=workers)):
        if result.logits is not None:
            rows.append(row)
            logits.append(result.logits)
        elif result.error is not None:
            if strict:
                raise result.error
            failures.append((result.id, result.error))
        if progress is not None:
            progress(row + 1, len(clips))
    if not rows:
        raise AudiotagError(
            f"none of the {len(clips)} clips could be read; the first: {failures[0][1]}",
            where=clips.source,
            fix="Check the paths; relative ones start at the folder of the list, or at --root.",
        )
    return ClipLogits(tuple(rows), np.stack(logits), tuple(failures))


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
    learned_from = Heard.of_models(one.metadata for one in tagger.facts)
    return Scores(scores, names, tagger.labels.mids, tagger.name, learned_from), heard.failures
