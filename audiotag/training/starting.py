"""The model that a run starts from."""

from __future__ import annotations

import numpy as np

from audiotag.data.clips import ClipSet
from audiotag.errors import OptionError
from audiotag.host import get_host
from audiotag.labels import LabelChange, LabelSet
from audiotag.models.create import build_backbone
from audiotag.models.loading import load_model
from audiotag.models.model import Model
from audiotag.training.data import clip_seconds, sample_of
from audiotag.training.reporting import Reporter
from audiotag.training.request import Request
from audiotag.training.settings import Sampling


def starting_model(request: Request, labels: LabelSet, seed: int, reporter: Reporter) -> tuple[Model, bool]:
    """The model to start from, and whether its backbone is trained; tells what was taken of published weights."""
    host = get_host()
    name = request.backbone
    if request.weights is None and host.knows_backbone(name) and host.backbone(name).weights is None:
        spec = host.backbone(name)
        if request.previous_labels is not None:
            raise OptionError(
                "a fresh network has no previous classes", where=name, fix="Give weights, or leave them out."
            )
        fresh = build_backbone(spec, len(labels), request.options, seed=seed)
        return Model(fresh, spec, {**spec.options, **request.options}, labels, name), False
    model = load_model(
        name,
        weights=request.weights,
        labels=request.previous_labels,
        options=dict(request.options) or None,
        untrained_head=True,
        report=lambda report: reporter.message(str(report)),
    )
    return model, True


def report_classes(reporter: Reporter, model: Model, change: LabelChange, pretrained: bool) -> None:
    """Tell what became of each class of the model's head."""
    if not pretrained:
        reporter.message(f"A fresh network for {len(model.labels)} classes.")
        return
    names = {label.mid: label.name for label in model.labels}
    reporter.message(f"The head is replaced: {change}.")
    for mid in change.kept:
        reporter.message(f"  {names[mid]}: carried over from the model")
    for mid in change.added:
        reporter.message(f"  {names[mid]}: new")


def training_seconds(model: Model, clips: ClipSet, settings: Sampling, reporter: Reporter) -> float:
    """Length of clips in training: as long as the data is, within what the network is made for."""
    if "waveform" not in model.backbone.inputs:
        return model.spec.clip_seconds
    sample = sample_of(clips)
    if len(sample) < len(clips):
        reporter.message(
            f"{len(sample)} of the {len(clips)} clips to learn from are looked into before training; another that "
            "cannot be read ends the run at its turn (audiotag data validate reads them all)."
        )
    lengths = clip_seconds(sample)
    if settings.seconds is not None:
        return settings.seconds
    # One overlong file in a hundred should not make the network hear every other clip twice.
    usual = float(np.quantile(lengths, 0.95))
    # A hundredth of a second more or less in a file's length should not change what the network sees.
    longest = min(model.spec.clip_seconds, model.backbone.max_seconds or model.spec.clip_seconds)
    return round(min(max(usual, model.spec.min_seconds), longest), 2)
