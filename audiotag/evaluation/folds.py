"""Cross-validation: each clip is judged by the model that has not learnt from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiotag.arguments import count_in, refuse_others, take, takes
from audiotag.csv_text import frame_csv
from audiotag.data.clips import ClipSet
from audiotag.data.source import READING, ClipSource
from audiotag.errors import CheckpointError, LabelError
from audiotag.evaluation.doubts import Doubts, doubts_about
from audiotag.evaluation.evaluation import Evaluation, evaluate_scores, save_results, tables
from audiotag.evaluation.measurement import FoldMeasurements, Provenance, require_metrics, with_metrics
from audiotag.evaluation.metrics import mean_defined
from audiotag.evaluation.report import render_report
from audiotag.evaluation.scoring import Scored, clips_for, score, weights_of
from audiotag.inference.clip_scores import Compute, Progress
from audiotag.inference.loading import load
from audiotag.inference.tagger import Tagger
from audiotag.labels import LabelSet
from audiotag.models.facts import find_checkpoint


class CrossValidation(FoldMeasurements):
    """What came out of a cross-validation; see `FoldMeasurements` for what it holds."""

    def save(self, folder: str | Path, *, with_audio: bool = False) -> Path:
        """Write ``metrics.json`` and ``folds.csv``, and the tables and the page of the pooled evaluation.

        Args:
            folder: Where to.
            with_audio: As for `Evaluation.save`.

        Returns:
            *folder*.
        """
        files = {"metrics.json": self.to_json(), "folds.csv": frame_csv(self.table), **tables(self.pooled)}
        page = render_report(self.pooled, folds=self, with_audio=with_audio)
        return save_results(Path(folder), {**files, "report.html": page}, data=self.pooled.data)


@takes(ClipSource, Compute)
def evaluate_folds(
    run_folder: str | Path,
    data: ClipSource | str | Path | ClipSet,
    *,
    checkpoint: Literal["last", "best"] = "last",
    threshold: float = 0.5,
    top_k: Sequence[int] | None = None,
    metrics: Sequence[str] = (),
    output: str | Path | None = None,
    progress: Progress | None = None,
    **arguments: Any,
) -> CrossValidation:
    """Measure a cross-validation: the model in ``fold_1`` on the clips of fold 1, and so on.

    Args:
        run_folder: Holds ``fold_1``, ``fold_2``, …, as ``audiotag finetune --cross-validate`` writes them.
        data: The clips, with folds.
        checkpoint: ``"last"``, or ``"best"``, which was chosen by looking at the held-out fold and so flatters. A
            fold's folder that is a checkpoint itself is taken as it is.
        threshold: For multi-label decisions; one for all classes and folds, so that clips can be pooled.
        top_k: As for `evaluate`.
        metrics: As for `evaluate`.
        output: Folder to save to.
        progress: Called with (clips done, clips in all) within each fold.
        arguments: Fields of `ClipSource` and of `Compute`, as for `evaluate`.

    Raises:
        CheckpointError: There are no runs, or the folds of runs and data differ.
        LabelError: The models have different classes.
        AudiotagError: As `evaluate` raises.
    """
    source = ClipSource.of(data, **take(arguments, READING))
    compute = Compute(**take(arguments, Compute.__dataclass_fields__))
    require_metrics(metrics)
    refuse_others("evaluate_folds", arguments, (*READING, *Compute.__dataclass_fields__))
    runs = _runs(Path(run_folder), checkpoint)
    clips: ClipSet | None = None
    first: Tagger | None = None
    results: dict[int, Evaluation] = {}
    parts: list[Scored] = []
    learned: tuple[str, ...] = ()
    made: dict[str, Any] = {}

    def measure(scored: Scored, held_out: ClipSet, labels: LabelSet, provenance: Provenance) -> Evaluation:
        result = evaluate_scores(
            scored.targets,
            scored.scores,
            labels,
            single_label=held_out.single_label,
            thresholds=threshold,
            top_k=top_k,
            known=scored.known,
            provenance=provenance,
        )
        return with_metrics(result, metrics)

    for fold, folder in runs.items():
        tagger = load(folder, device=compute.device, precision=compute.precision, engine=compute.engine)
        if clips is None or first is None:
            first = tagger
            clips = clips_for(tagger, source)
            _require_same_folds(runs, clips, Path(run_folder))
        elif (change := first.labels.change_to(tagger.labels)).added or change.dropped:
            raise LabelError(f"its classes differ from those of the first fold: {change}", where=folder)
        of_fold = replace(source, fold=fold)
        held_out = ClipSource(clips, fold=fold).read(tagger.labels)
        scored = score(tagger, held_out, compute, progress)
        doubts = doubts_about(tagger.facts, scored.clips)
        model = f"{tagger.name} (fold {fold})"
        made = {"model": model, "weights": weights_of(tagger), "thresholds_from": f"{threshold:g} for every class"}
        provenance = scored.provenance(of_fold, held_out, doubts, **made)
        results[fold] = measure(scored, held_out, tagger.labels, provenance)
        learned += doubts.learned
        parts.append(_in_order(scored, tagger.labels, first.labels))
    assert clips is not None and first is not None  # _runs gives at least one
    pooled = Scored(
        clips=tuple(clip for part in parts for clip in part.clips),
        targets=np.concatenate([part.targets for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        failed=tuple(failure for part in parts for failure in part.failed),
        known=_known(parts),
    )
    warnings = tuple(f"Fold {fold}: {one}" for fold, result in results.items() for one in result.warnings)
    made |= {"model": Path(run_folder).resolve().name, "weights": sum((one.weights for one in results.values()), ())}
    provenance = pooled.provenance(replace(source, fold=list(runs)), clips, Doubts(learned, warnings), **made)
    validation = _summed_up(results, measure(pooled, clips, first.labels, provenance))
    if output is not None:
        validation.save(output)
    return validation


def _known(parts: Sequence[Scored]) -> NDArray[np.bool_] | None:
    if all(part.known is None for part in parts):
        return None
    return np.concatenate([np.ones_like(part.targets) if part.known is None else part.known for part in parts])


def _in_order(scored: Scored, labels: LabelSet, wanted: LabelSet) -> Scored:
    columns = [labels.index(label) for label in wanted]
    known = None if scored.known is None else scored.known[:, columns]
    return replace(scored, targets=scored.targets[:, columns], scores=scored.scores[:, columns], known=known)


def _summed_up(results: dict[int, Evaluation], pooled: Evaluation) -> CrossValidation:
    table = pd.DataFrame(
        [
            {"fold": fold, "clips": result.summary["clips"]}
            | {name: value for name, value in result.summary.items() if isinstance(value, float)}
            for fold, result in results.items()
        ]
    )
    columns = [name for name in table.columns if name not in ("fold", "clips")]
    return CrossValidation(
        results,
        pooled,
        table,
        mean={name: mean_defined(table[name]) for name in columns},
        std={name: _deviation(table[name].to_numpy()) for name in columns},
    )


def _deviation(values: NDArray[np.float64]) -> float:
    """Sample standard deviation without NaNs; NaN for fewer than two numbers, or where one is infinite."""
    kept = values[~np.isnan(values)]
    return float(np.std(kept, ddof=1)) if len(kept) > 1 and np.isfinite(kept).all() else float("nan")


def _runs(folder: Path, checkpoint: str) -> dict[int, Path]:
    runs: dict[int, Path] = {}
    for inside in folder.glob("fold_*"):
        number = count_in(inside.name.removeprefix("fold_"))
        if number is not None:
            chosen = inside / checkpoint
            runs[number] = find_checkpoint(chosen if chosen.is_dir() else inside)
    if not runs:
        raise CheckpointError(
            "there are no runs called fold_1, fold_2, … in it",
            where=folder,
            fix="Train them with: audiotag finetune --cross-validate --output FOLDER",
        )
    return dict(sorted(runs.items()))


def _require_same_folds(runs: dict[int, Path], clips: ClipSet, folder: Path) -> None:
    folds = set(clips.folds())
    if folds != set(runs):
        raise CheckpointError(
            f"it has runs for the folds {', '.join(map(str, runs))}, and {clips.source} has the folds "
            f"{', '.join(map(str, sorted(folds))) or 'none'}",
            where=folder,
            fix="Each fold needs its run; audiotag finetune --cross-validate trains the missing ones.",
        )
