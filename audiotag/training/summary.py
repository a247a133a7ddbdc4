"""How the models of a finished run compare: best single, last, averaged, running average, ensembles of its epochs.

Each is loaded and measured as `audiotag.evaluate` does, so the numbers are what users get. An ensemble averages the
kept epochs one by one, so that one network at a time is in memory; its numbers are those of `audiotag.load` on the
folder that ``audiotag models ensemble RUN --epochs all`` writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiotag.arguments import refuse_others, take
from audiotag.csv_text import frame_csv
from audiotag.data.clips import ClipSet
from audiotag.errors import OptionError, TrainingError
from audiotag.evaluation import definitions
from audiotag.evaluation.definitions import shown, title
from audiotag.evaluation.doubts import doubts_about
from audiotag.evaluation.evaluation import evaluate_scores
from audiotag.evaluation.measurement import Provenance
from audiotag.evaluation.scoring import clips_for
from audiotag.files import write_text
from audiotag.inference.clip_scores import Compute
from audiotag.inference.combine import EnsembleMode, combine_logits, probabilities
from audiotag.inference.loading import load
from audiotag.inference.tagger import Tagger
from audiotag.models.epochs import kept_epochs
from audiotag.models.facts import FACTS_FILE, read_facts
from audiotag.pages import render
from audiotag.settings import read_settings
from audiotag.training.reporting import Reporter
from audiotag.training.request import Request
from audiotag.training.run_clips import read_test_clips, read_training_clips, split_clips
from audiotag.training.run_folder import SETTINGS_FILE, read_run_record
from audiotag.training.settings import Settings

SINGLE = ("best", "last", "averaged", "ema")
METRICS = ("accuracy", "mAP", "mAUC", "d_prime_of_mean_auc")
_COMPUTE = ("device", "precision", "batch_size", "workers")
_RULES: tuple[EnsembleMode, ...] = ("logits", "probabilities")


def summarise_run(
    run: str | Path,
    *,
    val: str | Path | ClipSet | None = None,
    test: str | Path | ClipSet | None = None,
    **arguments: Any,
) -> pd.DataFrame:
    """`summarise` a run from its folder alone, on the validation and test sets that it keeps.

    Args:
        run: The run folder.
        val: Another validation set.
        test: Another test set.
        arguments: Fields of `Compute` but ``strict`` (``device="cuda", workers=4``).

    Raises:
        TrainingError: The folder holds no run, or its data has changed.
        OptionError: There is neither a validation nor a test set.
    """
    compute = Compute(**take(arguments, _COMPUTE))
    refuse_others("summarise_run", arguments, _COMPUTE)
    run = Path(run)
    tagger = load(run / "last")
    request, _, _ = Request.load(run)
    quiet = Reporter()

    def read(clips: str | Path | ClipSet) -> ClipSet:
        source = replace(request.train, clips=clips, labels=None, split=None, fold=None, single_label=None)
        return clips_for(tagger, source)

    if val is not None:
        val_clips: ClipSet | None = read(val)
    else:
        seed = Settings.from_dict(read_settings(run / SETTINGS_FILE), where=run / SETTINGS_FILE).seed
        _, val_clips = split_clips(request, read_training_clips(request, quiet), seed, quiet)
        known = read_run_record(run).texts("val", None)
        if val_clips is not None and [clip.id for clip in val_clips] != known:
            raise TrainingError("the run's validation set has changed", where=run, fix="Give --val.")
    test_clips = read_test_clips(request, tagger.labels, quiet) if test is None else read(test)
    return summarise(run, val=val_clips, test=test_clips, compute=compute)


def summarise(
    run: str | Path, *, val: ClipSet | None, test: ClipSet | None, compute: Compute | None = None
) -> pd.DataFrame:
    """Measure the models of a run, and write ``summary.csv`` and ``summary.html`` into its folder.

    Args:
        run: The run folder.
        val: Validation set over the run's classes, or None.
        test: Test set over the run's classes, or None.
        compute: How; clips that cannot be read are left out.

    Returns:
        One row a model that there is: ``model`` (best, last, averaged, ema, ensemble_logits,
        ensemble_probabilities), ``epochs`` (what it is made of), then ``val_…`` and ``test_…``: ``clips``, ``accuracy``
        (single-label data), ``mAP``, ``mAUC``, ``d_prime_of_mean_auc``.

    Raises:
        OptionError: There is neither set.
        AudiotagError: A model cannot be loaded, or no clip can be read.
    """
    run, how = Path(run), compute or Compute()
    sets = {name: clips for name, clips in (("val", val), ("test", test)) if clips is not None}
    if not sets:
        raise OptionError("there is nothing to measure the models on", where=run, fix="Give --val or --test.")

    def logits_of(folder: Path) -> dict[str, tuple[NDArray[np.float32], Tagger]]:
        tagger = load(folder, device=how.device, precision=how.precision)
        taken = {"batch_size": how.batch_size, "workers": how.workers}
        return {name: (tagger.score_clips(clips, **taken)[0], tagger) for name, clips in sets.items()}

    rows: list[dict[str, Any]] = []
    for name in SINGLE:
        if (run / name / FACTS_FILE).is_file():
            scored = logits_of(run / name)
            row: dict[str, Any] = {"model": name, "epochs": _epochs(run / name)}
            for part, (logits, tagger) in scored.items():
                row |= _measure(part, sets[part], logits, tagger)
            rows.append(row)
    epochs = kept_epochs(run)
    if len(epochs) > 1:
        members = [logits_of(folder) for folder in epochs.values()]
        for rule in _RULES:
            row = {"model": f"ensemble_{rule}", "epochs": f"{min(epochs)}-{max(epochs)}"}
            for part, (_, tagger) in members[0].items():
                combined = combine_logits([member[part][0] for member in members], rule, tagger.single_label)
                row |= _measure(part, sets[part], combined, tagger)
            rows.append(row)
    table = pd.DataFrame(rows)
    last = load(run / "last").facts
    warnings = [one for clips in sets.values() for one in doubts_about(last, clips).warnings]
    write_text(run / "summary.csv", frame_csv(table))
    write_text(run / "summary.html", render_summary(run.name, table, sets, warnings))
    return table


def _epochs(folder: Path) -> str:
    metadata = read_facts(folder)["metadata"]
    over = metadata.get("averaged", {})
    if "first_epoch" in over:
        return f"{over['first_epoch']}-{over['last_epoch']}"
    return f"{over['steps']} steps" if "steps" in over else str(metadata.get("metrics", {}).get("epoch", ""))


def _measure(part: str, clips: ClipSet, logits: NDArray[np.float32], tagger: Tagger) -> dict[str, float | int]:
    heard = ~np.isnan(logits).any(axis=1)  # rows of clips that could not be read
    known = clips.known()
    result = evaluate_scores(
        clips.targets()[heard] > 0,
        probabilities(logits[heard], tagger.single_label),
        tagger.labels,
        single_label=clips.single_label,
        known=None if known is None else known[heard],
        provenance=Provenance(data=clips.source),
    )
    return {f"{part}_{name}": result.summary[name] for name in ("clips", *METRICS) if name in result.summary}


def _columns(table: pd.DataFrame) -> list[str]:
    return [name for name in table.columns if name not in ("model", "epochs") and not name.endswith("_clips")]


def _head(column: str) -> str:
    part, _, metric = column.partition("_")
    return f"{title(metric)}, {'validation' if part == 'val' else 'test'}"


def summary_text(table: pd.DataFrame) -> str:
    """The table as lines of text."""
    columns = _columns(table)
    lines = [["model", "epochs", *(_head(name) for name in columns)]]
    for row in table.to_dict(orient="records"):
        lines.append([row["model"], row["epochs"], *(shown(float(row[name])) for name in columns)])
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def render_summary(name: str, table: pd.DataFrame, sets: Mapping[str, ClipSet], warnings: Sequence[str] = ()) -> str:
    """The page as text, in the dress of the evaluation's report.

    Args:
        name: The run's name.
        table: What `summarise` gives.
        sets: The sets that were measured on.
        warnings: What makes the numbers worth less than they look.
    """
    columns = _columns(table)
    listed = "; ".join(f"{table[f'{part}_clips'].iloc[0]} clips of {clips.source}" for part, clips in sets.items())
    return render(
        "summary.html",
        title=f"{name} – models of the run",
        eyebrow="Fine-tuning · closing summary",
        name=name,
        data=listed,
        warnings=warnings,
        words=definitions,
        columns={column: _head(column) for column in columns},
        rows=table.to_dict(orient="records"),
        best=table[columns].max().to_dict(),
        metrics=list(dict.fromkeys(column.partition("_")[2] for column in columns)),
    )
