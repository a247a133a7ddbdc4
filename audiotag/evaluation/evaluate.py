"""Measuring a model on labelled clips."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from audiotag.arguments import refuse_others, take, takes
from audiotag.data.clips import ClipSet
from audiotag.data.heard import TUNED_ON, Heard
from audiotag.data.source import READING, ClipSource
from audiotag.display import brief_repr
from audiotag.engines.exported import keep_exported_thresholds
from audiotag.errors import OptionError
from audiotag.evaluation.doubts import doubts_about
from audiotag.evaluation.evaluation import Evaluation, evaluate_scores
from audiotag.evaluation.measurement import require_metrics, with_metrics
from audiotag.evaluation.metrics import Floats
from audiotag.evaluation.scoring import clips_for, score, weights_of
from audiotag.evaluation.thresholds import TunedThresholds, read_thresholds, tune_thresholds
from audiotag.host import get_host
from audiotag.inference.clip_scores import Compute, Progress
from audiotag.inference.combine import EnsembleMode
from audiotag.inference.ensemble import is_ensemble, keep_ensemble_thresholds
from audiotag.inference.loading import load
from audiotag.inference.tagger import Tagger
from audiotag.inference.tags import DEFAULT_THRESHOLD
from audiotag.models.facts import ENSEMBLE_FORMAT, EXPORT_FORMAT, TRAINING_FILE, find_checkpoint, folder_format
from audiotag.places import exists

if TYPE_CHECKING:
    from audiotag.models.model import Model

ModelSource: TypeAlias = "str | Path | Model | Tagger | Sequence[str | Path]"


@brief_repr
@dataclass(frozen=True, kw_only=True)
class Measuring:
    """What is measured of scores.

    Attributes:
        thresholds: Multi-label decisions: one number, one for each class, a file (see `read_thresholds`), ``"tuned"``
            for those in the checkpoint; None for those where there are any, else 0.5.
        tune_thresholds_on: Clips on which thresholds that maximise F-beta are found, instead of `thresholds`.
        beta: Weight of recall against precision in that tuning.
        per_class_thresholds: Tune one threshold for each class, or one for all.
        store_thresholds: Keep the tuned thresholds in the checkpoint, where the model is one of ours.
        top_k: The k of top-k accuracy; None for 3 and 5 for single-label data and none otherwise.
        metrics: Names of registered metrics beside the usual numbers.

    Raises:
        OptionError: Thresholds are given, and are to be tuned.
        UnknownNameError: Nobody registers a metric of that name.
    """

    thresholds: str | Path | ArrayLike | None = None
    tune_thresholds_on: ClipSource | str | Path | ClipSet | None = None
    beta: float = 1.0
    per_class_thresholds: bool = True
    store_thresholds: bool = True
    top_k: Sequence[int] | None = None
    metrics: Sequence[str] = ()

    def __post_init__(self) -> None:
        require_metrics(self.metrics)
        if self.thresholds is not None and self.tune_thresholds_on is not None:
            raise OptionError("thresholds are given, and are to be tuned", fix="Do one of them.")
        one: Any = self.thresholds
        if isinstance(one, float | int) and not 0 <= one <= 1:
            raise OptionError(f"the threshold is {one}", fix="Give a score from 0 to 1.")
        if not 0 < self.beta < math.inf:
            raise OptionError(f"beta is {self.beta}", fix="Give a number above 0.")

    def thresholds_in_words(self, tagger: Tagger, tuned_on: ClipSet | None) -> str:
        """Where the thresholds for *tagger* come from; *tuned_on* are the clips that they were tuned on, if any."""
        if tuned_on is not None:
            each = "each class" if self.per_class_thresholds else "all classes"
            return f"tuned on {tuned_on.source} for the F-score of {each} (beta {self.beta:g})"
        given = self.thresholds
        if given is None:
            given = "tuned" if tagger.thresholds is not None else DEFAULT_THRESHOLD
        if isinstance(given, str | Path):
            return "those of the model" if given == "tuned" else f"read from {given}"
        return f"{np.asarray(given).item():g} for every class" if np.ndim(given) == 0 else "given for each class"


_MEASURING, _COMPUTE = Measuring.__dataclass_fields__, Compute.__dataclass_fields__


@takes(ClipSource, Measuring, Compute)
def evaluate(
    model: ModelSource,
    data: ClipSource | str | Path | ClipSet,
    *,
    weights: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    combine: EnsembleMode | None = None,
    output: str | Path | None = None,
    progress: Progress | None = None,
    **arguments: Any,
) -> Evaluation:
    """Measure a model on labelled clips.

    The clips' classes are matched to the model's by mid. Clips that cannot be read are left out and listed.

    Args:
        model: A registered name, a run, checkpoint or ensemble folder, a `Model`, a `Tagger`, or several names or
            folders for an ensemble.
        data: Labelled clips: a file, a folder, a `ClipSet` or a `ClipSource`.
        weights: As for `audiotag.load`. The *labels* of the data are then those of the weights, too.
        options: As for `audiotag.load`.
        combine: As for `audiotag.load`.
        output: Folder for what `Evaluation.save` writes.
        progress: Called with (clips done, clips in all).
        arguments: Fields of `ClipSource` (``split="test", fold=1, labels=…``), of `Measuring` (``thresholds=0.3,
            tune_thresholds_on="val.json"``) and of `Compute` (``device="cuda", workers=4``).

    Raises:
        AudiotagError: The model, the data or an option is wrong, or no clip could be read.
    """
    source = ClipSource.of(data, **take(arguments, READING))
    measuring = Measuring(**take(arguments, _MEASURING))
    compute = Compute(**take(arguments, _COMPUTE))
    refuse_others("evaluate", arguments, (*READING, *_MEASURING, *_COMPUTE))
    own = source.labels if weights is not None else None  # labels describe the weights only where those come alone
    tagger = _tagger(model, compute, weights=weights, options=options, labels=own, combine=combine)
    clips = clips_for(tagger, source)
    cuts: Floats | None = None
    tuned_on: Heard | None = None
    validation: ClipSet | None = None
    if clips.single_label:
        if measuring.thresholds is not None or measuring.tune_thresholds_on is not None:
            raise OptionError(
                "thresholds do not apply: each clip has one class, and the highest score decides",
                where=clips.source,
                fix="Leave them out, or measure as multi-label (--multi-label).",
            )
    elif (held_out := source.other(measuring.tune_thresholds_on)) is not None:
        validation = held_out.read(tagger.labels, check_files=False)
        held = score(tagger, validation, compute, progress)
        how: dict[str, Any] = {"beta": measuring.beta, "per_class": measuring.per_class_thresholds}
        tuned = tune_thresholds(held.targets, held.scores, **how, known=held.known)
        cuts = tuned.thresholds
        if measuring.store_thresholds and (folder := checkpoint_folder(model)) is not None:
            keep_thresholds(folder, tuned, validation, measuring.beta)
    else:
        cuts = choose_thresholds(measuring.thresholds, tagger)
        if tagger.thresholds is not None and np.array_equal(cuts, tagger.thresholds):
            tuned_on = Heard.of_models([tagger.metadata], TUNED_ON)
    scored = score(tagger, clips, compute, progress)
    doubts = doubts_about(tagger.facts, scored.clips, tuned_on=tuned_on, tuning=validation or ())
    result = evaluate_scores(
        scored.targets,
        scored.scores,
        tagger.labels,
        single_label=clips.single_label,
        thresholds=cuts,
        top_k=measuring.top_k,
        known=scored.known,
        provenance=scored.provenance(
            source,
            clips,
            doubts,
            model=tagger.name,
            weights=weights_of(tagger),
            thresholds_from="" if clips.single_label else measuring.thresholds_in_words(tagger, validation),
        ),
    )
    result = with_metrics(result, measuring.metrics)
    if output is not None:
        result.save(output)
    return result


def _tagger(model: ModelSource, compute: Compute, **loading: Any) -> Tagger:
    if isinstance(model, Tagger):
        return model
    if not isinstance(model, str | Path | Sequence):
        return Tagger(model, device=compute.device, precision=compute.precision)
    return load(model, device=compute.device, precision=compute.precision, engine=compute.engine, **loading)


def choose_thresholds(thresholds: str | Path | ArrayLike | None, tagger: Tagger) -> Floats:
    """One threshold for each class of *tagger*; see `evaluate`.

    Raises:
        OptionError: There are no tuned thresholds, the file is wrong, or the number of thresholds does not fit.
    """
    if thresholds is None:
        return tagger.event_thresholds()
    if isinstance(thresholds, str) and thresholds == "tuned":
        if tagger.thresholds is None:
            raise OptionError(
                "it has no tuned thresholds",
                where=tagger.name,
                fix=f"Tune them on a validation set (--tune-thresholds), or give a number such as {DEFAULT_THRESHOLD}.",
            )
        return tagger.thresholds
    if isinstance(thresholds, str | Path):
        return read_thresholds(thresholds, tagger.labels)
    return tagger.event_thresholds(thresholds)


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
    metadata = {"thresholds": about, TUNED_ON: str(Heard.of(data))}
    keepers = {ENSEMBLE_FORMAT: keep_ensemble_thresholds, EXPORT_FORMAT: keep_exported_thresholds}
    if (keep := keepers.get(folder_format(folder) or "")) is not None:
        keep(folder, tuned.thresholds, metadata)
        return
    from audiotag.models.checkpoint import load_checkpoint, load_training_state, save_checkpoint

    checkpoint = find_checkpoint(folder)
    model = load_checkpoint(checkpoint)
    model.thresholds = tuned.thresholds
    model.metadata |= metadata
    resumable = (checkpoint / TRAINING_FILE).is_file()
    save_checkpoint(checkpoint, model, training_state=load_training_state(checkpoint) if resumable else None)
