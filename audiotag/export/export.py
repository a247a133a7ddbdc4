"""From a model to a folder that tags without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audiotag.data.clips import ClipSet
from audiotag.data.source import ClipSource
from audiotag.documents import json_text
from audiotag.engines.cached import export_place
from audiotag.engines.exported import Exported, read_exported
from audiotag.engines.onnx_engine import OnnxEngine
from audiotag.engines.torch_engine import TorchEngine
from audiotag.export.folder import write_exported
from audiotag.export.page import page
from audiotag.export.proof import Proof, prove
from audiotag.folders import atomic_folder, check_new_folder
from audiotag.host import get_host
from audiotag.inference.ensemble import MEMBERS, ensemble_text, read_ensemble
from audiotag.labels import LabelSet
from audiotag.models.facts import FACTS_FILE
from audiotag.models.loading import load_model
from audiotag.models.model import Model

PROOF_FILE = "parity.json"
PAGE_FILE = "README.md"


def export_model(
    model: str | Path | Model,
    output: str | Path,
    *,
    precision: str = "fp32",
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
        precision: ``"fp32"``, or ``"fp16"`` for weights of half the size; both compute in float32.
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
    source = None if check is None else ClipSource.of(check)
    with atomic_folder(output) as partial:
        proof = _export(model, partial, precision, source)
    return read_exported(output), proof


def export_ensemble(
    ensemble: str | Path,
    output: str | Path,
    *,
    precision: str = "fp32",
    check: ClipSource | str | Path | ClipSet | None = None,
    progress: bool = False,
) -> list[tuple[Exported, Proof]]:
    """Write an ensemble as one whose members are exported; each has its own proof.

    Args:
        ensemble: Its folder.
        output: The new folder; it must not exist yet.
        precision: As for `export_model`.
        check: As for `export_model`.
        progress: Draw a progress bar while weights are downloaded.

    Returns:
        What the folder of each member says, and its proof.

    Raises:
        AudiotagError: As `export_model` raises.
    """
    output = Path(output)
    check_new_folder(output)
    known = read_ensemble(ensemble)
    source = None if check is None else ClipSource.of(check)
    places = [f"{MEMBERS}/{number:02d}" for number in range(1, 1 + len(known.members))]
    proofs = []
    with atomic_folder(output) as partial:
        for place, member in zip(places, known.members, strict=True):
            (partial / place).mkdir(parents=True)
            proofs.append(_export(load_model(member, progress=progress), partial / place, precision, source))
        entries = [{"folder": place, "from": member} for place, member in zip(places, known.members, strict=True)]
        (partial / FACTS_FILE).write_text(ensemble_text(known, entries), encoding="utf-8")
    return [(read_exported(output / place), proof) for place, proof in zip(places, proofs, strict=True)]


def export_to_cache(name: str, *, precision: str = "fp32", progress: bool = False) -> tuple[Exported, Proof]:
    """Export a registered model to where tagging finds it (`audiotag.engines.cached`), anew where there is one.

    Raises:
        OptionError: *name* is a family, or cannot be exported.
        AudiotagError: The model cannot be had.
    """
    place = export_place(get_host().backbone(name))
    model = load_model(name, progress=progress)
    with atomic_folder(place) as partial:
        proof = _export(model, partial, precision, None)
    return read_exported(place), proof


def _export(model: Model, folder: Path, precision: str, check: ClipSource | None) -> Proof:
    exported = write_exported(model, folder, precision)
    proof = prove(TorchEngine(model), OnnxEngine(read_exported(folder)), check)
    (folder / PROOF_FILE).write_text(json_text(proof.to_dict(), indent=2) + "\n", encoding="utf-8")
    (folder / PAGE_FILE).write_text(page(exported, proof), encoding="utf-8")
    return proof
