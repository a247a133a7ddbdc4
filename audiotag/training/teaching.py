"""What a teacher says of the training clips: computed once and kept, or read from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from audiotag.cache.ledger import ArrayCache
from audiotag.cache.place import cache_folder
from audiotag.data.clips import ClipSet
from audiotag.data.heard import Heard
from audiotag.data.scores import Scores, ScoresFile
from audiotag.errors import LabelError, OptionError, TrainingError
from audiotag.inference.loading import load
from audiotag.inference.tagger import Tagger
from audiotag.labels import LabelSet
from audiotag.training.clip_keys import teacher_keys
from audiotag.training.reporting import Reporter
from audiotag.training.request import Request
from audiotag.training.settings import Settings
from audiotag.training.supervision import Supervision

_WHAT = "scores of the teacher"
_PART = 64
"""Clips scored between two writes to disk: what an interrupted run has heard is not heard again."""


def tempered(logits: NDArray[np.float32], temperature: float, single_label: bool) -> NDArray[np.float32]:
    """Soft targets from a teacher's logits (clips, classes); rows of NaN stay.

    Args:
        logits: What the teacher gives.
        temperature: T > 0; above 1 they are softer.
        single_label: A softmax over classes instead of a sigmoid of each.
    """
    values = torch.from_numpy(logits) / temperature
    targets: NDArray[np.float32] = (values.softmax(-1) if single_label else values.sigmoid()).numpy()
    return targets


def logits_of(probabilities: NDArray[np.float32], single_label: bool) -> NDArray[np.float32]:
    """Logits whose sigmoid (softmax for *single_label*) gives *probabilities*, which are clamped at 1e-6."""
    values = torch.from_numpy(probabilities).double()
    logits = values.clamp(min=1e-6).log() if single_label else values.logit(eps=1e-6)
    result: NDArray[np.float32] = logits.float().numpy()
    return result


def teacher_logits(tagger: Tagger, clips: ClipSet, *, store: Path, reporter: Reporter) -> NDArray[np.float32]:
    """Logits of the training clips as a teacher, one model or several, gives them.

    Each clip is heard once, whole, as in tagging, and its logits are kept in *store*.

    Args:
        tagger: The teacher. Its classes are matched by mid, and may be more than those of *clips*.
        clips: The training clips.
        store: SQLite file that keeps what was computed.
        reporter: Told how far it is.

    Returns:
        float32 (clips, classes), columns in the order of the clips' classes.

    Raises:
        LabelError: A teacher lacks classes of the data.
        OptionError: A teacher's scores mean something else than the data's labels.
        TrainingError: A clip cannot be read.
    """
    require_fitting(tagger, clips)
    columns = teacher_columns(clips.labels, tagger)
    keys = teacher_keys(clips, tagger.engines, tagger.combine)
    with ArrayCache(store) as kept:
        known = kept.get(keys)
        missing = [index for index, key in enumerate(keys) if key not in known]
        if missing:
            reporter.message(f"Scores of the teacher {tagger.name} are cached in {store}.")
            reporter.computing(_WHAT, len(keys) - len(missing), len(keys))
        for begin in range(0, len(missing), _PART):
            part = missing[begin : begin + _PART]
            logits, errors = tagger.score_clips(clips.subset(part))
            if errors:
                clip, error = errors[0]
                raise TrainingError(f"a clip cannot be read: {error}", where=f"clip {clip}") from error
            fresh = {keys[index]: row for index, row in zip(part, logits, strict=True)}
            kept.put(fresh)
            known |= fresh
            reporter.computing(_WHAT, len(keys) - len(missing) + begin + len(part), len(keys))
    return np.stack([known[key] for key in keys])[:, columns]


def supervise(request: Request, train: ClipSet, settings: Settings, reporter: Reporter) -> Supervision:
    """What the run learns from: the labels of *train*, and what the teacher of *request*, if any, says.

    Raises:
        LabelError: The teacher lacks classes of the data.
        ManifestError: The file of scores is wrong, or knows none of the clips.
        OptionError: The teacher's scores mean something else than the data's labels.
        TrainingError: A clip cannot be read.
    """
    if request.teacher:
        store = cache_folder() / "embeddings.sqlite"
        tagger = load(request.teacher, device=settings.device)
        logits = teacher_logits(tagger, train, store=store, reporter=reporter)
        heard = Heard.of_models(one.metadata for one in tagger.facts)
        return Supervision.of(train, tempered(logits, settings.temperature, train.single_label), heard)
    if request.teacher_scores is not None:
        said = _read_scores(Path(request.teacher_scores), train)
        scores, missing = said.aligned(train)
        if missing:
            reporter.message(
                f"{len(missing)} of {len(train)} clips have no teacher scores and are trained on their labels alone."
            )
        logits = logits_of(scores, train.single_label)
        return Supervision.of(train, tempered(logits, settings.temperature, train.single_label), said.learned_from)
    return Supervision.of(train)


def _read_scores(path: Path, train: ClipSet) -> Scores:
    """An ``.npz`` of probabilities that names its classes; or, as EfficientAT keeps them, an ``.npy`` of logits."""
    if path.suffix.lower() == ".npy":
        return ScoresFile.read(path, labels=train.labels, logits=True, only=list(train.columns.ids))
    return ScoresFile.read(path, only=list(train.columns.ids))


def require_fitting(teacher: Tagger, clips: ClipSet) -> None:
    """Refuse a teacher whose scores mean something else than the labels of *clips*.

    Raises:
        OptionError: They do.
    """
    if teacher.single_label != clips.single_label:
        kinds = {True: "one class a clip", False: "any number of classes a clip"}
        raise OptionError(
            f"the teacher gives {kinds[teacher.single_label]}, and the data has {kinds[clips.single_label]}",
            where=teacher.name,
            fix="Fine-tune the teacher on this data first, or give --single-label or --multi-label.",
        )


def teacher_columns(labels: LabelSet, teacher: Tagger) -> list[int]:
    """Where the teacher's scores of *labels* stand among its classes.

    Raises:
        LabelError: It lacks some.
    """
    positions = labels.positions_in(teacher.labels)
    lacking = [label.name for label, position in zip(labels, positions, strict=True) if position is None]
    if lacking:
        more = "" if len(lacking) == 1 else f" and {len(lacking) - 1} others"
        raise LabelError(
            f"the teacher lacks the class {lacking[0]!r}{more} of the data",
            where=teacher.name,
            fix="Fine-tune it first (audiotag finetune --freeze-backbone --backbone TEACHER --train ...), and give its "
            "run folder as the teacher.",
        )
    return [position for position in positions if position is not None]
