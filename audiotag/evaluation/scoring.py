"""From labelled clips and a tagger to targets and scores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from audiotag.data.clips import Clip, ClipSet
from audiotag.data.source import ClipSource
from audiotag.evaluation.doubts import Doubts
from audiotag.evaluation.measurement import Provenance
from audiotag.evaluation.metrics import Bools, Floats
from audiotag.inference.clip_scores import Compute, Progress, clip_logits
from audiotag.inference.combine import probabilities
from audiotag.inference.tagger import Tagger


def clips_for(tagger: Tagger, source: ClipSource) -> ClipSet:
    """The clips of *source* with labels as indices into the classes of *tagger*.

    Where *source* does not say whether each clip has exactly one class, a single-label model takes the clips for what
    they are. A missing recording is a failed clip, counted like any other that cannot be read.

    Raises:
        ManifestError: *source* is wrong, or a clip has a class that the tagger lacks.
    """
    clips = source.read(tagger.labels, check_files=False)
    if source.single_label is None and tagger.single_label and not clips.single_label:
        return replace(clips, single_label=all(len(clip.labels) == 1 and not clip.unknown for clip in clips))
    return clips


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

    def provenance(self, source: ClipSource, clips: ClipSet, doubts: Doubts, **made: Any) -> Provenance:
        """Where these scores come from: a model on *clips*, which were read from *source*.

        Args:
            source: What was asked for.
            clips: What there was.
            doubts: What is to be said of it.
            made: Fields of `Provenance` about the model and its thresholds.
        """
        return Provenance(
            data=clips.source,
            split=source.split,
            folds=source.folds,
            clips=self.clips,
            failed=self.failed,
            skipped=dict(clips.skipped),
            absent=sum(clips.absent.values()),
            learned=doubts.learned,
            warnings=doubts.warnings,
            measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
            **made,
        )


def weights_of(tagger: Tagger) -> tuple[str, ...]:
    """A digest of the options and weights of each network of *tagger*."""
    return tuple(engine.fingerprint() for engine in tagger.engines)


def score(tagger: Tagger, clips: ClipSet, compute: Compute, progress: Progress | None = None) -> Scored:
    """Tag *clips*.

    Args:
        tagger: Its classes are those of *clips*, in the same order.
        clips: What to tag.
        compute: How; the device and the precision are those of *tagger*.
        progress: Told of clips done.

    Raises:
        AudiotagError: No clip could be read, or one could not where *compute* is strict.
    """
    heard = clip_logits(
        tagger,
        clips,
        batch_size=compute.batch_size,
        workers=compute.workers,
        strict=compute.strict,
        progress=progress,
    )
    kept = list(heard.rows)
    known = clips.known()
    return Scored(
        clips=tuple(clips[row] for row in kept),
        targets=clips.targets()[kept] > 0,
        scores=probabilities(heard.logits, tagger.single_label),
        failed=tuple((clip, str(error)) for clip, error in heard.failures),
        known=None if known is None else known[kept],
    )
