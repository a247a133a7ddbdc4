"""Measuring a model on labelled clips."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike

from audiotag.arguments import refuse_others, take, takes
from audiotag.data.clips import ClipSet
from audiotag.data.heard import TUNED_ON, Heard
from audiotag.data.source import READING, ClipSource
from audiotag.display import brief_repr
from audiotag.errors import OptionError
from audiotag.evaluation.doubts import doubts_about
from audiotag.evaluation.evaluation import Evaluation, evaluate_scores
from audiotag.evaluation.event_criteria import EventCriteria
from audiotag.evaluation.event_evaluation import EventEvaluation
from audiotag.evaluation.keeping import ModelSource, checkpoint_folder, keep_decoding, keep_thresholds
from audiotag.evaluation.measurement import require_metrics, with_metrics
from audiotag.evaluation.metrics import Floats
from audiotag.evaluation.scoring import clips_for, score, weights_of
from audiotag.evaluation.sound_events import EventMeasuring, evaluate_events
from audiotag.evaluation.thresholds import choose_thresholds, tune_thresholds
from audiotag.inference.clip_scores import Compute, Progress
from audiotag.inference.combine import EnsembleMode
from audiotag.inference.loading import load
from audiotag.inference.tagger import Tagger
from audiotag.inference.tags import DEFAULT_THRESHOLD


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


Data: TypeAlias = "ClipSource | str | Path | ClipSet"

_MEASURING, _COMPUTE = Measuring.__dataclass_fields__, Compute.__dataclass_fields__


@overload
def evaluate(model: ModelSource, data: Data, *, events: Literal[False] = False, **arguments: Any) -> Evaluation: ...


@overload
def evaluate(model: ModelSource, data: Data, *, events: Literal[True], **arguments: Any) -> EventEvaluation: ...


@takes(ClipSource, Measuring, EventMeasuring, EventCriteria, Compute)
def evaluate(
    model: ModelSource,
    data: Data,
    *,
    weights: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    combine: EnsembleMode | None = None,
    output: str | Path | None = None,
    progress: Progress | None = None,
    events: bool = False,
    **arguments: Any,
) -> Evaluation | EventEvaluation:
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
        events: Measure *when* classes are heard, on strongly labelled clips.
        arguments: Fields of `ClipSource` (``split="test", fold=1, labels=…``), of `Measuring` (``thresholds=0.3,
            tune_thresholds_on="val.json"``) and of `Compute` (``device="cuda", workers=4``). For *events*, of
            `EventMeasuring` and `EventCriteria` (``median=0.36, onset_collar=0.1``) instead of `Measuring`.

    Raises:
        AudiotagError: The model, the data or an option is wrong, or no clip could be read.
    """
    source = ClipSource.of(data, **take(arguments, READING))
    # Labels describe the weights only where those come alone.
    own = source.labels if weights is not None else None
    loading = {"weights": weights, "options": options, "labels": own, "combine": combine}
    if events:
        return _events(model, source, output, loading, {**arguments, "progress": progress})
    measuring = Measuring(**take(arguments, _MEASURING))
    compute = Compute(**take(arguments, _COMPUTE))
    refuse_others("evaluate", arguments, (*READING, *_MEASURING, *_COMPUTE))
    tagger = _tagger(model, compute, **loading)
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


def _events(
    model: ModelSource,
    data: ClipSource,
    output: str | Path | None,
    loading: Mapping[str, Any],
    arguments: dict[str, Any],
) -> EventEvaluation:
    """See `evaluate`; *loading* and *arguments* are what it is given."""
    compute = Compute(**{name: arguments[name] for name in _COMPUTE if name in arguments})
    tagger = _tagger(model, compute, **loading)
    result = evaluate_events(tagger, data, **arguments)
    folder = checkpoint_folder(model) if arguments.get("store_thresholds", True) else None
    if result.tuned is not None and folder is not None:
        keep_decoding(folder, result.tuned, tagger.labels)
    if output is not None:
        result.save(output)
    return result


def _tagger(model: ModelSource, compute: Compute, **loading: Any) -> Tagger:
    if isinstance(model, Tagger):
        return model
    if not isinstance(model, str | Path | Sequence):
        return Tagger(model, device=compute.device, precision=compute.precision)
    return load(model, device=compute.device, precision=compute.precision, engine=compute.engine, **loading)
