"""From labelled clips and a tagger to targets and scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from audiotag.data.clips import Clip, ClipSet
from audiotag.data.reading import read_clips
from audiotag.data.selection import align_labels, select_folds, select_split, with_frames
from audiotag.errors import ManifestError
from audiotag.evaluation.metrics import Bools, Floats
from audiotag.inference.clip_scores import Progress, clip_logits
from audiotag.inference.combine import probabilities
from audiotag.inference.tagger import Tagger
from audiotag.labels import LabelSet


@dataclass(frozen=True)
class DataRequest:
    """How labelled clips are read: the arguments of `read_clips`, and the part of them that is wanted.

    Attributes:
        format: Name of the format; None finds it out.
        labels: Classes that the labels refer to; None takes the model's.
        root: Folder that relative paths start from.
        unknown_labels: ``"error"`` or ``"skip"``.
        split: Keep the clips of this split.
        folds: Keep the clips of these folds.
        single_label: Whether each clip has exactly one class; None takes what the data says, or, for a single-label
            model, what is so.
        frames: Pictures of a clip there are to choose from; None leaves them at what they are.
    """

    format: str | None = None
    labels: str | Path | LabelSet | Sequence[str] | None = None
    root: str | Path | None = None
    unknown_labels: str = "error"
    split: str | None = None
    folds: Sequence[int] | None = None
    single_label: bool | None = None
    frames: int | None = None

    def read(self, data: str | Path | ClipSet, classes: LabelSet, *, single_label_model: bool = False) -> ClipSet:
        """The wanted clips of *data*, with labels as indices into *classes* (matched by mid).

        Raises:
            ManifestError: *data* is wrong, or a clip has a class that *classes* lacks.
        """
        if isinstance(data, ClipSet):
            clips = data if self.split is None else select_split(data, self.split)
        else:
            clips = read_clips(
                data,
                format=self.format,
                labels=classes if self.labels is None else self.labels,
                root=self.root,
                unknown_labels=self.unknown_labels,
                split=self.split,
                check_files=False,  # a missing recording is a failed clip, counted like any other that cannot be read
            )
        clips = replace(clips, clips=with_frames(clips, self.frames))
        if self.folds is not None:
            clips = select_folds(clips, self.folds)
        clips = align_labels(clips, classes, unknown_labels=self.unknown_labels)
        single = self.single_label
        if single is None:
            single = clips.single_label or (
                single_label_model and all(len(clip.labels) == 1 and not clip.unknown for clip in clips)
            )
        wrong = next((clip for clip in clips if len(clip.labels) != 1), None)
        if single and wrong is not None:
            raise ManifestError(
                f"the clip {wrong.id!r} has {len(wrong.labels)} labels, in a set where each clip has exactly one",
                where=clips.source,
                fix="Give it one label, or measure as multi-label.",
            )
        return replace(clips, single_label=single)


@dataclass(frozen=True)
class Scored:
    """What a tagger says about clips.

    Attributes:
        clips: Those that could be read.
        targets: bool (clips, classes).
        scores: float64 (clips, classes), probabilities.
        failed: (clip id, reason) of the others.
        known: bool (clips, classes), which labels are known; None where all are.
    """

    clips: tuple[Clip, ...]
    targets: Bools
    scores: Floats
    failed: tuple[tuple[str, str], ...]
    known: Bools | None = None

    @property
    def clip_ids(self) -> tuple[str, ...]:
        """The names of `clips`."""
        return tuple(clip.id for clip in self.clips)


def score(
    tagger: Tagger,
    clips: ClipSet,
    *,
    batch_size: int,
    workers: int,
    strict: bool = False,
    progress: Progress | None = None,
) -> Scored:
    """Tag *clips*.

    Args:
        tagger: Its classes are those of *clips*, in the same order.
        clips: What to tag.
        batch_size: Clips computed at a time.
        workers: Threads that read.
        strict: Raise where a clip cannot be read, instead of leaving it out.
        progress: Told of clips done.

    Raises:
        AudiotagError: No clip could be read, or, where *strict*, one could not.
    """
    heard = clip_logits(tagger, clips, batch_size=batch_size, workers=workers, strict=strict, progress=progress)
    kept = list(heard.rows)
    known = clips.known()
    return Scored(
        clips=tuple(clips[row] for row in kept),
        targets=clips.targets()[kept] > 0,
        scores=probabilities(heard.logits, tagger.single_label),
        failed=tuple((clip, str(error)) for clip, error in heard.failures),
        known=None if known is None else known[kept],
    )
