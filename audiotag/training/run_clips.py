"""Which clips a run learns from, validates on and is measured with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audiotag.data.clips import ClipSet
from audiotag.data.selection import splits_of
from audiotag.data.source import ClipSource
from audiotag.data.weights import read_sampling_weights
from audiotag.errors import TrainingError
from audiotag.evaluation.doubts import nothing_to_tell_apart
from audiotag.labels import LabelSet
from audiotag.models.model import Model
from audiotag.seeding import numpy_generator
from audiotag.training.learned import TEST, VALIDATION
from audiotag.training.reporting import Reporter
from audiotag.training.request import Request
from audiotag.training.settings import Sampling


@dataclass(frozen=True, kw_only=True)
class RunClips:
    """The clips of a run, all over the same classes.

    Attributes:
        every: All that were named to learn from, before any are held out.
        train: Those to learn from.
        val: Those to validate on, or None.
        test: The test set, or None.
    """

    every: ClipSet
    train: ClipSet
    val: ClipSet | None
    test: ClipSet | None = None

    @classmethod
    def read(cls, request: Request, seed: int, reporter: Reporter) -> RunClips:
        """Read what *request* names; what is left out of it is told.

        Raises:
            ManifestError: A source is wrong.
            TrainingError: Nothing can be learned from the clips, or none can be held out.
        """
        every = read_training_clips(request, reporter)
        train, val = split_clips(request, every, seed, reporter)
        _require_something_to_learn(request, train, val, reporter)
        return cls(every=every, train=train, val=val, test=read_test_clips(request, train.labels, reporter))

    @property
    def measured(self) -> dict[str, ClipSet]:
        """What for → the clips that the model is measured on."""
        named = ((VALIDATION, self.val), (TEST, self.test))
        return {what: clips for what, clips in named if clips is not None}

    def require_inputs(self, model: Model) -> None:
        """Refuse clips that lack what the network takes.

        Raises:
            ManifestError: The network takes pictures, and clips have none; the message names the first.
        """
        if "video" in model.backbone.inputs:
            from audiotag.data.video import require_video

            for clips in (self.train, self.val):
                if clips is not None:
                    require_video(clips)

    def sampler_options(self, settings: Sampling) -> dict[str, Any]:
        """The sampler's options; a file of weights for every clip is cut to the clips that are learned from.

        Raises:
            ManifestError: The file has another number of weights than there are clips.
        """
        options = dict(settings.sampler_options)
        source = options.get("weights")
        if not isinstance(source, str | Path) or len(self.train) == len(self.every):
            return options
        weights = dict(zip(self.every.columns.ids, read_sampling_weights(source, len(self.every)), strict=True))
        options["weights"] = [float(weights[name]) for name in self.train.columns.ids]
        return options


def read_training_clips(request: Request, reporter: Reporter) -> ClipSet:
    """All clips that the request trains on, before any are held out.

    Raises:
        ManifestError: The source is wrong.
    """
    clips = _read(request.train, None, reporter)
    if request.train.split is None and len(splits := splits_of(clips)) > 1:
        reporter.message(f"{clips.source} has the splits {', '.join(splits)}; all of them are trained on (--split).")
    return clips


def split_clips(request: Request, clips: ClipSet, seed: int, reporter: Reporter) -> tuple[ClipSet, ClipSet | None]:
    """The clips to learn from and those to validate on, over the same classes."""
    if request.val is not None:
        return clips, _read(request.val, clips.labels, reporter)
    if request.fold is not None:
        return clips.split_fold(request.fold)
    if request.val_fraction <= 0:
        reporter.message("There is no validation set: the last epoch is kept.")
        return clips, None
    return _hold_out(clips, request.val_fraction, seed, reporter)


def read_test_clips(request: Request, labels: LabelSet, reporter: Reporter) -> ClipSet | None:
    """The test set, over the classes *labels*; None where there is none."""
    return None if request.test is None else _read(request.test, labels, reporter)


def _read(source: ClipSource, labels: LabelSet | None, reporter: Reporter) -> ClipSet:
    """The clips, over the classes *labels* where they are given; what is left out of them is told."""
    clips = source.read(labels)
    if clips.skipped:
        listed = ", ".join(f"{label} ({count})" for label, count in sorted(clips.skipped.items()))
        reporter.message(f"Labels left out of {clips.source} because the class list lacks them: {listed}.")
    if absent := sum(clips.absent.values()):
        reporter.message(f"{absent} clips that {clips.source} lists have no recording and are left out.")
    return clips


def _hold_out(clips: ClipSet, fraction: float, seed: int, reporter: Reporter) -> tuple[ClipSet, ClipSet]:
    """Hold out a share of the clips, class by class from the rarest: each class is on both sides where it can be."""
    generator = numpy_generator(seed, "held out")
    members_of = clips.sparse_targets().by_class()
    held = np.zeros(len(clips), dtype=np.bool_)
    for column in np.argsort(members_of.labels_per_clip, kind="stable"):
        members = members_of[column]
        wanted = min(round(fraction * len(members)), len(members) - 1)
        order = generator.permutation(members)
        held[order[~held[order]][: max(0, wanted - held[members].sum())]] = True
    if not held.any():
        raise TrainingError(
            f"no clip can be held out of {len(clips)} for validation",
            where=clips.source,
            fix="Give --val, or --val-fraction 0.",
        )
    reporter.message(f"{held.sum()} of {len(clips)} clips are held out for validation (seed {seed}).")
    return clips.subset(np.flatnonzero(~held)), clips.subset(np.flatnonzero(held))


def _require_something_to_learn(request: Request, train: ClipSet, val: ClipSet | None, reporter: Reporter) -> None:
    """Refuse labels from which nothing can be learned, and warn of validation clips on which nothing can be measured.

    Raises:
        TrainingError: Every clip has the same labels, and there is no teacher.
    """
    nothing = _nothing_to_tell_apart(train)
    if nothing is not None and not request.taught:
        raise TrainingError(
            f"these labels cannot be trained on: {nothing}",
            where=train.source,
            fix="Add clips of other sounds; with --multi-label they need no label.",
        )
    if val is None:
        return
    nothing = _nothing_to_tell_apart(val)
    if nothing is not None:
        reporter.message(f"Warning: nothing can be measured on the clips to validate on: {nothing}.")


def _nothing_to_tell_apart(clips: ClipSet) -> str | None:
    unknown, support = clips.sparse_unknown(), clips.sparse_targets().counts()
    against = len(clips) - support - (0 if unknown is None else unknown.counts())
    return nothing_to_tell_apart(support, against, len(clips), clips.single_label)
