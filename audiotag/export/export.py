"""From a model to a folder that tags without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audiotag.data.clips import ClipSet
from audiotag.data.source import ClipSource
from audiotag.documents import json_text
from audiotag.engines.exported import Exported, read_exported
from audiotag.engines.onnx_engine import OnnxEngine
from audiotag.engines.torch_engine import TorchEngine
from audiotag.export.folder import write_exported
from audiotag.export.page import page
from audiotag.export.proof import Proof, prove
from audiotag.folders import atomic_folder, check_new_folder
from audiotag.labels import LabelSet
from audiotag.models.loading import load_model
from audiotag.models.model import Model

PROOF_FILE = "parity.json"
PAGE_FILE = "README.md"


def export_model(
    model: str | Path | Model,
    output: str | Path,
    *,
    check: ClipSource | str | Path | ClipSet | None = None,
    weights: str | Path | None = None,
    labels: str | Path | LabelSet | Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> tuple[Exported, Proof]:
    """Write a model as a folder that tags without torch, with a proof that it gives the same.

    Args:
        model: A registered model, the folder of a checkpoint or run, or a `Model`.
        output: The new folder; it must not exist yet.
        check: Labelled clips to compare on, measures included; None for made-up sounds.
        weights: As for `audiotag.load`.
        labels: As for `audiotag.load`.
        options: As for `audiotag.load`.
        progress: Draw a progress bar while weights are downloaded.

    Returns:
        What the folder says, and the proof.

    Raises:
        OptionError: *output* exists, or the model's family cannot be exported.
        AudiotagError: The model or the clips cannot be had.
    """
    output = Path(output)
    check_new_folder(output)
    if not isinstance(model, Model):
        model = load_model(model, weights=weights, labels=labels, options=options, progress=progress)
    with atomic_folder(output) as partial:
        exported = write_exported(model, partial)
        proof = prove(
            TorchEngine(model), OnnxEngine(read_exported(partial)), None if check is None else ClipSource.of(check)
        )
        (partial / PROOF_FILE).write_text(json_text(proof.to_dict(), indent=2) + "\n", encoding="utf-8")
        (partial / PAGE_FILE).write_text(page(exported, proof), encoding="utf-8")
    return read_exported(output), proof
