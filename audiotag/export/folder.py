"""Exporting a model: the folder that `audiotag.engines.exported` reads."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audiotag.audio.frontends.log_mel import LogMel
from audiotag.documents import plain_json
from audiotag.engines.exported import FRONT_END_FILE, NETWORK_FILE, Exported, write_facts
from audiotag.errors import CheckpointError, OptionError
from audiotag.export.calibration import Calibration
from audiotag.export.head import expose_head
from audiotag.export.network import OPSET, write_network
from audiotag.export.precision import keep_half, keep_int8
from audiotag.files import file_sha256, set_usual_mode
from audiotag.host import get_host
from audiotag.models.create import resolved_options
from audiotag.models.fingerprints import embedding_fingerprint, model_fingerprint
from audiotag.models.model import Model


def write_exported(
    model: Model, folder: Path, precision: str = "fp32", calibration: Calibration | None = None
) -> Exported:
    """Write *model* into *folder*, an empty one.

    Args:
        model: What to write.
        folder: Where to.
        precision: One of `audiotag.engines.exported.PRECISIONS`: how weights are kept.
        calibration: What int8 weights are rounded for; None with other precisions.

    Raises:
        OptionError: Its family cannot be exported.
    """
    front_end = _front_end(model)
    backbone = model.backbone
    lengths = model.lengths
    samples = [round(seconds * lengths.sample_rate) for seconds in _trial_seconds(model)]
    with model.computing("exporting"):
        written = write_network(backbone, folder / NETWORK_FILE, samples)
    if precision == "fp16":
        keep_half(folder / NETWORK_FILE)
    elif calibration is not None:
        keep_int8(folder / NETWORK_FILE, calibration.inputs)
    outputs = written.outputs + expose_head(backbone, folder / NETWORK_FILE)
    set_usual_mode(folder / NETWORK_FILE)
    if front_end is not None:
        write_front_end(front_end, folder / FRONT_END_FILE)
    exported = Exported(
        folder=folder,
        name=model.name,
        precision=precision,
        network_sha256=file_sha256(folder / NETWORK_FILE),
        outputs=outputs,
        front_end=front_end,
        inputs=backbone.inputs,
        video_shape=backbone.video_shape,
        lengths=lengths,
        embedding_dim=backbone.embedding_dim,
        frame_rate=float(backbone.frame_rate),
        labels=model.labels,
        single_label=model.single_label,
        thresholds=model.thresholds,
        source=_source(model),
        card=_card(model),
        metadata=plain_json(model.metadata, "metadata", error=CheckpointError),
        versions={
            "audiotag": version("audiotag"),
            "torch": torch.__version__,
            "onnx": version("onnx"),
            "onnxruntime": version("onnxruntime"),
            "python": platform.python_version(),
            "opset": str(OPSET),
            "exporter": written.exporter,
        },
    )
    write_facts(exported, folder)
    return exported


def write_front_end(front_end: LogMel, path: Path) -> None:
    """Write the arrays of a front end."""
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(array) for name, array in front_end.arrays().items()}, path)
    set_usual_mode(path)


def _front_end(model: Model) -> LogMel | None:
    """The front end as data.

    Raises:
        OptionError: It is code, or the family says that it cannot be exported.
    """
    spec, front_end = model.spec, model.backbone.front_end
    if spec.not_exported:
        raise OptionError(f"it cannot be exported: {spec.not_exported}", where=model.name)
    if front_end is None and "waveform" not in model.backbone.inputs:
        return None
    description = getattr(front_end, "description", None)
    if not isinstance(description, LogMel):
        raise OptionError(
            "it cannot be exported: its front end is code of its own, and only a LogMel can be kept as data",
            where=model.name,
            fix="Its authors can say so in the descriptor (not_exported), or describe the front end by a LogMel.",
        )
    return description


def _trial_seconds(model: Model) -> list[float]:
    """Lengths that the written network is checked on: the usual one, and others that must come out right."""
    lengths = model.lengths
    others = (lengths.shortest, lengths.clip * 0.37, lengths.clip * 1.21)
    return [lengths.clip, *(min(max(one, lengths.shortest), lengths.longest) for one in others)]


def _source(model: Model) -> dict[str, Any]:
    owner = get_host().owner(model.spec)
    return {
        "model": model.spec.name,
        "family": model.spec.family,
        "plugin": {"distribution": owner.distribution, "version": owner.version},
        "options": plain_json(resolved_options(model.spec, model.options), "options", error=CheckpointError),
        "weights": model_fingerprint(model),
        "embedding": embedding_fingerprint(model),
    }


def _card(model: Model) -> dict[str, Any]:
    spec, weights = model.spec, model.spec.weights
    return {
        "summary": spec.summary,
        "citation": spec.citation,
        "code_licence": spec.licence,
        "weights_licence": None if weights is None else weights.licence,
        "figures": dict(spec.figures),
    }
