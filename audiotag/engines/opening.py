"""An engine by the name of a model, or for a model that a caller has."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiotag.engines.cached import cached_export, may_have_accelerator
from audiotag.engines.interface import Engine
from audiotag.errors import AudiotagWarning, CheckpointError, OptionError, needed_for
from audiotag.labels import LabelSet, read_labels
from audiotag.models.facts import EXPORT_FORMAT, folder_format

if TYPE_CHECKING:
    import torch

    from audiotag.engines.exported import Exported
    from audiotag.models.model import Model

ENGINES = ("auto", "torch", "onnx")


def open_engine(
    name: str | Path,
    *,
    weights: str | Path | None = None,
    labels: str | Path | LabelSet | Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    precision: str = "32",
    engine: str = "auto",
    progress: bool = False,
) -> Engine:
    """Open the engine of a model.

    Args:
        name: A registered model, or the folder of a checkpoint, a run or an exported network.
        weights: A published file or a checkpoint of ours instead of the registered weights.
        labels: The classes, where the weights do not say.
        options: Settings of the family.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"`` or ``"auto"``.
        precision: ``"32"``, ``"bf16-mixed"`` or ``"16-mixed"``.
        engine: ``"torch"``; ``"onnx"`` for an exported folder, or the kept export of a registered model
            (`audiotag models export`); ``"auto"`` for the latter on the CPU where there is one that can be used, and
            otherwise torch. An `AudiotagWarning` says why one is not used.
        progress: Draw a progress bar while weights are downloaded.

    Raises:
        AudiotagError: The model or its weights cannot be had, or a setting cannot be.
    """
    if engine not in ENGINES:
        raise OptionError(f"there is no engine {engine!r}", fix=f"Use one of: {', '.join(ENGINES)}.")
    if folder_format(name) == EXPORT_FORMAT:
        given = [what for what, value in (("weights", weights), ("options", options)) if value]
        if engine == "torch":
            raise OptionError(
                "an exported network runs with ONNX Runtime, not torch",
                where=name,
                fix="Name the model that it was made from.",
            )
        return _open_exported(name, given, labels, device, precision)
    plain = not weights and not options and device in ("cpu", "auto") and precision == "32"
    kept = _kept(name, engine, device) if plain and engine != "torch" else None
    if kept is not None:
        return _engine_of(kept, labels)
    if engine == "onnx":
        raise OptionError(
            "there is no export of this model for these settings",
            where=name,
            fix="Make one: audiotag models export NAME for a registered model, "
            "audiotag export MODEL --output FOLDER for others; both compute on the CPU, with precision 32.",
        )
    with needed_for(f"the model {str(name)!r}"):
        from audiotag.models.loading import load_model

    model = load_model(name, weights=weights, labels=labels, options=options, progress=progress)
    return as_engine(model, device, precision)


def _kept(name: str | Path, engine: str, device: str) -> Exported | None:
    """The kept export that is to be taken; of one that cannot be, a warning says why, unless it is asked for."""
    if engine == "auto" and device != "cpu" and may_have_accelerator():
        return None
    try:
        return cached_export(name)
    except CheckpointError as error:
        if engine == "onnx":
            raise
        told = f"{error}. Until then torch computes."
        if told not in _told:
            _told.add(told)
            warnings.warn(AudiotagWarning(told), stacklevel=3)
        return None


_told: set[str] = set()
"""What has been warned of: Python forgets that where filters change, as they do whenever a model is loaded."""


def _open_exported(
    folder: str | Path,
    given: Sequence[str],
    labels: str | Path | LabelSet | Sequence[str] | None,
    device: str,
    precision: str,
) -> Engine:
    if given:
        raise OptionError(f"{' and '.join(given)} are given for an exported network, which has its own", where=folder)
    if device not in ("auto", "cpu") or precision != "32":
        raise OptionError(
            f"exported networks are computed on the CPU with precision 32, not on {device} with {precision}",
            where=folder,
            fix="Leave these out, or name the model that it was made from.",
        )
    from audiotag.engines.exported import read_exported

    return _engine_of(read_exported(folder), labels)


def _engine_of(exported: Exported, labels: str | Path | LabelSet | Sequence[str] | None) -> Engine:
    from audiotag.engines.onnx_engine import OnnxEngine

    if labels is not None:
        exported = replace(exported, labels=read_labels(labels).required(exported.labels, where=exported.folder))
    return OnnxEngine(exported)


def as_engine(
    model: Model | Engine, device: str | torch.device = "auto", precision: str = "32", accelerate: bool = True
) -> Engine:
    """The engine that computes with *model*; an engine stays what it is.

    Args:
        model: A model, or an engine.
        device: As `open_engine` takes it.
        precision: As `open_engine` takes it.
        accelerate: Whether to compute with a copy made for speed (on the CPU).

    Raises:
        OptionError: A setting cannot be, or is given for an engine, which has its own; or *model* is neither.
    """
    if isinstance(model, Engine):
        if (device, precision, accelerate) != ("auto", "32", True):
            raise OptionError(
                "an engine has its own device, precision and acceleration",
                where=model.facts.name,
                fix="Open the engine with them.",
            )
        return model
    if not hasattr(model, "backbone"):  # asked so, since knowing the class would take torch
        raise OptionError(f"a tagger is made of models, not of {model!r:.60}", fix="Use audiotag.load for names.")
    from audiotag.engines.torch_engine import TorchEngine

    return TorchEngine(model, device=device, precision=precision, accelerate=accelerate)
