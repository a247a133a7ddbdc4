"""One candidate of a comparison: trained or taken as it is, measured, counted, timed; and a record of what is done."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from audiotag.data.clips import ClipSet
from audiotag.data.source import ClipSource
from audiotag.documents import Fields, read_json
from audiotag.errors import TrainingError
from audiotag.evaluation.evaluate import evaluate
from audiotag.evaluation.folds import evaluate_folds
from audiotag.evaluation.measurement import Measurement
from audiotag.files import file_sha256, write_text
from audiotag.folders import current_folder
from audiotag.host import get_host
from audiotag.inference.speed import Speed, measure_speed
from audiotag.inference.tagger import Tagger
from audiotag.labels import LabelSet
from audiotag.models.complexity import measure_complexity
from audiotag.models.facts import WEIGHTS_FILE, find_checkpoint
from audiotag.models.loading import load_model
from audiotag.models.model import Model
from audiotag.models.store import WeightsStore
from audiotag.places import exists
from audiotag.training.finetune import run
from audiotag.training.folds import finetune_folds
from audiotag.training.reporting import Reporter
from audiotag.training.request import Request
from audiotag.training.run_folder import begun

_FREE = ("workers", "logger", "device")
"""Settings that change no number, so that a comparison may go on with others."""
_OF_CANDIDATE = ("backbone", "weights", "options")
_SOURCES = ("train", "val", "test")
_COUNTED = ("parameters", "macs", "peak_memory_bytes", "file_bytes")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A network to compare.

    Attributes:
        backbone: A published model, a family (fresh parameters), or a checkpoint or run folder of ours.
        name: What tables and folders call it: letters, digits and ``_ . ( ) + -``.
        options: Settings of the backbone's family.
        weights: A published file or checkpoint folder in place of the registered weights.
        train: Whether it is fine-tuned first, or measured as it is.
    """

    backbone: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: str | Path | None = None
    train: bool = True

    @property
    def folder(self) -> Path | None:
        """The checkpoint that `backbone` names by its path, None for a registered name."""
        registered = self.backbone in get_host().backbones
        return None if registered or not exists(self.backbone) else Path(self.backbone)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is the same for every candidate.

    Attributes:
        output: Folder of the comparison: ``runs``, ``reports`` and ``records`` hold one entry a candidate.
        measured: The clips to measure on.
        settings: Settings of fine-tuning, not yet resolved.
        clip_seconds: Length of the clip that cost and speed are for.
        request: What is learned from; its backbone, weights and options are those of no candidate. None where all
            candidates are measured as they are.
        checkpoint: Which of a run is measured: ``"last"`` where the best epoch was chosen on the same clips.
        cross_validate: Train once a fold, and measure each fold with the run that has not heard it.
    """

    output: Path
    measured: ClipSource
    settings: Mapping[str, Any]
    clip_seconds: float
    request: Request | None = None
    checkpoint: Literal["best", "last"] = "best"
    cross_validate: bool = False

    @property
    def device(self) -> str:
        """Where to compute."""
        return str(self.settings.get("device", "auto"))

    @property
    def precision(self) -> str:
        """Numerical precision."""
        return str(self.settings.get("precision", "32"))

    @cached_property
    def training_marks(self) -> dict[str, Any]:
        """What has a say in what every candidate learns, under the names that messages use; see `_mark`."""
        if self.request is None:
            return {}
        others = [one.name for one in fields(Request) if one.name not in (*_OF_CANDIDATE, *_SOURCES)]
        marks = {name: getattr(self.request, name) for name in others}
        marks["previous_labels"] = _mark(self.request.previous_labels)
        for part in _SOURCES:
            source: ClipSource | None = getattr(self.request, part)
            marks |= {} if source is None else {f"{name} of --{part}": mark for name, mark in _marks(source).items()}
        marks["settings"] = {name: value for name, value in sorted(self.settings.items()) if name not in _FREE}
        return {**marks, "cross-validation": self.cross_validate}

    @cached_property
    def measuring_marks(self) -> dict[str, Any]:
        """What has a say in what is measured of every candidate."""
        return {
            "data": _marks(self.measured),
            "how": [self.checkpoint, self.cross_validate, self.clip_seconds, self.settings.get("metric")],
        }


class Record:
    """What is done of a candidate, kept in a file, so that the same comparison goes on where it stopped.

    Args:
        candidate: Whose record.
        plan: What is to be done.

    Attributes:
        run: The run folder.
        training_seconds: Time that training took, over all calls.
        epochs: Epochs of the finished training; None where it is not finished.
        row: What was measured, where it was measured on the same clips.
        changed: What a candidate of this name was trained with before and is not to be trained with now.

    Raises:
        TrainingError: The file is damaged.
    """

    def __init__(self, candidate: Candidate, plan: Plan) -> None:
        self.path = plan.output / "records" / f"{candidate.name}.json"
        self.run = plan.output / "runs" / candidate.name
        marks = {"training": _training_marks(candidate, plan), "measuring": plan.measuring_marks}
        self._asked = json.loads(json.dumps(marks, default=str))
        fix = "Remove it to measure again."
        content = read_json(self.path, error=TrainingError, fix=fix) if self.path.exists() else {}
        kept = Fields(content, where=self.path, error=TrainingError, fix=fix)
        self.training_seconds = kept.number("training_seconds", 0.0, least=0.0)
        before = kept.fields("asked") if "asked" in kept else None
        asked = self._asked["training"]
        trained = {} if before is None else dict(before.fields("training", {}))
        self.changed: list[str] = []
        if trained.get("train"):  # what was only measured is measured again
            self.changed = sorted(name for name in {*trained, *asked} if trained.get(name) != asked.get(name))
        epochs, row = kept.integer("epochs", None, least=1), _kept_row(kept, candidate)
        self.epochs: int | None = epochs if trained == asked else None
        self.row: dict[str, Any] | None = row if before is not None and dict(before) == self._asked else None

    def save(self) -> None:
        """Write what is known."""
        done = {"training_seconds": self.training_seconds, "epochs": self.epochs, "row": self.row}
        write_text(self.path, json.dumps({"asked": self._asked, **done}, indent=1))


def _kept_row(kept: Fields, candidate: Candidate) -> dict[str, Any] | None:
    """What a record says was measured, where it says so."""
    if kept.get("row") is None:
        return None
    row = kept.fields("row")
    if row.text("name") != candidate.name:
        raise row.refuse("name", f"is not {candidate.name!r}")
    row.text("backbone"), row.text("metric")
    for name in _COUNTED:
        row.number(name, least=0.0)
    for name, value in row.items():
        if not (value is None or isinstance(value, str | int | float)):
            raise row.refuse(name, "must be a number or a text")
    return dict(row)


def _training_marks(candidate: Candidate, plan: Plan) -> dict[str, Any]:
    """Whatever has a say in what a candidate learns, under the names that messages use."""
    return {
        "backbone": candidate.backbone if candidate.folder is None else _mark(candidate.folder),
        "options": dict(candidate.options),
        "weights": _mark(candidate.weights),
        "train": candidate.train,
        **(plan.training_marks if candidate.train else {}),
    }


def _marks(source: ClipSource) -> dict[str, Any]:
    """Something short for all that has a say in which clips *source* gives, and with which labels."""
    # Recordings may have been moved.
    kept = {name: value for name, value in source.to_dict().items() if name not in ("clips", "root")}
    return {**kept, "labels": _mark(source.labels), "data": _mark(source.clips)}


def _mark(source: object) -> Any:
    """Something short that changes with the content of a list of clips, a class list or a file of weights."""
    if source is None:
        return None
    if isinstance(source, LabelSet):
        return _digest("\n".join(source.mids))
    if isinstance(source, list | tuple):
        return _digest("\n".join(map(str, source)))
    if isinstance(source, ClipSet):
        return _digest(json.dumps([source.labels.mids, [asdict(clip) for clip in source]], default=str))
    path = Path(str(source))
    if path.is_dir():
        # A checkpoint or run folder, or the folders of folds.
        places = [path, *(path / name for name in ("best", "last")), *sorted(path.glob("fold_*/last"))]
        if weights := [file for place in places if (file := current_folder(place) / WEIGHTS_FILE).is_file()]:
            return [_mark(file) for file in weights]
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return _digest("\n".join(f"{file.relative_to(path)} {file.stat().st_size}" for file in files))
    if path.is_file():
        return file_sha256(path)
    return str(source)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def carry_out(candidate: Candidate, plan: Plan, record: Record, reporter: Reporter) -> dict[str, Any]:
    """Train *candidate* as far as it is not trained yet, measure it and count what it costs.

    Returns:
        Its row for `Comparison`, without speed.

    Raises:
        Stopped: The process was asked to stop; the same call goes on.
        AudiotagError: The candidate cannot be had, trained or measured.
    """
    if record.row is not None:
        reporter.message("It is done already.")
        return dict(record.row)
    if candidate.train:
        _train(candidate, plan, record, reporter)
    reporter.message("Measuring it.")
    row: dict[str, Any] = {"name": candidate.name, "backbone": candidate.backbone, "epochs": record.epochs}
    row["training_seconds"] = round(record.training_seconds, 1) if candidate.train else None
    model, file = load_candidate(candidate, plan, record)
    row |= _cost(model, plan.clip_seconds)
    row["file_bytes"] = file.stat().st_size
    row |= _scores(candidate, plan, record, model, reporter)
    record.row = row
    record.save()
    return dict(row)


def request_for(candidate: Candidate, plan: Plan) -> Request:
    """Model and data of the run that trains *candidate*."""
    assert plan.request is not None  # compare has asked for clips to learn from
    return replace(
        plan.request, backbone=candidate.backbone, weights=candidate.weights, options=dict(candidate.options)
    )


def _train(candidate: Candidate, plan: Plan, record: Record, reporter: Reporter) -> None:
    if record.epochs is not None:
        reporter.message("It is trained already.")
        return
    record.save()
    request = request_for(candidate, plan)
    started = time.monotonic()
    try:
        if plan.cross_validate:
            finetune_folds(request, plan.settings, record.run, reporter=reporter)
            logs = [inside / "log.csv" for inside in record.run.glob("fold_*")]
            record.epochs = max(len(log.read_text(encoding="utf-8").splitlines()) - 1 for log in logs)
        else:
            result = run(request, plan.settings, record.run, resume=begun(record.run), reporter=reporter)
            record.epochs = len(result.history)
    finally:
        record.training_seconds += time.monotonic() - started
        record.save()


def load_candidate(candidate: Candidate, plan: Plan, record: Record) -> tuple[Model, Path]:
    """The network that the figures are of, and the file of its weights; under cross-validation that of one fold."""
    if candidate.train or plan.cross_validate:
        folder = record.run if candidate.train else Path(candidate.backbone)
        if plan.cross_validate:
            folder = next(iter(sorted(folder.glob("fold_*"))), folder) / "last"
        elif plan.checkpoint == "last":
            folder = folder / "last"
        checkpoint = find_checkpoint(folder)
        return load_model(checkpoint), current_folder(checkpoint) / WEIGHTS_FILE
    model = load_model(
        candidate.backbone,
        weights=candidate.weights,
        labels=plan.measured.labels if candidate.weights is not None else None,
        options=dict(candidate.options) or None,
    )
    given = candidate.folder if candidate.weights is None else Path(candidate.weights)
    if given is None:
        weights = get_host().backbone(candidate.backbone).weights
        assert weights is not None  # load_model has loaded them
        return model, WeightsStore().path(weights)
    return model, given if given.is_file() else current_folder(find_checkpoint(given)) / WEIGHTS_FILE


def _cost(model: Model, seconds: float) -> dict[str, Any]:
    """Parameters, multiply-accumulates and memory for a clip, in the pieces in which the tagger takes it."""
    backbone = model.backbone
    rate = backbone.sample_rate
    if "waveform" in backbone.inputs:
        pieces = model.lengths.cut(np.zeros(round(seconds * rate), dtype=np.float32))
        sizes = [piece.samples.size for piece in pieces]
    else:
        sizes = [round(model.clip_seconds * rate)]
    with model.computing("measuring"):
        measured = {size: measure_complexity(backbone, size / rate) for size in set(sizes)}
    return {
        "parameters": measured[sizes[0]].parameters,
        "macs": sum(measured[size].macs for size in sizes),
        "peak_memory_bytes": max(one.peak_memory for one in measured.values()),
    }


def _scores(candidate: Candidate, plan: Plan, record: Record, model: Model, reporter: Reporter) -> dict[str, Any]:
    shared: dict[str, Any] = {
        "device": plan.device,
        "precision": plan.precision,
        "workers": max(1, int(plan.settings.get("workers", 1))),
        "output": plan.output / "reports" / candidate.name,
    }
    asked = plan.settings.get("metric")
    if asked:
        shared["metrics"] = (asked,)
    spread: dict[str, float] = {}
    if plan.cross_validate:
        folder = record.run if candidate.train else Path(candidate.backbone)
        folds = evaluate_folds(folder, plan.measured, **shared)
        result: Measurement = folds.pooled
        spread = folds.std
        summary: dict[str, Any] = {**result.summary, **folds.mean}
    else:
        result = evaluate(Tagger(model, device=plan.device, precision=plan.precision), plan.measured, **shared)
        summary = dict(result.summary)
    for warning in result.warnings:
        reporter.message(f"Warning: {candidate.name}: {warning}")
    metric = asked or ("accuracy" if result.single_label else "mAP")
    return {"metric": metric, "score": summary[metric], "score_std": spread.get(metric), **summary}


def time_candidate(candidate: Candidate, plan: Plan, record: Record, threads: int | None) -> Speed:
    """How fast the candidate tags a clip, as a user would load it."""
    model, _ = load_candidate(candidate, plan, record)
    tagger = Tagger(model, device=plan.device, precision=plan.precision)
    return measure_speed(tagger, plan.clip_seconds, video_shape=model.backbone.video_shape, threads=threads)
