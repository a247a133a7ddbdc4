"""Keeping with a model what was tuned for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from audiotag.data.clips import ClipSet
from audiotag.data.heard import TUNED_ON, Heard
from audiotag.engines.exported import keep_exported
from audiotag.evaluation.metrics import Floats
from audiotag.evaluation.thresholds import TunedThresholds
from audiotag.host import get_host
from audiotag.inference.ensemble import is_ensemble, keep_ensemble
from audiotag.inference.tagger import Tagger
from audiotag.inference.tuned_decoding import DECODING, TunedDecoding
from audiotag.labels import LabelSet
from audiotag.models.facts import ENSEMBLE_FORMAT, EXPORT_FORMAT, TRAINING_FILE, find_checkpoint, folder_format
from audiotag.places import exists

if TYPE_CHECKING:
    from audiotag.models.model import Model

ModelSource: TypeAlias = "str | Path | Model | Tagger | Sequence[str | Path]"


def checkpoint_folder(model: ModelSource) -> Path | None:
    """The checkpoint or ensemble of ours that *model* names, or None."""
    if not isinstance(model, str | Path):
        return checkpoint_folder(model[0]) if isinstance(model, Sequence) and len(model) == 1 else None
    if is_ensemble(model):
        return Path(model)
    registered = isinstance(model, str) and get_host().knows_backbone(model)
    return None if registered or not exists(model) else find_checkpoint(model)


def keep_thresholds(folder: str | Path, tuned: TunedThresholds, data: ClipSet, beta: float = 1.0) -> None:
    """Write tuned thresholds into a checkpoint or ensemble of ours; a training that can be resumed from it stays so.

    Args:
        folder: As `find_checkpoint` takes it, or an ensemble's.
        tuned: The thresholds, one for each class of the checkpoint.
        data: What they were tuned on, for the record.
        beta: What F-beta they maximise, for the record.

    Raises:
        CheckpointError: The checkpoint cannot be read or written.
    """
    about = {
        "tuned_on": data.source,
        "clips": len(data),
        "beta": beta,
        "classes_without_positives": [data.labels.mids[index] for index in tuned.untuned],
        "mean_f_score": float(np.nanmean(tuned.f_scores)),
    }
    _keep(folder, {"thresholds": about, TUNED_ON: str(Heard.of(data))}, tuned.thresholds)


def keep_decoding(folder: str | Path, tuned: TunedDecoding, labels: LabelSet) -> None:
    """Write a tuned decoding of events into a checkpoint or ensemble of ours, as `keep_thresholds` does.

    Args:
        folder: As `find_checkpoint` takes it, or an ensemble's.
        tuned: The decoding.
        labels: The classes that it is for.

    Raises:
        CheckpointError: The checkpoint cannot be read or written.
    """
    _keep(folder, {DECODING: tuned.to_dict(labels)})


def _keep(folder: str | Path, metadata: Mapping[str, Any], thresholds: Floats | None = None) -> None:
    """Add *metadata* to those of a checkpoint, an exported folder or an ensemble, and *thresholds* where given."""
    keepers = {ENSEMBLE_FORMAT: keep_ensemble, EXPORT_FORMAT: keep_exported}
    if (keep := keepers.get(folder_format(folder) or "")) is not None:
        keep(folder, metadata, thresholds)
        return
    from audiotag.models.checkpoint import load_checkpoint, load_training_state, save_checkpoint

    checkpoint = find_checkpoint(folder)
    model = load_checkpoint(checkpoint, merged=False)
    if thresholds is not None:
        model.thresholds = thresholds
    model.metadata |= metadata
    resumable = (checkpoint / TRAINING_FILE).is_file()
    save_checkpoint(checkpoint, model, training_state=load_training_state(checkpoint) if resumable else None)
