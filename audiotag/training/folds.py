"""Cross-validation: one run a fold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from audiotag.csv_text import frame_csv
from audiotag.errors import TrainingError
from audiotag.files import write_text
from audiotag.folders import claim_folder
from audiotag.places import is_folder
from audiotag.training.asked import require_possible
from audiotag.training.finetune import run
from audiotag.training.reporting import Reporter
from audiotag.training.request import Request
from audiotag.training.run_clips import read_training_clips
from audiotag.training.run_folder import begun


def finetune_folds(
    request: Request, settings: Mapping[str, Any], folder: Path, *, reporter: Reporter | None = None
) -> pd.DataFrame:
    """Train once for each fold of the data, validating on it.

    Runs that are complete are not repeated, and one that was interrupted goes on, so the same call finishes a
    cross-validation that was stopped.

    Args:
        request: Model and data; its ``fold`` is ignored. A teacher that is itself the folder of a cross-validation
            teaches each fold with the model (its ``last``) that has not seen that fold.
        settings: As for `audiotag.training.finetune.run`.
        folder: Holds ``fold_1``, ``fold_2``, … and ``folds.csv``.
        reporter: Told of everything.

    Returns:
        One row a fold: the validation metrics of its last epoch and of its best one (``best_…``), then their mean.
        The best epoch is chosen on the fold itself, so the honest figure is the last epoch's.

    Raises:
        TrainingError: The data has no folds.
    """
    reporter = reporter or Reporter()
    require_possible(replace(request, fold=0), settings)  # whichever it is, each run has one
    clips = read_training_clips(request, Reporter())
    folds = clips.folds()
    if len(folds) < 2:
        raise TrainingError(
            f"cross-validation needs two folds or more, and the data has {len(folds)}",
            where=clips.source,
            fix="Add a column fold to the CSV.",
        )
    claim_folder(folder, "finetune --cross-validate")
    rows = []
    for fold in folds:
        inside = folder / f"fold_{fold}"
        reporter.message(f"Fold {fold} of {', '.join(map(str, folds))}")
        result = run(
            replace(request, fold=fold, teacher=[_teacher_of(name, fold) for name in request.teacher]),
            settings,
            inside,
            resume=begun(inside),
            reporter=reporter,
        )
        last = result.history.iloc[-1].to_dict()
        row = {"fold": fold, **{name: last[name] for name in last if name.startswith("val_")}}
        rows.append(row | {f"best_{name}": result.best[name] for name in row if name.startswith("val_")})
    table = pd.DataFrame(rows)
    means = table.drop(columns="fold").mean().to_dict()
    table = pd.concat([table.astype({"fold": str}), pd.DataFrame([{"fold": "mean", **means}])], ignore_index=True)
    write_text(folder / "folds.csv", frame_csv(table))
    return table


def _teacher_of(name: str, fold: int) -> str:
    inside = Path(name) / f"fold_{fold}" / "last"
    return str(inside) if is_folder(inside) else name
